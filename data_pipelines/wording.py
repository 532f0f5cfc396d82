"""Words for the counts and hints in messages, and characters that a person cannot see."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Characters without a glyph outside the category Cf: fillers, variation selectors, joiners.
INVISIBLE_PATTERN = re.compile(
    '[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0'
    '\U000e0100-\U000e01ef]'
)
# Word processors write these for the hyphen and the apostrophe of a keyboard.
TYPOGRAPHIC_CHARACTERS = str.maketrans(
    dict.fromkeys('\u2010\u2011\u2012\u2013\u2014\u2212', '-')
    | dict.fromkeys('\u2018\u2019\u201b\u02bc\u00b4\u0060', "'")
)


def remove_invisible(text: str) -> str:
    """Returns a text without control characters and characters that have no glyph."""
    visible = [c for c in text if unicodedata.category(c) not in ('Cf', 'Cc')]
    return INVISIBLE_PATTERN.sub('', ''.join(visible))


def pluralize(count: int, noun: str) -> str:
    """Returns a count with its noun: '1 run', '2 runs', '2 classes'."""
    if count == 1:
        return f'{count} {noun}'
    ending = 'es' if noun.endswith('s') else 's'
    return f'{count} {noun}{ending}'


def join_first(texts: Sequence[str], limit: int) -> str:
    """Returns at most `limit` texts, and how many more there are: 'a, b, and 3 more'."""
    listed = list(texts[:limit])
    if len(texts) > limit:
        listed.append(f'and {len(texts) - limit} more')
    return ', '.join(listed)


def similar_name_hint(name: str, known_names: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the known name most similar to `name`; '' if none is."""
    similar = difflib.get_close_matches(name, list(known_names), 1)
    return f' Did you mean {similar[0]!r}?' if similar else ''

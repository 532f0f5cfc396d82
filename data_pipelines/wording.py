"""Words for the counts and hints in messages."""

import difflib
from collections.abc import Iterable


def pluralize(count: int, noun: str) -> str:
    """Returns a count with its noun: '1 run', '2 runs'."""
    ending = '' if count == 1 else 's'
    return f'{count} {noun}{ending}'


def similar_name_hint(name: str, known_names: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the known name most similar to `name`; '' if none is."""
    similar = difflib.get_close_matches(name, list(known_names), 1)
    return f' Did you mean {similar[0]!r}?' if similar else ''

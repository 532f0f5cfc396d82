"""Compares the names of speakers: one person has one identity key, however the name is written."""

import re
import unicodedata
from collections.abc import Iterable

import numpy as np

# Identity keys of cells that name nobody, as spreadsheets, pandas, R and SQL write them.
UNKNOWN_KEYS = {
    '', 'nan', 'unknown', '-', '--', '\u2013', '\u2014', 'n/a', '#n/a', 'na', '<na>', 'none',
    'null', 'empty', '?',
}  # fmt: skip

# Characters without a glyph outside the category Cf: fillers, variation selectors, joiners.
INVISIBLE_PATTERN = re.compile(
    '[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0'
    '\U000e0100-\U000e01ef]'
)
NUMBER_PATTERN = re.compile(r'0*(\d+)(\.0*)?')


def identity_key(name: str) -> str:
    """Returns the key by which the names of speakers are compared; '' for an empty name.

    Ignored are compatibility forms (NFKC), upper and lower case, the kind and number of blanks,
    invisible characters, and of whole numbers the leading zeros and '.0'.
    """
    text = INVISIBLE_PATTERN.sub('', name)
    text = unicodedata.normalize('NFKC', text).casefold()
    # Folding may undo the normal form.
    text = unicodedata.normalize('NFKC', text)
    text = ' '.join(text.split())
    visible = [c for c in text if unicodedata.category(c) not in ('Cf', 'Cc')]
    text = INVISIBLE_PATTERN.sub('', ''.join(visible)).strip()
    number = NUMBER_PATTERN.fullmatch(text)
    if number is None:
        return text
    digits = [str(unicodedata.digit(digit)) for digit in number[1]]
    return ''.join(digits).lstrip('0') or '0'


def is_unknown(name: str) -> bool:
    """Returns whether a name stands for an unknown speaker: empty, nan, unknown, n/a, none, ..."""
    return identity_key(name) in UNKNOWN_KEYS


def identity_keys(speaker_N: np.ndarray, corpus_N: np.ndarray) -> np.ndarray:
    """Returns key_N of the names of speakers; '' for an unknown one.

    Where several data sets are read, names begin with 'CORPUS/', and so do their keys.
    """
    key_by_pair: dict[tuple[str, str], str] = {}
    keys = []
    for pair in zip(speaker_N.tolist(), corpus_N.tolist()):
        if pair not in key_by_pair:
            key_by_pair[pair] = _prefixed_key(*pair)
        keys.append(key_by_pair[pair])
    return np.array(keys, dtype=str)


def _prefixed_key(speaker: str, corpus: str) -> str:
    """Returns the identity key of a name that may begin with its corpus."""
    prefix = f'{corpus}/'
    if not speaker.startswith(prefix):
        prefix = ''
    key = identity_key(speaker.removeprefix(prefix))
    return '' if key in UNKNOWN_KEYS else prefix + key


def clear_unknown(speaker_N: np.ndarray) -> np.ndarray:
    """Returns the names of speakers with '' for unknown ones."""
    names, index_N = np.unique(speaker_N, return_inverse=True)
    known = ['' if is_unknown(name) else name for name in names.tolist()]
    return np.array(known, dtype=speaker_N.dtype)[index_N]


def group_spellings(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the different spellings of each identity key, each in the order of the names."""
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spellings.setdefault(identity_key(name), []).append(name)
    return spellings


def visible(name: str) -> str:
    """Returns a name in quotes, with escapes for what a person could not see or tell apart."""
    return ascii(name) if has_hidden_form(name) else repr(name)


def has_hidden_form(name: str) -> bool:
    """Returns whether a name has invisible characters, or is not in the usual form, NFC."""
    is_plain = unicodedata.normalize('NFC', name) == name and name.isprintable()
    return not is_plain or INVISIBLE_PATTERN.search(name) is not None

"""Compares the names of speakers: one person has one identity key, however the name is written."""

import functools
import re
import unicodedata
from collections.abc import Iterable

import numpy as np

from data_pipelines.wording import INVISIBLE_PATTERN, TYPOGRAPHIC_CHARACTERS, remove_invisible

# Words that name nobody, as spreadsheets, pandas, R, SQL and people write them, without the
# punctuation around them. A cell of punctuation alone, such as '-' or '???', names nobody, either.
UNKNOWN_WORDS = {
    'nan', 'na', 'n/a', 'n.a', 'none', 'null', 'empty', 'missing', 'unknown',
    'unk', 'undefined', 'not available', 'not known', 'unbekannt', 'inconnu', 'desconocido',
    'unspecified', 'not specified', 'not applicable', 'to be determined', 'tbd', 'keine angabe',
    'keine angaben', 'desconhecido', 'sconosciuto', 'onbekend', '\u4e0d\u660e', '\u672a\u77e5',
    '\u043d\u0435\u0438\u0437\u0432\u0435\u0441\u0442\u043d\u043e',
}  # fmt: skip
SPEAKER_WORDS = {'speaker', 'spk', 'spkr'}  # 'unknown speaker' is an unknown one
# What spreadsheets write in place of a value that cannot be computed, and MySQL for NULL.
ERROR_PATTERN = re.compile(r'#[a-z0/!?]+[!?]|#nv|\\n')
# German for 'not stated'. Written in another case, the letters may be those of a person.
NOT_STATED_PATTERN = re.compile(r'k\.\s?A\.?')

NUMBER_PATTERN = re.compile(r'(\d+)([.,]0*)?')


def identity_key(name: str) -> str:
    """Returns the key by which the names of speakers are compared; '' for an empty name.

    Ignored are compatibility forms (NFKC), upper and lower case (also of the Turkish i), the kind
    and number of blanks, the kind of hyphens and apostrophes, invisible characters, and of whole
    numbers the leading zeros and '.0'.
    """
    text = INVISIBLE_PATTERN.sub('', name).translate(TYPOGRAPHIC_CHARACTERS)
    text = unicodedata.normalize('NFKC', text).casefold()
    text = text.replace('i\u0307', 'i').replace('\u0131', 'i')
    # Folding may undo the normal form.
    text = unicodedata.normalize('NFKC', text)
    text = remove_invisible(' '.join(text.split())).strip()
    number = NUMBER_PATTERN.fullmatch(text)
    if number is None:
        return text
    digits = [str(unicodedata.digit(digit)) for digit in number[1]]
    return ''.join(digits).lstrip('0') or '0'


@functools.lru_cache(maxsize=1 << 16)  # lists repeat their words
def is_unknown(name: str) -> bool:
    """Returns whether a name stands for an unknown speaker: empty, nan, unknown, n/a, none, ..."""
    if NOT_STATED_PATTERN.fullmatch(name.strip()):
        return True
    return _is_unknown_key(identity_key(name))


def _is_unknown_key(key: str) -> bool:
    """Returns whether an identity key is that of an unknown speaker."""
    if ERROR_PATTERN.fullmatch(key):
        return True
    words = _without_punctuation(key).replace('_', ' ').split()
    if not words:
        return True
    other_words = [word for word in words if word not in SPEAKER_WORDS]
    return ' '.join(other_words) in UNKNOWN_WORDS


def _without_punctuation(text: str) -> str:
    """Returns a text without punctuation at its ends, such as the brackets of '<unknown>'."""
    letters = [i for i, c in enumerate(text) if not _is_punctuation(c)]
    return text[letters[0] : letters[-1] + 1] if letters else ''


def _is_punctuation(character: str) -> bool:
    return character in '<>|~' or unicodedata.category(character)[0] in 'PZ'


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
    name = speaker.removeprefix(prefix)
    return '' if is_unknown(name) else prefix + identity_key(name)


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

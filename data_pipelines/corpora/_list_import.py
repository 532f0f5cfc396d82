"""What the importers of other formats share: their rows become the table of a list.

The words, speakers and columns of that table are checked as those of a CSV (`folder.py`).
"""

import collections
import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from data_pipelines.corpora import Utterance, folder
from data_pipelines.corpora._list_columns import BLANKS, COLUMN_BY_NAME, possible_names
from data_pipelines.corpora._list_options import ListOptions
from data_pipelines.corpora._list_table import Table, name_columns, strip_cells
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

MAX_LISTED = 10  # names of ignored columns
# The names that parts of a data set have, and ours.
SPLITS = {
    'train': 'train',
    'training': 'train',
    'dev': 'dev',
    'devel': 'dev',
    'development': 'dev',
    'val': 'dev',
    'valid': 'dev',
    'validation': 'dev',
    'test': 'test',
    'testing': 'test',
}
SEXES = {
    'f': 'female',
    'female': 'female',
    'w': 'female',
    'woman': 'female',
    'm': 'male',
    'male': 'male',
    'man': 'male',
}
# The first bytes of audio without a file name.
SUFFIX_BY_START = {
    b'RIFF': '.wav',
    b'fLaC': '.flac',
    b'OggS': '.ogg',
    b'ID3': '.mp3',
    b'\xff\xfb': '.mp3',
}


def make_utterances(
    source: Path,
    columns: list[str],
    records: Iterable[Mapping[str, str]],
    options: ListOptions,
    audio_folder: Path,
) -> list[Utterance]:
    """Returns the utterances of the records, checked as the rows of a CSV are.

    Columns that mean nothing here are ignored, and so are the speakers if there is no column for
    them; both are printed.

    Args:
      source: What is imported, for messages.
      columns: The names of the columns. The path of the audio is in the column `path`.
      records: The texts by column, in the order of the utterances.
      options: How the list is read.
      audio_folder: The folder to which the paths are relative.
    """
    folded = name_columns(columns)
    kept = choose_columns(source, folded, options)
    numbered_rows = []
    for number, record in enumerate(records, start=1):
        texts = dict(zip(folded, [record.get(column, '') for column in columns]))
        row = {column: texts.get(column, '') for column in kept}
        numbered_rows.append((number, strip_cells(row)))
    for column, words in (('sex', SEXES), ('split', SPLITS)):
        translate(source, column, words, kept, numbered_rows)
    return folder.utterances_of_table(source, Table(kept, numbered_rows), options, audio_folder)


def choose_columns(source: Path, columns: list[str], options: ListOptions) -> list[str]:
    """Returns the columns that are read, and prints which are not."""
    known = possible_names(folder.KNOWN_COLUMNS, options.column_names)
    known |= set(options.vote_columns)
    kept = []
    ignored = []
    for column in columns:
        ours = find_column(column)
        is_chosen = column in options.column_names.values()
        is_second = ours != column and (ours in columns or ours in options.column_names)
        if column in known and column not in kept and (is_chosen or not is_second):
            kept.append(column)
        else:
            ignored.append(column)
    if ignored:
        more = ', ...' if len(ignored) > MAX_LISTED else ''
        print_text(
            f'{pluralize(len(ignored), "column")} of {source} ignored: '
            f'{", ".join(ignored[:MAX_LISTED])}{more}. If one of them is needed, say so: '
            '--columns speaker=NAME.'
        )
    if 'speaker' not in options.column_names and 'speaker' not in map(find_column, kept):
        print_text(
            f'{source} has no column for the speaker, so the speakers are unknown. If it is one of '
            f'{", ".join(columns)}, say so: --columns speaker=NAME.'
        )
        kept.append('speaker')
    return kept


def translate(
    source: Path,
    column: str,
    words: Mapping[str, str],
    columns: list[str],
    numbered_rows: list[tuple[int, dict]],
) -> None:
    """Writes our words in a column of ours, and prints other words, which become empty.

    They cannot be corrected in a format that is imported, as in a CSV.
    """
    unknown = collections.Counter()
    for name in columns:
        if find_column(name) != column:
            continue
        for _, row in numbered_rows:
            word = row[name].casefold()
            if word and word not in words and not word.startswith('test'):
                unknown[word] += 1
            row[name] = words.get(word, word if word.startswith('test') else '')
    if unknown:
        listed = ', '.join(
            [f'{word!r}: {count}' for word, count in unknown.most_common(MAX_LISTED)]
        )
        print_text(f'Values of {column} in {source} that are not used: {listed}.')


def find_column(name: str) -> str:
    """Returns our column for a folded name of the list's; the name itself if there is none."""
    for mark in BLANKS:
        name = name.replace(mark, '_')
    return COLUMN_BY_NAME.get(name, name)


def to_text(value: object) -> str:
    """Returns the cell for a value: '' for none and NaN."""
    if value is None or value != value:
        return ''
    return str(value)


def choose_split(name: str, names: Iterable[str]) -> str:
    """Returns our name of the part of a data set that has these parts; '' if it is the only one."""
    return SPLITS.get(name.casefold(), '') if len(set(names)) > 1 else ''


class AudioWriter:
    """Writes audio that is inside a data set as files, once."""

    def __init__(self, audio_folder: Path | None):
        if audio_folder is None:
            raise ValueError('audio inside a data set needs ListOptions.audio_folder')
        self.folder = audio_folder

    def write(self, content: bytes, name: str | None, index: int, part: str = '') -> str:
        """Writes a file, unless it is there already, and returns its path below the folder.

        Args:
          content: The bytes of an audio file.
          name: Its name in the data set, if it has one.
          index: The number of the utterance in its part, which makes the name unique.
          part: The part of the data set.
        """
        original = Path(name or '')
        suffix = original.suffix or find_suffix(content)
        stem = re.sub(r'[^\w-]+', '_', original.stem)[:60]
        path = Path(re.sub(r'\W+', '_', part), f'{index:06d}{"_" if stem else ""}{stem}{suffix}')
        target = self.folder / path
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, content)
        return path.as_posix()


def find_suffix(content: bytes) -> str:
    """Returns the suffix for the bytes of an audio file."""
    for start, suffix in SUFFIX_BY_START.items():
        if content.startswith(start):
            return suffix
    return '.wav'


def replace_file(target: Path, content: bytes) -> None:
    """Writes a file that is there complete or not at all."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix='.audio-')
    try:
        with open(handle, 'wb') as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def library_error(source: Path, library: str, extra: str) -> UserError:
    """Returns the error for a library that is not installed."""
    return UserError(
        f'{source} is read by the library {library}, which is not installed: pip install '
        f"'jaxser[{extra}]', or pip install -e '.[{extra}]' in the checkout of jaxser."
    )

"""A data set of the Hugging Face library `datasets`, on this disk.

--source is one of

- a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` has written,
- a .parquet file, or a folder of them, as `hf download NAME --repo-type dataset` gets it,
- an `audiofolder`: audio with metadata.csv or metadata.jsonl (column `file_name`), or in folders
  that are named by the emotion. It is read without the library.

Audio that is inside the data set is written once to sources/NAME below --out. Its parts (train,
validation, test) become the column `split`, if there are several.
"""

import collections
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines import audio_files, csv_files
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.corpora._list_import import (
    AudioWriter,
    choose_split,
    library_error,
    make_utterances,
    to_text,
)
from data_pipelines.corpora._list_options import ListOptions
from data_pipelines.errors import UserError

SOURCE_HINT = (
    '--source of `huggingface` is a folder that save_to_disk has written, a .parquet file or a '
    'folder of them, or an audiofolder (audio with metadata.csv, or in folders named by emotion)'
)
EXTRA = 'datasets'
BATCH_SIZE = 64  # utterances whose audio is in memory at a time
STATE_FILES = ('dataset_dict.json', 'state.json')  # of what save_to_disk has written
METADATA_FILES = ('metadata.csv', 'metadata.jsonl')
TEXT_TYPES = ('string', 'large_string', 'string_view', 'bool', 'int', 'uint', 'float', 'double')
AUDIO_SUFFIXES = audio_files.AUDIO_SUFFIXES + audio_files.OTHER_AUDIO_SUFFIXES


class Part(NamedTuple):
    """A part of a data set: its name, the types of its columns, and its rows in batches."""

    name: str
    features: dict[str, Any]
    batches: Iterable[list[dict[str, Any]]]


def walk(source: Path, options: ListOptions = ListOptions()) -> list[Utterance]:  # noqa: B008
    """Returns the utterances of a data set, in its order; UserError if it is none."""
    if any((source / name).is_file() for name in STATE_FILES):
        return import_parts(source, read_saved(source), options)
    parquet = find_parquet(source)
    if parquet:
        return import_parts(source, read_parquet(source, parquet), options)
    if source.is_dir():
        return import_audio_folder(source, options)
    hint = ''
    if len(source.parts) == 2 and not source.is_absolute():
        hint = f' To get {source}: hf download {source} --repo-type dataset --local-dir FOLDER'
    raise UserError(f'{source} is not a data set on this disk. {SOURCE_HINT}.{hint}')


def import_library(source: Path):
    """Returns the library; UserError if it is not installed."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        if error.name != 'datasets':
            raise
        raise library_error(source, 'datasets', EXTRA) from None
    return datasets


def read_saved(source: Path) -> list[Part]:
    """Returns the parts of what save_to_disk has written."""
    datasets = import_library(source)
    try:
        loaded = datasets.load_from_disk(os.fspath(source))
    except (OSError, ValueError) as error:
        raise UserError(
            f'{source} cannot be read by datasets {datasets.__version__}: {error}. Save it again '
            'with save_to_disk.'
        ) from None
    if not isinstance(loaded, dict):
        loaded = {'': loaded}
    parts = []
    for name, part in loaded.items():
        tables = part.with_format('arrow').iter(batch_size=BATCH_SIZE)
        parts.append(Part(name, dict(part.features), read_batches(source, tables)))
    return parts


def find_parquet(source: Path) -> list[Path]:
    """Returns the .parquet file that --source is, or those in that folder, sorted by path.

    A folder may have such a name too, as Spark writes it.
    """
    if source.is_file() and source.suffix == '.parquet':
        return [source]
    return [path for path in sorted(source.rglob('*.parquet')) if path.is_file()]


def read_parquet(source: Path, files: list[Path]) -> list[Part]:
    """Returns a part for each file; files such as train-00000-of-00002.parquet are one part."""
    datasets = import_library(source)
    import pyarrow
    from pyarrow import parquet

    parts = []
    for path in files:
        try:
            file = parquet.ParquetFile(path)
            features = dict(datasets.Features.from_arrow_schema(file.schema_arrow))
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise UserError(f'{path} is not a readable .parquet file: {error}.') from None
        name = path.stem.partition('-')[0]
        batches = read_batches(path, file.iter_batches(batch_size=BATCH_SIZE))
        parts.append(Part(name, features, batches))
    return parts


def read_batches(path: Path, batches: Iterable) -> Iterator[list[dict[str, Any]]]:
    """Yields the rows of Arrow tables or batches, without decoding their audio.

    UserError if the file, or the folder, that they are read from is damaged.
    """
    import pyarrow

    try:
        for batch in batches:
            yield batch.to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f'{path} is damaged: {error}. Get it again.') from None


def import_parts(source: Path, parts: list[Part], options: ListOptions) -> list[Utterance]:
    """Returns the utterances of the parts of a data set."""
    audio_column = find_audio_column(source, parts[0].features, options)
    columns = find_text_columns(parts, audio_column)
    base = source_folder(source)
    writer = None
    if audio_column is not None:
        writer = AudioWriter(options.audio_folder)
        base = writer.folder
        # The path that Common Voice, for example, has in a column beside the audio is not used.
        columns = ['path', *[name for name in columns if name.casefold() != 'path']]
        column_names = dict(options.column_names)
        column_names.pop('path', None)  # it is found
        options = dataclasses.replace(options, column_names=column_names)
    part_names = [part.name for part in parts]
    has_split = 'split' in columns
    if not has_split:
        columns.append('split')
    records = []
    counts: collections.Counter = collections.Counter()
    for part in parts:
        split = choose_split(part.name, part_names)
        for row in flatten(part.batches):
            record = {} if has_split else {'split': split}
            record |= read_row(row, part.features, audio_column)
            if writer is not None:
                audio = row.get(audio_column) or {}
                record['path'] = place_audio(source, audio, writer, counts[part.name], part.name)
            counts[part.name] += 1
            records.append(record)
    return make_utterances(source, columns, records, options, base)


def find_text_columns(parts: list[Part], audio_column: str | None) -> list[str]:
    """Returns the columns of the parts that have texts, numbers or classes."""
    names = {}
    for part in parts:
        for column, feature in part.features.items():
            if column != audio_column and find_reader(feature) is not None:
                names[column] = None
    return list(names)


def flatten(batches: Iterable[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yields the rows of the batches."""
    for batch in batches:
        yield from batch


def source_folder(source: Path) -> Path:
    """Returns the folder of a data set."""
    return source if source.is_dir() else source.parent


def find_audio_column(source: Path, features: dict[str, Any], options: ListOptions) -> str | None:
    """Returns the column with the audio; None if a column has paths instead.

    UserError if several have audio, and no option says which.
    """
    columns = [column for column, feature in features.items() if is_audio(feature)]
    chosen = options.column_names.get('path')
    for column in columns:
        if column.casefold() == chosen:
            return column
    if len(columns) > 1 and chosen is None:
        raise UserError(
            f'{source} has audio in several columns: {", ".join(columns)}. Say which is meant: '
            f'--columns path={columns[0]}'
        )
    return columns[0] if columns and chosen is None else None


def is_audio(feature) -> bool:
    """Returns whether a column has audio, also one whose type says only bytes and path."""
    if type(feature).__name__ == 'Audio':
        return True
    return isinstance(feature, dict) and {'bytes', 'path'} <= set(feature)


def find_reader(feature):
    """Returns the function that makes the text of a value; None for columns of other types."""
    if type(feature).__name__ == 'ClassLabel':
        return lambda value: '' if value is None or value < 0 else feature.int2str(value)
    if str(getattr(feature, 'dtype', '')).startswith(TEXT_TYPES):
        return to_text
    return None


def read_row(row: dict, features: dict[str, Any], audio_column: str | None) -> dict[str, str]:
    """Returns the texts of a row."""
    record = {}
    for column, feature in features.items():
        read = find_reader(feature)
        if column != audio_column and read is not None:
            record[column] = read(row[column])
    return record


def place_audio(source: Path, audio: dict, writer: AudioWriter, index: int, part: str) -> str:
    """Returns the path of a row's audio, which is written to a file if it is in the data set."""
    if audio.get('bytes'):
        return writer.write(audio['bytes'], audio.get('path'), index, part)
    if not audio.get('path'):
        return ''
    inside = source_folder(source) / audio['path']
    return os.path.abspath(inside if inside.exists() else audio['path'])


def import_audio_folder(source: Path, options: ListOptions) -> list[Utterance]:
    """Returns the utterances of a folder of audio with metadata, or with folders by emotion."""
    lists = []
    for name in METADATA_FILES:
        lists += [path for path in sorted(source.rglob(name)) if path.is_file()]
    records = []
    for path in lists:
        records += read_metadata(source, path)
    if not lists:
        records = read_class_folders(source)
    if not records:
        raise UserError(f'{source} has neither metadata nor audio. {SOURCE_HINT}.')
    columns = list(dict.fromkeys(column for record in records for column in record))
    if 'split' not in columns:
        columns.append('split')
        folders = [Path(record['path']).parts[0] for record in records]
        for record, folder in zip(records, folders):
            record['split'] = choose_split(folder, folders)
    audio_files.print_left_out(
        source,
        [path for path in source.rglob('*') if path.suffix.lower() in AUDIO_SUFFIXES],
        [source / record['path'] for record in records],
        'since the metadata does not name them',
    )
    return make_utterances(source, columns, records, options, source)


def read_metadata(source: Path, path: Path) -> list[dict[str, str]]:
    """Returns the rows of metadata.csv or metadata.jsonl, with paths relative to `source`."""
    try:
        if path.suffix == '.csv':
            with csv_files.open_rows(path, strict=True) as reader:
                rows = list(reader)
        else:
            lines = path.read_text(encoding='utf-8-sig').split('\n')
            rows = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, csv_files.Error) as error:
        raise UserError(f'{path} cannot be read: {error}.') from None
    records = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not row.get('file_name'):
            raise UserError(
                f'{path}, row {number}, has no file_name. An audiofolder names each file in the '
                'column file_name, relative to its metadata.'
            )
        audio_path = path.parent / str(row.pop('file_name'))
        record = {}
        for column, value in row.items():
            if column is not None and not isinstance(value, dict | list):
                record[column] = to_text(value)
        record['path'] = Path(os.path.relpath(audio_path, source)).as_posix()
        records.append(record)
    return records


def read_class_folders(source: Path) -> list[dict[str, str]]:
    """Returns a row for each audio file: the folder that it is in names the emotion."""
    records = []
    for path in sorted(source.rglob('*')):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.parent != source:
            relative = path.relative_to(source).as_posix()
            records.append({'path': relative, 'emotion': path.parent.name})
    return records


CORPUS = Corpus(
    name='huggingface',
    title='a data set of Hugging Face',
    languages=(),
    speakers=None,
    expected_counts=(),
    licence='your own',
    homepage='your own disk',
    walk=walk,
    source_hint=f'{SOURCE_HINT}.',
    is_own_list=True,
)

"""A database in audformat, the convention of audEERING's tools, which nkululeko reads too.

--source is the folder with `db.yaml`. The emotions are those of all tables that have a column of
that name; `--columns emotion=TABLE.COLUMN` names one of them, such as
`emotion.categories.train.gold_standard.emotion`. Speakers, sex, sentences, ratings and so on come
from the same table or from any other, and the sex also from what the scheme says of a speaker. The
split of a table (train, dev, test) becomes the column `split`. Ratings are mapped from the minimum
and maximum of their scheme.

Source: https://audeering.github.io/audformat.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.corpora._list_import import (
    choose_split,
    find_column,
    library_error,
    make_utterances,
    to_text,
)
from data_pipelines.corpora._list_options import OUR_SCALE, ListOptions, parse_scale
from data_pipelines.corpora.folder import OPTIONAL_TEXT_COLUMNS, RATING_COLUMNS
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

SOURCE_HINT = '--source of `audformat` is the folder of a database, with db.yaml'
EXTRA = 'audformat'
HEADER_FILE = 'db.yaml'
TABLE_SUFFIXES = ('.csv', '.parquet')
GOLD = 'gold'  # in the name of a table that combines the votes of several listeners
INFO_COLUMNS = ('speaker', 'language', *OPTIONAL_TEXT_COLUMNS, *RATING_COLUMNS)

Segment = tuple[str, str, str]  # file, start and end in seconds, '' for its beginning or end


class Place(NamedTuple):
    """A column of a table."""

    table: str
    column: str

    @property
    def name(self) -> str:
        """The name that --columns takes."""
        return f'{self.table}.{self.column}'


def walk(source: Path, options: ListOptions = ListOptions()) -> list[Utterance]:  # noqa: B008
    """Returns the utterances of a database, in its order; UserError if it is none."""
    database = load_database(source)
    places = find_places(database, options)
    if not places.get('emotion'):
        listed = ', '.join([place.name for place in list_places(database)])
        raise UserError(
            f'{source} has no column for the emotion in its tables: {listed or "(none)"}. Say '
            'which is meant: --columns emotion=TABLE.COLUMN'
        )
    emotions, splits = read_emotions(source, database, choose_tables(places['emotion']))
    columns = ['path', 'start', 'end', 'emotion', 'split']
    records = []
    for (file, start, end), emotion in emotions.items():
        split = splits[file, start, end]
        record = {'path': file, 'start': start, 'end': end, 'emotion': emotion, 'split': split}
        records.append(record)
    if not any(record['start'] or record['end'] for record in records):
        columns = ['path', 'emotion', 'split']
    for column in INFO_COLUMNS:
        values = read_info(database, column, places.get(column, []))
        if values and column not in columns:
            columns.append(column)
        for record in records if values else ():
            segment = (record['path'], record['start'], record['end'])
            whole = (record['path'], '', '')
            value = values.get(segment, '') or values.get(whole, '')
            record[column] = record.get(column) or value
    if 'language' not in columns and len(database.languages) == 1:
        columns.append('language')
        for record in records:
            record['language'] = to_short_language(database.languages[0])
    options = with_rating_scale(database, places, options)
    options = dataclasses.replace(options, column_names={})  # their columns have our names here
    return make_utterances(source, columns, records, options, source)


def load_database(source: Path):
    """Returns the database; UserError if it cannot be read, or the library is not installed."""
    if not (source / HEADER_FILE).is_file():
        raise UserError(f'{source} has no {HEADER_FILE}. {SOURCE_HINT}.')
    try:
        import audformat
    except ModuleNotFoundError as error:
        if error.name != 'audformat':
            raise
        raise library_error(source, 'audformat', EXTRA) from None
    check_pickles(source)
    try:
        return load_text_files(source, audformat)
    except Exception as error:  # of the library, of YAML and of pandas
        raise UserError(
            f'{source} cannot be read by audformat {audformat.__version__}: {error}. Compare its '
            'db.yaml and its tables with the release.'
        ) from None


def find_table_files(source: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Returns the files of a database's tables with one of the suffixes."""
    paths = []
    for path in sorted(source.glob('db.*')):
        if path.suffix in suffixes and path.is_file():
            paths.append(path)
    return paths


def check_pickles(source: Path) -> None:
    """UserError if a table is stored as a pickle only, since reading it may run any program."""
    readable = {path.stem for path in find_table_files(source, TABLE_SUFFIXES)}
    for path in find_table_files(source, ('.pkl',)):
        if path.stem not in readable:
            raise UserError(
                f'{path} is a pickle, which is not read here, since it may run any program. If '
                'you trust it, load the database with audformat and save it as '
                "database.save(FOLDER, storage_format='csv')."
            )


def load_text_files(source: Path, audformat):
    """Returns the database, with all tables read from CSV or Parquet.

    audformat itself would run programs: those that db.yaml may name as Python objects, and those of
    pickles, which it prefers to other files. So db.yaml is read safely first, and audformat reads a
    folder in which there are no pickles.
    """
    import yaml

    header = (source / HEADER_FILE).read_text(encoding='utf-8')
    yaml.load(header, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, HEADER_FILE).write_text(header, encoding='utf-8')
        for path in find_table_files(source, TABLE_SUFFIXES):
            Path(folder, path.name).symlink_to(path.absolute())
        return audformat.Database.load(folder, load_data=True)


def list_places(database) -> list[Place]:
    """Returns all columns of the tables with files or segments."""
    places = []
    for table in database.tables:
        for column in database[table].columns:
            places.append(Place(table, column))
    return places


def find_places(database, options: ListOptions) -> dict[str, list[Place]]:
    """Returns where each of our columns is; UserError if an option names a missing column."""
    all_places = list_places(database)
    places: dict[str, list[Place]] = {}
    for place in all_places:
        names = {place.column.casefold()}
        scheme = database[place.table].columns[place.column].scheme_id
        if scheme:
            names.add(scheme.casefold())
        for column in map(find_column, sorted(names)):
            if place not in places.setdefault(column, []):
                places[column].append(place)
    for column, name in options.column_names.items():
        chosen = []
        for place in all_places:
            if name in (place.name.casefold(), place.column.casefold()):
                chosen.append(place)
        if not chosen:
            raise UserError(
                f'--columns {column}={name}: no table has that column. There are '
                f'{", ".join([place.name for place in all_places])}.'
            )
        places[column] = chosen
    return places


def choose_tables(places: list[Place]) -> list[Place]:
    """Returns the columns with combined votes, if there are any; else all."""
    gold = [place for place in places if GOLD in place.table.casefold()]
    return gold or places


def read_emotions(
    source: Path, database, places: list[Place]
) -> tuple[dict[Segment, str], dict[Segment, str]]:
    """Returns the emotion and the split of each segment that has an emotion.

    UserError if two tables give a segment different emotions.
    """
    emotions: dict[Segment, str] = {}
    splits: dict[Segment, str] = {}
    origins: dict[Segment, Place] = {}
    empty_count = 0
    split_names = {database[place.table].split_id or '' for place in places}
    for place in places:
        split = read_split(database, place.table, split_names)
        for segment, emotion in read_column(database, place).items():
            if not emotion:
                empty_count += 1
                continue
            if emotions.setdefault(segment, emotion) != emotion:
                raise UserError(
                    f'{source} has several emotions for {segment[0]}: {emotions[segment]} in '
                    f'{origins[segment].name}, and {emotion} in {place.name}. Say which is meant: '
                    f'--columns emotion={place.name}'
                )
            origins.setdefault(segment, place)
            splits[segment] = splits.get(segment) or split
    if empty_count:
        print_text(f'{pluralize(empty_count, "row")} of {source} without an emotion; left out.')
    return emotions, splits


def read_split(database, table: str, split_names: set[str]) -> str:
    """Returns our name of a table's split; '' if all tables have the same."""
    split_id = database[table].split_id
    if '' in split_names:  # some tables have no split
        return ''
    return choose_split(str(database.splits[split_id].type), split_names)


def read_column(database, place: Place, part: str | None = None) -> dict[Segment, str]:
    """Returns the text of each segment in a column, or `part` of what its scheme says of it."""
    column = database[place.table].columns[place.column]
    values = column.get() if part is None else column.get(map=part)
    texts = {}
    for key, value in values.items():
        segment = key if isinstance(key, tuple) else (key, None, None)
        text = '' if is_missing(value) else to_text(value)
        texts[segment[0], to_seconds(segment[1]), to_seconds(segment[2])] = text
    return texts


def is_missing(value: object) -> bool:
    """Returns whether a cell of pandas is empty."""
    import pandas

    return bool(pandas.isna(value))


def to_seconds(time) -> str:
    """Returns a time in seconds; '' for the beginning and for the end of a file."""
    if time is None or is_missing(time) or not time.total_seconds():
        return ''
    return f'{time.total_seconds():.9g}'


def read_info(database, column: str, places: list[Place]) -> dict[Segment, str]:
    """Returns the text of a column of ours by segment, from the first table that has it."""
    values: dict[Segment, str] = {}
    for place in places:
        for segment, text in read_column(database, place).items():
            if text:
                values.setdefault(segment, text)
    for place, part in find_scheme_parts(database, column):
        for segment, text in read_column(database, place, part).items():
            if text:
                values.setdefault(segment, text)
    return values


def find_scheme_parts(database, column: str) -> list[tuple[Place, str]]:
    """Returns which parts of the labels of schemes are a column: of a speaker the gender."""
    parts = []
    for place in list_places(database):
        scheme_id = database[place.table].columns[place.column].scheme_id
        scheme = database.schemes[scheme_id] if scheme_id else None
        labels = getattr(scheme, 'labels', None)
        if not isinstance(labels, Mapping):
            continue
        first = next(iter(labels.values()), None)
        for part in first if isinstance(first, Mapping) else ():
            if find_column(str(part).casefold()) == column:
                parts.append((place, part))
    return parts


def to_short_language(language: str) -> str:
    """Returns a language of audformat (ISO 639-3) as ISO 639-1, if it has such a code."""
    try:
        from iso639 import Lang

        return Lang(language).pt1 or language
    except (ImportError, KeyError, ValueError):
        return language


def with_rating_scale(
    database, places: Mapping[str, list[Place]], options: ListOptions
) -> ListOptions:
    """Returns the options with the scale of the ratings' schemes, unless --scale says it."""
    scales = set()
    for column in RATING_COLUMNS:
        for place in places.get(column, []):
            scheme_id = database[place.table].columns[place.column].scheme_id
            scheme = database.schemes[scheme_id] if scheme_id else None
            if getattr(scheme, 'minimum', None) is not None and scheme.maximum is not None:
                scales.add((float(scheme.minimum), float(scheme.maximum)))
    if options.scale != OUR_SCALE or len(scales) != 1:
        return options
    (scale,) = scales
    print_text(f'Ratings are on the scale of their schemes, {scale[0]:g} to {scale[1]:g}.')
    return dataclasses.replace(options, scale=parse_scale(*scale))


CORPUS = Corpus(
    name='audformat',
    title='a database in audformat',
    languages=(),
    speakers=None,
    expected_counts=(),
    licence='your own',
    homepage='https://audeering.github.io/audformat',
    walk=walk,
    source_hint=f'{SOURCE_HINT}.',
    is_own_list=True,
)

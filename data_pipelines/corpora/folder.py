"""Your own corpus, listed in a CSV file with one utterance per row.

The columns path, speaker and emotion are required; `OPTIONAL_COLUMNS` are optional.
"""

import collections
import math
import re
from pathlib import Path

from data_pipelines import csv_files, labels
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError
from data_pipelines.wording import pluralize

REQUIRED_COLUMNS = ('path', 'speaker', 'emotion')
OPTIONAL_TEXT_COLUMNS = ('sex', 'session', 'sentence', 'style', 'split')
RATING_COLUMNS = ('arousal', 'valence', 'dominance')
OPTIONAL_COLUMNS = (
    'start',
    'end',
    'channel',
    'language',
    'corpus',
    *OPTIONAL_TEXT_COLUMNS,
    *RATING_COLUMNS,
)
UNKNOWN_EMOTION = 'unknown emotion'  # beginning of that problem's description
MAX_REPORTED = 10  # problems in one message
MAX_LINES = 3  # line numbers of one problem

SOURCE_HINT = f'--source of `folder` is a CSV file with the columns {", ".join(REQUIRED_COLUMNS)}.'


def walk(source: Path) -> list[Utterance]:
    """Returns the utterances that the CSV file `source` lists, in its order.

    Paths are relative to the folder of the file. Start and end are in seconds; ratings are from -1
    to 1. An utterance is named by its path, by `#start-end` if it is a segment, and by `@channel`
    if a channel is chosen. Raises a UserError that lists what is wrong with the file.
    """
    if not source.is_file():
        raise UserError(f'{source} is not a file. {SOURCE_HINT}')
    numbered_rows = read_numbered_rows(source)
    check_rows(source, numbered_rows)
    utterances = []
    lines_by_name = collections.defaultdict(list)
    for number, row in numbered_rows:
        utterance = make_utterance(source.parent, row)
        utterances.append(utterance)
        lines_by_name[utterance.name].append(str(number))
    check_unique(source, lines_by_name)
    return utterances


def read_numbered_rows(source: Path) -> list[tuple[int, dict]]:
    """Returns each row with its line number; raises a UserError if the file is not CSV."""
    numbered_rows = []
    try:
        # The names of files may be any bytes.
        with csv_files.open_rows(source, errors='surrogateescape', strict=True) as reader:
            check_columns(source, reader.fieldnames or [])
            for row in reader:
                numbered_rows.append((reader.line_num, strip_cells(row)))
    except csv_files.Error as error:
        raise UserError(f'{source}, line {reader.line_num}, is not CSV: {error}.') from None
    return numbered_rows


def strip_cells(row: dict) -> dict:
    """Returns the row without spaces at the ends of cells, as 'anna ' and 'anna' are one speaker.

    The path keeps its spaces: they may belong to the name of the file.
    """
    stripped = dict(row)
    for column, text in row.items():
        if column != 'path' and isinstance(text, str):
            stripped[column] = text.strip()
    return stripped


def check_columns(source: Path, columns: list[str]) -> None:
    """Raises a UserError if required columns are missing, or columns are unknown or repeated."""
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    unknown = [c for c in columns if c not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS]
    if missing or unknown or len(set(columns)) < len(columns):
        raise UserError(
            f'{source} has the columns {", ".join(columns) or "(none)"}; '
            f'missing: {", ".join(missing) or "none"}, unknown: {", ".join(unknown) or "none"}. '
            f'Expected {", ".join(REQUIRED_COLUMNS)}, and optionally '
            f'{", ".join(OPTIONAL_COLUMNS)}, each once and separated by commas.'
        )


def check_rows(source: Path, numbered_rows: list[tuple[int, dict]]) -> None:
    """Raises a UserError if there is no row, or rows have problems."""
    lines_by_problem = collections.defaultdict(list)
    for number, row in numbered_rows:
        problem = find_problem(row)
        if problem:
            lines_by_problem[problem].append(number)
    if lines_by_problem:
        raise UserError(f'{source} has {describe_problems(lines_by_problem)}')
    if not numbered_rows:
        raise UserError(f'{source} has a header, but no utterances. Add a line for each utterance.')


def describe_problems(lines_by_problem: dict[str, list[int]]) -> str:
    """Returns a message with each problem once, how many rows have it, and the first of them."""
    descriptions = []
    for problem, lines in lines_by_problem.items():
        if len(lines) == 1:
            descriptions.append(f'line {lines[0]}: {problem}')
            continue
        listed = [str(line) for line in lines[:MAX_LINES]]
        if len(lines) > MAX_LINES:
            listed.append('...')
        descriptions.append(f'{problem} in {len(lines)} rows (lines {", ".join(listed)})')
    count = sum(len(lines) for lines in lines_by_problem.values())
    message = f'{pluralize(count, "row")} that cannot be used. Correct or remove them: '
    message += '; '.join(descriptions[:MAX_REPORTED])
    if len(descriptions) > MAX_REPORTED:
        message += f'; and {pluralize(len(descriptions) - MAX_REPORTED, "other problem")}'
    if any(problem.startswith(UNKNOWN_EMOTION) for problem in lines_by_problem):
        message += f'. Expected emotions: {", ".join(labels.EMOTIONS)}'
    return message + '.'


def check_unique(source: Path, lines_by_name: dict[str, list[str]]) -> None:
    """Raises a UserError if an utterance is on more than one line."""
    repeated = []
    for name, lines in lines_by_name.items():
        if len(lines) > 1:
            repeated.append(f'{name} on lines {", ".join(lines)}')
    if repeated:
        raise UserError(
            f'{source} lists the same utterance more than once. Keep one line of each: '
            f'{"; ".join(repeated[:MAX_REPORTED])}.'
        )


def find_problem(row: dict) -> str | None:
    """Returns what is wrong with a row, or None."""
    if None in row or None in row.values():
        return 'more or fewer cells than the header has columns'
    return (
        find_text_problem(row)
        or find_rating_problem(row)
        or find_time_problem(row)
        or find_channel_problem(row)
    )


def find_text_problem(row: dict[str, str]) -> str | None:
    """Returns what is wrong with a row's texts, or None."""
    texts = [text for column, text in row.items() if column != 'path']
    if re.search('[\ud800-\udfff]', ''.join(texts)):  # what surrogateescape makes of other bytes
        return 'text that is not UTF-8'
    empty = [column for column in REQUIRED_COLUMNS if not row[column]]
    if empty:
        return f'no {" and no ".join(empty)}'
    if row['emotion'] not in labels.EMOTIONS:
        return f'{UNKNOWN_EMOTION} {row["emotion"]!r}'
    if not re.fullmatch(r'(train|dev|test\w*)?', row.get('split', '')):
        return f'split {row["split"]!r} is neither train nor dev nor test (or test2, ...)'
    if row.get('sex', '') not in ('', 'female', 'male'):
        return f'sex {row["sex"]!r} is neither female nor male'
    return None


def find_rating_problem(row: dict[str, str]) -> str | None:
    """Returns what is wrong with a row's ratings, or None."""
    for column in RATING_COLUMNS:
        if row.get(column) and not is_rating(row[column]):
            return f'{column} {row[column]!r} is not a number from -1 to 1'
    return None


def find_time_problem(row: dict[str, str]) -> str | None:
    """Returns what is wrong with a row's start and end, or None."""
    try:
        start = float(row.get('start') or 0)
        end = float(row.get('end') or math.inf)
    except ValueError:
        return f'start {row.get("start")!r} or end {row.get("end")!r} is not a number of seconds'
    if start < 0:
        return f'start {start:g} is before the beginning of the file'
    if not start < end:  # also if one of them is NaN
        return f'the segment from {start:g} to {end:g} s has no length'
    return None


def find_channel_problem(row: dict[str, str]) -> str | None:
    """Returns what is wrong with a row's channel, or None."""
    channel = row.get('channel', '')
    if re.fullmatch(r'([1-9][0-9]{0,2})?', channel):
        return None
    return f'channel {channel!r} is not a number from 1 (empty is the mean of all channels)'


def is_rating(text: str) -> bool:
    """Returns whether a cell holds a number from -1 to 1."""
    try:
        return -1 <= float(text) <= 1
    except ValueError:
        return False


def make_utterance(folder: Path, row: dict[str, str]) -> Utterance:
    """Returns the utterance of a row that has no problem."""
    start = row.get('start', '')
    end = row.get('end', '')
    name = row['path']
    if start or end:
        name += f'#{start}-{end}'
    if row.get('channel'):
        name += f'@{row["channel"]}'
    texts = {column: row.get(column, '') for column in OPTIONAL_TEXT_COLUMNS}
    ratings = {}
    for column in RATING_COLUMNS:
        ratings[column] = float(row[column]) if row.get(column) else None
    return Utterance(
        name=name.encode(errors='surrogateescape').decode(errors='backslashreplace'),
        path=folder / row['path'],
        speaker=row['speaker'],
        emotion=row['emotion'],
        language=row.get('language', ''),
        corpus=row.get('corpus') or 'folder',
        start=float(start or 0),
        end=float(end) if end else None,
        channel=int(row.get('channel') or 0),
        **texts,
        **ratings,
    )


CORPUS = Corpus(
    name='folder',
    title='your own folder',
    languages=(),
    speakers=None,
    expected_counts=(),
    licence='your own',
    homepage='your own disk',
    walk=walk,
    source_hint=SOURCE_HINT,
)

"""Bring your own: a CSV, one utterance a line, with columns path, speaker, emotion and, where you have them, `OPTIONAL`."""

import collections
import math
import re
from pathlib import Path

from data_pipelines import csv_files, labels
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.errors import UserError

REQUIRED_COLUMNS = ('path', 'speaker', 'emotion')
OPTIONAL_TEXT_COLUMNS = ('sex', 'session', 'sentence', 'style', 'split')
RATING_COLUMNS = ('arousal', 'valence', 'dominance')
OPTIONAL_COLUMNS = ('start', 'end', 'language', 'corpus', *OPTIONAL_TEXT_COLUMNS, *RATING_COLUMNS)


def walk(source: Path) -> list[Utterance]:
    """The utterances that the CSV lists, in its order; paths are relative to it, start and end are seconds, ratings -1 to 1.

    An utterance is named by its path, and by `#start-end` where it is a segment. Refuses a CSV with all that is wrong with it.
    """
    if not source.is_file():
        raise UserError(
            f'{source} is not a file; for `folder`, --source is a CSV with columns {", ".join(REQUIRED_COLUMNS)}.'
        )
    try:
        # The names of files may be any bytes.
        with csv_files.open_rows(source, errors='surrogateescape', strict=True) as reader:
            check_columns(source, reader.fieldnames or ())
            rows = [(reader.line_num, strip_cells(row)) for row in reader]
    except csv_files.Error as e:
        raise UserError(f'{source}, line {reader.line_num}, is no CSV: {e}.') from None
    wrong = [f'line {number}: {problem}' for number, row in rows if (problem := find_problem(row))]
    if wrong:
        raise UserError(
            f'{source} has {len(wrong)} lines that cannot be used; {"; ".join(wrong[:10])}.'
        )
    if not rows:
        raise UserError(f'{source} has a header, but no utterances.')
    utterances = [make_utterance(source.parent, row) for _, row in rows]
    lines = collections.defaultdict(list)
    for (number, _), u in zip(rows, utterances):
        lines[u.name].append(number)
    if twice := [
        f'{name} on lines {", ".join(map(str, where))}'
        for name, where in lines.items()
        if len(where) > 1
    ]:
        raise UserError(
            f'{source} lists the same utterance more than once: {"; ".join(twice[:10])}.'
        )
    return utterances


def strip_cells(row: dict) -> dict:
    """The cells without blanks at their ends, by which one speaker would be two; but for the path, which may have them."""
    return {k: v.strip() if k != 'path' and isinstance(v, str) else v for k, v in row.items()}


def check_columns(source: Path, found: list[str]) -> None:
    """Refuses a header without the required columns, or with columns of no meaning."""
    missing, unknown = (
        [c for c in REQUIRED_COLUMNS if c not in found],
        [c for c in found if c not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS],
    )
    if missing or unknown or len(set(found)) < len(found):
        raise UserError(
            f'{source} has the columns {", ".join(found) or "(none)"}; missing: {", ".join(missing) or "none"}, unknown: '
            f'{", ".join(unknown) or "none"}. Expected, each once and separated by commas: {", ".join(REQUIRED_COLUMNS)} and, if wanted, '
            f'{", ".join(OPTIONAL_COLUMNS)}.'
        )


def find_problem(row: dict) -> str | None:
    """What is wrong with a row, if anything."""
    if None in row or None in row.values():
        return 'more or fewer cells than columns'
    if any(
        '\ud800' <= c <= '\udfff' for column, text in row.items() if column != 'path' for c in text
    ):
        return 'text that is not UTF-8'
    if empty := [c for c in REQUIRED_COLUMNS if not row[c]]:
        return f'no {" and no ".join(empty)}'
    if row['emotion'] not in labels.EMOTIONS:
        return f'emotion {row["emotion"]!r} is none of {", ".join(labels.EMOTIONS)}'
    if not re.fullmatch(r'(train|dev|test\w*)?', row.get('split', '')):
        return f'split {row["split"]!r} is neither train nor dev nor test (or test2, ...)'
    if row.get('sex', '') not in ('', 'female', 'male'):
        return f'sex {row["sex"]!r} is neither female nor male'
    for column in RATING_COLUMNS:
        if row.get(column) and not is_rating(row[column]):
            return f'{column} {row[column]!r} is no number from -1 to 1'
    try:
        start, end = float(row.get('start') or 0), float(row.get('end') or math.inf)
    except ValueError:
        return f'start {row.get("start")!r} or end {row.get("end")!r} is no number of seconds'
    if start < 0:
        return f'start {start:g} lies before the file'
    return None if start < end else f'the segment from {start:g} to {end:g} s has no length'


def is_rating(text: str) -> bool:
    """Whether a cell holds a rating."""
    try:
        return -1 <= float(text) <= 1
    except ValueError:
        return False


def make_utterance(folder: Path, row: dict[str, str]) -> Utterance:
    """The utterance of a row in which nothing is wrong."""
    times = [row.get('start', ''), row.get('end', '')]
    name = row['path'] + (f'#{"-".join(times)}' if any(times) else '')
    return Utterance(
        name=name.encode(errors='surrogateescape').decode(errors='backslashreplace'),
        path=folder / row['path'],
        speaker=row['speaker'],
        emotion=row['emotion'],
        language=row.get('language', ''),
        corpus=row.get('corpus') or 'folder',
        start=float(times[0] or 0),
        end=float(times[1]) if times[1] else None,
        **{key: row.get(key, '') for key in OPTIONAL_TEXT_COLUMNS},
        **{key: float(row[key]) if row.get(key) else None for key in RATING_COLUMNS},
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
)

"""Reads the ratings in a list of the user's own: arousal, valence and dominance on one scale."""

from collections.abc import Mapping
from pathlib import Path

from data_pipelines.corpora._list_options import Scale
from data_pipelines.corpora._list_problems import NOT_ON_SCALE, Problem
from data_pipelines.corpora._list_votes import NO_WINNER
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

RATING_COLUMNS = ('arousal', 'valence', 'dominance')


def rated_columns(numbered_rows: list[tuple[int, dict]]) -> list[str]:
    """Returns the ratings that at least one row has."""
    rated = []
    for column in RATING_COLUMNS:
        if any(row.get(column) for _, row in numbered_rows):
            rated.append(column)
    return rated


def fill_undecided(source: Path, numbered_rows: list[tuple[int, dict]]) -> None:
    """Writes `undecided` where a list with ratings has no emotion, and prints how often.

    Lists without any rating, and rows with another number of cells than columns, stay as they are.
    """
    for _, row in numbered_rows:
        row.setdefault('emotion', '')
    if not rated_columns(numbered_rows):
        return
    filled = 0
    for _, row in numbered_rows:
        if row['emotion'] == '':
            row['emotion'] = NO_WINNER
            filled += 1
    if filled:
        print_text(
            f'{pluralize(filled, "row")} of {source} without an emotion: it is {NO_WINNER}, '
            'because the list has ratings. Training on ratings uses such rows, and training on '
            'emotions leaves them out.'
        )


def is_rating(text: str, scale: Scale) -> bool:
    """Returns whether a cell holds a number on the scale."""
    try:
        return scale.low <= float(text) <= scale.high
    except ValueError:
        return False


def find_rating_problems(row: Mapping[str, str], scale: Scale) -> list[Problem]:
    """Returns what is wrong with each rating of a row."""
    problems = []
    for column in RATING_COLUMNS:
        if row.get(column) and not is_rating(row[column], scale):
            form = f'{column} {{}} {NOT_ON_SCALE} {scale.low:g} to {scale.high:g}'
            problems.append(Problem(form, repr(row[column])))
    return problems


def print_ratings(numbered_rows: list[tuple[int, dict]], scale: Scale) -> None:
    """Prints the number and the range of each rating, and warns if the scale is probably another.

    The rows have no problem. The scale is doubtful if it is half empty: if all ratings are below
    its middle, or all are above it.
    """
    doubtful = []
    for column in rated_columns(numbered_rows):
        ratings = [float(row[column]) for _, row in numbered_rows if row.get(column)]
        missing = len(numbered_rows) - len(ratings)
        without = f'; {pluralize(missing, "row")} without it' if missing else ''
        print_text(
            f'{column}: {pluralize(len(ratings), "row")}, {min(ratings):g} to {max(ratings):g} on '
            f'the scale {scale.low:g} to {scale.high:g}{without}.'
        )
        middle = (scale.low + scale.high) / 2
        if max(ratings) < middle or min(ratings) > middle:
            doubtful.append(column)
    if doubtful:
        print_text(
            f'Warning: all ratings of {" and ".join(doubtful)} are in one half of the scale. If '
            'the raters had another scale, remove the data set, and prepare it again with their '
            'scale, such as --scale 1 5 or --scale 1 7.'
        )

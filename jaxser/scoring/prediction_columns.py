"""Finds the columns of predictions.csv."""

import collections
from pathlib import Path
from typing import NamedTuple

from data_pipelines import labels
from data_pipelines.corpora._list_columns import COLUMN_BY_NAME
from data_pipelines.corpora._list_table import Table
from data_pipelines.errors import UserError
from data_pipelines.protocols.split_file import FACT_COLUMNS
from data_pipelines.storage.schema import RATING_COLUMNS
from data_pipelines.terminal import print_text
from data_pipelines.wording import join_first, pluralize, similar_name_hint
from jaxser.scoring.truth import UTTERANCE_NAMES, Truth

PREDICTED_NAMES = (
    'predicted', 'prediction', 'predictions', 'pred', 'predicted_label', 'predicted_emotion',
    'predicted_class', 'hypothesis', 'hyp',
)  # fmt: skip
# Columns that other programs write beside the predictions, and that are not read.
IGNORED_COLUMNS = ('run', 'fold_name', 'part', 'truth', 'vote_kl', 'confidence', *FACT_COLUMNS)
MAX_LISTED_COLUMNS = 10


class Columns(NamedTuple):
    """Which column of a file has what; '' where it has none."""

    utterance: str
    by_path: bool  # whether it has the path instead of the name
    fold: str
    seed: str
    predicted: str
    posteriors: dict[str, str]  # column by class
    ratings: dict[str, str]  # column by rating


def find_columns(path: Path, table: Table, truth: Truth) -> Columns:
    """Returns which column has what.

    UserError for a column that is doubled, and if the names of utterances are missing.
    """
    names = table.columns
    doubled = [name for name, count in collections.Counter(names).items() if count > 1]
    if doubled:
        raise UserError(f'{path} has the column {doubled[0]!r} twice. Remove one of them.')
    plain = {name: name.replace(' ', '_').replace('-', '_') for name in names}
    class_by_column = {labels.fold_word(name): name for name in truth.classes}
    posteriors = {class_by_column[name]: name for name in names if name in class_by_column}
    utterance = _first(names, plain, UTTERANCE_NAMES)
    by_path = not utterance
    if by_path:
        utterance = _first(names, plain, _usual_names('path'))
    if not utterance:
        raise UserError(
            f'{path} has no column utterance; it has {", ".join(names) or "none"}. Expected the '
            'name of the utterance as in the split file, and the predictions.'
        )
    ratings = {}
    for rating in RATING_COLUMNS:
        column = _first(names, plain, _usual_names(rating))
        if column and column not in class_by_column:
            ratings[rating] = column
    predicted = _first(names, plain, PREDICTED_NAMES)
    return Columns(
        utterance,
        by_path,
        'fold' if 'fold' in names else '',
        'seed' if 'seed' in names else '',
        predicted if predicted not in class_by_column else '',
        dict(sorted(posteriors.items())),
        ratings,
    )


def _usual_names(column: str) -> tuple[str, ...]:
    """Returns our name of a column and the other names that are understood."""
    return column, *(name for name, ours in COLUMN_BY_NAME.items() if ours == column)


def _first(names: list[str], plain: dict[str, str], wanted: tuple[str, ...]) -> str:
    """Returns the column that has the first of the wanted names; '' if there is none."""
    for name in wanted:
        for column in names:
            if plain[column] == name:
                return column
    return ''


def check_classes(path: Path, table: Table, columns: Columns, truth: Truth) -> None:
    """Raises a UserError unless the columns have what the task needs, and no other class."""
    used = {columns.utterance, columns.fold, columns.seed, columns.predicted}
    used |= {*columns.posteriors.values(), *columns.ratings.values()}
    foreign = []
    for name in table.columns:
        is_fact = name in IGNORED_COLUMNS or name.startswith('truth_')
        if name not in used and not is_fact and name not in (*COLUMN_BY_NAME, 'path'):
            foreign.append(name)
    classes = [name for name in foreign if _is_numeric(table, name)]
    expected = ', '.join(truth.classes) or 'none'
    if classes:
        listed = join_first(classes, MAX_LISTED_COLUMNS)
        raise UserError(
            f'{path} has {pluralize(len(classes), "column")} of numbers that the task has no class '
            f'for: {listed}.{similar_name_hint(classes[0], truth.classes)} The classes of the task '
            f'are {expected}. Rename the columns, or remove them if they are no classes.'
        )
    missing = [name for name in truth.classes if name not in columns.posteriors]
    if columns.posteriors and missing:
        raise UserError(
            f'{path} has no column for {pluralize(len(missing), "class")} of the task: '
            f'{", ".join(missing)}; it has {", ".join(columns.posteriors)}. Add the posteriors of '
            'all classes (0 where a system never predicts a class).'
        )
    if not (columns.posteriors or columns.predicted or columns.ratings):
        raise UserError(
            f'{path} has no predictions; its columns are {", ".join(table.columns)}. Expected a '
            f'column with the posterior of each class ({expected}), or a column predicted with the '
            f'class, or ratings: {", ".join(truth.ratings or RATING_COLUMNS)}.'
        )
    unrated = [name for name in columns.ratings if name not in truth.ratings]
    if unrated:
        raise UserError(
            f'{path} predicts {", ".join(unrated)}, which the truth {truth.rows.path} does not '
            f'have; it has {", ".join(truth.ratings) or "no ratings"}. Remove the column, or use '
            'the split file of a task with ratings.'
        )
    if foreign:
        print_text(
            f'Columns of {path} that are not used: {join_first(foreign, MAX_LISTED_COLUMNS)}.'
        )


def _is_numeric(table: Table, name: str) -> bool:
    """Returns whether all cells of a column are numbers, and at least one is not empty."""
    cells = {row.get(name) or '' for _, row in table.numbered_rows} - {''}
    try:
        list(map(float, cells))
    except ValueError:
        return False
    return bool(cells)

"""Matches the rows of predictions.csv with the tested utterances, and refuses what does not fit.

Shapes: R rows of the file, Z seeds, N tested rows of the truth.
"""

import collections
import os
from pathlib import Path

import numpy as np

from data_pipelines import labels
from data_pipelines.corpora._list_table import Table
from data_pipelines.errors import UserError
from data_pipelines.wording import join_first, pluralize
from jaxser.scoring.prediction_columns import Columns
from jaxser.scoring.truth import MAX_LISTED, Truth


def settle_names(path: Path, table: Table, columns: Columns, truth: Truth) -> Columns:
    """Returns the columns, of which a column of paths may have the names of utterances.

    Raises a UserError if no name is one of the truth file.
    """
    text = truth.rows.text
    names = [row.get(columns.utterance) or '' for _, row in table.numbered_rows]
    if columns.by_path:
        has_names = set(names) <= set(text['utterance'].tolist())
        columns = columns._replace(by_path=not has_names and any(truth.column('path').tolist()))
    column = 'path' if columns.by_path else 'utterance'
    if names and set(names).isdisjoint(text[column].tolist()):
        raise _foreign_error(path, truth, names, truth.column(column).tolist())
    return columns


def _foreign_error(path: Path, truth: Truth, names: list[str], known: list[str]) -> UserError:
    """Returns the error for predictions of which no utterance is known."""
    if set(map(_stem, names)) <= set(map(_stem, known)):
        return _unknown_names_error(path, truth, names, known)
    return UserError(
        f'{path} and {truth.rows.path} have no utterance in common: the predictions are of another '
        f'corpus or split, or their names are written in another way. {path.name} has names such '
        f'as {names[0]!r}, and {truth.rows.path.name} such as {known[0]!r}.'
    )


def _unknown_names_error(path: Path, truth: Truth, names: list[str], known: list[str]) -> UserError:
    """Returns the error for predictions of utterances that the truth file does not have."""
    names = list(dict.fromkeys(names))
    hint = f'The file has names such as {known[0]!r}.'
    if set(map(_stem, names)) <= set(map(_stem, known)):
        hint = f'Without folders and endings the names are the same: write them as {known[0]!r}.'
    return UserError(
        f'{path} has predictions of {pluralize(len(names), "utterance")} that {truth.rows.path} '
        f'does not have: {join_first(names, MAX_LISTED)}. {hint}'
    )


def match_rows(
    path: Path, table: Table, columns: Columns, truth: Truth
) -> tuple[list[str], np.ndarray]:
    """Returns the seeds, and place_2xR: the index of each row's seed and tested row.

    Raises a UserError unless every seed has every tested utterance exactly once.
    """
    rows = [row for _, row in table.numbered_rows]
    seed_R = [row.get(columns.seed) or '' for row in rows]
    seeds = _sort_seeds(path, columns, seed_R)
    name_R = [row.get(columns.utterance) or '' for row in rows]
    index, left_out = _truth_index(path, columns, truth)
    fold_R = _parse_folds(path, columns, truth, rows)
    keys = list(zip(fold_R, name_R))
    _check_doubled(path, columns, seed_R, keys)
    unknown = [key for key in keys if key not in index and key not in left_out]
    if unknown:
        raise _unknown_error(path, columns, truth, unknown, index)
    seed_index = {seed: z for z, seed in enumerate(seeds)}
    place_2xR = np.full((2, len(rows)), -1)
    for r, key in enumerate(keys):
        if key in index:
            place_2xR[:, r] = seed_index[seed_R[r]], index[key]
    _check_complete(path, truth, seeds, place_2xR)
    return seeds, place_2xR


def _sort_seeds(path: Path, columns: Columns, seed_R: list[str]) -> list[str]:
    seeds = set(seed_R)
    if columns.seed and '' in seeds:
        raise UserError(
            f'{path} has {pluralize(seed_R.count(""), "row")} without a seed. Write the seed of '
            'every row, or remove the column seed.'
        )
    if all(seed.isdecimal() for seed in seeds):
        return sorted(seeds, key=int)
    return sorted(seeds)


def _truth_index(path: Path, columns: Columns, truth: Truth) -> tuple[dict, set]:
    """Returns the tested row by (fold, name), and the keys of rows that are not scored.

    The fold is None where the predictions do not have it.
    """
    column = 'path' if columns.by_path else 'utterance'
    name_N = truth.column(column).tolist()
    fold_N = truth.fold_N.tolist() if columns.fold else [None] * len(name_N)
    index = {key: n for n, key in enumerate(zip(fold_N, name_N))}
    if len(index) < len(name_N):
        counts = collections.Counter(name_N)
        several = [name for name, count in counts.items() if count > 1]
        remedy = 'Add a column fold with the number of the fold, from 0.'
        if columns.fold:
            remedy = 'Give the column utterance instead.'
        raise UserError(
            f'{path} does not say which prediction is meant: {pluralize(len(several), column)} '
            f'of {truth.rows.path} occur several times ({join_first(several, MAX_LISTED)}). '
            f'{remedy}'
        )
    rows = truth.left_out_N
    folds = truth.rows.fold_R[rows].tolist() if columns.fold else [None] * len(rows)
    return index, set(zip(folds, truth.rows.text[column][rows].tolist()))


def _parse_folds(path: Path, columns: Columns, truth: Truth, rows: list[dict]) -> list[int | None]:
    """Returns the number of each row's fold; None for all if the file has no folds."""
    if not columns.fold:
        return [None] * len(rows)
    number_by_word = {name: number for number, name in truth.rows.fold_names.items()}
    number_by_word |= {str(number): number for number in truth.fold_numbers}
    words = [labels.WHOLE_NUMBER_PATTERN.sub(r'\1', row.get('fold') or '') for row in rows]
    unknown = sorted(set(words) - set(number_by_word))
    if unknown:
        numbers = truth.fold_numbers
        hint = ''
        if set(words) == {str(number + 1) for number in numbers}:
            hint = ' Yours begin with 1: subtract 1.'
        raise UserError(
            f'{path} has the fold {unknown[0]!r}; the folds of {truth.rows.path} are '
            f'{join_first(list(map(str, numbers)), 10)}, or their names, such as '
            f'{truth.rows.fold_names[numbers[0]]!r}.{hint}'
        )
    return [number_by_word[word] for word in words]


def _check_doubled(path: Path, columns: Columns, seed_R: list[str], keys: list[tuple]) -> None:
    """Raises a UserError if an utterance is predicted twice in a fold and seed."""
    counts = collections.Counter(zip(seed_R, keys))
    doubled = [name for (_, (_, name)), count in counts.items() if count > 1]
    if not doubled:
        return
    remedy = 'Remove the other rows.'
    if not columns.fold or not columns.seed:
        missing = [name for name in ('fold', 'seed') if not getattr(columns, name)]
        remedy = (
            f'Remove the other rows, or add the column {" or ".join(missing)} if they are of '
            'several folds or trainings.'
        )
    raise UserError(
        f'{path} predicts {pluralize(len(doubled), "utterance")} more than once in a fold and '
        f'seed: {join_first(doubled, MAX_LISTED)}. {remedy} (Of a sweep of jaxser, python -m '
        'jaxser.submission writes one setting in this form.)'
    )


def _unknown_error(
    path: Path, columns: Columns, truth: Truth, unknown: list[tuple], index: dict
) -> UserError:
    """Returns the error for predictions of utterances that are not tested."""
    rows = truth.rows
    column = 'path' if columns.by_path else 'utterance'
    known = set(rows.text[column].tolist())
    names = list(dict.fromkeys(name for _, name in unknown))
    elsewhere = [name for name in names if name in known]
    if elsewhere:
        return UserError(
            f'{path} has predictions of {pluralize(len(elsewhere), "utterance")} that '
            f'{rows.path} does not test there, but in another part or fold: '
            f'{join_first(elsewhere, MAX_LISTED)}. Give the predictions of the part test of each '
            'fold only.'
        )
    return _unknown_names_error(path, truth, names, [name for _, name in index])


def _stem(name: str) -> str:
    return os.path.splitext(name.replace('\\', '/').rpartition('/')[2])[0]


def _check_complete(path: Path, truth: Truth, seeds: list[str], place_2xR: np.ndarray) -> None:
    """Raises a UserError if a seed lacks folds or utterances."""
    is_found_ZxN = np.zeros((len(seeds), len(truth)), bool)
    found = place_2xR[:, place_2xR[0] >= 0]
    is_found_ZxN[found[0], found[1]] = True
    if is_found_ZxN.all():
        return
    z = int(np.argmin(is_found_ZxN.all(1)))
    of_seed = f' with the seed {seeds[z]}' if len(seeds) > 1 else ''
    others = ''
    if len(seeds) > 1 and is_found_ZxN.all(1).any():
        others = ' Other seeds have them: all seeds need the same utterances.'
    missing_N = ~is_found_ZxN[z]
    whole_folds = []
    for number in truth.fold_numbers:
        own_N = truth.fold_N == number
        if own_N.any() and missing_N[own_N].all():
            whole_folds.append(f'{number} ({truth.rows.fold_names[number]})')
    if whole_folds and len(whole_folds) < len(truth.fold_numbers):
        raise UserError(
            f'{path} has no predictions{of_seed} of {pluralize(len(whole_folds), "fold")} of '
            f'{len(truth.fold_numbers)}: {join_first(whole_folds, 5)}.{others} Train and test on '
            'every fold: the folds are pooled.'
        )
    names = truth.column('utterance')[missing_N].tolist()
    raise UserError(
        f'{path} lacks predictions{of_seed} of {len(names)} of {len(truth)} tested utterances: '
        f'{join_first(names, MAX_LISTED)}.{others} Predict all of them: a system that leaves out '
        'difficult utterances cannot be compared.'
    )

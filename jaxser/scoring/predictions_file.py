"""Reads the predictions of a system and matches them with the tested utterances.

predictions.csv has a row for each tested utterance, fold and seed:

  utterance       as in the split file; or `path`, as its column path
  <class> ...     the posterior of each class, or `predicted`, the class
  arousal ...     the predicted ratings, on the scale of the truth
  fold            the number or the name of the fold; not needed if every utterance is tested once
  seed            any text; every seed has all tested utterances

Shapes: R rows of the file, Z seeds, N tested rows of the truth, C classes, A ratings.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines import labels
from data_pipelines.corpora._list_table import Table, read_table
from data_pipelines.errors import UserError
from data_pipelines.storage.schema import RATING_COLUMNS
from data_pipelines.wording import join_first, pluralize, similar_name_hint
from jaxser.scoring.matching import match_rows, settle_names
from jaxser.scoring.prediction_checks import check_posteriors, check_scale
from jaxser.scoring.prediction_columns import (
    PREDICTED_NAMES,
    Columns,
    check_classes,
    find_columns,
)
from jaxser.scoring.systems import SystemFiles
from jaxser.scoring.truth import MAX_LISTED, UTTERANCE_NAMES, Truth, check_lengths
from jaxser.workdir_files import read_regular

# Posteriors whose sum is farther from 1 are divided by it: they were written with few digits.
MAX_ROUNDING = 1e-4
COPY_AGAIN = 'Copy it again, or name the right file.'


class Predictions(NamedTuple):
    """The predictions of a system, in the order of the tested rows of the truth."""

    system: SystemFiles
    sha256: str  # of the file
    seeds: list[str]
    predicted_ZxN: np.ndarray | None  # indices of classes; None where no class is predicted
    p_ZxNxC: np.ndarray | None  # posteriors; None where there are none
    ratings: tuple[str, ...]
    rating_ZxNxA: np.ndarray | None
    notes: list[str]  # sentences for the page


def read_predictions(system: SystemFiles, truth: Truth) -> Predictions:
    """Reads the predictions of a system and checks that they are of the tested utterances.

    Raises:
      UserError: The file does not fit the task; the message says what was found, with counts.
    """
    path = system.predictions
    content = read_regular(path, COPY_AGAIN)
    known = {*UTTERANCE_NAMES, *PREDICTED_NAMES, 'path', 'fold', 'seed', *RATING_COLUMNS}
    known |= {labels.fold_word(name) for name in truth.classes}
    table = read_table(path, known, known)
    check_lengths(path, table)
    columns = settle_names(path, table, find_columns(path, table, truth), truth)
    check_classes(path, table, columns, truth)
    if not table.numbered_rows:
        raise UserError(f'{path} has a header, but no predictions.')
    seeds, place_2xR = match_rows(path, table, columns, truth)
    reader = _CellReader(path, table, columns, truth, place_2xR)
    p_ZxNxC = reader.read_posteriors()
    predicted_ZxN = reader.read_predicted(p_ZxNxC)
    rating_ZxNxA = reader.read_ratings()
    if p_ZxNxC is not None and np.isin(p_ZxNxC, (0, 1)).all():
        p_ZxNxC = None
        reader.notes.append('All posteriors are 0 or 1: there is no calibration.')
    return Predictions(
        system,
        hashlib.sha256(content).hexdigest(),
        seeds,
        predicted_ZxN,
        p_ZxNxC,
        tuple(columns.ratings),
        rating_ZxNxA,
        reader.notes,
    )


class _CellReader:
    """Reads the cells of matched rows into arrays, and checks them."""

    def __init__(
        self, path: Path, table: Table, columns: Columns, truth: Truth, place_2xR: np.ndarray
    ):
        self.path = path
        self.columns = columns
        self.truth = truth
        self.shape = (int(place_2xR[0].max(initial=0)) + 1, len(truth))  # Z, N
        is_used_R = place_2xR[0] >= 0
        self.place = tuple(place_2xR[:, is_used_R])
        rows = [row for _, row in table.numbered_rows]
        self.rows = [row for row, is_used in zip(rows, is_used_R.tolist()) if is_used]
        self.notes: list[str] = []

    def _name(self, r: int) -> str:
        """Returns the name of the utterance of a row."""
        return self.rows[r][self.columns.utterance]

    def _numbers(self, names: list[str]) -> np.ndarray:
        """Returns these columns as numbers, of shape (R, columns)."""
        value_RxK = np.empty((len(self.rows), len(names)))
        for k, name in enumerate(names):
            for r, row in enumerate(self.rows):
                try:
                    value_RxK[r, k] = float(row[name] or 'nan')
                except ValueError:
                    raise UserError(
                        f'{self.path} has {row[name]!r} in the column {name} of the utterance '
                        f'{self._name(r)}; expected a number.'
                    ) from None
        is_bad_R = ~np.isfinite(value_RxK).all(1)
        if is_bad_R.any():
            examples = [self._name(r) for r in np.flatnonzero(is_bad_R)]
            raise UserError(
                f'{self.path} has no finite number (NaN, infinite or nothing) in '
                f'{pluralize(len(examples), "row")} of the columns {", ".join(names)}: '
                f'{join_first(examples, MAX_LISTED)}. Probably training diverged, or an utterance '
                'was not processed. Predict these utterances again.'
            )
        return value_RxK

    def _placed(self, value_R: np.ndarray) -> np.ndarray:
        """Returns the values of rows in the order of seeds and tested rows."""
        placed = np.zeros((*self.shape, *value_R.shape[1:]), value_R.dtype)
        placed[self.place] = value_R
        return placed

    def read_posteriors(self) -> np.ndarray | None:
        """Returns p_ZxNxC; None if the file has no posteriors."""
        if not self.columns.posteriors:
            return None
        names = [self.columns.posteriors[name] for name in self.truth.classes]
        p_RxC = self._numbers(names)
        check_posteriors(self.path, p_RxC, self._name)
        sum_Rx1 = p_RxC.sum(1, keepdims=True)
        is_rounded_Rx1 = np.abs(sum_Rx1 - 1) > MAX_ROUNDING
        return self._placed(np.where(is_rounded_Rx1, p_RxC / sum_Rx1, p_RxC))

    def read_predicted(self, p_ZxNxC: np.ndarray | None) -> np.ndarray | None:
        """Returns predicted_ZxN: the class with the largest posterior, or the one of the file."""
        largest_ZxN = None if p_ZxNxC is None else p_ZxNxC.argmax(-1)
        column = self.columns.predicted
        if not column:
            return largest_ZxN
        index = {labels.fold_word(name): n for n, name in enumerate(self.truth.classes)}
        word_R = [labels.fold_word(row[column] or '') for row in self.rows]
        unknown = sorted(set(word_R) - set(index))
        if unknown:
            count = sum(word == unknown[0] for word in word_R)
            raise UserError(
                f'{self.path} predicts {unknown[0]!r} in {pluralize(count, "row")}, which is no '
                f'class of the task.{similar_name_hint(unknown[0], index)} Its classes are '
                f'{", ".join(self.truth.classes)}.'
            )
        predicted_ZxN = self._placed(np.array([index[word] for word in word_R], int))
        if largest_ZxN is not None and (predicted_ZxN != largest_ZxN).any():
            count = int((predicted_ZxN != largest_ZxN).sum())
            raise UserError(
                f'{self.path}: in {pluralize(count, "row")}, {column} is not the class with the '
                'largest posterior. Remove the column that is not meant.'
            )
        return predicted_ZxN

    def read_ratings(self) -> np.ndarray | None:
        """Returns rating_ZxNxA; None if the file has no ratings."""
        if not self.columns.ratings:
            return None
        names = list(self.columns.ratings)
        truth_NxA = self.truth.rating_NxA(names)
        unrated = int(np.isnan(truth_NxA).any(1).sum())
        if unrated:
            raise UserError(
                f'{self.truth.rows.path}: {unrated} of {len(truth_NxA)} tested utterances have no '
                f'{", ".join(names)}. Leave them out, or remove the ratings from {self.path}.'
            )
        value_RxA = self._numbers(list(self.columns.ratings.values()))
        for a, name in enumerate(names):
            self.notes += check_scale(self.path, name, value_RxA[:, a], truth_NxA[:, a])
        return self._placed(value_RxA)

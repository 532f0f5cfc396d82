"""Reads predictions.csv, which contains the test predictions of every run of a sweep.

Its posteriors are the softmax of a run's scores and are not calibrated. Those of the `predict`
command are calibrated on dev. Ratings are from -1 to 1.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.runs import older_labels
from jaxser.workdir_files import RESULTS, WorkdirFiles, damaged


class RunPredictions(NamedTuple):
    """The test predictions of one run, an entry per utterance; classes are indices.

    The fields about classes are None if no classes are predicted, and those about ratings if no
    ratings are.
    """

    speaker_N: np.ndarray
    truth_N: np.ndarray | None
    predicted_N: np.ndarray | None
    confidence_N: np.ndarray | None  # the posterior of the predicted class
    truth_NxA: np.ndarray | None = None  # the true ratings
    rating_NxA: np.ndarray | None = None  # the predicted ratings
    # KL(votes of the raters || posterior), in nats; NaN for utterances without votes, and None if
    # the run was not trained on votes.
    vote_kl_N: np.ndarray | None = None


def pool_predictions(predictions: Iterable[RunPredictions]) -> RunPredictions:
    """Returns the predictions of several runs, concatenated as if they were of one run."""
    columns = []
    for parts in zip(*predictions):
        columns.append(None if parts[0] is None else np.concatenate(parts))
    return RunPredictions(*columns)


COLUMNS = ('run', 'fold', 'speaker')  # of every file
VOTE_KL = 'vote_kl'  # the column of RunPredictions.vote_kl_N
MAX_POSTERIOR = 1.001  # float32 rounds
MAX_RATING = 1.001
PredictionsByRun = dict[tuple[str, int], RunPredictions]  # by the run's label and its fold


def open_predictions(workdir) -> Iterator[dict]:
    """Returns the rows of predictions.csv in the workdir of a finished sweep."""
    runs = WorkdirFiles(workdir).read_json('results.json', RESULTS)['runs']
    return read_prediction_rows(workdir / 'predictions.csv', runs)


def read_prediction_rows(file, runs: list[dict]) -> Iterator[dict]:
    """Yields the rows of predictions.csv, each with the current label of its run.

    `runs` are those of results.json. Raises UserError when the file is damaged, and when an earlier
    version of this program gave two runs the same label.
    """
    labels_by_older = older_labels([run['hyper'] for run in runs])
    remedy = _repair_advice(file.parent)
    # As bytes: read_text would translate the carriage returns in names.
    reader = csv_files.read_rows(WorkdirFiles(file.parent).read_text(file.name, remedy))
    for row in _checked_rows(reader, file):
        labels = labels_by_older.get((row['run'], int(row['fold'])), [row['run']])
        if len(labels) > 1:
            raise UserError(
                f'{file} has the same name, {row["run"]!r}, for {len(labels)} runs '
                f'({"; ".join(labels)}): an earlier version cut numbers to six digits. {remedy}'
            )
        yield row | {'run': labels[0]}


def _repair_advice(workdir) -> str:
    return (
        f'Remove results.json and groups/*/outcome.json from {workdir} and run the command of '
        'the training again: it predicts again from the checkpoints, without training.'
    )


def _checked_rows(reader, file) -> Iterator[dict]:
    """Yields the rows of a CSV reader; UserError for one that lacks a column or has another."""
    try:
        for row in reader:
            if None in row or None in row.values():
                raise ValueError('it has too many or too few fields')
            missing = [name for name in COLUMNS if name not in row]
            if missing:
                raise ValueError(f'it has no column {", ".join(missing)}')
            int(row['fold'])
            yield row
    except (csv_files.Error, ValueError) as error:
        place = f'{file}, line {reader.line_num},'
        raise damaged(place, str(error), _repair_advice(file.parent)) from None


def check_predictions(predictions: PredictionsByRun, keys: Iterable[tuple[str, int]], file) -> None:
    """Raises UserError if the run of one of `keys`, which are (label, fold), has no prediction."""
    for label, fold in keys:
        if (label, fold) not in predictions:
            reason = f'it has no row of the run {label!r} in fold {fold}'
            raise damaged(file, reason, _repair_advice(file.parent))


def read_predictions(
    rows: Iterable[dict], classes: Sequence[str], ratings: Sequence[str] = ()
) -> PredictionsByRun:
    """Returns the predictions of every run from the rows of predictions.csv.

    `classes` and `ratings` are what the sweep predicts; one of them may be empty. Raises UserError
    when a row lacks a column, or has a value out of range.
    """
    class_index = dict(zip(classes, range(len(classes))))
    utterances_by_run: dict[tuple[str, int], list[tuple]] = {}
    for row in rows:
        utterance = (
            row['speaker'],
            *_read_class(row, class_index),
            *_read_ratings(row, ratings),
            _read_divergence(row) if classes and VOTE_KL in row else None,
        )
        utterances_by_run.setdefault((row['run'], int(row['fold'])), []).append(utterance)
    predictions = {}
    for run, utterances in utterances_by_run.items():
        columns = []
        for values in zip(*utterances):
            columns.append(None if values[0] is None else np.array(values))
        predictions[run] = RunPredictions(*columns)
    return predictions


def _read_class(row: dict, class_index: dict[str, int]) -> tuple:
    """Returns the true class, the predicted one and its posterior, or three times None."""
    if not class_index:
        return None, None, None
    try:
        posterior_C = np.array([float(row[name]) for name in class_index])
        truth = class_index[row['truth']]
    except (KeyError, ValueError) as error:
        raise _damaged_row(row, f'a cell that cannot be used: {error!r}') from None
    if not np.all((posterior_C >= 0) & (posterior_C <= MAX_POSTERIOR)):  # NaN, too
        raise _damaged_row(row, 'a posterior that is not from 0 to 1')
    predicted = int(np.argmax(posterior_C))
    return truth, predicted, posterior_C[predicted]


def _read_ratings(row: dict, ratings: Sequence[str]) -> tuple:
    """Returns the true and the predicted ratings, or twice None."""
    if not ratings:
        return None, None
    try:
        truth_A = [float(row[f'truth_{name}']) for name in ratings]
        predicted_A = [float(row[name]) for name in ratings]
    except (KeyError, ValueError) as error:
        raise _damaged_row(row, f'a cell that cannot be used: {error!r}') from None
    if not all(abs(value) <= MAX_RATING for value in (*truth_A, *predicted_A)):  # NaN, too
        raise _damaged_row(row, 'a rating that is not from -1 to 1')
    return truth_A, predicted_A


def _read_divergence(row: dict) -> float:
    """Returns KL(votes || posterior); NaN if the cell is empty."""
    if row[VOTE_KL] == '':
        return math.nan
    try:
        divergence = float(row[VOTE_KL])
    except ValueError as error:
        raise _damaged_row(row, f'a cell that cannot be used: {error!r}') from None
    if not math.isfinite(divergence):
        raise _damaged_row(row, f'a {VOTE_KL} that is not finite')
    return divergence


def _damaged_row(row: dict, reason: str) -> UserError:
    name = row.get('utterance', '')
    reason = f'the row of the utterance {name!r} has {reason}'
    return damaged('predictions.csv', reason, _repair_advice('the workdir'))

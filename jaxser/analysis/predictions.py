"""Reads predictions.csv, which contains the test predictions of every run of a sweep.

Its posteriors are the softmax of a run's scores and are not calibrated. Those of the `predict`
command are calibrated on dev.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.runs import older_labels
from jaxser.workdir_files import RESULTS, WorkdirFiles, damaged


class RunPredictions(NamedTuple):
    """The test predictions of one run, an entry per utterance; classes are indices."""

    speaker_N: np.ndarray
    truth_N: np.ndarray
    predicted_N: np.ndarray
    confidence_N: np.ndarray  # the posterior of the predicted class


def pool_predictions(predictions: Iterable[RunPredictions]) -> RunPredictions:
    """Returns the predictions of several runs, concatenated as if they were of one run."""
    return RunPredictions(*map(np.concatenate, zip(*predictions)))


COLUMNS = ('run', 'fold', 'speaker', 'truth')  # besides one for each class
MAX_POSTERIOR = 1.001  # float32 rounds
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


def read_predictions(rows: Iterable[dict], classes: list[str]) -> PredictionsByRun:
    """Returns the predictions of every run from the rows of predictions.csv."""
    class_index = dict(zip(classes, range(len(classes))))
    utterances_by_run: dict[tuple[str, int], list[tuple]] = {}
    for row in rows:
        try:
            posterior_C = np.array([float(row[name]) for name in classes])
            truth = class_index[row['truth']]
        except (KeyError, ValueError) as error:
            raise _damaged_row(row, f'a cell that cannot be used: {error!r}') from None
        predicted = int(np.argmax(posterior_C))
        if not np.all((posterior_C >= 0) & (posterior_C <= MAX_POSTERIOR)):  # NaN, too
            raise _damaged_row(row, 'a posterior that is not from 0 to 1')
        utterance = (row['speaker'], truth, predicted, posterior_C[predicted])
        utterances_by_run.setdefault((row['run'], int(row['fold'])), []).append(utterance)
    predictions = {}
    for run, utterances in utterances_by_run.items():
        columns = map(np.array, zip(*utterances))
        predictions[run] = RunPredictions(*columns)
    return predictions


def _damaged_row(row: dict, reason: str) -> UserError:
    name = row.get('utterance', '')
    reason = f'the row of the utterance {name!r} has {reason}'
    return damaged('predictions.csv', reason, _repair_advice('the workdir'))

"""Reads predictions.csv, which contains the test predictions of every run of a sweep.

Its posteriors are the softmax of a run's scores and are not calibrated. Those of the `predict`
command are calibrated on dev.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.runs import older_labels


class RunPredictions(NamedTuple):
    """The test predictions of one run, an entry per utterance; classes are indices."""

    speaker_N: np.ndarray
    truth_N: np.ndarray
    predicted_N: np.ndarray
    confidence_N: np.ndarray  # the posterior of the predicted class


def pool_predictions(predictions: Iterable[RunPredictions]) -> RunPredictions:
    """Returns the predictions of several runs, concatenated as if they were of one run."""
    return RunPredictions(*map(np.concatenate, zip(*predictions)))


PredictionsByRun = dict[tuple[str, int], RunPredictions]  # by the run's label and its fold


def open_predictions(workdir) -> Iterator[dict]:
    """Returns the rows of predictions.csv in the workdir of a finished sweep."""
    runs = json.loads((workdir / 'results.json').read_text())['runs']
    return read_prediction_rows(workdir / 'predictions.csv', runs)


def read_prediction_rows(file, runs: list[dict]) -> Iterator[dict]:
    """Yields the rows of predictions.csv, each with the current label of its run.

    `runs` are those of results.json. Raises UserError when the file is damaged, and when an earlier
    version of this program gave two runs the same label.
    """
    labels_by_older = older_labels([run['hyper'] for run in runs])
    remedy = (
        f'Remove results.json and groups/*/outcome.json from {file.parent} and run the command of '
        'the training again: it predicts again from the checkpoints, without training.'
    )
    # As bytes: read_text would translate the carriage returns in names.
    reader = csv_files.read_rows(file.read_bytes().decode())
    for row in reader:
        if None in row or None in row.values():
            raise UserError(
                f'{file}, line {reader.line_num}, has too many or too few fields: '
                f'the file is damaged. {remedy}'
            )
        labels = labels_by_older.get((row['run'], int(row['fold'])), [row['run']])
        if len(labels) > 1:
            raise UserError(
                f'{file} has the same name, {row["run"]!r}, for {len(labels)} runs '
                f'({"; ".join(labels)}): an earlier version cut numbers to six digits. {remedy}'
            )
        yield row | {'run': labels[0]}


def read_predictions(rows: Iterable[dict], classes: list[str]) -> PredictionsByRun:
    """Returns the predictions of every run from the rows of predictions.csv."""
    class_index = dict(zip(classes, range(len(classes))))
    utterances_by_run: dict[tuple[str, int], list[tuple]] = {}
    for row in rows:
        posterior_C = [float(row[name]) for name in classes]
        predicted = int(np.argmax(posterior_C))
        truth = class_index[row['truth']]
        utterance = (row['speaker'], truth, predicted, posterior_C[predicted])
        utterances_by_run.setdefault((row['run'], int(row['fold'])), []).append(utterance)
    predictions = {}
    for run, utterances in utterances_by_run.items():
        columns = map(np.array, zip(*utterances))
        predictions[run] = RunPredictions(*columns)
    return predictions

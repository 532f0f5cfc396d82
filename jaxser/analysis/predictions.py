"""TODO: jaxser.analysis.predictions."""

import json
from collections.abc import Iterable, Iterator

import numpy as np

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.runs import older_labels


def read_confidences(
    rows: Iterable[dict], classes: list[str]
) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    """Returns confidence and correctness by run and fold, each of shape (N,), from the rows of predictions.csv.

    The confidence is the posterior of the predicted class.
    """
    lists: dict[tuple, list] = {}
    for row in rows:
        posterior = [float(row[name]) for name in classes]
        at = int(np.argmax(posterior))
        lists.setdefault((row['run'], int(row['fold'])), []).append(
            (posterior[at], classes[at] == row['truth'])
        )
    return {k: tuple(np.array(column) for column in zip(*some)) for k, some in lists.items()}


def open_predictions(path) -> Iterator[dict]:
    """Returns the rows of predictions.csv, wherever the workdir is."""
    runs = json.loads((path / 'results.json').read_text())['runs']
    return read_prediction_rows(path / 'predictions.csv', runs)


# By run and fold: speaker_N, truth_N and predicted_N, classes by index.
PredictionsByRun = dict[tuple[str, int], tuple[np.ndarray, ...]]


def read_prediction_rows(file, runs: list[dict]) -> Iterator[dict]:
    """Yields the rows of predictions.csv; `runs` are those of results.json.

    Runs have today's names, whatever version wrote the file. Refuses a damaged file, and one in
    which two runs share a name.
    """
    older = older_labels([run['hyper'] for run in runs])
    again = (
        f'Remove results.json and groups/*/outcome.json from {file.parent} and run the command of '
        'the training again: it predicts anew from the checkpoints, without training.'
    )
    # As bytes: read_text would translate the carriage returns in names.
    reader = csv_files.read_rows(file.read_bytes().decode())
    for row in reader:
        if None in row or None in row.values():
            raise UserError(
                f'{file}, line {reader.line_num}, has too many or too few fields: the file is damaged. {again}'
            )
        labels = older.get((row['run'], int(row['fold'])), [row['run']])
        if len(labels) > 1:
            raise UserError(
                f'{file} has the same name, {row["run"]!r}, for {len(labels)} runs '
                f'({"; ".join(labels)}): an earlier version cut numbers to six digits. {again}'
            )
        yield row | {'run': labels[0]}


def read_predictions(rows: Iterable[dict], classes: list[str]) -> PredictionsByRun:
    """Returns the predictions of every run from the rows of predictions.csv."""
    index, lists = {name: n for n, name in enumerate(classes)}, {}
    for row in rows:
        posterior = [float(row[name]) for name in classes]
        line = row['speaker'], index[row['truth']], int(np.argmax(posterior))
        lists.setdefault((row['run'], int(row['fold'])), []).append(line)
    return {k: tuple(np.array(column) for column in zip(*some)) for k, some in lists.items()}

"""Reads predictions.csv, which contains the test predictions of every run of a sweep.

Its posteriors are the softmax of a run's scores and are not calibrated. Those of the `predict`
command are calibrated on dev. Ratings are from -1 to 1.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TextIO

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


# Columns of predictions.csv, each with the cells of the same rows.
Block = Mapping[str, Sequence[str]]


def open_predictions(workdir) -> Iterator[Block]:
    """Returns the blocks of predictions.csv in the workdir of a finished sweep."""
    runs = WorkdirFiles(workdir).read_json('results.json', RESULTS)['runs']
    return read_blocks(workdir / 'predictions.csv', runs)


def read_blocks(file, runs: list[dict]) -> Iterator[Block]:
    """Yields the rows of predictions.csv in blocks, each run with its current label.

    `runs` are those of results.json. Raises UserError when the file is damaged, and when an earlier
    version of this program gave two runs the same label.
    """
    labels_by_older = older_labels([run['hyper'] for run in runs])
    remedy = _repair_advice(file.parent)
    with WorkdirFiles(file.parent).open_text(file.name, remedy) as lines:
        for block in _checked_blocks(lines, file):
            if labels_by_older:
                block = block | {'run': _current_labels(block, labels_by_older, file, remedy)}
            yield block


def _current_labels(
    block: Block, labels_by_older: dict[tuple[str, int], list[str]], file, remedy: str
) -> list[str]:
    """Returns the current labels of the runs in a block."""
    current = []
    for label, fold in zip(block['run'], block['fold']):
        labels = labels_by_older.get((label, int(fold)), [label])
        if len(labels) > 1:
            raise UserError(
                f'{file} has the same name, {label!r}, for {len(labels)} runs '
                f'({"; ".join(labels)}): an earlier version cut numbers to six digits. {remedy}'
            )
        current.append(labels[0])
    return current


def _repair_advice(workdir) -> str:
    return (
        f'Remove results.json and groups/*/outcome.json from {workdir} and run the command of '
        'the training again: it predicts again from the checkpoints, without training.'
    )


def _checked_blocks(lines: TextIO, file) -> Iterator[dict[str, Sequence[str]]]:
    """Yields the blocks of predictions.csv; UserError for a row that lacks a column or has another.

    UnicodeDecodeError if a line is not UTF-8.
    """
    reader = csv_files.BlockReader(lines)
    try:
        for block in reader:
            missing = [name for name in COLUMNS if name not in block]
            if missing:
                raise ValueError(f'it has no column {", ".join(missing)}')
            for fold in set(block['fold']):
                int(fold)
            yield block
    except UnicodeDecodeError:
        raise
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
    blocks: Iterable[Block], classes: Sequence[str], ratings: Sequence[str] = ()
) -> PredictionsByRun:
    """Returns the predictions of every run from the blocks of predictions.csv.

    `classes` and `ratings` are what the sweep predicts; one of them may be empty. Raises UserError
    when a row lacks a column, or has a value out of range.
    """
    parts_by_run: dict[tuple[str, int], list[RunPredictions]] = {}
    for block in blocks:
        columns = _read_columns(block, classes, ratings)
        for rows in _rows_of_runs(block):
            run = (block['run'][rows.start], int(block['fold'][rows.start]))
            own = [None if column is None else column[rows] for column in columns]
            parts_by_run.setdefault(run, []).append(RunPredictions(*own))
    return {run: pool_predictions(parts) for run, parts in parts_by_run.items()}


def _rows_of_runs(block: Block) -> Iterator[slice]:
    """Yields the rows of a block that follow each other and are of one run."""
    start = 0
    for _, rows in itertools.groupby(zip(block['run'], block['fold'])):
        stop = start + sum(1 for _ in rows)
        yield slice(start, stop)
        start = stop


def _read_columns(block: Block, classes: Sequence[str], ratings: Sequence[str]) -> RunPredictions:
    """Returns the predictions in a block, of whatever runs."""
    truth_N = predicted_N = confidence_N = truth_NxA = rating_NxA = vote_kl_N = None
    if classes:
        p_NxC = _read_numbers(block, classes)
        _check(
            block, (p_NxC >= 0) & (p_NxC <= MAX_POSTERIOR), 'a posterior that is not from 0 to 1'
        )
        truth_N = _read_truth(block, classes)
        predicted_N = p_NxC.argmax(1)
        confidence_N = p_NxC.max(1)
        if VOTE_KL in block:
            vote_kl_N = _read_divergences(block)
    if ratings:
        truth_NxA = _read_numbers(block, [f'truth_{name}' for name in ratings])
        rating_NxA = _read_numbers(block, ratings)
        for value_NxA in (truth_NxA, rating_NxA):
            _check(block, np.abs(value_NxA) <= MAX_RATING, 'a rating that is not from -1 to 1')
    speaker_N = np.array(block['speaker'])
    return RunPredictions(
        speaker_N, truth_N, predicted_N, confidence_N, truth_NxA, rating_NxA, vote_kl_N
    )


def _read_numbers(block: Block, names: Sequence[str]) -> np.ndarray:
    """Returns the numbers of several columns, of shape (rows, columns)."""
    columns = []
    for name in names:
        if name not in block:
            raise _damaged_row(block, 0, f'no column {name}')
        columns.append(_convert(block, block[name], float))
    return np.stack(columns, axis=1)


def _read_truth(block: Block, classes: Sequence[str]) -> np.ndarray:
    """Returns the true classes as indices."""
    if 'truth' not in block:
        raise _damaged_row(block, 0, 'no column truth')
    class_index = dict(zip(classes, range(len(classes))))
    return _convert(block, block['truth'], class_index.__getitem__)


def _read_divergences(block: Block) -> np.ndarray:
    """Returns KL(votes || posterior); NaN where the cell is empty."""
    cells = block[VOTE_KL]
    is_empty_N = np.array([cell == '' for cell in cells])
    value_N = _convert(block, [cell or '0' for cell in cells], float)
    _check(block, np.isfinite(value_N)[:, None], f'a {VOTE_KL} that is not finite')
    return np.where(is_empty_N, math.nan, value_N)


def _convert(block: Block, cells: Sequence[str], convert: Callable) -> np.ndarray:
    """Returns the converted cells of a column; UserError that names the first that cannot be."""
    values = []
    try:
        for value in map(convert, cells):
            values.append(value)
    except (KeyError, ValueError) as error:
        reason = f'a cell that cannot be used: {error!r}'
        raise _damaged_row(block, len(values), reason) from None
    return np.array(values)


def _check(block: Block, is_right_NxK: np.ndarray, reason: str) -> None:
    """Raises UserError for the first row with a value that is not right; NaN is not."""
    is_right_N = is_right_NxK.all(1)
    if not is_right_N.all():
        raise _damaged_row(block, int(np.argmin(is_right_N)), reason)


def _damaged_row(block: Block, row: int, reason: str) -> UserError:
    name = block['utterance'][row] if 'utterance' in block else ''
    reason = f'the row of the utterance {name!r} has {reason}'
    return damaged('predictions.csv', reason, _repair_advice('the workdir'))

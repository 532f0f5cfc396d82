"""Tests of the selection of epochs, of diverged runs, and of the metrics of an epoch."""

import json
from types import SimpleNamespace

import numpy as np

from jaxser.training.tracking import EpochMetrics, SelectionRecord

BEST = SimpleNamespace(select='best dev UAR', select_from=0.5, epochs=4)
LAST = SimpleNamespace(select='last epoch', select_from=0.5, epochs=4)


def select(record: SelectionRecord, train, epoch: int, *uars: float) -> list[bool]:
    """Returns whether an epoch of two steps with these UARs on dev is each run's best so far."""
    metrics = {'loss': np.array([[n + 0.5, n + epoch] for n in range(len(uars))])}
    return record.select_epoch(train, epoch, [{'uar': u} for u in uars], metrics).tolist()


def test_the_best_epoch_on_dev_is_selected_run_by_run():
    """None is selected in the first half of training; of equal epochs it is the first."""
    record = SelectionRecord(2)
    assert select(record, BEST, 1, 0.9, 0.9) == [False, False]
    assert select(record, BEST, 2, 0.5, 0.4) == [True, True]
    assert select(record, BEST, 3, 0.5, 0.6) == [False, True]
    assert select(record, BEST, 4, 0.6, 0.2) == [True, False]
    assert record.best_epoch.tolist() == [4, 3]
    assert record.best_score.tolist() == [0.6, 0.6]
    assert record.dev == [{'uar': 0.6}, {'uar': 0.6}]
    assert record.selected == [{'loss': 0 + 4}, {'loss': 1 + 3}]


def test_ratings_are_selected_by_their_concordance():
    """Not by another figure; it may be negative, and in an epoch not defined."""
    record = SelectionRecord(1)
    train = SimpleNamespace(select='best dev CCC', select_from=0.0, epochs=4)
    metrics = {'loss': np.zeros((1, 2))}
    dev = [{'ccc': value, 'uar': uar} for value, uar in ((-0.5, 0.9), (-0.4, 0.1), (np.nan, 1.0))]
    selected = [record.select_epoch(train, n, [figures], metrics) for n, figures in enumerate(dev)]
    assert np.concatenate(selected).tolist() == [True, True, False]
    assert record.dev == [{'ccc': -0.4, 'uar': 0.1}]


def test_the_record_of_an_earlier_version_is_continued():
    """It called the best score best_uar."""
    record = SelectionRecord(2)
    select(record, BEST, 2, 0.5, 0.4)
    values = record.to_json()
    values['best_uar'] = values.pop('best_score')
    again = SelectionRecord(2)
    again.from_json(values)
    assert again.to_json() == record.to_json()


def test_the_last_epoch_is_selected_if_configured():
    """Dev does not matter then."""
    record = SelectionRecord(2)
    for epoch in (1, 2, 3):
        assert select(record, LAST, epoch, 0.9 - epoch / 10, 0.1) == [False, False]
    assert select(record, LAST, 4, 0.1, 0.1) == [True, True]
    assert record.best_epoch.tolist() == [4, 4]


def test_a_run_that_has_diverged_is_never_selected_again():
    """The first step without a finite loss is recorded; other runs are still selected."""
    record = SelectionRecord(3)
    record.mark_diverged(np.array([[1.0, 1.0], [1.0, np.nan], [1.0, 1.0]]), first_step=0)
    record.mark_diverged(np.array([[1.0, 1.0], [np.nan, np.nan], [np.inf, 1.0]]), first_step=2)
    assert record.nonfinite.tolist() == [-1, 1, 2]
    assert select(record, BEST, 2, 0.5, 0.9, 0.9) == [True, False, False]
    assert select(record, LAST, 4, 0.5, 0.9, 0.9) == [True, False, False]


def test_a_record_is_the_same_after_a_checkpoint():
    """It is written as JSON and read back, so that a resumed run selects the same epoch."""
    record = SelectionRecord(2)
    record.mark_diverged(np.array([[1.0], [np.inf]]), 7)
    select(record, BEST, 2, 0.5, 0.4)
    record.lines, record.seconds = 12, 3.5
    again = SelectionRecord(2)
    again.from_json(json.loads(json.dumps(record.to_json())))
    assert again.to_json() == record.to_json()
    assert (again.lines, again.seconds, again.nonfinite.tolist()) == (12, 3.5, [-1, 7])
    assert select(again, BEST, 3, 0.5, 0.9) == [False, False]
    assert select(again, BEST, 4, 0.6, 0.9) == [True, False]


class Progress:
    """A progress bar that counts."""

    steps = 0

    def update(self, steps: int) -> None:
        self.steps += steps


def test_metrics_are_fetched_one_dispatch_late_and_complete():
    """Meanwhile the device computes. Skipped steps of a chunk are left out."""
    fetched = []
    progress = Progress()

    def collect(array_NxS):
        fetched.append(array_NxS)
        return array_NxS

    metrics = EpochMetrics(collect, progress)
    loss_NxS = np.arange(10.0).reshape(2, 5)
    first_NxS = loss_NxS.copy()
    first_NxS[:, 3:] = np.nan
    second_NxS = loss_NxS.copy()
    second_NxS[:, :3] = np.nan
    metrics.add({'loss': first_NxS}, slice(0, 3))
    assert (len(fetched), progress.steps) == (0, 0)
    metrics.add({'loss': second_NxS}, slice(3, 5))
    assert (len(fetched), progress.steps) == (1, 3)
    np.testing.assert_array_equal(metrics.finish_epoch()['loss'], loss_NxS)
    assert progress.steps == 5
    metrics.add({'loss': loss_NxS[:, :1]}, slice(0, 1))
    np.testing.assert_array_equal(metrics.finish_epoch()['loss'], loss_NxS[:, :1])

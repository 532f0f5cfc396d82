"""Tests of the warnings about adversaries, and of the entropy of domains."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxser.training.loop import measure_step_seconds
from jaxser.training.monitoring import (
    AdversaryAlarms,
    describe_counts,
    describe_forecast,
    describe_predicted,
    domain_entropies,
)

RUNS = [{'lam': 1.0, 'seed': s, 'fold': 0} for s in range(5)]


def test_the_entropy_is_that_of_the_domains_to_remove():
    """Three speakers, one of them twice as often; unknown speakers do not count."""
    table = SimpleNamespace(domain_N={'speaker': np.array([0, 0, 1, 2, -1, 3])})
    fold = SimpleNamespace(domain_rows=np.arange(5))
    entropies = domain_entropies(table, fold, ('speaker',))
    assert entropies == {'speaker': pytest.approx(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25)))}


def row(**changed) -> dict:
    """Returns the metrics of an epoch without a problem, with some changed."""
    return {
        'lam_p': 1.0,
        'loss': 1.2,
        'reversed_over_task': 0.5,
        'emotion_loss': 0.3,
        'speaker_loss': 0.9,
    } | changed


def make_alarms() -> AdversaryAlarms:
    """Returns the alarms of five runs of ten epochs."""
    return AdversaryAlarms(RUNS, [{'speaker': 1.1}] * 5, 4, 10, ['lam', 'seed'])


@pytest.mark.parametrize(
    ('changed', 'expected'),
    [
        ({'emotion_loss': 1.385}, 'emotion loss is that of guessing'),
        ({'reversed_over_task': 0.001}, 'has no effect (raise config.sweep.head_rate if'),
        (
            {'reversed_over_task': 0.001, 'speaker_loss': None},  # a penalty without a head
            'has no effect (raise lam)',
        ),
        ({'speaker_loss': 1.2}, 'speaker head only guesses: either'),
        ({'speaker_loss': 1.2}, 'lower lam, or use config.method = similarity'),
    ],
)
def test_each_warning_names_its_runs_once(changed, expected):
    """There is none in the first half of training, when the coefficient rises. It lists 3 runs."""
    alarms = make_alarms()
    rows = [row(**changed)] * 5
    assert alarms(5, rows) == []
    (warning,) = alarms(6, rows)
    assert warning.startswith(
        'Epoch 6, lam=1 seed=0 fold 0, lam=1 seed=1 fold 0, lam=1 seed=2 fold 0 and 2 more: '
    )
    assert expected in warning
    assert alarms(7, rows) == []


def test_ratings_that_are_guessed_are_warned_of():
    """Below a CCC of 0.02 of the training batches; without classes there is no emotion loss."""
    alarms = AdversaryAlarms(RUNS[:1], [{'speaker': 1.1}], 0, 10, ['lam', 'seed'])
    rated = row(rating_ccc=0.4)
    del rated['emotion_loss']
    assert alarms(8, [rated]) == []
    (warning,) = alarms(9, [rated | {'rating_ccc': 0.01}])
    assert 'the predicted ratings are no better than guessing' in warning


def test_what_is_predicted_is_named():
    """Classes, ratings, or both."""
    task = SimpleNamespace(classes=['angry', 'sad'], ratings=('valence',))
    assert describe_predicted(task) == 'classes angry, sad; ratings valence'
    assert (
        describe_predicted(SimpleNamespace(classes=[], ratings=('valence',))) == 'ratings valence'
    )


def test_runs_without_a_problem_have_no_warning():
    """Nor do plain training, a negative lam, a run that diverged, or a method without a branch."""
    plain = row(lam_p=0.0, reversed_over_task=0.0)
    diverged = dict.fromkeys(row())
    diverged_loss = row(loss=None, reversed_over_task=0.0)
    without_branch = {'emotion_loss': 9.0}
    taught = row(lam_p=-1.0, speaker_loss=1.2)  # a negative coefficient teaches the domain
    for metrics in (row(), plain, diverged, diverged_loss, without_branch, taught):
        assert make_alarms()(9, [metrics] * 5) == []


def test_the_plan_counts_the_swept_values():
    """Keys that are words have a plural; names such as lam have none."""
    runs = []
    for method in ('erm', 'similarity'):
        runs += [{'method': method, 'lam': lam, 'seed': 0} for lam in (0.0, 3.0)] * 10
    task = SimpleNamespace(folds=[None] * 10, label_keys=['method', 'lam', 'seed'], runs=runs)
    assert describe_counts(task) == '10 folds, 2 methods, 2 lam'
    task.runs = runs[:30]
    assert describe_counts(task) == '10 folds, 2 methods, 2 lam, not all combined'


def test_the_forecast_is_that_of_the_epochs_that_are_left():
    """Nothing is said where nothing is left, as after the last epoch."""
    text = describe_forecast('2 runs', 61.0, 3)
    assert text == ' Forecast for training 2 runs: 0:03:03 (h:mm:ss), 61.0 s for each epoch.'
    assert describe_forecast('2 runs', 61.0, 0) == ''
    assert describe_forecast('2 runs', 61.0, -1) == ''


def test_a_step_never_takes_less_than_no_time():
    """Short steps are measured together; a long one alone. The clock is noisy."""
    measured = []

    def dispatch(steps: int) -> float:
        measured.append(steps)
        return steps * seconds + next(noise)

    seconds, noise = 0.001, iter([-0.003, 0.0])
    assert measure_step_seconds(dispatch, 0.0, 1_000) == pytest.approx(0.001)
    assert measured == [1, 64]
    noise = iter([0.0, -1.0])
    assert measure_step_seconds(dispatch, 0.0, 5) == 0.0
    assert measured[2:] == [1, 5]
    seconds, noise = 2.0, iter([0.0])
    assert measure_step_seconds(dispatch, 0.5, 1_000) == 1.5
    assert measured[4:] == [1]

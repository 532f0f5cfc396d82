"""Tests of the alarms about an adversary while it trains."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxser.training.monitoring import AdversaryAlarms, domain_entropies

RUNS = [{'lam': 1.0, 'seed': s, 'fold': 0} for s in range(5)]


def test_the_entropy_is_that_of_the_domains_forgotten():
    """Three speakers, one of them twice as often; who is unknown does not count."""
    table = SimpleNamespace(domain_N={'speaker': np.array([0, 0, 1, 2, -1, 3])})
    fold = SimpleNamespace(domain_rows=np.arange(5))
    found = domain_entropies(table, fold, ('speaker',))
    assert found == {'speaker': pytest.approx(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25)))}


def row(**changed) -> dict:
    """An epoch's metrics of a run in good health."""
    return {
        'lam_p': 1.0,
        'reversed_over_task': 0.5,
        'emotion_loss': 0.3,
        'speaker_loss': 0.9,
    } | changed


def alarms() -> AdversaryAlarms:
    return AdversaryAlarms(RUNS, [{'speaker': 1.1}] * 5, 4, 10, ['lam', 'seed'])


@pytest.mark.parametrize(
    ('changed', 'said'),
    [
        ({'emotion_loss': 1.385}, 'emotion loss is that of guessing'),
        ({'reversed_over_task': 0.001}, 'has no effect'),
        ({'speaker_loss': 1.2}, 'speaker head only guesses'),
    ],
)
def test_each_alarm_names_its_runs_once(changed, said):
    """Not before half of the training, when the coefficient is still rising; and of many runs the first three."""
    watch = alarms()
    rows = [row(**changed)] * 5
    assert watch(5, rows) == []
    (sentence,) = watch(6, rows)
    assert sentence.startswith(
        'Epoch 6, lam=1 seed=0 fold 0, lam=1 seed=1 fold 0, lam=1 seed=2 fold 0 and 2 more: '
    )
    assert said in sentence
    assert watch(7, rows) == []


def test_health_and_plain_training_raise_no_alarm():
    """Nor a run that has diverged, whose metrics are not numbers, nor a method without a reversed branch."""
    plain, diverged, other = (
        row(lam_p=0.0, reversed_over_task=0.0),
        dict.fromkeys(row()),
        {'emotion_loss': 9.0},
    )
    for one in (row(), plain, diverged, other):
        assert alarms()(9, [one] * 5) == []

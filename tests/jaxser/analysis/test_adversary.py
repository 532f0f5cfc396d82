"""What is said of an adversary: while it trains, and when its representation has been probed."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxser.analysis.adversary import adversary_verdicts
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
        ({'reversed_over_task': 0.001}, 'moves nothing'),
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


def run(lam: float, linear: float, uar: float = 0.8, status: str = 'ok', seed: int = 0) -> dict:
    """Of a sweep that forgets speakers, probed: chance is 0.2."""
    probe = {'speaker': {'linear': linear, 'chance': 0.2}}
    selected = {'speaker_loss': 1.0}
    of = {
        'dev': {'uar': uar},
        'test': {'confusion': [[1] * 4] * 4},
        'probe': probe,
        'selected': selected,
    }
    return {'hyper': {'lam': lam, 'seed': seed, 'fold': 0}, 'status': status, 'step': 7} | of


@pytest.mark.parametrize(
    ('adversary', 'word'),
    [
        (run(1.0, 0.7), 'inert'),
        (run(1.0, 0.9), 'inert'),
        (run(1.0, 0.5), 'balanced'),
        (run(1.0, 0.22), 'winning'),
        (run(1.0, 0.22, uar=0.3), 'collapsed'),
        (run(1.0, 0.5, status='nonfinite'), 'collapsed'),
    ],
)
def test_the_verdict_is_beside_plain_training(adversary, word):
    """Plain training tells 0.7 where chance is 0.2, its dev UAR is 0.8 where chance is 0.25."""
    none, found = adversary_verdicts(
        [run(0.0, 0.7), adversary], {'method': 'dann', 'domain': 'speaker'}
    )
    assert none is None
    assert found['verdict'] == word
    if word in ('inert', 'balanced', 'winning'):
        assert 'beyond chance, that of plain training 0.62' in found['why']


def test_the_verdict_says_whether_the_head_had_lagged():
    """Its loss as it was, after more training, and that of guessing."""
    asked = run(1.0, 0.5) | {
        'refit': {'speaker': {'before': 1.6, 'after': 0.25}},
        'entropy': {'speaker': 1.61},
    }
    _, found = adversary_verdicts([run(0.0, 0.7), asked], {'method': 'dann', 'domain': 'speaker'})
    assert found['why'].endswith('goes from a loss of 1.60 to 0.25 (guessing: 1.61)')


def test_without_plain_training_of_that_seed_or_a_probe_there_is_no_verdict():
    """Nothing is guessed."""
    config = {'method': 'dann', 'domain': 'speaker'}
    assert adversary_verdicts([run(0.0, 0.7, seed=1), run(1.0, 0.5)], config) == [None, None]
    unasked = run(1.0, 0.5) | {'probe': None}
    assert adversary_verdicts([run(0.0, 0.7), unasked], config) == [None, None]
    other = run(1.0, 0.5) | {'selected': {}}
    assert adversary_verdicts([run(0.0, 0.7), other], config) == [None, None]

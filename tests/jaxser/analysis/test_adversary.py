"""Tests of the verdicts on adversaries."""

import pytest

from jaxser.analysis.adversary import adversary_verdicts


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

"""Tests of the verdicts on adversaries."""

import pytest

from jaxser.analysis.adversary import adversary_verdicts

CONFIG = {'method': 'dann', 'domain': 'speaker'}


def make_run(
    lam: float, recall: float, uar: float = 0.8, status: str = 'ok', seed: int = 0
) -> dict:
    """Returns a run that forgets speakers and was probed; the probe's chance is 0.2."""
    return {
        'hyper': {'lam': lam, 'seed': seed, 'fold': 0},
        'status': status,
        'step': 7,
        'dev': {'uar': uar},
        'test': {'confusion': [[1] * 4] * 4},
        'probe': {'speaker': {'linear': recall, 'chance': 0.2}},
        'selected': {'speaker_loss': 1.0},
    }


PLAIN_RUN = make_run(0.0, 0.7)


@pytest.mark.parametrize(
    ('run', 'expected'),
    [
        (make_run(1.0, 0.7), 'inert'),
        (make_run(1.0, 0.9), 'inert'),
        (make_run(1.0, 0.5), 'balanced'),
        (make_run(1.0, 0.22), 'winning'),
        (make_run(1.0, 0.22, uar=0.3), 'collapsed'),
        (make_run(1.0, 0.5, status='nonfinite'), 'collapsed'),
    ],
)
def test_the_verdict_compares_with_plain_training(run, expected):
    """Recall of plain training is 0.7 (chance: 0.2), its dev UAR 0.8 (chance: 0.25)."""
    plain_verdict, verdict = adversary_verdicts([PLAIN_RUN, run], CONFIG)
    assert plain_verdict is None
    assert verdict['verdict'] == expected
    if run['status'] == 'ok':
        assert 'of plain training 0.62 (0: chance, 1: always recognised)' in verdict['why']


def test_the_verdict_says_whether_the_head_lagged_behind():
    """Its loss before and after more training, and that of guessing."""
    refit = {'refit': {'speaker': {'before': 1.6, 'after': 0.25}}, 'entropy': {'speaker': 1.61}}
    _, verdict = adversary_verdicts([PLAIN_RUN, make_run(1.0, 0.5) | refit], CONFIG)
    assert verdict['why'].endswith('the loss from 1.60 to 0.25 (guessing: 1.61)')


@pytest.mark.parametrize(
    ('plain_run', 'run'),
    [
        (make_run(0.0, 0.7, seed=1), make_run(1.0, 0.5)),
        (PLAIN_RUN, make_run(1.0, 0.5) | {'probe': None}),
        (PLAIN_RUN, make_run(1.0, 0.5) | {'selected': {}}),
    ],
    ids=['plain training of another seed', 'not probed', 'no adversary'],
)
def test_without_plain_training_of_the_seed_a_probe_or_an_adversary_there_is_no_verdict(
    plain_run, run
):
    assert adversary_verdicts([plain_run, run], CONFIG) == [None, None]

"""Tests of the verdicts on adversaries."""

import pytest

from jaxser.analysis.adversary import adversary_verdicts

CONFIG = {'method': 'dann', 'domain': 'speaker'}


def make_run(
    lam: float | None,
    recall: float,
    unseen_recall: float | None = None,
    uar: float = 0.8,
    status: str = 'ok',
    seed: int = 0,
    **figures,
) -> dict:
    """Returns a run that forgets speakers and was probed; the probe's chance is 0.2.

    `recall` is that of the strongest attacker, an RBF machine; `figures` are added to the answer.
    """
    if unseen_recall is None:
        unseen_recall = recall
    return {
        'hyper': {'lam': lam, 'seed': seed, 'fold': 0},
        'status': status,
        'step': 7,
        'dev': {'uar': uar},
        'test': {'confusion': [[1] * 4] * 4},
        'probe': {
            'speaker': answer(recall, withheld=True, strangers=False) | figures,
            'unseen_speaker': answer(unseen_recall, withheld=False, strangers=True),
        },
        'selected': {'speaker_loss': 1.0},
    }


def answer(recall: float, **flags: bool) -> dict:
    """Returns an answer about speakers, in which the linear attacker finds nothing."""
    recalls = {'linear': 0.2, 'mlp': 0.2, 'rbf': recall, 'knn': 0.2}
    strongest = {'strongest': recall, 'attacker': 'rbf'}
    return recalls | strongest | {'chance': 0.2, 'below_chance': False} | flags


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
def test_the_verdict_compares_the_strongest_attacker_with_plain_training(run, expected):
    """Recall of plain training is 0.7 (chance: 0.2), its dev UAR 0.8 (chance: 0.25).

    A linear attacker alone would call every run winning.
    """
    plain_verdict, verdict = adversary_verdicts([PLAIN_RUN, run], CONFIG)
    assert plain_verdict is None
    assert verdict['verdict'] == expected
    if run['status'] == 'ok':
        assert 'normalised leakage of training speakers ' in verdict['why']
        assert '(0: chance, 1: always right; RBF attacker, recall ' in verdict['why']
        assert ', of plain training 0.62 (RBF); on withheld utterances' in verdict['why']
        assert '; normalised leakage of unseen speakers ' in verdict['why']


@pytest.mark.parametrize(
    ('ccc', 'expected'), [(0.29, 'collapsed'), (0.31, 'balanced'), (-0.1, 'collapsed')]
)
def test_a_run_of_ratings_collapses_at_half_of_the_ccc_of_plain_training(ccc, expected):
    """The dev CCC of plain training is 0.6, and chance is 0; there are no confusions."""
    runs = [make_run(0.0, 0.7), make_run(1.0, 0.5)]
    for run, value in zip(runs, (0.6, ccc)):
        run |= {'dev': {'ccc': value}, 'test': {'ccc': value}}
    _, verdict = adversary_verdicts(runs, CONFIG | {'task': 'ratings'})
    assert verdict['verdict'] == expected
    is_explained = f'dev CCC {ccc:.3f}, of plain training 0.600' in verdict['why']
    assert is_explained == (expected == 'collapsed')


@pytest.mark.parametrize('plain_recall', [0.2, 0.15])
def test_where_plain_training_does_not_leak_the_verdict_is_undecided(plain_recall):
    """So that the counts of verdicts add up to the runs; a collapse counts all the same."""
    runs = [make_run(0.0, plain_recall), make_run(1.0, 0.22), make_run(1.0, 0.22, uar=0.3)]
    _, undecided, collapsed = adversary_verdicts(runs, CONFIG)
    assert undecided['verdict'] == 'undecided'
    assert undecided['why'].startswith('plain training does not leak here: normalised leakage')
    assert collapsed['verdict'] == 'collapsed'


def test_a_run_that_leaks_unseen_speakers_is_not_winning():
    _, verdict = adversary_verdicts([PLAIN_RUN, make_run(1.0, 0.22, unseen_recall=0.4)], CONFIG)
    assert verdict['verdict'] == 'balanced'
    assert verdict['why'].endswith('not winning, because unseen speakers leak')


def test_features_that_are_centred_with_tested_utterances_prove_no_forgetting():
    """Even of noise, recall of unseen speakers would be below chance."""
    config = CONFIG | {'data': {'normalise': 'speaker_transductive'}}
    _, verdict = adversary_verdicts([PLAIN_RUN, make_run(1.0, 0.22)], config)
    assert verdict['verdict'] == 'balanced'
    assert verdict['why'].endswith('normalisation by speaker makes leakage too low')


def test_recall_below_chance_is_a_leak_and_not_winning():
    """Whoever is always wrong knows the speaker."""
    run = make_run(1.0, 0.1, unseen_recall=0.2, below_chance=True)
    _, verdict = adversary_verdicts([PLAIN_RUN, run], CONFIG)
    assert verdict['verdict'] == 'balanced'
    assert 'an attacker of training speakers is significantly below chance' in verdict['why']


def test_leakage_on_utterances_seen_in_training_is_called_biased_low():
    _, verdict = adversary_verdicts([PLAIN_RUN, make_run(1.0, 0.5, withheld=False)], CONFIG)
    assert '; on utterances seen in training: biased low;' in verdict['why']


def test_results_of_earlier_versions_have_verdicts_too():
    """With two attackers, of which the MLP is the stronger; unseen speakers were not probed."""
    runs = []
    for lam, recall in ((0.0, 0.7), (1.0, 0.5), (1.0, 0.21)):
        probe = {'speaker': {'linear': 0.2, 'mlp': recall, 'chance': 0.2}}
        runs.append(make_run(lam, recall) | {'probe': probe})
    _, balanced, low = adversary_verdicts(runs, CONFIG)
    assert balanced['verdict'] == 'balanced'
    assert 'MLP attacker, recall 0.50' in balanced['why']
    assert low['verdict'] == 'balanced'
    assert 'leakage of unseen speakers was not measured' in low['why']


@pytest.mark.parametrize(
    ('hyper', 'expected'),
    [
        (
            {'method': 'dann', 'lam': 0.3, 'head_rate': 10.0},
            'try another lam, a higher config.sweep.head_rate, or config.method = similarity',
        ),
        ({'method': 'dann', 'lam': 1.0, 'head_rate': 10.0}, 'a lower lam, a higher config'),
        ({'method': 'confusion', 'lam': 1.0}, 'try a lower lam or config.method = similarity'),
        ({'method': 'similarity', 'lam': 1.0}, 'try a larger lam'),
        ({'method': 'leace'}, 'config.method = similarity'),
        ({'method': 'projection'}, 'config.method = similarity'),
    ],
)
def test_an_inert_run_says_what_to_try_next(hyper, expected):
    """Also for the methods without a domain head, which log no loss of it; two have no lam."""
    run = make_run(None, 0.7) | {'hyper': hyper | {'seed': 0, 'fold': 0}}
    if hyper['method'] in ('similarity', 'leace', 'projection'):
        run['selected'] = {}
    plain_run = PLAIN_RUN | {'hyper': {'method': 'erm', 'seed': 0, 'fold': 0}}
    plain_verdict, verdict = adversary_verdicts([plain_run, run], CONFIG)
    assert plain_verdict is None
    assert verdict['verdict'] == 'inert'
    assert expected in verdict['next']


@pytest.mark.parametrize('method', ['dann', 'similarity'])
def test_a_negative_coefficient_has_no_verdict(method):
    """It keeps the speaker."""
    config = CONFIG | {'method': method}
    assert adversary_verdicts([PLAIN_RUN, make_run(-1.0, 0.9)], config) == [None, None]


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

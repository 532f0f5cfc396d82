"""Whether an adversary's heads were beaten, or had only lagged behind."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxser import plugins
from jaxser.interfaces import Encoder, Sizes
from jaxser.probing import adversary_heads
from jaxser.training import tracking

N, D, K, C = 24, 6, 5, 2  # of five speakers the fold hears three
SIZES = Sizes(1, C, {'speaker': K, 'language': 2, 'corpus': 1}, 10)
WITH_HEADS = ('dann', 'cdann', 'confusion', 'speaker_norm')
SPEAKER_N = np.resize([0, 1, 3], N)


def method_of(name: str):
    """It and the parameters of its heads, of which the last layer is zero: they guess."""
    config = ConfigDict({'domain': 'speaker', 'domain_hidden': 16, 'speaker_norm': 'tap'})
    method = plugins.load_plugin('methods', name).make(config, Encoder(None, None), SIZES)
    heads = method.init(jax.random.PRNGKey(0), np.zeros((1, D), np.float32))[0]['speaker']
    last = lambda path: path[-2].key == 'layers_2'  # noqa: E731
    return method, {
        'speaker': jax.tree_util.tree_map_with_path(lambda p, x: x * (not last(p)), heads)
    }


def batch_of(speaker_N: np.ndarray, labelled_N: np.ndarray | None = None) -> dict:
    labelled_N = np.ones(N, np.float32) if labelled_N is None else labelled_N
    seen_K = np.isin(np.arange(K), speaker_N[speaker_N >= 0]).astype(np.float32)
    emotion_N = np.arange(N) // 3 % C
    return {
        'speaker_B': speaker_N,
        'speaker_seen_K': seen_K,
        'emotion_B': emotion_N,
        'labelled_B': labelled_N,
    }


def refitted(name: str, z_NxD: np.ndarray, batch: dict) -> tuple[float, float]:
    method, heads = method_of(name)
    before, after = adversary_heads.make_refit(method.domain_loss, method.domains)(
        (heads, z_NxD.astype(np.float32), batch)
    )['speaker']
    return float(before), float(after)


@pytest.mark.parametrize('name', WITH_HEADS)
def test_a_head_that_only_lagged_finds_what_is_there(name):
    """It guesses, at the logarithm of the three speakers; on a representation that tells them, it need not for long."""
    before, after = refitted(name, 3 * np.eye(D)[SPEAKER_N], batch_of(SPEAKER_N))
    assert before == pytest.approx(np.log(3), abs=1e-6)
    assert after < 0.05


@pytest.mark.parametrize('name', WITH_HEADS)
def test_a_head_that_was_beaten_stays_so(name):
    """Where all speakers are alike there is nothing to find: the loss stays that of guessing, and is never said to rise."""
    before, after = refitted(name, np.ones((N, D)), batch_of(SPEAKER_N))
    assert before == pytest.approx(np.log(3), abs=1e-6)
    assert after == pytest.approx(before, abs=1e-3)
    assert after <= before


@pytest.mark.parametrize('name', WITH_HEADS)
def test_who_is_unknown_has_no_part(name):
    """As in what fills the shorter of two runs; and for heads of one emotion each, who has none."""
    random = np.random.default_rng(0)
    z_NxD, none_N = random.normal(size=(N, D)), np.arange(N) >= N - 6
    other = np.where(none_N[:, None], 9.0, z_NxD)
    unknown = batch_of(np.where(none_N, -1, SPEAKER_N))
    assert refitted(name, other, unknown) == refitted(name, z_NxD, unknown)
    unlabelled = batch_of(SPEAKER_N, 1 - none_N.astype(np.float32))
    assert (refitted(name, other, unlabelled) == refitted(name, z_NxD, unlabelled)) == (
        name == 'cdann'
    )


def test_of_runs_each_is_asked_about_whom_it_was_to_forget():
    """Two runs of two folds, one of which trains on fewer: as each alone, of the utterances that its training hears."""
    method, heads = method_of('dann')
    random = np.random.default_rng(1)
    z_RxNxD = random.normal(size=(2, N, D)).astype(np.float32)
    forgotten = [np.arange(12), np.arange(6, N)]
    seen = np.stack([batch_of(SPEAKER_N)['speaker_seen_K']] * 2)
    table = SimpleNamespace(
        emotion_N=np.zeros(N, int), domain_N={'speaker': SPEAKER_N}, seen={'speaker': seen}
    )
    task = SimpleNamespace(
        table=table, subset_folds=[SimpleNamespace(domain_rows=f, train=f) for f in forgotten]
    )
    group = SimpleNamespace(
        runs=[{}, {}], fold_N=np.array([0, 1]), layout=SimpleNamespace(collect=lambda x: x)
    )
    gathered = tracking.Collected(group.fold_N)
    gathered.add(np.tile(np.arange(N), (2, 1)), z_RxNxD)
    params = jax.tree.map(lambda x: np.stack([x, x]), heads) | {'encoder': {}}
    found = adversary_heads.refit_heads(
        SimpleNamespace(method=method, task=task), group, params, gathered
    )
    for run, rows in zip((0, 1), forgotten):
        batch = {k: x[rows] if k.endswith('_B') else x for k, x in batch_of(SPEAKER_N).items()}
        alone = adversary_heads.make_refit(method.domain_loss, method.domains)(
            (heads, z_RxNxD[run, rows], batch)
        )['speaker']
        assert list(found[run]['speaker'].values()) == pytest.approx(
            [float(x) for x in alone], abs=1e-5
        )
    plain = plugins.load_plugin('methods', 'erm').make(ConfigDict(), Encoder(None, None), SIZES)
    assert adversary_heads.refit_heads(
        SimpleNamespace(method=plain, task=task), group, params, gathered
    ) == [None, None]
    nobody = SimpleNamespace(
        table=table,
        subset_folds=[SimpleNamespace(domain_rows=np.array([99]), train=np.arange(3))] * 2,
    )
    assert adversary_heads.refit_heads(
        SimpleNamespace(method=method, task=nobody), group, params, gathered
    ) == [None, None]

"""Whether an adversary's heads were beaten by the encoder, or only lagged behind it."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxser import plugins
from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.probing import adversary_heads
from jaxser.training import tracking

N, D, K, C = 24, 6, 5, 2  # training has seen three of the five speakers
SIZES = Sizes(1, C, {'speaker': K, 'language': 2, 'corpus': 1}, 10)
METHODS_WITH_HEADS = ('dann', 'cdann', 'confusion', 'speaker_norm')
SPEAKER_N = np.resize([0, 1, 3], N)


def make_method_and_heads(name: str) -> tuple[Method, dict]:
    """Returns a method and its heads, whose last layer is zero: they guess."""
    config = ConfigDict(
        {'domain': 'speaker', 'domain_hidden': 16, 'speaker_norm': 'tap', 'train': {}}
    )
    method = plugins.load_plugin('methods', name).make(config, Encoder(None, None), SIZES)
    heads = method.init(jax.random.PRNGKey(0), np.zeros((1, D), np.float32))[0]['speaker']

    def zero_last_layer(path, x):
        return np.zeros_like(x) if path[-2].key == 'layers_2' else x

    return method, {'speaker': jax.tree_util.tree_map_with_path(zero_last_layer, heads)}


def make_batch(speaker_N: np.ndarray, labelled_N: np.ndarray | None = None) -> dict:
    labelled_N = np.ones(N, np.float32) if labelled_N is None else labelled_N
    seen_K = np.isin(np.arange(K), speaker_N[speaker_N >= 0]).astype(np.float32)
    return {
        'speaker_B': speaker_N,
        'speaker_seen_K': seen_K,
        'emotion_B': np.arange(N) // 3 % C,
        'labelled_B': labelled_N,
    }


def refit(method: Method, heads: dict, z_NxD: np.ndarray, batch: dict) -> tuple[float, float]:
    """Returns the loss of the speaker's heads before and after."""
    in_one_batch = {}
    for key, array in batch.items():
        in_one_batch[key] = array[None] if key.endswith('_B') else array
    run = (heads, z_NxD[None].astype(np.float32), in_one_batch)
    losses = jax.jit(adversary_heads.make_refit(method.domain_loss, method.domains))(run)
    before, after = losses['speaker']
    return float(before), float(after)


@pytest.mark.parametrize('name', METHODS_WITH_HEADS)
def test_a_head_that_only_lagged_behind_learns_the_speaker(name):
    """It guesses at first, with the loss log(3) of three speakers; the representation has them."""
    z_NxD = 3 * np.eye(D)[SPEAKER_N]
    before, after = refit(*make_method_and_heads(name), z_NxD, make_batch(SPEAKER_N))
    assert before == pytest.approx(np.log(3), abs=1e-6)
    assert after < 0.05


@pytest.mark.parametrize('name', METHODS_WITH_HEADS)
def test_a_head_that_was_beaten_learns_nothing(name):
    """All speakers have one representation: the loss remains that of guessing, and never rises."""
    z_NxD = np.ones((N, D))
    before, after = refit(*make_method_and_heads(name), z_NxD, make_batch(SPEAKER_N))
    assert before == pytest.approx(np.log(3), abs=1e-6)
    assert after == pytest.approx(before, abs=1e-3)
    assert after <= before


@pytest.mark.parametrize('name', METHODS_WITH_HEADS)
def test_utterances_without_a_speaker_are_ignored(name):
    """As in the padding; heads of single emotions also ignore utterances without an emotion."""
    method, heads = make_method_and_heads(name)
    random = np.random.default_rng(0)
    z_NxD = random.normal(size=(N, D))
    is_last_N = np.arange(N) >= N - 6
    changed_NxD = np.where(is_last_N[:, None], 9.0, z_NxD)
    no_speaker = make_batch(np.where(is_last_N, -1, SPEAKER_N))
    assert refit(method, heads, changed_NxD, no_speaker) == refit(method, heads, z_NxD, no_speaker)
    no_emotion = make_batch(SPEAKER_N, 1 - is_last_N.astype(np.float32))
    losses = refit(method, heads, z_NxD, no_emotion)
    assert (refit(method, heads, changed_NxD, no_emotion) == losses) == (name == 'cdann')


@pytest.fixture
def two_runs():
    """(task, group, representations) of two runs; the fold of one trains on fewer utterances."""
    rows = [np.arange(12), np.arange(6, N)]
    table = SimpleNamespace(
        emotion_N=np.zeros(N, int),
        domain_N={'speaker': SPEAKER_N},
        seen={'speaker': np.stack([make_batch(SPEAKER_N)['speaker_seen_K']] * 2)},
    )
    folds = [SimpleNamespace(domain_rows=r, train=r) for r in rows]
    task = SimpleNamespace(table=table, subset_folds=folds)
    group = SimpleNamespace(
        runs=[{}, {}], subset_fold_N=np.array([0, 1]), layout=SimpleNamespace(collect=lambda x: x)
    )
    random = np.random.default_rng(1)
    representations = tracking.Collected(group.subset_fold_N)
    representations.add(
        np.tile(np.arange(N), (2, 1)), random.normal(size=(2, N, D)).astype(np.float32)
    )
    return task, group, representations


def stack_twice(heads: dict) -> dict:
    return jax.tree.map(lambda x: np.stack([x, x]), heads) | {'encoder': {}}


def test_each_run_is_refitted_on_the_training_utterances_of_its_own_fold(two_runs):
    """Together with a run of more utterances the losses are those of the run alone."""
    task, group, representations = two_runs
    method, heads = make_method_and_heads('dann')
    trainer = SimpleNamespace(method=method, task=task)
    losses = adversary_heads.refit_heads(trainer, group, stack_twice(heads), representations)
    for n, fold in enumerate(task.subset_folds):
        _, z_NxD = representations.get_run(n)
        batch = {}
        for key, array in make_batch(SPEAKER_N).items():
            batch[key] = array[fold.train] if key.endswith('_B') else array
        alone = refit(method, heads, z_NxD[fold.train], batch)
        assert list(losses[n]['speaker'].values()) == pytest.approx(alone, abs=1e-5)


def test_many_utterances_are_seen_in_batches(two_runs, monkeypatch):
    """A head learns from all batches, and its losses are those of one of them."""
    task, group, representations = two_runs
    for table in representations.arrays:
        table[0] = 3 * np.eye(D)[SPEAKER_N].astype(np.float32)
    method, heads = make_method_and_heads('dann')
    trainer = SimpleNamespace(method=method, task=task)
    monkeypatch.setattr(adversary_heads, 'BATCH_SIZE', 7)
    for losses in adversary_heads.refit_heads(trainer, group, stack_twice(heads), representations):
        assert losses['speaker']['before'] == pytest.approx(np.log(3), abs=1e-6)
        assert losses['speaker']['after'] < 0.1


@pytest.mark.parametrize(
    ('batch_size', 'max_batches', 'expected'),
    [(100, 10, (1, 18)), (7, 10, (3, 6)), (7, 2, (2, 7))],
)
def test_batches_have_each_utterance_once(batch_size, max_batches, expected, monkeypatch):
    """Or a random sample, if there are too many. Batches of a run differ by at most one."""
    monkeypatch.setattr(adversary_heads, 'BATCH_SIZE', batch_size)
    monkeypatch.setattr(adversary_heads, 'MAX_BATCHES', max_batches)
    inputs = []
    for count in (12, 18):
        batch = make_batch(np.arange(count))
        batch |= {key: batch[key][:count] for key in ('emotion_B', 'labelled_B')}
        whole = adversary_heads.HeadInput(np.arange(count)[:, None] + 1.0, batch)
        inputs.append(adversary_heads._sample_input(whole))
    stacked = adversary_heads._stack_inputs(inputs, ('speaker',))
    assert stacked.z_NxD.shape == (2, *expected, 1)
    assert stacked.batch['speaker_seen_K'].shape == (2, K)
    for n, count in enumerate((12, 18)):
        speaker_ZxB = stacked.batch['speaker_B'][n]
        is_used_ZxB = speaker_ZxB >= 0
        used = speaker_ZxB[is_used_ZxB]
        assert len(np.unique(used)) == len(used) == min(count, np.prod(expected))
        assert np.ptp(is_used_ZxB.sum(axis=1)) <= 1
        np.testing.assert_array_equal(stacked.z_NxD[n][..., 0], speaker_ZxB + 1)


def test_methods_without_heads_and_folds_without_domains_have_no_losses(two_runs):
    task, group, representations = two_runs
    method, heads = make_method_and_heads('dann')
    params = stack_twice(heads)
    plain = plugins.load_plugin('methods', 'erm').make(
        ConfigDict({'train': {}}), Encoder(None, None), SIZES
    )
    trainer = SimpleNamespace(method=plain, task=task)
    assert adversary_heads.refit_heads(trainer, group, params, representations) == [None, None]
    task.subset_folds = [SimpleNamespace(domain_rows=np.array([99]), train=np.arange(3))] * 2
    trainer = SimpleNamespace(method=method, task=task)
    assert adversary_heads.refit_heads(trainer, group, params, representations) == [None, None]

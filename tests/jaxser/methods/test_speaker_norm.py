"""The four steps of speaker normalisation, and what its identity batches may and may not change."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.linear import (
    BATCH,
    ENCODER,
    KEY,
    SIZES,
    B,
    C,
    Case,
    D,
    differences,
    domain_log_p,
    log_p,
    quick,
)
from helpers.linear import linear as scores
from ml_collections import ConfigDict

from configs import base
from data_pipelines.errors import UserError
from jaxser import plugins
from jaxser.training import step

N = B // 2  # the first half of a batch has emotions, the second fills the identity batch
ETA, LAM = 0.1, 0.03
ASCENDS = {'tap': 'encoder', 'snp': 'layer'}
IDENTITY_KEY = jax.random.fold_in(KEY, 1)
KEEP = [
    np.asarray(jax.random.bernoulli(k, 0.8, (N, D)), np.float64) for k in (KEY, IDENTITY_KEY)
]  # by half


@pytest.fixture(scope='module', params=ASCENDS)
def case(request):
    made = Case('speaker_norm', speaker_norm=request.param)
    made.kind, made.ascends = request.param, ASCENDS[request.param]
    return made


def plainly(state, gradients):
    """One step of plain descent of the branches that are named."""
    moved = {
        k: jax.tree.map(lambda p, g: p - ETA * g, state.params[k], g) for k, g in gradients.items()
    }
    return state.replace(params=state.params | moved)


def after(case, batch=BATCH, lam=LAM, descend=plainly):
    """The state after an update, and metrics."""
    update = quick(
        lambda state, batch, hyper: case.method.update(state, batch, hyper, KEY, descend)
    )
    return jax.device_get(update(case.state, batch, {'lam': np.float32(lam)}))


def represent(params, half: int) -> np.ndarray:
    mel_BxTxM = np.float64(BATCH['mel_BxTxM'])[half * N : (half + 1) * N]
    z_BxD = np.tanh(mel_BxTxM.mean(1) @ params['encoder']['w']) * KEEP[half]
    return np.maximum(scores(params['layer'], z_BxD), 0) if 'layer' in params else z_BxD


def emotion_loss(params) -> float:
    weight_B = np.float64(BATCH['labelled_B'][:N])
    log_p_BxC = log_p(scores(params['emotion'], represent(params, 0)))
    return -(log_p_BxC[np.arange(N), BATCH['emotion_B'][:N]] * weight_B).sum() / weight_B.sum()


def speaker_loss(params) -> float:
    speaker_B = BATCH['speaker_B'][N:]
    z_BxD = np.concatenate([np.zeros((N, D)), represent(params, 1)])
    log_p_BxK = domain_log_p(params['speaker'], 'speaker', z_BxD)[N:]
    return -log_p_BxK[np.arange(N), speaker_B][speaker_B >= 0].sum() / (speaker_B >= 0).sum()


def test_one_iteration_is_the_paper_s_four_steps(case):
    """Written out by finite differences: what ascends does so from where descent left it, and nothing else does."""
    down = lambda p, g: jax.tree.map(lambda x, y: x - ETA * y, p, g)  # noqa: E731
    params = case.float64_params
    gradients = differences(emotion_loss, params)
    params |= {k: down(params[k], gradients[k]) for k in params if k != 'speaker'}
    gradients = differences(speaker_loss, params)
    params['speaker'] = down(params['speaker'], gradients['speaker'])
    up = gradients[case.ascends]
    params[case.ascends] = jax.tree.map(lambda x, y: x + LAM * y, params[case.ascends], up)

    state, metrics = after(case)
    chex.assert_trees_all_close(state.params, params, rtol=1e-5, atol=1e-5)
    lowered = np.concatenate([(LAM * x).ravel() for x in jax.tree.leaves(up)])
    descent = jax.tree.map(
        lambda x, y, z: x - LAM * z - y, params[case.ascends], case.float64_params[case.ascends], up
    )
    descent = np.concatenate([x.ravel() for x in jax.tree.leaves(descent)])
    assert metrics['ascent'] == pytest.approx(
        np.linalg.norm(lowered) / np.linalg.norm(descent), rel=1e-4
    )
    assert (
        metrics['loss']
        == metrics['emotion_loss']
        == pytest.approx(emotion_loss(case.float64_params), rel=1e-5)
    )
    assert metrics['speaker_count'] == 3


def test_one_step_up_is_a_worse_speaker_loss(case):
    """At a fixed head: a small lam raises the speaker loss of the identity batch."""
    low, high = (
        after(case, lam=lam)[0].params | {'speaker': case.params['speaker']} for lam in (0, 0.01)
    )
    assert (
        speaker_loss(jax.tree.map(np.float64, high))
        > speaker_loss(jax.tree.map(np.float64, low)) + 1e-5
    )


def other(batch: dict, half: int) -> dict:
    """Other features, speakers and emotions in one half of a batch."""
    random, rows = np.random.default_rng(1), slice(half * N, (half + 1) * N)
    drawn = {
        'mel_BxTxM': random.normal(size=BATCH['mel_BxTxM'][rows].shape),
        'speaker_B': random.permutation([0, 0, 1, 3]),
        'emotion_B': (BATCH['emotion_B'][rows] + 1) % C,
    }
    changed = {k: batch[k].copy() for k in drawn}
    for k, x in drawn.items():
        changed[k][rows] = x
    return batch | changed


def test_at_lam_0_the_identity_batch_trains_its_head_alone(case):
    """Encoder, layer, emotion head and statistics: to the bit, SNP's too; and the head does hear it."""
    (state, _), (changed, _) = (after(case, batch, lam=0) for batch in (BATCH, other(BATCH, 1)))
    rest = [k for k in state.params if k != 'speaker']
    chex.assert_trees_all_equal([state.params[k] for k in rest], [changed.params[k] for k in rest])
    chex.assert_trees_all_equal(state.batch_stats, changed.batch_stats)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(state.params['speaker'], changed.params['speaker'])


def test_the_identity_batch_s_statistics_and_emotions_are_not_kept(case):
    """At any lam the running statistics are those of the emotion examples, and an identity example's emotion changes nothing."""
    state, _ = after(case)
    assert state.batch_stats['heard'] == pytest.approx(BATCH['mel_BxTxM'][:N].mean(), rel=1e-5)
    told = BATCH | {
        'emotion_B': other(BATCH, 1)['emotion_B'],
        'labelled_B': np.float32([1, 0.5, 0, 2, 1, 1, 1, 1]),
    }
    chex.assert_trees_all_equal(after(case, told)[0], state)


def test_the_speakers_of_the_emotion_batch_are_not_told(case):
    """The head hears the identity batch alone."""
    told = BATCH | {'speaker_B': other(BATCH, 0)['speaker_B']}
    chex.assert_trees_all_equal(after(case, told), after(case))


def test_each_branch_takes_one_step_of_its_optimiser(case):
    """The speaker head's moments hold the gradient of step (4) alone, the others' that of (1) and (2): one step each."""
    config = base.get_config().train
    one = step.make_step(ENCODER, case.method, SIZES, config)
    scale = {'mean_BxM': np.zeros((B, 3), np.float32), 'scale_BxM': np.ones((B, 3), np.float32)}
    hyper = {
        'lam': 0.5,
        'lr': 1e-2,
        'weight_decay': 0.0,
        'dropout': 0.0,
        'time_mask': 0.0,
        'band_mask': 0.0,
    }
    hyper = {k: np.float32(v) for k, v in hyper.items()} | {
        'seed': np.int32(0),
        'fold': np.int32(0),
    }
    state, _ = quick(one.update)(quick(one.init)(hyper), BATCH | scale, hyper)
    adams = {k: next(s for s in o if hasattr(s, 'mu')) for k, o in state.opt_state.items()}
    assert set(adams) == set(case.params)
    assert all(a.count == 1 for a in adams.values())
    assert all(
        max(float(jnp.abs(x).max()) for x in jax.tree.leaves(a.mu)) > 0 for a in adams.values()
    )


def test_prediction_goes_through_the_layer(case):
    """Of SNP z is what the layer makes of the encoder's; TAP has none."""
    z_BxD, scores_BxC = quick(case.method.predict)(case.params, case.state.batch_stats, BATCH)
    expected = np.tanh(np.float64(BATCH['mel_BxTxM']).mean(1) @ case.float64_params['encoder']['w'])
    assert ('layer' in case.params) == (case.kind == 'snp')
    if case.kind == 'snp':
        expected = np.maximum(scores(case.float64_params['layer'], expected), 0)
    chex.assert_trees_all_close(
        (z_BxD, scores_BxC),
        (expected, scores(case.float64_params['emotion'], expected)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_what_is_neither_tap_nor_snp_is_refused():
    """By name, with what is known."""
    config = ConfigDict({'speaker_norm': 'tab'})
    with pytest.raises(UserError, match=r"config\.speaker_norm is 'tab'; expected one of tap, snp"):
        plugins.load_plugin('methods', 'speaker_norm').make(config, ENCODER, SIZES)

"""Tests of the four steps of speaker normalisation, and of what its identity batches change."""

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
ASCENDING_BRANCH = {'tap': 'encoder', 'snp': 'layer'}
IDENTITY_KEY = jax.random.fold_in(KEY, 1)
# The dropout masks of the two halves.
DROPOUT_MASKS = [
    np.asarray(jax.random.bernoulli(k, 0.8, (N, D)), np.float64) for k in (KEY, IDENTITY_KEY)
]


@pytest.fixture(scope='module', params=ASCENDING_BRANCH)
def case(request):
    case = Case('speaker_norm', speaker_norm=request.param)
    case.variant = request.param
    case.ascending = ASCENDING_BRANCH[request.param]
    return case


def plain_descent(state, gradients):
    """Returns the state after a step of plain descent of the branches that have a gradient."""
    params = dict(state.params)
    for branch, gradient in gradients.items():
        params[branch] = jax.tree.map(lambda p, g: p - ETA * g, params[branch], gradient)
    return state.replace(params=params)


def run_update(case, batch=BATCH, lam=LAM, descend=plain_descent):
    """Returns the state after an update, and metrics."""
    update = quick(
        lambda state, batch, hyper: case.method.update(state, batch, hyper, KEY, descend)
    )
    return jax.device_get(update(case.state, batch, {'lam': np.float32(lam)}))


def encode(params, half: int) -> np.ndarray:
    mel_BxTxM = np.float64(BATCH['mel_BxTxM'])[half * N : (half + 1) * N]
    z_BxD = np.tanh(mel_BxTxM.mean(1) @ params['encoder']['w']) * DROPOUT_MASKS[half]
    return np.maximum(scores(params['layer'], z_BxD), 0) if 'layer' in params else z_BxD


def emotion_loss(params) -> float:
    weight_B = np.float64(BATCH['labelled_B'][:N])
    log_p_BxC = log_p(scores(params['emotion'], encode(params, 0)))
    return -(log_p_BxC[np.arange(N), BATCH['emotion_B'][:N]] * weight_B).sum() / weight_B.sum()


def speaker_loss(params) -> float:
    speaker_B = BATCH['speaker_B'][N:]
    z_BxD = np.concatenate([np.zeros((N, D)), encode(params, 1)])
    log_p_BxK = domain_log_p(params['speaker'], 'speaker', z_BxD)[N:]
    return -log_p_BxK[np.arange(N), speaker_B][speaker_B >= 0].sum() / (speaker_B >= 0).sum()


def test_one_update_is_the_papers_four_steps(case):
    """They are computed by finite differences. The ascent starts where the descent ended."""

    def down(params, gradients):
        return jax.tree.map(lambda x, g: x - ETA * g, params, gradients)

    params = case.float64_params
    gradients = differences(emotion_loss, params)
    params |= {k: down(params[k], gradients[k]) for k in params if k != 'speaker'}
    gradients = differences(speaker_loss, params)
    params['speaker'] = down(params['speaker'], gradients['speaker'])
    ascent = gradients[case.ascending]
    params[case.ascending] = jax.tree.map(lambda x, y: x + LAM * y, params[case.ascending], ascent)

    state, metrics = run_update(case)
    chex.assert_trees_all_close(state.params, params, rtol=1e-5, atol=1e-5)
    ascent_vector = np.concatenate([(LAM * x).ravel() for x in jax.tree.leaves(ascent)])
    descent = jax.tree.map(
        lambda x, y, z: x - LAM * z - y,
        params[case.ascending],
        case.float64_params[case.ascending],
        ascent,
    )
    descent = np.concatenate([x.ravel() for x in jax.tree.leaves(descent)])
    assert metrics['ascent'] == pytest.approx(
        np.linalg.norm(ascent_vector) / np.linalg.norm(descent), rel=1e-4
    )
    assert (
        metrics['loss']
        == metrics['emotion_loss']
        == pytest.approx(emotion_loss(case.float64_params), rel=1e-5)
    )
    assert metrics['speaker_count'] == 3


def test_an_ascent_step_raises_the_speaker_loss(case):
    """With a fixed head and a small lam, on the identity batch."""
    low, high = (
        run_update(case, lam=lam)[0].params | {'speaker': case.params['speaker']}
        for lam in (0, 0.01)
    )
    assert (
        speaker_loss(jax.tree.map(np.float64, high))
        > speaker_loss(jax.tree.map(np.float64, low)) + 1e-5
    )


def with_other_examples(batch: dict, half: int) -> dict:
    """Returns the batch with other features, speakers and emotions in one half."""
    random = np.random.default_rng(1)
    rows = slice(half * N, (half + 1) * N)
    drawn = {
        'mel_BxTxM': random.normal(size=BATCH['mel_BxTxM'][rows].shape),
        'speaker_B': random.permutation([0, 0, 1, 3]),
        'emotion_B': (BATCH['emotion_B'][rows] + 1) % C,
    }
    changed = {k: batch[k].copy() for k in drawn}
    for k, x in drawn.items():
        changed[k][rows] = x
    return batch | changed


def test_at_lam_0_the_identity_batch_trains_only_the_speaker_head(case):
    """Encoder, layer, emotion head and statistics are the same to the bit."""
    (state, _), (changed, _) = (
        run_update(case, batch, lam=0) for batch in (BATCH, with_other_examples(BATCH, 1))
    )
    rest = [k for k in state.params if k != 'speaker']
    chex.assert_trees_all_equal([state.params[k] for k in rest], [changed.params[k] for k in rest])
    chex.assert_trees_all_equal(state.batch_stats, changed.batch_stats)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(state.params['speaker'], changed.params['speaker'])


def test_the_identity_batch_changes_no_running_statistics_and_its_emotions_are_unused(case):
    """At any lam."""
    state, _ = run_update(case)
    assert state.batch_stats['mean'] == pytest.approx(BATCH['mel_BxTxM'][:N].mean(), rel=1e-5)
    changed_batch = BATCH | {
        'emotion_B': with_other_examples(BATCH, 1)['emotion_B'],
        'labelled_B': np.float32([1, 0.5, 0, 2, 1, 1, 1, 1]),
    }
    chex.assert_trees_all_equal(run_update(case, changed_batch)[0], state)


def test_the_speakers_of_the_emotion_batch_are_unused(case):
    """The speaker head trains on the identity batch only."""
    changed_batch = BATCH | {'speaker_B': with_other_examples(BATCH, 0)['speaker_B']}
    chex.assert_trees_all_equal(run_update(case, changed_batch), run_update(case))


def test_each_branch_takes_one_step_of_its_optimiser(case):
    """The speaker head has the gradient of step (4), the others that of steps (1) and (2)."""
    config = base.get_config().train
    run_step = step.make_step(ENCODER, case.method, SIZES, config)
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
    state, _ = quick(run_step.update)(quick(run_step.init)(hyper), BATCH | scale, hyper)
    adams = {k: next(s for s in o if hasattr(s, 'mu')) for k, o in state.opt_state.items()}
    assert set(adams) == set(case.params)
    assert all(a.count == 1 for a in adams.values())
    assert all(
        max(float(jnp.abs(x).max()) for x in jax.tree.leaves(a.mu)) > 0 for a in adams.values()
    )


def test_prediction_goes_through_the_layer(case):
    """For SNP, z is the output of the layer; TAP has none."""
    z_BxD, scores_BxC = quick(case.method.predict)(case.params, case.state.batch_stats, BATCH)
    expected = np.tanh(np.float64(BATCH['mel_BxTxM']).mean(1) @ case.float64_params['encoder']['w'])
    assert ('layer' in case.params) == (case.variant == 'snp')
    if case.variant == 'snp':
        expected = np.maximum(scores(case.float64_params['layer'], expected), 0)
    chex.assert_trees_all_close(
        (z_BxD, scores_BxC),
        (expected, scores(case.float64_params['emotion'], expected)),
        rtol=1e-5,
        atol=1e-5,
    )


def test_an_unknown_variant_is_refused():
    """The message lists the variants."""
    config = ConfigDict({'speaker_norm': 'tab'})
    with pytest.raises(UserError, match=r"config\.speaker_norm is 'tab'; expected one of tap, snp"):
        plugins.load_plugin('methods', 'speaker_norm').make(config, ENCODER, SIZES)

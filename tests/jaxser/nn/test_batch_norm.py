"""Tests of the modes of BatchNorm, in closed form and compared with flax's BatchNorm."""

import operator

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from configs import base
from data_pipelines.errors import UserError
from jaxser.interfaces import Sizes
from jaxser.nn.batch_norm import BATCH_NORM_MODES, BatchNorm
from jaxser.plugins import make_method
from jaxser.training import step
from jaxser.training.experiment import run_experiment
from jaxser.training.validate import plan_programs

B, T, C = 5, 6, 3
RANDOM = np.random.default_rng(0)
X = np.float32(RANDOM.normal(1, 2, (B, T, C)))
MASK = np.float32(np.arange(T) < np.array([6, 4, 1, 5, 3])[:, None])
TARGET = np.float32([0, 1, 1, 0, 1])
PARAMS = {'scale': np.float32([0.5, 1, 2]), 'bias': np.float32([0.1, 0, -1])}
NORMALISING = [mode for mode in BATCH_NORM_MODES if mode != 'none']


def running(mode: str) -> dict:
    """Returns statistics that no batch here has."""
    shape = (2, C) if mode == 'domain' else (C,)
    return {
        'mean': np.float32(RANDOM.normal(size=shape)),
        'var': np.float32(RANDOM.uniform(1, 2, shape)),
    }


def apply(
    mode: str,
    x=X,
    mask=MASK,
    target=TARGET,
    stats: dict | None = None,
    train: bool = True,
    params=PARAMS,
):
    """Returns y and the running statistics."""
    params = {'bias': params['bias']} if mode == 'none' else params
    variables = {'params': params, 'batch_stats': stats} if stats else {'params': params}
    if not train:
        return BatchNorm(mode).apply(variables, x, mask, target, train=False), stats
    y, new = BatchNorm(mode).apply(variables, x, mask, target, train=True, mutable=['batch_stats'])
    return y, new.get('batch_stats', {})


def normalised(x, mean, var) -> np.ndarray:
    return (x - mean) / np.sqrt(var + 1e-5) * PARAMS['scale'] + PARAMS['bias']


def moments(x, mask) -> tuple[np.ndarray, np.ndarray]:
    valid = np.float64(x[mask > 0])
    return valid.mean(0), valid.var(0)


def update_running(old, new) -> np.ndarray:
    return 0.9 * old + 0.1 * new


@pytest.mark.parametrize(
    'shape', [(B, C), (B, T, C), (B, T, 4, C)], ids=['examples', 'frames', 'frames and bands']
)
@pytest.mark.parametrize('train', [False, True], ids=['eval', 'train'])
def test_joint_equals_batch_norm_of_flax(shape, train):
    """Values, running statistics and the gradient are equal to 1e-6."""
    x = np.float32(np.random.default_rng(1).normal(1, 2, shape))
    mask = MASK[:, 1] if len(shape) == 2 else MASK
    is_valid = np.broadcast_to(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), shape) > 0
    weight = np.float32(np.random.default_rng(2).normal(size=shape)) * is_valid
    stats = running('joint')
    plain = nn.BatchNorm(use_running_average=not train, momentum=0.9)

    def flax(x):
        variables = {'params': PARAMS, 'batch_stats': stats}
        y, new = plain.apply(variables, x, mask=is_valid, mutable=['batch_stats'])
        return (y * weight).sum(), (y * is_valid, new['batch_stats'])

    def jaxser(x):
        y, new = apply('joint', x, mask, stats=stats, train=train)
        return (y * weight).sum(), (y * is_valid, new)

    expected, actual = (jax.value_and_grad(f, has_aux=True)(x) for f in (flax, jaxser))
    chex.assert_trees_all_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('mode', NORMALISING)
def test_each_mode_normalises_and_updates_as_documented(mode):
    """It equals the closed form, in training and in evaluation."""
    stats, target = running(mode), TARGET > 0
    both_moments, source_moments, target_moments = (
        moments(X[rows], MASK[rows]) for rows in (TARGET >= 0, ~target, target)
    )
    used_for_source, used_for_target = {
        'joint': (both_moments, both_moments),
        'source': (source_moments, source_moments),
    }.get(mode, (source_moments, target_moments))
    y, new = apply(mode, stats=stats)
    expected = np.where(
        target[:, None, None], normalised(X, *used_for_target), normalised(X, *used_for_source)
    )
    chex.assert_trees_all_close(y, expected, rtol=1e-5, atol=1e-5)
    for name, source_side, target_side, both_sides in zip(
        ('mean', 'var'), source_moments, target_moments, both_moments
    ):
        old = stats[name]
        if mode == 'joint':
            updated = update_running(old, both_sides)
        elif mode == 'source':
            updated = update_running(old, source_side)
        elif mode == 'separate':
            updated = update_running(update_running(old, source_side), target_side)
        else:
            updated = np.stack(
                [update_running(old[0], source_side), update_running(old[1], target_side)]
            )
        chex.assert_trees_all_close(new[name], updated, rtol=1e-6, atol=1e-6)
    evaluated, unchanged = apply(mode, stats=new, train=False)
    mean, var = (
        np.atleast_2d(new[k])[np.int32(target) if mode == 'domain' else np.zeros(B, int)][:, None]
        for k in new
    )
    chex.assert_trees_all_close(evaluated, normalised(X, mean, var), rtol=1e-5, atol=1e-5)
    assert unchanged is new


def test_separate_equals_two_passes_of_one_layer():
    """The source passes through flax's layer first, then the target with its running statistics."""
    stats = running('separate')
    y, new = apply('separate', stats=stats)
    for side in (0, 1):
        rows = side == TARGET
        y_side, updated = nn.BatchNorm(use_running_average=False, momentum=0.9).apply(
            {'params': PARAMS, 'batch_stats': stats},
            X[rows],
            mask=MASK[rows][..., None] > 0,
            mutable=['batch_stats'],
        )
        stats = updated['batch_stats']
        chex.assert_trees_all_close(y[rows], y_side, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(new, dict(stats), rtol=1e-6, atol=1e-6)


def test_none_is_only_a_shift():
    """It has no scale and no running statistics."""
    variables = BatchNorm('none').init(jax.random.PRNGKey(0), X, MASK, TARGET, train=False)
    assert {k: set(v) for k, v in variables.items()} == {'params': {'bias'}}
    for training in (False, True):
        y, new = apply('none', train=training)
        np.testing.assert_array_equal(y, X + PARAMS['bias'])
        assert not new


@pytest.mark.parametrize('side', [0, 1], ids=['source alone', 'target alone'])
@pytest.mark.parametrize('mode', NORMALISING)
def test_a_missing_side_keeps_its_running_statistics(mode, side):
    """They are the same to the bit; those of the other side change; the gradient is finite."""
    stats, target = running(mode), np.full(B, side, np.float32)
    y, new = apply(mode, target=target, stats=stats)
    batch = moments(X, MASK)
    if (mode, side) == ('source', 1):
        chex.assert_trees_all_equal(new, stats)
        chex.assert_trees_all_close(
            y, normalised(X, stats['mean'], stats['var']), rtol=1e-5, atol=1e-5
        )
    else:
        chex.assert_trees_all_close(y, normalised(X, *batch), rtol=1e-5, atol=1e-5)
        for name, statistic in zip(('mean', 'var'), batch):
            old = stats[name]
            if mode == 'domain':
                np.testing.assert_array_equal(new[name][1 - side], old[1 - side])
                chex.assert_trees_all_close(
                    new[name][side], update_running(old[side], statistic), rtol=1e-6, atol=1e-6
                )
            else:
                chex.assert_trees_all_close(
                    new[name], update_running(old, statistic), rtol=1e-6, atol=1e-6
                )
    g = jax.grad(lambda x: (apply(mode, x, target=target, stats=stats)[0] ** 2).sum())(X)
    assert np.isfinite(g).all()


@pytest.mark.parametrize('mode', NORMALISING)
def test_a_batch_without_valid_frames_is_harmless(mode):
    """The running statistics are used and do not change."""
    stats = running(mode)
    y, new = apply(mode, mask=np.zeros_like(MASK), stats=stats)
    chex.assert_trees_all_equal(new, stats)
    np.testing.assert_array_equal(y, apply(mode, stats=stats, train=False)[0])


@pytest.mark.parametrize('mode', BATCH_NORM_MODES)
def test_padding_changes_nothing(mode):
    """The statistics and the valid frames are the same to the bit."""
    stats, valid = running(mode) if mode != 'none' else None, MASK[..., None] > 0
    actual = apply(mode, np.where(valid, X, 1e3).astype(np.float32), stats=stats)
    expected = apply(mode, stats=stats)
    np.testing.assert_array_equal(np.where(valid, actual[0], 0), np.where(valid, expected[0], 0))
    chex.assert_trees_all_equal(actual[1], expected[1])


@pytest.mark.parametrize('mode', BATCH_NORM_MODES)
def test_gradients_equal_finite_differences(mode):
    """In float64, and also through the statistics of the batch."""
    stats = running(mode) if mode != 'none' else None
    with jax.enable_x64(True):
        weight = np.random.default_rng(3).normal(size=X.shape) * MASK[..., None]
        double = jax.tree.map(np.float64, (X, PARAMS, stats))

        def weighted_sum(x, params):
            y, _ = apply(mode, x, np.float64(MASK), stats=double[2], params=params)
            return (y * weight).sum()

        jax.test_util.check_grads(weighted_sum, double[:2], order=1, modes=['rev'])


@pytest.mark.parametrize('mode', NORMALISING)
def test_vmapped_runs_equal_single_runs(mode):
    """They are equal to 1e-6, whatever the sides in the other run's batch."""
    stats = running(mode)
    x_RxBxTxC, target_RxB = np.stack([X, -2 * X]), np.stack([TARGET, 1 - TARGET])
    vmapped = jax.vmap(lambda x, target: apply(mode, x, target=target, stats=stats))(
        x_RxBxTxC, target_RxB
    )
    for r in range(2):
        single = apply(mode, x_RxBxTxC[r], target=target_RxB[r], stats=stats)
        chex.assert_trees_all_close(
            jax.tree.map(operator.itemgetter(r), vmapped), single, rtol=1e-6, atol=1e-6
        )


def test_an_unknown_mode_is_refused():
    """This holds in a sweep too; the message lists the modes."""
    config = base.get_config()
    config.sweep.model.batch_norm = ('joint', 'domian')
    with pytest.raises(
        UserError,
        match=r"config.model.batch_norm is 'domian'; expected one of joint, separate, domain",
    ):
        plan_programs(config)


def test_modes_that_distinguish_the_target_need_one(data, tmp_path):
    """Without a target in training, they are refused before training starts."""
    from helpers import tiny_config

    for mode in ('separate', 'domain', 'source'):
        config = tiny_config.get_config()
        config.data.dir, config.sweep.model.batch_norm = str(data), ('joint', mode)
        with pytest.raises(
            UserError,
            match=f'config.model.batch_norm={mode} needs a target.*protocol.adapt',
        ):
            run_experiment(config, tmp_path)


def train_three_steps(name: str, mode: str):
    """Returns the state after three steps at lam = 0, compiled as for users.

    The batch has source and target.
    """
    config = base.get_config()
    sizes = Sizes(4, 3, {'speaker': 3, 'language': 2, 'corpus': 2}, 20)
    frames = 12
    config.method = name
    config.domain_hidden = 4
    config.model.batch_norm = mode
    config.model.name = 'cnn'  # the quickest to compile
    config.model.channels = (4,)
    config.model.dim = 4
    encoder, method = make_method(config, sizes)
    run_step = step.make_step(encoder, method, sizes, config.train)
    values = {
        'lr': 0.01,
        'weight_decay': 0.01,
        'dropout': 0.2,
        'time_mask': 0.1,
        'band_mask': 0.1,
        **method.hyper,
        'lam': 0.0,
    }
    hyper = {k: jnp.float32(v) for k, v in values.items()} | {
        'seed': jnp.int32(1),
        'fold': jnp.int32(0),
    }
    random = np.random.default_rng(0)
    batch = {
        'mel_BxTxM': np.float16(random.normal(size=(B, frames, 4))),
        'frames_B': np.int32([12, 9, 4, 12, 7]),
        'mean_BxM': np.zeros((B, 4), np.float32),
        'scale_BxM': np.ones((B, 4), np.float32),
        'emotion_B': np.int32([0, 1, 2, 0, 1]),
        'labelled_B': 1 - TARGET,
        'target_B': TARGET,
        **{f'{d}_B': random.integers(0, n, B).astype(np.int32) for d, n in sizes.domains.items()},
        **{f'{d}_seen_K': np.ones(n, np.float32) for d, n in sizes.domains.items()},
    }

    state = jax.jit(run_step.init)(hyper)
    update = jax.jit(run_step.update, compiler_options={'xla_backend_optimization_level': 3})
    for _ in range(3):
        state, _ = update(state, batch, hyper)
    return jax.device_get(state)


@pytest.mark.slow
@pytest.mark.parametrize('mode', BATCH_NORM_MODES)
def test_at_lam_0_dann_equals_plain_training_to_the_bit(mode):
    """Encoder, statistics and emotion head are the same, in every mode."""
    plain, adversary = train_three_steps('erm', mode), train_three_steps('dann', mode)
    for part in ('encoder', 'emotion'):
        chex.assert_trees_all_equal(adversary.params[part], plain.params[part])
    chex.assert_trees_all_equal(adversary.batch_stats, plain.batch_stats)

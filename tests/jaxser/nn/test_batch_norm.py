"""BatchNorm's arms, in closed form and beside flax's own."""

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
from jaxser.training.validate import validate

B, T, C = 5, 6, 3
RANDOM = np.random.default_rng(0)
X = np.float32(RANDOM.normal(1, 2, (B, T, C)))
MASK = np.float32(np.arange(T) < np.array([6, 4, 1, 5, 3])[:, None])
TARGET = np.float32([0, 1, 1, 0, 1])
PARAMS = {'scale': np.float32([0.5, 1, 2]), 'bias': np.float32([0.1, 0, -1])}
NORMALISING = [arm for arm in BATCH_NORM_MODES if arm != 'none']


def running(arm: str) -> dict:
    """Statistics that no batch here has."""
    shape = (2, C) if arm == 'domain' else (C,)
    return {
        'mean': np.float32(RANDOM.normal(size=shape)),
        'var': np.float32(RANDOM.uniform(1, 2, shape)),
    }


def apply(
    arm: str,
    x=X,
    mask=MASK,
    target=TARGET,
    stats: dict | None = None,
    train: bool = True,
    params=PARAMS,
):
    """y, and the running statistics thereafter."""
    params = {'bias': params['bias']} if arm == 'none' else params
    variables = {'params': params, 'batch_stats': stats} if stats else {'params': params}
    if not train:
        return BatchNorm(arm).apply(variables, x, mask, target, train=False), stats
    y, new = BatchNorm(arm).apply(variables, x, mask, target, train=True, mutable=['batch_stats'])
    return y, new.get('batch_stats', {})


def normalised(x, mean, var) -> np.ndarray:
    return (x - mean) / np.sqrt(var + 1e-5) * PARAMS['scale'] + PARAMS['bias']


def moments(x, mask) -> tuple[np.ndarray, np.ndarray]:
    valid = np.float64(x[mask > 0])
    return valid.mean(0), valid.var(0)


def moved(old, new) -> np.ndarray:
    return 0.9 * old + 0.1 * new


@pytest.mark.parametrize(
    'shape', [(B, C), (B, T, C), (B, T, 4, C)], ids=['examples', 'frames', 'frames and bands']
)
@pytest.mark.parametrize('train', [False, True], ids=['eval', 'train'])
def test_joint_is_batch_norm_of_flax(shape, train):
    """Values, running statistics and the gradient: 1e-6; frames and bands have the mask of their frame."""
    x = np.float32(np.random.default_rng(1).normal(1, 2, shape))
    mask = MASK[:, 1] if len(shape) == 2 else MASK
    where = np.broadcast_to(mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), shape) > 0
    weight = np.float32(np.random.default_rng(2).normal(size=shape)) * where
    stats = running('joint')
    plain = nn.BatchNorm(use_running_average=not train, momentum=0.9)

    def flax(x):
        variables = {'params': PARAMS, 'batch_stats': stats}
        y, new = plain.apply(variables, x, mask=where, mutable=['batch_stats'])
        return (y * weight).sum(), (y * where, new['batch_stats'])

    def ours(x):
        y, new = apply('joint', x, mask, stats=stats, train=train)
        return (y * weight).sum(), (y * where, new)

    expected, found = (jax.value_and_grad(f, has_aux=True)(x) for f in (flax, ours))
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('arm', NORMALISING)
def test_each_side_is_normalised_as_its_arm_says(arm):
    """Values in closed form of valid frames, in training and in testing, and how the running statistics move."""
    stats, target = running(arm), TARGET > 0
    both, source, other = (moments(X[rows], MASK[rows]) for rows in (TARGET >= 0, ~target, target))
    of_source, of_target = {'joint': (both, both), 'source': (source, source)}.get(
        arm, (source, other)
    )
    y, new = apply(arm, stats=stats)
    expected = np.where(target[:, None, None], normalised(X, *of_target), normalised(X, *of_source))
    chex.assert_trees_all_close(y, expected, rtol=1e-5, atol=1e-5)
    for name, s, t, b in zip(('mean', 'var'), source, other, both):
        old = stats[name]
        after = {
            'joint': lambda: moved(old, b),  # noqa: B023
            'source': lambda: moved(old, s),  # noqa: B023
            'separate': lambda: moved(moved(old, s), t),  # noqa: B023
            'domain': lambda: np.stack([moved(old[0], s), moved(old[1], t)]),  # noqa: B023
        }
        chex.assert_trees_all_close(new[name], after[arm](), rtol=1e-6, atol=1e-6)
    tested, same = apply(arm, stats=new, train=False)
    mean, var = (
        np.atleast_2d(new[k])[np.int32(target) if arm == 'domain' else np.zeros(B, int)][:, None]
        for k in new
    )
    chex.assert_trees_all_close(tested, normalised(X, mean, var), rtol=1e-5, atol=1e-5)
    assert same is new


def test_separate_is_two_passes_of_one_layer():
    """The source goes through flax's, then the target does, with the running statistics that the source left."""
    stats = running('separate')
    y, new = apply('separate', stats=stats)
    for side in (0, 1):
        rows = side == TARGET
        y_side, after = nn.BatchNorm(use_running_average=False, momentum=0.9).apply(
            {'params': PARAMS, 'batch_stats': stats},
            X[rows],
            mask=MASK[rows][..., None] > 0,
            mutable=['batch_stats'],
        )
        stats = after['batch_stats']
        chex.assert_trees_all_close(y[rows], y_side, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(new, dict(stats), rtol=1e-6, atol=1e-6)


def test_none_is_a_shift():
    """What is not normalised needs a bias, no scale and no memory."""
    variables = BatchNorm('none').init(jax.random.PRNGKey(0), X, MASK, TARGET, train=False)
    assert {k: set(v) for k, v in variables.items()} == {'params': {'bias'}}
    for training in (False, True):
        y, new = apply('none', train=training)
        np.testing.assert_array_equal(y, X + PARAMS['bias'])
        assert not new


@pytest.mark.parametrize('side', [0, 1], ids=['source alone', 'target alone'])
@pytest.mark.parametrize('arm', NORMALISING)
def test_a_side_that_is_not_there_leaves_no_trace(arm, side):
    """Its running statistics stay to the bit, those of the other move; all is finite, and so is the gradient."""
    stats, target = running(arm), np.full(B, side, np.float32)
    y, new = apply(arm, target=target, stats=stats)
    batch = moments(X, MASK)
    if (arm, side) == ('source', 1):
        chex.assert_trees_all_equal(new, stats)
        chex.assert_trees_all_close(
            y, normalised(X, stats['mean'], stats['var']), rtol=1e-5, atol=1e-5
        )
    else:
        chex.assert_trees_all_close(y, normalised(X, *batch), rtol=1e-5, atol=1e-5)
        for name, statistic in zip(('mean', 'var'), batch):
            old = stats[name]
            if arm == 'domain':
                np.testing.assert_array_equal(new[name][1 - side], old[1 - side])
                chex.assert_trees_all_close(
                    new[name][side], moved(old[side], statistic), rtol=1e-6, atol=1e-6
                )
            else:
                chex.assert_trees_all_close(new[name], moved(old, statistic), rtol=1e-6, atol=1e-6)
    g = jax.grad(lambda x: (apply(arm, x, target=target, stats=stats)[0] ** 2).sum())(X)
    assert np.isfinite(g).all()


@pytest.mark.parametrize('arm', NORMALISING)
def test_nothing_valid_at_all_is_harmless(arm):
    """The running statistics serve, and stay."""
    stats = running(arm)
    y, new = apply(arm, mask=np.zeros_like(MASK), stats=stats)
    chex.assert_trees_all_equal(new, stats)
    np.testing.assert_array_equal(y, apply(arm, stats=stats, train=False)[0])


@pytest.mark.parametrize('arm', BATCH_NORM_MODES)
def test_padding_is_invisible(arm):
    """Values beyond the mask change neither the statistics nor the valid, to the bit."""
    stats, valid = running(arm) if arm != 'none' else None, MASK[..., None] > 0
    found = apply(arm, np.where(valid, X, 1e3).astype(np.float32), stats=stats)
    expected = apply(arm, stats=stats)
    np.testing.assert_array_equal(np.where(valid, found[0], 0), np.where(valid, expected[0], 0))
    chex.assert_trees_all_equal(found[1], expected[1])


@pytest.mark.parametrize('arm', BATCH_NORM_MODES)
def test_gradients_are_those_of_finite_differences(arm):
    """Through the batch's statistics too; in float64."""
    stats = running(arm) if arm != 'none' else None
    with jax.enable_x64(True):
        weight = np.random.default_rng(3).normal(size=X.shape) * MASK[..., None]
        double = jax.tree.map(np.float64, (X, PARAMS, stats))
        f = lambda x, params: (
            apply(arm, x, np.float64(MASK), stats=double[2], params=params)[0] * weight
        ).sum()
        jax.test_util.check_grads(f, double[:2], order=1, modes=['rev'])


@pytest.mark.parametrize('arm', NORMALISING)
def test_vmapped_runs_are_single_runs(arm):
    """A run's statistics are its own, whatever the sides of the others' batches: 1e-6."""
    stats = running(arm)
    x_RxBxTxC, target_RxB = np.stack([X, -2 * X]), np.stack([TARGET, 1 - TARGET])
    both = jax.vmap(lambda x, target: apply(arm, x, target=target, stats=stats))(
        x_RxBxTxC, target_RxB
    )
    for r in range(2):
        jax.tree.map(
            lambda a, b: chex.assert_trees_all_close(a[r], b, rtol=1e-6, atol=1e-6),
            both,
            apply(arm, x_RxBxTxC[r], target=target_RxB[r], stats=stats),
        )


def test_a_misspelt_arm_is_refused():
    """By its key, with those that there are; the sweep's too."""
    config = base.get_config()
    config.sweep.model.batch_norm = ('joint', 'domian')
    with pytest.raises(
        UserError,
        match=r"config.model.batch_norm is 'domian'; expected one of joint, separate, domain",
    ):
        validate(config)


def test_arms_that_differ_by_the_target_need_one(data, tmp_path):
    """`domain` would test with statistics of nothing; what never hears a target is refused before any training."""
    from helpers import tiny_config

    for arm in ('separate', 'domain', 'source'):
        config = tiny_config.get_config()
        config.data.dir, config.sweep.model.batch_norm = str(data), ('joint', arm)
        with pytest.raises(
            UserError,
            match=f'config.model.batch_norm={arm} needs a target.*protocol.adapt',
        ):
            run_experiment(config, tmp_path)


def steps_of(name: str, arm: str):
    """The state after three steps at lam = 0 over a batch of both sides, compiled as for users."""
    config, sizes, frames = (
        base.get_config(),
        Sizes(4, 3, {'speaker': 3, 'language': 2, 'corpus': 2}, 20),
        12,
    )
    config.method, config.model.batch_norm, config.domain_hidden = name, arm, 4
    config.model.name, config.model.channels, config.model.dim = (
        'cnn',
        (4,),
        4,
    )  # the quickest to compile
    encoder, method = make_method(config, sizes)
    one = step.make_step(encoder, method, sizes, config.train)
    knobs = {
        'lr': 0.01,
        'weight_decay': 0.01,
        'dropout': 0.2,
        'time_mask': 0.1,
        'band_mask': 0.1,
        **method.hyper,
        'lam': 0.0,
    }
    hyper = {k: jnp.float32(v) for k, v in knobs.items()} | {
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

    state = jax.jit(one.init)(hyper)
    update = jax.jit(one.update, compiler_options={'xla_backend_optimization_level': 3})
    for _ in range(3):
        state, _ = update(state, batch, hyper)
    return jax.device_get(state)


@pytest.mark.slow
@pytest.mark.parametrize('arm', BATCH_NORM_MODES)
def test_at_lam_0_the_adversary_is_plain_training_to_the_bit(arm):
    """Encoder, statistics and emotion head, under every arm."""
    plain, adversary = steps_of('erm', arm), steps_of('dann', arm)
    for part in ('encoder', 'emotion'):
        chex.assert_trees_all_equal(adversary.params[part], plain.params[part])
    chex.assert_trees_all_equal(adversary.batch_stats, plain.batch_stats)

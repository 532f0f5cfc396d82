"""Tests of one training step over an encoder of one matrix."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.training import optimizer, step

B, T, M, D, C = 4, 6, 3, 2, 3
SIZES = Sizes(M, C, {}, steps=20)
RANDOM = np.random.default_rng(0)
BATCH = {
    'mel_BxTxM': np.float16(RANDOM.normal(size=(B, T, M))),
    'frames_B': np.array([6, 5, 4, 2], np.int32),
    'mean_BxM': np.float32(RANDOM.normal(size=(B, M))),
    'scale_BxM': np.float32(RANDOM.uniform(0.5, 2, (B, M))),
    'emotion_B': np.array([0, 1, 2, 0], np.int32),
    'labelled_B': np.ones(B, np.float32),
}
NORMALISED = (BATCH['mel_BxTxM'] - BATCH['mean_BxM'][:, None]) * BATCH['scale_BxM'][:, None]
SUM = (NORMALISED * (np.arange(T) < BATCH['frames_B'][:, None])[..., None]).sum(1)


def apply(params, batch_stats, batch, hyper, key, train):
    """Encodes the sum over frames; training keeps it, and a number drawn by the key."""
    sum_BxM = batch['mel_BxTxM'].sum(1)
    if train:
        batch_stats = {'sum_BxM': sum_BxM, 'drawn': jax.random.uniform(key)}
    return sum_BxM @ params['w'], batch_stats


def init(key, batch):
    """Returns random parameters, and zeros in place of what training keeps."""
    return {'w': jax.random.normal(key, (M, D))}, {
        'sum_BxM': jnp.zeros((B, M)),
        'drawn': jnp.zeros(()),
    }


ENCODER = Encoder(init, apply)


def make_hyper(seed: int = 0, fold: int = 0, lr: float = 0.1, mask: float = 0.0) -> dict:
    """Returns the hyper-parameters of a run."""
    return {
        'lr': np.float32(lr),
        'weight_decay': np.float32(0.01),
        'dropout': np.float32(0.1),
        'time_mask': np.float32(mask),
        'band_mask': np.float32(mask),
        'seed': np.int32(seed),
        'fold': np.int32(fold),
    }


def make_method(**changes) -> Method:
    """Returns plain training with some functions replaced."""
    return erm.make(ConfigDict({'train': {}}), ENCODER, SIZES)._replace(**changes)


@pytest.fixture(scope='module')
def compiled() -> step.Step:
    """The compiled step of plain training."""
    config = ConfigDict({'warmup': 0.1, 'clip': 5.0, 'optimizer': 'adamw'})
    functions = step.make_step(ENCODER, make_method(), SIZES, config)
    return step.Step(*map(jax.jit, functions))


def test_masks_of_no_width_change_no_bit(compiled):
    """If no run of a sweep has masks, its step makes none."""
    config = ConfigDict({'warmup': 0.1, 'clip': 5.0, 'optimizer': 'adamw'})
    functions = step.make_step(ENCODER, make_method(), SIZES, config, is_masked=False)
    ends = []
    for update in (compiled.update, jax.jit(functions.update)):
        ends.append(update(compiled.init(make_hyper()), BATCH, make_hyper()))
    chex.assert_trees_all_equal(*ends)


def make_linear_step(slopes: dict[str, float]) -> step.Step:
    """Returns a step whose loss is the sum of the parameters, each branch times its slope."""

    def loss(params, state, batch, hyper, key):
        value = 0.0
        for branch, slope in slopes.items():
            for array in jax.tree.leaves(params[branch]):
                value += slope * array.sum()
        return value, Aux(state.batch_stats, state.extra, {})

    config = ConfigDict({'warmup': 0.0, 'clip': 0.1, 'optimizer': 'adamw'})
    return step.make_step(ENCODER, make_method(loss=loss), SIZES, config)


def test_a_huge_gradient_of_a_head_does_not_change_the_encoder():
    """Each branch is clipped by itself, also if the gradient of the head is NaN."""
    states = []
    for slope in (1.0, 1e9, np.nan):
        functions = make_linear_step({'encoder': 1.0, 'emotion': slope})
        start = functions.init(make_hyper())
        state, _ = jax.jit(functions.update)(start, BATCH, make_hyper())
        states.append((state.params['encoder'], state.opt_state['encoder']))
    chex.assert_trees_all_equal(*states)


def test_a_method_may_have_its_own_update():
    """Here each step updates the encoder twice, and never the head."""

    def update(state, batch, hyper, key, descend):
        for _ in range(2):
            gradient = jax.tree.map(jnp.ones_like, state.params['encoder'])
            state = descend(state, {'encoder': gradient})
        return state, {'steps': jnp.float32(2)}

    config = ConfigDict({'warmup': 0.0, 'clip': 1e9, 'optimizer': 'sgd'})
    functions = step.make_step(ENCODER, make_method(update=update), SIZES, config)
    hyper = make_hyper() | {'weight_decay': np.float32(0)}
    start = functions.init(make_hyper())
    state, metrics = jax.jit(functions.update)(start, BATCH, hyper)
    distance = 0.0
    for n in range(2):
        distance += 0.1 * optimizer.learning_rate_schedule(jnp.float32(n), SIZES.steps, 0.0)
    expected = start.params['encoder']['w'] - distance
    np.testing.assert_allclose(state.params['encoder']['w'], expected, rtol=1e-5)
    chex.assert_trees_all_equal(state.params['emotion'], start.params['emotion'])
    assert (int(state.step), set(metrics)) == (1, {'steps'})


def train_with_head_rate(**hyper) -> tuple[dict, dict]:
    """Returns the parameters before and after a step; the method has two domain heads."""

    def init(key, z_1xD):
        params, extra = make_method().init(key, z_1xD)
        return params | {'speaker': jnp.ones((D, 2)), 'language': {'w': jnp.ones(3)}}, extra

    def loss(params, state, batch, hyper, key):
        value = sum(array.sum() for array in jax.tree.leaves(params))
        return value, Aux(state.batch_stats, state.extra, {})

    method = make_method(init=init, loss=loss, domains=('speaker', 'language'), hyper=hyper)
    config = ConfigDict({'warmup': 0.0, 'clip': 5.0, 'optimizer': 'adamw'})
    functions = step.make_step(ENCODER, method, SIZES, config)
    run_hyper = make_hyper() | {key: np.float32(value) for key, value in hyper.items()}
    start = functions.init(run_hyper)
    state, _ = jax.jit(functions.update)(start, BATCH, run_hyper)
    return start.params, state.params


def test_head_rate_multiplies_the_updates_of_the_domain_heads_only():
    """At 1 it changes nothing, to the bit; encoder and emotion head are the same at any value."""
    start, without = train_with_head_rate()
    _, one = train_with_head_rate(head_rate=1.0)
    _, eight = train_with_head_rate(head_rate=8.0)
    chex.assert_trees_all_equal(one, without)
    for branch in ('encoder', 'emotion'):
        chex.assert_trees_all_equal(eight[branch], without[branch])
    for branch in ('speaker', 'language'):
        expected = jax.tree.map(lambda a, b: a + 8 * (b - a), start[branch], without[branch])
        chex.assert_trees_all_close(eight[branch], expected, rtol=1e-5)
        assert differ(eight[branch], without[branch])


def differ(a, b) -> bool:
    """Returns whether two trees differ in any array."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return any((x != y).any() for x, y in pairs)


def test_the_initialisation_depends_only_on_seed_and_fold(compiled):
    """Runs that differ in other hyper-parameters start equal and draw the same numbers."""
    first = compiled.init(make_hyper())
    other_rate = compiled.init(make_hyper(lr=7.0, mask=0.5))
    chex.assert_trees_all_equal((first.params, first.key), (other_rate.params, other_rate.key))
    for hyper in (make_hyper(seed=1), make_hyper(fold=1)):
        other = compiled.init(hyper)
        assert differ(other.params['encoder'], first.params['encoder'])
        kernel = first.params['emotion']['layers_0']['kernel']
        assert differ(other.params['emotion']['layers_0']['kernel'], kernel)


def test_training_uses_normalised_features(compiled):
    """Mean and scale are those that the protocol allows; frames beyond the valid ones are zero."""
    state, _ = compiled.update(compiled.init(make_hyper()), BATCH, make_hyper())
    np.testing.assert_allclose(state.batch_stats['sum_BxM'], SUM, rtol=1e-5, atol=1e-5)


def test_prediction_uses_normalised_features_without_masks(compiled):
    """SpecAugment is for training only."""
    state = compiled.init(make_hyper(mask=0.9))
    z_BxD, _ = compiled.predict(state.params, state.batch_stats, BATCH)
    expected = SUM @ np.asarray(state.params['encoder']['w'])
    np.testing.assert_allclose(z_BxD, expected, rtol=1e-4, atol=1e-5)


def test_random_numbers_depend_only_on_the_key_and_the_step(compiled):
    """This holds for dropout and masks, so that an interrupted run can be resumed."""
    hyper = make_hyper(mask=0.5)
    first, _ = compiled.update(compiled.init(hyper), BATCH, hyper)
    again, _ = compiled.update(compiled.init(hyper), BATCH, hyper)
    chex.assert_trees_all_equal(first, again)
    second, _ = compiled.update(first, BATCH, hyper)
    assert differ(first.batch_stats['drawn'], second.batch_stats['drawn'])
    assert differ(first.batch_stats['sum_BxM'], second.batch_stats['sum_BxM'])
    np.testing.assert_array_equal(first.key, second.key)
    assert (int(first.step), int(second.step)) == (1, 2)


def test_the_loss_falls_by_steps_no_larger_than_the_learning_rate(compiled):
    """After the warm-up AdamW moves a parameter by at most the rate and its decay."""
    hyper = make_hyper(lr=0.05)
    state = compiled.init(hyper)
    losses = []
    for _ in range(6):
        params = state.params
        state, metrics = compiled.update(state, BATCH, hyper)
        losses.append(float(metrics['loss']))
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.params, params)
    assert losses[-1] < losses[1]
    assert 0 < max(jax.tree.leaves(moved)) < 0.1

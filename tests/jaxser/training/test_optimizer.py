"""Tests of AdamW, SGD, the learning rate schedule and gradient clipping."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from jaxser.training import optimizer

STEPS = 20
PARAMS = {
    'encoder': {'kernel': jnp.array([[0.5, -1.0], [2.0, 0.25]]), 'bias': jnp.array([1.0, -3.0])},
    'domain': {'kernel': jnp.array([[1.0], [-2.0]])},
}
GRADIENTS = jax.tree.map(lambda p: 0.1 * p - 0.3, PARAMS)


def make_config(warmup: float = 0.0, clip: float = 5.0, kind: str = 'adamw') -> ConfigDict:
    """Returns config.train."""
    return ConfigDict({'warmup': warmup, 'clip': clip, 'optimizer': kind})


def make_hyper(lr: float = 1.0, weight_decay: float = 0.0) -> dict:
    """Returns the hyper-parameters that the optimiser reads."""
    return {'lr': jnp.float32(lr), 'weight_decay': jnp.float32(weight_decay)}


def first_update(gradients, config, hyper):
    """Returns the first update of PARAMS and the optimiser's state after it."""
    transformation = optimizer.make_optimizer(hyper, STEPS, config)
    return transformation.update(gradients, transformation.init(PARAMS), PARAMS)


def adam_state(state) -> optax.ScaleByAdamState:
    """Returns the moments in an optimiser's state."""
    return next(part for part in state if isinstance(part, optax.ScaleByAdamState))


def decayed(params):
    """Returns 0.1 times each matrix, and zeros for biases and scales."""
    return jax.tree.map(lambda p: 0.1 * p if p.ndim > 1 else 0 * p, params)


def test_the_schedule_rises_linearly_and_falls_as_a_cosine():
    """0 at the start, 1 after the warm-up, 1/2 in the middle of the fall, 0 from the end on."""
    steps = jnp.array([0, 1, 2, 4, 12, 20, 30])
    rates = optimizer.learning_rate_schedule(steps, 20, 0.2)
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 1, 0.5, 0, 0], atol=1e-6)


def test_the_schedule_without_warm_up_begins_at_its_peak():
    """There is no division by the empty warm-up."""
    rates = optimizer.learning_rate_schedule(jnp.array([0, 10, 20]), 20, 0.0)
    np.testing.assert_allclose(rates, [1, 0.5, 0], atol=1e-6)


def test_the_first_step_is_that_of_adamw():
    """Bias-corrected moments make it lr (sign(g) + decay p), with decay on matrices only."""
    updates, _ = first_update(GRADIENTS, make_config(), make_hyper(lr=0.3, weight_decay=0.1))
    expected = jax.tree.map(lambda g, d: -0.3 * (jnp.sign(g) + d), GRADIENTS, decayed(PARAMS))
    chex.assert_trees_all_close(updates, expected, rtol=1e-5)


def test_the_learning_rate_follows_the_schedule():
    """With a constant gradient Adam's direction is constant, and the step is the learning rate."""
    adamw = optimizer.make_optimizer(make_hyper(), STEPS, make_config(warmup=0.5))
    update = jax.jit(adamw.update)
    state = adamw.init(PARAMS)
    for n in range(4):
        updates, state = update(GRADIENTS, state, PARAMS)
        np.testing.assert_allclose(np.abs(updates['domain']['kernel']), n / 10, rtol=1e-4)


@pytest.mark.parametrize('size', [0.01, 100.0], ids=['below the limit', 'above the limit'])
def test_gradients_are_clipped_to_the_limit(size):
    """The norm over all arrays is at most `clip`; a smaller one does not change."""
    norm = optax.tree.norm(GRADIENTS)
    gradients = jax.tree.map(lambda g: size * g / norm, GRADIENTS)
    _, state = first_update(gradients, make_config(clip=5.0), make_hyper())
    first_moment = optax.tree.norm(adam_state(state).mu)
    np.testing.assert_allclose(first_moment, 0.1 * min(size, 5.0), rtol=1e-5)


def test_a_step_of_sgd_is_the_rate_times_the_gradient():
    """It has no moments, and the same decay."""
    config, hyper = make_config(kind='sgd'), make_hyper(lr=0.3, weight_decay=0.1)
    updates, _ = first_update(GRADIENTS, config, hyper)
    expected = jax.tree.map(lambda g, d: -0.3 * (g + d), GRADIENTS, decayed(PARAMS))
    chex.assert_trees_all_close(updates, expected, rtol=1e-5)


def test_decay_shrinks_matrices_only():
    """Without a gradient a matrix loses lr x decay of itself, a bias or scale nothing."""
    zeros = jax.tree.map(jnp.zeros_like, GRADIENTS)
    updates, _ = first_update(zeros, make_config(), make_hyper(lr=0.5, weight_decay=0.1))
    expected = -0.05 * PARAMS['encoder']['kernel']
    np.testing.assert_allclose(updates['encoder']['kernel'], expected, rtol=1e-6)
    assert (updates['encoder']['bias'] == 0).all()


def test_vmapped_runs_have_their_own_rate_and_decay():
    """Two vmapped runs equal single runs."""

    def update(hyper):
        return first_update(GRADIENTS, make_config(), hyper)[0]

    hyper_N = {'lr': jnp.array([0.1, 0.7]), 'weight_decay': jnp.array([0.0, 0.2])}
    updates_N = jax.jit(jax.vmap(update))(hyper_N)
    for n in range(2):
        alone = update(jax.tree.map(lambda x, n=n: x[n], hyper_N))
        together = jax.tree.map(lambda x, n=n: x[n], updates_N)
        chex.assert_trees_all_close(together, alone, rtol=1e-6)

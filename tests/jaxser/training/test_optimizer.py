"""AdamW, plain descent, their course, and clipping."""

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


def settings(warmup: float = 0.0, clip: float = 5.0, kind: str = 'adamw') -> ConfigDict:
    return ConfigDict({'warmup': warmup, 'clip': clip, 'optimizer': kind})


def hyper(lr: float = 1.0, weight_decay: float = 0.0) -> dict:
    return {'lr': jnp.float32(lr), 'weight_decay': jnp.float32(weight_decay)}


def first(gradients, config, h):
    """The first update and the optimiser's state after it."""
    how = optimizer.make_optimizer(h, STEPS, config)
    return how.update(gradients, how.init(PARAMS), PARAMS)


def moments(state) -> optax.ScaleByAdamState:
    return next(s for s in state if isinstance(s, optax.ScaleByAdamState))


def norm(branch) -> jax.Array:
    """Over all arrays of a branch."""
    return jnp.sqrt(sum((x**2).sum() for x in jax.tree.leaves(branch)))


def same(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_course_rises_linearly_and_falls_as_a_cosine():
    """0 at the start, 1 after the warm-up, 1/2 in the middle of the fall, 0 at the end and beyond."""
    steps = jnp.array([0, 1, 2, 4, 12, 20, 30])
    np.testing.assert_allclose(
        optimizer.learning_rate_schedule(steps, 20, 0.2), [0, 0.25, 0.5, 1, 0.5, 0, 0], atol=1e-6
    )


def test_the_course_without_warm_up_begins_at_its_peak():
    """No division by the empty warm-up."""
    np.testing.assert_allclose(
        optimizer.learning_rate_schedule(jnp.array([0, 10, 20]), 20, 0.0), [1, 0.5, 0], atol=1e-6
    )


def test_the_first_step_is_that_of_adamw():
    """Bias-corrected moments make it lr (sign(g) + decay p), with decay on matrices only."""
    updates, _ = first(GRADIENTS, settings(), hyper(lr=0.3, weight_decay=0.1))
    decay = lambda p: 0.1 * p if p.ndim > 1 else 0 * p  # noqa: E731
    expected = jax.tree.map(lambda g, p: -0.3 * (jnp.sign(g) + decay(p)), GRADIENTS, PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)


def test_the_rate_follows_the_course():
    """With a constant gradient Adam's direction is constant, and the step's size is the course alone."""
    adamw = optimizer.make_optimizer(hyper(), STEPS, settings(warmup=0.5))
    update, state = jax.jit(adamw.update), adamw.init(PARAMS)
    for n in range(4):
        updates, state = update(GRADIENTS, state, PARAMS)
        np.testing.assert_allclose(np.abs(updates['domain']['kernel']), n / 10, rtol=1e-4)


@pytest.mark.parametrize('size', [0.01, 100.0], ids=['below the limit', 'above the limit'])
def test_gradients_are_clipped_to_the_limit(size):
    """The norm over all arrays is at most `clip`, and a smaller one is left as it is."""
    _, state = first(
        jax.tree.map(lambda g: size * g / norm(GRADIENTS), GRADIENTS), settings(clip=5.0), hyper()
    )
    np.testing.assert_allclose(norm(moments(state).mu), 0.1 * min(size, 5.0), rtol=1e-5)


def test_plain_descent_is_the_rate_times_the_gradient():
    """No moments; decay as ever."""
    updates, _ = first(GRADIENTS, settings(kind='sgd'), hyper(lr=0.3, weight_decay=0.1))
    decay = lambda p: 0.1 * p if p.ndim > 1 else 0 * p  # noqa: E731
    jax.tree.map(
        lambda a, g, p: np.testing.assert_allclose(a, -0.3 * (g + decay(p)), rtol=1e-5),
        updates,
        GRADIENTS,
        PARAMS,
    )


def test_decay_shrinks_matrices_only():
    """Without any gradient a matrix loses lr x decay of itself, and a bias or scale nothing."""
    updates, _ = first(
        jax.tree.map(jnp.zeros_like, GRADIENTS), settings(), hyper(lr=0.5, weight_decay=0.1)
    )
    np.testing.assert_allclose(
        updates['encoder']['kernel'], -0.05 * PARAMS['encoder']['kernel'], rtol=1e-6
    )
    assert (updates['encoder']['bias'] == 0).all()


def test_traced_rates_and_decays_are_those_of_separate_runs():
    """Two runs as one vmapped program equal each alone."""
    both = {'lr': jnp.array([0.1, 0.7]), 'weight_decay': jnp.array([0.0, 0.2])}
    together, _ = jax.jit(jax.vmap(lambda h: first(GRADIENTS, settings(), h)))(both)
    for v in range(2):
        alone, _ = first(GRADIENTS, settings(), {k: x[v] for k, x in both.items()})
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[v], b, rtol=1e-6), together, alone)  # noqa: B023

"""Tests of statistics pooling."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxser.nn.pooling import statistics_pooling

X = np.random.default_rng(0).normal(size=(3, 6, 2)).astype(np.float32)
FRAMES = (6, 4, 1)
MASK = jnp.float32(np.arange(6)[None] < np.array(FRAMES)[:, None])


def test_pooling_is_the_mean_and_deviation_of_the_valid_frames():
    """They equal the closed form, with the epsilon that keeps the gradient of the root finite."""
    expected = [[*X[b, :n].mean(0), *np.sqrt(X[b, :n].var(0) + 1e-5)] for b, n in enumerate(FRAMES)]
    np.testing.assert_allclose(statistics_pooling(X, MASK), expected, atol=1e-6)


def test_padding_changes_nothing():
    """Its values and its length do not matter, and it gets no gradient."""
    other_padding = np.where(MASK[..., None] > 0, X, 1e3).astype(np.float32)
    np.testing.assert_array_equal(
        statistics_pooling(other_padding, MASK), statistics_pooling(X, MASK)
    )
    longer = statistics_pooling(np.pad(X, ((0, 0), (0, 5), (0, 0))), np.pad(MASK, ((0, 0), (0, 5))))
    np.testing.assert_allclose(longer, statistics_pooling(X, MASK), atol=1e-6)
    gradient = jax.grad(lambda x: (statistics_pooling(x, MASK) ** 2).sum())(
        jnp.asarray(other_padding)
    )
    assert (gradient[np.asarray(MASK) == 0] == 0).all()


def test_the_gradient_of_a_constant_is_finite():
    """Silence, a dead unit or an example without frames must not end a run."""

    def pooled_sum(x, mask):
        return statistics_pooling(x, mask).sum()

    for mask in (MASK, jnp.zeros_like(MASK)):
        value, gradient = jax.value_and_grad(pooled_sum)(jnp.full(X.shape, 0.5), mask)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()

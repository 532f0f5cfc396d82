"""Losses in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser.losses import accuracy, cross_entropy, mask_unseen_classes

SCORES = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
CLASSES = jnp.array([0, 1, 0])


def test_cross_entropy_is_the_weighted_mean_of_minus_log_p():
    """Of scores that are logarithms of probabilities."""
    expected = -(np.log(0.5) + 3 * np.log(0.8) + 0.5 * np.log(0.2)) / 4.5
    assert cross_entropy(SCORES, CLASSES, jnp.array([1.0, 3.0, 0.5])) == pytest.approx(
        expected, rel=1e-6
    )
    assert accuracy(SCORES, CLASSES, jnp.array([1.0, 3.0, 1.0])) == pytest.approx(4 / 5)


def test_an_example_of_weight_0_gets_no_gradient():
    """If no example has weight, the loss is 0 and its gradient finite."""
    g = jax.grad(cross_entropy)(SCORES, CLASSES, jnp.array([1.0, 0.0, 1.0]))
    assert (g[1] == 0).all()
    assert (g[0] != 0).any()
    value, g = jax.value_and_grad(cross_entropy)(SCORES, CLASSES, jnp.zeros(3))
    assert value == 0
    assert (g == 0).all()


def test_unseen_classes_have_neither_probability_nor_gradient():
    """The softmax is over the seen classes."""
    seen = jnp.array([1.0, 0.0, 1.0])
    g = jax.grad(
        lambda s: cross_entropy(mask_unseen_classes(s, seen), jnp.array([0, 2, 0]), jnp.ones(3))
    )(SCORES)
    assert (g[:, 1] == 0).all()
    np.testing.assert_allclose(
        jax.nn.softmax(mask_unseen_classes(SCORES, seen))[0], [2 / 3, 0, 1 / 3], rtol=1e-6
    )

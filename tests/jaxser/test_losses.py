"""Losses in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.linear import differences

from jaxser.losses import (
    accuracy,
    concordance,
    concordance_loss,
    cross_entropy,
    mask_unseen_classes,
    rating_loss,
)

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


def make_ratings(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns predicted_BxA, rating_BxA and rated_B of twelve examples, of which nine are rated."""
    random = np.random.default_rng(seed)
    rating_BxA = random.uniform(-1, 1, (12, 2))
    predicted_BxA = 0.5 * rating_BxA + random.normal(0.1, 0.3, (12, 2))
    rated_B = np.float32([1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1])
    return predicted_BxA, rating_BxA, rated_B


def lin(predicted_N: np.ndarray, rating_N: np.ndarray) -> float:
    """Returns the concordance correlation coefficient, written out."""
    covariance = np.mean((predicted_N - predicted_N.mean()) * (rating_N - rating_N.mean()))
    shift = (predicted_N.mean() - rating_N.mean()) ** 2
    return 2 * covariance / (predicted_N.var() + rating_N.var() + shift)


def test_the_concordance_is_that_of_lin_over_the_rated_examples():
    """Of each rating; the loss is 1 minus their mean."""
    predicted_BxA, rating_BxA, rated_B = make_ratings()
    is_rated_B = rated_B > 0
    expected = [lin(predicted_BxA[is_rated_B, a], rating_BxA[is_rated_B, a]) for a in range(2)]
    np.testing.assert_allclose(concordance(*map(jnp.float32, make_ratings())), expected, rtol=1e-5)
    value = concordance_loss(*map(jnp.float32, make_ratings()))
    assert value == pytest.approx(1 - np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(('scale', 'shift'), [(1.0, 0.0), (0.5, 0.0), (-1.0, 0.0), (1.0, 0.4)])
def test_the_concordance_of_a_linear_function_is_in_closed_form(scale, shift):
    """Of a r + b it is 2 a s^2 / (s^2 + a^2 s^2 + (m - a m - b)^2), m and s those of r."""
    _, rating_BxA, _ = make_ratings()
    s2_A, m_A = rating_BxA.var(0), rating_BxA.mean(0)
    distance_A = (m_A - scale * m_A - shift) ** 2
    expected_A = 2 * scale * s2_A / (s2_A + scale**2 * s2_A + distance_A)
    predicted_BxA = jnp.float32(scale * rating_BxA + shift)
    actual_A = concordance(predicted_BxA, jnp.float32(rating_BxA), jnp.ones(12))
    np.testing.assert_allclose(actual_A, expected_A, rtol=1e-5)


def test_the_concordance_does_not_change_if_both_are_moved_or_scaled():
    """By one offset and one factor; and it is symmetric."""
    predicted_BxA, rating_BxA, rated_B = map(jnp.float32, make_ratings())
    expected_A = concordance(predicted_BxA, rating_BxA, rated_B)
    moved_A = concordance(0.3 * predicted_BxA + 0.2, 0.3 * rating_BxA + 0.2, rated_B)
    np.testing.assert_allclose(moved_A, expected_A, rtol=1e-4)
    swapped_A = concordance(rating_BxA, predicted_BxA, rated_B)
    np.testing.assert_allclose(swapped_A, expected_A, rtol=1e-6)


@pytest.mark.parametrize('kind', ['ccc', 'mse'])
def test_the_gradient_of_the_rating_loss_is_that_of_differences(kind):
    """In float64; examples that are not rated have none."""
    predicted_BxA, rating_BxA, rated_B = make_ratings()

    def loss(predicted_BxA):
        batch = {'rating_BxA': rating_BxA, 'rated_B': rated_B}
        return rating_loss(kind, predicted_BxA, batch)[0]

    def numpy_loss(predicted_BxA):
        own_NxA, true_NxA = predicted_BxA[rated_B > 0], rating_BxA[rated_B > 0]
        if kind == 'mse':
            return np.mean((own_NxA - true_NxA) ** 2)
        return 1 - np.mean([lin(own_NxA[:, a], true_NxA[:, a]) for a in range(2)])

    gradient_BxA = jax.grad(loss)(jnp.float32(predicted_BxA))
    expected_BxA = differences(numpy_loss, predicted_BxA)
    np.testing.assert_allclose(gradient_BxA, expected_BxA, atol=1e-6)
    assert (gradient_BxA[rated_B == 0] == 0).all()


@pytest.mark.parametrize('kind', ['ccc', 'mse'])
def test_examples_that_are_not_rated_do_not_change_the_loss(kind):
    """Neither their predictions nor how many of them there are, as in padding."""
    predicted_BxA, rating_BxA, rated_B = map(jnp.float32, make_ratings())
    batch = {'rating_BxA': rating_BxA, 'rated_B': rated_B}
    expected = rating_loss(kind, predicted_BxA, batch)[0]
    changed_BxA = jnp.where(rated_B[:, None] > 0, predicted_BxA, 0.9)
    assert rating_loss(kind, changed_BxA, batch)[0] == expected
    longer = {
        'rating_BxA': jnp.pad(rating_BxA, ((0, 3), (0, 0))),
        'rated_B': jnp.pad(rated_B, (0, 3)),
    }
    longer_BxA = jnp.pad(predicted_BxA, ((0, 3), (0, 0)), constant_values=0.5)
    assert rating_loss(kind, longer_BxA, longer)[0] == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize('rated_B', [jnp.zeros(3), jnp.array([0.0, 1.0, 0.0]), jnp.ones(3)])
def test_the_loss_is_finite_where_the_concordance_is_not_defined(rated_B):
    """Without rated examples, with one, and with equal values."""
    batch = {'rating_BxA': jnp.full((3, 1), 0.5), 'rated_B': rated_B}

    def loss(predicted_BxA):
        return rating_loss('ccc', predicted_BxA, batch)[0]

    for predicted in (0.5, 0.2):
        value, gradient = jax.value_and_grad(loss)(jnp.full((3, 1), predicted))
        assert value == (1.0 if rated_B.sum() else 0.0)
        assert np.isfinite(gradient).all()

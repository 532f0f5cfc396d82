"""Tests of the loss of soft labels in closed form, and of annotator dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser import losses

SCORES = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
VOTES = jnp.array([[2.0, 1.0, 1.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])


def test_the_divergence_from_the_votes_is_that_of_their_shares():
    """0 for the shares themselves and without votes, and the cross-entropy of a single class."""
    divergence_B = losses.vote_divergence(SCORES, VOTES)
    np.testing.assert_allclose(divergence_B, [0, -np.log(0.8), 0], atol=1e-6)
    uniform_B = losses.vote_divergence(jnp.zeros((3, 3)), VOTES)
    entropy = 1.5 * np.log(2)
    np.testing.assert_allclose(uniform_B, [np.log(3) - entropy, np.log(3), 0], atol=1e-6)


def test_the_gradient_is_the_softmax_minus_the_shares_and_0_without_votes():
    gradient_BxC = jax.grad(lambda s: losses.vote_divergence(s, VOTES).sum())(jnp.zeros((3, 3)))
    expected = [[1 / 3 - 1 / 2, 1 / 3 - 1 / 4, 1 / 3 - 1 / 4], [1 / 3, 1 / 3 - 1, 1 / 3], [0] * 3]
    np.testing.assert_allclose(gradient_BxC, expected, atol=1e-6)


def test_the_loss_is_weighted_and_the_accuracy_is_that_of_examples_with_a_class():
    batch = {
        'emotion_B': jnp.array([-1, 1, 0]),
        'labelled_B': jnp.array([3.0, 1.0, 0.0]),
    }
    value, metrics = losses.vote_loss(jnp.zeros((3, 3)), VOTES, batch)
    first = np.log(3) - 1.5 * np.log(2)
    assert value == pytest.approx((3 * first + np.log(3)) / 4, abs=1e-6)
    assert metrics['emotion_loss'] == value
    _, metrics = losses.vote_loss(SCORES, VOTES, batch)
    assert metrics['emotion_accuracy'] == 1


def test_one_vote_for_the_class_is_the_cross_entropy():
    """The value and its gradient, to rounding: XLA may compile the two differently."""
    random = np.random.default_rng(0)
    scores_BxC = jnp.asarray(random.normal(0, 3, (64, 5)), jnp.float32)
    emotion_B = jnp.asarray(random.integers(0, 5, 64))
    weight_B = jnp.asarray(random.uniform(0, 2, 64), jnp.float32)
    votes_BxC = jax.nn.one_hot(emotion_B, 5)
    batch = {'emotion_B': emotion_B, 'labelled_B': weight_B}

    @jax.jit
    def hard(scores_BxC):
        return losses.emotion_cross_entropy(scores_BxC, batch)[0]

    @jax.jit
    def soft(scores_BxC):
        return losses.vote_loss(scores_BxC, votes_BxC, batch)[0]

    for function in (lambda f: f, jax.grad):
        expected = function(hard)(scores_BxC)
        np.testing.assert_allclose(function(soft)(scores_BxC), expected, rtol=1e-5, atol=1e-7)


def drop(votes, rate: float, draws: int = 4_000) -> np.ndarray:
    """Returns kept_DxBxC of many draws."""
    keys = jax.random.split(jax.random.PRNGKey(0), draws)
    votes_BxC = jnp.asarray(votes, jnp.float32)
    largest = int(votes_BxC.max())
    return np.array(jax.vmap(lambda k: losses.drop_votes(k, votes_BxC, largest, rate))(keys))


def test_each_vote_is_dropped_with_the_probability_and_independently():
    """Of ten votes for a class, a binomial number remains: the mean and the variance tell."""
    kept_D = drop([[10, 3]], 0.3)[:, 0, 0]
    assert kept_D.mean() == pytest.approx(7, abs=4 * np.sqrt(2.1 / 4_000))
    assert kept_D.var() == pytest.approx(2.1, rel=0.1)
    kept_Dx2 = drop([[10, 3]], 0.3)[:, 0]
    assert kept_Dx2[:, 1].mean() == pytest.approx(2.1, abs=0.06)
    assert abs(np.corrcoef(kept_Dx2.T)[0, 1]) < 0.06


def test_if_all_votes_would_be_dropped_all_are_kept():
    """Of one vote, always. Of two for two classes: both, the first, or the second."""
    assert (drop([[0, 1, 0]], 0.9) == [[0, 1, 0]]).all()
    kept_Dx2 = drop([[1, 1]], 0.5)[:, 0]
    shares = [np.mean((kept_Dx2 == pair).all(1)) for pair in ([1, 1], [1, 0], [0, 1], [0, 0])]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25, 0], atol=0.04)


def test_without_dropout_all_votes_are_kept_and_none_is_added():
    votes_BxC = np.random.default_rng(0).integers(0, 6, (7, 4))
    assert (drop(votes_BxC, 0.0, draws=20) == votes_BxC).all()
    assert (drop(votes_BxC, 0.5, draws=200) <= votes_BxC).all()


def test_an_example_loses_the_same_votes_whatever_follows_it_in_the_batch():
    key = jax.random.PRNGKey(3)
    votes_BxC = jnp.full((5, 3), 4.0)
    padded_BxC = jnp.concatenate([votes_BxC, jnp.zeros((3, 3))])
    short = losses.drop_votes(key, votes_BxC, 4, 0.5)
    long = losses.drop_votes(key, padded_BxC, 4, 0.5)
    np.testing.assert_array_equal(short, long[:5])
    assert (long[5:] == 0).all()

"""Tests of sparse mixtures, compared with a slow and exact solution."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxser.methods import _sparse_coding

RANDOM = np.random.default_rng(0)


def unit_rows(B: int, D: int) -> np.ndarray:
    f_BxD = np.abs(RANDOM.normal(size=(B, D)))
    return f_BxD / np.linalg.norm(f_BxD, axis=1, keepdims=True)


def solve(target, dictionary, tau: float, steps: int) -> np.ndarray:
    """Returns the solution of the same iteration in float64, with the exact norm."""
    sigma = np.linalg.norm(dictionary @ dictionary.T, 2)
    W = np.zeros((len(target), len(dictionary)))
    for _ in range(steps):
        W = W - (W @ dictionary - target) @ dictionary.T / sigma
        W = np.sign(W) * np.maximum(np.abs(W) - tau / (2 * sigma), 0)
    return W


@pytest.mark.parametrize('B', [1, 5, 64])
def test_the_eigenvalue_bound_is_never_too_small_and_hardly_too_large(B):
    """For matrices of full and of low rank, at any scale."""
    for D, scale in ((3, 1), (B, 1e-3), (200, 1e3)):
        f_BxD = unit_rows(B, D)
        gram = scale * (f_BxD @ f_BxD.T)
        actual = _sparse_coding.largest_eigenvalue(jnp.float32(gram))
        exact = np.linalg.eigvalsh(gram)[-1]
        assert exact * (1 - 1e-5) <= actual <= exact * B ** (1 / 64) * (1 + 1e-5)
    assert _sparse_coding.largest_eigenvalue(3 * jnp.eye(B)) == pytest.approx(
        3 * B ** (1 / 64), rel=1e-5
    )
    assert _sparse_coding.largest_eigenvalue(jnp.zeros((B, B))) < 1e-6


@pytest.mark.parametrize('tau', [0.1, 0.3, 0.5])
def test_fifty_steps_come_near_the_minimum(tau):
    """The objective is within 1 % of its minimum, and some weights are exactly 0."""
    target, source = unit_rows(6, 20), unit_rows(10, 20)
    W = _sparse_coding.sparse_mixture(jnp.float32(target), jnp.float32(source), tau)
    W = np.float64(W)
    optimum = solve(target, source, tau, 20_000)

    def objective(W):
        return ((target - W @ source) ** 2).sum() + tau * np.abs(W).sum()

    assert objective(optimum) <= objective(W) + 1e-6
    assert objective(W) <= 1.01 * objective(optimum)
    assert 0 < (W != 0).sum() < W.size


def test_rows_of_zeros_get_no_weight_and_change_no_other():
    """So that a mask is enough to leave rows out."""
    target, source = unit_rows(6, 20), unit_rows(10, 20)
    padded_target, padded_source = np.zeros((16, 20)), np.zeros((16, 20))
    padded_target[10:] = target
    padded_source[:10] = source
    W = _sparse_coding.sparse_mixture(jnp.float32(padded_target), jnp.float32(padded_source), 0.3)
    np.testing.assert_allclose(W[10:, :10], solve(target, source, 0.3, 50), atol=0.02)
    assert not W[:10].any()
    assert not W[:, 10:].any()


def test_a_large_tau_gives_zeros_and_a_target_equal_to_a_source_is_explained_by_it():
    """Its weight is 1 - tau / 2 if the sources are orthogonal."""
    source = jnp.eye(4)[:3]
    assert not _sparse_coding.sparse_mixture(source, source, 2.0).any()
    W = _sparse_coding.sparse_mixture(source, source, 0.3)
    np.testing.assert_allclose(W, 0.85 * np.eye(3), rtol=1e-5)

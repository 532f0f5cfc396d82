"""Kernel ridge regression on one-hot labels with a Gaussian kernel (LS-SVM), in closed form.

Suykens & Vandewalle, "Least squares support vector machine classifiers" (1999). The bandwidth and
the ridge are chosen on the validation part, one after the other.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxser.probing.attackers.job import (
    JobData,
    Scores,
    Weights,
    calibrate,
    first_examples,
    mask_absent_classes,
    one_hot,
)

# The kernel is exp(-d^2 / (bandwidth * m)): d^2 is the squared distance, m a typical one.
BANDWIDTHS = (0.5, 1.5, 4.5)
FIRST_RIDGE = 1e-2  # with which the bandwidth is chosen; a ridge is added to the kernel's diagonal
RIDGES = (1e-3, 1e-1)  # tried afterwards
MIN_DISTANCE = 1e-12


class RbfFit(NamedTuple):
    """The scores of a kernel machine, and the settings it chose."""

    scores: Scores
    bandwidth: jax.Array
    ridge: jax.Array


class _Search(NamedTuple):
    """The state of the search for bandwidth and ridge."""

    lowest: jax.Array  # cross-entropy on the validation part
    bandwidth: jax.Array
    ridge: jax.Array
    alpha_NxK: jax.Array  # coefficients with the best settings
    last_alpha_NxK: jax.Array  # coefficients of the last fit


def squared_distances(a_MxD: jax.Array, b_NxD: jax.Array) -> jax.Array:
    """Returns the squared Euclidean distances of all pairs, MxN."""
    norms_MxN = (a_MxD**2).sum(1)[:, None] + (b_NxD**2).sum(1)
    return jnp.maximum(norms_MxN - 2 * a_MxD @ b_NxD.T, 0.0)


def coefficients(kernel_NxN, target_NxK, weight_N, ridge):
    """Returns the coefficients NxK that minimise the weighted squared error and the ridge penalty.

    `weight_N` has an average of 1 over the fitted examples; those of weight 0 have no influence.
    """
    root_Nx1 = jnp.sqrt(weight_N)[:, None]
    system_NxN = root_Nx1 * kernel_NxN * root_Nx1.T + ridge * jnp.eye(len(weight_N))
    factor_NxN = jax.lax.linalg.cholesky(system_NxN, symmetrize_input=False)
    return root_Nx1 * jax.scipy.linalg.cho_solve((factor_NxN, True), root_Nx1 * target_NxK)


def fit_rbf(data: JobData, weights: Weights, classes: int) -> RbfFit:
    """Fits the kernel machine of a standardised job."""
    known_MxD, test_TxD = data.x_NxD, data.test_TxD
    data, weights = first_examples(data, weights, classes)
    N = len(data.x_NxD)
    known_N = data.fit_N + data.validation_N
    target_NxK = one_hot(data.y_N, classes) - 1 / weights.present_K.sum()
    distance_NxN = squared_distances(data.x_NxD, data.x_NxD)
    # Over all pairs of known examples; a mean needs no sorting, unlike the usual median.
    mean_distance = known_N @ distance_NxN @ known_N / known_N.sum() ** 2
    bandwidths = jnp.maximum(mean_distance, MIN_DISTANCE) * jnp.array(BANDWIDTHS)
    last_turn = len(BANDWIDTHS) + len(RIDGES)

    # One loop over the candidates and the last fit, on both parts: the solver is compiled once.
    def fit_turn(search: _Search, turn) -> tuple[_Search, None]:
        is_last = turn == last_turn
        is_bandwidth_tried = turn < len(BANDWIDTHS)
        bandwidth = jnp.where(is_bandwidth_tried, bandwidths[turn], search.bandwidth)
        ridge = jnp.where(is_last, search.ridge, jnp.array(RIDGES)[turn - len(BANDWIDTHS)])
        ridge = jnp.where(is_bandwidth_tried, FIRST_RIDGE, ridge)
        kernel_NxN = jnp.exp(-distance_NxN / bandwidth)
        fit_weight_N = weights.fit_N * data.fit_N.sum()
        weight_N = jnp.where(is_last, weights.known_N * known_N.sum(), fit_weight_N)
        alpha_NxK = coefficients(kernel_NxN, target_NxK, weight_N, ridge)
        scores_NxK = mask_absent_classes(kernel_NxN @ alpha_NxK, weights.present_K)
        _, loss = calibrate(scores_NxK, data.y_N, weights.validation_N)
        is_better = (loss < search.lowest) & ~is_last
        new = _Search(loss, bandwidth, ridge, alpha_NxK, alpha_NxK)
        best = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), new, search)
        return best._replace(last_alpha_NxK=alpha_NxK), None

    def scores(x_MxD, alpha_NxK):
        """Returns the scores of any examples, with the best bandwidth."""
        kernel_MxN = jnp.exp(-squared_distances(x_MxD, data.x_NxD) / search.bandwidth)
        return mask_absent_classes(kernel_MxN @ alpha_NxK, weights.present_K)

    zeros_NxK = jnp.zeros((N, classes))
    initial = _Search(
        jnp.float32(jnp.inf), bandwidths[0], jnp.float32(FIRST_RIDGE), zeros_NxK, zeros_NxK
    )
    search, _ = jax.lax.scan(fit_turn, initial, jnp.arange(last_turn + 1))
    result = Scores(scores(known_MxD, search.alpha_NxK), scores(test_TxD, search.last_alpha_NxK))
    relative_bandwidth = search.bandwidth / bandwidths[0] * BANDWIDTHS[0]
    return RbfFit(result, relative_bandwidth, search.ridge)

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
    balanced_weights,
    calibrate,
    mask_absent_classes,
    one_hot,
    paired_examples,
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
    """The best settings of the search so far, and their scores of the validation part."""

    lowest: jax.Array  # cross-entropy on the validation part
    bandwidth: jax.Array
    ridge: jax.Array
    validation_VxK: jax.Array


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
    paired = paired_examples(data)
    present_K = weights.present_K
    fit, known = paired.fit, paired.join_parts()
    target_FxK = one_hot(fit.y_N, classes) - 1 / present_K.sum()
    target_NxK = one_hot(known.y_N, classes) - 1 / present_K.sum()
    distance_NxN = squared_distances(known.x_NxD, known.x_NxD)
    F = len(fit.y_N)  # F and N count the paired examples here
    distance_FxF = distance_NxN[:F, :F]
    distance_VxF = squared_distances(data.validation.x_NxD, fit.x_NxD)
    # Over all pairs of known examples; a mean needs no sorting, unlike the usual median.
    mean_distance = known.mask_N @ distance_NxN @ known.mask_N / known.mask_N.sum() ** 2
    bandwidths = jnp.maximum(mean_distance, MIN_DISTANCE) * jnp.array(BANDWIDTHS)

    def scores(distance_MxN, alpha_NxK, bandwidth):
        return mask_absent_classes(jnp.exp(-distance_MxN / bandwidth) @ alpha_NxK, present_K)

    # The average weight is 1.
    weight_F = balanced_weights(fit, classes) * fit.mask_N.sum()
    weight_N = balanced_weights(known, classes) * known.mask_N.sum()

    # One loop over the candidates, so that the solver is compiled once for all of them.
    def try_settings(search: _Search, turn) -> tuple[_Search, None]:
        is_bandwidth_tried = turn < len(BANDWIDTHS)
        bandwidth = jnp.where(is_bandwidth_tried, bandwidths[turn], search.bandwidth)
        ridge = jnp.array(RIDGES)[turn - len(BANDWIDTHS)]
        ridge = jnp.where(is_bandwidth_tried, FIRST_RIDGE, ridge)
        kernel_FxF = jnp.exp(-distance_FxF / bandwidth)
        alpha_FxK = coefficients(kernel_FxF, target_FxK, weight_F, ridge)
        scores_VxK = scores(distance_VxF, alpha_FxK, bandwidth)
        _, loss = calibrate(scores_VxK, data.validation.y_N, weights.validation_V)
        new = _Search(loss, bandwidth, ridge, scores_VxK)
        is_better = loss < search.lowest
        return jax.tree.map(lambda new, old: jnp.where(is_better, new, old), new, search), None

    zeros_VxK = jnp.zeros((len(data.validation.y_N), classes))
    initial = _Search(jnp.float32(jnp.inf), bandwidths[0], jnp.float32(FIRST_RIDGE), zeros_VxK)
    turns = jnp.arange(len(BANDWIDTHS) + len(RIDGES))
    search, _ = jax.lax.scan(try_settings, initial, turns)

    kernel_NxN = jnp.exp(-distance_NxN / search.bandwidth)
    alpha_NxK = coefficients(kernel_NxN, target_NxK, weight_N, search.ridge)
    distance_TxN = squared_distances(data.test_TxD, known.x_NxD)
    test_TxK = scores(distance_TxN, alpha_NxK, search.bandwidth)
    relative_bandwidth = search.bandwidth / bandwidths[0] * BANDWIDTHS[0]
    return RbfFit(Scores(search.validation_VxK, test_TxK), relative_bandwidth, search.ridge)

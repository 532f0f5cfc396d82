"""Nearest neighbours: the distance and their number are chosen on the validation part."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxser.probing.attackers.job import (
    JobData,
    Scores,
    Weights,
    mask_absent_classes,
    one_hot,
    paired_examples,
    weighted_cross_entropy,
)
from jaxser.probing.attackers.rbf import squared_distances

NEIGHBOURS = (1, 3, 5, 10, 20)
PSEUDO_VOTES = 0.5  # spread over the classes, so that a class without a neighbour is not impossible
MIN_VOTES = 1e-9  # of a class that is not present; its logarithm is finite


class KnnFit(NamedTuple):
    """The scores of nearest neighbours, and the settings they chose."""

    scores: Scores
    neighbours: jax.Array
    is_cosine: jax.Array


def unit_rows(x_NxD: jax.Array) -> jax.Array:
    """Returns the rows divided by their norms; a row of zeros remains."""
    return x_NxD / jnp.maximum(jnp.linalg.norm(x_NxD, axis=1, keepdims=True), 1e-12)


def log_shares(x_MxD, neighbour_NxD, is_neighbour_MxN, class_N, vote_MxK, present_K) -> jax.Array:
    """Returns the logarithms of the classes' shares of the votes of the nearest neighbours.

    Shape: CxMxK, one for each count of NEIGHBOURS. A neighbour of class k gives example m the vote
    vote_MxK[m, k]; a class that is not present has none.
    """
    classes = vote_MxK.shape[1]
    most = min(max(NEIGHBOURS), len(neighbour_NxD))
    distance_MxN = squared_distances(x_MxD, neighbour_NxD)
    nearness_MxN = jnp.where(is_neighbour_MxN, -distance_MxN, -jnp.inf)
    nearness_MxJ, index_MxJ = jax.lax.top_k(nearness_MxN, most)
    member_MxJxK = one_hot(class_N, classes)[index_MxJ] * vote_MxK[:, None]
    member_MxJxK *= (nearness_MxJ > -jnp.inf)[..., None]
    is_counted_CxJ = (jnp.arange(most) < jnp.array(NEIGHBOURS)[:, None]).astype(jnp.float32)
    total_CxMxK = jnp.einsum('cj,mjk->cmk', is_counted_CxJ, member_MxJxK)
    total_CxMxK += PSEUDO_VOTES / present_K.sum() * present_K + MIN_VOTES
    return jnp.log(total_CxMxK / total_CxMxK.sum(-1, keepdims=True))


def fit_knn(data: JobData, weights: Weights, classes: int) -> KnnFit:
    """Fits the nearest neighbours of a standardised job."""
    V, T = len(data.validation.y_N), len(data.test_TxD)
    x_MxD = jnp.concatenate([data.validation.x_NxD, data.test_TxD])
    paired = paired_examples(data)
    neighbours = paired.join_parts()
    F, N = len(paired.fit.y_N), len(neighbours.y_N)  # of the paired examples
    present_K = weights.present_K
    target_NxK = one_hot(neighbours.y_N, classes)
    # Validation examples have neighbours in the fit part, tested ones in both.
    fit_mask_N = jnp.where(jnp.arange(N) < F, neighbours.mask_N, 0)
    neighbour_masks, votes = [], []
    for mask_N, count in ((fit_mask_N, V), (neighbours.mask_N, T)):
        neighbour_masks.append(jnp.tile(mask_N > 0, (count, 1)))
        # One vote on average over the neighbours, and as many votes for each class.
        count_K = target_NxK.T @ mask_N
        vote_K = mask_N.sum() / present_K.sum() / jnp.maximum(count_K, 1)
        votes.append(jnp.tile(vote_K, (count, 1)))
    is_neighbour_MxN = jnp.concatenate(neighbour_masks)
    vote_MxK = jnp.concatenate(votes)

    def scores(points):
        point_MxD, neighbour_NxD = points
        return log_shares(
            point_MxD, neighbour_NxD, is_neighbour_MxN, neighbours.y_N, vote_MxK, present_K
        )

    def validation_loss(scores_MxK):
        return weighted_cross_entropy(scores_MxK[:V], data.validation.y_N, weights.validation_V)

    # Two distances: Euclidean, and Euclidean between unit vectors (cosine).
    point_2xMxD = jnp.stack([x_MxD, unit_rows(x_MxD)])
    neighbour_2xNxD = jnp.stack([neighbours.x_NxD, unit_rows(neighbours.x_NxD)])
    scores_2xCxMxK = jax.lax.map(scores, (point_2xMxD, neighbour_2xNxD))
    scores_SxMxK = scores_2xCxMxK.reshape(-1, V + T, classes)
    scores_SxMxK = mask_absent_classes(scores_SxMxK, present_K)
    best = jax.vmap(validation_loss)(scores_SxMxK).argmin()
    return KnnFit(
        Scores(scores_SxMxK[best, :V], scores_SxMxK[best, V:]),
        jnp.array(NEIGHBOURS)[best % len(NEIGHBOURS)],
        best >= len(NEIGHBOURS),
    )

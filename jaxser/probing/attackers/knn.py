"""Nearest neighbours: the distance and their number are chosen on the validation part."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxser.probing.attackers.job import (
    JobData,
    Scores,
    Weights,
    first_examples,
    mask_absent_classes,
    one_hot,
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
    x_MxD = jnp.concatenate([data.x_NxD, data.test_TxD])
    known_count, T = len(data.x_NxD), len(data.test_TxD)
    y_N, validation_weight_N = data.y_N, weights.validation_N
    data, weights = first_examples(data, weights, classes)
    N = len(data.x_NxD)
    known_N = data.fit_N + data.validation_N
    target_NxK = one_hot(data.y_N, classes)
    # Known examples have neighbours in the fit part, tested ones in both.
    is_neighbour_MxN = jnp.concatenate(
        [jnp.tile(data.fit_N > 0, (known_count, 1)), jnp.tile(known_N > 0, (T, 1))]
    )
    # One vote on average over the neighbours, and as many votes for each class.
    votes = []
    for mask_N, count in ((data.fit_N, known_count), (known_N, T)):
        count_K = target_NxK.T @ mask_N
        vote_K = mask_N.sum() / weights.present_K.sum() / jnp.maximum(count_K, 1)
        votes.append(jnp.tile(vote_K, (count, 1)))
    vote_MxK = jnp.concatenate(votes)

    present_K = weights.present_K

    def scores(x_MxD):
        return log_shares(x_MxD, x_MxD[:N], is_neighbour_MxN, data.y_N, vote_MxK, present_K)

    def validation_loss(scores_MxK):
        return weighted_cross_entropy(scores_MxK[:known_count], y_N, validation_weight_N)

    scores_2xCxMxK = jax.lax.map(scores, jnp.stack([x_MxD, unit_rows(x_MxD)]))
    scores_SxMxK = scores_2xCxMxK.reshape(-1, known_count + T, classes)
    scores_SxMxK = mask_absent_classes(scores_SxMxK, weights.present_K)
    best = jax.vmap(validation_loss)(scores_SxMxK).argmin()
    return KnnFit(
        Scores(scores_SxMxK[best, :known_count], scores_SxMxK[best, known_count:]),
        jnp.array(NEIGHBOURS)[best % len(NEIGHBOURS)],
        best >= len(NEIGHBOURS),
    )

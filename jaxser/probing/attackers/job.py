"""The data of an attacker's job, what an attacker returns, and what all attackers share.

Shapes: N known examples (the attacker is fitted on some and chooses its settings on the others),
T tested examples, M = N + T, D dimensions, K classes. All classes have the same weight, whatever
their counts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

# Attackers that compare all pairs of examples are fitted on the first ones of a job, which are in
# random order.
MAX_PAIRED_EXAMPLES = 2048

# A dimension counts as constant if its variance is below the sum of these: an absolute one, and one
# in relation to the square of its mean, whose rounding alone makes a variance.
MIN_VARIANCE = 1e-12
MIN_RELATIVE_VARIANCE = 1e-10
ABSENT_CLASS_SCORE = -1e9

# Scores are multiplied by the best of these factors on the validation part (the inverse of a
# temperature), which makes them calibrated log-probabilities.
SHARPNESS = tuple(0.01 * 10 ** (n / 5) for n in range(21))  # 0.01 to 100


class JobData(NamedTuple):
    """Examples of a classification task. Padded examples have 0 in both masks.

    An attacker may use the labels and the examples of the two masks, and no others.
    """

    x_NxD: jax.Array
    y_N: jax.Array  # any label is allowed where both masks are 0
    fit_N: jax.Array  # float mask, 1 for the examples that the attacker is fitted on
    validation_N: jax.Array  # float mask, 1 for the examples that choose its settings
    test_TxD: jax.Array


class Scores(NamedTuple):
    """An attacker's scores of the examples of a job: log-odds up to a constant, not calibrated."""

    known_NxK: jax.Array  # of the known examples, fitted on the fit part alone
    test_TxK: jax.Array  # of the tested examples, fitted on the fit and validation parts


class Weights(NamedTuple):
    """Weights of the examples: 0 outside a part, the sum is 1, and equal for each class."""

    fit_N: jax.Array
    validation_N: jax.Array
    known_N: jax.Array  # of the fit and validation parts together
    present_K: jax.Array  # whether the fit part has an example of a class


def balanced_weights(y_N: jax.Array, mask_N: jax.Array, classes: int) -> jax.Array:
    """Returns weight_N of the masked examples: the sum is 1, and equal for each of their classes.

    A label y may be outside 0..classes-1 for examples of weight 0.
    """
    member_NxK = one_hot(y_N, classes) * mask_N[:, None]
    count_K = member_NxK.sum(0)
    return (member_NxK / jnp.maximum(count_K, 1)).sum(1) / jnp.maximum((count_K > 0).sum(), 1)


def weigh(data: JobData, classes: int) -> Weights:
    """Returns the weights of a job's examples."""
    return Weights(
        balanced_weights(data.y_N, data.fit_N, classes),
        balanced_weights(data.y_N, data.validation_N, classes),
        balanced_weights(data.y_N, data.fit_N + data.validation_N, classes),
        (one_hot(data.y_N, classes) * data.fit_N[:, None]).sum(0) > 0,
    )


def first_examples(data: JobData, weights: Weights, classes: int) -> tuple[JobData, Weights]:
    """Returns the first MAX_PAIRED_EXAMPLES known examples of a job, and their weights."""
    if len(data.x_NxD) <= MAX_PAIRED_EXAMPLES:
        return data, weights
    first = slice(0, MAX_PAIRED_EXAMPLES)
    data = data._replace(
        x_NxD=data.x_NxD[first],
        y_N=data.y_N[first],
        fit_N=data.fit_N[first],
        validation_N=data.validation_N[first],
    )
    return data, weigh(data, classes)._replace(present_K=weights.present_K)


def one_hot(y_N: jax.Array, classes: int) -> jax.Array:
    """Returns the labels as floats NxK; a label outside 0..classes-1 becomes a row of zeros."""
    return (y_N[:, None] == jnp.arange(classes)).astype(jnp.float32)


def mask_absent_classes(scores_NxK: jax.Array, present_K: jax.Array) -> jax.Array:
    """Returns the scores, with very low ones for absent classes."""
    return jnp.where(present_K, scores_NxK, ABSENT_CLASS_SCORE)


def weighted_cross_entropy(scores_NxK: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> jax.Array:
    """Returns the weighted sum of the examples' cross-entropies; weight 0 allows any label."""
    clipped_N = jnp.clip(y_N, 0, scores_NxK.shape[1] - 1)
    loss_N = optax.softmax_cross_entropy_with_integer_labels(scores_NxK, clipped_N)
    return (loss_N * weight_N).sum()


def calibrate(
    scores_NxK: jax.Array, y_N: jax.Array, weight_N: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the factor of SHARPNESS with the lowest cross-entropy, and that cross-entropy."""
    sharpness_S = jnp.array(SHARPNESS)

    def loss(sharpness):
        return weighted_cross_entropy(sharpness * scores_NxK, y_N, weight_N)

    loss_S = jax.vmap(loss)(sharpness_S)
    best = loss_S.argmin()
    return sharpness_S[best], loss_S[best]


def standardise(data: JobData) -> JobData:
    """Returns the job standardised by the known examples; constant dimensions become 0."""
    known_N = data.fit_N + data.validation_N
    share_Nx1 = known_N[:, None] / known_N.sum()
    mean_D = (data.x_NxD * share_Nx1).sum(0)
    variance_D = ((data.x_NxD - mean_D) ** 2 * share_Nx1).sum(0)
    is_varying_D = variance_D > MIN_VARIANCE + MIN_RELATIVE_VARIANCE * mean_D**2
    scale_D = jnp.where(is_varying_D, 1 / jnp.sqrt(jnp.maximum(variance_D, MIN_VARIANCE)), 0.0)
    return data._replace(
        x_NxD=(data.x_NxD - mean_D) * scale_D, test_TxD=(data.test_TxD - mean_D) * scale_D
    )

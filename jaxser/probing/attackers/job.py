"""The data of an attacker's job, what an attacker returns, and what all attackers share.

Shapes: N = F + V known examples (an attacker is fitted on F and chooses its settings on V), T
tested examples, D dimensions, K classes; M is any number of examples. All classes have the same
weight, whatever their counts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

# Attackers that compare all pairs of examples use the first ones of each part; examples are in
# random order.
MAX_PAIRED_FIT = 1536
MAX_PAIRED_VALIDATION = 512  # in the last fit, on both parts

# A dimension counts as constant if its variance is below the sum of these: an absolute one, and one
# in relation to the square of its mean, whose rounding alone makes a variance.
MIN_VARIANCE = 1e-12
MIN_RELATIVE_VARIANCE = 1e-10
ABSENT_CLASS_SCORE = -1e9

# Scores are multiplied by the best of these factors on the validation part (the inverse of a
# temperature), which makes them calibrated log-probabilities.
SHARPNESS = tuple(0.01 * 10 ** (n / 5) for n in range(21))  # 0.01 to 100


class Examples(NamedTuple):
    """Labelled examples; N is their number, with padding.

    Padded examples have 0 in the mask, and any label.
    """

    x_NxD: jax.Array
    y_N: jax.Array
    mask_N: jax.Array  # float, 1 for examples that are not padding

    def take_first(self, limit: int) -> 'Examples':
        """Returns the first examples, at most `limit`."""
        return Examples(*(array[:limit] for array in self))


class JobData(NamedTuple):
    """Examples of a classification task. An attacker may use the labels of the two parts."""

    fit: Examples  # F examples that the attacker is fitted on
    validation: Examples  # V examples that choose its settings
    test_TxD: jax.Array

    def join_parts(self) -> Examples:
        """Returns the N = F + V known examples, those of the fit part first."""
        pairs = zip(self.fit, self.validation)
        return Examples(*(jnp.concatenate([fit, validation]) for fit, validation in pairs))


class Scores(NamedTuple):
    """An attacker's scores of the examples of a job: log-odds up to a constant, not calibrated."""

    validation_VxK: jax.Array  # fitted on the fit part alone
    test_TxK: jax.Array  # fitted on the fit and validation parts


class Weights(NamedTuple):
    """Weights of the examples: 0 outside a part, the sum is 1, and equal for each class."""

    fit_N: jax.Array  # 0 in the validation part
    validation_V: jax.Array
    known_N: jax.Array  # of the fit and validation parts together
    present_K: jax.Array  # whether the fit part has an example of a class


def balanced_weights(examples: Examples, classes: int) -> jax.Array:
    """Returns weight_N of the examples: the sum is 1, and equal for each of their classes."""
    member_NxK = one_hot(examples.y_N, classes) * examples.mask_N[:, None]
    count_K = member_NxK.sum(0)
    return (member_NxK / jnp.maximum(count_K, 1)).sum(1) / jnp.maximum((count_K > 0).sum(), 1)


def weigh(data: JobData, classes: int) -> Weights:
    """Returns the weights of a job's examples."""
    fit_F = balanced_weights(data.fit, classes)
    return Weights(
        jnp.pad(fit_F, (0, len(data.validation.y_N))),
        balanced_weights(data.validation, classes),
        balanced_weights(data.join_parts(), classes),
        (one_hot(data.fit.y_N, classes) * data.fit.mask_N[:, None]).sum(0) > 0,
    )


def paired_examples(data: JobData) -> JobData:
    """Returns the job with only those examples on which an attacker of all pairs is fitted."""
    return data._replace(
        fit=data.fit.take_first(MAX_PAIRED_FIT),
        validation=data.validation.take_first(MAX_PAIRED_VALIDATION),
    )


def one_hot(y_N: jax.Array, classes: int) -> jax.Array:
    """Returns the labels as floats NxK; a label outside 0..classes-1 becomes a row of zeros."""
    return (y_N[:, None] == jnp.arange(classes)).astype(jnp.float32)


def mask_absent_classes(scores: jax.Array, is_present: jax.Array) -> jax.Array:
    """Returns the scores, with very low ones for absent classes.

    `is_present` is present_K for scores NxK, and present_Kx1 for scores KxN.
    """
    return jnp.where(is_present, scores, ABSENT_CLASS_SCORE)


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
    known = data.join_parts()
    share_Nx1 = known.mask_N[:, None] / known.mask_N.sum()
    mean_D = (known.x_NxD * share_Nx1).sum(0)
    variance_D = ((known.x_NxD - mean_D) ** 2 * share_Nx1).sum(0)
    is_varying_D = variance_D > MIN_VARIANCE + MIN_RELATIVE_VARIANCE * mean_D**2
    scale_D = jnp.where(is_varying_D, 1 / jnp.sqrt(jnp.maximum(variance_D, MIN_VARIANCE)), 0.0)

    def scale(x_NxD):
        return (x_NxD - mean_D) * scale_D

    return JobData(
        data.fit._replace(x_NxD=scale(data.fit.x_NxD)),
        data.validation._replace(x_NxD=scale(data.validation.x_NxD)),
        scale(data.test_TxD),
    )

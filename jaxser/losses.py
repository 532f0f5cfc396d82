"""Losses that several methods share.

`rating_loss`, `emotion_cross_entropy`, `vote_loss` and `domain_cross_entropy` return (value,
metrics); training logs the metrics.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Batch

MASKED_SCORE = -1e9  # softmax gives 0 probability and no gradient


def per_example_cross_entropy(scores_BxC: jax.Array, class_B: jax.Array) -> jax.Array:
    """Returns loss_B, -log softmax(scores)[class] of each example."""
    log_p_BxC = jax.nn.log_softmax(scores_BxC)
    return -jnp.take_along_axis(log_p_BxC, class_B[:, None], axis=-1)[:, 0]


def vote_shares(votes_BxC: jax.Array) -> jax.Array:
    """Returns q_BxC, the shares of the votes of each example; zeros where there is no vote."""
    total_Bx1 = votes_BxC.sum(-1, keepdims=True)
    return votes_BxC / jnp.where(total_Bx1 > 0, total_Bx1, 1.0)


def vote_divergence(scores_BxC: jax.Array, votes_BxC: jax.Array) -> jax.Array:
    """Returns KL_B, the Kullback-Leibler divergence KL(votes || posterior), in nats.

    With the shares q of the votes and the posterior p, the softmax of the scores, it is
    sum_c q_c (log q_c - log p_c). It is 0 where there is no vote, and the cross-entropy where all
    votes are for one class.
    """
    q_BxC = vote_shares(votes_BxC)
    log_q_BxC = jnp.log(jnp.where(q_BxC > 0, q_BxC, 1.0))
    log_p_BxC = jax.nn.log_softmax(scores_BxC)
    return (q_BxC * (log_q_BxC - log_p_BxC)).sum(-1)


def drop_votes(key: jax.Array, votes_BxC: jax.Array, largest: int, rate: float) -> jax.Array:
    """Returns the votes without those that are dropped, each with probability `rate`.

    Where all votes of an example would be dropped, all are kept. `largest` is the largest number of
    votes of an example for one class.
    """
    is_kept_BxCxV = jax.random.uniform(key, (*votes_BxC.shape, largest)) >= rate
    is_vote_BxCxV = jnp.arange(largest) < votes_BxC[..., None]
    kept_BxC = (is_kept_BxCxV & is_vote_BxCxV).sum(-1).astype(votes_BxC.dtype)
    has_votes_Bx1 = kept_BxC.sum(-1, keepdims=True) > 0
    return jnp.where(has_votes_Bx1, kept_BxC, votes_BxC)


def weighted_mean(value_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """Returns the weighted mean, or 0 if no example has weight."""
    total = weight_B.sum()
    return (value_B * weight_B).sum() / jnp.where(total > 0, total, 1.0)


def cross_entropy(scores_BxC: jax.Array, class_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """Returns the weighted mean of -log softmax(scores)[class], or 0 if no example has weight."""
    return weighted_mean(per_example_cross_entropy(scores_BxC, class_B), weight_B)


def mask_unseen_classes(scores_BxK: jax.Array, seen_K: jax.Array) -> jax.Array:
    """Masks the scores of classes whose `seen_K` is 0 (`speaker_seen_K` of a Batch).

    Masked classes have probability 0 and get no gradient.
    """
    return jnp.where(seen_K > 0, scores_BxK, MASKED_SCORE)


def accuracy(scores_BxC: jax.Array, class_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """Returns the weighted share of examples whose highest score is that of their class."""
    is_correct_B = (scores_BxC.argmax(-1) == class_B).astype(scores_BxC.dtype)
    return weighted_mean(is_correct_B, weight_B)


def squared_error(predicted_BxA: jax.Array, rating_BxA: jax.Array) -> jax.Array:
    """Returns error_B, the squared error of each example, mean over the ratings."""
    return ((predicted_BxA - rating_BxA) ** 2).mean(-1)


def concordance(predicted_BxA: jax.Array, rating_BxA: jax.Array, rated_B: jax.Array) -> jax.Array:
    """Returns ccc_A, the concordance correlation coefficient of each rating (Lin 1989).

    It is 2 cov(p, r) / (var(p) + var(r) + (mean(p) - mean(r))^2), with moments of the population
    (divided by n), over the examples whose `rated_B` is 1. It is 0 if these are fewer than two, or
    if the ratings are all equal.
    """
    weight_Bx1 = (rated_B / jnp.maximum(rated_B.sum(), 1))[:, None]

    def mean(x_BxA):
        return (x_BxA * weight_Bx1).sum(0)

    predicted_mean_A, rating_mean_A = mean(predicted_BxA), mean(rating_BxA)
    p_BxA = predicted_BxA - predicted_mean_A
    r_BxA = rating_BxA - rating_mean_A
    shift_A = (predicted_mean_A - rating_mean_A) ** 2
    spread_A = mean(p_BxA**2) + mean(r_BxA**2) + shift_A
    return 2 * mean(p_BxA * r_BxA) / jnp.where(spread_A > 0, spread_A, 1.0)


def concordance_loss(
    predicted_BxA: jax.Array, rating_BxA: jax.Array, rated_B: jax.Array
) -> jax.Array:
    """Returns 1 - CCC of the batch, mean over the ratings; 0 if no example is rated."""
    value = 1 - concordance(predicted_BxA, rating_BxA, rated_B).mean()
    return jnp.where(rated_B.sum() > 0, value, 0.0)


def rating_loss(
    kind: str, predicted_BxA: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the loss of ratings over the examples whose `rated_B` is 1, and metrics.

    `kind` is 'ccc' (`concordance_loss`) or 'mse' (the mean squared error).
    """
    rating_BxA = batch['rating_BxA']
    rated_B = batch['rated_B']
    if kind == 'ccc':
        value = concordance_loss(predicted_BxA, rating_BxA, rated_B)
    else:
        value = weighted_mean(squared_error(predicted_BxA, rating_BxA), rated_B)
    ccc_A = concordance(predicted_BxA, rating_BxA, rated_B)
    return value, {'rating_loss': value, 'rating_ccc': ccc_A.mean()}


def emotion_cross_entropy(
    scores_BxC: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the cross-entropy of the emotions, weighted by `labelled_B`; and metrics."""
    emotion_B = batch['emotion_B']
    weight_B = batch['labelled_B']
    value = cross_entropy(scores_BxC, emotion_B, weight_B)
    metrics = {
        'emotion_loss': value,
        'emotion_accuracy': accuracy(scores_BxC, emotion_B, weight_B),
    }
    return value, metrics


def vote_loss(
    scores_BxC: jax.Array, votes_BxC: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the mean of `vote_divergence` weighted by `labelled_B`, and metrics.

    `votes_BxC` are the votes of the batch, after some of them have been dropped. The accuracy is
    that of the examples with a class.
    """
    emotion_B = batch['emotion_B']
    weight_B = batch['labelled_B']
    value = weighted_mean(vote_divergence(scores_BxC, votes_BxC), weight_B)
    class_weight_B = jnp.where(emotion_B >= 0, weight_B, 0.0)
    metrics = {
        'emotion_loss': value,
        'emotion_accuracy': accuracy(scores_BxC, emotion_B, class_weight_B),
    }
    return value, metrics


def domain_cross_entropy(
    domain: str, scores_BxK: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the cross-entropy of a domain, such as the speaker, and metrics.

    The classes are those of the utterances on which domain heads train (`speaker_seen_K` of a
    Batch). Examples of unknown domain do not count.
    """
    class_B = batch[f'{domain}_B']
    seen_K = batch[f'{domain}_seen_K']
    scores_BxK = mask_unseen_classes(scores_BxK, seen_K)
    known_B = (class_B >= 0).astype(scores_BxK.dtype)
    value = cross_entropy(scores_BxK, class_B, known_B)
    metrics = {
        f'{domain}_loss': value,
        f'{domain}_accuracy': accuracy(scores_BxK, class_B, known_B),
        f'{domain}_count': seen_K.sum(),
    }
    return value, metrics

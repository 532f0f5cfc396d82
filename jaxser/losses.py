"""Losses that several methods share."""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Batch


def per_example_cross_entropy(scores_BxC: jax.Array, class_B: jax.Array) -> jax.Array:
    """loss_B, of every example -log softmax(scores)[class]."""
    log_p_BxC = jax.nn.log_softmax(scores_BxC)
    return -jnp.take_along_axis(log_p_BxC, class_B[:, None], axis=-1)[:, 0]


def weighted_mean(x_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """The weighted mean; 0 where no example has weight."""
    total = weight_B.sum()
    return (x_B * weight_B).sum() / jnp.where(total > 0, total, 1.0)


def cross_entropy(scores_BxC: jax.Array, class_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """The weighted mean of -log softmax(scores)[class]; 0 where no example has weight."""
    return weighted_mean(per_example_cross_entropy(scores_BxC, class_B), weight_B)


def mask_unseen_classes(scores_BxK: jax.Array, seen_K: jax.Array) -> jax.Array:
    """Scores in which the classes that the fold does not train on cannot win and get no gradient."""
    return jnp.where(seen_K > 0, scores_BxK, -1e9)


def accuracy(scores_BxC: jax.Array, class_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """The weighted share of examples whose highest score is their class."""
    return weighted_mean((scores_BxC.argmax(-1) == class_B).astype(scores_BxC.dtype), weight_B)


def emotion_cross_entropy(
    scores_BxC: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """CE(emotion) over the labelled examples, by their weights; and what to log of it."""
    value = cross_entropy(scores_BxC, batch['emotion_B'], batch['labelled_B'])
    return value, {
        'emotion_loss': value,
        'emotion_accuracy': accuracy(scores_BxC, batch['emotion_B'], batch['labelled_B']),
    }


def domain_cross_entropy(
    domain: str, scores_BxK: jax.Array, batch: Batch
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """CE(domain) among those that the fold's training hears, over the examples whose domain is known; and what to log of it."""
    scores_BxK = mask_unseen_classes(scores_BxK, batch[f'{domain}_seen_K'])
    known_B = (batch[f'{domain}_B'] >= 0).astype(scores_BxK.dtype)
    value = cross_entropy(scores_BxK, batch[f'{domain}_B'], known_B)
    return value, {
        f'{domain}_loss': value,
        f'{domain}_accuracy': accuracy(scores_BxK, batch[f'{domain}_B'], known_B),
        f'{domain}_count': batch[f'{domain}_seen_K'].sum(),
    }

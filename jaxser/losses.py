"""Losses that several methods share."""

import jax
import jax.numpy as jnp


def cross_entropy(scores_BxC: jax.Array, class_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """The weighted mean of -log softmax(scores)[class]; 0 where no example has weight."""
    log_p_BxC = jax.nn.log_softmax(scores_BxC)
    loss_B = -jnp.take_along_axis(log_p_BxC, class_B[:, None], axis=-1)[:, 0]
    total = weight_B.sum()
    return (loss_B * weight_B).sum() / jnp.where(total > 0, total, 1.0)


def only(scores_BxK: jax.Array, seen_K: jax.Array) -> jax.Array:
    """Scores in which the classes that the fold does not train on cannot win and get no gradient."""
    return jnp.where(seen_K > 0, scores_BxK, -1e9)


def accuracy(scores_BxC: jax.Array, class_B: jax.Array, weight_B: jax.Array) -> jax.Array:
    """The weighted share of examples whose highest score is their class."""
    right_B = (scores_BxC.argmax(-1) == class_B).astype(scores_BxC.dtype)
    total = weight_B.sum()
    return (right_B * weight_B).sum() / jnp.where(total > 0, total, 1.0)

"""AdamW with a warm-up and a cosine, from traced hyper-parameters."""

import jax
import jax.numpy as jnp
import optax

from jaxser.interfaces import Hyper


def shape(step: jax.Array, steps: int, warmup: float) -> jax.Array:
    """The learning rate's course with peak 1: linear over the fraction `warmup` of `steps`, then half a cosine to 0."""
    p = step / steps
    rising = p / warmup if warmup else 1.0
    falling = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((p - warmup) / (1 - warmup), 0, 1)))
    return jnp.where(p < warmup, rising, falling)


def make(hyper: Hyper, steps: int, config) -> optax.GradientTransformation:
    """The optimiser of one run; built inside the step, since its rate and decay are traced.

    Gradients are clipped branch by branch (encoder, each head): one norm over all would let the domain head, at lam = 0 too,
    change the steps of the encoder.
    """
    clip = optax.clip_by_global_norm(config.clip)

    def clip_branches(gradients, state, params=None):
        return {name: clip.update(g, optax.EmptyState())[0] for name, g in gradients.items()}, state

    def decayed(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    return optax.chain(
        optax.GradientTransformation(lambda params: optax.EmptyState(), clip_branches),
        optax.scale_by_adam(),
        optax.add_decayed_weights(hyper['weight_decay'], mask=decayed),
        optax.scale_by_schedule(lambda step: -hyper['lr'] * shape(step, steps, config.warmup)),
    )

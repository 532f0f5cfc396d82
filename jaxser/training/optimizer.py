"""AdamW, or plain descent, with a warm-up and a cosine, from traced hyper-parameters."""

import jax
import jax.numpy as jnp
import optax

from jaxser.interfaces import Hyper

OPTIMIZERS = {'adamw': optax.scale_by_adam, 'sgd': optax.identity}


def learning_rate_schedule(step: jax.Array, steps: int, warmup: float) -> jax.Array:
    """The learning rate's course with peak 1: linear over the fraction `warmup` of `steps`, then half a cosine to 0."""
    p = step / steps
    rising = p / warmup if warmup else 1.0
    falling = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((p - warmup) / (1 - warmup), 0, 1)))
    return jnp.where(p < warmup, rising, falling)


def make_optimizer(hyper: Hyper, steps: int, config) -> optax.GradientTransformation:
    """The optimiser of a branch of a run's parameters; built inside the step, since its rate and decay are traced.

    Each branch (the encoder, each head) has its own: one norm to clip over all would let the domain head, at lam = 0 too, change
    the steps of the encoder. Biases and scales do not decay.
    """
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        OPTIMIZERS[config.optimizer](),
        optax.add_decayed_weights(
            hyper['weight_decay'], mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
        ),
        optax.scale_by_schedule(
            lambda step: -hyper['lr'] * learning_rate_schedule(step, steps, config.warmup)
        ),
    )

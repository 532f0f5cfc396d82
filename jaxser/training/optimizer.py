"""The optimiser: AdamW or SGD with a warm-up and a cosine schedule, from traced values."""

import jax
import jax.numpy as jnp
import optax

from jaxser.interfaces import Hyper

OPTIMIZERS = {'adamw': optax.scale_by_adam, 'sgd': optax.identity}


def learning_rate_schedule(step: jax.Array, steps: int, warmup: float) -> jax.Array:
    """Returns the learning rate at a step, as a fraction of its peak.

    It rises linearly over the fraction `warmup` of `steps`, then falls to 0 as half a cosine.
    """
    progress = step / steps
    rising = progress / warmup if warmup else 1.0
    after_warmup = jnp.clip((progress - warmup) / (1 - warmup), 0, 1)
    falling = 0.5 * (1 + jnp.cos(jnp.pi * after_warmup))
    return jnp.where(progress < warmup, rising, falling)


def make_optimizer(hyper: Hyper, steps: int, config) -> optax.GradientTransformation:
    """Returns the optimiser of a branch of a run's parameters (the encoder, or a head).

    It is built inside the step, since the learning rate and the weight decay are traced. Gradients
    are clipped for each branch separately: with one norm over all branches, the domain head would
    change the steps of the encoder even at lam = 0. Biases and scales have no weight decay.
    """

    def is_matrix(params):
        return jax.tree.map(lambda p: p.ndim > 1, params)

    def negative_rate(step):
        return -hyper['lr'] * learning_rate_schedule(step, steps, config.warmup)

    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        OPTIMIZERS[config.optimizer](),
        optax.add_decayed_weights(hyper['weight_decay'], mask=is_matrix),
        optax.scale_by_schedule(negative_rate),
    )

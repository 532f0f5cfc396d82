"""Gradient reversal and the schedule of its coefficient.

Ganin et al. 2016, "Domain-adversarial training of neural networks".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


@jax.custom_vjp
def reverse_gradient(z: jax.Array, lam: jax.Array) -> jax.Array:
    """Returns z. Its gradient with respect to z is -lam times the incoming gradient.

    `lam` may be traced, and gets no gradient.
    """
    return z


def _forward(z, lam):
    return z, lam


def _backward(lam, gradient):
    reversed_gradient = (-lam * gradient).astype(gradient.dtype)
    return reversed_gradient, jnp.zeros_like(lam)


reverse_gradient.defvjp(_forward, _backward)


def ramp(progress: jax.Array) -> jax.Array:
    """Returns the factor on the coefficient, from 0 to 1, at a fraction of the training.

    The formula of Ganin et al. 2016, section 5.2.2, is 2 / (1 + exp(-10 progress)) - 1. It equals
    tanh(5 progress), which is computed here.
    """
    return jnp.tanh(5.0 * progress)


def gradient_ratio(adversary_loss: Callable, task_loss: Callable, z_BxD: jax.Array) -> jax.Array:
    """Returns |d adversary_loss / dz| over |d task_loss / dz|, or 0 if the latter is 0.

    Both losses are functions of z_BxD. The ratio compares their gradients at the representation,
    before they pass through the encoder.
    """
    z_BxD = jax.lax.stop_gradient(z_BxD)
    adversary_norm = optax.tree.norm(jax.grad(adversary_loss)(z_BxD))
    task_norm = optax.tree.norm(jax.grad(task_loss)(z_BxD))
    ratio = adversary_norm / jnp.where(task_norm > 0, task_norm, 1.0)
    return jnp.where(task_norm > 0, ratio, 0.0)

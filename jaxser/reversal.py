"""Gradient reversal, and the ramp of its coefficient (Ganin et al. 2016, "Domain-adversarial training of neural networks")."""

import jax
import jax.numpy as jnp
import optax


@jax.custom_vjp
def reverse_gradient(z: jax.Array, lam: jax.Array) -> jax.Array:
    """The identity, whose gradient to `z` is -lam times what arrives; `lam` may be traced and gets no gradient."""
    return z


def _forward(z, lam):
    return z, lam


def _backward(lam, gradient):
    return (-lam * gradient).astype(gradient.dtype), jnp.zeros_like(lam)


reverse_gradient.defvjp(_forward, _backward)


def gradient_ratio(adversary_loss, task_loss, z_BxD: jax.Array) -> jax.Array:
    """The norm of the gradient that reaches the representation from the adversary, over that from the task; 0 without a task's.

    Both are losses of z_BxD, constant here: what the encoder makes of the two is in their ratio, whatever it does before z.
    """
    z_BxD = jax.lax.stop_gradient(z_BxD)
    against, towards = (
        optax.tree.norm(jax.grad(loss)(z_BxD)) for loss in (adversary_loss, task_loss)
    )
    return jnp.where(towards > 0, against / jnp.where(towards > 0, towards, 1.0), 0.0)


def adversarial_loss(
    domain_loss, domains, z_BxD: jax.Array, lam: jax.Array, weight: jax.Array, task_loss
) -> tuple[jax.Array, dict]:
    """weight sum_d loss(d, reverse(z, lam)) over the domains d, and what is measured of it.

    `domain_loss(d, z_BxD)` is the loss of d's head and its metrics; `task_loss(z_BxD)` the loss that the adversary's strength is measured by.
    """

    def total(z_BxD):
        found = [domain_loss(d, z_BxD) for d in domains]
        return weight * sum(x for x, _ in found), {
            k: x for _, metrics in found for k, x in metrics.items()
        }

    value, measured = total(reverse_gradient(z_BxD, lam))
    reached = gradient_ratio(lambda z_BxD: lam * total(z_BxD)[0], task_loss, z_BxD)
    return value, measured | {'lam_p': lam, 'reversed_over_task': reached}


def ramp(p: jax.Array) -> jax.Array:
    """How far the coefficient has risen at the fraction `p` of the training: 2 / (1 + exp(-10 p)) - 1 (Ganin et al., 5.2.2)."""
    return jnp.tanh(5.0 * p)

"""Correlation alignment: gives source and target the same covariance of z.

Sun & Saenko 2016, "Deep CORAL". lam is our default.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.methods import _alignment


def masked_covariance(z_BxD: jax.Array, mask_B: jax.Array) -> jax.Array:
    """Returns C_DxD of the examples of the mask, divided by n - 1; 0 for a single example."""
    count = mask_B.sum()
    mask_Bx1 = mask_B[:, None]
    mean_1xD = (z_BxD * mask_Bx1).sum(0, keepdims=True) / jnp.maximum(count, 1)
    centred_BxD = (z_BxD - mean_1xD) * mask_Bx1
    return centred_BxD.T @ centred_BxD / jnp.maximum(count - 1, 1)


def coral_distance(z_BxD: jax.Array, target_B: jax.Array) -> jax.Array:
    """Returns ||C_s - C_t||_F^2 / (4 D^2); 0 if source or target has fewer than two examples."""
    D = z_BxD.shape[-1]
    source_B = 1 - target_B
    difference_DxD = masked_covariance(z_BxD, source_B) - masked_covariance(z_BxD, target_B)
    is_enough = jnp.minimum(target_B.sum(), source_B.sum()) >= 2
    return jnp.where(is_enough, (difference_DxD**2).sum() / (4 * D**2), 0.0)


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """The task's loss + lam ||C_s - C_t||_F^2 / (4 D^2), C the covariance of source or target."""
    return _alignment.make_alignment(config, encoder, sizes, 'coral', coral_distance)

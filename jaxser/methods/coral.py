"""Correlation alignment: source and target shall have the same second moments of z.

Sun & Saenko 2016, "Deep CORAL"; lam is our default.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads


def masked_covariance(z_BxD: jax.Array, there_B: jax.Array) -> jax.Array:
    """C_DxD of the examples that are there, by n - 1; 0 of a single one."""
    count, there_Bx1 = there_B.sum(), there_B[:, None]
    mean_1xD = (z_BxD * there_Bx1).sum(0, keepdims=True) / jnp.maximum(count, 1)
    centred_BxD = (z_BxD - mean_1xD) * there_Bx1
    return centred_BxD.T @ centred_BxD / jnp.maximum(count - 1, 1)


def coral_distance(z_BxD: jax.Array, target_B: jax.Array) -> jax.Array:
    """||C_s - C_t||_F^2 / (4 D^2); 0 where source or target has fewer than two examples."""
    difference_DxD = masked_covariance(z_BxD, 1 - target_B) - masked_covariance(z_BxD, target_B)
    enough = jnp.minimum(target_B.sum(), (1 - target_B).sum()) >= 2
    return jnp.where(enough, (difference_DxD**2).sum() / (4 * z_BxD.shape[-1] ** 2), 0.0)


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z) + lam ||C_s - C_t||_F^2 / (4 D^2), C the covariances of z over source and target."""
    emotion = heads.make_head(sizes.emotions)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        value, z_BxD, batch_stats, metrics = erm.emotion_forward(
            encoder, emotion, params, state, batch, hyper, key
        )
        apart = coral_distance(z_BxD, batch['target_B'])
        return value + hyper['lam'] * apart, Aux(
            batch_stats, state.extra, metrics | {'coral': apart}
        )

    return Method({'lam': 1.0}, plain.init, loss, plain.predict, target=True)

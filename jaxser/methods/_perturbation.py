"""Features moved up the gradient of a loss, for the methods that train on them (Shankar et al. 2018, CrossGrad)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxser.features import frame_mask
from jaxser.interfaces import Batch

GRADIENT_CLIP = 0.1  # of the public code of CrossGrad


def ascend_losses(
    encode: Callable, batch: Batch, eps: jax.Array, *losses: tuple[Callable, jax.Array]
) -> list[jax.Array]:
    """x + eps clip(d sum_b loss_b / dx) for each (z_BxD -> loss_B, there_B), as constants; encode(x) is (z_BxD, batch_stats).

    Padded frames stay where they are, and so do examples that are not there. Losses are not averaged, so that eps means the same
    at any size of the batch; one example moves another only where `encode` couples them.
    """
    mel_BxTxM = batch['mel_BxTxM']
    valid_BxT = frame_mask(batch['frames_B'], mel_BxTxM.shape[1])
    z_BxD, back, _ = jax.vjp(encode, mel_BxTxM, has_aux=True)

    def move(loss_each: Callable, there_B: jax.Array) -> jax.Array:
        (gradient_BxTxM,) = back(jax.grad(lambda z_BxD: (loss_each(z_BxD) * there_B).sum())(z_BxD))
        clipped_BxTxM = (
            jnp.clip(gradient_BxTxM, -GRADIENT_CLIP, GRADIENT_CLIP)
            * (valid_BxT * there_B[:, None])[..., None]
        )
        return jax.lax.stop_gradient(mel_BxTxM + eps * clipped_BxTxM)

    return [move(*way) for way in losses]


def encode_versions(encode: Callable, *versions: jax.Array) -> tuple[jax.Array, Any, jax.Array]:
    """z_VxBxD of versions of the features, the running statistics after the first alone, and the distance_V of each from it.

    Each version is normalised by its own statistics, and the same units are dropped. One pass in which they lie side by side:
    less to compile than a pass for each, and larger products.
    """
    mel_VxBxTxM = jnp.stack(versions)
    z_VxBxD, batch_stats = jax.vmap(encode)(mel_VxBxTxM)
    distance_V = jnp.sqrt(((mel_VxBxTxM - versions[0]) ** 2).sum((2, 3))).mean(1)
    return z_VxBxD, jax.tree.map(lambda s: s[0], batch_stats), distance_V

"""Features moved up the gradient of a loss, for the methods that train on them (Shankar et al. 2018, CrossGrad)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxser.features import frame_mask
from jaxser.interfaces import Batch

CLIP = 0.1  # of the public code of CrossGrad


def ascend(encode: Callable, batch: Batch, eps: jax.Array, *ways: tuple[Callable, jax.Array]) -> list[jax.Array]:
    """x + eps clip(d sum_b loss_b / dx) for each (z_BxD -> loss_B, there_B); z = encode(x). All constants.

    Padded frames stay where they are, and so do examples that are not there. Losses are not averaged, so that eps means the same
    at any size of the batch; one example moves another only where `encode` couples them.
    """
    mel_BxTxM = batch['mel_BxTxM']
    valid_BxT = frame_mask(batch['frames_B'], mel_BxTxM.shape[1])
    z_BxD, back = jax.vjp(encode, mel_BxTxM)

    def move(loss_each: Callable, there_B: jax.Array) -> jax.Array:
        (gradient_BxTxM,) = back(jax.grad(lambda z_BxD: (loss_each(z_BxD) * there_B).sum())(z_BxD))
        clipped_BxTxM = jnp.clip(gradient_BxTxM, -CLIP, CLIP) * (valid_BxT * there_B[:, None])[..., None]
        return jax.lax.stop_gradient(mel_BxTxM + eps * clipped_BxTxM)

    return [move(*way) for way in ways]


def distance(a_BxTxM: jax.Array, b_BxTxM: jax.Array) -> jax.Array:
    """How far examples were moved: the mean of their Euclidean distances."""
    return jnp.sqrt(((a_BxTxM - b_BxTxM) ** 2).sum((1, 2))).mean()

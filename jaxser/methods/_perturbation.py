"""Features moved along the gradient of a loss, for the methods that train on them.

CrossGrad of Shankar et al. 2018 (arXiv 1804.10745).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxser.features import frame_mask
from jaxser.interfaces import Batch, Encoder, Hyper, State

GRADIENT_CLIP = 0.1  # from the public code of CrossGrad


class Objective(NamedTuple):
    """A loss whose gradient moves the features."""

    loss: Callable  # z_BxD -> loss_B
    mask_B: jax.Array  # 1 for the examples whose features it moves, else 0


class Versions(NamedTuple):
    """Encoded versions of the same features."""

    z_VxBxD: jax.Array
    batch_stats: Any  # running statistics after the first version
    distance_V: jax.Array  # mean over the batch of the distance to the first version


def make_encode(
    encoder: Encoder, params: dict, state: State, batch: Batch, hyper: Hyper, key: jax.Array
) -> Callable[[jax.Array], tuple[jax.Array, Any]]:
    """Returns mel_BxTxM -> (z_BxD, batch_stats) for other features of the batch, in training mode.

    Every call uses the same dropout mask.
    """

    def encode(mel_BxTxM):
        return encoder.apply(
            params['encoder'],
            state.batch_stats,
            batch | {'mel_BxTxM': mel_BxTxM},
            hyper,
            key,
            train=True,
        )

    return encode


def ascend_losses(
    encode: Callable, batch: Batch, eps: jax.Array, *objectives: Objective
) -> list[jax.Array]:
    """Returns, for each objective, features x + eps clip(d sum_b loss_b / dx) as constants.

    Padded frames and masked examples are not moved. Losses are summed, not averaged, so that eps
    means the same at any batch size. An example moves another one only if `encode` couples them.
    """
    mel_BxTxM = batch['mel_BxTxM']
    valid_BxT = frame_mask(batch['frames_B'], mel_BxTxM.shape[1])
    z_BxD, backward, _ = jax.vjp(encode, mel_BxTxM, has_aux=True)

    def ascend(loss: Callable, mask_B: jax.Array) -> jax.Array:
        def masked_sum(z_BxD):
            return (loss(z_BxD) * mask_B).sum()

        (gradient_BxTxM,) = backward(jax.grad(masked_sum)(z_BxD))
        clipped_BxTxM = jnp.clip(gradient_BxTxM, -GRADIENT_CLIP, GRADIENT_CLIP)
        mask_BxT = valid_BxT * mask_B[:, None]
        return jax.lax.stop_gradient(mel_BxTxM + eps * (clipped_BxTxM * mask_BxT[..., None]))

    return [ascend(*objective) for objective in objectives]


def encode_versions(encode: Callable, *versions: jax.Array) -> Versions:
    """Encodes several versions of the features side by side.

    Each version is normalised by its own batch statistics; the running statistics are
    updated by the first only. One vmapped pass compiles faster than several passes, and its matrix
    products are larger.
    """
    mel_VxBxTxM = jnp.stack(versions)
    z_VxBxD, batch_stats = jax.vmap(encode)(mel_VxBxTxM)
    distance_V = jnp.sqrt(((mel_VxBxTxM - versions[0]) ** 2).sum((2, 3))).mean(1)
    first_stats = jax.tree.map(lambda statistic_Vx: statistic_Vx[0], batch_stats)
    return Versions(z_VxBxD, first_stats, distance_V)

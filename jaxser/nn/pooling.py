"""Pooling of frames to one vector per utterance."""

import jax
import jax.numpy as jnp


def statistics_pooling(x_BxTxH: jax.Array, mask_BxT: jax.Array) -> jax.Array:
    """Returns pooled_Bx2H, the mean and standard deviation over valid frames.

    Snyder et al. 2017.
    """
    count_Bx1 = jnp.maximum(mask_BxT.sum(-1, keepdims=True), 1.0)
    mean_BxH = (x_BxTxH * mask_BxT[..., None]).sum(1) / count_Bx1
    centred_BxTxH = (x_BxTxH - mean_BxH[:, None]) * mask_BxT[..., None]
    variance_BxH = (centred_BxTxH**2).sum(1) / count_Bx1
    # The epsilon is inside the root: the gradient of sqrt at 0 is not finite.
    return jnp.concatenate([mean_BxH, jnp.sqrt(variance_BxH + 1e-5)], -1)

"""What happens to log-mel features on the device before the encoder sees them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from data_pipelines.batching import table
from jaxser.interfaces import Batch, Hyper


def frame_mask(frames_B: jax.Array, length: int) -> jax.Array:
    """mask_BxT, 1 on valid frames."""
    return (jnp.arange(length)[None, :] < frames_B[:, None]).astype(jnp.float32)


def with_utterance_statistics(batch: Batch) -> Batch:
    """The batch with mean_BxM and scale_BxM of every utterance's own valid frames; its features are zero beyond them.

    What batches.affine makes of log_mel.moments, to rounding, though in float32: the mean is corrected by that of what it leaves.
    """
    mask_BxTx1 = frame_mask(batch['frames_B'], batch['mel_BxTxM'].shape[-2])[..., None]
    mel_BxTxM = jnp.where(mask_BxTx1 > 0, batch['mel_BxTxM'], 0).astype(jnp.float32)
    mean = lambda x_BxTxM: x_BxTxM.sum(1) / jnp.maximum(mask_BxTx1.sum(1), 1.0)  # noqa: E731
    mean_BxM = mean(mel_BxTxM)
    centred_BxTxM = (mel_BxTxM - mean_BxM[:, None]) * mask_BxTx1
    left_BxM = mean(centred_BxTxM)
    variance_BxM = mean(centred_BxTxM**2) - left_BxM**2
    scale_BxM = 1 / jnp.sqrt(jnp.maximum(variance_BxM, table.MIN_VARIANCE))
    return {
        **batch,
        'mel_BxTxM': mel_BxTxM,
        'mean_BxM': mean_BxM + left_BxM,
        'scale_BxM': scale_BxM,
    }


def normalise(batch: Batch) -> Batch:
    """Features in float32, less the mean and times the scale that the protocol allows, and zero on padded frames."""
    mask_BxTx1 = frame_mask(batch['frames_B'], batch['mel_BxTxM'].shape[-2])[..., None]
    mel_BxTxM = batch['mel_BxTxM'].astype(jnp.float32) - batch['mean_BxM'][:, None]
    return {**batch, 'mel_BxTxM': mel_BxTxM * batch['scale_BxM'][:, None] * mask_BxTx1}


def _stripe_mask(key: jax.Array, length_B: jax.Array, max_share: jax.Array, size: int) -> jax.Array:
    """keep_BxN, 0 on two stripes an example, each up to `max_share` of its length wide."""
    key_width, key_start = jax.random.split(key)
    shape = (length_B.shape[0], 2)
    width_Bx2 = jax.random.uniform(key_width, shape) * max_share * length_B[:, None]
    start_Bx2 = jax.random.uniform(key_start, shape) * (length_B[:, None] - width_Bx2)
    at_N = jnp.arange(size) + 0.5
    inside = (at_N >= start_Bx2[..., None]) & (at_N < (start_Bx2 + width_Bx2)[..., None])
    return 1.0 - inside.any(1)


def spec_augment(batch: Batch, hyper: Hyper, key: jax.Array) -> Batch:
    """Masks two stripes of frames and two of bands of every example with the mean, i.e. 0 (Park et al. 2019, SpecAugment).

    `hyper['time_mask']` and `hyper['band_mask']` are the widest stripe as a share of the valid frames and of the bands.
    """
    mel_BxTxM = batch['mel_BxTxM']
    key_time, key_band = jax.random.split(key)
    frames_B = batch['frames_B'].astype(jnp.float32)
    bands_B = jnp.full_like(frames_B, mel_BxTxM.shape[-1])
    keep_BxT = _stripe_mask(key_time, frames_B, hyper['time_mask'], mel_BxTxM.shape[-2])
    keep_BxM = _stripe_mask(key_band, bands_B, hyper['band_mask'], mel_BxTxM.shape[-1])
    return {**batch, 'mel_BxTxM': mel_BxTxM * keep_BxT[..., None] * keep_BxM[:, None]}


class SharedArrays(NamedTuple):
    """What all runs read and none changes; a device holds it once."""

    corpus_RxM: jax.Array | None = (
        None  # the features of the whole corpus, where they stay on the device
    )
    frozen: Any = None  # Encoder.frozen


def with_features(batch: Batch, shared: SharedArrays, frames: int) -> Batch:
    """The batch with its features, those it brings or those that begin at the rows `first_B` of the corpus; and with `frozen`."""
    corpus_RxM, frozen = shared
    if frozen is not None:
        batch = {**batch, 'frozen': frozen}
    if corpus_RxM is None:
        return batch
    rest = {k: x for k, x in batch.items() if k != 'first_B'}
    cut = lambda first: jax.lax.dynamic_slice_in_dim(corpus_RxM, first, frames)  # noqa: E731
    mel_BxTxM = jax.vmap(cut)(batch['first_B'])
    there_BxTx1 = jnp.arange(frames)[None, :, None] < batch['frames_B'][:, None, None]
    return {**rest, 'mel_BxTxM': jnp.where(there_BxTx1, mel_BxTxM, 0)}

"""Operations on log-mel features on the device, before the encoder reads them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from data_pipelines.batching import table
from jaxser.interfaces import Batch, Hyper


def frame_mask(frames_B: jax.Array, length: int) -> jax.Array:
    """Returns mask_BxT, 1 on valid frames."""
    return (jnp.arange(length)[None, :] < frames_B[:, None]).astype(jnp.float32)


def with_utterance_statistics(batch: Batch) -> Batch:
    """Adds mean_BxM and scale_BxM of each utterance's valid frames; sets padded frames to zero.

    They equal the statistics that preparation stores up to rounding, as they are computed in
    float32. The mean of the centred features corrects the mean and the variance.
    """
    mask_BxTx1 = frame_mask(batch['frames_B'], batch['mel_BxTxM'].shape[-2])[..., None]
    mel_BxTxM = jnp.where(mask_BxTx1 > 0, batch['mel_BxTxM'], 0).astype(jnp.float32)

    def mean_over_frames(x_BxTxM):
        return x_BxTxM.sum(1) / jnp.maximum(mask_BxTx1.sum(1), 1.0)

    mean_BxM = mean_over_frames(mel_BxTxM)
    centred_BxTxM = (mel_BxTxM - mean_BxM[:, None]) * mask_BxTx1
    correction_BxM = mean_over_frames(centred_BxTxM)
    variance_BxM = mean_over_frames(centred_BxTxM**2) - correction_BxM**2
    scale_BxM = 1 / jnp.sqrt(jnp.maximum(variance_BxM, table.MIN_VARIANCE))
    return {
        **batch,
        'mel_BxTxM': mel_BxTxM,
        'mean_BxM': mean_BxM + correction_BxM,
        'scale_BxM': scale_BxM,
    }


def normalise(batch: Batch) -> Batch:
    """Normalises the features to (x - mean_BxM) * scale_BxM in float32, zero on padded frames."""
    mask_BxTx1 = frame_mask(batch['frames_B'], batch['mel_BxTxM'].shape[-2])[..., None]
    mel_BxTxM = batch['mel_BxTxM'].astype(jnp.float32) - batch['mean_BxM'][:, None]
    return {**batch, 'mel_BxTxM': mel_BxTxM * batch['scale_BxM'][:, None] * mask_BxTx1}


def _stripe_mask(key: jax.Array, length_B: jax.Array, max_share: jax.Array, size: int) -> jax.Array:
    """Returns mask_BxN, 0 on two stripes per example.

    A stripe is at most `max_share` of the example's length wide.
    """
    key_width, key_start = jax.random.split(key)
    shape = (length_B.shape[0], 2)
    width_Bx2 = jax.random.uniform(key_width, shape) * max_share * length_B[:, None]
    start_Bx2 = jax.random.uniform(key_start, shape) * (length_B[:, None] - width_Bx2)
    centre_N = jnp.arange(size) + 0.5
    after_start_Bx2xN = centre_N >= start_Bx2[..., None]
    before_end_Bx2xN = centre_N < (start_Bx2 + width_Bx2)[..., None]
    inside_Bx2xN = after_start_Bx2xN & before_end_Bx2xN
    return 1.0 - inside_Bx2xN.any(1)


def spec_augment(batch: Batch, hyper: Hyper, key: jax.Array) -> Batch:
    """Sets two stripes of frames and two stripes of bands of each example to 0, the mean.

    `hyper['time_mask']` and `hyper['band_mask']` are the largest width of a stripe, as a share of
    the valid frames and of the bands (SpecAugment, Park et al. 2019).
    """
    mel_BxTxM = batch['mel_BxTxM']
    key_time, key_band = jax.random.split(key)
    frames_B = batch['frames_B'].astype(jnp.float32)
    bands_B = jnp.full_like(frames_B, mel_BxTxM.shape[-1])
    mask_BxT = _stripe_mask(key_time, frames_B, hyper['time_mask'], mel_BxTxM.shape[-2])
    mask_BxM = _stripe_mask(key_band, bands_B, hyper['band_mask'], mel_BxTxM.shape[-1])
    return {**batch, 'mel_BxTxM': mel_BxTxM * mask_BxT[..., None] * mask_BxM[:, None]}


class SharedArrays(NamedTuple):
    """Arrays that all runs read and no run changes; each device has one copy.

    Attributes:
        corpus_RxM: the features of the whole corpus, if they are resident on the device.
        frozen: `Encoder.frozen`.
    """

    corpus_RxM: jax.Array | None = None
    frozen: Any = None


def with_features(batch: Batch, shared: SharedArrays, frames: int) -> Batch:
    """Adds what the batch takes from the shared arrays: its features, and `frozen`.

    If the corpus is resident, each example's features are `frames` rows of it from row `first_B`
    on, zero beyond `frames_B`. Otherwise the batch has its features already.
    """
    if shared.frozen is not None:
        batch = {**batch, 'frozen': shared.frozen}
    if shared.corpus_RxM is None:
        return batch
    batch = dict(batch)
    first_B = batch.pop('first_B')

    def read_rows(first):
        return jax.lax.dynamic_slice_in_dim(shared.corpus_RxM, first, frames)

    mel_BxTxM = jax.vmap(read_rows)(first_B)
    is_valid_BxTx1 = jnp.arange(frames)[None, :, None] < batch['frames_B'][:, None, None]
    return {**batch, 'mel_BxTxM': jnp.where(is_valid_BxTx1, mel_BxTxM, 0)}

"""Normalisation, masks and look-up of features on the device."""

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.batching import table
from data_pipelines.features import log_mel
from jaxser import features

FRAMES = np.array([20, 9, 1], np.int32)


def batch() -> dict:
    r = np.random.default_rng(0)
    return {
        'mel_BxTxM': r.normal(size=(3, 20, 10)).astype(np.float16),
        'frames_B': FRAMES,
        'mean_BxM': r.normal(size=(3, 10)).astype(np.float32),
        'scale_BxM': r.uniform(1, 2, (3, 10)).astype(np.float32),
    }


def test_normalisation_is_affine_on_valid_frames_and_zero_beyond():
    """(x - mean) scale, in float32."""
    b = batch()
    got = features.normalise(b)['mel_BxTxM']
    expected = (b['mel_BxTxM'].astype(np.float32) - b['mean_BxM'][:, None]) * b['scale_BxM'][
        :, None
    ]
    expected *= (np.arange(20) < FRAMES[:, None])[..., None]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert got.dtype == jnp.float32


def test_masks_of_width_0_change_nothing():
    """SpecAugment can be switched off."""
    b = features.normalise(batch())
    off = {'time_mask': 0.0, 'band_mask': 0.0}
    np.testing.assert_array_equal(
        features.spec_augment(b, off, jax.random.PRNGKey(0))['mel_BxTxM'], b['mel_BxTxM']
    )


def test_masks_are_at_most_two_stripes_of_the_configured_share():
    """Of the valid frames and of the bands; the rest is untouched, and some mask is drawn."""
    b = {'mel_BxTxM': jnp.ones((3, 200, 40)), 'frames_B': jnp.array([200, 90, 10])}
    widest = 0
    for seed in range(20):
        kept = features.spec_augment(
            b, {'time_mask': 0.2, 'band_mask': 0.1}, jax.random.PRNGKey(seed)
        )['mel_BxTxM']
        assert set(np.unique(kept)) <= {0.0, 1.0}
        for row, frames in zip(np.asarray(kept), (200, 90, 10)):
            gone_T, gone_M = row.max(1) == 0, row.max(0) == 0
            assert not gone_T[frames:].any(), 'padding is not where masks are spent'
            assert gone_T.sum() <= 2 * (0.2 * frames + 1)
            assert gone_M.sum() <= 2 * (0.1 * 40 + 1)
            np.testing.assert_array_equal(row, ~gone_T[:, None] & ~gone_M[None])
            widest = max(widest, gone_T[:frames].mean())
    assert widest > 0.1


def test_features_are_read_from_the_corpus_and_zero_beyond_their_frames():
    """The rows behind an example are its neighbour's and must not be seen."""
    corpus_RxM = np.concatenate(
        [np.random.default_rng(0).normal(size=(30, 2)), np.zeros((4, 2))]
    ).astype(np.float16)
    first_B, frames_B = np.array([0, 3, 7, 29, 0], np.int32), np.array([4, 4, 2, 1, 0], np.int32)
    got = features.with_features(
        {'first_B': first_B, 'frames_B': frames_B, 'emotion_B': FRAMES},
        features.SharedArrays(corpus_RxM),
        frames=4,
    )
    assert set(got) == {'mel_BxTxM', 'frames_B', 'emotion_B'}
    assert got['mel_BxTxM'].dtype == jnp.float16
    for mel_TxM, first, frames in zip(got['mel_BxTxM'], first_B, frames_B):
        np.testing.assert_array_equal(mel_TxM[:frames], corpus_RxM[first : first + frames])
        assert (np.asarray(mel_TxM[frames:]) == 0).all()


def test_nan_in_a_neighbour_is_not_seen():
    """Not even in its product with zero."""
    corpus_RxM = np.full((10, 2), np.nan, np.float16)
    corpus_RxM[3:5] = 1
    got = features.with_features(
        {'first_B': np.array([3]), 'frames_B': np.array([2])},
        features.SharedArrays(corpus_RxM),
        frames=4,
    )
    np.testing.assert_array_equal(got['mel_BxTxM'], [[[1, 1], [1, 1], [0, 0], [0, 0]]])


def test_a_batch_with_features_is_unchanged():
    """Without a corpus on the device there is nothing to look up."""
    b = batch()
    assert features.with_features(b, features.SharedArrays(), 20) is b


def test_utterance_statistics_equal_those_of_prepare():
    """To the rounding of float32, under jit, whatever is in the padding."""
    random, frames = np.random.default_rng(0), np.int32([3000, 700, 1, 0])
    mel_BxTxM = random.normal(-12, 3, (4, 3000, 8)).astype(np.float16)
    mel_BxTxM[:, :, 0] = -23.0  # a silent band
    for b, t in enumerate(frames):
        mel_BxTxM[b, t:] = np.nan
    batch = jax.jit(features.with_utterance_statistics)(
        {'mel_BxTxM': mel_BxTxM, 'frames_B': frames}
    )
    for b, t in enumerate(frames[:3]):
        mean_M, scale_M = table.standardizer(*log_mel.compute_moments(mel_BxTxM[b, :t]))
        np.testing.assert_allclose(batch['mean_BxM'][b], mean_M, rtol=1e-7)
        np.testing.assert_allclose(batch['scale_BxM'][b], scale_M, rtol=1e-6)
        np.testing.assert_array_equal(
            batch['mel_BxTxM'][b, :t], mel_BxTxM[b, :t].astype(np.float32)
        )
    assert np.isfinite(batch['scale_BxM']).all()
    for b, t in enumerate(frames):
        assert not batch['mel_BxTxM'][b, t:].any()

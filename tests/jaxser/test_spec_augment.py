"""The masks that SpecAugment draws, over many keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser.features import frame_mask, spec_augment

B, T, M, DRAWS = 4, 60, 20, 200
FRAMES = np.array([60, 37, 20, 1], np.int32)


def ones(length: int = T) -> dict:
    """Returns a batch whose valid frames are all 1 and whose padding is 0."""
    mask_BxT = frame_mask(jnp.asarray(FRAMES), length)
    return {
        'mel_BxTxM': jnp.broadcast_to(mask_BxT[..., None], (B, length, M)),
        'frames_B': jnp.asarray(FRAMES),
    }


def shares(time: float, band: float) -> dict:
    return {'time_mask': jnp.float32(time), 'band_mask': jnp.float32(band)}


@pytest.fixture(scope='module')
def draws():
    """Returns a function: shares of frames and bands -> masked_NxBxTxM of many keys."""
    keys = jax.random.split(jax.random.PRNGKey(0), DRAWS)
    many = jax.jit(
        jax.vmap(
            lambda key, hyper: spec_augment(ones(), hyper, key)['mel_BxTxM'], in_axes=(0, None)
        )
    )
    return lambda time, band: np.asarray(many(keys, shares(time, band)))


def widths(masked_N: np.ndarray) -> list[int]:
    """Returns the widths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked_N.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_two_stripes_of_at_most_the_share_of_the_valid_frames(draws):
    """The width depends on the utterance, not on its padding."""
    kept = draws(0.3, 0.0)
    for b, frames in enumerate(FRAMES):
        found = [widths(kept[n, b, :frames, 0] == 0) for n in range(DRAWS)]
        widest = int(np.ceil(0.3 * frames))
        assert max(map(len, found)) <= 2
        assert all(max(w, default=0) <= (widest if len(w) == 2 else 2 * widest) for w in found)
    assert (kept == kept[..., :1]).all(), 'a stripe of frames spans all bands'
    masked = 1 - kept[:, 0].mean()
    assert 0.3 * 0.8 < masked < 0.3, (
        'two stripes, each of half the share on average, less what they have in common'
    )


def test_two_stripes_of_bands(draws):
    """On all valid frames."""
    kept = draws(0.0, 0.25)
    found = [widths(kept[n, 0, 0] == 0) for n in range(DRAWS)]
    assert max(map(len, found)) == 2
    assert all(max(w, default=0) <= (5 if len(w) == 2 else 10) for w in found)
    assert (kept[:, 0] == kept[:, 0, :1]).all(), 'a stripe of bands spans all frames'


def test_every_frame_and_band_is_masked_in_some_draw(draws):
    """Values are not scaled, and padding remains zero."""
    for kept_NxL in (draws(0.3, 0.0)[:, 0, :, 0], draws(0.0, 0.3)[:, 0, 0]):
        assert (kept_NxL.min(0) == 0).all()
        first, second = np.split(1 - kept_NxL.mean(0), 2)
        assert 0.4 < first.sum() / (first.sum() + second.sum()) < 0.6, (
            'the beginning is masked as often as the end'
        )
    kept = draws(0.3, 0.3)
    for b, frames in enumerate(FRAMES):
        assert (kept[:, b, frames:] == 0).all()
    assert set(np.unique(kept)) == {0, 1}


def test_the_mask_depends_only_on_the_key():
    """Neither padding nor features change it."""
    hyper = shares(0.5, 0.5)
    augment = jax.jit(lambda batch, key: spec_augment(batch, hyper, key)['mel_BxTxM'])
    one, other = jax.random.PRNGKey(1), jax.random.PRNGKey(2)
    kept = np.asarray(augment(ones(), one))
    np.testing.assert_array_equal(augment(ones(T + 7), one)[:, :T], kept)
    threes = ones() | {'mel_BxTxM': 3 * ones()['mel_BxTxM']}
    np.testing.assert_array_equal(augment(threes, one), 3 * kept)
    assert (np.asarray(augment(ones(), other)) != kept).any()
    assert (kept[0] != kept[1])[:20].any(), 'examples draw their own'

"""Tests of features moved along the gradient of a loss."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxser.methods import _perturbation

B, T, M = 4, 3, 2
BATCH = {
    'mel_BxTxM': np.float32(np.random.default_rng(0).normal(size=(B, T, M))),
    'frames_B': np.array([3, 1, 2, 3]),
}
MASK_B = np.float32([1, 1, 0, 1])


def move_features(batch=BATCH, mask_B=MASK_B, eps=0.5, slope=0.02) -> np.ndarray:
    """Returns features moved along slope z^2, z their sum, whose gradient is 2 slope z."""
    return _perturbation.ascend_losses(
        lambda mel: (mel.sum((1, 2)), {}), batch, eps, (lambda z_B: slope * z_B**2, mask_B)
    )[0]


def test_features_move_along_the_clipped_gradient():
    """By the closed form; padded frames and masked examples are not moved."""
    z_B = BATCH['mel_BxTxM'].sum((1, 2))
    shift_B = 0.5 * np.clip(2 * 0.02 * z_B, -0.1, 0.1) * MASK_B
    valid_BxT = np.arange(T) < BATCH['frames_B'][:, None]
    expected = BATCH['mel_BxTxM'] + (shift_B[:, None] * valid_BxT)[..., None]
    np.testing.assert_allclose(move_features(), expected, rtol=1e-6)
    assert np.abs(move_features(slope=100) - BATCH['mel_BxTxM']).max() <= 0.5 * 0.1 + 1e-6


def test_other_examples_do_not_change_how_far_an_example_moves():
    """Losses are not averaged over the batch."""
    for b in range(B):
        alone = move_features({k: x[b : b + 1] for k, x in BATCH.items()}, MASK_B[b : b + 1])
        np.testing.assert_allclose(alone[0], move_features()[b], rtol=1e-6)


def test_moved_features_are_constants():
    """No gradient passes through them to the features."""
    gradient = jax.grad(lambda mel: (move_features({**BATCH, 'mel_BxTxM': mel}) ** 2).sum())(
        jnp.asarray(BATCH['mel_BxTxM'])
    )
    assert (gradient == 0).all()


def test_versions_are_normalised_separately_and_the_first_updates_the_statistics():
    """Each version has its own mean, as with BatchNorm; distances equal the closed form."""

    def encode(mel):
        sum_B = mel.sum((1, 2))
        return sum_B - sum_B.mean(), {'mean': mel.mean()}

    mel = BATCH['mel_BxTxM']
    z_2xB, stats, distance_2 = _perturbation.encode_versions(encode, mel, 3 * mel + 1)
    np.testing.assert_allclose(z_2xB, np.stack([encode(mel)[0], 3 * encode(mel)[0]]), rtol=1e-4)
    np.testing.assert_allclose(stats['mean'], mel.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        distance_2, [0, np.sqrt(((2 * mel + 1) ** 2).sum((1, 2))).mean()], rtol=1e-5
    )

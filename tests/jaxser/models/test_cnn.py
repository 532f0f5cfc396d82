"""Tests that the products of the convolutional encoder are convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser.models import cnn


@pytest.mark.parametrize(('frames', 'bands'), [(8, 6), (7, 5), (1, 1), (2, 9)])
def test_patches_and_product_are_a_convolution(frames, bands):
    """They equal XLA's convolution, 3 x 3 with stride 2 and zeros beyond the edges."""
    random = np.random.default_rng(0)
    x, weight = (
        jnp.float32(random.normal(size=(2, frames, bands, 3))),
        jnp.float32(random.normal(size=(3, 3, 3, 5))),
    )
    ends = [(1, 1), (1, 1)]
    expected = jax.lax.conv_general_dilated(
        x, weight, (2, 2), ends, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    actual = cnn.extract_patches(x) @ weight.reshape(-1, 5)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-5)

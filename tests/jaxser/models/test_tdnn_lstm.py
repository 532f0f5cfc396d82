"""Tests of the TDNN's context windows, and of the LSTM's initial forget gate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxser.models import tdnn_lstm


@pytest.mark.parametrize(
    ('kernel', 'dilation', 'stride'),
    [(1, 1, 1), (3, 1, 1), (5, 1, 2), (3, 2, 1), (3, 3, 3), (2, 1, 1), (4, 2, 3)],
)
def test_splice_and_product_are_a_convolution(kernel, dilation, stride):
    """They equal XLA's convolution with padding 'same', with frames counted from the first."""
    random = np.random.default_rng(0)
    x, weight = (
        jnp.float32(random.normal(size=(2, 11, 3))),
        jnp.float32(random.normal(size=(kernel, 3, 5))),
    )
    left = (kernel - 1) * dilation // 2
    expected = jax.lax.conv_general_dilated(
        x,
        weight,
        (stride,),
        [(left, (kernel - 1) * dilation - left)],
        rhs_dilation=(dilation,),
        dimension_numbers=('NWC', 'WIO', 'NWC'),
    )
    actual = tdnn_lstm.splice(x, kernel, dilation, stride) @ weight.reshape(-1, 5)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_forget_gate_is_open_at_first():
    """Its bias is 1 and that of the other gates 0, in the order of the recurrence."""
    encoder = tdnn_lstm.make(
        ConfigDict({'tdnn': ((1, 1, 1),), 'width': 2, 'hidden': 3, 'dim': 2, 'batch_norm': 'joint'})
    )
    batch = {
        'mel_BxTxM': jnp.zeros((1, 4, 4)),
        'frames_B': jnp.full((1,), 4),
        'target_B': jnp.zeros((1,)),
    }
    params, _ = jax.eval_shape(encoder.init, jax.random.PRNGKey(0), batch)
    assert params['input']['bias'].shape == (12,)
    module = tdnn_lstm.TdnnLstm(2, 'joint', ((1, 1, 1),), 2, 3)
    np.testing.assert_array_equal(
        module._forget_bias(None, (12,)), [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    )

"""The encoder: context splicing, and that padding is nowhere seen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxser.features import normalise
from jaxser.models import tdnn_lstm

B, T, M, MORE = 3, 25, 4, 14
FRAMES = np.array([25, 13, 7], np.int32)
HYPER = {'dropout': jnp.float32(0.2)}


@pytest.mark.parametrize(
    ('kernel', 'dilation', 'stride'), [(1, 1, 1), (3, 1, 1), (5, 1, 2), (3, 2, 1), (3, 3, 3), (2, 1, 1), (4, 2, 3)]
)
def test_splice_and_product_are_a_convolution(kernel, dilation, stride):
    """XLA's own convolution with the padding 'same', frames counted from the first."""
    random = np.random.default_rng(0)
    x, weight = jnp.float32(random.normal(size=(2, 11, 3))), jnp.float32(random.normal(size=(kernel, 3, 5)))
    left = (kernel - 1) * dilation // 2
    expected = jax.lax.conv_general_dilated(
        x,
        weight,
        (stride,),
        [(left, (kernel - 1) * dilation - left)],
        rhs_dilation=(dilation,),
        dimension_numbers=('NWC', 'WIO', 'NWC'),
    )
    found = tdnn_lstm.splice(x, kernel, dilation, stride) @ weight.reshape(-1, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def some(length: int) -> dict:
    """A batch of one, of zeros."""
    return {'mel_BxTxM': jnp.zeros((1, length, M)), 'frames_B': jnp.full((1,), length)}


@pytest.fixture(scope='module', params=[1, 3], ids=['stride 1', 'stride 3'])
def encoder(request):
    """Parameters that are not those of the initialisation: BatchNorm shifts, as it does after training."""
    config = ConfigDict({'tdnn': ((3, 1, request.param), (3, 2, 1)), 'width': 5, 'hidden': 4, 'dim': 6})
    encoder = tdnn_lstm.make(config)
    params, batch_stats = encoder.init(jax.random.PRNGKey(0), some(T))
    random = np.random.default_rng(1)
    params, batch_stats = jax.tree.map(lambda x: x + jnp.float32(random.uniform(0.1, 0.5, x.shape)), (params, batch_stats))

    def summed(mel_BxTxM, train):
        """A number to differentiate; z and the new statistics."""
        batch = {
            'mel_BxTxM': mel_BxTxM,
            'frames_B': FRAMES,
            'mean_BxM': jnp.full((B, M), 0.5),
            'scale_BxM': jnp.full((B, M), 2.0),
        }
        out = encoder.apply(params, batch_stats, normalise(batch), HYPER, jax.random.PRNGKey(2), train)
        return (out[0] * jnp.arange(1.0, 7.0)[None]).sum(), out

    compiled = functools.partial(jax.jit, static_argnums=1, compiler_options={'xla_backend_optimization_level': 0})
    return params, batch_stats, compiled(summed), compiled(jax.value_and_grad(summed, has_aux=True))


def features(length: int) -> jax.Array:
    """Noise, also beyond the valid frames."""
    return jnp.float32(np.random.default_rng(3).normal(size=(B, T + MORE, M))[:, :length])


@pytest.mark.parametrize('train', [False, True], ids=['eval', 'train'])
def test_more_padding_changes_nothing(encoder, train):
    """z and the statistics that BatchNorm keeps: 1e-5; and padded frames get exactly no gradient."""
    _, before, forward, gradient = encoder
    _, (z, batch_stats) = forward(features(T), train)
    (_, (z_longer, batch_stats_longer)), g_BxTxM = gradient(features(T + MORE), train)
    np.testing.assert_allclose(z_longer, z, atol=1e-5, rtol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5, rtol=1e-5), batch_stats_longer, batch_stats)
    padding = np.arange(T + MORE) >= FRAMES[:, None]
    assert (np.asarray(g_BxTxM)[padding] == 0).all()
    assert np.abs(g_BxTxM).max() > 0
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: float(np.abs(a - b).max()), batch_stats, before))
    assert min(moved) > 0 if train else max(moved) == 0, 'the statistics move in training, and only there'


def test_no_bias_before_batch_normalisation(encoder):
    """Its gradient is 0 but for rounding, and Adam would turn the rounding into steps."""
    params = encoder[0]
    assert set(params['Dense_0']) == set(params['Dense_1']) == set(params['Dense_2']) == {'kernel'}
    assert set(params['input']) == {'kernel', 'bias'}


def test_the_forget_gate_begins_open():
    """Its bias is 1 and that of the other gates 0, in the order of the recurrence."""
    encoder = tdnn_lstm.make(ConfigDict({'tdnn': ((1, 1, 1),), 'width': 2, 'hidden': 3, 'dim': 2}))
    params, _ = jax.eval_shape(encoder.init, jax.random.PRNGKey(0), some(4))
    assert params['input']['bias'].shape == (12,)
    module = tdnn_lstm.TdnnLstm(((1, 1, 1),), 2, 3, 2)
    np.testing.assert_array_equal(module._forget_bias(None, (12,)), [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0])

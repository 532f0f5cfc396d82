"""Tests of the LSTM's backward pass, compared with automatic differentiation."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from jaxser.nn import lstm

T, B, H = 7, 3, 4


def plain(projected_TxBxG, recurrent_HxG):
    """A textbook LSTM, one frame after the other, which JAX differentiates."""
    h = c = jnp.zeros((B, H), projected_TxBxG.dtype)
    outputs = []
    for projected_BxG in projected_TxBxG:
        i, f, o, g = jnp.split(projected_BxG + h @ recurrent_HxG, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        outputs.append(h)
    return jnp.stack(outputs)


def gradients(recurrence):
    """Returns values, and gradients of a sum in which every output has its own weight."""
    weight = jnp.sin(jnp.arange(T * B * H, dtype=jnp.float32)).reshape(T, B, H)

    def weighted(projected, recurrent):
        h = recurrence(projected, recurrent)
        return (h * weight).sum(), h

    return jax.jit(
        jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True),
        compiler_options={'xla_backend_optimization_level': 0},
    )


@pytest.fixture(scope='module')
def inputs():
    random = np.random.default_rng(0)
    return jnp.float32(random.normal(size=(T, B, 4 * H))), jnp.float32(
        random.normal(size=(H, 4 * H))
    )


def test_values_and_gradients_equal_those_of_a_plain_lstm(inputs):
    """Outputs, and gradients of projections and recurrent weights, are equal to 1e-5."""
    (_, expected_h), expected = gradients(plain)(*inputs)
    (_, h), actual = gradients(lstm.recurrence)(*inputs)
    np.testing.assert_allclose(h, expected_h, atol=1e-6)
    for a, b in zip(actual, expected):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_gradients_equal_finite_differences(inputs):
    """In float64, without another LSTM to compare with."""
    with jax.enable_x64(True):
        factors = [np.asarray(x, np.float64) for x in inputs]
        jax.test_util.check_grads(jax.jit(lstm.recurrence), factors, order=1, modes=['rev'])


def test_vmapped_runs_equal_single_runs(inputs):
    """Each run of a sweep has its own weights."""
    projected, recurrent = inputs
    weights = jnp.stack([recurrent, -0.5 * recurrent])
    vmapped = jax.vmap(lstm.recurrence, in_axes=(None, 0))(projected, weights)
    for v in range(2):
        np.testing.assert_allclose(vmapped[v], lstm.recurrence(projected, weights[v]), atol=1e-6)


def test_saturated_gates_are_finite(inputs):
    """Projections of any size give outputs and gradients without NaN."""
    (_, h), actual = gradients(lstm.recurrence)(1e4 * inputs[0], inputs[1])
    assert all(np.isfinite(x).all() for x in (h, *actual))
    assert np.abs(h).max() <= 1

"""Gradient reversal: the identity forward, -lam times the gradient backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser.reversal import gradient_ratio, ramp, reverse_gradient


@pytest.mark.parametrize('lam', [0.0, 0.3, 2.0])
def test_forward_is_the_identity_and_backward_is_minus_lam_times_the_gradient(lam):
    """For f(reverse(z)) the gradient is -lam f'(z), exactly; lam gets none."""
    z = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    value, (to_z, to_lam) = jax.jit(
        jax.value_and_grad(lambda z, m: (reverse_gradient(z, m) ** 3).sum(), argnums=(0, 1))
    )(z, lam)
    assert value == (z**3).sum()
    np.testing.assert_array_equal(to_z, -jnp.float32(lam) * 3 * z**2)
    assert to_lam == 0


def test_every_run_of_a_vmap_has_its_own_lam():
    """lam is traced."""
    lam = jnp.array([0.0, 0.5, 1.0])
    to_z = jax.vmap(jax.grad(lambda z, m: reverse_gradient(z, m)), in_axes=(None, 0))(2.0, lam)
    np.testing.assert_array_equal(to_z, -lam)


def test_the_ramp_is_that_of_ganin_et_al():
    """2 / (1 + exp(-10 p)) - 1, from 0 to 1 over the training."""
    p = np.linspace(0, 1, 11)
    np.testing.assert_allclose(
        ramp(jnp.asarray(p)), 2 / (1 + np.exp(-10 * p)) - 1, rtol=1e-5, atol=1e-7
    )


def test_gradient_ratio_is_the_ratio_of_two_norms():
    """6 z over 2 z; 0 if the task has no gradient; and no gradient of its own."""
    z = jnp.array([[1.0, -2.0], [0.5, 3.0]])

    def ratio(z):
        return gradient_ratio(lambda z: 3 * (z**2).sum(), lambda z: (z**2).sum(), z)

    assert ratio(z) == pytest.approx(3.0)
    assert gradient_ratio(lambda z: z.sum(), lambda z: 0 * z.sum(), z) == 0
    np.testing.assert_array_equal(jax.grad(ratio)(z), 0 * z)

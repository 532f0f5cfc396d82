"""Tests of the product of all frames with one weight, compared with the plain product."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxser.nn import frame_product

WIDTHS = [(3, 5), (5, 3)]  # of x and of y: either may be the narrower one


def make_factors(C: int, W: int):
    random = np.random.default_rng(0)
    return (
        jnp.float32(random.normal(size=(2, 7, C))),
        jnp.float32(random.normal(size=(C, W))),
        jnp.float32(random.normal(size=(2, 7, W))),
    )


@pytest.mark.parametrize(('C', 'W'), WIDTHS)
def test_values_and_gradients_equal_those_of_the_plain_product(C, W):
    """To 1e-5, with another weight for each output."""
    x, weight, dy = make_factors(C, W)
    expected, plain_vjp = jax.vjp(jnp.matmul, x, weight)
    actual, vjp = jax.vjp(frame_product.multiply_frames, x, weight)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(vjp(dy), plain_vjp(dy)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('C', 'W'), WIDTHS)
def test_vmapped_runs_equal_single_runs(C, W):
    """Each run of a sweep has its own weight; the frames are shared."""
    x, weight, dy = make_factors(C, W)

    def gradients(weight):
        _, vjp = jax.vjp(frame_product.multiply_frames, x, weight)
        return vjp(dy)

    weights = jnp.stack([weight, -0.5 * weight])
    vmapped = jax.vmap(gradients)(weights)
    for v in range(2):
        for a, b in zip(vmapped, gradients(weights[v])):
            np.testing.assert_allclose(a[v], b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('C', 'W'), WIDTHS)
def test_the_gradient_of_a_weight_copies_no_factor(C, W):
    """The compiled program has one product, of which N is the first axis of both factors."""
    x, _, dy = make_factors(C, W)
    program = jax.jit(frame_product.weight_gradient).lower(x, dy).compile().as_text()
    products = [line for line in program.splitlines() if ' dot(' in line]
    assert len(products) == 1
    assert 'lhs_contracting_dims={0}, rhs_contracting_dims={0}' in products[0]
    assert f'f32[{min(C, W)},{max(C, W)}]' in products[0]  # the narrower factor is the first


def test_a_dense_layer_has_the_same_parameters_and_values():
    """With this product, nn.Dense reads the checkpoints of the plain one."""
    x, _, _ = make_factors(3, 5)
    plain = nn.Dense(5)
    params = plain.init(jax.random.PRNGKey(0), x)
    dense = nn.Dense(5, dot_general=frame_product.dot_general)
    np.testing.assert_allclose(dense.apply(params, x), plain.apply(params, x), rtol=1e-6)
    assert jax.tree.structure(dense.init(jax.random.PRNGKey(0), x)) == jax.tree.structure(params)

"""The product of all frames with one weight, whose gradients copy nothing.

The gradient of the weight is a sum over two axes, examples and frames. XLA's CPU back end would
first write a transposed copy of both factors. Here the two axes are joined before the product, and
the factors are read as they are stored. Such a product is faster if its first factor is the
narrower one.

Shapes: x_BxTxC and y_BxTxW, or with B and T exchanged; N = B T.
"""

import jax


def dot_general(x_BxTxC, weight_CxW, dimension_numbers, **options) -> jax.Array:
    """Returns y_BxTxW; to be given to nn.Dense as its `dot_general`."""
    del dimension_numbers, options  # nn.Dense always sums over C, in the default precision
    return multiply_frames(x_BxTxC, weight_CxW)


@jax.custom_vjp
def multiply_frames(x_BxTxC: jax.Array, weight_CxW: jax.Array) -> jax.Array:
    """Returns y_BxTxW = x_BxTxC @ weight_CxW."""
    return x_BxTxC @ weight_CxW


def _forward(x_BxTxC, weight_CxW):
    return x_BxTxC @ weight_CxW, (x_BxTxC, weight_CxW)


def _backward(factors, dy_BxTxW):
    x_BxTxC, weight_CxW = factors
    return dy_BxTxW @ weight_CxW.T, weight_gradient(x_BxTxC, dy_BxTxW)


multiply_frames.defvjp(_forward, _backward)


def weight_gradient(x_BxTxC: jax.Array, dy_BxTxW: jax.Array) -> jax.Array:
    """Returns dweight_CxW, the sum over all frames of the outer products of x and dy."""
    x_NxC = x_BxTxC.reshape(-1, x_BxTxC.shape[-1])
    dy_NxW = dy_BxTxW.reshape(-1, dy_BxTxW.shape[-1])
    if x_NxC.shape[-1] <= dy_NxW.shape[-1]:
        return x_NxC.T @ dy_NxW
    # Without the barrier XLA would exchange the factors to save the small transpose.
    return jax.lax.optimization_barrier(dy_NxW.T @ x_NxC).T

"""A long short-term memory (LSTM) whose backward pass keeps large products out of the time loop.

The input projection of all frames is one product before the loop; the gradient of the recurrent
weight is one product after the backward loop. Sigmoids are written 0.5 tanh(x / 2) + 0.5, so that
one tanh serves all four gates.

Shapes: T frames, B examples, H units, G = 4 H gates in the order input, forget, output, candidate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxser.nn import frame_product


class Gates(NamedTuple):
    """The four gates, each ...xBxH."""

    input: jax.Array
    forget: jax.Array
    output: jax.Array
    candidate: jax.Array


def _gate_scale(H: int) -> jax.Array:
    """Returns scale_G: 0.5 for the sigmoid gates, whose tanh takes half the argument, else 1."""
    return jnp.concatenate([jnp.full(3 * H, 0.5), jnp.ones(H)])


def _gates(tanh_BxG: jax.Array) -> Gates:
    """Returns the gates from the tanh of their scaled arguments."""
    i, f, o, g = jnp.split(tanh_BxG, 4, axis=-1)
    return Gates(0.5 * i + 0.5, 0.5 * f + 0.5, 0.5 * o + 0.5, g)


@jax.custom_vjp
def recurrence(projected_TxBxG: jax.Array, recurrent_HxG: jax.Array) -> jax.Array:
    """Returns h_TxBxH of an LSTM that starts at zero.

    `projected_TxBxG` are the projections of the input, bias included.
    """
    h_TxBxH, _ = _forward(projected_TxBxG, recurrent_HxG)
    return h_TxBxH


def _forward(projected_TxBxG, recurrent_HxG):
    H = recurrent_HxG.shape[0]
    scale_G = _gate_scale(H)
    recurrent_scaled_HxG = recurrent_HxG * scale_G

    def step(carry, argument_BxG):
        h_BxH, c_BxH = carry
        tanh_BxG = jnp.tanh(argument_BxG + h_BxH @ recurrent_scaled_HxG)
        i, f, o, g = _gates(tanh_BxG)
        c_BxH = f * c_BxH + i * g
        h_BxH = o * jnp.tanh(c_BxH)
        return (h_BxH, c_BxH), (h_BxH, c_BxH, tanh_BxG)

    zero_BxH = jnp.zeros((projected_TxBxG.shape[1], H), projected_TxBxG.dtype)
    _, (h_TxBxH, c_TxBxH, tanh_TxBxG) = jax.lax.scan(
        step, (zero_BxH, zero_BxH), projected_TxBxG * scale_G
    )
    return h_TxBxH, (h_TxBxH, c_TxBxH, tanh_TxBxG, recurrent_HxG)


def _backward(saved, dh_TxBxH):
    h_TxBxH, c_TxBxH, tanh_TxBxG, recurrent_HxG = saved
    zero_1xBxH = jnp.zeros_like(h_TxBxH[:1])
    i, f, o, g = _gates(tanh_TxBxG)
    tanh_c = jnp.tanh(c_TxBxH)
    previous_c = jnp.concatenate([zero_1xBxH, c_TxBxH[:-1]])
    # Derivatives: of the arguments of i, f, g with respect to the cell, of the argument of o with
    # respect to h, and of the cell with respect to h.
    by_cell = jnp.concatenate([g * i * (1 - i), previous_c * f * (1 - f), i * (1 - g * g)], -1)
    by_output = tanh_c * o * (1 - o)
    cell_by_h = o * (1 - tanh_c * tanh_c)
    recurrent_GxH = recurrent_HxG.T

    def step(carry, frame):
        dh_BxH, dc_BxH = carry
        dy_BxH, by_cell, by_output, cell_by_h, f = frame
        dh_BxH = dh_BxH + dy_BxH
        dc_BxH = dc_BxH + dh_BxH * cell_by_h
        dc_Bx3H = jnp.concatenate([dc_BxH] * 3, -1)
        di, df, dg = jnp.split(dc_Bx3H * by_cell, 3, axis=-1)
        d_argument_BxG = jnp.concatenate([di, df, dh_BxH * by_output, dg], -1)
        return (d_argument_BxG @ recurrent_GxH, dc_BxH * f), d_argument_BxG

    zero_BxH = zero_1xBxH[0]
    frames = dh_TxBxH, by_cell, by_output, cell_by_h, f
    _, d_argument_TxBxG = jax.lax.scan(step, (zero_BxH, zero_BxH), frames, reverse=True)
    previous_h = jnp.concatenate([zero_1xBxH, h_TxBxH[:-1]])
    return d_argument_TxBxG, frame_product.weight_gradient(previous_h, d_argument_TxBxG)


recurrence.defvjp(_forward, _backward)

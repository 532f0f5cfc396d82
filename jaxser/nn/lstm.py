"""A long short-term memory whose backward pass keeps the large products out of the time loop.

The input projection of all frames is one product before the loop; the recurrent weight's gradient is one product after the
backward loop. Sigmoids are written 0.5 tanh(x / 2) + 0.5, so that one tanh serves all four gates.
"""

import jax
import jax.numpy as jnp


def _gate_scale(H: int) -> jax.Array:
    """Per column of the gates (input, forget, output, candidate): sigmoid gates take half their argument."""
    return jnp.concatenate([jnp.full(3 * H, 0.5), jnp.ones(H)])


def _gates(t_BxG: jax.Array) -> tuple[jax.Array, ...]:
    i, f, o, g = jnp.split(t_BxG, 4, axis=-1)
    return 0.5 * i + 0.5, 0.5 * f + 0.5, 0.5 * o + 0.5, g


@jax.custom_vjp
def recurrence(projected_TxBxG: jax.Array, recurrent_HxG: jax.Array) -> jax.Array:
    """h_TxBxH of an LSTM from the input's projections (bias included) and the recurrent weights; G = 4H, starting at zero."""
    return _forward(projected_TxBxG, recurrent_HxG)[0]


def _forward(projected_TxBxG, recurrent_HxG):
    H = recurrent_HxG.shape[0]
    scale_G = _gate_scale(H)
    recurrent_scaled_HxG = recurrent_HxG * scale_G

    def step(carry, a_BxG):
        h_BxH, c_BxH = carry
        t_BxG = jnp.tanh(a_BxG + h_BxH @ recurrent_scaled_HxG)
        i, f, o, g = _gates(t_BxG)
        c_BxH = f * c_BxH + i * g
        h_BxH = o * jnp.tanh(c_BxH)
        return (h_BxH, c_BxH), (h_BxH, c_BxH, t_BxG)

    zero_BxH = jnp.zeros((projected_TxBxG.shape[1], H), projected_TxBxG.dtype)
    _, (h_TxBxH, c_TxBxH, t_TxBxG) = jax.lax.scan(
        step, (zero_BxH, zero_BxH), projected_TxBxG * scale_G
    )
    return h_TxBxH, (h_TxBxH, c_TxBxH, t_TxBxG, recurrent_HxG)


def _backward(saved, dh_TxBxH):
    h_TxBxH, c_TxBxH, t_TxBxG, recurrent_HxG = saved
    zero_1xBxH = jnp.zeros_like(h_TxBxH[:1])
    i, f, o, g = _gates(t_TxBxG)
    tanh_c = jnp.tanh(c_TxBxH)
    c_before = jnp.concatenate([zero_1xBxH, c_TxBxH[:-1]])
    by_cell = jnp.concatenate(
        [g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g)], -1
    )  # d(i, f, g) per d(cell)
    by_output = tanh_c * o * (1 - o)  # d(o) per d(h)
    through = o * (1 - tanh_c * tanh_c)  # d(cell) per d(h)
    recurrent_GxH = recurrent_HxG.T

    def step(carry, now):
        dh_BxH, dc_BxH = carry
        dy, by_cell, by_output, through, f = now
        dh_BxH = dh_BxH + dy
        dc_BxH = dc_BxH + dh_BxH * through
        di, df, dg = jnp.split(jnp.concatenate([dc_BxH] * 3, -1) * by_cell, 3, axis=-1)
        da_BxG = jnp.concatenate([di, df, dh_BxH * by_output, dg], -1)
        return (da_BxG @ recurrent_GxH, dc_BxH * f), da_BxG

    zero_BxH = zero_1xBxH[0]
    _, da_TxBxG = jax.lax.scan(
        step, (zero_BxH, zero_BxH), (dh_TxBxH, by_cell, by_output, through, f), reverse=True
    )
    h_before = jnp.concatenate([zero_1xBxH, h_TxBxH[:-1]])
    return da_TxBxG, jnp.einsum('tbh,tbg->hg', h_before, da_TxBxG)


recurrence.defvjp(_forward, _backward)

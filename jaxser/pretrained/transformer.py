"""Layers that the transformers of pretrained speech encoders share.

Parameters are named as in the Hugging Face checkpoints.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class ComputeOptions(NamedTuple):
    """How the layers of a transformer are computed."""

    dtype: Any = jnp.float32  # to which the factors of matrix products are rounded
    remat: bool = False  # compute each layer again in the backward pass, to save memory


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, with which the checkpoints were trained.

    It uses erfc: erf would be faster, but an exported program that runs anywhere cannot contain it.
    """
    return jax.nn.gelu(x, approximate=False)


def apply_mask(x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
    """Sets frames beyond the mask to zero."""
    return jnp.where(mask_BxT[..., None], x_BxTxD, 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def rounded_einsum(axes: str, a: jax.Array, b: jax.Array, dtype) -> jax.Array:
    """Returns einsum(axes, a, b) of factors rounded to `dtype`, summed in float32.

    Its gradients are computed in the same way, from the rounded factors. Every axis must occur in
    exactly two of the three arrays, as in 'ab,bc->ac'.
    """
    einsum = functools.partial(jnp.einsum, axes, preferred_element_type=jnp.float32)
    if dtype == jnp.float32:
        return einsum(a, b)

    def widened_einsum(a, b):
        # XLA's CPU back end lacks bfloat16 products for some shapes. In float32 the product of
        # rounded factors is the same.
        return einsum(a.astype(jnp.float32), b.astype(jnp.float32))

    return jax.lax.platform_dependent(
        a.astype(dtype), b.astype(dtype), cpu=widened_einsum, default=einsum
    )


def _einsum_forward(axes: str, a: jax.Array, b: jax.Array, dtype):
    a, b = a.astype(dtype), b.astype(dtype)
    return rounded_einsum(axes, a, b, dtype), (a, b)


def _einsum_backward(axes: str, dtype, factors, g: jax.Array):
    inputs, g_axes = axes.split('->')
    a_axes, b_axes = inputs.split(',')
    a, b = factors
    g_a = rounded_einsum(f'{g_axes},{b_axes}->{a_axes}', g, b, dtype)
    if len(b_axes) == 2 and a.shape[-1] > g.shape[-1]:
        # XLA copies the first factor of a weight's gradient: let it be the narrower one.
        g_b = rounded_einsum(f'{g_axes},{a_axes}->{b_axes[::-1]}', g, a, dtype).T
    else:
        g_b = rounded_einsum(f'{a_axes},{g_axes}->{b_axes}', a, g, dtype)
    return g_a, g_b


rounded_einsum.defvjp(_einsum_forward, _einsum_backward)


ADAPTERS = 'adapters'
"""The collection of variables with low-rank changes of kernels, named as the kernels' modules."""


class Dense(nn.Module):
    """A dense layer of x_BxTxD; its parameters are named and initialised as those of nn.Dense.

    If the collection ADAPTERS has {'a': a_DxR, 'b': b_RxF} for its kernel, the kernel is
    kernel + a b (LoRA, Hu et al. 2021, arXiv 2106.09685). The sum is never computed, so that runs
    which share a kernel can also share the product with it.
    """

    features: int
    dtype: Any = jnp.float32
    use_bias: bool = True

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        """Returns y_BxTxF."""
        shape = (x_BxTxD.shape[-1], self.features)
        kernel = self.param('kernel', nn.initializers.lecun_normal(), shape)
        y_BxTxF = rounded_einsum('btd,df->btf', x_BxTxD, kernel, self.dtype)
        if self.has_variable(ADAPTERS, 'kernel'):
            adapter = self.get_variable(ADAPTERS, 'kernel')
            narrow_BxTxR = rounded_einsum('btd,dr->btr', x_BxTxD, adapter['a'], self.dtype)
            y_BxTxF += rounded_einsum('btr,rf->btf', narrow_BxTxR, adapter['b'], self.dtype)
        if not self.use_bias:
            return y_BxTxF
        return y_BxTxF + self.param('bias', nn.initializers.zeros, (self.features,))


class Attention(nn.Module):
    """Self-attention over the frames of the mask, with its softmax in float32."""

    heads: int
    key_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        """Returns y_BxTxD."""
        return self.attend(x_BxTxD, mask_BxT, 0.0)

    def attend(self, x_BxTxD: jax.Array, mask_BxT: jax.Array, bias_BxHxTxT) -> jax.Array:
        """Returns y_BxTxD, with a bias that is added to the scores."""
        B, T, D = x_BxTxD.shape
        head_width = D // self.heads

        def split_heads(y_BxTxD):
            return y_BxTxD.reshape(B, T, self.heads, head_width)

        query = Dense(D, self.dtype, name='q_proj')(x_BxTxD)
        query_BxTxHxd = split_heads(query) * head_width**-0.5
        key_BxTxHxd = split_heads(Dense(D, self.dtype, self.key_bias, name='k_proj')(x_BxTxD))
        value_BxTxHxd = split_heads(Dense(D, self.dtype, name='v_proj')(x_BxTxD))
        score_BxHxTxT = rounded_einsum('bqhd,bkhd->bhqk', query_BxTxHxd, key_BxTxHxd, self.dtype)
        score_BxHxTxT = score_BxHxTxT + bias_BxHxTxT
        minus_infinity = jnp.finfo(jnp.float32).min
        score_BxHxTxT = jnp.where(mask_BxT[:, None, None], score_BxHxTxT, minus_infinity)
        weight_BxHxTxT = jax.nn.softmax(score_BxHxTxT)
        mixed_BxTxHxd = rounded_einsum('bhqk,bkhd->bqhd', weight_BxHxTxT, value_BxTxHxd, self.dtype)
        return Dense(D, self.dtype, name='out_proj')(mixed_BxTxHxd.reshape(B, T, D))

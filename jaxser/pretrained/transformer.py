"""What the transformers of pretrained speech encoders share; parameters are named as in their Hugging Face checkpoints."""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class ComputeOptions(NamedTuple):
    """How the layers of a transformer are computed."""

    dtype: Any = jnp.float32  # of the factors of products
    remat: bool = False  # a layer's inside is computed again on the way back rather than kept


def gelu(x: jax.Array) -> jax.Array:
    """Exact, as the checkpoints were trained with; erf would be quicker than its erfc, and is in no portable program."""
    return jax.nn.gelu(x, approximate=False)


def apply_mask(x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
    """Zero where there is no frame."""
    return jnp.where(mask_BxT[..., None], x_BxTxD, 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def rounded_einsum(axes: str, a: jax.Array, b: jax.Array, dtype) -> jax.Array:
    """einsum(axes, a, b) of factors that are rounded to `dtype`, summed in float32; so are its gradients, for which they are kept.

    Every axis belongs to two of the three arrays, as in 'ab,bc->ac'.
    """
    summed = functools.partial(jnp.einsum, axes, preferred_element_type=jnp.float32)
    if dtype == jnp.float32:
        return summed(a, b)
    # XLA has no products of bfloat16 for all shapes on a CPU; of factors that are widened again they are the same.
    widened = lambda a, b: summed(a.astype(jnp.float32), b.astype(jnp.float32))  # noqa: E731
    return jax.lax.platform_dependent(a.astype(dtype), b.astype(dtype), cpu=widened, default=summed)


def _einsum_forward(axes: str, a: jax.Array, b: jax.Array, dtype):
    a, b = a.astype(dtype), b.astype(dtype)
    return rounded_einsum(axes, a, b, dtype), (a, b)


def _einsum_backward(axes: str, dtype, residuals, g: jax.Array):
    (of_a, of_b), of_out = axes.split('->')[0].split(','), axes.split('->')[1]
    a, b = residuals
    g_a = rounded_einsum(f'{of_out},{of_b}->{of_a}', g, b, dtype)
    if (
        len(of_b) == 2 and a.shape[-1] > g.shape[-1]
    ):  # XLA copies the first factor of a weight's gradient: the narrower one
        return g_a, rounded_einsum(f'{of_out},{of_a}->{of_b[::-1]}', g, a, dtype).T
    return g_a, rounded_einsum(f'{of_a},{of_out}->{of_b}', a, g, dtype)


rounded_einsum.defvjp(_einsum_forward, _einsum_backward)


class Dense(nn.Module):
    """A dense layer of x_BxTxD, named and initialised as nn.Dense."""

    features: int
    dtype: Any = jnp.float32
    use_bias: bool = True

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        kernel = self.param(
            'kernel', nn.initializers.lecun_normal(), (x_BxTxD.shape[-1], self.features)
        )
        y_BxTxF = rounded_einsum('btd,df->btf', x_BxTxD, kernel, self.dtype)
        return (
            y_BxTxF + self.param('bias', nn.initializers.zeros, (self.features,))
            if self.use_bias
            else y_BxTxF
        )


class Attention(nn.Module):
    """Self-attention over the frames of the mask, its softmax in float32."""

    heads: int
    key_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        return self.attend(x_BxTxD, mask_BxT, 0.0)

    def attend(self, x_BxTxD: jax.Array, mask_BxT: jax.Array, bias_BxHxTxT) -> jax.Array:
        """With a bias that is added to the scores."""
        B, T, D = x_BxTxD.shape
        split = lambda y: y.reshape(B, T, self.heads, D // self.heads)  # noqa: E731
        query = split(Dense(D, self.dtype, name='q_proj')(x_BxTxD)) * (D // self.heads) ** -0.5
        key = split(Dense(D, self.dtype, self.key_bias, name='k_proj')(x_BxTxD))
        value = split(Dense(D, self.dtype, name='v_proj')(x_BxTxD))
        score_BxHxTxT = rounded_einsum('bqhd,bkhd->bhqk', query, key, self.dtype) + bias_BxHxTxT
        score_BxHxTxT = jnp.where(
            mask_BxT[:, None, None], score_BxHxTxT, jnp.finfo(jnp.float32).min
        )
        weight_BxHxTxT = jax.nn.softmax(score_BxHxTxT)
        heard_BxTxD = rounded_einsum('bhqk,bkhd->bqhd', weight_BxHxTxT, value, self.dtype).reshape(
            B, T, D
        )
        return Dense(D, self.dtype, name='out_proj')(heard_BxTxD)

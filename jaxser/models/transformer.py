"""What the transformers of pretrained speech encoders share; parameters are named as in their Hugging Face checkpoints."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def gelu(x: jax.Array) -> jax.Array:
    """Exact, as the checkpoints were trained with."""
    return jax.nn.gelu(x, approximate=False)


def masked(x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
    """Zero where there is no frame."""
    return jnp.where(mask_BxT[..., None], x_BxTxD, 0)


class Attention(nn.Module):
    """Self-attention over the frames of the mask, its softmax in float32."""

    heads: int
    key_bias: bool = True

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        return self.attend(x_BxTxD, mask_BxT, 0.0)

    def attend(self, x_BxTxD: jax.Array, mask_BxT: jax.Array, bias_BxHxTxT) -> jax.Array:
        """With a bias that is added to the scores."""
        B, T, D = x_BxTxD.shape
        split = lambda y: y.reshape(B, T, self.heads, D // self.heads)  # noqa: E731
        query = split(nn.Dense(D, name='q_proj')(x_BxTxD)) * (D // self.heads) ** -0.5
        key = split(nn.Dense(D, name='k_proj', use_bias=self.key_bias)(x_BxTxD))
        value = split(nn.Dense(D, name='v_proj')(x_BxTxD))
        score_BxHxTxT = jnp.einsum('bqhd,bkhd->bhqk', query, key, preferred_element_type=jnp.float32) + bias_BxHxTxT
        score_BxHxTxT = jnp.where(mask_BxT[:, None, None], score_BxHxTxT, jnp.finfo(jnp.float32).min)
        weight_BxHxTxT = jax.nn.softmax(score_BxHxTxT).astype(value.dtype)
        heard_BxTxD = jnp.einsum('bhqk,bkhd->bqhd', weight_BxHxTxT, value).reshape(B, T, D)
        return nn.Dense(D, name='out_proj')(heard_BxTxD)

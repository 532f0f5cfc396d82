"""The encoders wav2vec 2.0, HuBERT and WavLM, from samples of 16 kHz to the output of every layer; after their checkpoints.

Baevski et al. 2020 (arXiv 2006.11477), Hsu et al. 2021 (2106.07447), Chen et al. 2022 (2110.13900); sizes are `config.json`'s.
wav2vec 2.0 and HuBERT differ in nothing but their training. WavLM adds a gated relative position bias to the attention.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from jaxser.features import frame_mask
from jaxser.pretrained.transformer import Attention, ComputeOptions, Dense, apply_mask, gelu

MODEL_TYPES = ('wav2vec2', 'hubert', 'wavlm')  # model_type of config.json
NORMS = ('group', 'layer')  # feat_extract_norm: of the first convolution alone, or of every one
TENSOR_PREFIXES = ('wav2vec2.', 'hubert.', 'wavlm.', '')  # of the encoder's tensors in a checkpoint
CONFIG_DEFAULTS = {  # what config.json leaves out where it is so
    'hidden_size': 768,
    'num_hidden_layers': 12,
    'num_attention_heads': 12,
    'intermediate_size': 3072,
    'layer_norm_eps': 1e-5,
    'feat_extract_norm': 'group',
    'feat_proj_layer_norm': True,
    'conv_dim': (512,) * 7,
    'conv_stride': (5, 2, 2, 2, 2, 2, 2),
    'conv_kernel': (10, 3, 3, 3, 3, 2, 2),
    'conv_bias': False,
    'num_conv_pos_embeddings': 128,
    'num_conv_pos_embedding_groups': 16,
    'do_stable_layer_norm': False,
    'num_buckets': 320,
    'max_bucket_distance': 800,
}
SUPPORTED_VALUES = {  # what is understood of what config.json may say otherwise
    'hidden_act': 'gelu',
    'feat_extract_activation': 'gelu',
    'conv_pos_batch_norm': False,
    'adapter_attn_dim': None,
}


class GroupNorm(nn.Module):
    """Every channel by its own mean and variance over the frames of the mask."""

    @nn.compact
    def __call__(self, x_BxTxC: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        C = x_BxTxC.shape[-1]
        scale, bias = (
            self.param('scale', nn.initializers.ones, (C,)),
            self.param('bias', nn.initializers.zeros, (C,)),
        )
        x = x_BxTxC.astype(jnp.float32)
        count_Bx1x1 = jnp.maximum(mask_BxT.sum(1), 1)[:, None, None]
        mean_Bx1xC = apply_mask(x, mask_BxT).sum(1, keepdims=True) / count_Bx1x1
        variance_Bx1xC = (
            apply_mask((x - mean_Bx1xC) ** 2, mask_BxT).sum(1, keepdims=True) / count_Bx1x1
        )
        return ((x - mean_Bx1xC) * jax.lax.rsqrt(variance_Bx1xC + 1e-5) * scale + bias).astype(
            x_BxTxC.dtype
        )


class ConvLayer(nn.Module):
    """A convolution of the feature extractor, its norm (`group`, `layer` or none) and GELU."""

    channels: int
    kernel: int
    stride: int
    bias: bool
    norm: str

    @nn.compact
    def __call__(self, x_BxTxC: jax.Array, count_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        conv = nn.Conv(
            self.channels,
            (self.kernel,),
            self.stride,
            padding='VALID',
            use_bias=self.bias,
            name='conv',
        )
        x_BxTxC, count_B = conv(x_BxTxC), (count_B - self.kernel) // self.stride + 1
        if self.norm == 'group':
            x_BxTxC = GroupNorm(name='layer_norm')(x_BxTxC, frame_mask(count_B, x_BxTxC.shape[1]))
        elif self.norm == 'layer':
            x_BxTxC = nn.LayerNorm(1e-5, name='layer_norm')(x_BxTxC)
        return gelu(x_BxTxC), count_B


class FeatureExtractor(nn.Module):
    """Samples to frames, some 20 ms each."""

    config: Any

    @nn.compact
    def __call__(self, wave_BxL: jax.Array, samples_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        c, x_BxTxC, count_B = self.config, wave_BxL[..., None], samples_B
        for n, (channels, kernel, stride) in enumerate(
            zip(c['conv_dim'], c['conv_kernel'], c['conv_stride'])
        ):
            norm = c['feat_extract_norm'] if n == 0 or c['feat_extract_norm'] == 'layer' else ''
            layer = ConvLayer(
                channels, kernel, stride, c['conv_bias'], norm, name=f'conv_layers_{n}'
            )
            x_BxTxC, count_B = layer(x_BxTxC, count_B)
        return x_BxTxC, jnp.maximum(count_B, 0)


class FeatureProjection(nn.Module):
    """From the extractor's channels to the transformer's width."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxC: jax.Array) -> jax.Array:
        if self.config['feat_proj_layer_norm']:
            x_BxTxC = nn.LayerNorm(self.config['layer_norm_eps'], name='layer_norm')(x_BxTxC)
        return Dense(self.config['hidden_size'], self.options.dtype, name='projection')(x_BxTxC)


class PositionalConv(nn.Module):
    """What neighbours tell of the place: one wide convolution in groups. Its weight norm is folded into the kernel on reading."""

    config: Any

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        kernel, groups = (
            self.config['num_conv_pos_embeddings'],
            self.config['num_conv_pos_embedding_groups'],
        )
        # As much on both sides; of an even kernel the last output is dropped.
        sides = ((kernel // 2, kernel // 2 - (kernel % 2 == 0)),)
        conv = nn.Conv(
            x_BxTxD.shape[-1], (kernel,), padding=sides, feature_group_count=groups, name='conv'
        )
        return gelu(conv(x_BxTxD))


class FeedForward(nn.Module):
    """Two layers, the first wider."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        wide = gelu(
            Dense(self.config['intermediate_size'], self.options.dtype, name='intermediate_dense')(
                x_BxTxD
            )
        )
        return Dense(x_BxTxD.shape[-1], self.options.dtype, name='output_dense')(wide)


def relative_position_buckets(T: int, count: int, furthest: int) -> jax.Array:
    """bucket_TxT of the distance from a frame (row) to another: half of each sign, near ones singly, far ones by their log."""
    distance_TxT = jnp.arange(T)[None] - jnp.arange(T)[:, None]
    half = count // 2
    near = half // 2
    far_TxT = jnp.abs(distance_TxT)
    log_TxT = jnp.log(jnp.maximum(far_TxT, 1) / near) / math.log(furthest / near) * (half - near)
    large_TxT = jnp.minimum(near + log_TxT.astype(jnp.int32), half - 1)
    return half * (distance_TxT > 0) + jnp.where(far_TxT < near, far_TxT, large_TxT)


class GatedAttention(Attention):
    """WavLM's: a bias by distance, of which every frame and head takes as much as it asks for."""

    buckets: tuple[int, int] | None = (
        None  # of the first layer, which has the bias: how many, and the distance of the last
    )

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array, bias_HxTxT: jax.Array | None):
        (B, T, D), H = x_BxTxD.shape, self.heads
        if self.buckets:
            table = nn.Embed(self.buckets[0], H, name='rel_attn_embed')
            bias_HxTxT = table(relative_position_buckets(T, *self.buckets)).transpose(2, 0, 1)
        of_head_BxTxHxd = x_BxTxD.reshape(B, T, H, D // H)
        asked_BxTxHx8 = nn.Dense(8, name='gru_rel_pos_linear')(of_head_BxTxHxd)
        gate_BxTxHx2 = jax.nn.sigmoid(asked_BxTxHx8.reshape(B, T, H, 2, 4).sum(-1))
        constant_H = self.param('gru_rel_pos_const', nn.initializers.ones, (1, H, 1, 1))[0, :, 0, 0]
        share_BxTxH = gate_BxTxHx2[..., 0] * (gate_BxTxHx2[..., 1] * constant_H - 1.0) + 2.0
        bias_BxHxTxT = share_BxTxH.transpose(0, 2, 1)[..., None] * bias_HxTxT
        return self.attend(x_BxTxD, mask_BxT, bias_BxHxTxT), bias_HxTxT


class Layer(nn.Module):
    """A layer of the transformer, norms before (`do_stable_layer_norm`) or after."""

    config: Any
    options: ComputeOptions
    first: bool

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array, bias_HxTxT: jax.Array | None):
        c = self.config
        before = c['do_stable_layer_norm']
        norm = nn.LayerNorm(c['layer_norm_eps'], name='layer_norm')
        final = nn.LayerNorm(c['layer_norm_eps'], name='final_layer_norm')
        heard = norm(x_BxTxD) if before else x_BxTxD
        if c['model_type'] == 'wavlm':
            ours = (c['num_buckets'], c['max_bucket_distance']) if self.first else None
            attention = GatedAttention(
                c['num_attention_heads'], dtype=self.options.dtype, buckets=ours, name='attention'
            )
            heard, bias_HxTxT = attention(heard, mask_BxT, bias_HxTxT)
        else:
            heard = Attention(c['num_attention_heads'], dtype=self.options.dtype, name='attention')(
                heard, mask_BxT
            )
        x_BxTxD = x_BxTxD + heard if before else norm(x_BxTxD + heard)
        forward = FeedForward(c, self.options, name='feed_forward')
        return (
            x_BxTxD + forward(final(x_BxTxD)) if before else final(x_BxTxD + forward(x_BxTxD))
        ), bias_HxTxT


class Transformer(nn.Module):
    """The layers and what comes before them."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> list[jax.Array]:
        c = self.config
        norm = nn.LayerNorm(c['layer_norm_eps'], name='layer_norm')
        x_BxTxD = apply_mask(x_BxTxD, mask_BxT)
        x_BxTxD = x_BxTxD + PositionalConv(c, name='pos_conv_embed')(x_BxTxD)
        states, bias_HxTxT = [x_BxTxD if c['do_stable_layer_norm'] else norm(x_BxTxD)], None
        layer = nn.remat(Layer) if self.options.remat else Layer
        for n in range(c['num_hidden_layers']):
            x_BxTxD, bias_HxTxT = layer(c, self.options, n == 0, name=f'layers_{n}')(
                states[-1], mask_BxT, bias_HxTxT
            )
            states.append(x_BxTxD)
        if c['do_stable_layer_norm']:
            states[-1] = norm(states[-1])
        return [apply_mask(x, mask_BxT) for x in states]


class Wav2Vec2(nn.Module):
    """[x_BxTxD of the input and of every layer], frames_B; nothing beyond a wave's samples changes it, zero beyond its frames.

    `wave_BxL` has full scale 1; models whose preprocessor normalises (`normalised`) take each wave by its own mean and deviation.
    """

    config: Any  # config.json, as flax.core.FrozenDict
    normalises_input: bool
    options: ComputeOptions = ComputeOptions()

    @nn.compact
    def __call__(
        self, wave_BxL: jax.Array, samples_B: jax.Array
    ) -> tuple[list[jax.Array], jax.Array]:
        there_BxL = frame_mask(samples_B, wave_BxL.shape[1]) > 0
        wave_BxL = jnp.where(there_BxL, wave_BxL, 0)
        if self.normalises_input:
            count_Bx1 = jnp.maximum(samples_B, 1)[:, None]
            mean_Bx1 = wave_BxL.sum(1, keepdims=True) / count_Bx1
            variance_Bx1 = (jnp.where(there_BxL, wave_BxL - mean_Bx1, 0) ** 2).sum(
                1, keepdims=True
            ) / count_Bx1
            wave_BxL = jnp.where(
                there_BxL, (wave_BxL - mean_Bx1) * jax.lax.rsqrt(variance_Bx1 + 1e-7), 0
            )
        x_BxTxC, frames_B = FeatureExtractor(self.config, name='feature_extractor')(
            wave_BxL, samples_B
        )
        x_BxTxD = FeatureProjection(self.config, self.options, name='feature_projection')(x_BxTxC)
        mask_BxT = frame_mask(frames_B, x_BxTxD.shape[1]) > 0
        return Transformer(self.config, self.options, name='encoder')(x_BxTxD, mask_BxT), frames_B


def check_config(config: dict) -> None:
    """Refuses what is not understood of a configuration."""
    for key, value in SUPPORTED_VALUES.items():
        if config.get(key, value) != value:
            raise UserError(f'config.json has {key} {config[key]!r}; only {value!r} is understood.')
    if config['feat_extract_norm'] not in NORMS:
        raise UserError(
            f'config.json has feat_extract_norm {config["feat_extract_norm"]!r}; understood are {" and ".join(NORMS)}.'
        )

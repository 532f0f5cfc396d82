"""The encoders wav2vec 2.0, HuBERT and WavLM, from samples at 16 kHz to the states of every layer.

Baevski et al. 2020 (arXiv 2006.11477), Hsu et al. 2021 (2106.07447), Chen et al. 2022 (2110.13900);
sizes are those of `config.json`. wav2vec 2.0 and HuBERT differ only in their training. WavLM adds a
gated relative position bias to the attention.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from jaxser.features import frame_mask
from jaxser.pretrained.transformer import Attention, ComputeOptions, Dense, apply_mask, gelu
from jaxser.schemas import Number

MODEL_TYPES = ('wav2vec2', 'hubert', 'wavlm')  # model_type of config.json
NORMS = ('group', 'layer')  # feat_extract_norm: on the first convolution, or on every one
TENSOR_PREFIXES = ('wav2vec2.', 'hubert.', 'wavlm.', '')  # of its tensors in a checkpoint
CONFIG_DEFAULTS = {  # of the keys that config.json may lack
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
MAX_LAYERS = 96  # twice as many as the largest known encoder
MAX_CONVOLUTIONS = 16
WIDTH = Number(low=1, high=2**14, is_whole=True)
CONFIG_SCHEMA = {  # the largest sizes are several times those of the largest known encoders
    'hidden_size': WIDTH,
    'num_hidden_layers': Number(low=1, high=MAX_LAYERS, is_whole=True),
    'num_attention_heads': Number(low=1, high=1024, is_whole=True),
    'intermediate_size': Number(low=1, high=2**16, is_whole=True),
    'layer_norm_eps': Number(low=0, high=1),
    'feat_extract_norm': str,
    'feat_proj_layer_norm': bool,
    'conv_dim': [WIDTH],
    'conv_stride': [Number(low=1, high=1024, is_whole=True)],
    'conv_kernel': [Number(low=1, high=1024, is_whole=True)],
    'conv_bias': bool,
    'num_conv_pos_embeddings': Number(low=1, high=2**12, is_whole=True),
    'num_conv_pos_embedding_groups': WIDTH,
    'do_stable_layer_norm': bool,
    'num_buckets': Number(low=4, high=2**16, is_whole=True),
    'max_bucket_distance': Number(low=2, high=2**20, is_whole=True),
}
SUPPORTED_VALUES = {  # keys of config.json for which one value is supported
    'hidden_act': 'gelu',
    'feat_extract_activation': 'gelu',
    'conv_pos_batch_norm': False,
    'adapter_attn_dim': None,
}


class GroupNorm(nn.Module):
    """Normalises each channel by its own mean and variance over the frames of the mask."""

    @nn.compact
    def __call__(self, x_BxTxC: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        """Returns y_BxTxC in the type of x."""
        C = x_BxTxC.shape[-1]
        scale_C = self.param('scale', nn.initializers.ones, (C,))
        bias_C = self.param('bias', nn.initializers.zeros, (C,))
        x = x_BxTxC.astype(jnp.float32)
        count_Bx1x1 = jnp.maximum(mask_BxT.sum(1), 1)[:, None, None]
        mean_Bx1xC = apply_mask(x, mask_BxT).sum(1, keepdims=True) / count_Bx1x1
        square_BxTxC = apply_mask((x - mean_Bx1xC) ** 2, mask_BxT)
        variance_Bx1xC = square_BxTxC.sum(1, keepdims=True) / count_Bx1x1
        y = (x - mean_Bx1xC) * jax.lax.rsqrt(variance_Bx1xC + 1e-5) * scale_C + bias_C
        return y.astype(x_BxTxC.dtype)


class ConvLayer(nn.Module):
    """A convolution of the feature extractor, its norm (`group`, `layer` or none) and GELU."""

    channels: int
    kernel: int
    stride: int
    bias: bool
    norm: str

    @nn.compact
    def __call__(self, x_BxTxC: jax.Array, count_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns y_BxUxC and the number of its valid frames, from those of x."""
        conv = nn.Conv(
            self.channels,
            (self.kernel,),
            self.stride,
            padding='VALID',
            use_bias=self.bias,
            name='conv',
        )
        x_BxTxC = conv(x_BxTxC)
        count_B = (count_B - self.kernel) // self.stride + 1
        if self.norm == 'group':
            mask_BxT = frame_mask(count_B, x_BxTxC.shape[1])
            x_BxTxC = GroupNorm(name='layer_norm')(x_BxTxC, mask_BxT)
        elif self.norm == 'layer':
            x_BxTxC = nn.LayerNorm(1e-5, name='layer_norm')(x_BxTxC)
        return gelu(x_BxTxC), count_B


class FeatureExtractor(nn.Module):
    """Convolutions from samples to frames of about 20 ms."""

    config: Any

    @nn.compact
    def __call__(self, wave_BxL: jax.Array, samples_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns x_BxTxC and the number of valid frames."""
        config = self.config
        x_BxTxC = wave_BxL[..., None]
        count_B = samples_B
        layers = zip(config['conv_dim'], config['conv_kernel'], config['conv_stride'])
        for n, (channels, kernel, stride) in enumerate(layers):
            norm = config['feat_extract_norm']
            if norm == 'group' and n > 0:
                norm = ''
            layer = ConvLayer(
                channels, kernel, stride, config['conv_bias'], norm, name=f'conv_layers_{n}'
            )
            x_BxTxC, count_B = layer(x_BxTxC, count_B)
        return x_BxTxC, jnp.maximum(count_B, 0)


class FeatureProjection(nn.Module):
    """Projects the extractor's channels to the transformer's width."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxC: jax.Array) -> jax.Array:
        """Returns x_BxTxD."""
        if self.config['feat_proj_layer_norm']:
            x_BxTxC = nn.LayerNorm(self.config['layer_norm_eps'], name='layer_norm')(x_BxTxC)
        return Dense(self.config['hidden_size'], self.options.dtype, name='projection')(x_BxTxC)


class PositionalConv(nn.Module):
    """Encodes positions by one wide grouped convolution over neighbouring frames.

    Its weight norm is folded into the kernel when the checkpoint is read.
    """

    config: Any

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        """Returns y_BxTxD."""
        kernel = self.config['num_conv_pos_embeddings']
        groups = self.config['num_conv_pos_embedding_groups']
        # Equal padding on both sides; of an even kernel the last output is dropped.
        left = kernel // 2
        right = left - 1 if kernel % 2 == 0 else left
        conv = nn.Conv(
            x_BxTxD.shape[-1],
            (kernel,),
            padding=((left, right),),
            feature_group_count=groups,
            name='conv',
        )
        return gelu(conv(x_BxTxD))


class FeedForward(nn.Module):
    """Two dense layers, the first one wider."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        """Returns y_BxTxD."""
        width, dtype = self.config['intermediate_size'], self.options.dtype
        wide = gelu(Dense(width, dtype, name='intermediate_dense')(x_BxTxD))
        return Dense(x_BxTxD.shape[-1], dtype, name='output_dense')(wide)


def relative_position_buckets(T: int, count: int, max_distance: int) -> jax.Array:
    """Returns bucket_TxT of the distance from a frame (row) to another (column).

    Half of the `count` buckets are for each sign. A short distance has its own bucket; long ones
    share buckets by their logarithm.
    """
    distance_TxT = jnp.arange(T)[None] - jnp.arange(T)[:, None]
    half = count // 2
    exact = half // 2
    absolute_TxT = jnp.abs(distance_TxT)
    ratio_TxT = jnp.log(jnp.maximum(absolute_TxT, 1) / exact) / math.log(max_distance / exact)
    log_TxT = ratio_TxT * (half - exact)
    large_TxT = jnp.minimum(exact + log_TxT.astype(jnp.int32), half - 1)
    bucket_TxT = jnp.where(absolute_TxT < exact, absolute_TxT, large_TxT)
    return half * (distance_TxT > 0) + bucket_TxT


class GatedAttention(Attention):
    """WavLM's attention: a bias by distance, times a gate of each frame and head.

    Attributes:
        buckets: number of buckets and largest distance. Only the first layer has them: all layers
            share its bias.
    """

    buckets: tuple[int, int] | None = None

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array, bias_HxTxT: jax.Array | None):
        """Returns y_BxTxD and the ungated bias_HxTxT."""
        B, T, D = x_BxTxD.shape
        H = self.heads
        if self.buckets:
            table = nn.Embed(self.buckets[0], H, name='rel_attn_embed')
            bias_HxTxT = table(relative_position_buckets(T, *self.buckets)).transpose(2, 0, 1)
        heads_BxTxHxd = x_BxTxD.reshape(B, T, H, D // H)
        logits_BxTxHx8 = nn.Dense(8, name='gru_rel_pos_linear')(heads_BxTxHxd)
        gate_BxTxHx2 = jax.nn.sigmoid(logits_BxTxHx8.reshape(B, T, H, 2, 4).sum(-1))
        constant = self.param('gru_rel_pos_const', nn.initializers.ones, (1, H, 1, 1))
        constant_H = constant[0, :, 0, 0]
        gate_BxTxH = gate_BxTxHx2[..., 0] * (gate_BxTxHx2[..., 1] * constant_H - 1.0) + 2.0
        bias_BxHxTxT = gate_BxTxH.transpose(0, 2, 1)[..., None] * bias_HxTxT
        return self.attend(x_BxTxD, mask_BxT, bias_BxHxTxT), bias_HxTxT


class Layer(nn.Module):
    """A layer of the transformer, with norms before or after its parts."""

    config: Any
    options: ComputeOptions
    first: bool

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array, bias_HxTxT: jax.Array | None):
        """Returns y_BxTxD and WavLM's bias_HxTxT."""
        epsilon = self.config['layer_norm_eps']
        norm = nn.LayerNorm(epsilon, name='layer_norm')
        final_norm = nn.LayerNorm(epsilon, name='final_layer_norm')
        feed_forward = FeedForward(self.config, self.options, name='feed_forward')
        if self.config['do_stable_layer_norm']:
            y_BxTxD, bias_HxTxT = self._attend(norm(x_BxTxD), mask_BxT, bias_HxTxT)
            x_BxTxD = x_BxTxD + y_BxTxD
            return x_BxTxD + feed_forward(final_norm(x_BxTxD)), bias_HxTxT
        y_BxTxD, bias_HxTxT = self._attend(x_BxTxD, mask_BxT, bias_HxTxT)
        x_BxTxD = norm(x_BxTxD + y_BxTxD)
        return final_norm(x_BxTxD + feed_forward(x_BxTxD)), bias_HxTxT

    def _attend(self, x_BxTxD, mask_BxT, bias_HxTxT):
        heads, dtype = self.config['num_attention_heads'], self.options.dtype
        if self.config['model_type'] != 'wavlm':
            attention = Attention(heads, dtype=dtype, name='attention')
            return attention(x_BxTxD, mask_BxT), bias_HxTxT
        buckets = None
        if self.first:
            buckets = (self.config['num_buckets'], self.config['max_bucket_distance'])
        attention = GatedAttention(heads, dtype=dtype, buckets=buckets, name='attention')
        return attention(x_BxTxD, mask_BxT, bias_HxTxT)


class Transformer(nn.Module):
    """The layers, after the encoding of positions."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> list[jax.Array]:
        """Returns the states of the input and of each layer, zero beyond the mask."""
        norm = nn.LayerNorm(self.config['layer_norm_eps'], name='layer_norm')
        norm_is_last = self.config['do_stable_layer_norm']
        x_BxTxD = apply_mask(x_BxTxD, mask_BxT)
        x_BxTxD = x_BxTxD + PositionalConv(self.config, name='pos_conv_embed')(x_BxTxD)
        if not norm_is_last:
            x_BxTxD = norm(x_BxTxD)
        states = [x_BxTxD]
        bias_HxTxT = None
        make_layer = nn.remat(Layer) if self.options.remat else Layer
        for n in range(self.config['num_hidden_layers']):
            layer = make_layer(self.config, self.options, n == 0, name=f'layers_{n}')
            x_BxTxD, bias_HxTxT = layer(x_BxTxD, mask_BxT, bias_HxTxT)
            states.append(x_BxTxD)
        if norm_is_last:
            states[-1] = norm(states[-1])
        return [apply_mask(state_BxTxD, mask_BxT) for state_BxTxD in states]


class Wav2Vec2(nn.Module):
    """Maps samples to [x_BxTxD of the input and of every layer], frames_B.

    Samples beyond the end of a wave do not change its states, which are zero beyond its frames.

    Attributes:
        config: config.json, as flax.core.FrozenDict.
        normalises_input: whether each wave is normalised by its own mean and standard deviation,
            as the preprocessors of some models do.
        options: how the layers are computed.
    """

    config: Any
    normalises_input: bool
    options: ComputeOptions = ComputeOptions()

    @nn.compact
    def __call__(
        self, wave_BxL: jax.Array, samples_B: jax.Array
    ) -> tuple[list[jax.Array], jax.Array]:
        """Returns states and frames_B; `wave_BxL` has full scale 1."""
        is_valid_BxL = frame_mask(samples_B, wave_BxL.shape[1]) > 0
        wave_BxL = jnp.where(is_valid_BxL, wave_BxL, 0)
        if self.normalises_input:
            wave_BxL = normalise_waves(wave_BxL, is_valid_BxL, samples_B)
        extractor = FeatureExtractor(self.config, name='feature_extractor')
        x_BxTxC, frames_B = extractor(wave_BxL, samples_B)
        x_BxTxD = FeatureProjection(self.config, self.options, name='feature_projection')(x_BxTxC)
        mask_BxT = frame_mask(frames_B, x_BxTxD.shape[1]) > 0
        transformer = Transformer(self.config, self.options, name='encoder')
        return transformer(x_BxTxD, mask_BxT), frames_B


def normalise_waves(wave_BxL: jax.Array, is_valid_BxL: jax.Array, samples_B: jax.Array):
    """Returns each wave, which is zero beyond its end, with mean 0 and standard deviation 1."""
    count_Bx1 = jnp.maximum(samples_B, 1)[:, None]
    mean_Bx1 = wave_BxL.sum(1, keepdims=True) / count_Bx1
    square_BxL = jnp.where(is_valid_BxL, wave_BxL - mean_Bx1, 0) ** 2
    variance_Bx1 = square_BxL.sum(1, keepdims=True) / count_Bx1
    normalised_BxL = (wave_BxL - mean_Bx1) * jax.lax.rsqrt(variance_Bx1 + 1e-7)
    return jnp.where(is_valid_BxL, normalised_BxL, 0)


def check_config(config: dict) -> None:
    """Raises UserError if a value of config.json is not supported."""
    for key, value in SUPPORTED_VALUES.items():
        if config.get(key, value) != value:
            raise UserError(f'config.json has {key} {config[key]!r}; only {value!r} is supported.')
    norm = config['feat_extract_norm']
    if norm not in NORMS:
        raise UserError(
            f'config.json has feat_extract_norm {norm!r}; supported are {" and ".join(NORMS)}.'
        )
    lengths = [len(config[key]) for key in ('conv_dim', 'conv_stride', 'conv_kernel')]
    if len(set(lengths)) > 1 or not 1 <= lengths[0] <= MAX_CONVOLUTIONS:
        raise UserError(
            'config.json has conv_dim, conv_stride and conv_kernel of '
            f'{", ".join(map(str, lengths))} convolutions; expected the same number, from 1 to '
            f'{MAX_CONVOLUTIONS}.'
        )
    if config['max_bucket_distance'] <= config['num_buckets'] // 4:  # log of 1 or less
        raise UserError(
            f'config.json has max_bucket_distance {config["max_bucket_distance"]}; expected more '
            f'than a quarter of num_buckets, {config["num_buckets"]}.'
        )

"""The encoder of Whisper (Radford et al. 2022, arXiv 2212.04356), from log-mel to the output of every layer."""

from typing import Any

import flax.linen as nn
import jax

from data_pipelines.errors import UserError
from jaxser.features import frame_mask
from jaxser.pretrained.transformer import Attention, ComputeOptions, Dense, apply_mask, gelu

MODEL_TYPES = ('whisper',)  # model_type of config.json

TENSOR_PREFIXES = ('model.encoder.', 'encoder.', '')  # of the encoder's tensors in a checkpoint

CONFIG_DEFAULTS = {  # what config.json leaves out where it is so
    'd_model': 384,
    'encoder_layers': 4,
    'encoder_attention_heads': 6,
    'encoder_ffn_dim': 1536,
    'num_mel_bins': 80,
    'max_source_positions': 1500,
}


class Layer(nn.Module):
    """A layer of the transformer, norms first; keys have no bias."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        kind = self.options.dtype
        norm = nn.LayerNorm(1e-5, name='self_attn_layer_norm')(x_BxTxD)
        attention = Attention(
            self.config['encoder_attention_heads'], key_bias=False, dtype=kind, name='self_attn'
        )
        x_BxTxD += attention(norm, mask_BxT)
        norm = nn.LayerNorm(1e-5, name='final_layer_norm')(x_BxTxD)
        wide = gelu(Dense(self.config['encoder_ffn_dim'], kind, name='fc1')(norm))
        return x_BxTxD + Dense(x_BxTxD.shape[-1], kind, name='fc2')(wide)


class Whisper(nn.Module):
    """[x_BxTxD of the input and of every layer, the last one after the final norm], frames_B; zero beyond them.

    `mel_BxTxM` is Whisper's log-mel, `frames_B` its frames; two of them make one of the output. In training every input was
    filled up with silence to 30 s, here none is: the first positions serve it, and nothing beyond its frames changes it.
    """

    config: Any  # config.json, as flax.core.FrozenDict
    options: ComputeOptions = ComputeOptions()

    @nn.compact
    def __call__(
        self, mel_BxTxM: jax.Array, frames_B: jax.Array
    ) -> tuple[list[jax.Array], jax.Array]:
        D, mask_BxT = self.config['d_model'], frame_mask(frames_B, mel_BxTxM.shape[1]) > 0
        one, two = (
            nn.Conv(D, (3,), stride, padding=1, name=f'conv{n}') for n, stride in ((1, 1), (2, 2))
        )
        x_BxTxD = gelu(two(apply_mask(gelu(one(apply_mask(mel_BxTxM, mask_BxT))), mask_BxT)))
        frames_B, T = -(-frames_B // 2), x_BxTxD.shape[1]
        place_PxD = nn.Embed(
            self.config['max_source_positions'], D, name='embed_positions'
        ).embedding
        if len(place_PxD) < T:
            raise UserError(
                f'{T} frames of 20 ms; this Whisper hears {len(place_PxD)} of them at most.'
            )
        mask_BxT = frame_mask(frames_B, T) > 0
        states = [x_BxTxD + place_PxD[:T]]
        layer = nn.remat(Layer) if self.options.remat else Layer
        for n in range(self.config['encoder_layers']):
            states.append(
                layer(self.config, self.options, name=f'layers_{n}')(states[-1], mask_BxT)
            )
        states[-1] = nn.LayerNorm(1e-5, name='layer_norm')(states[-1])
        return [apply_mask(x, mask_BxT) for x in states], frames_B


def check_config(config: dict) -> None:
    """Refuses what is not understood of a configuration."""
    if config.get('activation_function', 'gelu') != 'gelu':
        raise UserError(
            f'config.json has activation_function {config["activation_function"]!r}; only gelu is understood.'
        )
    if config.get('scale_embedding'):
        raise UserError('config.json has scale_embedding true; only false is understood.')

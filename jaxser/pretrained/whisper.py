"""The encoder of Whisper (Radford et al. 2022, arXiv 2212.04356), from log-mel to all states."""

from typing import Any

import flax.linen as nn
import jax

from data_pipelines.errors import UserError
from jaxser.features import frame_mask
from jaxser.pretrained.transformer import Attention, ComputeOptions, Dense, apply_mask, gelu
from jaxser.schemas import Number

MODEL_TYPES = ('whisper',)  # model_type of config.json

TENSOR_PREFIXES = ('model.encoder.', 'encoder.', '')  # of its tensors in a checkpoint

CONFIG_DEFAULTS = {  # of the keys that config.json may lack
    'd_model': 384,
    'encoder_layers': 4,
    'encoder_attention_heads': 6,
    'encoder_ffn_dim': 1536,
    'num_mel_bins': 80,
    'max_source_positions': 1500,
}
CONFIG_SCHEMA = {  # the largest sizes are several times those of the largest known encoder
    'd_model': Number(low=1, high=2**14, is_whole=True),
    'encoder_layers': Number(low=1, high=96, is_whole=True),
    'encoder_attention_heads': Number(low=1, high=1024, is_whole=True),
    'encoder_ffn_dim': Number(low=1, high=2**16, is_whole=True),
    'num_mel_bins': Number(low=1, high=1024, is_whole=True),
    'max_source_positions': Number(low=1, high=2**17, is_whole=True),
}


class Layer(nn.Module):
    """A layer of the transformer, with norms before its parts; keys have no bias."""

    config: Any
    options: ComputeOptions

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, mask_BxT: jax.Array) -> jax.Array:
        """Returns y_BxTxD."""
        dtype = self.options.dtype
        norm = nn.LayerNorm(1e-5, name='self_attn_layer_norm')
        attention = Attention(
            self.config['encoder_attention_heads'], key_bias=False, dtype=dtype, name='self_attn'
        )
        x_BxTxD = x_BxTxD + attention(norm(x_BxTxD), mask_BxT)
        final_norm = nn.LayerNorm(1e-5, name='final_layer_norm')
        wide = gelu(Dense(self.config['encoder_ffn_dim'], dtype, name='fc1')(final_norm(x_BxTxD)))
        return x_BxTxD + Dense(x_BxTxD.shape[-1], dtype, name='fc2')(wide)


class Whisper(nn.Module):
    """Maps log-mel to [x_BxTxD of the input and of every layer], frames_B; zero beyond them.

    The state of the last layer is the one after the final norm. In Whisper's training every input
    was padded with silence to 30 s. Here it is not: an input of T frames gets the first positions,
    and nothing beyond its frames changes its states.

    Attributes:
        config: config.json, as flax.core.FrozenDict.
        options: how the layers are computed.
    """

    config: Any
    options: ComputeOptions = ComputeOptions()

    @nn.compact
    def __call__(
        self, mel_BxTxM: jax.Array, frames_B: jax.Array
    ) -> tuple[list[jax.Array], jax.Array]:
        """Returns states and frames_B, from Whisper's log-mel and its number of frames.

        Two frames of the input make one of the states.
        """
        D = self.config['d_model']
        conv1 = nn.Conv(D, (3,), 1, padding=1, name='conv1')
        conv2 = nn.Conv(D, (3,), 2, padding=1, name='conv2')
        mask_BxT = frame_mask(frames_B, mel_BxTxM.shape[1]) > 0
        x_BxTxD = gelu(conv1(apply_mask(mel_BxTxM, mask_BxT)))
        x_BxTxD = gelu(conv2(apply_mask(x_BxTxD, mask_BxT)))
        frames_B = -(-frames_B // 2)
        T = x_BxTxD.shape[1]
        positions = nn.Embed(self.config['max_source_positions'], D, name='embed_positions')
        position_PxD = positions.embedding
        if len(position_PxD) < T:
            raise UserError(
                f'{T} frames of 20 ms; expected {len(position_PxD)} or fewer for this Whisper.'
            )
        mask_BxT = frame_mask(frames_B, T) > 0
        states = [x_BxTxD + position_PxD[:T]]
        make_layer = nn.remat(Layer) if self.options.remat else Layer
        for n in range(self.config['encoder_layers']):
            layer = make_layer(self.config, self.options, name=f'layers_{n}')
            states.append(layer(states[-1], mask_BxT))
        states[-1] = nn.LayerNorm(1e-5, name='layer_norm')(states[-1])
        return [apply_mask(state_BxTxD, mask_BxT) for state_BxTxD in states], frames_B


def check_config(config: dict) -> None:
    """Raises UserError if a value of config.json is not supported."""
    activation = config.get('activation_function', 'gelu')
    if activation != 'gelu':
        raise UserError(
            f'config.json has activation_function {activation!r}; only gelu is supported.'
        )
    if config.get('scale_embedding'):
        raise UserError('config.json has scale_embedding true; only false is supported.')

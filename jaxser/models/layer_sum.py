"""A learned weighted sum of a frozen upstream's layers, after SUPERB (Yang et al. 2021, arXiv 2105.01051).

SUPERB's: the softmax over layers, and mean pooling over time before one dense layer. Ours: the deviation beside the mean, each
layer normalised as config.data.normalise says, and a dense layer for each, so that layers of unlike coordinates can be summed.
"""

import flax.linen as nn
import jax

from data_pipelines.errors import UserError
from data_pipelines.features.upstream import EncoderStates
from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.nn import pooling
from jaxser.nn.batch_norm import batch_norm_mode
from jaxser.nn.encoder import LogMelEncoder, check_sizes, make_encoder

KEYS = ('dim', 'batch_norm')  # of config.model


LOGIT_SCALE = 10.0  # of the weights' logits, which else would hardly move in a few hundred steps


def weighted_layers(module: nn.Module, x_BxLxC: jax.Array) -> jax.Array:
    """x_BxLC whose layers weigh what the parameter `layers` of the module says; each 1, i.e. as large as before, at first."""
    B, L, _ = x_BxLxC.shape
    weight_L = jax.nn.softmax(LOGIT_SCALE * module.param('layers', nn.initializers.zeros, (L,)))
    return (L * weight_L[:, None] * x_BxLxC).reshape(B, -1)


class LayerSum(LogMelEncoder):
    """z_BxD of an upstream's states, pooled in preparation or here: sum_l softmax(w)_l W_l [mean, deviation of layer l]."""

    states: EncoderStates

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool):
        B, T, _ = mel_BxTxM.shape
        mask_BxT = frame_mask(frames_B, T)
        L = self.states.layers
        if self.states.is_pooled:
            x_BxLxC = (mel_BxTxM[:, 0] * mask_BxT[:, :1]).reshape(B, L, -1)
        else:
            x_Bx2xLxD = pooling.statistics_pooling(mel_BxTxM, mask_BxT).reshape(B, 2, L, -1)
            x_BxLxC = x_Bx2xLxD.swapaxes(1, 2).reshape(B, L, -1)
        return self.project(
            weighted_layers(self, x_BxLxC), mask_BxT[:, 0], target_B, dropout, train
        )


def make(config) -> Encoder:
    """The encoder of `config.model`."""
    check_sizes(config, 'dim')
    if not config.states:
        raise UserError(
            'config.model.name=layer_sum sums the layers of an upstream: name it in config.data.upstream.'
        )
    return make_encoder(
        LayerSum(config.dim, batch_norm_mode(config), EncoderStates.from_name(config.states))
    )

"""A learned weighted sum of the layers of a frozen pretrained encoder.

After SUPERB (Yang et al. 2021, arXiv 2105.01051). From SUPERB: the softmax over layers, and mean
pooling over time before one dense layer. Ours: the standard deviation in addition to the mean, each
layer normalised as `config.data.normalise` says, and a dense layer for each, so that layers whose
coordinates differ in meaning can be summed.
"""

import flax.linen as nn
import jax

from data_pipelines.errors import UserError
from data_pipelines.features.upstream import EncoderStates
from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.nn import pooling
from jaxser.nn.batch_norm import batch_norm_mode
from jaxser.nn.encoder import EncoderModule, check_sizes, make_encoder

KEYS = ('dim', 'batch_norm')  # of config.model

LOGIT_SCALE = 10.0  # without it, the logits hardly change in a few hundred steps


def weighted_layers(module: nn.Module, x_BxLxC: jax.Array) -> jax.Array:
    """Returns x_BxLC, each layer times its learned weight, side by side.

    The logits are the parameter `layers` of the module. At first each layer's weight is 1.
    """
    B, L, _ = x_BxLxC.shape
    weight_L = jax.nn.softmax(LOGIT_SCALE * module.param('layers', nn.initializers.zeros, (L,)))
    return (L * weight_L[:, None] * x_BxLxC).reshape(B, -1)


class LayerSum(EncoderModule):
    """z_BxD of an encoder's states: sum_l softmax(w)_l W_l [mean, standard deviation of layer l].

    The states were pooled over time in preparation, or are pooled here.
    """

    states: EncoderStates

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool):
        """Returns z_BxD."""
        B, T, _ = mel_BxTxM.shape
        L = self.states.layers
        mask_BxT = frame_mask(frames_B, T)
        if self.states.is_pooled:
            x_BxLxC = (mel_BxTxM[:, 0] * mask_BxT[:, :1]).reshape(B, L, -1)
        else:
            x_Bx2xLxD = pooling.statistics_pooling(mel_BxTxM, mask_BxT).reshape(B, 2, L, -1)
            x_BxLxC = x_Bx2xLxD.swapaxes(1, 2).reshape(B, L, -1)
        weighted_BxLC = weighted_layers(self, x_BxLxC)
        return self.project(weighted_BxLC, mask_BxT[:, 0], target_B, dropout, train)


def make(config) -> Encoder:
    """Returns the encoder of `config.model`."""
    check_sizes(config, 'dim')
    if not config.states:
        raise UserError(
            'config.model.name=layer_sum needs features of a pretrained encoder: '
            'name them in config.data.upstream.'
        )
    states = EncoderStates.from_name(config.states)
    return make_encoder(LayerSum(config.dim, batch_norm_mode(config), states))

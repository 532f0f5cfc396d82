"""A learned weighted sum of a frozen upstream's layers, after SUPERB (Yang et al. 2021, arXiv 2105.01051), then one dense layer.

SUPERB's: the softmax over layers, and mean pooling over time. Ours: the deviation beside the mean, and each layer normalised as
config.data.normalise says.
"""

import flax.linen as nn
import jax

from data_pipelines.refusal import Refusal
from data_pipelines.upstream import States
from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.models import pooling
from jaxser.models.batch_norm import arm
from jaxser.models.encoder import LogMelEncoder, check, pure

KEYS = ('dim', 'batch_norm')  # of config.model


class LayerSum(LogMelEncoder):
    """z_BxD of an upstream's states; of pooled ones mean and deviation are summed, of all ones the states before pooling."""

    states: States

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool):
        B, T, _ = mel_BxTxM.shape
        mask_BxT = frame_mask(frames_B, T)
        weight_L = jax.nn.softmax(10 * self.param('layers', nn.initializers.zeros, (self.states.layers,)))
        x_BxTxLxC = (mel_BxTxM * mask_BxT[..., None]).reshape(B, T, self.states.layers, -1)
        x_BxTxC = (x_BxTxLxC * weight_L[:, None]).sum(2)
        x_BxC = x_BxTxC[:, 0] if self.states.pooled else pooling.statistics(x_BxTxC, mask_BxT)
        return self.project(x_BxC, mask_BxT[:, 0], target_B, dropout, train)


def make(config) -> Encoder:
    """The encoder of `config.model`."""
    check(config, 'dim')
    if not config.states:
        raise Refusal('config.model.name=layer_sum sums the layers of an upstream: name it in config.data.upstream.')
    return pure(LayerSum(config.dim, arm(config), States.named(config.states)))

"""TDNN, LSTM and statistics pooling, after Tu et al. 2019 (arXiv 1903.09606).

The widths are our defaults.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.nn import frame_product, lstm
from jaxser.nn.batch_norm import BatchNorm, batch_norm_mode
from jaxser.nn.encoder import EncoderModule, check_sizes, make_encoder

KEYS = ('tdnn', 'width', 'hidden', 'dim', 'batch_norm')  # of config.model


def splice(x_BxTxC: jax.Array, kernel: int, dilation: int, stride: int) -> jax.Array:
    """Returns spliced_BxUxKC: every `stride`-th frame side by side with its K - 1 neighbours.

    With these frames, a TDNN layer is one product. A convolution would do the same more slowly:
    under vmap it becomes a grouped convolution, and inside a compiled loop XLA's CPU back end runs
    convolutions many times slower. Beyond both ends there are zeros, whatever the padding of the
    batch.
    """
    length = x_BxTxC.shape[1]
    context = (kernel - 1) * dilation
    left = context // 2
    padded = jnp.pad(x_BxTxC, ((0, 0), (left, context - left), (0, 0)))
    taps = []
    for k in range(kernel):
        start = k * dilation
        taps.append(padded[:, start : start + length : stride])
    return jnp.concatenate(taps, -1)


class TdnnLstm(EncoderModule):
    """z_BxD of log-mel features. Frames beyond `frames_B` do not change it.

    Attributes:
        tdnn: (kernel, dilation, stride) of each layer, in frames of that layer's input. A stride
            subsamples the frames.
        width: units of each TDNN layer.
        hidden: units of the LSTM.
    """

    tdnn: tuple[tuple[int, int, int], ...]
    width: int
    hidden: int

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool):
        """Returns z_BxD."""
        mask_BxT = frame_mask(frames_B, mel_BxTxM.shape[1])
        x_BxTxW = mel_BxTxM * mask_BxT[..., None]
        for kernel, dilation, stride in self.tdnn:
            spliced_BxTxKW = splice(x_BxTxW, kernel, dilation, stride)
            dense = nn.Dense(  # BatchNorm has a bias
                self.width, use_bias=False, dot_general=frame_product.dot_general
            )
            x_BxTxW = dense(spliced_BxTxKW)
            frames_B = -(-frames_B // stride)
            mask_BxT = frame_mask(frames_B, x_BxTxW.shape[1])
            x_BxTxW = BatchNorm(self.batch_norm)(x_BxTxW, mask_BxT, target_B, train)
            x_BxTxW = nn.relu(x_BxTxW) * mask_BxT[..., None]
        h_BxTxH = self._lstm(x_BxTxW)
        return self.embed(h_BxTxH, mask_BxT, target_B, dropout, train)

    def _lstm(self, x_BxTxW):
        gates = 4 * self.hidden
        recurrent_HxG = self.param(
            'recurrent', nn.initializers.glorot_uniform(), (self.hidden, gates)
        )
        dense = nn.Dense(
            gates,
            name='input',
            bias_init=self._forget_bias,
            dot_general=frame_product.dot_general,
        )
        projected_TxBxG = dense(x_BxTxW.swapaxes(0, 1))
        return lstm.recurrence(projected_TxBxG, recurrent_HxG).swapaxes(0, 1)

    def _forget_bias(self, key, shape, dtype=jnp.float32):
        """Returns 1 for the forget gate, as Jozefowicz et al. 2015 advise, and 0 for the others."""
        return jnp.zeros(shape, dtype).at[self.hidden : 2 * self.hidden].set(1.0)


def make(config) -> Encoder:
    """Returns the encoder of `config.model`."""
    check_sizes(config, 'tdnn', 'width', 'hidden', 'dim')
    if any(len(layer) != 3 for layer in config.tdnn):
        raise UserError(
            f'config.model.tdnn is {config.tdnn}; '
            'expected (kernel, dilation, stride) for each layer.'
        )
    layers = tuple(tuple(layer) for layer in config.tdnn)
    mode = batch_norm_mode(config)
    return make_encoder(TdnnLstm(config.dim, mode, layers, config.width, config.hidden))

"""TDNN + LSTM + statistics pooling, after Tu et al. 2019 (arXiv 1903.09606); widths are this project's defaults."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.nn import lstm
from jaxser.nn.batch_norm import BatchNorm, batch_norm_mode
from jaxser.nn.encoder import LogMelEncoder, check_sizes, make_encoder

KEYS = ('tdnn', 'width', 'hidden', 'dim', 'batch_norm')  # of config.model


def splice(x_BxTxC: jax.Array, kernel: int, dilation: int, stride: int) -> jax.Array:
    """spliced_BxUxKC, each frame (of every `stride`th) beside its context: a TDNN layer is one product with it.

    One product rather than a convolution: under vmap a convolution becomes a grouped one, and inside a compiled loop XLA's CPU
    back end runs convolutions many times slower. Zeros stand beyond both ends, whatever the padding.
    """
    left = (kernel - 1) * dilation // 2
    length = x_BxTxC.shape[1]
    padded = jnp.pad(x_BxTxC, ((0, 0), (left, (kernel - 1) * dilation - left), (0, 0)))
    return jnp.concatenate(
        [padded[:, k * dilation : k * dilation + length : stride] for k in range(kernel)], -1
    )


class TdnnLstm(LogMelEncoder):
    """z_BxD of log-mel features; nothing beyond `frames_B` changes it.

    `tdnn` lists (kernel, dilation, stride) per layer, in frames of that layer's input; a stride subsamples the frames.
    """

    tdnn: tuple[tuple[int, int, int], ...]
    width: int
    hidden: int

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool):
        x_BxTxW = mel_BxTxM * frame_mask(frames_B, mel_BxTxM.shape[1])[..., None]
        for kernel, dilation, stride in self.tdnn:
            spliced_BxTxKW = splice(x_BxTxW, kernel, dilation, stride)
            x_BxTxW = nn.Dense(self.width, use_bias=False)(
                spliced_BxTxKW
            )  # BatchNorm follows: no bias
            frames_B = -(-frames_B // stride)
            mask_BxT = frame_mask(frames_B, x_BxTxW.shape[1])
            x_BxTxW = BatchNorm(self.batch_norm)(x_BxTxW, mask_BxT, target_B, train)
            x_BxTxW = nn.relu(x_BxTxW) * mask_BxT[..., None]
        recurrent_HxG = self.param(
            'recurrent', nn.initializers.glorot_uniform(), (self.hidden, 4 * self.hidden)
        )
        projected_BxTxG = nn.Dense(4 * self.hidden, name='input', bias_init=self._forget_bias)(
            x_BxTxW
        )
        h_BxTxH = lstm.recurrence(projected_BxTxG.swapaxes(0, 1), recurrent_HxG).swapaxes(0, 1)
        return self.embed(h_BxTxH, mask_BxT, target_B, dropout, train)

    def _forget_bias(self, key, shape, dtype=jnp.float32):
        """One for the forget gate, as Jozefowicz et al. 2015 advise; zero for the others."""
        return jnp.zeros(shape, dtype).at[self.hidden : 2 * self.hidden].set(1.0)


def make(config) -> Encoder:
    """The encoder of `config.model`."""
    check_sizes(config, 'tdnn', 'width', 'hidden', 'dim')
    if any(len(layer) != 3 for layer in config.tdnn):
        raise UserError(
            f'config.model.tdnn is {config.tdnn}; expected (kernel, dilation, stride) of each layer.'
        )
    layers = tuple(map(tuple, config.tdnn))
    return make_encoder(
        TdnnLstm(config.dim, batch_norm_mode(config), layers, config.width, config.hidden)
    )

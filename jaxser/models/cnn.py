"""A convolutional network on log-mel, the encoder of DIDAN (Zhao et al. 2023, arXiv 2302.08921), as a product per block.

The paper's: a CNN on spectrograms. It could not be read further: blocks, channels, pooling and the end are our defaults.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.nn.batch_norm import BatchNorm, batch_norm_mode
from jaxser.nn.encoder import LogMelEncoder, check_sizes, make_encoder

KEYS = ('channels', 'dim', 'batch_norm')  # of config.model


def extract_patches(x_BxTxMxC: jax.Array) -> jax.Array:
    """patches_BxUxVx9C: the 3 x 3 neighbours, in frames and bands, of every second frame and band, zeros beyond all ends.

    A convolution is one product with it; why no convolution is called, tdnn_lstm.splice says.
    """
    T, M = x_BxTxMxC.shape[1:3]
    padded = jnp.pad(x_BxTxMxC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate(
        [padded[:, t : t + T : 2, m : m + M : 2] for t in range(3) for m in range(3)], -1
    )


class Cnn(LogMelEncoder):
    """z_BxD of log-mel features; nothing beyond `frames_B` changes it.

    Each block is a 3 x 3 convolution of stride 2 to its number of `channels`, BatchNorm by channel, and ReLU. What is pooled over
    time are the channels of every band that is left, so that low and high bands stay apart.
    """

    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool):
        x_BxTxMxC = (mel_BxTxM * frame_mask(frames_B, mel_BxTxM.shape[1])[..., None])[..., None]
        for channels in self.channels:
            x_BxTxMxC = nn.Dense(channels, use_bias=False)(
                extract_patches(x_BxTxMxC)
            )  # BatchNorm follows: no bias
            frames_B = -(-frames_B // 2)
            mask_BxT = frame_mask(frames_B, x_BxTxMxC.shape[1])
            x_BxTxMxC = (
                nn.relu(BatchNorm(self.batch_norm)(x_BxTxMxC, mask_BxT, target_B, train))
                * mask_BxT[..., None, None]
            )
        x_BxTxMC = x_BxTxMxC.reshape(*x_BxTxMxC.shape[:2], -1)
        return self.embed(x_BxTxMC, mask_BxT, target_B, dropout, train)


def make(config) -> Encoder:
    """The encoder of `config.model`."""
    check_sizes(config, 'channels', 'dim')
    return make_encoder(Cnn(config.dim, batch_norm_mode(config), tuple(config.channels)))

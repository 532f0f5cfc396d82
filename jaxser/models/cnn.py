"""A convolutional network on log-mel, after the encoder of DIDAN (Zhao et al. 2023).

The paper (arXiv 2302.08921) has a CNN on spectrograms. Blocks, channels, pooling and the last layer
are our defaults: they could not be read from the paper.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxser.features import frame_mask
from jaxser.interfaces import Encoder
from jaxser.nn.batch_norm import BatchNorm, batch_norm_mode
from jaxser.nn.encoder import EncoderModule, check_sizes, make_encoder

KEYS = ('channels', 'dim', 'batch_norm')  # of config.model


def extract_patches(x_BxTxMxC: jax.Array) -> jax.Array:
    """Returns patches_BxUxVx9C, the 3 x 3 neighbourhood of every second frame and band.

    Beyond the edges there are zeros. With these patches, a convolution of stride 2 is one product;
    the docstring of `tdnn_lstm.splice` says why no convolution is called.
    """
    T, M = x_BxTxMxC.shape[1:3]
    padded = jnp.pad(x_BxTxMxC, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = []
    for t in range(3):
        for m in range(3):
            taps.append(padded[:, t : t + T : 2, m : m + M : 2])
    return jnp.concatenate(taps, -1)


class Cnn(EncoderModule):
    """z_BxD of log-mel features. Frames beyond `frames_B` do not change it.

    Each block is a 3 x 3 convolution of stride 2, BatchNorm by channel, and ReLU. Pooling over time
    keeps every remaining band apart, so that low and high bands are not mixed.

    Attributes:
        channels: output channels of each block.
    """

    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, target_B, dropout, train: bool):
        """Returns z_BxD."""
        mask_BxT = frame_mask(frames_B, mel_BxTxM.shape[1])
        x_BxTxMxC = (mel_BxTxM * mask_BxT[..., None])[..., None]
        for channels in self.channels:
            patches_BxTxMx9C = extract_patches(x_BxTxMxC)
            x_BxTxMxC = nn.Dense(channels, use_bias=False)(patches_BxTxMx9C)  # BatchNorm has a bias
            frames_B = -(-frames_B // 2)
            mask_BxT = frame_mask(frames_B, x_BxTxMxC.shape[1])
            x_BxTxMxC = BatchNorm(self.batch_norm)(x_BxTxMxC, mask_BxT, target_B, train)
            x_BxTxMxC = nn.relu(x_BxTxMxC) * mask_BxT[..., None, None]
        B, T = x_BxTxMxC.shape[:2]
        return self.embed(x_BxTxMxC.reshape(B, T, -1), mask_BxT, target_B, dropout, train)


def make(config) -> Encoder:
    """Returns the encoder of `config.model`."""
    check_sizes(config, 'channels', 'dim')
    return make_encoder(Cnn(config.dim, batch_norm_mode(config), tuple(config.channels)))

"""TDNN + LSTM + statistics pooling, after Tu et al. 2019 (arXiv 1903.09606); widths are this project's defaults."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxser.features import frame_mask
from jaxser.interfaces import Batch, Encoder, Hyper
from jaxser.models import lstm, pooling


def splice(x_BxTxC: jax.Array, kernel: int, dilation: int, stride: int) -> jax.Array:
    """spliced_BxUxKC, each frame (of every `stride`th) beside its context: a TDNN layer is one product with it.

    One product rather than a convolution: under vmap a convolution becomes a grouped one, and inside a compiled loop XLA's CPU
    back end runs convolutions many times slower. Zeros stand beyond both ends, whatever the padding.
    """
    left = (kernel - 1) * dilation // 2
    length = x_BxTxC.shape[1]
    padded = jnp.pad(x_BxTxC, ((0, 0), (left, (kernel - 1) * dilation - left), (0, 0)))
    return jnp.concatenate([padded[:, k * dilation : k * dilation + length : stride] for k in range(kernel)], -1)


class TdnnLstm(nn.Module):
    """z_BxD of log-mel features; nothing beyond `frames_B` changes it.

    `tdnn` lists (kernel, dilation, stride) per layer, in frames of that layer's input; a stride subsamples the frames.
    """

    tdnn: tuple[tuple[int, int, int], ...]
    width: int
    hidden: int
    dim: int

    @nn.compact
    def __call__(self, mel_BxTxM, frames_B, dropout, train: bool):
        x_BxTxW = mel_BxTxM * frame_mask(frames_B, mel_BxTxM.shape[1])[..., None]
        for kernel, dilation, stride in self.tdnn:
            x_BxTxW = nn.Dense(self.width, use_bias=False)(
                splice(x_BxTxW, kernel, dilation, stride)
            )  # BatchNorm follows: no bias
            frames_B = -(-frames_B // stride)
            mask_BxTx1 = frame_mask(frames_B, x_BxTxW.shape[1])[..., None]
            x_BxTxW = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x_BxTxW, mask=mask_BxTx1 > 0)
            x_BxTxW = nn.relu(x_BxTxW) * mask_BxTx1
        recurrent_HxG = self.param('recurrent', nn.initializers.glorot_uniform(), (self.hidden, 4 * self.hidden))
        projected_BxTxG = nn.Dense(4 * self.hidden, name='input', bias_init=self._forget_bias)(x_BxTxW)
        h_BxTxH = lstm.recurrence(projected_BxTxG.swapaxes(0, 1), recurrent_HxG).swapaxes(0, 1)
        pooled_Bx2H = pooling.statistics(h_BxTxH, mask_BxTx1[..., 0])
        z_BxD = nn.Dense(self.dim, use_bias=False)(self._dropout(pooled_Bx2H, dropout, train))
        z_BxD = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(z_BxD))
        return self._dropout(z_BxD, dropout, train)

    def _forget_bias(self, key, shape, dtype=jnp.float32):
        """One for the forget gate, as Jozefowicz et al. 2015 advise; zero for the others."""
        return jnp.zeros(shape, dtype).at[self.hidden : 2 * self.hidden].set(1.0)

    def _dropout(self, x, rate, train: bool):
        """As nn.Dropout, with a rate that may be traced."""
        if not train:
            return x
        keep = jax.random.bernoulli(self.make_rng('dropout'), 1.0 - rate, x.shape)
        return jnp.where(keep, x / (1.0 - rate), 0.0)


def make(config) -> Encoder:
    """The encoder of `config.model`."""
    module = TdnnLstm(tuple(map(tuple, config.tdnn)), config.width, config.hidden, config.dim)

    def init(key: jax.Array, batch: Batch):
        variables = module.init(key, batch['mel_BxTxM'], batch['frames_B'], 0.0, train=False)
        return variables['params'], variables['batch_stats']

    def apply(params, batch_stats, batch: Batch, hyper: Hyper, key, train: bool):
        variables, heard = {'params': params, 'batch_stats': batch_stats}, (batch['mel_BxTxM'], batch['frames_B'])
        if not train:
            return module.apply(variables, *heard, 0.0, train=False), batch_stats
        z_BxD, new = module.apply(variables, *heard, hyper['dropout'], train=True, rngs={'dropout': key}, mutable=['batch_stats'])
        return z_BxD, new['batch_stats']

    return Encoder(init, apply)

"""What encoders share: the layers at their end, and the two pure functions around a Flax module."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from jaxser.interfaces import Batch, Encoder, Hyper
from jaxser.nn import pooling
from jaxser.nn.batch_norm import BatchNorm

LARGEST_SIZE = 2**16  # of a layer, in units; more would fill the memory

DUMMY_FRAMES = 16


class EncoderModule(nn.Module):
    """Base class of the Flax modules of all encoders, whatever features they take.

    A subclass defines __call__(mel_BxTxM, frames_B, target_B, dropout, train) -> z_BxD. If the
    encoder has `frozen` parameters, they are one more argument.

    Attributes:
        dim: D, the width of z.
        batch_norm: the mode of BatchNorm (jaxser/nn/batch_norm.py).
    """

    dim: int
    batch_norm: str

    def embed(
        self, x_BxTxH: jax.Array, mask_BxT: jax.Array, target_B: jax.Array, dropout, train: bool
    ) -> jax.Array:
        """Returns z_BxD: statistics pooling, then `project`."""
        pooled_Bx2H = pooling.statistics_pooling(x_BxTxH, mask_BxT)
        return self.project(pooled_Bx2H, mask_BxT[:, 0], target_B, dropout, train)

    def project(
        self, pooled_BxC: jax.Array, mask_B: jax.Array, target_B: jax.Array, dropout, train: bool
    ) -> jax.Array:
        """Returns z_BxD: a dense layer, BatchNorm and ReLU, with dropout before and after.

        `mask_B` is 0 for an example without any frame, which BatchNorm leaves out.
        """
        pooled_BxC = self.drop(pooled_BxC, dropout, train)
        z_BxD = nn.Dense(self.dim, use_bias=False)(pooled_BxC)
        z_BxD = nn.relu(BatchNorm(self.batch_norm)(z_BxD, mask_B, target_B, train))
        return self.drop(z_BxD, dropout, train)

    def drop(self, x: jax.Array, rate, train: bool) -> jax.Array:
        """Dropout as nn.Dropout, with a rate that may be traced."""
        if not train:
            return x
        mask = jax.random.bernoulli(self.make_rng('dropout'), 1.0 - rate, x.shape)
        return jnp.where(mask, x / (1.0 - rate), 0.0)


def make_encoder(
    module: EncoderModule, frozen: Any = None, rates: Callable | None = None
) -> Encoder:
    """Returns the module as an Encoder, with its `frozen` and `rates`."""

    def arguments(batch: Batch, dropout, train: bool) -> tuple:
        arrays = batch['mel_BxTxM'], batch['frames_B'], batch['target_B'], dropout, train
        if frozen is None:
            return arrays
        return *arrays, batch['frozen']

    def init(key: jax.Array, batch: Batch):
        variables = module.init(key, *arguments(batch, 0.0, False))
        return variables['params'], variables.get('batch_stats', {})

    def apply(params, batch_stats, batch: Batch, hyper: Hyper, key, train: bool):
        variables = {'params': params, 'batch_stats': batch_stats}
        if not train:
            return module.apply(variables, *arguments(batch, 0.0, False)), batch_stats
        z_BxD, updated = module.apply(
            variables,
            *arguments(batch, hyper['dropout'], True),
            rngs={'dropout': key},
            mutable=['batch_stats'],
        )
        return z_BxD, updated.get('batch_stats', {})

    return Encoder(init, apply, frozen, rates)


def make_dummy_batch(bands: int, frozen: Any = None) -> Batch:
    """Returns a batch of one utterance of zeros, for the shapes of an encoder's parameters.

    Its `frozen` are zeros in the shapes of `frozen`, which is `Encoder.frozen`.
    """
    batch = {
        'mel_BxTxM': jnp.zeros((1, DUMMY_FRAMES, bands)),
        'frames_B': jnp.full((1,), DUMMY_FRAMES),
        'target_B': jnp.zeros((1,)),
    }
    if frozen is not None:
        batch['frozen'] = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), frozen)
    return batch


def check_sizes(config, *keys: str) -> None:
    """Raises UserError if sizes of `config.model` are not whole numbers from 1 to LARGEST_SIZE.

    The value of a key is a number, or tuples of them.
    """
    for key in keys:
        value = getattr(config, key)
        sizes = jax.tree.leaves(value)
        if not sizes or not all(map(_is_size, sizes)):
            raise UserError(
                f'config.model.{key} is {value}; expected whole numbers, 1 or more and at most '
                f'{LARGEST_SIZE}.'
            )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and 1 <= value <= LARGEST_SIZE

"""What encoders of log-mel features have in common: their end, and the two pure functions around a Flax module."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError
from jaxser.interfaces import Batch, Encoder, Hyper
from jaxser.nn import pooling
from jaxser.nn.batch_norm import BatchNorm


class LogMelEncoder(nn.Module):
    """A module whose call is (mel_BxTxM, frames_B, target_B, dropout, train) -> z_BxD; with `frozen` behind it, if it has any."""

    dim: int
    batch_norm: str

    def embed(
        self, x_BxTxH: jax.Array, mask_BxT: jax.Array, target_B: jax.Array, dropout, train: bool
    ) -> jax.Array:
        """z_BxD: statistics pooling, then `project`."""
        return self.project(
            pooling.statistics_pooling(x_BxTxH, mask_BxT), mask_BxT[:, 0], target_B, dropout, train
        )

    def project(
        self, pooled_BxC: jax.Array, there_B: jax.Array, target_B: jax.Array, dropout, train: bool
    ) -> jax.Array:
        """z_BxD: a dense layer, BatchNorm and ReLU, with dropout before and after."""
        z_BxD = nn.Dense(self.dim, use_bias=False)(self.drop(pooled_BxC, dropout, train))
        z_BxD = nn.relu(BatchNorm(self.batch_norm)(z_BxD, there_B, target_B, train))
        return self.drop(z_BxD, dropout, train)

    def drop(self, x: jax.Array, rate, train: bool) -> jax.Array:
        """As nn.Dropout, with a rate that may be traced."""
        if not train:
            return x
        keep = jax.random.bernoulli(self.make_rng('dropout'), 1.0 - rate, x.shape)
        return jnp.where(keep, x / (1.0 - rate), 0.0)


def make_encoder(
    module: LogMelEncoder, frozen: Any = None, rates: Callable | None = None
) -> Encoder:
    """The module as two pure functions, with the Encoder's `frozen` and `rates`."""

    def heard(batch: Batch, dropout, train: bool) -> tuple:
        there = () if frozen is None else (batch['frozen'],)
        return batch['mel_BxTxM'], batch['frames_B'], batch['target_B'], dropout, train, *there

    def init(key: jax.Array, batch: Batch):
        variables = module.init(key, *heard(batch, 0.0, False))
        return variables['params'], variables.get('batch_stats', {})

    def apply(params, batch_stats, batch: Batch, hyper: Hyper, key, train: bool):
        variables = {'params': params, 'batch_stats': batch_stats}
        if not train:
            return module.apply(variables, *heard(batch, 0.0, False)), batch_stats
        inputs = heard(batch, hyper['dropout'], True)
        z_BxD, new = module.apply(
            variables, *inputs, rngs={'dropout': key}, mutable=['batch_stats']
        )
        return z_BxD, new.get('batch_stats', {})

    return Encoder(init, apply, frozen, rates)


def check_sizes(config, *keys: str) -> None:
    """Refuses sizes of `config.model` that are no whole numbers from 1 up; a key may hold tuples of them."""
    for key in keys:
        sizes = jax.tree.leaves(getattr(config, key))
        if not sizes or any(not isinstance(n, int) or n < 1 for n in sizes):
            raise UserError(
                f'config.model.{key} is {getattr(config, key)}; expected whole numbers, 1 or more.'
            )

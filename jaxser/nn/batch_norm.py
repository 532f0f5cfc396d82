"""Batch normalisation with statistics that distinguish source and target examples.

Cai et al. 2020 (arXiv 2012.11174) compare several ways of combining the two sides and find that
the choice matters. The modes, as named here, are our defaults.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError

BATCH_NORM_MODES = ('joint', 'separate', 'domain', 'source', 'none')
TARGET_MODES = ('separate', 'domain', 'source')  # equal to `joint` if a batch has no target
MOMENTUM = 0.9
EPSILON = 1e-5


def batch_norm_mode(config) -> str:
    """Returns the mode of `config.model`; raises UserError if there is no such mode."""
    if config.batch_norm not in BATCH_NORM_MODES:
        raise UserError(
            f'config.model.batch_norm is {config.batch_norm!r}; '
            f'expected one of {", ".join(BATCH_NORM_MODES)}.'
        )
    return config.batch_norm


class Moments(NamedTuple):
    """Statistics of a batch for each side: source and target, or both together."""

    present_Sx1: jax.Array  # whether the batch has a valid position of the side
    mean_SxC: jax.Array
    variance_SxC: jax.Array


class BatchNorm(nn.Module):
    """Normalises x_Bx...xC by channel, with statistics over the batch and all axes between B and C.

    Modes:
        joint: one set of statistics, of source and target together (flax's nn.BatchNorm).
        separate: in training each side by its own statistics; one set of running statistics,
            updated first by the source and then by the target.
        domain: each side by its own statistics, also in evaluation. With `erm` this is AdaBN (Li et
            al. 2016, arXiv 1603.04779), except that the target is seen during training rather than
            after it.
        source: both sides by the statistics of the source.
        none: no normalisation; only the shift, since the layer before has no bias.

    Scale and shift are shared by the sides. If a batch has no example of a side, the running
    statistics of this side replace those of the batch and are not updated.
    """

    mode: str

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array, target_B: jax.Array, train: bool
    ) -> jax.Array:
        """Normalises x.

        Args:
            x: x_Bx...xC.
            mask: 1 on valid positions; its axes are the first axes of x.
            target_B: 1 for examples of the target.
            train: whether to use and collect the statistics of the batch.
        """
        C = x.shape[-1]
        shift_C = self.param('bias', nn.initializers.zeros, (C,))
        if self.mode == 'none':
            return x + shift_C
        scale_C = self.param('scale', nn.initializers.ones, (C,))
        shape = (2, C) if self.mode == 'domain' else (C,)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
        running_variance = self.variable('batch_stats', 'var', jnp.ones, shape)

        mean_SxC = jnp.atleast_2d(running_mean.value)
        variance_SxC = jnp.atleast_2d(running_variance.value)
        is_target_Bx1 = target_B[:, None] > 0
        if train:
            batch = self._moments(x, mask, self._sides(is_target_Bx1))
            present_Sx1 = batch.present_Sx1
            running_mean.value = self._update_running(
                running_mean.value, present_Sx1, batch.mean_SxC
            )
            running_variance.value = self._update_running(
                running_variance.value, present_Sx1, batch.variance_SxC
            )
            mean_SxC = jnp.where(present_Sx1, batch.mean_SxC, mean_SxC)
            variance_SxC = jnp.where(present_Sx1, batch.variance_SxC, variance_SxC)

        def per_example(statistic_SxC: jax.Array) -> jax.Array:
            """Returns the statistic of each example's side, with the axes of x."""
            statistic_BxC = jnp.where(is_target_Bx1, statistic_SxC[-1], statistic_SxC[0])
            return statistic_BxC.reshape(x.shape[0], *[1] * (x.ndim - 2), C)

        centred = x - per_example(mean_SxC)
        inverse_deviation = jax.lax.rsqrt(per_example(variance_SxC) + EPSILON)
        return centred * (inverse_deviation * scale_C) + shift_C

    def _sides(self, is_target_Bx1) -> jax.Array:
        """Returns side_SxBx1, which examples each set of statistics is computed over."""
        if self.mode == 'joint':
            return jnp.stack([is_target_Bx1 | True])
        if self.mode == 'source':
            return jnp.stack([~is_target_Bx1])
        return jnp.stack([~is_target_Bx1, is_target_Bx1])

    def _moments(self, x, mask, side_SxBx1) -> Moments:
        """Returns the statistics of the sides, in one pass over x however many sides there are."""
        mask = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
        valid = jnp.broadcast_to(mask, (*x.shape[:-1], 1))

        def sum_by_side(values):
            sum_BxC = values.reshape(len(x), -1, values.shape[-1]).sum(1)
            return jnp.where(side_SxBx1, sum_BxC, 0).sum(1)

        count_Sx1 = sum_by_side(valid)
        sum_SxC = sum_by_side(x * valid)
        square_sum_SxC = sum_by_side(x * x * valid)
        mean_SxC = sum_SxC / jnp.maximum(count_Sx1, 1)
        variance_SxC = jnp.maximum(square_sum_SxC / jnp.maximum(count_Sx1, 1) - mean_SxC**2, 0)
        return Moments(count_Sx1 > 0, mean_SxC, variance_SxC)

    def _update_running(
        self, running: jax.Array, present_Sx1: jax.Array, batch_SxC: jax.Array
    ) -> jax.Array:
        """Returns the running statistics after a batch.

        In mode `domain` each side updates its own; otherwise the sides update one set in turn.
        """

        def update(old, present, new):
            return jnp.where(present, MOMENTUM * old + (1 - MOMENTUM) * new, old)

        if self.mode == 'domain':
            return update(running, present_Sx1, batch_SxC)
        for present_1, batch_C in zip(present_Sx1, batch_SxC):
            running = update(running, present_1, batch_C)
        return running

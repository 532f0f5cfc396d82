"""Batch normalisation whose statistics know the two sides of a batch, source and target (Cai et al. 2020, arXiv 2012.11174).

The paper compares several ways of combining the two and finds that it matters which; the arms, as named here, are our defaults.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines.errors import UserError

BATCH_NORM_MODES = ('joint', 'separate', 'domain', 'source', 'none')
TARGET_MODES = ('separate', 'domain', 'source')  # are `joint` where no target is heard
MOMENTUM, EPSILON = 0.9, 1e-5


def batch_norm_mode(config) -> str:
    """The arm of `config.model`; refuses one that is not there."""
    if config.batch_norm not in BATCH_NORM_MODES:
        raise UserError(
            f'config.model.batch_norm is {config.batch_norm!r}; expected one of {", ".join(BATCH_NORM_MODES)}.'
        )
    return config.batch_norm


class BatchNorm(nn.Module):
    """Normalises x_Bx...xC by channel, the statistics taken over the valid of the positions between B and C.

    joint: statistics of source and target together (flax's nn.BatchNorm).
    separate: each side by its own in training; one set of running statistics, moved by the source and then by the target.
    domain: each side by its own, which run apart, in testing too. With `erm` this is AdaBN (Li et al. 2016, arXiv 1603.04779),
        but for the target being heard during training rather than after it.
    source: both sides by the source's, which alone run.
    none: nothing is normalised; a shift alone, as nothing before this module has one.

    Scale and shift are shared by the sides. A side of which a batch has nothing leaves the running statistics as they are, and
    they stand in for its own.
    """

    mode: str

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array, target_B: jax.Array, train: bool
    ) -> jax.Array:
        """`mask`, 1 on what is valid, is x's leading axes, or fewer; `target_B` is 1 for the target's examples."""
        C = x.shape[-1]
        shift_C = self.param('bias', nn.initializers.zeros, (C,))
        if self.mode == 'none':
            return x + shift_C
        scale_C = self.param('scale', nn.initializers.ones, (C,))
        running = (2, C) if self.mode == 'domain' else (C,)
        mean = self.variable('batch_stats', 'mean', jnp.zeros, running)
        variance = self.variable('batch_stats', 'var', jnp.ones, running)

        mean_SxC, variance_SxC = jnp.atleast_2d(mean.value), jnp.atleast_2d(variance.value)
        target_Bx1 = target_B[:, None] > 0
        if train:
            sides = {'joint': [target_Bx1 | True], 'source': [~target_Bx1]}.get(
                self.mode, [~target_Bx1, target_Bx1]
            )
            there_Sx1, new_mean_SxC, new_variance_SxC = self._moments(x, mask, jnp.stack(sides))
            mean.value = self._update_running(mean.value, there_Sx1, new_mean_SxC)
            variance.value = self._update_running(variance.value, there_Sx1, new_variance_SxC)
            mean_SxC = jnp.where(there_Sx1, new_mean_SxC, mean_SxC)
            variance_SxC = jnp.where(there_Sx1, new_variance_SxC, variance_SxC)

        def of_rows(statistic_SxC: jax.Array) -> jax.Array:
            """Every example's own, with x's axes."""
            statistic_BxC = jnp.where(target_Bx1, statistic_SxC[-1], statistic_SxC[0])
            return statistic_BxC.reshape(x.shape[0], *[1] * (x.ndim - 2), C)

        return (x - of_rows(mean_SxC)) * (
            jax.lax.rsqrt(of_rows(variance_SxC) + EPSILON) * scale_C
        ) + shift_C

    def _moments(self, x, mask, side_SxBx1):
        """there_Sx1, mean_SxC and variance_SxC of the sides; one pass over x, however many there are."""
        valid = jnp.broadcast_to(
            mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)), (*x.shape[:-1], 1)
        )
        of_side = lambda sum_BxC: jnp.where(side_SxBx1, sum_BxC, 0).sum(1)  # noqa: E731
        sums = [
            v.reshape(len(x), -1, v.shape[-1]).sum(1) for v in (valid, x * valid, x * x * valid)
        ]
        count_Sx1, first_SxC, second_SxC = map(of_side, sums)
        mean_SxC = first_SxC / jnp.maximum(count_Sx1, 1)
        variance_SxC = jnp.maximum(second_SxC / jnp.maximum(count_Sx1, 1) - mean_SxC**2, 0)
        return count_Sx1 > 0, mean_SxC, variance_SxC

    def _update_running(
        self, running: jax.Array, there_Sx1: jax.Array, new_SxC: jax.Array
    ) -> jax.Array:
        """Running statistics after a batch: each side's own, or one set by one side after the other."""
        move = lambda old, there, new: jnp.where(there, MOMENTUM * old + (1 - MOMENTUM) * new, old)  # noqa: E731
        if self.mode == 'domain':
            return move(running, there_Sx1, new_SxC)
        for there_1, new_C in zip(there_Sx1, new_SxC):
            running = move(running, there_1, new_C)
        return running

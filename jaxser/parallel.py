"""All runs of a sweep as one program: folds x variants, vmapped, scanned over a chunk of steps, sharded over the devices.

A fold's batch is read once and shared by its variants (coefficients, seeds, ...). Runs never talk to each other, so sharding
them over the mesh axis `runs` needs no collective.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxser.step import Step


class Programs(NamedTuple):
    """The compiled functions of a sweep; every array of a run leads with FxV (fold, variant)."""

    init: Callable  # (hyper) -> state
    chunk: Callable  # (state, batches_SxF..., real_S, hyper) -> (state, metrics_SxFxV); the state is donated
    predict: Callable  # (params, batch_stats, batch_F...) -> scores_FxVxBxC
    keep: Callable  # (best, state, better_FxV) -> best
    place: Callable  # a batch of numpy arrays -> on the devices


def layout(folds: int, variants: int, devices: int) -> tuple[str, int, int]:
    """The axis ('fold' or 'variant') to split over `devices`, and the padded numbers of folds and variants: the fewest runs."""
    up = lambda n: -(-n // devices) * devices  # noqa: E731
    by_variant, by_fold = folds * up(variants), up(folds) * variants
    return ('variant', folds, up(variants)) if by_variant <= by_fold else ('fold', up(folds), variants)


def pad(array: np.ndarray, folds: int, variants: int) -> np.ndarray:
    """Repeats the last fold and variant of array_FxV... until there are that many."""
    widths = [(0, folds - array.shape[0]), (0, variants - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, widths, mode='edge')


def make(step: Step, folds: int, variants: int, devices=None) -> Programs:
    """Compiles `step` for so many folds and variants (already padded to the layout of the devices)."""
    devices = jax.devices() if devices is None else devices
    mesh = jax.make_mesh((len(devices),), ('runs',), axis_types=(AxisType.Auto,), devices=devices)
    axis, *_ = layout(folds, variants, len(devices))
    per_run = NamedSharding(mesh, PartitionSpec('runs') if axis == 'fold' else PartitionSpec(None, 'runs'))
    per_fold = NamedSharding(mesh, PartitionSpec('runs') if axis == 'fold' else PartitionSpec())
    step_by_fold = NamedSharding(mesh, PartitionSpec(None, 'runs') if axis == 'fold' else PartitionSpec())
    metrics = NamedSharding(mesh, PartitionSpec(None, *per_run.spec))
    everywhere = NamedSharding(mesh, PartitionSpec())

    update = jax.vmap(jax.vmap(step.update, in_axes=(0, None, 0)))

    def chunk(state, batches, real_S, hyper):
        def one(state, now):
            batch, real = now
            # Steps beyond the epoch's end are skipped, so that every chunk has one length and one program.
            shapes = jax.eval_shape(update, state, batch, hyper)[1]
            skip = lambda s: (s, jax.tree.map(lambda m: jnp.full(m.shape, jnp.nan, m.dtype), shapes))  # noqa: E731
            return jax.lax.cond(real, lambda s: update(s, batch, hyper), skip, state)

        return jax.lax.scan(one, state, (batches, real_S))

    def predict(params, batch_stats, batch):
        one = lambda p, s, b: step.predict(p, s, b)[1]  # noqa: E731
        return jax.vmap(jax.vmap(one, in_axes=(0, 0, None)))(params, batch_stats, batch)

    def keep(best, state, better_FxV):
        new = (state.params, state.batch_stats)
        pick = lambda b, n: jnp.where(better_FxV.reshape(better_FxV.shape + (1,) * (b.ndim - 2)), n, b)  # noqa: E731
        return jax.tree.map(pick, best, new)

    return Programs(
        init=jax.jit(
            jax.vmap(jax.vmap(step.init)),
            in_shardings=per_run,
            out_shardings=per_run,
            compiler_options={'xla_backend_optimization_level': 0},  # runs once: a fifth of the time to compile
        ),
        chunk=jax.jit(
            chunk,
            donate_argnums=0,
            in_shardings=(per_run, step_by_fold, everywhere, per_run),
            out_shardings=(per_run, metrics),
        ),
        predict=jax.jit(predict, in_shardings=(per_run, per_run, per_fold), out_shardings=per_run),
        keep=jax.jit(keep, in_shardings=per_run, out_shardings=per_run),
        place=lambda batches: jax.device_put(batches, step_by_fold),
    )

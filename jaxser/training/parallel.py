"""All runs of a sweep as one program, spread over the devices: every array of runs leads with DxR (device, run on it).

Runs never talk to each other, so no collective is needed between devices; a batch that is shared out over the mesh axis `data` is
another matter, and XLA finds its collectives (BatchNorm's moments among them) by itself. On accelerators a device's runs are
vmapped; on a CPU they take turns, each through a whole chunk of steps, since there vmap makes the products no faster and the
caches miss. A device holds the batches of the F folds that its runs need, and a run finds its own by its `slot`.
"""

import copy
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from data_pipelines.errors import UserError
from jaxser import features
from jaxser.training.step import Step

MODES = ('jit', 'pmap')
REPLICATED, PER_DEVICE = PartitionSpec(), PartitionSpec('runs')


class Layout:
    """Where `count` runs are: run n is number n % R of device n // R; what is left over repeats the last run."""

    def __init__(
        self, count: int, devices: list | None = None, data_devices: int = 1, R: int | None = None
    ):
        devices = jax.devices() if devices is None else devices
        if len(devices) % data_devices:
            raise UserError(
                f'config.data_devices is {data_devices}, of which {len(devices)} device(s) are no multiple.'
            )
        groups = (
            min(count, len(devices) // data_devices)
            if jax.process_count() == 1
            else len(devices) // data_devices
        )
        self.count, self.D = count, groups
        self.R = R or -(-count // groups)
        self.devices = devices[: groups * data_devices]
        self.mesh = jax.make_mesh(
            (groups, data_devices),
            ('runs', 'data'),
            axis_types=(AxisType.Auto,) * 2,
            devices=self.devices,
        )
        here = [row[0].process_index == jax.process_index() for row in self.mesh.devices]
        self.local_devices = np.flatnonzero(here)  # devices of this process

    def with_count(self, count: int) -> 'Layout':
        """The same devices and runs per device for fewer runs."""
        fewer = copy.copy(self)
        fewer.count = count
        return fewer

    def group_by_device(self, array_N: np.ndarray) -> np.ndarray:
        """array_DxR... of one entry a run."""
        fill = self.D * self.R - len(array_N)
        padded = np.pad(array_N, [(0, fill)] + [(0, 0)] * (array_N.ndim - 1), mode='edge')
        return padded.reshape(self.D, self.R, *array_N.shape[1:])

    def collect(self, array_DxR) -> np.ndarray:
        """array_N... of the runs, on every process."""
        whole = (
            np.asarray(array_DxR)
            if jax.process_count() == 1
            else multihost_utils.process_allgather(array_DxR, tiled=True)
        )
        return whole.reshape(-1, *whole.shape[2:])[: self.count]

    def put_on_devices(self, local_arrays, spec: PartitionSpec = PER_DEVICE):
        """Arrays of this process's devices (or with EVERYWHERE the whole of them) on the devices."""
        sharding = NamedSharding(self.mesh, spec)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(sharding, x), local_arrays
        )

    def put_runs_on_devices(self, array_DxR):
        """Arrays of all runs, known to every process, on the devices."""
        return self.put_on_devices(jax.tree.map(lambda x: x[self.local_devices], array_DxR))

    def put_batch_on_devices(self, batch: dict, batch_axis: int) -> dict:
        """A batch whose examples are axis `batch_axis`; they are shared out over the axis `data`, the classes seen are not."""
        return {k: self.put_on_devices(x, self.batch_spec(k, batch_axis)) for k, x in batch.items()}

    def batch_spec(self, name: str, batch_axis: int) -> PartitionSpec:
        """How an array of a batch is shared out: by its examples, if it has any."""
        return (
            PartitionSpec('runs', *[None] * (batch_axis - 1), 'data')
            if name.rpartition('_')[2].startswith('B')
            else PER_DEVICE
        )

    def assign_slots(
        self, fold_N: np.ndarray, F: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """fold_DxF, the folds that each device needs (repeated where another needs more), and slot_N, the place of a run's."""
        fold_DxR = self.group_by_device(fold_N)
        needed = [np.unique(row) for row in fold_DxR]
        F = F or max(map(len, needed))
        fold_DxF = np.stack([np.pad(n, (0, F - len(n)), mode='edge') for n in needed])
        slot_DxR = np.stack([np.searchsorted(n, row) for n, row in zip(needed, fold_DxR)])
        return fold_DxF, slot_DxR.reshape(-1)[: self.count].astype(np.int32)


class CompiledFunctions(NamedTuple):
    """The compiled functions of a sweep; `shared` is features.Shared."""

    init: Callable  # (hyper) -> state
    train_chunk: Callable  # (state, shared, batches_DxSxF..., real_S, hyper) -> (state, metrics_DxRxS); the state is donated
    predict_for_frames: Callable  # (frames) -> (params, batch_stats, shared, batch_DxF..., hyper) -> (z_DxRxBxD, scores_DxRxBxC)
    update_best: Callable  # (best, state, better_DxR) -> best


def compile_step(
    step: Step, layout: Layout, frames: int, mode: str = 'jit', in_turn: bool | None = None
) -> CompiledFunctions:
    """Compiles `step` for the runs of a layout and training examples of so many frames.

    `in_turn` says whether a device's runs take turns or are vmapped; by default what its kind does better.
    """
    if in_turn is None:
        in_turn = layout.devices[0].platform == 'cpu'

    def each(run):
        return (lambda *runs: jax.lax.map(lambda r: run(*r), runs)) if in_turn else jax.vmap(run)

    def on_devices(f, per_device: tuple[bool, ...], donate=(), **options):
        if mode == 'pmap':
            axes = tuple(0 if there else None for there in per_device)
            return jax.pmap(f, 'runs', in_axes=axes, devices=layout.devices, donate_argnums=donate)

        def one_device(*arguments):
            own = [
                jax.tree.map(lambda x: x[0], a) if there else a
                for a, there in zip(arguments, per_device)
            ]
            return jax.tree.map(lambda x: x[None], f(*own))

        specs = tuple(PER_DEVICE if there else REPLICATED for there in per_device)
        # Only `runs` is taken over by hand; `data` is left to XLA.
        body = jax.shard_map(
            one_device,
            mesh=layout.mesh,
            in_specs=specs,
            out_specs=PER_DEVICE,
            axis_names={'runs'},
            check_vma=False,
        )
        return jax.jit(body, donate_argnums=donate, **options)

    def own(batch_F, shared, hyper, frames):
        return features.with_features(
            {k: x[hyper['slot']] for k, x in batch_F.items()}, shared, frames
        )

    def chunk(state, shared, batches_SxF, real_S, hyper):
        def run(state, hyper):
            def one(state, now):
                batch_F, real = now
                update = lambda s: step.update(s, own(batch_F, shared, hyper, frames), hyper)  # noqa: E731
                # Steps beyond the epoch's end are skipped, so that every chunk has one length and one program.
                shapes = jax.eval_shape(update, state)[1]
                skip = lambda s: (
                    s,
                    jax.tree.map(lambda m: jnp.full(m.shape, jnp.nan, m.dtype), shapes),
                )  # noqa: E731
                return jax.lax.cond(real, update, skip, state)

            return jax.lax.scan(one, state, (batches_SxF, real_S))

        return each(run)(state, hyper)

    @functools.cache
    def predict(frames: int):
        def predicted(params, batch_stats, shared, batch_F, hyper):
            return each(lambda p, s, h: step.predict(p, s, own(batch_F, shared, h, frames)))(
                params, batch_stats, hyper
            )

        return on_devices(predicted, (True, True, False, True, True))

    def keep(best, state, better_R):
        new = (state.params, state.batch_stats)
        pick = lambda b, n: jnp.where(better_R.reshape(-1, *[1] * (b.ndim - 1)), n, b)  # noqa: E731
        return jax.tree.map(pick, best, new)

    quickly = {
        'compiler_options': {'xla_backend_optimization_level': 0}
    }  # runs once: a fifth of the time to compile
    return CompiledFunctions(
        init=on_devices(each(step.init), (True,), **quickly),
        train_chunk=on_devices(chunk, (True, False, True, False, True), donate=0),
        predict_for_frames=predict,
        update_best=on_devices(keep, (True, True, True)),
    )


def map_over_runs(function: Callable, runs):
    """What the pure function `function` makes of every run of `runs`, arrays that lead with the run; as numpy.

    The devices of this process share the runs; on accelerators those of a device go side by side, on a CPU in turn.
    """
    R = len(jax.tree.leaves(runs)[0])
    devices = jax.local_devices()[:R]
    fill = -R % len(devices)
    filled = jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[-1:], fill, 0)]), runs)
    return jax.tree.map(lambda x: np.asarray(x)[:R], _sharded_map(function, tuple(devices))(filled))


@functools.lru_cache(maxsize=4)
def _sharded_map(function: Callable, devices: tuple):
    each = (
        (lambda runs: jax.lax.map(function, runs))
        if devices[0].platform == 'cpu'
        else jax.vmap(function)
    )
    mesh = jax.make_mesh((len(devices),), ('runs',), axis_types=(AxisType.Auto,), devices=devices)
    share = PartitionSpec('runs')
    return jax.jit(jax.shard_map(each, mesh=mesh, in_specs=share, out_specs=share, check_vma=False))

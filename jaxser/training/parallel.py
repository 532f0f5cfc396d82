"""Trains all runs of a group as one program, divided over the devices.

Every array of runs has the leading axes DxR: device, run on that device. Run n is number n % R on
device n // R. Runs do not depend on each other, so that devices with different runs do not
communicate. The examples of a batch may be divided over a second mesh axis, `data`; XLA then adds
the collectives, e.g. for BatchNorm's moments. If these devices are of several processes, each
process reads its own examples.

The runs of a device are divided into blocks of V runs of one fold, which read the same batch
(`runs_per_block`). On accelerators all runs are vmapped, and products with frozen weights are one
product for a block. On a CPU the blocks take turns, each through a whole chunk of steps. Within a
step the runs of a block take turns, too: on a CPU vmap makes no product faster, and vmapped runs
compete for the caches. A block has one copy of its batch, so that what depends on the batch and on
frozen weights alone is computed once for all its runs: by vmap, or because XLA moves it out of the
loop over the runs. A block has one run if the encoder has no frozen weights.

A device has the batches of the F folds that its runs need, and the hyper-parameter `slot` of a run
is the index of its own fold among them.
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

from data_pipelines.batching import feeds
from data_pipelines.errors import UserError
from jaxser import features
from jaxser.training.step import Step

MODES = ('jit', 'pmap')
REPLICATED = PartitionSpec()
PER_DEVICE = PartitionSpec('runs')

# The axis of the examples in the arrays of a batch.
TRAINING_AXIS_B = 3  # of DxSxFxB
EVALUATION_AXIS_B = 2  # of DxFxB


class Layout:
    """The devices of `count` runs. If D x R is more than `count`, the last run is repeated."""

    def __init__(
        self, count: int, devices: list | None = None, data_devices: int = 1, R: int | None = None
    ):
        """Divides the runs over `devices` (default: all), of which `data_devices` share a batch.

        `R` is the number of runs on a device, by default as few as possible.
        """
        devices = jax.devices() if devices is None else devices
        if len(devices) % data_devices:
            raise UserError(
                f'config.data_devices is {data_devices}, and the number of devices is '
                f'{len(devices)}, which is not a multiple of it. Set config.data_devices to a '
                f'divisor of {len(devices)}.'
            )
        D = len(devices) // data_devices
        if jax.process_count() == 1:
            D = min(count, D)
        self.count = count
        self.D = D
        self.R = R or -(-count // D)
        self.devices = devices[: D * data_devices]
        self.mesh = jax.make_mesh(
            (D, data_devices),
            ('runs', 'data'),
            axis_types=(AxisType.Auto, AxisType.Auto),
            devices=self.devices,
        )
        processes = [device.process_index for device in self.mesh.devices.flat]
        is_local_DxE = np.reshape(processes, (D, data_devices)) == jax.process_index()
        self.local_devices = np.flatnonzero(is_local_DxE.any(axis=1))
        self.batch_share = _batch_share(is_local_DxE[self.local_devices])

    def with_count(self, count: int) -> 'Layout':
        """Returns a layout of fewer runs with the same devices and the same runs per device."""
        layout = copy.copy(self)
        layout.count = count
        return layout

    def group_by_device(self, array_N: np.ndarray) -> np.ndarray:
        """Returns array_DxR... of an array with one entry for each run."""
        padding = [(0, self.D * self.R - len(array_N))]
        padding += [(0, 0)] * (array_N.ndim - 1)
        padded = np.pad(array_N, padding, mode='edge')  # repeats the last run
        return padded.reshape(self.D, self.R, *array_N.shape[1:])

    def collect(self, array_DxR) -> np.ndarray:
        """Returns array_N... of the runs, on every process."""
        if jax.process_count() == 1:
            gathered = np.asarray(array_DxR)
        else:
            gathered = multihost_utils.process_allgather(array_DxR, tiled=True)
        return gathered.reshape(-1, *gathered.shape[2:])[: self.count]

    def put_on_devices(self, local_arrays, spec: PartitionSpec = PER_DEVICE):
        """Puts each device's arrays on it; with `spec` REPLICATED, puts the same arrays on each."""
        sharding = NamedSharding(self.mesh, spec)

        def put(array):
            return jax.make_array_from_process_local_data(sharding, array)

        return jax.tree.map(put, local_arrays)

    def put_runs_on_devices(self, tree_DxR):
        """Puts arrays of all runs, which every process has, on the devices."""
        return self.put_on_devices(jax.tree.map(lambda x: x[self.local_devices], tree_DxR))

    def put_batch_on_devices(self, batch: dict, batch_axis: int) -> dict:
        """Puts a batch on the devices; its examples are divided over `data`.

        `batch` has this process's `batch_share` of the examples. `batch_axis` is their axis:
        TRAINING_AXIS_B or EVALUATION_AXIS_B.
        """
        placed = {}
        for name, array in batch.items():
            placed[name] = self.put_on_devices(array, self.batch_spec(name, batch_axis))
        return placed

    def batch_spec(self, name: str, batch_axis: int) -> PartitionSpec:
        """Returns how an array of a batch is divided: over `data` too if it has examples."""
        if not feeds.has_examples(name):
            return PER_DEVICE
        undivided = [None] * (batch_axis - 1)
        return PartitionSpec('runs', *undivided, 'data')

    def assign_slots(
        self, fold_N: np.ndarray, F: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns fold_DxF, the folds that each device needs, and slot_N.

        slot_N is the index of each run's fold among the folds of its device. A device that needs
        fewer folds than another repeats its last one. `F` is by default as small as possible.
        """
        fold_DxR = self.group_by_device(fold_N)
        needed = [np.unique(fold_R) for fold_R in fold_DxR]
        F = F or max(len(folds) for folds in needed)
        fold_DxF = np.zeros((self.D, F), fold_N.dtype)
        slot_DxR = np.zeros((self.D, self.R), np.int32)
        for d, folds in enumerate(needed):
            fold_DxF[d] = np.pad(folds, (0, F - len(folds)), mode='edge')
            slot_DxR[d] = np.searchsorted(folds, fold_DxR[d])
        return fold_DxF, slot_DxR.reshape(-1)[: self.count]


def _batch_share(is_local_DxE: np.ndarray) -> feeds.BatchShare:
    """Returns the share of each batch that this process reads.

    `is_local_DxE` says which of the E devices of each batch are this process's. UserError unless
    they have the same share of every batch.
    """
    if (is_local_DxE != is_local_DxE[0]).any():
        raise UserError(
            f'config.data_devices is {is_local_DxE.shape[1]}. It must divide the number of devices '
            f'of a process ({is_local_DxE.sum()}), or be a multiple of it. Choose another number.'
        )
    local = np.flatnonzero(is_local_DxE[0])
    return feeds.BatchShare(int(local[0]), int(local[-1]) + 1, is_local_DxE.shape[1])


class CompiledFunctions(NamedTuple):
    """The compiled functions of a sweep; `shared` is features.SharedArrays."""

    init: Callable  # (hyper) -> state
    # (state, shared, batches_DxSxF..., span_2, hyper) -> (state, metrics_DxRxS). The state is
    # donated. Steps outside the span are left out, and their metrics are NaN.
    train_chunk: Callable
    # (frames) -> (params, batch_stats, shared, batch_DxF..., hyper) -> (z_DxRxBxD, outputs_DxRxBxO)
    predict_for_frames: Callable
    update_best: Callable  # (best, state, better_DxR) -> best


def compile_step(
    step: Step,
    layout: Layout,
    frames: int,
    mode: str = 'jit',
    in_turn: bool | None = None,
    block: int = 1,
) -> CompiledFunctions:
    """Returns `step` as functions of all runs of a layout; they compile at their first call.

    `frames` is the length of a training example. `in_turn` says whether the runs of a device take
    turns or are vmapped; by default they take turns on a CPU. `block` is the number of runs of a
    block (`runs_per_block`).
    """
    if in_turn is None:
        in_turn = layout.devices[0].platform == 'cpu'
    functions = _RunFunctions(step, frames, in_turn, block)

    def on_devices(function: Callable, per_device: tuple[bool, ...], **options):
        return _map_over_devices(function, layout, mode, per_device, **options)

    @functools.cache
    def predict_for_frames(predict_frames: int):
        # Blocks of one run: a batch of whole utterances is large, and not in the memory's forecast.
        predict = _RunFunctions(step, predict_frames, in_turn, 1).predict
        return on_devices(predict, (True, True, False, True, True))

    # `init` runs once; without optimisation it compiles in a fifth of the time.
    unoptimised = {'xla_backend_optimization_level': 0}
    return CompiledFunctions(
        init=on_devices(functions.init, (True,), compiler_options=unoptimised),
        train_chunk=on_devices(
            functions.train_chunk, (True, False, True, False, True), donate_argnums=0
        ),
        predict_for_frames=predict_for_frames,
        update_best=on_devices(update_best, (True, True, True)),
    )


def _map_over_devices(
    function: Callable,
    layout: Layout,
    mode: str,
    per_device: tuple[bool, ...],
    donate_argnums=(),
    **options,
):
    """Returns the function of all devices' arrays that applies `function` to those of each device.

    `per_device` says which arguments have the leading axis D; the others are the same everywhere.
    `mode` is one of MODES, and `options` are those of jax.jit.
    """
    if mode == 'pmap':
        axes = tuple(0 if has_axis else None for has_axis in per_device)
        return jax.pmap(
            function,
            'runs',
            in_axes=axes,
            devices=layout.devices,
            donate_argnums=donate_argnums,
        )

    def run_on_device(*arguments):
        own = []
        for argument, has_axis in zip(arguments, per_device):
            own.append(jax.tree.map(lambda x: x[0], argument) if has_axis else argument)
        return jax.tree.map(lambda x: x[None], function(*own))

    specs = tuple(PER_DEVICE if has_axis else REPLICATED for has_axis in per_device)
    # Only the axis `runs` is divided here; XLA divides the axis `data`.
    body = jax.shard_map(
        run_on_device,
        mesh=layout.mesh,
        in_specs=specs,
        out_specs=PER_DEVICE,
        axis_names={'runs'},
        check_vma=False,
    )
    return jax.jit(body, donate_argnums=donate_argnums, **options)


def runs_per_block(slot_DxR: np.ndarray) -> int:
    """Returns the largest V such that V neighbouring runs have the same slot.

    The neighbours are runs n V to n V + V - 1 of a device, and V divides R.
    """
    D, R = slot_DxR.shape
    for V in range(R, 1, -1):
        if R % V == 0:
            slot_DxKxV = slot_DxR.reshape(D, -1, V)
            if (slot_DxKxV == slot_DxKxV[..., :1]).all():
                return V
    return 1


class _RunFunctions:
    """The functions of a step for the R runs of one device, in blocks of V runs."""

    def __init__(self, step: Step, frames: int, in_turn: bool, block: int):
        self.step = step
        self.frames = frames
        self.in_turn = in_turn
        self.block = block

    def _map_over_blocks(self, function: Callable, *runs):
        """Returns the results of `function` for all runs.

        The first axis of its arguments and results are the V runs of a block; here they are R.
        """

        def split(x_R):
            return x_R.reshape(-1, self.block, *x_R.shape[1:])

        def join(x_KxV):
            return x_KxV.reshape(-1, *x_KxV.shape[2:])

        blocks = jax.tree.map(split, runs)
        return jax.tree.map(join, self._map(function, *blocks))

    def _map_over_block(self, function: Callable, *runs):
        """Returns the results of `function`, that of one run, for the V runs of a block."""
        if self.block == 1:  # without a loop or vmap, which make the program of a run slower
            result = function(*jax.tree.map(lambda x_V: x_V[0], runs))
            return jax.tree.map(lambda x: jnp.expand_dims(x, 0), result)
        return self._map(function, *runs)

    def _map(self, function: Callable, *arrays):
        """Returns the results of `function` for each index of the first axis."""
        if self.in_turn:
            return jax.lax.map(lambda arguments: function(*arguments), arrays)
        return jax.vmap(function)(*arrays)

    def init(self, hyper):
        """Returns the states of the runs before training."""

        def init_block(hyper_V):
            return self._map_over_block(self.step.init, hyper_V)

        return self._map_over_blocks(init_block, hyper)

    def predict(self, params, batch_stats, shared, batch_F, hyper):
        """Returns (z_RxBxD, outputs_RxBxO) of a batch of examples of `frames` frames."""

        def predict_block(params_V, batch_stats_V, hyper_V):
            batch = own_batch(batch_F, shared, hyper_V['slot'][0], self.frames)

            def predict_run(params, batch_stats):
                return self.step.predict(params, batch_stats, batch)

            return self._map_over_block(predict_run, params_V, batch_stats_V)

        return self._map_over_blocks(predict_block, params, batch_stats, hyper)

    def train_chunk(self, state, shared, batches_SxF, span_2, hyper):
        """Returns the states after some steps of a chunk, and the metrics of all its steps.

        The steps are those from span_2[0] up to, and without, span_2[1]. The metrics of the others
        are NaN. Chunks of any number of steps have one program, and steps that are left out cost
        nothing.
        """
        start, stop = span_2

        def train_block(state_V, hyper_V):
            @jax.jit  # so that it is traced only once
            def update(state_V, s):
                batch_F = jax.tree.map(lambda x_SxF: x_SxF[s], batches_SxF)
                return self._update(state_V, batch_F, shared, hyper_V)

            def update_and_store(s, carry):
                def store(x_SxV, x_V):
                    return x_SxV.at[s].set(x_V)

                state_V, metrics_SxV = carry
                state_V, metrics_V = update(state_V, s)
                return state_V, jax.tree.map(store, metrics_SxV, metrics_V)

            S = len(jax.tree.leaves(batches_SxF)[0])
            shapes_V = jax.eval_shape(update, state_V, start)[1]
            nan_SxV = jax.tree.map(functools.partial(_nan_of_shape, S), shapes_V)
            state_V, metrics_SxV = jax.lax.fori_loop(
                start, stop, update_and_store, (state_V, nan_SxV)
            )
            return state_V, jax.tree.map(lambda x_SxV: x_SxV.swapaxes(0, 1), metrics_SxV)

        return self._map_over_blocks(train_block, state, hyper)

    def _update(self, state_V, batch_F, shared, hyper_V):
        """Trains a block for one step; returns its state and metrics."""
        batch = own_batch(batch_F, shared, hyper_V['slot'][0], self.frames)

        def update_run(state, hyper):
            return self.step.update(state, batch, hyper)

        return self._map_over_block(update_run, state_V, hyper_V)


def _nan_of_shape(S: int, shape_V: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.full((S, *shape_V.shape), jnp.nan, shape_V.dtype)


def own_batch(batch_F: dict, shared: features.SharedArrays, slot: jax.Array, frames: int) -> dict:
    """Returns the batch of the fold that has this slot, with its features."""
    batch = {name: array_F[slot] for name, array_F in batch_F.items()}
    return features.with_features(batch, shared, frames)


def update_best(best: tuple, state, better_R: jax.Array) -> tuple:
    """Returns (params, batch_stats), from `state` for the runs in better_R, else from `best`."""

    def choose(old, new):
        better = better_R.reshape(-1, *[1] * (old.ndim - 1))
        return jnp.where(better, new, old)

    return jax.tree.map(choose, best, (state.params, state.batch_stats))


def map_over_runs(function: Callable, runs):
    """Returns the results of the pure `function` for every run, as NumPy arrays.

    `runs` is a tree of arrays whose first axis is R, the runs. They are divided over the devices of
    this process. On accelerators the runs of a device are vmapped, on a CPU they take turns.
    """
    R = len(jax.tree.leaves(runs)[0])
    devices = jax.local_devices()[:R]
    padding = -R % len(devices)

    def pad(x_R):
        return np.concatenate([x_R, np.repeat(x_R[-1:], padding, 0)])

    def unpad(x_R):
        return np.asarray(x_R)[:R]

    results = _sharded_map(function, tuple(devices))(jax.tree.map(pad, runs))
    return jax.tree.map(unpad, results)


@functools.lru_cache(maxsize=4)
def _sharded_map(function: Callable, devices: tuple):
    """Returns the compiled map of `function` over the runs of all devices."""

    def map_on_device(runs):
        if devices[0].platform == 'cpu':
            return jax.lax.map(function, runs)
        return jax.vmap(function)(runs)

    mesh = jax.make_mesh((len(devices),), ('runs',), axis_types=(AxisType.Auto,), devices=devices)
    mapped = jax.shard_map(
        map_on_device, mesh=mesh, in_specs=PER_DEVICE, out_specs=PER_DEVICE, check_vma=False
    )
    return jax.jit(mapped)

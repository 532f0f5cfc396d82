"""Compiles a program of the sweep and divides its runs into groups that fit into memory."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from data_pipelines.batching import feeds, plan
from data_pipelines.errors import UserError
from jaxser.configuration import sweep
from jaxser.features import SharedArrays
from jaxser.plugins import make_method
from jaxser.training import memory, parallel, step
from jaxser.training.task import Task

CHUNK_BYTES = 64 << 20  # of streamed features in one dispatch


class Group:
    """Runs that train together, and the batches that they need."""

    def __init__(
        self,
        program: sweep.Program,
        runs: list[dict],
        layout: parallel.Layout,
        task: Task,
        F: int | None = None,
    ):
        """Assigns the runs to the devices of `layout`, each of which has the batches of F folds.

        `subset_fold_N` and `subset_fold_DxF` are indices in `task.subset_folds`, not the numbers of
        folds. `F` is by default as small as possible.
        """
        self.program = program
        self.runs = runs
        self.layout = layout
        self.task = task
        fold_indices = [task.subset_fold_index[run['fold'], sweep.run_subset(run)] for run in runs]
        self.subset_fold_N = np.array(fold_indices)
        self.subset_fold_DxF, slot_N = layout.assign_slots(self.subset_fold_N, F)
        hyper_N = sweep.hyper_arrays(runs, program) | {'slot': slot_N}
        self.hyper_DxR = {key: layout.group_by_device(x_N) for key, x_N in hyper_N.items()}

    @property
    def examples_per_step(self) -> int:
        """Returns the size of a training batch, with its identity examples."""
        batch = self.program.config.data.batch
        return 2 * batch if self.program.method.has_identity_batches else batch

    def training_items(
        self, epoch: int, steps_per_chunk: int, all_processes: bool = False
    ) -> Iterator[plan.Item]:
        """Yields the training chunks of an epoch for the devices of this process, or for all."""
        devices = slice(None) if all_processes else self.layout.local_devices
        return plan.training_items(
            self.task.subset_folds,
            self.subset_fold_DxF[devices],
            self.task.utterances,
            epoch,
            self.task.steps_per_epoch,
            steps_per_chunk,
            self.program.config.data,
            self.program.method.has_identity_batches,
        )

    def evaluation_items(self, part: str, epoch: int) -> Iterator[plan.Item]:
        """Yields the batches of a part of each fold (see plan.Item) for this process's devices."""
        return plan.evaluation_items(
            self.task.subset_folds,
            self.subset_fold_DxF[self.layout.local_devices],
            self.task.utterances,
            part,
            epoch,
            self.program.config.data.eval_batch,
        )


class ProgramFunctions(NamedTuple):
    """The functions of a program for R runs on a device, and S, the steps of a training chunk."""

    functions: parallel.CompiledFunctions
    steps_per_chunk: int


class Trainer:
    """The compiled functions of a program, for groups of one size."""

    def __init__(
        self,
        program: sweep.Program,
        task: Task,
        mel_RxM: np.ndarray | None,
        group_size: int | None,
        for_training: bool = True,
        program_note: str = '',
    ):
        """Compiles the functions of `program`.

        `mel_RxM` are the features that stay on the device, or None if they are streamed. A group
        has `group_size` runs, or as many as fit if it is None. If not `for_training`, the trainer
        can only predict, and has less to compile. `program_note` tells the log which of several
        programs this is. Raises UserError if the runs do not fit.
        """
        config = program.config
        self.program = program
        self.task = task
        self.config = config
        self.runs = sweep.make_runs(program, [fold.number for fold in task.folds])
        sizes = task.make_sizes(config)
        encoder, self.method = make_method(config, sizes)
        self.frozen = encoder.frozen
        is_masked = any(run['time_mask'] or run['band_mask'] for run in self.runs)
        self.step = step.make_step(encoder, self.method, sizes, config.train, is_masked)
        self.is_resident = mel_RxM is not None
        self.group_size = group_size
        self.memory_bytes = 0  # the forecast for one device; 0 where it is not known
        self.program_note = program_note

        layout = parallel.Layout(group_size or len(self.runs), data_devices=config.data_devices)
        if config.parallel == 'pmap' or not for_training:
            # Compiled at the first call; all runs must fit.
            R = layout.R
            built = self._build_functions(self._make_groups(R)[0])
        else:
            R, built = self._compile_largest(layout)
        self.functions = built.functions
        self.train_chunk = built.functions.train_chunk
        self.steps_per_chunk = built.steps_per_chunk
        if group_size and layout.R > R:
            raise UserError(
                f'The sweep was started in groups of {group_size} runs, which do not fit into the '
                'memory of these devices. Continue where it was started, or choose another '
                '--workdir to train the sweep again.'
            )
        self.group_size = group_size or min(len(self.runs), layout.D * R)
        self.groups = self._make_groups(R)
        shared = SharedArrays(mel_RxM, self.frozen)
        self.shared = self.groups[0].layout.put_on_devices(shared, parallel.REPLICATED)

    def open_feed(self, items: Iterable[plan.Item]) -> Iterator[tuple[plan.Item, dict]]:
        """Returns a generator of (item, batch), for resident or for streamed features."""
        feed = feeds.resident_feed if self.is_resident else feeds.streaming_feed
        return feed(self.task.table, items, self.groups[0].layout.batch_share)

    def predict(
        self, layout: parallel.Layout, variables: tuple, item: plan.Item, batch: dict, hyper: dict
    ) -> tuple:
        """Returns (z_DxRxBxD, outputs_DxRxBxO) of a batch of whole utterances.

        `variables` are (params, batch_stats) of the runs, and `hyper` their hyper-parameters on the
        devices of `layout`.
        """
        predict = self.functions.predict_for_frames(item.frames)
        batch = layout.put_batch_on_devices(batch, parallel.EVALUATION_AXIS_B)
        return predict(*variables, self.shared, batch, hyper)

    def _compile_largest(self, layout: parallel.Layout) -> tuple[int, ProgramFunctions]:
        """Returns how many runs fit on a device, and the functions for them.

        Their `train_chunk` is compiled. Sets `memory_bytes`.
        """
        built = {}

        def compile_for(R: int):
            group = self._make_groups(R)[0]
            built[R] = self._build_functions(group, self._runs_per_block(R))
            return self._compile(group, built[R])

        bytes_per_run = self._bytes_outside_program()
        limit = memory.memory_limit(layout.devices)
        R, train_chunk = memory.choose_runs_per_device(compile_for, layout.R, limit, bytes_per_run)
        self.memory_bytes = memory.required_bytes(train_chunk, R * bytes_per_run)
        functions = built[R].functions._replace(train_chunk=train_chunk)
        return R, ProgramFunctions(functions, built[R].steps_per_chunk)

    def _make_groups(self, R: int) -> list[Group]:
        """Returns the groups for R runs on a device; all have the same shapes."""
        count = self.group_size or len(self.runs)
        layout = parallel.Layout(count, data_devices=self.config.data_devices, R=R)
        size = self.group_size or layout.D * R
        groups = []
        for start in range(0, len(self.runs), size):
            runs = self.runs[start : start + size]
            groups.append(Group(self.program, runs, layout.with_count(len(runs)), self.task))
        F = max(group.subset_fold_DxF.shape[1] for group in groups)
        return [Group(self.program, g.runs, g.layout, self.task, F) for g in groups]

    def _build_functions(self, group: Group, block: int = 1) -> ProgramFunctions:
        """Returns the functions for groups like `group`; they compile at their first call.

        `block` is the number of runs of a block.
        """
        frames = self.config.data.frames
        steps_per_chunk = self.task.steps_per_epoch
        if not self.is_resident:
            examples = group.subset_fold_DxF.size * group.examples_per_step
            values_per_step = examples * frames * self.task.utterances.bands
            fitting = CHUNK_BYTES // (2 * values_per_step)  # in float16
            steps_per_chunk = max(1, min(steps_per_chunk, fitting))
        functions = parallel.compile_step(
            self.step, group.layout, frames, self.config.parallel, block=block
        )
        return ProgramFunctions(functions, steps_per_chunk)

    def _runs_per_block(self, R: int) -> int:
        """Returns the number of runs of a block, of R runs on a device.

        On a CPU the states of a block are copied in every step. This is worth it if they are
        small beside the frozen weights, as those of adapters.
        """
        frozen_bytes = sum(array.nbytes for array in jax.tree.leaves(self.frozen))
        is_cpu = jax.default_backend() == 'cpu'
        if not frozen_bytes or (is_cpu and self._bytes_outside_program() > frozen_bytes):
            return 1
        slot_GxDxR = np.stack([group.hyper_DxR['slot'] for group in self._make_groups(R)])
        return parallel.runs_per_block(slot_GxDxR.reshape(-1, R))

    def _bytes_outside_program(self) -> int:
        """Returns the bytes that a run needs in addition to the compiled training chunk."""
        hyper_N = sweep.hyper_arrays(self.runs[:1], self.program) | {'slot': np.zeros(1, np.int32)}
        hyper = {}
        for key, x_N in hyper_N.items():
            hyper[key] = jax.ShapeDtypeStruct(x_N.shape[1:], x_N.dtype)
        return memory.bytes_outside_program(jax.eval_shape(self.step.init, hyper))

    def _compile(self, group: Group, built: ProgramFunctions):
        """Returns the training chunk of `built`, compiled from the shapes of `group` alone."""
        layout = group.layout

        def shape_of(array, spec):
            sharding = NamedSharding(layout.mesh, spec)
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

        def shape_per_device(array):
            return shape_of(array, parallel.PER_DEVICE)

        def shape_replicated(array):
            return shape_of(array, parallel.REPLICATED)

        batch, corpus_RxM = self._dummy_batch(group, built.steps_per_chunk)
        batch_shapes = {}
        for name, array in batch.items():
            batch_shapes[name] = shape_of(array, layout.batch_spec(name, parallel.TRAINING_AXIS_B))
        state = jax.eval_shape(built.functions.init, group.hyper_DxR)
        lowered = built.functions.train_chunk.lower(
            jax.tree.map(shape_per_device, state),
            jax.tree.map(shape_replicated, SharedArrays(corpus_RxM, self.frozen)),
            batch_shapes,
            shape_replicated(np.zeros(2, np.int32)),
            jax.tree.map(shape_per_device, group.hyper_DxR),
        )
        return lowered.compile()

    def _dummy_batch(self, group: Group, steps_per_chunk: int) -> tuple[dict, np.ndarray | None]:
        """Returns a chunk's batch without features, and the features of the corpus or None.

        The features are zeros that take no memory: only their shapes matter.
        """
        task = self.task
        item = next(group.training_items(0, steps_per_chunk, all_processes=True))
        batch = task.table.make_batch(item)
        bands = task.utterances.bands
        if self.is_resident:
            batch['first_B'] = np.zeros(item.row.shape, np.int32)
            R = task.feature_bytes() // (2 * bands)
            return batch, np.broadcast_to(np.float16(0), (R, bands))
        shape = (*item.row.shape, item.frames, bands)
        batch['mel_BxTxM'] = np.broadcast_to(np.float16(0), shape)
        return batch, None

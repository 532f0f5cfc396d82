"""Compiles a program of the sweep and divides its runs into groups that fit into memory."""

from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding

from data_pipelines.batching import plan
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
        self.runs = runs
        self.layout = layout
        self.has_fit = program.method.has_fit
        fold_indices = [task.subset_fold_index[run['fold'], sweep.run_subset(run)] for run in runs]
        self.fold_N = np.array(fold_indices)
        self.fold_DxF, slot_N = layout.assign_slots(self.fold_N, F)
        hyper_N = sweep.hyper_arrays(runs, program) | {'slot': slot_N}
        self.hyper_DxR = {key: layout.group_by_device(x_N) for key, x_N in hyper_N.items()}

    def work_items(
        self,
        config,
        task: Task,
        steps_per_chunk: int,
        first_epoch: int,
        with_identity_batches: bool = False,
    ) -> Iterator[plan.Item]:
        """Yields all work from `first_epoch` (counted from 0) to the end.

        Every epoch is training, then dev. After the last epoch comes the training data for the
        method's fit, if it has one, then the test part.
        """
        epochs = config.train.epochs
        for epoch in range(first_epoch, epochs):
            yield from plan.training_items(
                task.subset_folds,
                self.fold_DxF[self.layout.local_devices],
                task.utterances,
                epoch,
                task.steps_per_epoch,
                steps_per_chunk,
                config.data,
                with_identity_batches,
            )
            yield from self._evaluation_items(config, task, 'dev', epoch)
        # A checkpoint beyond the last epoch contains the fitted parameters.
        if self.has_fit and first_epoch <= epochs:
            yield from self._evaluation_items(config, task, 'seen', epochs)
        yield from self._evaluation_items(config, task, 'test', epochs)

    def _evaluation_items(self, config, task: Task, part: str, epoch: int) -> Iterator[plan.Item]:
        return plan.evaluation_items(
            task.subset_folds,
            self.fold_DxF[self.layout.local_devices],
            task.utterances,
            part,
            epoch,
            config.data.eval_batch,
        )


class Trainer:
    """The compiled functions of a program, for groups of one size."""

    def __init__(
        self,
        program: sweep.Program,
        task: Task,
        mel_RxM: np.ndarray | None,
        group_size: int | None,
        for_training: bool = True,
    ):
        """Compiles the functions of `program`.

        `mel_RxM` are the features that stay on the device, or None if they are streamed. A group
        has `group_size` runs, or as many as fit if it is None. If not `for_training`, the trainer
        can only predict, and has less to compile. Raises UserError if the runs do not fit.
        """
        config = program.config
        self.program = program
        self.task = task
        self.config = config
        self.runs = sweep.make_runs(program, [fold.number for fold in task.folds])
        sizes = task.make_sizes(config)
        encoder, self.method = make_method(config, sizes)
        self.frozen = encoder.frozen
        self.step = step.make_step(encoder, self.method, sizes, config.train)
        self.has_identity_batches = program.method.has_identity_batches
        self.is_resident = mel_RxM is not None
        self.group_size = group_size
        self.memory_bytes = 0  # the forecast for one device; 0 where it is not known
        self.program_note = ''  # which of several programs this is, for the log

        layout = parallel.Layout(group_size or len(self.runs), data_devices=config.data_devices)
        if config.parallel == 'pmap' or not for_training:
            # Compiled at the first call; all runs must fit.
            R = layout.R
            self._build_functions(R)
            self.train_chunk = self.functions.train_chunk
        else:
            R = self._compile_largest(layout)
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

    def _compile_largest(self, layout: parallel.Layout) -> int:
        """Compiles the training chunk for as many runs as fit; returns their number per device."""
        bytes_per_run = self._bytes_outside_program()
        limit = memory.memory_limit(layout.devices)
        R, self.train_chunk = memory.choose_runs_per_device(
            self._compile, layout.R, limit, bytes_per_run
        )
        self.memory_bytes = memory.required_bytes(self.train_chunk, R * bytes_per_run)
        return R

    def _make_groups(self, R: int) -> list[Group]:
        """Returns the groups for R runs on a device; all have the same shapes."""
        count = self.group_size or len(self.runs)
        layout = parallel.Layout(count, data_devices=self.config.data_devices, R=R)
        size = self.group_size or layout.D * R
        groups = []
        for start in range(0, len(self.runs), size):
            runs = self.runs[start : start + size]
            groups.append(Group(self.program, runs, layout.with_count(len(runs)), self.task))
        F = max(group.fold_DxF.shape[1] for group in groups)
        return [Group(self.program, g.runs, g.layout, self.task, F) for g in groups]

    def _build_functions(self, R: int) -> Group:
        """Builds the functions for R runs on a device; returns the first group."""
        group = self._make_groups(R)[0]
        data = self.config.data
        examples = data.batch * (2 if self.has_identity_batches else 1)
        values_per_step = group.fold_DxF.size * examples * data.frames * self.task.utterances.bands
        self.steps_per_chunk = self.task.steps_per_epoch
        if not self.is_resident:
            fitting = CHUNK_BYTES // (2 * values_per_step)  # in float16
            self.steps_per_chunk = max(1, min(self.steps_per_chunk, fitting))
        self.functions = parallel.compile_step(
            self.step, group.layout, data.frames, self.config.parallel
        )
        return group

    def _bytes_outside_program(self) -> int:
        """Returns the bytes that a run needs in addition to the compiled training chunk."""
        hyper_N = sweep.hyper_arrays(self.runs[:1], self.program) | {'slot': np.zeros(1, np.int32)}
        hyper = {}
        for key, x_N in hyper_N.items():
            hyper[key] = jax.ShapeDtypeStruct(x_N.shape[1:], x_N.dtype)
        return memory.bytes_outside_program(jax.eval_shape(self.step.init, hyper))

    def _compile(self, R: int):
        """Returns the training chunk for R runs on a device, compiled from shapes alone."""
        group = self._build_functions(R)
        layout = group.layout

        def shape_of(array, spec):
            sharding = NamedSharding(layout.mesh, spec)
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

        def shape_per_device(array):
            return shape_of(array, parallel.PER_DEVICE)

        def shape_replicated(array):
            return shape_of(array, parallel.REPLICATED)

        batch, corpus_RxM = self._dummy_batch(group)
        batch_shapes = {}
        for name, array in batch.items():
            batch_shapes[name] = shape_of(array, layout.batch_spec(name, 3))
        state = jax.eval_shape(self.functions.init, group.hyper_DxR)
        lowered = self.functions.train_chunk.lower(
            jax.tree.map(shape_per_device, state),
            jax.tree.map(shape_replicated, SharedArrays(corpus_RxM, self.frozen)),
            batch_shapes,
            shape_replicated(np.zeros(self.steps_per_chunk, bool)),
            jax.tree.map(shape_per_device, group.hyper_DxR),
        )
        return lowered.compile()

    def _dummy_batch(self, group: Group) -> tuple[dict, np.ndarray | None]:
        """Returns a chunk's batch without features, and the features of the corpus or None.

        The features are zeros that take no memory: only their shapes matter.
        """
        task = self.task
        items = plan.training_items(
            task.subset_folds,
            group.fold_DxF,
            task.utterances,
            0,
            task.steps_per_epoch,
            self.steps_per_chunk,
            self.config.data,
            self.has_identity_batches,
        )
        item = next(items)
        batch = task.table.make_batch(item)
        bands = task.utterances.bands
        if self.is_resident:
            batch['first_B'] = np.zeros(item.row.shape, np.int32)
            R = task.feature_bytes() // (2 * bands)
            return batch, np.broadcast_to(np.float16(0), (R, bands))
        shape = (*item.row.shape, item.frames, bands)
        batch['mel_BxTxM'] = np.broadcast_to(np.float16(0), shape)
        return batch, None

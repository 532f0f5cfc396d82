"""TODO: jaxser.training.trainer."""

import jax
import numpy as np
from jax.sharding import NamedSharding

from data_pipelines.batching import plan
from data_pipelines.errors import UserError
from jaxser.configuration import sweep
from jaxser.features import SharedArrays
from jaxser.plugins import DUMMY_SIZES, make_method
from jaxser.training import memory, parallel, step
from jaxser.training.task import Task

CHUNK_BYTES = 64 << 20  # of streamed features in one dispatch


class Group:
    """Runs that train together, and the work to feed them."""

    def __init__(
        self,
        program: sweep.Program,
        runs: list[dict],
        layout: parallel.Layout,
        task: Task,
        F: int | None = None,
    ):
        self.runs, self.layout, self.has_fit = (
            runs,
            layout,
            make_method(program.config, DUMMY_SIZES)[1].fit is not None,
        )
        self.fold_N = np.array(
            [task.subset_fold_index[r['fold'], sweep.run_subset(r)] for r in runs]
        )
        self.fold_DxF, slot_N = layout.assign_slots(self.fold_N, F)
        hyper_N = sweep.hyper_arrays(runs, program) | {'slot': slot_N}
        self.hyper_DxR = {k: layout.group_by_device(v) for k, v in hyper_N.items()}

    def work_items(
        self, config, task: Task, steps_per_chunk: int, first_epoch: int, identity: bool = False
    ):
        """All work from `first_epoch` to the end: training and dev of every epoch, then once what is fitted on and the test part."""
        u, size, here = (
            task.utterances,
            config.data.eval_batch,
            self.fold_DxF[self.layout.local_devices],
        )
        for e in range(first_epoch, config.train.epochs):
            yield from plan.training_items(
                task.subset_folds,
                here,
                u,
                e,
                task.steps_per_epoch,
                steps_per_chunk,
                config.data,
                identity,
            )
            yield from plan.evaluation_items(task.subset_folds, here, u, 'dev', e, size)
        if (
            self.has_fit and first_epoch <= config.train.epochs
        ):  # a checkpoint beyond the last epoch holds what was fitted
            yield from plan.evaluation_items(
                task.subset_folds, here, u, 'seen', config.train.epochs, size
            )
        yield from plan.evaluation_items(
            task.subset_folds, here, u, 'test', config.train.epochs, size
        )


class Trainer:
    """The compiled programs of a part, for groups of one size."""

    def __init__(
        self,
        program: sweep.Program,
        task: Task,
        mel_RxM: np.ndarray | None,
        group_size: int | None,
        for_training: bool = True,
    ):
        """`group_size` runs a group, as many as fit where it is None; `mel_RxM` the features that stay on the device, or None.

        One that does not train predicts alone, and has less to compile.
        """
        config = program.config
        self.program, self.task, self.config, self.group_size = program, task, config, group_size
        self.runs = sweep.make_runs(program, [f.number for f in task.folds])
        encoder, self.method = make_method(config, task.make_sizes(config))
        self.frozen, self.memory_bytes, self.program_note = encoder.frozen, 0, ''
        self.step, self.has_identity_batches = (
            step.make_step(encoder, self.method, task.make_sizes(config), config.train),
            self.method.identity,
        )
        self.is_resident = mel_RxM is not None
        most = parallel.Layout(group_size or len(self.runs), data_devices=config.data_devices)
        if (
            config.parallel == 'pmap' or not for_training
        ):  # compiles at the first call, and all runs must fit
            R = most.R
            self._build_functions(R)
            self.train_chunk = self.functions.train_chunk
        else:
            per_run, limit = self._bytes_beside_program(), memory.memory_limit(most.devices)
            R, self.train_chunk = memory.choose_runs_per_device(
                self._compile, most.R, limit, per_run
            )
            self.memory_bytes = memory.required_bytes(self.train_chunk, R * per_run)
        if group_size and most.R > R:
            raise UserError(
                f'The sweep was begun in groups of {group_size} runs, which do not fit here. Go on where it was begun, or anew.'
            )
        self.group_size = group_size or min(len(self.runs), most.D * R)
        self.groups = self._make_groups(R)
        self.shared = self.groups[0].layout.put_on_devices(
            SharedArrays(mel_RxM, self.frozen), parallel.REPLICATED
        )

    def _make_groups(self, R: int) -> list[Group]:
        whole = parallel.Layout(
            self.group_size or len(self.runs), data_devices=self.config.data_devices, R=R
        )
        size = self.group_size or whole.D * R
        some = [self.runs[at : at + size] for at in range(0, len(self.runs), size)]
        groups = [
            Group(self.program, runs, whole.with_count(len(runs)), self.task) for runs in some
        ]
        F = max(g.fold_DxF.shape[1] for g in groups)
        return [Group(self.program, g.runs, g.layout, self.task, F) for g in groups]

    def _build_functions(self, R: int) -> Group:
        group, config = self._make_groups(R)[0], self.config
        examples = (1 + self.has_identity_batches) * config.data.batch
        step_bytes = (
            2 * group.fold_DxF.size * examples * config.data.frames * self.task.utterances.bands
        )
        self.steps_per_chunk = (
            self.task.steps_per_epoch
            if self.is_resident
            else max(1, min(self.task.steps_per_epoch, CHUNK_BYTES // step_bytes))
        )
        self.functions = parallel.compile_step(
            self.step, group.layout, config.data.frames, config.parallel
        )
        return group

    def _bytes_beside_program(self) -> int:
        """Returns the bytes a run takes beside the chunk: selected parameters, second state."""
        hyper_N = sweep.hyper_arrays(self.runs[:1], self.program) | {'slot': np.zeros(1, np.int32)}
        hyper = {k: jax.ShapeDtypeStruct(v.shape[1:], v.dtype) for k, v in hyper_N.items()}
        return memory.bytes_beside_program(jax.eval_shape(self.step.init, hyper))

    def _compile(self, R: int):
        """The chunk for R runs on a device, compiled from shapes alone."""
        group = self._build_functions(R)
        layout, task, config = group.layout, self.task, self.config
        shape = lambda x, spec: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=NamedSharding(layout.mesh, spec)
        )  # noqa: E731
        per_run = lambda tree: jax.tree.map(lambda x: shape(x, parallel.PER_DEVICE), tree)  # noqa: E731
        epoch = (
            0,
            task.steps_per_epoch,
            self.steps_per_chunk,
            config.data,
            self.has_identity_batches,
        )
        item = next(plan.training_items(task.subset_folds, group.fold_DxF, task.utterances, *epoch))
        batch = task.table.make_batch(item)
        if self.is_resident:
            batch['first_B'] = np.zeros(item.row.shape, np.int32)
            room = task.feature_bytes() // (2 * task.utterances.bands)
            corpus_RxM = np.broadcast_to(np.float16(0), (room, task.utterances.bands))
        else:
            batch['mel_BxTxM'] = np.broadcast_to(
                np.float16(0), (*item.row.shape, item.frames, task.utterances.bands)
            )
            corpus_RxM = None
        shared = jax.tree.map(
            lambda x: shape(x, parallel.REPLICATED), SharedArrays(corpus_RxM, self.frozen)
        )
        batch = {k: shape(x, layout.batch_spec(k, 3)) for k, x in batch.items()}
        state = per_run(jax.eval_shape(self.functions.init, group.hyper_DxR))
        real = jax.ShapeDtypeStruct(
            (self.steps_per_chunk,), bool, sharding=NamedSharding(layout.mesh, parallel.REPLICATED)
        )
        return self.functions.train_chunk.lower(
            state, shared, batch, real, per_run(group.hyper_DxR)
        ).compile()

"""A sweep from its configuration to its results.

A sweep is one or several parts (a program each: structural keys cannot be traced), a part is one or several groups of runs (as
many as fit into memory), and a group trains as one program. A group that is done is never computed again.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from data_pipelines import labels
from data_pipelines.batching import feeds, plan, table
from data_pipelines.errors import UserError
from data_pipelines.protocols import audit, folds, split, subsets
from data_pipelines.storage import dataset
from jaxser import announce, checkpoint, distributed, memory, optimizer, parallel, step, written
from jaxser.analysis import adversary, predictions
from jaxser.analysis.metrics import Collected, CollectedPosteriors, classification_metrics
from jaxser.configuration import resolve, sweep
from jaxser.features import SharedArrays
from jaxser.interfaces import Sizes
from jaxser.nn import batch_norm
from jaxser.plugins import DUMMY_SIZES, load_plugin, make_method, matmul_precision_context
from jaxser.record import EpochMetrics, SelectionRecord
from jaxser.runs import flatten, run_label, varying_keys
from jaxser.workdir import MetricsLog, Workdir

CHUNK_BYTES = 64 << 20  # of streamed features in one dispatch

RESIDENT_MEMORY_FRACTION = 0.4  # of a device's memory, for features that stay there

TARGET_DISPATCH_SECONDS = 20.0  # that one may take, about: meanwhile the bar stands still

SELECTIONS = ('best dev UAR', 'last epoch')

PRECISIONS = ('default', 'high', 'highest')

RESIDENCIES = ('auto', 'on', 'off')

LARGEST_SEED = 2**31 - 1  # of 32-bit integers

class Range(NamedTuple):
    """Finite numbers from `low` to `high`; `without` names the end that is not allowed."""

    low: float
    high: float = math.inf
    open_end: str = ''  # low | high

    def __contains__(self, value) -> bool:
        if not isinstance(value, int | float):
            return False
        above = self.low < value if self.open_end == 'low' else self.low <= value
        below = value < self.high if self.open_end == 'high' else value <= self.high
        return above and below and value < math.inf  # NaN is neither above nor below

    def __str__(self) -> str:
        low, high = f'{self.low:.10g}', f'{self.high:.10g}'
        if self.high == math.inf:
            return f'a number above {low}' if self.open_end == 'low' else f'{low} or more'
        ends = {'low': f'above {low}, up to {high}', 'high': f'from {low} up, below {high}'}
        return f'a number {ends.get(self.open_end, f"from {low} to {high}")}'

RANGES = {
    'data.frames': Range(1),
    'data.batch': Range(1),
    'data.eval_batch': Range(1),
    'data.order_seed': Range(0, LARGEST_SEED),
    'data_devices': Range(1),
    'model.accumulate': Range(1),
    'model.layer_decay': Range(0, 1, open_end='low'),
    'model.upstream_rate': Range(0, open_end='low'),
    'train.checkpoint_seconds': Range(0),
    'train.clip': Range(0, open_end='low'),  # a negative one would turn descent into ascent
    'train.epochs': Range(1),
    'train.select_from': Range(0, 1),  # beyond 1 no epoch would be selected
    'train.warmup': Range(0, 1, open_end='high'),
}

def validate(config) -> list[sweep.Program]:
    """The parts of the sweep; refuses what can be known to be wrong before any data is read."""
    choices = {
        'train.select': SELECTIONS,
        'train.optimizer': tuple(optimizer.OPTIMIZERS),
        'data.normalise': tuple(table.NORMALISATIONS),
        'data.labels': (*labels.LABEL_SPACES, *labels.RATING_SPACES),
        'data.resident': RESIDENCIES,
        'matmul_precision': PRECISIONS,
        'parallel': parallel.MODES,
    }
    values = flatten(config)
    for key, known in choices.items():
        if values[key] not in known:
            raise UserError(f'config.{key} is {values[key]!r}; expected one of {", ".join(known)}.')
    for key, expected in RANGES.items():
        if key in values and values[key] not in expected:
            raise UserError(f'config.{key} is {values[key]}; expected {expected}.')
    if config.data_devices > 1 and config.parallel == 'pmap':
        raise UserError('config.data_devices needs config.parallel=jit: pmap shares no batch out over devices.')
    for key in ('batch', 'eval_batch'):
        if config.data[key] % config.data_devices:
            raise UserError(f'config.data.{key} is {config.data[key]}, no multiple of config.data_devices, {config.data_devices}.')
    if config.data.batch % (config.model.accumulate * config.data_devices):
        raise UserError(
            f'config.data.batch is {config.data.batch}, no multiple of config.model.accumulate times config.data_devices, '
            f'{config.model.accumulate} x {config.data_devices}.'
        )
    parts = sweep.make_programs(config, lambda c: make_method(c, DUMMY_SIZES)[1].hyper)
    for part in parts:
        masks = [k for k in ('time_mask', 'band_mask') if any(v[k] for v in part.variants)]
        if masks and config.data.upstream.startswith('wave'):
            raise UserError(
                f'config.sweep.{masks[0]} is above 0, and {config.data.upstream} are samples, in which SpecAugment would cut '
                'holes: set config.sweep.time_mask and config.sweep.band_mask to 0.'
            )
        if 'time_mask' in masks and '-pooled-' in config.data.upstream:
            raise UserError(
                f'config.sweep.time_mask is above 0, and {config.data.upstream} has one frame an utterance, which SpecAugment '
                'would cut out whole: set config.sweep.time_mask to 0.'
            )
        keys = load_plugin('models', config.model.name).KEYS
        if strange := [k for k in part.structure if k.startswith('model.') and k.removeprefix('model.') not in keys]:
            raise UserError(f'config.sweep.{strange[0]}: {config.model.name} has no such size; it has {", ".join(keys)}.')
        if config.protocol.identity and not make_method(part.config, DUMMY_SIZES)[1].identity:
            raise UserError(
                f'config.protocol.identity is {",".join(config.protocol.identity)}, and {part.config.method} takes no identity '
                'batches. Leave it empty, or train speaker_norm alone; beside it stands plain training as its lam = 0 '
                '(--config.method=speaker_norm --config.sweep.lam=0,0.01).'
            )
    return parts

class Task:
    """The data of a configuration: utterances, folds, and all of a batch but its features.

    `entries` are the folds to run, each with every subset of its training part that a run of `parts` asks for; an epoch of any of
    them takes as many steps as one of the whole training part.
    """

    def __init__(self, config, programs: list[sweep.Program]):
        self.split = split.make_split(config)
        self.utterances, self.protocol_folds, self.split_sha256, *_ = self.split
        self.steps_per_epoch = plan.steps_per_epoch(self.protocol_folds, config.data.batch)
        self.folds = [self.protocol_folds[n] for n in sweep.select_folds(config.sweep.fold, len(self.protocol_folds))]
        wanted, seed = list(dict.fromkeys(sweep.run_subset(v) for p in programs for v in p.variants)), config.data.order_seed
        for line in subsets.describe_shortages(self.utterances, self.folds, wanted, seed):
            distributed.log(line)
        self.subset_folds = [subsets.take_subset(self.utterances, f, s, seed) for f in self.folds for s in wanted]
        self.subset_fold_index = {key: i for i, key in enumerate(itertools.product((f.number for f in self.folds), wanted))}
        self.table = table.ExampleTable(self.utterances, self.subset_folds, config.data.normalise, config.train.balanced)
        self.label_keys: list[str] = []  # the hyper-parameters in which the runs differ, by which they are named
        self.protocol = folds.Protocol(**config.protocol)
        self.audit = audit.audit_folds(self.utterances, self.protocol_folds, self.protocol)
        self.max_frames = max(config.data.frames, plan.padded_length(int(self.utterances.frames_N.max())))

    def make_sizes(self, config) -> Sizes:
        """How much of everything there is."""
        domains = {d: len(self.table.domains[d]) for d in table.DOMAINS}
        return Sizes(self.utterances.bands, len(self.table.classes), domains, self.steps_per_epoch * config.train.epochs)

    def check_domain(self, domain: str) -> None:
        """Refuses to forget what does not vary: an adversary of one class learns nothing and costs time."""
        for fold, seen_K in zip(self.subset_folds, self.table.seen[domain]):
            if seen_K.sum() < 2:
                only = ', '.join(self.table.domains[domain][seen_K > 0]) or 'unknown'
                raise UserError(
                    f'Training hears only one {domain} in fold {fold.name!r}, {only}: there is nothing to forget. Choose another '
                    'config.domain, or let it hear the target: --config.protocol.adapt=others or transductive.'
                )

    def check_target(self, requested_by: str) -> None:
        """Refuses what is nothing without a target where none is heard."""
        for fold in self.folds:
            if not len(fold.adapt):
                raise UserError(
                    f'{requested_by} is nothing without a target, and training hears none in fold {fold.name!r}. Let it: '
                    '--config.protocol.adapt=transductive, or others where the protocol has a target.'
                )

    def feature_bytes(self) -> int:
        """Of all features in 16 bits, with room to cut the longest batch at their end."""
        return 2 * self.utterances.bands * (int(self.utterances.frames_N.sum()) + self.max_frames)

def choose_residency(config, task: Task, choices: dict) -> bool:
    """Whether the features live on the devices; says so."""
    size, limit = task.feature_bytes(), memory.memory_limit(jax.devices())
    fits = size <= RESIDENT_MEMORY_FRACTION * limit
    there = {'on': True, 'off': False}.get(config.data.is_resident, choices.get('resident', fits))
    if not there and task.utterances.is_packed:
        raise UserError(
            f'The features take {size / 2**20:.0f} MiB, and {RESIDENT_MEMORY_FRACTION * limit / 2**20:.0f} MiB may stay on the device; '
            'a packed corpus (.npz) cannot be streamed. Set config.data.resident=off where the shards are, or on to try.'
        )
    what = 'stay on the device' if there else 'are streamed from the shards'
    source = 'an .npz' if task.utterances.is_packed else 'the shards'
    room = f'{size / 2**20:.0f} MiB, and {RESIDENT_MEMORY_FRACTION * limit / 2**20:.0f} MiB may stay'
    distributed.log(f'Features, from {source}, {what}: {room} (config.data.resident={config.data.is_resident}).')
    return there

class Group:
    """Runs that train together, and the work to feed them."""

    def __init__(self, program: sweep.Program, runs: list[dict], layout: parallel.Layout, task: Task, F: int | None = None):
        self.runs, self.layout, self.has_fit = runs, layout, make_method(program.config, DUMMY_SIZES)[1].fit is not None
        self.fold_N = np.array([task.subset_fold_index[r['fold'], sweep.run_subset(r)] for r in runs])
        self.fold_DxF, slot_N = layout.assign_slots(self.fold_N, F)
        hyper_N = sweep.hyper_arrays(runs, program) | {'slot': slot_N}
        self.hyper_DxR = {k: layout.group_by_device(v) for k, v in hyper_N.items()}

    def work_items(self, config, task: Task, steps_per_chunk: int, first_epoch: int, identity: bool = False):
        """All work from `first_epoch` to the end: training and dev of every epoch, then once what is fitted on and the test part."""
        u, size, here = task.utterances, config.data.eval_batch, self.fold_DxF[self.layout.local_devices]
        for e in range(first_epoch, config.train.epochs):
            yield from plan.training_items(task.subset_folds, here, u, e, task.steps_per_epoch, steps_per_chunk, config.data, identity)
            yield from plan.evaluation_items(task.subset_folds, here, u, 'dev', e, size)
        if self.has_fit and first_epoch <= config.train.epochs:  # a checkpoint beyond the last epoch holds what was fitted
            yield from plan.evaluation_items(task.subset_folds, here, u, 'heard', config.train.epochs, size)
        yield from plan.evaluation_items(task.subset_folds, here, u, 'test', config.train.epochs, size)

class Trainer:
    """The compiled programs of a part, for groups of one size."""

    def __init__(self, program: sweep.Program, task: Task, mel_RxM: np.ndarray | None, group_size: int | None, for_training: bool = True):
        """`group_size` runs a group, as many as fit where it is None; `mel_RxM` the features that stay on the device, or None.

        One that does not train predicts alone, and has less to compile.
        """
        config = program.config
        self.program, self.task, self.config, self.group_size = program, task, config, group_size
        self.runs = sweep.make_runs(program, [f.number for f in task.folds])
        encoder, self.method = make_method(config, task.make_sizes(config))
        self.frozen, self.memory_bytes, self.program_note = encoder.frozen, 0, ''
        self.step, self.has_identity_batches = step.make_step(encoder, self.method, task.make_sizes(config), config.train), self.method.identity
        self.is_resident = mel_RxM is not None
        most = parallel.Layout(group_size or len(self.runs), data_devices=config.data_devices)
        if config.parallel == 'pmap' or not for_training:  # compiles at the first call, and all runs must fit
            R = most.R
            self._build_functions(R)
            self.train_chunk = self.functions.train_chunk
        else:
            per_run, limit = self._bytes_beside_program(), memory.memory_limit(most.devices)
            R, self.train_chunk = memory.choose_runs_per_device(self._compile, most.R, limit, per_run)
            self.memory_bytes = memory.required_bytes(self.train_chunk, R * per_run)
        if group_size and most.R > R:
            raise UserError(
                f'The sweep was begun in groups of {group_size} runs, which do not fit here. Go on where it was begun, or anew.'
            )
        self.group_size = group_size or min(len(self.runs), most.D * R)
        self.groups = self._make_groups(R)
        self.shared = self.groups[0].layout.put_on_devices(SharedArrays(mel_RxM, self.frozen), parallel.REPLICATED)

    def _make_groups(self, R: int) -> list[Group]:
        whole = parallel.Layout(self.group_size or len(self.runs), data_devices=self.config.data_devices, R=R)
        size = self.group_size or whole.D * R
        some = [self.runs[at : at + size] for at in range(0, len(self.runs), size)]
        groups = [Group(self.program, runs, whole.with_count(len(runs)), self.task) for runs in some]
        F = max(g.fold_DxF.shape[1] for g in groups)
        return [Group(self.program, g.runs, g.layout, self.task, F) for g in groups]

    def _build_functions(self, R: int) -> Group:
        group, config = self._make_groups(R)[0], self.config
        examples = (1 + self.has_identity_batches) * config.data.batch
        step_bytes = 2 * group.fold_DxF.size * examples * config.data.frames * self.task.utterances.bands
        self.steps_per_chunk = self.task.steps_per_epoch if self.is_resident else max(1, min(self.task.steps_per_epoch, CHUNK_BYTES // step_bytes))
        self.functions = parallel.compile_step(self.step, group.layout, config.data.frames, config.parallel)
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
        shape = lambda x, spec: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(layout.mesh, spec))  # noqa: E731
        per_run = lambda tree: jax.tree.map(lambda x: shape(x, parallel.PER_DEVICE), tree)  # noqa: E731
        epoch = 0, task.steps_per_epoch, self.steps_per_chunk, config.data, self.has_identity_batches
        item = next(plan.training_items(task.subset_folds, group.fold_DxF, task.utterances, *epoch))
        batch = task.table.make_batch(item)
        if self.is_resident:
            batch['first_B'] = np.zeros(item.row.shape, np.int32)
            room = task.feature_bytes() // (2 * task.utterances.bands)
            corpus_RxM = np.broadcast_to(np.float16(0), (room, task.utterances.bands))
        else:
            batch['mel_BxTxM'] = np.broadcast_to(np.float16(0), (*item.row.shape, item.frames, task.utterances.bands))
            corpus_RxM = None
        shared = jax.tree.map(lambda x: shape(x, parallel.REPLICATED), SharedArrays(corpus_RxM, self.frozen))
        batch = {k: shape(x, layout.batch_spec(k, 3)) for k, x in batch.items()}
        state = per_run(jax.eval_shape(self.functions.init, group.hyper_DxR))
        real = jax.ShapeDtypeStruct((self.steps_per_chunk,), bool, sharding=NamedSharding(layout.mesh, parallel.REPLICATED))
        return self.functions.train_chunk.lower(state, shared, batch, real, per_run(group.hyper_DxR)).compile()

def run_experiment(config, path, profile: bool = False, start_time: float | None = None) -> dict:
    """Trains and evaluates every run of `config` in `path`, going on from its checkpoints; returns results.json, in process 0.

    With `profile` a trace of an epoch is written; `start_time` is when the command did (time.time()).
    """
    config = resolve.resolve_config(config)
    parts = validate(config)
    place = Workdir(path, config)
    results = place.load_results()
    if results:
        distributed.log(f'{place.path} holds this sweep, trained; remove it to train anew.')
    else:
        try:
            with matmul_precision_context(config):
                results = train_sweep(config, parts, place, profile, start_time or time.time())
        except UserError:
            place.remove_if_empty()
            raise
    return results

def train_sweep(config, programs: list[sweep.Program], workdir: Workdir, profile: bool, start_time: float) -> dict:
    """Part after part, group after group."""
    task = Task(config, programs)
    for part in programs:
        for domain in make_method(part.config, DUMMY_SIZES)[1].domains:
            task.check_domain(domain)
        if make_method(part.config, DUMMY_SIZES)[1].target:
            task.check_target(part.config.method)
        if part.config.model.batch_norm in batch_norm.TARGET_MODES:
            task.check_target(f'config.model.batch_norm={part.config.model.batch_norm}')
    choices = workdir.load_choices()
    workdir.save_description(task)
    runs = [r for p in programs for r in sweep.make_runs(p, [f.number for f in task.folds])]
    task.label_keys = varying_keys(runs)
    announce.print_plan(config, task, programs, runs)
    choices['resident'] = choose_residency(config, task, choices)
    mel_RxM = load_features(task) if choices['resident'] else None
    sizes = choices.setdefault('runs_per_group', {})

    outcomes, ends, before = [], itertools.count(), 0.0  # seconds of what was interrupted
    bar = distributed.progress_bar(len(programs) * task.steps_per_epoch * config.train.epochs, 'step')
    with distributed.Termination() as termination, contextlib.closing(bar) as progress:
        for number, part in enumerate(programs):
            progress.set_postfix_str('compiling')
            trainer = Trainer(part, task, mel_RxM, sizes.get(str(number)))
            trainer.program_note = f' (program {number + 1} of {len(programs)})' * (len(programs) > 1)
            sizes[str(number)] = trainer.group_size
            workdir.save_choices(choices)
            announce.print_grouping(trainer)
            progress.total += (len(trainer.groups) - 1) * task.steps_per_epoch * config.train.epochs
            for group in trainer.groups:
                n = next(ends)
                since = 0.0
                if outcome := workdir.load_outcome(n):
                    distributed.skip_steps(progress, task.steps_per_epoch * config.train.epochs)
                else:
                    since = time.time()
                    outcome = train_group(
                        trainer, group, n, outcomes, workdir, progress, termination, profile and not outcomes, start_time
                    )
                    since = time.time() - since
                before += max(outcome['seconds'] - since, 0.0)
                outcomes.append(outcome)
    runs = [r for o in outcomes for r in o['runs']]
    if not any(r['status'] == 'ok' for r in runs):
        raise UserError(f'Every run diverged (see {workdir.path}/metrics.jsonl). Lower config.sweep.lr or config.sweep.lam.')
    results = {}
    if distributed.is_main_process():
        predicted = predictions.read_predictions(workdir.merge_predictions(len(outcomes)), [str(c) for c in task.table.classes])
        results = written.make_results(config, task, outcomes, predicted, before + time.time() - start_time)
        workdir.save_results(results)
    distributed.wait_for_all('results.json')
    return results

def load_features(task: Task) -> np.ndarray:
    """mel_RxM of the whole corpus, and zeros at its end."""
    mel_RxM = dataset.read_all_features(task.utterances)
    return np.concatenate([mel_RxM, np.zeros((task.max_frames, mel_RxM.shape[1]), mel_RxM.dtype)])

def train_group(trainer: Trainer, group: Group, group_number: int, previous_outcomes: list, workdir, progress, termination, profile, start_time) -> dict:
    """The loop over epochs; returns the runs, and leaves their predictions and their parameters in the workdir."""
    config, task, layout = trainer.config, trainer.task, group.layout
    programs, record, shared = trainer.functions, SelectionRecord(len(group.runs)), trainer.shared
    record.lines = previous_outcomes[-1]['lines'] if previous_outcomes else 0
    hyper = layout.put_runs_on_devices(group.hyper_DxR)
    state = programs.init(hyper)
    best = jax.tree.map(jnp.copy, (state.params, state.batch_stats))
    checkpoints, epoch = checkpoint.Checkpoints(workdir.checkpoint_folder(group_number)), 0
    if found := checkpoints.restore({'state': state, 'best': best}, layout):
        epoch, arrays, host = found
        state, best = arrays['state'], arrays['best']
        record.from_json(host)
        distributed.skip_steps(progress, min(epoch, config.train.epochs) * task.steps_per_epoch)
        distributed.log(f'Resuming after epoch {min(epoch, config.train.epochs)} of {config.train.epochs}.')

    entropy = [adversary.domain_entropies(task.table, task.subset_folds[f], trainer.method.domains) for f in group.fold_N]
    alarms = adversary.AdversaryAlarms(group.runs, entropy, len(task.table.classes), config.train.epochs, task.label_keys)
    clock, saved = time.perf_counter() - record.seconds, time.perf_counter()
    scores, heard = CollectedPosteriors(group.fold_N), Collected(group.fold_N)
    read = feeds.resident_feed if trainer.is_resident else feeds.streaming_feed
    with (
        contextlib.closing(checkpoints),
        contextlib.closing(MetricsLog(workdir, record.lines, epoch, [run_label(r, task.label_keys) for r in group.runs])) as log,
        contextlib.closing(read(task.table, group.work_items(config, task, trainer.steps_per_chunk, epoch, trainer.has_identity_batches))) as feed,
        contextlib.ExitStack() as traced,
    ):
        trace, first = EpochMetrics(layout.collect, progress), True
        for item, batch in feed:
            if item.part == 'train':
                step_S = np.arange(trainer.steps_per_chunk)
                batch = layout.put_batch_on_devices(batch, 3)
                if first:
                    seconds = measure_epoch_seconds(trainer, state, batch, hyper)
                    announce.print_forecast(trainer, group, seconds, epoch, start_time)
                    at_once = distributed.broadcast_from_main(max(1, int(min(task.steps_per_epoch, task.steps_per_epoch * TARGET_DISPATCH_SECONDS / max(seconds, 1e-3)))))
                    progress.set_postfix_str('training')
                    progress.unpause()  # what came before was compilation, which is no measure of the steps
                    if profile:
                        traced.enter_context(jax.profiler.trace(str(workdir.path / 'profile'), create_perfetto_trace=True))
                    first = False
                for at in range(0, item.steps, at_once):
                    now = slice(at, min(at + at_once, item.steps))
                    real_S = (now.start <= step_S) & (step_S < now.stop)
                    state, metrics = trainer.train_chunk(state, shared, batch, real_S, hyper)
                    trace.add(metrics, now)
                continue
            chosen = (state.params, state.batch_stats) if item.part == 'dev' else best
            z, predicted = programs.predict_for_frames(item.frames)(*chosen, shared, layout.put_batch_on_devices(batch, 2), hyper)
            if item.part == 'heard':
                heard.add(item.global_row, layout.collect(z))
                if item.last:
                    best = fit_method(trainer, group, best[0], heard), best[1]
                    checkpoints.save(config.train.epochs + 1, {'state': state, 'best': best}, record.to_json(), layout)
                continue
            scores.add(item.global_row, layout.collect(predicted))
            if not item.last:
                continue
            counts = scores.confusion_matrices(task.table.emotion_N)
            if item.part == 'dev':
                epoch, scores = item.epoch + 1, CollectedPosteriors(group.fold_N)
                steps = trace.finish_epoch()
                if profile:
                    traced.close()
                    announce.print_profile_path(workdir.path / 'profile')
                    profile = False
                record.mark_diverged(steps['loss'], item.epoch * task.steps_per_epoch)
                dev = [classification_metrics(c) for c in counts]
                better = layout.group_by_device(record.select_epoch(config.train, epoch, dev, steps))
                best = programs.update_best(best, state, layout.put_runs_on_devices(better))
                rows = written.make_metrics_rows(group.runs, epoch, steps, dev)
                record.lines = log.add(epoch, rows)
                for sentence in alarms(epoch, rows):
                    distributed.log(sentence)
                record.seconds = time.perf_counter() - clock
                progress.set_postfix_str(f'epoch {epoch}, dev UAR {np.mean([d["uar"] for d in dev]):.3f}')
                stop = termination.is_requested(epoch)
                due = distributed.broadcast_from_main(int(time.perf_counter() - saved >= config.train.checkpoint_seconds))
                if stop or due or epoch == config.train.epochs:
                    log.flush()
                    checkpoints.save(epoch, {'state': state, 'best': best}, record.to_json(), layout)
                    saved = time.perf_counter()
                if stop:
                    raise distributed.Preempted(f'SIGTERM: saved after epoch {epoch} of {config.train.epochs} in {workdir.path}.')
    outcome = written.make_outcome(group.runs, record, counts, entropy)
    workdir.save_outcome(group_number, outcome, written.make_prediction_rows(task, group.runs, scores, record))
    return outcome

def restored_groups(workdir: Workdir, is_wanted: Callable[[dict], bool] = lambda run: True) -> Iterator[tuple[Trainer, Group, tuple]]:
    """Of a finished sweep, every group with its trainer and the selected (parameters, statistics) of its runs.

    In the order of the runs in results.json, without the groups of which no run is `is_wanted`; the trainer predicts alone.
    """
    config, choices, number = workdir.config, workdir.load_choices(), itertools.count()
    parts = validate(config)
    task = Task(config, parts)
    workdir.check_same_split(task)
    mel_RxM = load_features(task) if choices['resident'] else None
    for n, part in enumerate(parts):
        trainer = Trainer(part, task, mel_RxM, choices['runs_per_group'][str(n)], for_training=False)
        for group in trainer.groups:
            folder = workdir.checkpoint_folder(next(number))
            if any(map(is_wanted, group.runs)):
                yield trainer, group, _restore_best(trainer, group, folder)

def predict_part(trainer: Trainer, group: Group, variables: tuple, part: str) -> tuple[Collected, CollectedPosteriors]:
    """Representations and posteriors of a part of each run's fold, whole utterances, by the parameters `variables`."""
    task, config, layout = trainer.task, trainer.config, group.layout
    hyper, z_of, scores = layout.put_runs_on_devices(group.hyper_DxR), Collected(group.fold_N), CollectedPosteriors(group.fold_N)
    here = group.fold_DxF[layout.local_devices]
    items = plan.evaluation_items(task.subset_folds, here, task.utterances, part, 0, config.data.eval_batch)
    read = feeds.resident_feed if trainer.is_resident else feeds.streaming_feed
    with contextlib.closing(read(task.table, items)) as feed:
        for item, batch in feed:
            z, predicted = trainer.functions.predict_for_frames(item.frames)(*variables, trainer.shared, layout.put_batch_on_devices(batch, 2), hyper)
            z_of.add(item.global_row, layout.collect(z))
            scores.add(item.global_row, layout.collect(predicted))
    return z_of, scores

def _restore_best(trainer: Trainer, group: Group, folder) -> tuple:
    state = jax.eval_shape(trainer.functions.init, group.layout.put_runs_on_devices(group.hyper_DxR))
    like = {'state': state, 'best': (state.params, state.batch_stats)}
    with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
        found = checkpoints.restore(like, group.layout)
    if found is None:
        raise UserError(f'{folder} holds no checkpoint: the parameters are lost. Remove the workdir and train anew.')
    return found[1]['best']

def fit_method(trainer: Trainer, group: Group, params, seen: Collected):
    """The parameters of all runs after the method's `fit` on the representations of what each run's training heard."""
    layout, domain_N = group.layout, trainer.task.table.domain_N
    params_N, each = jax.tree.map(layout.collect, params), []
    for n in range(len(group.runs)):
        rows, z_NxD = seen.get_run(n)
        index = {d: domain_N[d][rows] for d in trainer.method.domains}
        each.append(trainer.method.fit(jax.tree.map(lambda x, n=n: x[n], params_N), z_NxD, index))
    return layout.put_runs_on_devices(jax.tree.map(lambda *x: layout.group_by_device(np.stack(x)), *each))

def measure_epoch_seconds(trainer: Trainer, state, batch, hyper) -> float:
    """Returns the seconds of an epoch, from a dispatch of one step and one of none.

    The steps train a copy of the state, which `memory.beside_program` counts.
    """
    seconds = []
    for steps in (0, 1, 0, 1):  # the first two may compile, or touch memory for the first time
        copy = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        began = time.perf_counter()
        jax.block_until_ready(trainer.train_chunk(copy, trainer.shared, batch, np.arange(trainer.steps_per_chunk) < steps, hyper))
        seconds.append(time.perf_counter() - began)
    return trainer.task.steps_per_epoch * (seconds[3] - seconds[2]) + seconds[2] * trainer.task.steps_per_epoch / trainer.steps_per_chunk

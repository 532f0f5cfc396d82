"""A sweep from its configuration to its results.

A sweep is one or several parts (a program each: structural keys cannot be traced), a part is one or several groups of runs (as
many as fit into memory), and a group trains as one program. A group that is done is never computed again.
"""

import contextlib
import importlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from data_pipelines import audit, batches, folds, labels, shards, subsets
from data_pipelines.refusal import Refusal
from jaxser import announce, checkpoint, cluster, evaluate, health, memory, optimizer, parallel, step, summary, sweep, written
from jaxser.features import Shared
from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.models import batch_norm
from jaxser.record import Record, Trace
from jaxser.workdir import Metrics, Workdir

CHUNK_BYTES = 64 << 20  # of streamed features in one dispatch
RESIDENT_SHARE = 0.4  # of a device's memory, for features that stay there
DISPATCH_SECONDS = 20.0  # that one may take, about: meanwhile the bar stands still
SELECTIONS = ('best dev UAR', 'last epoch')
PRECISIONS = ('default', 'high', 'highest')
RESIDENT = ('auto', 'on', 'off')
LARGEST_SEED = 2**31 - 1  # of 32-bit integers
NOBODY = Sizes(1, 1, dict.fromkeys(batches.DOMAINS, 1), 1)


class Range(NamedTuple):
    """Finite numbers from `low` to `high`; `without` names the end that is not allowed."""

    low: float
    high: float = math.inf
    without: str = ''  # low | high

    def __contains__(self, value) -> bool:
        if not isinstance(value, int | float):
            return False
        above = self.low < value if self.without == 'low' else self.low <= value
        below = value < self.high if self.without == 'high' else value <= self.high
        return above and below and value < math.inf  # NaN is neither above nor below

    def __str__(self) -> str:
        low, high = f'{self.low:.10g}', f'{self.high:.10g}'
        if self.high == math.inf:
            return f'a number above {low}' if self.without == 'low' else f'{low} or more'
        ends = {'low': f'above {low}, up to {high}', 'high': f'from {low} up, below {high}'}
        return f'a number {ends.get(self.without, f"from {low} to {high}")}'


RANGES = {
    'data.frames': Range(1),
    'data.batch': Range(1),
    'data.eval_batch': Range(1),
    'data.order_seed': Range(0, LARGEST_SEED),
    'data_devices': Range(1),
    'model.accumulate': Range(1),
    'model.layer_decay': Range(0, 1, without='low'),
    'model.upstream_rate': Range(0, without='low'),
    'train.checkpoint_seconds': Range(0),
    'train.clip': Range(0, without='low'),  # a negative one would turn descent into ascent
    'train.epochs': Range(1),
    'train.select_from': Range(0, 1),  # beyond 1 no epoch would be selected
    'train.warmup': Range(0, 1, without='high'),
}


def plugin(package: str, name: str):
    """The module jaxser.<package>.<name>; refuses an unknown name, listing the known ones."""
    known = sorted(p.stem for p in (Path(__file__).parent / package).glob('*.py') if '\ndef make(config' in p.read_text())
    if name not in known:
        raise Refusal(f'There is no {name!r} in jaxser/{package}; known are {", ".join(known)}.')
    return importlib.import_module(f'jaxser.{package}.{name}')


def method(config, sizes: Sizes) -> tuple[Encoder, Method]:
    """The encoder and the method of a configuration."""
    asked = config.domain.split('+')
    if not set(asked) <= set(batches.DOMAINS) or len(set(asked)) < len(asked):
        known = ', '.join(batches.DOMAINS)
        raise Refusal(f'config.domain is {config.domain!r}; expected one of {known}, or several: speaker+language.')
    encoder = plugin('models', config.model.name).make(config.model)
    return encoder, plugin('methods', config.method).make(config, encoder, sizes)


def check(config) -> list[sweep.Part]:
    """The parts of the sweep; refuses what can be known to be wrong before any data is read."""
    choices = {
        'train.select': SELECTIONS,
        'train.optimizer': tuple(optimizer.KINDS),
        'data.normalise': tuple(batches.NORMALISATIONS),
        'data.labels': (*labels.SPACES, *labels.RATED),
        'data.resident': RESIDENT,
        'matmul_precision': PRECISIONS,
        'parallel': parallel.MODES,
    }
    values = sweep.flat(config)
    for key, known in choices.items():
        if values[key] not in known:
            raise Refusal(f'config.{key} is {values[key]!r}; expected one of {", ".join(known)}.')
    for key, expected in RANGES.items():
        if key in values and values[key] not in expected:
            raise Refusal(f'config.{key} is {values[key]}; expected {expected}.')
    if config.data_devices > 1 and config.parallel == 'pmap':
        raise Refusal('config.data_devices needs config.parallel=jit: pmap shares no batch out over devices.')
    for key in ('batch', 'eval_batch'):
        if config.data[key] % config.data_devices:
            raise Refusal(f'config.data.{key} is {config.data[key]}, no multiple of config.data_devices, {config.data_devices}.')
    if config.data.batch % (config.model.accumulate * config.data_devices):
        raise Refusal(
            f'config.data.batch is {config.data.batch}, no multiple of config.model.accumulate times config.data_devices, '
            f'{config.model.accumulate} x {config.data_devices}.'
        )
    parts = sweep.parts(config, lambda c: method(c, NOBODY)[1].hyper)
    for part in parts:
        masks = [k for k in ('time_mask', 'band_mask') if any(v[k] for v in part.variants)]
        if masks and config.data.upstream.startswith('wave'):
            raise Refusal(
                f'config.sweep.{masks[0]} is above 0, and {config.data.upstream} are samples, in which SpecAugment would cut '
                'holes: set config.sweep.time_mask and config.sweep.band_mask to 0.'
            )
        if 'time_mask' in masks and '-pooled-' in config.data.upstream:
            raise Refusal(
                f'config.sweep.time_mask is above 0, and {config.data.upstream} has one frame an utterance, which SpecAugment '
                'would cut out whole: set config.sweep.time_mask to 0.'
            )
        keys = plugin('models', config.model.name).KEYS
        if strange := [k for k in part.structure if k.startswith('model.') and k.removeprefix('model.') not in keys]:
            raise Refusal(f'config.sweep.{strange[0]}: {config.model.name} has no such size; it has {", ".join(keys)}.')
        if config.protocol.identity and not method(part.config, NOBODY)[1].identity:
            raise Refusal(
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

    def __init__(self, config, parts: list[sweep.Part]):
        self.split = batches.split(config)
        self.utterances, self.every, self.sha256, *_ = self.split
        self.steps = batches.steps_per_epoch(self.every, config.data.batch)
        self.folds = [self.every[n] for n in sweep.folds(config.sweep.fold, len(self.every))]
        wanted, seed = list(dict.fromkeys(sweep.subset(v) for p in parts for v in p.variants)), config.data.order_seed
        for line in subsets.short(self.utterances, self.folds, wanted, seed):
            cluster.say(line)
        self.entries = [subsets.take(self.utterances, f, s, seed) for f in self.folds for s in wanted]
        self.index = {key: i for i, key in enumerate(itertools.product((f.number for f in self.folds), wanted))}
        self.table = batches.Table(self.utterances, self.entries, config.data.normalise, config.train.balanced)
        self.varied: list[str] = []  # the hyper-parameters in which the runs differ, by which they are named
        self.protocol = folds.Protocol(**config.protocol)
        self.audit = audit.audit(self.utterances, self.every, self.protocol)
        self.longest = max(config.data.frames, batches.lengths(int(self.utterances.frames_N.max())))

    def sizes(self, config) -> Sizes:
        """How much of everything there is."""
        domains = {d: len(self.table.domains[d]) for d in batches.DOMAINS}
        return Sizes(self.utterances.bands, len(self.table.classes), domains, self.steps * config.train.epochs)

    def check_domain(self, domain: str) -> None:
        """Refuses to forget what does not vary: an adversary of one class learns nothing and costs time."""
        for fold, seen_K in zip(self.entries, self.table.seen[domain]):
            if seen_K.sum() < 2:
                only = ', '.join(self.table.domains[domain][seen_K > 0]) or 'unknown'
                raise Refusal(
                    f'Training hears only one {domain} in fold {fold.name!r}, {only}: there is nothing to forget. Choose another '
                    'config.domain, or let it hear the target: --config.protocol.adapt=others or transductive.'
                )

    def check_target(self, name: str) -> None:
        """Refuses what is nothing without a target where none is heard."""
        for fold in self.folds:
            if not len(fold.adapt):
                raise Refusal(
                    f'{name} is nothing without a target, and training hears none in fold {fold.name!r}. Let it: '
                    '--config.protocol.adapt=transductive, or others where the protocol has a target.'
                )

    def feature_bytes(self) -> int:
        """Of all features in 16 bits, with room to cut the longest batch at their end."""
        return 2 * self.utterances.bands * (int(self.utterances.frames_N.sum()) + self.longest)


def stays(config, task: Task, choices: dict) -> bool:
    """Whether the features live on the devices; says so."""
    size, limit = task.feature_bytes(), memory.limit(jax.devices())
    fits = size <= RESIDENT_SHARE * limit
    there = {'on': True, 'off': False}.get(config.data.resident, choices.get('resident', fits))
    if not there and task.utterances.packed:
        raise Refusal(
            f'The features take {size / 2**20:.0f} MiB, and {RESIDENT_SHARE * limit / 2**20:.0f} MiB may stay on the device; '
            'a packed corpus (.npz) cannot be streamed. Set config.data.resident=off where the shards are, or on to try.'
        )
    what = 'stay on the device' if there else 'are streamed from the shards'
    source = 'an .npz' if task.utterances.packed else 'the shards'
    room = f'{size / 2**20:.0f} MiB, and {RESIDENT_SHARE * limit / 2**20:.0f} MiB may stay'
    cluster.say(f'Features, from {source}, {what}: {room} (config.data.resident={config.data.resident}).')
    return there


class Group:
    """Runs that train together, and the work to feed them."""

    def __init__(self, part: sweep.Part, runs: list[dict], layout: parallel.Layout, task: Task, F: int | None = None):
        self.runs, self.layout, self.fits = runs, layout, method(part.config, NOBODY)[1].fit is not None
        self.fold_N = np.array([task.index[r['fold'], sweep.subset(r)] for r in runs])
        self.fold_DxF, slot_N = layout.slots(self.fold_N, F)
        hyper_N = sweep.hyper(runs, part) | {'slot': slot_N}
        self.hyper_DxR = {k: layout.spread(v) for k, v in hyper_N.items()}

    def items(self, config, task: Task, chunk: int, epoch: int, identity: bool = False):
        """All work from `epoch` to the end: training and dev of every epoch, then once what is fitted on and the test part."""
        u, size, here = task.utterances, config.data.eval_batch, self.fold_DxF[self.layout.local]
        for e in range(epoch, config.train.epochs):
            yield from batches.training(task.entries, here, u, e, task.steps, chunk, config.data, identity)
            yield from batches.scoring(task.entries, here, u, 'dev', e, size)
        if self.fits and epoch <= config.train.epochs:  # a checkpoint beyond the last epoch holds what was fitted
            yield from batches.scoring(task.entries, here, u, 'heard', config.train.epochs, size)
        yield from batches.scoring(task.entries, here, u, 'test', config.train.epochs, size)


class Trainer:
    """The compiled programs of a part, for groups of one size."""

    def __init__(self, part: sweep.Part, task: Task, mel_RxM: np.ndarray | None, size: int | None, trains: bool = True):
        """`size` runs a group, as many as fit where it is None; `mel_RxM` the features that stay on the device, or None.

        One that does not train predicts alone, and has less to compile.
        """
        config = part.config
        self.part, self.task, self.config, self.size = part, task, config, size
        self.runs = sweep.runs(part, [f.number for f in task.folds])
        encoder, self.method = method(config, task.sizes(config))
        self.frozen, self.bytes, self.which = encoder.frozen, 0, ''
        self.step, self.identity = step.make(encoder, self.method, task.sizes(config), config.train), self.method.identity
        self.resident = mel_RxM is not None
        most = parallel.Layout(size or len(self.runs), data=config.data_devices)
        if config.parallel == 'pmap' or not trains:  # compiles at the first call, and all runs must fit
            R = most.R
            self._make(R)
            self.chunk = self.programs.chunk
        else:
            per_run, limit = self._bytes_beside_program(), memory.limit(most.devices)
            R, self.chunk = memory.fit(self._compile, most.R, limit, per_run)
            self.bytes = memory.needed(self.chunk, R * per_run)
        if size and most.R > R:
            raise Refusal(
                f'The sweep was begun in groups of {size} runs, which do not fit here. Go on where it was begun, or anew.'
            )
        self.size = size or min(len(self.runs), most.D * R)
        self.groups = self._groups(R)
        self.shared = self.groups[0].layout.place(Shared(mel_RxM, self.frozen), parallel.EVERYWHERE)

    def _groups(self, R: int) -> list[Group]:
        whole = parallel.Layout(self.size or len(self.runs), data=self.config.data_devices, R=R)
        size = self.size or whole.D * R
        some = [self.runs[at : at + size] for at in range(0, len(self.runs), size)]
        groups = [Group(self.part, runs, whole.of(len(runs)), self.task) for runs in some]
        F = max(g.fold_DxF.shape[1] for g in groups)
        return [Group(self.part, g.runs, g.layout, self.task, F) for g in groups]

    def _make(self, R: int) -> Group:
        group, config = self._groups(R)[0], self.config
        examples = (1 + self.identity) * config.data.batch
        step_bytes = 2 * group.fold_DxF.size * examples * config.data.frames * self.task.utterances.bands
        self.length = self.task.steps if self.resident else max(1, min(self.task.steps, CHUNK_BYTES // step_bytes))
        self.programs = parallel.make(self.step, group.layout, config.data.frames, config.parallel)
        return group

    def _bytes_beside_program(self) -> int:
        """Returns the bytes a run takes beside the chunk: selected parameters, second state."""
        hyper_N = sweep.hyper(self.runs[:1], self.part) | {'slot': np.zeros(1, np.int32)}
        hyper = {k: jax.ShapeDtypeStruct(v.shape[1:], v.dtype) for k, v in hyper_N.items()}
        return memory.beside_program(jax.eval_shape(self.step.init, hyper))

    def _compile(self, R: int):
        """The chunk for R runs on a device, compiled from shapes alone."""
        group = self._make(R)
        layout, task, config = group.layout, self.task, self.config
        shape = lambda x, spec: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(layout.mesh, spec))  # noqa: E731
        per_run = lambda tree: jax.tree.map(lambda x: shape(x, parallel.PER_DEVICE), tree)  # noqa: E731
        epoch = 0, task.steps, self.length, config.data, self.identity
        item = next(batches.training(task.entries, group.fold_DxF, task.utterances, *epoch))
        batch = task.table.batch(item)
        if self.resident:
            batch['first_B'] = np.zeros(item.row.shape, np.int32)
            room = task.feature_bytes() // (2 * task.utterances.bands)
            corpus_RxM = np.broadcast_to(np.float16(0), (room, task.utterances.bands))
        else:
            batch['mel_BxTxM'] = np.broadcast_to(np.float16(0), (*item.row.shape, item.frames, task.utterances.bands))
            corpus_RxM = None
        shared = jax.tree.map(lambda x: shape(x, parallel.EVERYWHERE), Shared(corpus_RxM, self.frozen))
        batch = {k: shape(x, layout.batch_spec(k, 3)) for k, x in batch.items()}
        state = per_run(jax.eval_shape(self.programs.init, group.hyper_DxR))
        real = jax.ShapeDtypeStruct((self.length,), bool, sharding=NamedSharding(layout.mesh, parallel.EVERYWHERE))
        return self.programs.chunk.lower(state, shared, batch, real, per_run(group.hyper_DxR)).compile()


def run(config, path, profile: bool = False, began: float | None = None) -> dict:
    """Trains and evaluates every run of `config` in `path`, going on from its checkpoints; returns results.json, in process 0.

    With `profile` a trace of an epoch is written; `began` is when the command did (time.time()).
    """
    config = batches.resolved(config)
    parts = check(config)
    place = Workdir(path, config)
    results = place.finished()
    if results:
        cluster.say(f'{place.path} holds this sweep, trained; remove it to train anew.')
    else:
        try:
            with precision(config):
                results = train(config, parts, place, profile, began or time.time())
        except Refusal:
            place.forsake()
            raise
    return results


def precision(config):
    """A context in which products are as precise as `config.matmul_precision`."""
    how = config.matmul_precision
    return contextlib.nullcontext() if how == 'default' else jax.default_matmul_precision(how)


def train(config, parts: list[sweep.Part], place: Workdir, profile: bool, began: float) -> dict:
    """Part after part, group after group."""
    task = Task(config, parts)
    for part in parts:
        for domain in method(part.config, NOBODY)[1].domains:
            task.check_domain(domain)
        if method(part.config, NOBODY)[1].target:
            task.check_target(part.config.method)
        if part.config.model.batch_norm in batch_norm.WITH_TARGET:
            task.check_target(f'config.model.batch_norm={part.config.model.batch_norm}')
    choices = place.choices()
    place.describe(task)
    runs = [r for p in parts for r in sweep.runs(p, [f.number for f in task.folds])]
    task.varied = sweep.varied(runs)
    announce.announce(config, task, parts, runs)
    choices['resident'] = stays(config, task, choices)
    mel_RxM = everything(task) if choices['resident'] else None
    sizes = choices.setdefault('runs_per_group', {})

    outcomes, ends, before = [], itertools.count(), 0.0  # seconds of what was interrupted
    bar = cluster.progress(len(parts) * task.steps * config.train.epochs, 'step')
    with cluster.Termination() as termination, contextlib.closing(bar) as progress:
        for number, part in enumerate(parts):
            progress.set_postfix_str('compiling')
            trainer = Trainer(part, task, mel_RxM, sizes.get(str(number)))
            trainer.which = f' (program {number + 1} of {len(parts)})' * (len(parts) > 1)
            sizes[str(number)] = trainer.size
            place.choose(choices)
            announce.grouping(trainer)
            progress.total += (len(trainer.groups) - 1) * task.steps * config.train.epochs
            for group in trainer.groups:
                n = next(ends)
                since = 0.0
                if outcome := place.outcome(n):
                    cluster.skip(progress, task.steps * config.train.epochs)
                else:
                    since = time.time()
                    outcome = train_group(
                        trainer, group, n, outcomes, place, progress, termination, profile and not outcomes, began
                    )
                    since = time.time() - since
                before += max(outcome['seconds'] - since, 0.0)
                outcomes.append(outcome)
    runs = [r for o in outcomes for r in o['runs']]
    if not any(r['status'] == 'ok' for r in runs):
        raise Refusal(f'Every run diverged (see {place.path}/metrics.jsonl). Lower config.sweep.lr or config.sweep.lam.')
    results = {}
    if cluster.main():
        predicted = summary.read(place.gather(len(outcomes)), [str(c) for c in task.table.classes])
        results = written.results(config, task, outcomes, predicted, before + time.time() - began)
        place.finish(results)
    cluster.wait('results.json')
    return results


def everything(task: Task) -> np.ndarray:
    """mel_RxM of the whole corpus, and zeros at its end."""
    mel_RxM = shards.load(task.utterances)
    return np.concatenate([mel_RxM, np.zeros((task.longest, mel_RxM.shape[1]), mel_RxM.dtype)])


def train_group(trainer: Trainer, group: Group, number: int, before: list, place, progress, termination, profile, began) -> dict:
    """The loop over epochs; returns the runs, and leaves their predictions and their parameters in the workdir."""
    config, task, layout = trainer.config, trainer.task, group.layout
    programs, record, shared = trainer.programs, Record(len(group.runs)), trainer.shared
    record.lines = before[-1]['lines'] if before else 0
    hyper = layout.place_runs(group.hyper_DxR)
    state = programs.init(hyper)
    best = jax.tree.map(jnp.copy, (state.params, state.batch_stats))
    checkpoints, epoch = checkpoint.Checkpoints(place.checkpoints(number)), 0
    if found := checkpoints.restore({'state': state, 'best': best}, layout):
        epoch, arrays, host = found
        state, best = arrays['state'], arrays['best']
        record.from_json(host)
        cluster.skip(progress, min(epoch, config.train.epochs) * task.steps)
        cluster.say(f'Resuming after epoch {min(epoch, config.train.epochs)} of {config.train.epochs}.')

    entropy = [health.entropies(task.table, task.entries[f], trainer.method.domains) for f in group.fold_N]
    alarms = health.Alarms(group.runs, entropy, len(task.table.classes), config.train.epochs, task.varied)
    clock, saved = time.perf_counter() - record.seconds, time.perf_counter()
    scores, heard = evaluate.Scores(group.fold_N), evaluate.Gathered(group.fold_N)
    read = batches.resident if trainer.resident else batches.streaming
    with (
        contextlib.closing(checkpoints),
        contextlib.closing(Metrics(place, record.lines, epoch, [sweep.label(r, task.varied) for r in group.runs])) as log,
        contextlib.closing(read(task.table, group.items(config, task, trainer.length, epoch, trainer.identity))) as feed,
        contextlib.ExitStack() as traced,
    ):
        trace, first = Trace(layout.collect, progress), True
        for item, batch in feed:
            if item.part == 'train':
                step_S = np.arange(trainer.length)
                batch = layout.place_batch(batch, 3)
                if first:
                    seconds = forecast(trainer, state, batch, hyper)
                    announce.forecast(trainer, group, seconds, epoch, began)
                    at_once = cluster.same(max(1, int(min(task.steps, task.steps * DISPATCH_SECONDS / max(seconds, 1e-3)))))
                    progress.set_postfix_str('training')
                    progress.unpause()  # what came before was compilation, which is no measure of the steps
                    if profile:
                        traced.enter_context(jax.profiler.trace(str(place.path / 'profile'), create_perfetto_trace=True))
                    first = False
                for at in range(0, item.steps, at_once):
                    now = slice(at, min(at + at_once, item.steps))
                    real_S = (now.start <= step_S) & (step_S < now.stop)
                    state, metrics = trainer.chunk(state, shared, batch, real_S, hyper)
                    trace.add(metrics, now)
                continue
            chosen = (state.params, state.batch_stats) if item.part == 'dev' else best
            z, predicted = programs.predict(item.frames)(*chosen, shared, layout.place_batch(batch, 2), hyper)
            if item.part == 'heard':
                heard.add(item.all_folds, layout.collect(z))
                if item.last:
                    best = fitted(trainer, group, best[0], heard), best[1]
                    checkpoints.save(config.train.epochs + 1, {'state': state, 'best': best}, record.to_json(), layout)
                continue
            scores.add(item.all_folds, layout.collect(predicted))
            if not item.last:
                continue
            counts = scores.confusions(task.table.emotion_N)
            if item.part == 'dev':
                epoch, scores = item.epoch + 1, evaluate.Scores(group.fold_N)
                steps = trace.epoch()
                if profile:
                    traced.close()
                    announce.profiled(place.path / 'profile')
                    profile = False
                record.diverged(steps['loss'], item.epoch * task.steps)
                dev = [evaluate.measures(c) for c in counts]
                better = layout.spread(record.better(config.train, epoch, dev, steps))
                best = programs.keep(best, state, layout.place_runs(better))
                rows = written.metrics(group.runs, epoch, steps, dev)
                record.lines = log.add(epoch, rows)
                for sentence in alarms(epoch, rows):
                    cluster.say(sentence)
                record.seconds = time.perf_counter() - clock
                progress.set_postfix_str(f'epoch {epoch}, dev UAR {np.mean([d["uar"] for d in dev]):.3f}')
                stop = termination.reached(epoch)
                due = cluster.same(int(time.perf_counter() - saved >= config.train.checkpoint_seconds))
                if stop or due or epoch == config.train.epochs:
                    log.flush()
                    checkpoints.save(epoch, {'state': state, 'best': best}, record.to_json(), layout)
                    saved = time.perf_counter()
                if stop:
                    raise cluster.Preempted(f'SIGTERM: saved after epoch {epoch} of {config.train.epochs} in {place.path}.')
    outcome = written.outcome(group.runs, record, counts, entropy)
    place.conclude(number, outcome, written.predictions(task, group.runs, scores, record))
    return outcome


def revisited(place: Workdir, wanted: Callable[[dict], bool] = lambda run: True) -> Iterator[tuple[Trainer, Group, tuple]]:
    """Of a finished sweep, every group with its trainer and the selected (parameters, statistics) of its runs.

    In the order of the runs in results.json, without the groups of which no run is `wanted`; the trainer predicts alone.
    """
    config, choices, number = place.config, place.choices(), itertools.count()
    parts = check(config)
    task = Task(config, parts)
    place.same_split(task)
    mel_RxM = everything(task) if choices['resident'] else None
    for n, part in enumerate(parts):
        trainer = Trainer(part, task, mel_RxM, choices['runs_per_group'][str(n)], trains=False)
        for group in trainer.groups:
            folder = place.checkpoints(next(number))
            if any(map(wanted, group.runs)):
                yield trainer, group, _selected(trainer, group, folder)


def scored(trainer: Trainer, group: Group, best: tuple, part: str) -> tuple[evaluate.Gathered, evaluate.Scores]:
    """Representations and posteriors of a part of each run's fold, whole utterances, by the parameters `best`."""
    task, config, layout = trainer.task, trainer.config, group.layout
    hyper, z_of, scores = layout.place_runs(group.hyper_DxR), evaluate.Gathered(group.fold_N), evaluate.Scores(group.fold_N)
    here = group.fold_DxF[layout.local]
    items = batches.scoring(task.entries, here, task.utterances, part, 0, config.data.eval_batch)
    read = batches.resident if trainer.resident else batches.streaming
    with contextlib.closing(read(task.table, items)) as feed:
        for item, batch in feed:
            z, predicted = trainer.programs.predict(item.frames)(*best, trainer.shared, layout.place_batch(batch, 2), hyper)
            z_of.add(item.all_folds, layout.collect(z))
            scores.add(item.all_folds, layout.collect(predicted))
    return z_of, scores


def _selected(trainer: Trainer, group: Group, folder) -> tuple:
    state = jax.eval_shape(trainer.programs.init, group.layout.place_runs(group.hyper_DxR))
    like = {'state': state, 'best': (state.params, state.batch_stats)}
    with contextlib.closing(checkpoint.Checkpoints(folder)) as checkpoints:
        found = checkpoints.restore(like, group.layout)
    if found is None:
        raise Refusal(f'{folder} holds no checkpoint: the parameters are lost. Remove the workdir and train anew.')
    return found[1]['best']


def fitted(trainer: Trainer, group: Group, params, heard: evaluate.Gathered):
    """The parameters of all runs after the method's `fit` on the representations of what each run's training heard."""
    layout, domain_N = group.layout, trainer.task.table.domain_N
    params_N, each = jax.tree.map(layout.collect, params), []
    for n in range(len(group.runs)):
        rows, z_NxD = heard.run(n)
        index = {d: domain_N[d][rows] for d in trainer.method.domains}
        each.append(trainer.method.fit(jax.tree.map(lambda x, n=n: x[n], params_N), z_NxD, index))
    return layout.place_runs(jax.tree.map(lambda *x: layout.spread(np.stack(x)), *each))


def forecast(trainer: Trainer, state, batch, hyper) -> float:
    """Returns the seconds of an epoch, from a dispatch of one step and one of none.

    The steps train a copy of the state, which `memory.beside_program` counts.
    """
    seconds = []
    for steps in (0, 1, 0, 1):  # the first two may compile, or touch memory for the first time
        copy = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        began = time.perf_counter()
        jax.block_until_ready(trainer.chunk(copy, trainer.shared, batch, np.arange(trainer.length) < steps, hyper))
        seconds.append(time.perf_counter() - began)
    return trainer.task.steps * (seconds[3] - seconds[2]) + seconds[2] * trainer.task.steps / trainer.length

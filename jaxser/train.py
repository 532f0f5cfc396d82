"""A sweep from its configuration to its results."""

import contextlib
import importlib
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from data_pipelines import batches, folds, shards
from data_pipelines.refusal import Refusal
from jaxser import checkpoint, evaluate, parallel, report, step, sweep
from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.workdir import Metrics, Workdir

CHUNK_BYTES = 64 << 20  # of features in one dispatch
SELECTIONS = ('best dev UAR', 'last epoch')
PRECISIONS = ('default', 'high', 'highest')


def plugin(package: str, name: str):
    """The module jaxser.<package>.<name>; refuses an unknown name, listing the known ones."""
    known = sorted(p.stem for p in (Path(__file__).parent / package).glob('*.py') if '\ndef make(config' in p.read_text())
    if name not in known:
        raise Refusal(f'There is no {name!r} in jaxser/{package}; known are {", ".join(known)}.')
    return importlib.import_module(f'jaxser.{package}.{name}')


def method(config, sizes: Sizes) -> tuple[Encoder, Method]:
    """The encoder and the method of a configuration."""
    encoder = plugin('models', config.model.name).make(config.model)
    return encoder, plugin('methods', config.method).make(config, encoder, sizes)


def check(config) -> None:
    """Refuses what can be known to be wrong before any data is read."""
    _, nobody = method(config, Sizes(1, 1, dict.fromkeys(batches.DOMAINS, 1), 1))
    sweep.values(config.sweep, nobody.hyper)
    if config.train.select not in SELECTIONS:
        raise Refusal(f'config.train.select is {config.train.select!r}; expected one of {SELECTIONS}.')
    if config.data.normalise not in batches.NORMALISATIONS:
        raise Refusal(f'config.data.normalise is {config.data.normalise!r}; expected one of {batches.NORMALISATIONS}.')
    if config.matmul_precision not in PRECISIONS:
        raise Refusal(f'config.matmul_precision is {config.matmul_precision!r}; expected one of {PRECISIONS}.')
    for key in ('data.frames', 'data.batch', 'data.eval_batch', 'train.epochs'):
        if (value := config[key.split('.')[0]][key.split('.')[1]]) < 1:
            raise Refusal(f'config.{key} is {value}; expected 1 or more.')


class Task:
    """The data of a configuration: utterances and folds."""

    def __init__(self, config):
        everything = shards.read(batches.folders(config.data))
        self.utterances, self.left_out = batches.labelled(everything, config.data.labels)
        every = folds.make(self.utterances, config.protocol.name, config.protocol.folds)
        self.sha256 = folds.sha256(self.utterances, every)
        self.steps = batches.steps_per_epoch(every, config.data.batch)
        self.folds = [every[n] for n in sweep.folds(config.sweep.fold, len(every))]


class Sweep:
    """All runs of a configuration as compiled programs, and the work to feed them."""

    def __init__(self, config, task: Task):
        self.config, self.task = config, task
        u, devices = task.utterances, jax.devices()
        domains = {d: len(np.unique(u.text[d])) for d in batches.DOMAINS}
        self.total = task.steps * config.train.epochs
        sizes = Sizes(u.bands, len(np.unique(u.text['emotion'])), domains, self.total)
        encoder, how = method(config, sizes)
        self.options = sweep.values(config.sweep, how.hyper)
        self.runs = sweep.variants(self.options)
        self.F, self.V = len(task.folds), len(self.runs)
        _, F, V = parallel.layout(self.F, self.V, len(devices))
        self.programs = parallel.make(step.make(encoder, how, sizes, config.train), F, V, devices)
        table = sweep.hyper(self.runs, [f.number for f in task.folds])
        self.hyper = {k: parallel.pad(v, F, V) for k, v in table.items()}
        self.folds = task.folds + task.folds[-1:] * (F - self.F)  # padded as the runs are
        self.table = batches.Table(u, self.folds, config.data.normalise, config.train.balanced)
        step_bytes = 2 * F * config.data.batch * config.data.frames * u.bands
        self.chunk = max(1, min(task.steps, CHUNK_BYTES // step_bytes))

    def items(self, epoch: int) -> Iterator[batches.Item]:
        """All work from `epoch` to the end: training and dev of every epoch, then the test part once."""
        u, size = self.task.utterances, self.config.data.eval_batch
        for e in range(epoch, self.config.train.epochs):
            yield from batches.training(self.folds, u, e, self.task.steps, self.chunk, self.config.data)
            yield from batches.scoring(self.folds, u, 'dev', e, size)
        yield from batches.scoring(self.folds, u, 'test', self.config.train.epochs, size)


class Scores:
    """Posteriors of a part, gathered batch by batch."""

    def __init__(self, F: int):
        self.rows, self.p = [[] for _ in range(F)], [[] for _ in range(F)]

    def add(self, row_FxB: np.ndarray, scores_FxVxBxC: np.ndarray) -> None:
        """Takes a batch; row -1 is nobody."""
        scores = scores_FxVxBxC.astype(np.float64)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        for f, rows in enumerate(self.rows):
            real = row_FxB[f] >= 0
            rows.append(row_FxB[f][real])
            self.p[f].append(p[f][:, real])

    def fold(self, f: int) -> tuple[np.ndarray, np.ndarray]:
        """row_N in ascending order and p_VxNxC."""
        rows, p = np.concatenate(self.rows[f]), np.concatenate(self.p[f], axis=1)
        order = np.argsort(rows)
        return rows[order], p[:, order]

    def confusions(self, emotion_N: np.ndarray) -> np.ndarray:
        """count_FxVxCxC."""
        folds = (self.fold(f) for f in range(len(self.rows)))
        return np.array(
            [[evaluate.confusion(emotion_N[rows], p.argmax(-1), p.shape[-1]) for p in p_VxNxC] for rows, p_VxNxC in folds]
        )


class Trace:
    """The metrics of the steps of an epoch; fetched one chunk late, so that the device is never waited for."""

    def __init__(self, progress):
        self.progress, self.pending, self.parts, self.compiled = progress, None, [], False

    def add(self, metrics, steps: int) -> None:
        """Takes the metrics of a chunk that is being computed, and fetches those of the one before."""
        self._fetch()
        self.pending = metrics, steps

    def _fetch(self) -> None:
        if self.pending:
            metrics, steps = self.pending
            self.parts.append({k: np.asarray(v)[:steps] for k, v in metrics.items()})
            if not self.compiled:
                self.progress.unpause()  # what came before was compilation, which is no measure of the steps
                self.compiled = True
            self.progress.update(steps)
            self.pending = None

    def epoch(self) -> dict[str, np.ndarray]:
        """Every metric of the epoch, SxFxV; begins the next one."""
        self._fetch()
        parts, self.parts = self.parts, []
        return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


class Record:
    """What the host knows of each run, FxV with padding: which epoch is selected, and whether the run has diverged."""

    def __init__(self, F: int, V: int):
        self.best_uar, self.best_epoch, self.nonfinite = np.full((F, V), -1.0), np.full((F, V), -1), np.full((F, V), -1)
        self.dev = [[None] * V for _ in range(F)]  # measures of the selected epoch
        self.selected = [[None] * V for _ in range(F)]  # metrics of its last step
        self.metrics_bytes, self.seconds = 0, 0.0

    def diverged(self, loss_SxFxV: np.ndarray, first_step: int) -> None:
        """Remembers the first step at which a run's loss is not finite."""
        bad_SxFxV = ~np.isfinite(loss_SxFxV)
        new = bad_SxFxV.any(0) & (self.nonfinite < 0)
        self.nonfinite = np.where(new, first_step + bad_SxFxV.argmax(0), self.nonfinite)

    def better(self, train, epoch: int, dev: list, trace: dict) -> np.ndarray:
        """better_FxV: of which runs the parameters of this epoch are to be kept. Dev decides; test is never looked at."""
        uar = np.array([[d['uar'] for d in row] for row in dev])
        if train.select == 'last epoch':
            better = np.full(uar.shape, epoch == train.epochs)
        else:
            better = (epoch >= train.select_from * train.epochs) & (uar > self.best_uar)
        better &= self.nonfinite < 0
        self.best_uar, self.best_epoch = np.where(better, uar, self.best_uar), np.where(better, epoch, self.best_epoch)
        for f, v in np.argwhere(better):
            self.dev[f][v] = dev[f][v]
            self.selected[f][v] = {k: float(x[-1, f, v]) for k, x in trace.items()}
        return better

    def to_json(self) -> dict:
        """For the checkpoint."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    def from_json(self, found: dict) -> None:
        """From the checkpoint."""
        for k, v in found.items():
            setattr(self, k, np.array(v) if isinstance(getattr(self, k), np.ndarray) else v)


def run(config, path: Path) -> dict:
    """Trains and evaluates every run of `config` in `path`, going on from its checkpoint; returns what results.json holds."""
    check(config)
    place = Workdir(path, config)
    results = place.finished()
    if results:
        print(f'{path} holds this sweep, finished; remove it to train anew.')
    else:
        precision = config.matmul_precision
        with contextlib.nullcontext() if precision == 'default' else jax.default_matmul_precision(precision):
            results = train(config, place)
    report.show(results, path)
    return results


def train(config, place: Workdir) -> dict:
    """The loop over epochs."""
    task = Task(config)
    s = Sweep(config, task)
    place.describe(task.sha256, len(task.utterances), task.left_out)
    report.announce(task, s, config)
    programs, record = s.programs, Record(*s.hyper['fold'].shape)
    state = programs.init(s.hyper)
    best = jax.tree.map(lambda x: x.copy(), (state.params, state.batch_stats))
    checkpoints, epoch = checkpoint.Checkpoints(place.checkpoints), 0
    if found := checkpoints.restore({'state': state, 'best': best}):
        epoch, arrays, host = found
        state, best = arrays['state'], arrays['best']
        record.from_json(host)
        print(f'Resuming after epoch {epoch} of {config.train.epochs}.')

    began, saved, scores = time.perf_counter() - record.seconds, time.perf_counter(), Scores(len(s.folds))
    with (
        contextlib.closing(checkpoints),
        contextlib.closing(Metrics(place.path, record.metrics_bytes, epoch, [report.label(r, s.options) for r in s.runs])) as log,
        contextlib.closing(report.progress(s.total, epoch * task.steps)) as progress,
        contextlib.closing(batches.feed(s.table, s.items(epoch))) as feed,
    ):
        trace = Trace(progress)
        for item, batch in feed:
            if item.part == 'train':
                real_S = np.arange(len(item.row)) < item.steps
                state, metrics = programs.chunk(state, programs.place(batch), real_S, s.hyper)
                trace.add(metrics, item.steps)
                continue
            chosen = best if item.part == 'test' else (state.params, state.batch_stats)
            scores.add(item.row, np.asarray(programs.predict(*chosen, batch)))
            if not item.last:
                continue
            counts = scores.confusions(s.table.emotion_N)
            if item.part == 'dev':
                epoch, scores = item.epoch + 1, Scores(len(s.folds))
                steps = trace.epoch()
                record.diverged(steps['loss'], item.epoch * task.steps)
                dev = [[evaluate.measures(c) for c in row] for row in counts]
                best = programs.keep(best, state, record.better(config.train, epoch, dev, steps))
                rows, means = report.metrics(s, epoch, steps, dev)
                record.metrics_bytes = log.write(epoch, rows, means)
                record.seconds = time.perf_counter() - began
                progress.set_postfix_str(f'epoch {epoch}, dev UAR {np.nanmean([m["dev_uar"] for m in means]):.3f}')
                if epoch == config.train.epochs or time.perf_counter() - saved >= config.train.checkpoint_seconds:
                    checkpoints.save(epoch, {'state': state, 'best': best}, record.to_json())
                    saved = time.perf_counter()
    results = report.results(config, task, s, record, counts, time.perf_counter() - began)
    place.finish(results, report.predictions(task, s, scores, record))
    return results

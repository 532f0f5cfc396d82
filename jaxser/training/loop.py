"""Trains one group of runs: epochs of training and validation, the method's fit, then the test."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from data_pipelines.batching import plan
from jaxser import distributed
from jaxser.analysis.measure import main_measure
from jaxser.earlier import uses_earlier_defaults
from jaxser.runs import run_label
from jaxser.training import monitoring, outputs, parallel
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.outputs import MetricsLog
from jaxser.training.tracking import Collected, CollectedOutputs, EpochMetrics, SelectionRecord
from jaxser.training.trainer import Group, Trainer
from jaxser.workdir import Workdir

# The longest time of one dispatch in seconds, during which the progress bar does not move.
TARGET_DISPATCH_SECONDS = 20.0

# The forecast is computed from steps that take this time together, but not from more steps.
MEASURED_SECONDS = 0.1
MAX_MEASURED_STEPS = 64


@dataclasses.dataclass
class Session:
    """What all groups of a sweep that this process trains have in common."""

    progress: tqdm.tqdm
    termination: distributed.Termination
    start_time: float  # of the command, as time.time()
    profile: bool  # whether the next epoch of training is to be traced


class GroupLoop:
    """The loop over the epochs of one group of runs.

    Writes checkpoints, metrics, predictions and the outcome of the group into the workdir.
    """

    def __init__(
        self,
        trainer: Trainer,
        group: Group,
        group_number: int,
        workdir: Workdir,
        session: Session,
        metric_lines: int,
    ):
        """Restores the newest checkpoint of the group, or initialises its runs.

        `group_number` is the number of the group in the sweep, and `metric_lines` the number of
        lines in metrics.jsonl that the groups before it have written.
        """
        self.trainer = trainer
        self.group = group
        self.group_number = group_number
        self.workdir = workdir
        self.session = session
        self.config = trainer.config
        self.task = trainer.task
        self.layout = group.layout
        self.functions = trainer.functions
        self.hyper = self.layout.put_runs_on_devices(group.hyper_DxR)
        # Earlier versions fitted on all training data, also on what attackers are tested on.
        is_earlier = uses_earlier_defaults(self.config)
        self.fit_part = 'train_and_adapt' if is_earlier else 'fit_rows'

        self.record = SelectionRecord(len(group.runs))
        self.record.lines = metric_lines
        self.checkpoints = Checkpoints(workdir.checkpoint_folder(group_number))
        self.epoch = 0  # the number of epochs that are done
        self.state = self.functions.init(self.hyper)
        # The selected (params, batch_stats).
        self.best = jax.tree.map(jnp.copy, (self.state.params, self.state.batch_stats))
        is_restored = self._restore_checkpoint()
        if trainer.method.fit_input is not None and not is_restored:
            self._fit_input()

        self.entropies = self._domain_entropies()
        self.alarms = monitoring.AdversaryAlarms(
            group.runs,
            self.entropies,
            len(self.task.classes),
            self.config.train.epochs,
            self.task.label_keys,
        )
        self.started = time.perf_counter() - self.record.seconds
        self.saved = time.perf_counter()
        self.steps_per_dispatch = None  # unknown before a step has been measured
        self.measure = main_measure(self.config.to_dict())
        self.collected = self._empty_outputs()
        self.representations = Collected(group.subset_fold_N)
        self.epoch_metrics = EpochMetrics(self.layout.collect, session.progress)
        self.profiler = contextlib.ExitStack()

    def run(self) -> dict:
        """Trains, selects, fits and tests the runs; returns the outcome of the group.

        `_work_items` has the loop over the epochs and sets the order of events. Its items are
        handled one by one, in that order, by the method for their part.
        """
        handlers = {
            'train': self._train,
            'dev': self._validate,
            self.fit_part: self._fit,
            'test': self._test,
        }
        labels = [run_label(run, self.task.label_keys) for run in self.group.runs]
        with contextlib.ExitStack() as stack:
            stack.callback(self.checkpoints.close)
            self.log = MetricsLog(
                self.workdir, self.record.lines, self.epoch, self.group.runs, labels
            )
            stack.callback(self.log.close)
            # Streamed features are read ahead, from one part and epoch to the next.
            feed = self.trainer.open_feed(self._work_items())
            stack.callback(feed.close)
            stack.callback(self.profiler.close)
            for item, batch in feed:
                self.session.termination.raise_if_interrupted()
                handlers[item.part](item, batch)
        return self._save_outcome()

    def _work_items(self) -> Iterator[plan.Item]:
        """Yields the work that is left, in the order of events.

        1. For each epoch: chunks of training steps, then dev, after which each run's best epoch is
           selected.
        2. Once, if the method has a `fit`: the whole utterances of the training data on which no
           attacker is tested, after which the selected parameters are fitted.
        3. Once: the test part, with these parameters.
        """
        first_epoch = self.epoch
        epochs = self.config.train.epochs
        for epoch in range(first_epoch, epochs):
            yield from self.group.training_items(epoch, self.trainer.steps_per_chunk)
            yield from self.group.evaluation_items('dev', epoch)
        # A checkpoint beyond the last epoch contains the fitted parameters.
        if self.trainer.method.fit is not None and first_epoch <= epochs:
            yield from self.group.evaluation_items(self.fit_part, epochs)
        yield from self.group.evaluation_items('test', epochs)

    def _restore_checkpoint(self) -> bool:
        """Restores the newest checkpoint that is not damaged; returns whether there is one."""
        template = {'state': self.state, 'best': self.best}
        checkpoint = self.checkpoints.restore(template, self.layout)
        if checkpoint is None:
            return False
        self.checkpoints.set_aside(checkpoint.epoch)
        self.epoch, arrays, record = checkpoint
        self.state = arrays.get('state', self.state)  # after the last epoch, it is not saved
        self.best = arrays['best']
        self.record.from_json(record)
        epochs = self.config.train.epochs
        done = min(self.epoch, epochs)
        distributed.skip_steps(self.session.progress, done * self.task.steps_per_epoch)
        distributed.log(f'Resuming after epoch {done} of {epochs}.')
        return True

    def _fit_input(self) -> None:
        """Fits the method to its input, before the first step of training."""
        params = fit_input(self.trainer, self.group, self.state.params)
        self.state = self.state.replace(params=params)
        self.best = jax.tree.map(jnp.copy, (params, self.state.batch_stats))

    def _domain_entropies(self) -> list[dict[str, float]]:
        """Returns, for every run, the entropy in nats of each domain that the method acts on."""
        entropies = []
        for fold_index in self.group.subset_fold_N:
            fold = self.task.subset_folds[fold_index]
            domains = self.trainer.method.domains
            entropies.append(monitoring.domain_entropies(self.task.table, fold, domains))
        return entropies

    # --- training -----------------------------------------------------------------------------

    def _train(self, item: plan.Item, batch: dict) -> None:
        """Trains for a chunk of steps, in one dispatch or several."""
        batch = self.layout.put_batch_on_devices(batch, parallel.TRAINING_AXIS_B)
        if self.steps_per_dispatch is None:
            self._start_training(batch)
        for start in range(0, item.steps, self.steps_per_dispatch):
            self.session.termination.raise_if_interrupted()
            stop = min(start + self.steps_per_dispatch, item.steps)
            span_2 = np.array([start, stop], np.int32)
            self.state, metrics = self.trainer.train_chunk(
                self.state, self.trainer.shared, batch, span_2, self.hyper
            )
            self.epoch_metrics.add(metrics, slice(start, stop))

    def _start_training(self, batch: dict) -> None:
        """Measures a step, prints the forecast, and starts the profiler if it was requested."""
        seconds = measure_epoch_seconds(self.trainer, self.state, batch, self.hyper)
        monitoring.print_forecast(
            self.trainer, self.group, seconds, self.epoch, self.session.start_time
        )
        steps = self.task.steps_per_epoch
        fitting = min(steps, steps * TARGET_DISPATCH_SECONDS / max(seconds, 1e-3))
        self.steps_per_dispatch = distributed.broadcast_from_main(max(1, int(fitting)))
        self.session.progress.set_postfix_str('training')
        self.session.progress.unpause()  # the compilation does not count for the bar's speed
        if self.session.profile:
            folder = str(self.workdir.path / 'profile')
            self.profiler.enter_context(jax.profiler.trace(folder, create_perfetto_trace=True))

    # --- evaluation ---------------------------------------------------------------------------

    def _empty_outputs(self) -> CollectedOutputs:
        return CollectedOutputs(self.group.subset_fold_N, len(self.task.classes))

    def _score_runs(self, with_confusion: bool = False) -> list[dict]:
        """Returns the figures of every run on the part that was predicted last."""
        figures = []
        for n in range(len(self.group.runs)):
            figures.append(outputs.score_part(self.task, self.collected, n, with_confusion))
        return figures

    def _predict(self, variables: tuple, item: plan.Item, batch: dict) -> tuple:
        return self.trainer.predict(self.layout, variables, item, batch, self.hyper)

    # --- the end of an epoch ------------------------------------------------------------------

    def _validate(self, item: plan.Item, batch: dict) -> None:
        """Scores a batch of dev; after the last batch selects, logs and saves."""
        current = (self.state.params, self.state.batch_stats)
        _, predicted = self._predict(current, item, batch)
        self.collected.add(item.global_row, self.layout.collect(predicted))
        if item.is_last:
            self._end_epoch()

    def _end_epoch(self) -> None:
        """Selects, logs and saves; raises Preempted after SIGTERM."""
        dev = self._score_runs()
        self.collected = self._empty_outputs()
        metrics = self.epoch_metrics.finish_epoch()
        self._stop_profiler()
        self.record.mark_diverged(metrics['loss'], self.epoch * self.task.steps_per_epoch)
        self.epoch += 1
        self._select(dev, metrics)
        self._log_epoch(dev, metrics)
        self._save_if_due()

    def _stop_profiler(self) -> None:
        """Ends the trace after the first epoch and prints where it is."""
        if self.session.profile:
            self.profiler.close()
            monitoring.print_profile_path(self.workdir.path / 'profile')
            self.session.profile = False

    def _select(self, dev: list[dict], metrics: dict[str, np.ndarray]) -> None:
        """Keeps the parameters of the runs for which this is the best epoch so far."""
        better_N = self.record.select_epoch(self.config.train, self.epoch, dev, metrics)
        better_DxR = self.layout.put_runs_on_devices(self.layout.group_by_device(better_N))
        self.best = self.functions.update_best(self.best, self.state, better_DxR)

    def _log_epoch(self, dev: list[dict], metrics: dict[str, np.ndarray]) -> None:
        """Writes the metrics of the epoch, and prints warnings about adversaries."""
        rows = outputs.make_metrics_rows(self.group.runs, self.epoch, metrics, dev)
        self.record.lines = self.log.add(self.epoch, rows)
        for message in self.alarms(self.epoch, rows):
            distributed.log(message)
        self.record.seconds = time.perf_counter() - self.started
        mean = np.mean([run[self.measure.key] for run in dev])
        self.session.progress.set_postfix_str(
            f'epoch {self.epoch}, dev {self.measure.title} {mean:.3f}'
        )

    def _save_if_due(self) -> None:
        """Saves a checkpoint at the last epoch, after a while, and after SIGTERM."""
        config = self.config.train
        stop = self.session.termination.is_requested(self.epoch)
        seconds = time.perf_counter() - self.saved
        due = distributed.broadcast_from_main(int(seconds >= config.checkpoint_seconds))
        if stop or due or self.epoch == config.epochs:
            self.log.flush()
            self._save_checkpoint(self.epoch)
            self.saved = time.perf_counter()
        if stop:
            raise distributed.Preempted(
                f'SIGTERM: saved after epoch {self.epoch} of {config.epochs} '
                f'in {self.workdir.path}.'
            )

    def _save_checkpoint(self, epoch: int) -> None:
        """Saves the selected parameters, and the state unless training has ended.

        The state is three times as large: parameters, and two moments of the optimiser.
        """
        arrays = {'best': self.best}
        if epoch < self.config.train.epochs:
            arrays['state'] = self.state
        self.checkpoints.save(epoch, arrays, self.record.to_json(), self.layout)

    # --- after the last epoch -----------------------------------------------------------------

    def _fit(self, item: plan.Item, batch: dict) -> None:
        """Collects representations of `fit_part`; after the last batch fits the method."""
        z, _ = self._predict(self.best, item, batch)
        self.representations.add(item.global_row, self.layout.collect(z))
        if item.is_last:
            params, batch_stats = self.best
            params = fit_method(self.trainer, self.group, params, self.representations)
            self.best = (params, batch_stats)
            # A checkpoint with this number contains the fitted parameters.
            self._save_checkpoint(self.config.train.epochs + 1)

    def _test(self, item: plan.Item, batch: dict) -> None:
        """Scores a batch of the test part with the selected parameters."""
        _, predicted = self._predict(self.best, item, batch)
        self.collected.add(item.global_row, self.layout.collect(predicted))

    def _save_outcome(self) -> dict:
        """Writes and returns the outcome of the group; writes its predictions."""
        runs = self.group.runs
        tests = self._score_runs(with_confusion=True)
        outcome = outputs.make_outcome(runs, self.record, tests, self.entropies)
        parts = outputs.format_predictions(self.task, runs, self.collected, self.record)
        self.workdir.save_outcome(self.group_number, outcome, parts)
        return outcome


def fit_method(trainer: Trainer, group: Group, params, representations: Collected):
    """Returns the parameters of all runs after the method's `fit`.

    `params` are the selected parameters, with the axes DxR. `representations` are z_NxD of the
    part of each run's fold that the method is fitted on.
    """

    def fit_run(n: int, run_params: dict) -> dict:
        rows, z_NxD = representations.get_run(n)
        return trainer.method.fit(run_params, z_NxD, domain_index(trainer, rows))

    return _fit_runs(group, params, fit_run)


def fit_input(trainer: Trainer, group: Group, params):
    """Returns the parameters of all runs after the method's `fit_input`, before training.

    The input is normalised as in the first epoch, so that it does not depend on the number of
    enrolled utterances. `params` have the axes DxR.
    """
    table = trainer.task.table
    moments = table.training_moments(0)

    def fit_run(n: int, run_params: dict) -> dict:
        subset_fold = group.subset_fold_N[n]
        rows = table.folds[subset_fold].fit_rows
        group_N = moments.index_FxN[subset_fold, rows]
        x_NxM = table.utterances.mean_NxM[rows] - moments.mean_GxM[group_N]
        x_NxM = x_NxM * moments.scale_GxM[group_N]
        return trainer.method.fit_input(run_params, x_NxM, domain_index(trainer, rows))

    return _fit_runs(group, params, fit_run)


def domain_index(trainer: Trainer, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Returns index_N of these utterances for each domain that the method acts on."""
    table = trainer.task.table
    return {domain: table.domain_N[domain][rows] for domain in trainer.method.domains}


def _fit_runs(group: Group, params, fit_run: Callable[[int, dict], dict]):
    """Returns the parameters that `fit_run` returns for (run number, its parameters); axes DxR."""
    layout = group.layout
    params_N = jax.tree.map(layout.collect, params)
    fitted = []
    for n in range(len(group.runs)):
        run_params = jax.tree.map(lambda x_N, n=n: x_N[n], params_N)
        fitted.append(fit_run(n, run_params))
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *fitted)
    return layout.put_runs_on_devices(jax.tree.map(layout.group_by_device, stacked))


def measure_epoch_seconds(trainer: Trainer, state, batch, hyper) -> float:
    """Returns the forecast seconds of an epoch, from dispatches of no step and of several.

    The steps train a copy of the state, which `memory.bytes_outside_program` counts.
    """

    def dispatch(steps: int) -> float:
        copy = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        start = time.perf_counter()
        span_2 = np.array([0, steps], np.int32)
        end_state = trainer.train_chunk(copy, trainer.shared, batch, span_2, hyper)
        jax.block_until_ready(end_state)
        return time.perf_counter() - start

    for steps in (0, 1):  # may compile, or touch memory for the first time
        dispatch(steps)
    dispatch_seconds = dispatch(0)
    step_seconds = measure_step_seconds(dispatch, dispatch_seconds, trainer.steps_per_chunk)
    steps_per_epoch = trainer.task.steps_per_epoch
    dispatches = steps_per_epoch / trainer.steps_per_chunk
    return steps_per_epoch * step_seconds + dispatch_seconds * dispatches


def measure_step_seconds(
    dispatch: Callable[[int], float], dispatch_seconds: float, max_steps: int
) -> float:
    """Returns the seconds of a step; `dispatch(steps)` returns those of a dispatch of steps.

    `dispatch_seconds` are those of a dispatch without a step. Several short steps are measured
    together: the measured time of a single one may be negative.
    """
    seconds = dispatch(1) - dispatch_seconds
    enough = min(MAX_MEASURED_STEPS, max_steps, MEASURED_SECONDS / max(seconds, 1e-6))
    steps = distributed.broadcast_from_main(max(1, int(enough)))
    if steps > 1:
        seconds = dispatch(steps) - dispatch_seconds
    return max(seconds, 0.0) / steps

"""Messages of training: the plan, forecasts, and warnings about adversaries."""

import time
from collections.abc import Iterator
from datetime import timedelta

import jax
import numpy as np

from data_pipelines import labels
from data_pipelines.batching.table import NORMALISATIONS
from data_pipelines.protocols import audit_report, subsets
from data_pipelines.wording import pluralize
from jaxser import distributed
from jaxser.configuration.search_space import ENROL_KEY
from jaxser.pretrained import encoder
from jaxser.runs import distinct_values, run_label
from jaxser.training import memory

# Below this ratio of its gradient to that of the task, an adversary has no effect on the encoder.
MIN_GRADIENT_RATIO = 0.01

# A head only guesses if its loss is above this fraction of the loss of guessing, which is 1 - CCC =
# 1 for ratings.
GUESSING_FRACTION = 0.98

# What helped in experiments on real speech where the encoder changed faster than the head.
OUTRUN_REMEDY = (
    'raise config.sweep.head_rate if the method has it, lower lam, or use '
    'config.method = similarity, which has no head'
)

# The cost of scoring a frame, as a fraction of that of training on it.
SCORING_COST = 1 / 3

MAX_LISTED_RUNS = 3

COUNTED_KEYS = {'method': 'methods', 'seed': 'seeds'}  # the plurals of keys that are words


def domain_entropies(table, fold, domains: tuple[str, ...]) -> dict[str, float]:
    """Returns the entropy in nats of each domain, among the utterances on which its head trains.

    It is the loss of a head that always predicts the frequencies of the values.
    """
    entropies = {}
    for domain in domains:
        index_N = table.domain_N[domain][fold.domain_rows]
        index_N = index_N[index_N >= 0]
        share_K = np.bincount(index_N) / max(len(index_N), 1)
        share_K = share_K[share_K > 0]
        entropies[domain] = float(-(share_K * np.log(share_K)).sum())
    return entropies


class AdversaryAlarms:
    """Warns once of each problem of each run's adversary, in the second half of training."""

    def __init__(
        self,
        runs: list[dict],
        entropies: list[dict[str, float]],
        class_count: int,
        epochs: int,
        label_keys: list[str],
    ):
        """`entropies` are those of each run's domains, in nats.

        `class_count` is the number of classes that are predicted; 0 if only ratings are.
        """
        self.runs = runs
        self.entropies = entropies
        self.class_count = class_count
        self.epochs = epochs
        self.label_keys = label_keys
        self.reported: set[tuple[int, str]] = set()

    def __call__(self, epoch: int, rows: list[dict]) -> list[str]:
        """Returns the new warnings; `rows` are the metrics of an epoch, one row for each run."""
        if 2 * epoch <= self.epochs:
            return []
        numbers: dict[str, list[int]] = {}  # of the runs with a problem, by the problem
        for n, row in enumerate(rows):
            # With a coefficient of 0 nothing is forgotten; below 0 the domain is taught.
            if (row.get('lam_p') or 0) <= 0 or row.get('reversed_over_task') is None:
                continue
            if row.get('loss') is None:  # the run has diverged: its other metrics say nothing
                continue
            for problem in self._problems(row, self.entropies[n]):
                if (n, problem) not in self.reported:
                    self.reported.add((n, problem))
                    numbers.setdefault(problem, []).append(n)
        warnings = []
        for problem, affected in numbers.items():
            warnings.append(f'Epoch {epoch}, {self._list_runs(affected)}: {problem}.')
        return warnings

    def _list_runs(self, numbers: list[int]) -> str:
        names = []
        for n in numbers[:MAX_LISTED_RUNS]:
            run = self.runs[n]
            names.append(f'{run_label(run, self.label_keys)} fold {run["fold"]}')
        listed = ', '.join(names)
        if len(numbers) > MAX_LISTED_RUNS:
            listed += f' and {len(numbers) - MAX_LISTED_RUNS} more'
        return listed

    def _problems(self, row: dict, entropies: dict[str, float]) -> Iterator[str]:
        """Yields what is wrong with the adversary of a run."""
        if self.class_count:
            nats = np.log(self.class_count)
            if (row['emotion_loss'] or 0) > GUESSING_FRACTION * nats:
                yield (
                    'the emotion loss is that of guessing; the adversary may be too strong (lower '
                    'lam)'
                )
        if row.get('rating_ccc') is not None and row['rating_ccc'] < 1 - GUESSING_FRACTION:
            yield (
                'the predicted ratings are no better than guessing; the adversary may be too '
                'strong (lower lam)'
            )
        if row['reversed_over_task'] < MIN_GRADIENT_RATIO:
            has_head = any(row.get(f'{domain}_loss') is not None for domain in entropies)
            remedy = OUTRUN_REMEDY if has_head else 'raise lam'
            yield (
                f"the adversary's gradient is below {MIN_GRADIENT_RATIO:g} of the task's, and has "
                f'no effect ({remedy})'
            )
        for domain, nats in entropies.items():
            if (row.get(f'{domain}_loss') or 0) > GUESSING_FRACTION * nats:
                yield (
                    f'the {domain} head only guesses: either the {domain} has been removed, which '
                    'the probe after training measures, or the encoder changes faster than the '
                    f'head can follow ({OUTRUN_REMEDY})'
                )


def print_plan(config, task, programs: list) -> None:
    """Prints the data, the runs and the devices of a sweep before training."""
    runs = task.runs
    distributed.log(
        f'{len(task.utterances)} utterances, {len(task.table.domains["speaker"])} speakers, '
        f'{describe_predicted(task)}; {task.protocol.title}; split {task.split_sha256[:12]}'
    )
    for line in task.split.describe_left_out(config.data.labels if task.classes else ''):
        distributed.log(line)
    if not task.classes:
        distributed.log(
            'The audit, and other steps that need groups of utterances, use the thirds of the '
            f'scale of {task.ratings[0]}: {", ".join(labels.THIRDS)}.'
        )
    for line in task.shortages:
        distributed.log(line)
    for line in audit_report.summary_lines(task.audit):
        distributed.log(line)
    subset_keys = []
    for key in subsets.Subset._fields:
        is_of_training = key != ENROL_KEY
        if is_of_training and any(key in run for run in runs):
            subset_keys.append(f'config.sweep.{key}')
    if subset_keys:
        distributed.log(
            f'The audit is of the whole training part, before {", ".join(subset_keys)}.'
        )
    normalise = config.data.normalise
    distributed.log(
        f'Features normalised by {normalise}{NORMALISATIONS[normalise]}. '
        f'{pluralize(len(runs), "run")} in {pluralize(len(programs), "program")}: '
        f'{describe_counts(task)}; {pluralize(config.train.epochs, "epoch")} of '
        f'{pluralize(task.steps_per_epoch, "step")}; '
        f'{jax.device_count()} x {jax.devices()[0].device_kind}'
    )


def describe_predicted(task) -> str:
    """Returns what is predicted: 'classes angry, sad; ratings arousal, valence'."""
    parts = []
    if task.classes:
        parts.append(f'classes {", ".join(task.classes)}')
    if task.ratings:
        parts.append(f'ratings {", ".join(task.ratings)}')
    return '; '.join(parts)


def describe_counts(task) -> str:
    """Returns how many folds and values of each swept key there are: '10 folds, 2 methods'.

    If there are fewer runs than combinations, the text ends with 'not all combined'.
    """
    counts = [pluralize(len(task.folds), 'fold')]
    combinations = len(task.folds)
    for key in task.label_keys:
        count = len(distinct_values(task.runs, key))
        combinations *= max(count, 1)
        if count > 1:
            counts.append(f'{count} {COUNTED_KEYS.get(key, key)}')
    if len(task.runs) < combinations:
        counts.append('not all combined')
    return ', '.join(counts)


def print_grouping(trainer) -> None:
    """Prints the forecast of memory if parameters are frozen, and groups if there are several."""
    group_count = len(trainer.groups)
    layout = trainer.groups[0].layout
    if trainer.frozen is not None and trainer.memory_bytes:
        frozen_bytes = sum(array.nbytes for array in jax.tree.leaves(trainer.frozen))
        limit = memory.memory_limit(layout.devices)
        distributed.log(
            f'Forecast of memory for {pluralize(layout.R, "run")} on a device: '
            f'{trainer.memory_bytes / 2**30:.2f} GiB of {limit / 2**30:.2f} GiB; '
            f'{frozen_bytes / 2**20:.1f} MiB of this are frozen parameters, which the runs share.'
        )
    if trainer.config.model.name == 'fine_tuned':
        _print_truncated(trainer)
    if group_count > 1:
        distributed.log(
            f'{len(trainer.runs)} runs do not fit at once: {group_count} groups of up to '
            f'{trainer.group_size} on {pluralize(len(layout.devices), "device")}.'
        )


def _print_truncated(trainer) -> None:
    """Prints how many utterances are longer than the input of the pretrained encoder."""
    max_seconds = encoder.cached_encoder(trainer.config.model.upstream).max_seconds
    frames_N = trainer.task.utterances.frames_N  # of 10 ms
    count = int((frames_N > 100 * max_seconds).sum())
    if count:
        distributed.log(
            f'{pluralize(count, "utterance")} longer than {max_seconds:g} s, the longest input of '
            'the encoder: only the beginning is scored.'
        )


def print_forecast(trainer, group, seconds: float, epoch: int, start_time: float) -> None:
    """Prints how long the start took, and how long training will take.

    `seconds` is the time of an epoch of training, and `epoch` the number of epochs that are done.
    """
    config, task = trainer.config, trainer.task
    trained_frames = task.steps_per_epoch * group.examples_per_step * config.data.frames
    scored_frames = 0
    for item in group.evaluation_items('dev', epoch):
        scored_frames += item.row.shape[-1] * item.frames
    epoch_seconds = seconds * (1 + SCORING_COST * scored_frames / trained_frames)
    later_groups = len(trainer.groups) - 1 - trainer.groups.index(group)
    epochs_left = config.train.epochs * (1 + later_groups) - epoch
    runs = f'{pluralize(len(trainer.runs), "run")}{trainer.program_note}'
    distributed.log(
        f'First step {time.time() - start_time:.0f} s after the start.'
        f'{describe_forecast(runs, epoch_seconds, epochs_left)}'
    )


def describe_forecast(runs: str, epoch_seconds: float, epochs_left: int) -> str:
    """Returns the forecast of training as a sentence; '' if no epoch is left.

    `runs` says how many runs there are.
    """
    if epochs_left <= 0:
        return ''
    left = timedelta(seconds=round(epoch_seconds * epochs_left))
    return f' Forecast for training {runs}: {left} (h:mm:ss), {epoch_seconds:.1f} s for each epoch.'


def print_profile_path(folder) -> None:
    """Prints where the trace is, and how to open it."""
    trace = next(folder.glob('plugins/profile/*/perfetto_trace.json.gz'), folder)
    distributed.log(
        f'\nTrace of one epoch: open {trace} at https://ui.perfetto.dev, '
        f'or pip install xprof and tensorboard --logdir {folder}.'
    )

"""What a sweep says on the terminal: what is about to be computed, how long it takes, and the table at the end."""

import time
from datetime import timedelta

import jax
import numpy as np

from data_pipelines.batching.table import NORMALISATIONS
from data_pipelines.protocols import audit_report, subsets
from data_pipelines.wording import pluralize
from jaxser import distributed
from jaxser.pretrained import encoder
from jaxser.runs import distinct_values, run_label
from jaxser.training import memory

MIN_GRADIENT_RATIO = 0.01  # of the task's gradient: an adversary's that is smaller moves nothing

GUESSING_FRACTION = 0.98  # of the loss of guessing


def domain_entropies(table, fold, domains: tuple[str, ...]) -> dict[str, float]:
    """Of each domain among the utterances by which it is forgotten, in nats: the loss of a head that knows their shares alone."""
    found = {}
    for d in domains:
        index_N = table.domain_N[d][fold.domain_rows]
        share_K = np.bincount(index_N[index_N >= 0]) / max((index_N >= 0).sum(), 1)
        found[d] = float(-(share_K[share_K > 0] * np.log(share_K[share_K > 0])).sum())
    return found


class AdversaryAlarms:
    """Says once of every run what is wrong with its adversary, when the coefficient has risen."""

    def __init__(
        self,
        runs: list[dict],
        entropy: list[dict[str, float]],
        classes: int,
        epochs: int,
        label_keys: list[str],
    ):
        self.runs, self.entropy, self.classes, self.epochs, self.label_keys = (
            runs,
            entropy,
            classes,
            epochs,
            label_keys,
        )
        self.reported: set[tuple[int, str]] = set()

    def __call__(self, epoch: int, rows: list[dict]) -> list[str]:
        """A sentence for every kind of alarm that is new, of the metrics of an epoch, a row a run."""
        kinds: dict[str, list[int]] = {}
        for n, row in enumerate(rows):
            if (
                2 * epoch <= self.epochs
                or not row.get('lam_p')
                or row.get('reversed_over_task') is None
            ):
                continue
            for kind in self._problems(row, self.entropy[n]):
                if (n, kind) not in self.reported:
                    self.reported.add((n, kind))
                    kinds.setdefault(kind, []).append(n)
        named = lambda n: f'{run_label(self.runs[n], self.label_keys)} fold {self.runs[n]["fold"]}'  # noqa: E731
        return [
            f'Epoch {epoch}, {", ".join(map(named, of[:3]))}{f" and {len(of) - 3} more" if len(of) > 3 else ""}: {kind}.'
            for kind, of in kinds.items()
        ]

    def _problems(self, row: dict, entropy: dict[str, float]):
        if (row['emotion_loss'] or 0) > GUESSING_FRACTION * np.log(self.classes):
            yield 'the emotion loss is that of guessing; the adversary may be too strong (lower lam)'
        if row['reversed_over_task'] < MIN_GRADIENT_RATIO:
            yield f"the adversary's gradient is below {MIN_GRADIENT_RATIO:g} of the task's; it moves nothing (raise lam)"
        for d, nats in entropy.items():
            if (row.get(f'{d}_loss') or 0) > GUESSING_FRACTION * nats:
                yield f'the {d} head only guesses; whether the {d} is forgotten, the probe at the end says'


SCORING_COST = 1 / 3  # the cost of scoring a frame, as a share of that of training on it


def print_plan(config, task, programs: list, runs: list[dict]) -> None:
    """What is about to be computed."""
    u = task.utterances
    distributed.log(
        f'{len(u)} utterances, {len(task.table.domains["speaker"])} speakers, classes {", ".join(task.table.classes)}; '
        f'{task.protocol.title}; split {task.split_sha256[:12]}'
    )
    cut = [f'config.sweep.{k}' for k in subsets.Subset._fields if any(k in r for r in runs)]
    before = [f'The audit is of the whole training part, before {", ".join(cut)}.'] * bool(cut)
    for line in (
        *task.split.describe_left_out(config.data.labels),
        *audit_report.summary_lines(task.audit),
        *before,
    ):
        distributed.log(line)
    differ = {k: len(distinct_values(runs, k)) for k in task.label_keys}
    distributed.log(
        f'Features normalised by {config.data.normalise}{NORMALISATIONS[config.data.normalise]}. '
        f'{pluralize(len(runs), "run")} in {pluralize(len(programs), "program")}: {pluralize(len(task.folds), "fold")}'
        f'{"".join(f", {n} {k}" for k, n in differ.items() if n > 1)}; '
        f'{pluralize(config.train.epochs, "epoch")} of {pluralize(task.steps_per_epoch, "step")}; '
        f'{jax.device_count()} x {jax.devices()[0].device_kind}'
    )


def print_grouping(trainer) -> None:
    """How the runs of a part are spread, where they do not fit at once; of an encoder that learns, what it takes and hears."""
    count, groups = len(trainer.runs), len(trainer.groups)
    if trainer.frozen is not None and trainer.memory_bytes:
        layout = trainer.groups[0].layout
        frozen, limit = (
            sum(x.nbytes for x in jax.tree.leaves(trainer.frozen)),
            memory.memory_limit(layout.devices),
        )
        distributed.log(
            f'Forecast of memory for {pluralize(layout.R, "run")} on a device: {trainer.memory_bytes / 2**30:.2f} GiB, and '
            f'{limit / 2**30:.2f} may be used; the frozen parameters, which they share, are {frozen / 2**20:.1f} MiB of it.'
        )
    if trainer.config.model.name == 'fine_tuned':
        longest = encoder.cached_encoder(trainer.config.model.upstream).max_seconds
        if beyond := int((trainer.task.utterances.frames_N > 100 * longest).sum()):
            distributed.log(
                f'{pluralize(beyond, "utterance")} longer than the {longest:g} s that the encoder hears: the beginning is scored.'
            )
    if groups > 1:
        devices = len(trainer.groups[0].layout.devices)
        distributed.log(
            f'{count} runs do not fit at once: {groups} groups of up to {trainer.group_size} on {devices} device(s).'
        )


def print_forecast(trainer, group, seconds: float, epoch: int, start_time: float) -> None:
    """How long it will take, known from one step; and how long the start took."""
    config, task = trainer.config, trainer.task
    trained = (
        task.steps_per_epoch
        * (1 + trainer.has_identity_batches)
        * config.data.batch
        * config.data.frames
    )
    scored = sum(
        i.row.shape[-1] * i.frames
        for i in group.work_items(config, task, trainer.steps_per_chunk, config.train.epochs - 1)
        if i.part == 'dev'
    )
    whole = seconds * (1 + SCORING_COST * scored / trained)
    others = len(trainer.groups) - 1 - trainer.groups.index(group)
    left = whole * (config.train.epochs - epoch + others * config.train.epochs)
    runs = f'{pluralize(len(trainer.runs), "run")}{trainer.program_note}'
    distributed.log(
        f'First step {time.time() - start_time:.0f} s after the start. Forecast for training {runs}: '
        f'{timedelta(seconds=round(left))} (h:mm:ss), {whole:.1f} s an epoch.'
    )


def print_profile_path(folder) -> None:
    """Where the trace is, and how it is opened."""
    trace = next(folder.glob('plugins/profile/*/perfetto_trace.json.gz'), folder)
    distributed.log(
        f'\nA trace of one epoch: open {trace} at https://ui.perfetto.dev, '
        f'or pip install xprof and tensorboard --logdir {folder}.'
    )

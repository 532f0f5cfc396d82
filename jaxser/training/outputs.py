"""Makes the files of training: metrics.jsonl, outcomes, results.json, predictions.csv.

The posteriors in predictions.csv are the softmax of a run's scores and are not calibrated, unlike
those of the `predict` command.
"""

import json
from collections.abc import Iterator

import jax
import numpy as np

from data_pipelines import csv_files
from data_pipelines.batching import table
from data_pipelines.features.upstream import STATE_KINDS
from data_pipelines.wording import pluralize
from jaxser import distributed
from jaxser.analysis import concordance, metrics, predictions, summary
from jaxser.nn.output_head import split_outputs
from jaxser.pretrained.extractor import states_of_local_encoder
from jaxser.runs import (
    SYNTHETIC_CORPORA,
    USUAL_VARIANTS,
    distinct_values,
    method_name,
    run_label,
    with_run_values,
)
from jaxser.training.event_files import EventFile
from jaxser.training.tracked_runs import TrackedRuns
from jaxser.workdir import Workdir

# The figures of dev in metrics.jsonl, which begin with `dev_` there.
DEV_FIGURES = ('uar', 'wa', 'f1', 'ccc', 'pearson', 'rmse')


class MetricsLog:
    """Writes metrics.jsonl and the event files of TensorBoard, and shows runs in a tracker.

    When training resumes, the files are cut back to what they contained at the checkpoint.
    """

    def __init__(
        self, workdir: Workdir, lines: int, epoch: int, runs: list[dict], labels: list[str]
    ):
        """Keeps `lines` lines of metrics.jsonl, and events up to `epoch`.

        `labels` are the names of the runs. Runs that differ only in the fold have the same label.
        """
        self.workdir = workdir
        self.lines = workdir.read_lines('metrics.jsonl')[:lines]
        self.labels = labels
        self.writers = {}
        if distributed.is_main_process():
            first_removed = epoch + 1 if epoch else None
            for label in dict.fromkeys(labels):
                folder = str(workdir.path / 'tensorboard' / label)
                self.writers[label] = EventFile(folder, first_removed)
        run_by_label = dict(zip(labels, runs)) if self.writers else {}
        self.tracked = TrackedRuns(workdir.path, workdir.config, run_by_label)

    def add(self, epoch: int, rows: list[dict]) -> int:
        """Adds a line for each run, and scalars for each label; returns the number of lines."""
        for row in rows:
            self.lines.append(json.dumps(row) + '\n')
        for label, writer in self.writers.items():
            own_rows = [row for row, name in zip(rows, self.labels) if name == label]
            scalars = _mean_scalars(own_rows)
            for key, value in scalars.items():
                writer.add_scalar(key, value, epoch)
            self.tracked.log(label, epoch, scalars)
        return len(self.lines)

    def flush(self) -> None:
        """Writes the files, so that metrics.jsonl agrees with the checkpoint that follows."""
        for writer in self.writers.values():
            writer.flush()
        self.workdir.save_metrics(self.lines)

    def close(self) -> None:
        """Closes the event files and the tracked runs."""
        for writer in self.writers.values():
            writer.close()
        self.tracked.close()


def _mean_scalars(rows: list[dict]) -> dict[str, float]:
    """Returns the mean over folds of every metric that is a number in all of them."""
    means = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        is_metric = key not in ('epoch', 'fold')
        if is_metric and all(isinstance(value, float) for value in values):
            means[key] = float(np.mean(values))
    return means


def score_part(task, collected, n: int, with_confusion: bool = False) -> dict:
    """Returns the figures of run `n` on a part of its fold.

    With classes they are uar, wa and f1, and the confusion matrix if `with_confusion`. With ratings
    they are ccc, pearson and rmse, averaged over the ratings, and `ratings`, which has those of
    each rating. The key `n` is the number of utterances. `collected` is the
    tracking.CollectedOutputs of the part.
    """
    figures = {}
    if task.classes:
        count_CxC = collected.confusion_matrix(n, task.table.emotion_N)
        figures |= metrics.classification_metrics(count_CxC)
        if with_confusion:
            figures['confusion'] = count_CxC.tolist()
    if task.ratings:
        rows, rating_NxA = collected.ratings(n)
        truth_NxA = task.table.rating_NxA[rows]
        figures |= concordance.rating_metrics(truth_NxA, rating_NxA, task.ratings)
    return figures


def make_metrics_rows(
    runs: list[dict], epoch: int, epoch_metrics: dict[str, np.ndarray], dev: list
) -> list[dict]:
    """Returns the lines of metrics.jsonl for an epoch, one for each run.

    `epoch_metrics` are metric_NxS, and `dev` the figures of each run on dev (`score_part`). Values
    that are not finite become None.
    """
    rows = []
    for n, run in enumerate(runs):
        row = run | {'epoch': epoch}
        for key, metric_NxS in epoch_metrics.items():
            row[key] = float(metric_NxS[n].mean())
        has_diverged = not np.isfinite(row['loss'])
        for key in DEV_FIGURES:
            if key in dev[n]:
                row[f'dev_{key}'] = None if has_diverged else dev[n][key]
        for key, value in row.items():
            if isinstance(value, float) and not np.isfinite(value):
                row[key] = None
        rows.append(row)
    return rows


def make_outcome(
    runs: list[dict], record, tests: list[dict], entropies: list[dict[str, float]]
) -> dict:
    """Returns the outcome of a group, with its runs as results.json lists them.

    `record` is the tracking.SelectionRecord, `tests` are the figures of the test part
    (`score_part`), and `entropies` those of the domains, in nats.
    """
    listed = []
    for n, run in enumerate(runs):
        step = int(record.nonfinite[n])
        if step >= 0:
            nothing = dict.fromkeys(('epoch', 'dev', 'test', 'selected'))
            listed.append({'hyper': run, 'status': 'nonfinite', 'step': step} | nothing)
            continue
        listed.append(
            {
                'hyper': run,
                'status': 'ok',
                'epoch': int(record.best_epoch[n]),
                'dev': record.dev[n],
                'test': tests[n],
                'selected': record.selected[n],
                'entropy': entropies[n],
            }
        )
    return {'runs': listed, 'lines': record.lines, 'seconds': record.seconds}


def make_results(
    config, task, outcomes: list[dict], predicted: predictions.PredictionsByRun, seconds: float
) -> dict:
    """Returns results.json; `seconds` are those of the whole sweep."""
    runs = []
    groups = []  # in the order of the runs
    for outcome in outcomes:
        runs += outcome['runs']
        group_seconds = round(outcome['seconds'], 1)
        groups.append({'runs': len(outcome['runs']), 'seconds': group_seconds})
    training_seconds = sum(outcome['seconds'] for outcome in outcomes)
    normalise = config.data.normalise
    return {
        'protocol': ', '.join([task.protocol.title, *_protocol_notes(config, task, runs)]),
        'method': _method_of_sweep(config, runs),
        'task': config.task,
        'corpora': list(config.data.corpora),
        'labels': config.data.labels if task.classes else None,
        'folds': [fold.name for fold in task.folds],
        'selection': config.train.select,
        'normalisation': normalise + table.NORMALISATIONS[normalise],
        'speakers': speaker_attributes(task.utterances.text),
        'classes': task.classes,
        'ratings': list(task.ratings),
        'synthetic': not SYNTHETIC_CORPORA.isdisjoint(config.data.corpora),
        'split_sha256': task.split_sha256,
        'left_out': task.split.left_out,
        'unused': task.split.unused,
        'audit': task.audit,
        'matmul_precision': config.matmul_precision,
        'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
        'seconds': round(seconds, 1),
        'seconds_of_training': round(training_seconds, 1),
        'steps': task.steps_per_epoch * config.train.epochs,  # of a run
        'groups': groups,
        'runs': runs,
        'summary': summary.summary_rows(
            runs, predicted, config.to_dict(), len(task.classes), task.ratings
        ),
    }


def _method_of_sweep(config, runs: list[dict]) -> str:
    """Returns the method that all runs have, or config.method if they have several."""
    setting = {key: config[key] for key in ('method', *USUAL_VARIANTS)}
    return method_name(with_run_values(setting, [run['hyper'] for run in runs]))


def _protocol_notes(config, task, runs: list[dict]) -> list[str]:
    """Returns notes on the features and utterances that make results comparable or not."""
    notes = [*_enrolment_notes(config, runs), *encoder_notes(config)]
    if config.data.only:
        notes.append(f'only {config.data.only}')
    if config.train.soft_labels:
        notes.append(_describe_soft_labels(config, task.split.undecided))
    if config.data.normalise == 'speaker_transductive':
        notes.append('normalised by the tested audio too (transductive)')
    for kind in task.audit['leaks']:
        notes.append(f'LEAK OF {kind.upper()} ALLOWED')
    return notes


def _describe_soft_labels(config, undecided: int) -> str:
    """Returns the note on training by votes; `undecided` utterances have no class."""
    note = "trained on the raters' votes"
    if config.train.annotator_dropout:
        percent = f'{100 * config.train.annotator_dropout:g} %'
        note += f', of which {percent} are dropped at random in each step'
    if undecided:
        utterances = pluralize(undecided, 'utterance')
        note += f'; {utterances} without a class (raters disagree, or other words): training only'
    return note


def _enrolment_notes(config, runs: list[dict]) -> list[str]:
    """Returns how many of the utterances that are set aside are enrolled; [] without any.

    Results with enrolled utterances are transductive.
    """
    if config.protocol.enrol == 'none':
        return []
    numbers = distinct_values([run['hyper'] for run in runs], 'enrol') or [config.protocol.enrol]
    if numbers == [0]:
        return ['none of them enrolled']
    texts = list(map(str, numbers))
    listed = texts[0]
    if len(texts) > 1:
        listed = f'{", ".join(texts[:-1])} or {texts[-1]}'
    kind = 'transductive, except 0' if 0 in numbers else 'transductive, not inductive'
    return [f'{listed} of them enrolled for each speaker ({kind})']


def encoder_notes(config) -> list[str]:
    """Returns a note on the pretrained encoder, or [] if there is none."""
    if config.model.name == 'fine_tuned':
        states = states_of_local_encoder(config.model.upstream, STATE_KINDS[0])
        layers = states.layers - 1  # the states include the input of the first layer
        return [
            f'over a fine-tuned {states.model} of {layers} layers, {states.width} wide '
            f'({states.digest})'
        ]
    if config.data.upstream:
        return [f'over the frozen {config.data.upstream}']
    return []


def format_predictions(task, runs: list[dict], collected, record) -> Iterator[str]:
    """Yields predictions.csv in parts: what every run predicts of its tested utterances.

    These are the posteriors of the classes, and ratings from -1 to 1. With soft labels, `vote_kl`
    is KL(votes || posterior), in nats, '' without votes. Runs that have diverged have no rows.
    `collected` is the tracking.CollectedOutputs of the test part.
    """
    has_header = False
    for n, run in enumerate(runs):
        if record.nonfinite[n] >= 0:
            continue
        label = run_label(run, task.label_keys)
        row_N, x_NxO = collected.get_run(n)
        for start in range(0, len(row_N), csv_files.BLOCK_ROWS):
            block = slice(start, start + csv_files.BLOCK_ROWS)
            columns = _prediction_columns(task, row_N[block], x_NxO[block])
            count = len(row_N[block])
            columns = {'run': [label] * count, 'fold': [run['fold']] * count} | columns
            if not has_header:
                has_header = True
                yield csv_files.format_lines([columns])
            yield csv_files.format_lines(zip(*columns.values()))


def _prediction_columns(task, row_N: np.ndarray, x_NxO: np.ndarray) -> dict[str, list]:
    """Returns the columns of predictions.csv about the utterances and their outputs."""
    text = task.utterances.text
    p_NxC, rating_NxA = split_outputs(x_NxO, len(task.classes))
    columns = {key: text[key][row_N].tolist() for key in ('utterance', 'speaker')}
    if task.classes:
        columns['truth'] = text['emotion'][row_N].tolist()
    for name, p_N in zip(task.classes, p_NxC.T):
        columns[name] = _format_numbers(p_N)
    truth_AxN = task.table.rating_NxA[row_N].T
    for name, truth_N, rating_N in zip(task.ratings, truth_AxN, rating_NxA.T):
        columns[f'truth_{name}'] = _format_numbers(truth_N)
        columns[name] = _format_numbers(rating_N)
    if task.votes_NxC is not None:
        columns[predictions.VOTE_KL] = _format_divergences(task.votes_NxC[row_N], p_NxC)
    return columns


def _format_numbers(value_N: np.ndarray) -> list[str]:
    """Returns numbers with nine digits, as many as a float32 needs."""
    return [f'{value:.9g}' for value in value_N.tolist()]


def _format_divergences(votes_NxC: np.ndarray, p_NxC: np.ndarray) -> list[str]:
    """Returns the Kullback-Leibler divergences KL(votes || posterior); '' without votes."""
    count_Nx1 = votes_NxC.sum(1, keepdims=True)
    has_votes_N = votes_NxC.any(1)
    q_NxC = votes_NxC.astype(float) / np.where(has_votes_N[:, None], count_Nx1, 1)
    p_NxC = np.maximum(p_NxC.astype(float), np.finfo(np.float32).tiny)
    term_NxC = q_NxC * np.log(np.where(votes_NxC > 0, q_NxC, p_NxC) / p_NxC)
    divergences = _format_numbers(term_NxC.sum(1))
    return [text if voted else '' for text, voted in zip(divergences, has_votes_N)]


def speaker_attributes(text: dict[str, np.ndarray]) -> dict[str, dict[str, str]]:
    """Returns sex, language and corpus of every speaker, as far as they are known.

    Several values are joined: a speaker of two languages has 'de+en'.
    """
    names, speaker_N = np.unique(text['speaker'], return_inverse=True)
    known_values: dict[str, dict[str, list[str]]] = {name: {} for name in names.tolist() if name}
    for key in ('sex', 'language', 'corpus'):
        values, value_N = np.unique(text[key], return_inverse=True)
        for pair in np.unique(speaker_N * len(values) + value_N).tolist():
            name = str(names[pair // len(values)])
            value = str(values[pair % len(values)])
            if name and value:
                known_values[name].setdefault(key, []).append(value)
    attributes = {}
    for name, lists in known_values.items():
        attributes[name] = {key: '+'.join(listed) for key, listed in lists.items()}
    return attributes

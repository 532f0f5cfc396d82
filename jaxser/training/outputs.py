"""What training writes down: lines of metrics.jsonl, results.json, and rows of predictions.csv."""

import json

import jax
import numpy as np

from data_pipelines.batching import table
from data_pipelines.features.upstream import STATE_KINDS
from jaxser import distributed
from jaxser.analysis import metrics, predictions, summary
from jaxser.pretrained.extractor import states_from_folder
from jaxser.runs import method_name, run_label
from jaxser.workdir import Workdir


class MetricsLog:
    """metrics.jsonl and TensorBoard's event files; both are cut back to the checkpoint on resuming."""

    def __init__(self, workdir: Workdir, lines: int, epoch: int, labels: list[str]):
        self.workdir, self.lines, self.writers, self.labels = (
            workdir,
            workdir.read_lines('metrics.jsonl')[:lines],
            {},
            labels,
        )
        if distributed.is_main_process():
            from tensorboardX import SummaryWriter

            board, purge = workdir.path / 'tensorboard', epoch + 1 if epoch else None
            self.writers = {
                name: SummaryWriter(str(board / name), purge_step=purge)
                for name in dict.fromkeys(labels)
            }

    def add(self, epoch: int, rows: list[dict]) -> int:
        """A line per run, and a scalar per variant (its mean over folds); returns the lines so far."""
        self.lines += [json.dumps(row) + '\n' for row in rows]
        for name, writer in self.writers.items():
            of = [row for row, label in zip(rows, self.labels) if label == name]
            for key in of[0]:
                values = [row[key] for row in of]
                if key not in ('epoch', 'fold') and all(isinstance(v, float) for v in values):
                    writer.add_scalar(key, np.mean(values), epoch)
        return len(self.lines)

    def flush(self) -> None:
        """Writes metrics.jsonl, so that it agrees with the checkpoint that follows."""
        self.workdir._write_atomically('metrics.jsonl', ''.join(self.lines))

    def close(self) -> None:
        """Ends the files."""
        for writer in self.writers.values():
            writer.close()


def make_metrics_rows(
    runs: list[dict], epoch: int, epoch_metrics: dict[str, np.ndarray], dev: list
) -> list[dict]:
    """An epoch's lines of metrics.jsonl, one a run, None for what is not finite."""
    rows = []
    for n, run in enumerate(runs):
        row = run | {'epoch': epoch} | {k: float(x[n].mean()) for k, x in epoch_metrics.items()}
        diverged = not np.isfinite(row['loss'])
        row |= {f'dev_{k}': None if diverged else dev[n][k] for k in ('uar', 'wa', 'f1')}
        rows.append(
            {k: None if isinstance(x, float) and not np.isfinite(x) else x for k, x in row.items()}
        )
    return rows


def make_outcome(
    runs: list[dict], record, confusions: list[np.ndarray], entropy: list[dict[str, float]]
) -> dict:
    """What a group has come to: its runs as results.json lists them; `entropy` is of every run's domains, in nats."""
    listed = []
    for n, run in enumerate(runs):
        if (step := int(record.nonfinite[n])) >= 0:
            nothing = {'epoch': None, 'dev': None, 'test': None, 'selected': None}
            listed.append({'hyper': run, 'status': 'nonfinite', 'step': step} | nothing)
            continue
        test = metrics.classification_metrics(confusions[n]) | {'confusion': confusions[n].tolist()}
        listed.append(
            {
                'hyper': run,
                'status': 'ok',
                'epoch': int(record.best_epoch[n]),
                'dev': record.dev[n],
                'test': test,
                'selected': record.selected[n],
                'entropy': entropy[n],
            }
        )
    return {'runs': listed, 'lines': record.lines, 'seconds': record.seconds}


def make_results(
    config, task, outcomes: list[dict], predicted: predictions.PredictionsByRun, seconds: float
) -> dict:
    """results.json."""
    runs = [r for o in outcomes for r in o['runs']]
    notes = encoder_notes(config) + [f'only {config.data.only}'] * bool(config.data.only)
    notes += ['normalised by the tested audio too (transductive)'] * (
        config.data.normalise == 'speaker_transductive'
    )
    notes += [f'LEAK OF {kind.upper()} ALLOWED' for kind in task.audit['leaks']]
    return {
        'protocol': ', '.join([task.protocol.title, *notes]),
        'method': method_name({k: config[k] for k in ('method', 'speaker_norm')}),
        'corpora': list(config.data.corpora),
        'labels': config.data.labels,
        'folds': [f.name for f in task.folds],
        'selection': config.train.select,
        'normalisation': config.data.normalise + table.NORMALISATIONS[config.data.normalise],
        'speakers': speaker_attributes(task.utterances.text),
        'classes': (classes := [str(c) for c in task.table.classes]),
        'synthetic': bool({'demo', 'testbed'} & {*config.data.corpora}),
        'split_sha256': task.split_sha256,
        'left_out': task.split.left_out,
        'unused': task.split.unused,
        'audit': task.audit,
        'matmul_precision': config.matmul_precision,
        'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
        'seconds': round(seconds, 1),
        'seconds_of_training': round(sum(o['seconds'] for o in outcomes), 1),
        'groups': [
            {'runs': len(o['runs']), 'seconds': round(o['seconds'], 1)} for o in outcomes
        ],  # in the order of the runs
        'runs': runs,
        'summary': summary.summary_rows(runs, predicted, config.to_dict(), len(classes)),
    }


def encoder_notes(config) -> list[str]:
    """By which pretrained encoder all is heard, if by one."""
    if config.model.name == 'fine_tuned':
        of = states_from_folder(config.model.upstream, STATE_KINDS[0])
        return [
            f'over a fine-tuned {of.model} of {of.layers - 1} layers, {of.width} wide ({of.digest})'
        ]
    return [f'over the frozen {config.data.upstream}'] * bool(config.data.upstream)


def make_prediction_rows(task, runs: list[dict], scores, record) -> list[dict]:
    """The rows of predictions.csv: a test utterance of a run, with its posteriors."""
    text, rows = task.utterances.text, []
    for n, run in enumerate(runs):
        if record.nonfinite[n] >= 0:
            continue
        name = run_label(run, task.label_keys)
        for row, p_C in zip(*scores.get_run(n)):
            rows.append(
                {
                    'run': name,
                    'fold': run['fold'],
                    'utterance': text['utterance'][row],
                    'speaker': text['speaker'][row],
                    'truth': text['emotion'][row],
                }
                | {str(c): f'{p:.9g}' for c, p in zip(task.table.classes, p_C)}
            )
    return rows


def speaker_attributes(text: dict[str, np.ndarray]) -> dict[str, dict[str, str]]:
    """Sex, language and corpus of every speaker, as far as known; who speaks two languages is of 'de+en'."""
    keys, known = ('sex', 'language', 'corpus'), {}
    for speaker, *values in set(zip(*(text[k].tolist() for k in ('speaker', *keys)))):
        for key, value in zip(keys, values):
            known.setdefault(speaker, {}).setdefault(key, set()).update({value} - {''})
    return {
        s: {k: '+'.join(sorted(v)) for k, v in of.items() if v}
        for s, of in sorted(known.items())
        if s
    }

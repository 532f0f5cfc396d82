"""Finished sweeps of the tasks with ratings, as training leaves them, with made-up predictions."""

import json
from pathlib import Path

import numpy as np
from helpers import finished_sweeps
from helpers.finished_sweeps import CLASSES, SPEAKERS

from data_pipelines import csv_files
from jaxser.analysis import adversary
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.runs import run_label, varying_keys

RATINGS = ('arousal', 'valence', 'dominance')
# The share of the truth in a prediction, by coefficient; the rest is noise.
TRUTH_SHARE = {0.0: 0.6, 0.3: 0.9, 1.0: 0.8}
DEV_CCC = {0.0: 0.5, 0.3: 0.6, 1.0: 0.7}  # by which 1.0 is the best
NOISE = 0.25  # standard deviation
UTTERANCES = 30  # of every speaker


def concordance_figures(truth_N: np.ndarray, predicted_N: np.ndarray) -> dict:
    """Returns CCC, Pearson's correlation and RMSE, written out."""
    covariance = np.mean((truth_N - truth_N.mean()) * (predicted_N - predicted_N.mean()))
    distance = (truth_N.mean() - predicted_N.mean()) ** 2
    return {
        'ccc': float(2 * covariance / (truth_N.var() + predicted_N.var() + distance)),
        'pearson': float(covariance / np.sqrt(truth_N.var() * predicted_N.var())),
        'rmse': float(np.sqrt(np.mean((truth_N - predicted_N) ** 2))),
    }


def rating_figures(truth_NxA: np.ndarray, predicted_NxA: np.ndarray, ratings) -> dict:
    """Returns the figures of a part as results.json has them: of each rating, and their means."""
    by_rating = {}
    for a, rating in enumerate(ratings):
        by_rating[rating] = concordance_figures(truth_NxA[:, a], predicted_NxA[:, a])
    figures = {'n': len(truth_NxA), 'ratings': by_rating}
    for key in ('ccc', 'pearson', 'rmse'):
        figures[key] = float(np.mean([by_rating[rating][key] for rating in ratings]))
    return figures


def write_sweep(
    path: Path,
    task='ratings',
    ratings=RATINGS,
    lams=(0.0, 0.3, 1.0),
    folds=2,
    seeds=2,
    speakers=SPEAKERS,
    diverged=(),
    probed=True,
    select='best dev CCC',
    config=None,
    **facts,
) -> dict:
    """Writes the workdir of a finished sweep; returns results.json.

    `diverged` are the (coefficient, seed, fold) that diverged; `config` replaces keys of the
    configuration, and `facts` some of results.json.
    """
    path.mkdir(parents=True)
    hypers = []
    for fold in range(folds):
        for lam in lams:
            hypers += [{'lam': lam, 'seed': seed, 'fold': fold} for seed in range(seeds)]
    label_keys = varying_keys(hypers)
    has_classes = task != 'ratings'
    runs, predictions, metrics = [], [], []
    for hyper in hypers:
        is_ok = (hyper['lam'], hyper['seed'], hyper['fold']) not in diverged
        metrics += epoch_metrics(hyper, is_ok, has_classes)
        if not is_ok:
            runs.append(finished_sweeps.diverged_run(hyper))
            continue
        rows, truth_NxA, predicted_NxA = predict(hyper, speakers, ratings, folds, has_classes)
        for row in rows:
            predictions.append({'run': run_label(hyper, label_keys)} | row)
        figures = rating_figures(truth_NxA, predicted_NxA, ratings)
        runs.append(finished_run(hyper, figures, ratings, has_classes))
        if probed:
            runs[-1]['probe'] = probe(hyper, has_classes)
    metadata_config = finished_sweeps.make_config('dann' if len(lams) > 1 else 'erm') | {
        'task': task,
        'data': {'dir': '<dir>', 'ratings': list(ratings)},
        'train': {'select': select, 'epochs': 3},
    }
    metadata_config |= config or {}
    for run, verdict in zip(runs, adversary.adversary_verdicts(runs, metadata_config)):
        run['adversary'] = verdict
    results = finished_sweeps.results_facts(speakers, folds, runs)
    results |= {
        'task': task,
        'ratings': list(ratings),
        'classes': list(CLASSES) if has_classes else [],
        'selection': select,
        'summary': [],
    }
    results |= facts
    metadata = {
        'command': 'python -m jaxser.main --config.task=ratings',
        'git_commit': None,
        'config': metadata_config,
        'versions': {'jax': '1'},
    }
    (path / 'predictions.csv').write_text(csv_files.format_rows(predictions))
    (path / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in metrics))
    (path / 'config.json').write_text(json.dumps(metadata))
    (path / 'results.json').write_text(json.dumps(results))
    results['summary'] = SweepAnalysis(read_finished_sweep(path)).rows
    (path / 'results.json').write_text(json.dumps(results))
    return json.loads(json.dumps(results))


def epoch_metrics(hyper: dict, is_ok: bool, has_classes: bool) -> list[dict]:
    """Returns the lines of metrics.jsonl of a run."""
    lines = []
    for line in finished_sweeps.epoch_metrics(hyper, is_ok):
        line |= {'rating_loss': 1 / line['epoch'] if is_ok else None, 'dev_ccc': 0.4}
        if not has_classes:
            del line['emotion_loss'], line['dev_uar']
        lines.append(line)
    return lines


def predict(
    hyper: dict, speakers, ratings, folds: int, has_classes: bool
) -> tuple[list[dict], np.ndarray, np.ndarray]:
    """Returns the test predictions of a run without its label, truth_NxA and predicted_NxA.

    The truth is the same in every run; the noise differs.
    """
    rows, truths, predicted = [], [], []
    share = TRUTH_SHARE[hyper['lam']]
    for n, speaker in enumerate(speakers):
        if n % folds != hyper['fold']:
            continue
        truth_NxA = np.random.default_rng(n).uniform(-1, 1, (UTTERANCES, len(ratings)))
        noise = np.random.default_rng([n, hyper['seed'], round(10 * hyper['lam'])])
        rating_NxA = share * truth_NxA + noise.normal(0, NOISE, truth_NxA.shape)
        rating_NxA = np.clip(rating_NxA, -1, 1)
        for i in range(UTTERANCES):
            row = {'fold': hyper['fold'], 'utterance': f'{n}_{i}', 'speaker': speaker}
            if has_classes:
                row['truth'] = CLASSES[i % 3]
                row |= posterior(i % 3 if i < UTTERANCES * share else (i + 1) % 3)
            for a, rating in enumerate(ratings):
                row[f'truth_{rating}'] = f'{truth_NxA[i, a]:.9g}'
                row[rating] = f'{rating_NxA[i, a]:.9g}'
            rows.append(row)
        truths.append(truth_NxA)
        predicted.append(rating_NxA)
    return rows, np.concatenate(truths), np.concatenate(predicted)


def posterior(predicted: int) -> dict[str, float]:
    """Returns the posterior of every class; that of the predicted one is 0.8."""
    return dict.fromkeys(CLASSES, 0.1) | {CLASSES[predicted]: 0.8}


def finished_run(hyper: dict, figures: dict, ratings, has_classes: bool) -> dict:
    """Returns a run that finished."""
    dev = {'ccc': DEV_CCC[hyper['lam']], 'pearson': 0.8, 'rmse': 0.3, 'n': 30}
    dev['ratings'] = {rating: {'ccc': 0.5, 'pearson': 0.8, 'rmse': 0.3} for rating in ratings}
    test = dict(figures)
    if has_classes:
        count_CxC = np.full((3, 3), 5)
        dev |= {'uar': finished_sweeps.DEV_UAR[hyper['lam']], 'wa': 0.5, 'f1': 0.5}
        test |= {'uar': 0.5, 'wa': 0.5, 'f1': 0.5, 'confusion': count_CxC.tolist()}
    run = finished_sweeps.finished_run(hyper, np.zeros((3, 3), int))
    return run | {'dev': dev, 'test': test}


def probe(hyper: dict, has_classes: bool) -> dict:
    """Returns the answers of the probe of a run; without classes, it has no emotion."""
    answers = finished_sweeps.probe(hyper['lam'], hyper['seed'])
    if not has_classes:
        del answers['emotion']
    return answers


def add_enrolment(path: Path) -> None:
    """Adds enrolment curves of CCC to results.json: without classes, any utterance is enrolled."""
    finished_sweeps.add_enrolment(path)
    results = json.loads((path / 'results.json').read_text())
    rows = []
    for row in results['enrolment']['rows']:
        for key in ('uar', 'uar_ci95', 'delta_uar'):
            row[key.replace('uar', 'ccc')] = row.pop(key)
        if row['enrol_from'] == 'any':
            rows.append(row)
    results['enrolment']['rows'] = rows
    (path / 'results.json').write_text(json.dumps(results))

"""Finished sweeps over methods and coefficients, with made-up predictions, to be compared."""

import json

from data_pipelines import csv_files
from jaxser.analysis.finished import FinishedSweep, read_finished_sweep
from jaxser.runs import run_label, varying_keys

SPEAKERS = 'abcdefgh'
FOLDS = 2
SEEDS = 2
# By method and coefficient: the share of correct test predictions, and dev UAR in either fold.
RUNS = {
    ('erm', None): (0.5, (0.6, 0.6)),
    ('dann', 0.3): (0.75, (0.7, 0.5)),
    ('dann', 1.0): (1.0, (0.5, 0.7)),
    ('dann', 3.0): (1.0, (0.9, 0.9)),  # diverges
}
RUNS_WITHOUT_ERM = {key: value for key, value in RUNS.items() if key[0] != 'erm'}


def write_sweep(path, runs: dict = RUNS, synthetic: bool = False) -> FinishedSweep:
    """Writes the workdir of a finished sweep, as training does, and reads it."""
    path.mkdir(parents=True)
    hypers = []
    for method, lam in runs:
        for seed in range(SEEDS):
            for fold in range(FOLDS):
                hypers.append({'method': method, 'lam': lam, 'seed': seed, 'fold': fold})
    run_results, predictions = [], []
    for hyper in hypers:
        share, dev_uar = runs[hyper['method'], hyper['lam']]
        is_ok = hyper['lam'] != 3.0
        run = {'hyper': hyper, 'status': 'ok' if is_ok else 'nonfinite'}
        if is_ok:
            run |= {'epoch': 1, 'dev': {'uar': dev_uar[hyper['fold']]}, 'test': {}, 'selected': {}}
        run_results.append(run)
        if is_ok:
            predictions += predict(hyper, run_label(hyper, varying_keys(hypers)), share)
    results = {
        'protocol': 'speaker_folds',
        'labels': 'native',
        'classes': ['A', 'B'],
        'folds': ['1', '2'],
        'runs': run_results,
        'corpora': ['demo'] if synthetic else ['emodb'],
        'speakers': {},
        'selection': 'last epoch',
        'normalisation': 'global',
        'split_sha256': 'f' * 64,
        'device': '2 x cpu',
        'seconds': 60.0,
        'synthetic': synthetic,
        'groups': [{'runs': len(run_results), 'seconds': 2.0 * len(run_results)}],
    }
    metadata = {
        'command': 'python -m jaxser.main --config=configs/table.py:emodb',
        'git_commit': None,
        'config': {'method': 'dann', 'speaker_norm': 'tap'},
    }
    (path / 'results.json').write_text(json.dumps(results))
    (path / 'config.json').write_text(json.dumps(metadata))
    csv_files.write_rows(path / 'predictions.csv', predictions)
    return read_finished_sweep(path)


def predict(hyper: dict, label: str, share: float) -> list[dict]:
    """Returns eight predictions for each of the four speakers that are tested in a fold."""
    rows = []
    fold = hyper['fold']
    for speaker in SPEAKERS[4 * fold : 4 * fold + 4]:
        for n in range(8):
            truth = n % 2
            predicted = truth if n // 2 < 4 * share else 1 - truth
            row = {'run': label, 'fold': fold, 'speaker': speaker, 'truth': 'AB'[truth]}
            rows.append(row | {'A': 1 - predicted, 'B': predicted})
    return rows


def replace_seed(sweep: FinishedSweep, key: str, *values) -> FinishedSweep:
    """Returns the same runs with a structural key added: its value is values[seed]."""
    runs = sweep.results['runs']
    old_keys = varying_keys([run['hyper'] for run in runs])
    old_labels = [run_label(run['hyper'], old_keys) for run in runs]
    for run in runs:
        run['hyper'][key] = values[run['hyper']['seed']]
    new_keys = varying_keys([run['hyper'] for run in runs])
    predictions = {}
    for run, old_label in zip(runs, old_labels):
        fold = run['hyper']['fold']
        if (old_label, fold) in sweep.predictions:
            new_label = run_label(run['hyper'], new_keys)
            predictions[new_label, fold] = sweep.predictions[old_label, fold]
    return sweep._replace(predictions=predictions)

"""Finished sweeps over the coefficient lam, as training leaves them, with made-up predictions.

Their probes have the keys of today, or those of earlier versions, which knew two attackers and no
unseen speakers.
"""

import json
from pathlib import Path

import numpy as np

from data_pipelines import csv_files
from jaxser.analysis import adversary, summary
from jaxser.analysis.predictions import read_predictions
from jaxser.runs import run_label, varying_keys

HTML_NAME = '<i>&"$x$'  # a speaker whose name is HTML and a formula
SPEAKERS = (HTML_NAME, '_b', '王', 'd', 'e', 'f', 'g', 'h')
CLASSES = ('A', 'B', 'C')
UTTERANCES = 30  # of every speaker
CORRECT_SHARE = {0.0: 0.5, 0.3: 0.8, 1.0: 0.6}  # of test predictions, by coefficient
DEV_UAR = {0.0: 0.5, 0.3: 0.6, 1.0: 0.7}  # by which 1.0 is the best
SPEAKER_RECALL = {0.0: 0.8, 0.3: 0.75, 1.0: 0.4}  # of the linear attacker
# What other attackers recognise more of than the linear one; the RBF machine is the strongest.
ADDED_RECALL = {'linear': 0.0, 'mlp': -0.05, 'rbf': 0.1, 'knn': -0.1}

# The audit of a clean split, as data_pipelines/protocols/audit.py writes it.
CLEAN_AUDIT = {
    'folds': 5,
    'utterances': 240,
    'allowed': [],
    'shares_speakers': False,
    'transductive': False,
    'speaker': {'count': 0, 'in_folds': 0, 'examples': [], 'unknown': 0},
    'audio': {'exact': 0, 'near': 0, 'in_folds': 0, 'examples': []},
    'duplicates': {'exact': 1, 'near': 0, 'examples': [{'utterances': ['u1', 'u2'], 'alike': 1.0}]},
    'withheld': {'utterances': [40, 41, 40, 40, 40], 'near': 0},
    'session': {'count': 0, 'in_folds': 0, 'examples': []},
    'sentence': {'known': 240, 'heard': 0, 'sentences': 2, 'sentences_heard': 0},
    'missing': {'parts': 0, 'examples': []},
    'tells': {'speaker': {'bits': 0.1, 'chance': 0.1, 'of': 2.0, 'share': 0.0, 'word': 'none'}},
    'shortcuts': [
        {'feature': 'length', 'bits': 0.01, 'uar': 0.34, 'chance': 0.333, 'status': 'none'},
        {'feature': 'level', 'bits': 0.02, 'uar': 0.35, 'chance': 0.333, 'status': 'none'},
    ],
    'unmeasured': {'codec': 'prepared by an earlier version'},
    'leaks': [],
}
LEAKY_AUDIT = CLEAN_AUDIT | {
    'leaks': ['speaker'],
    'allowed': ['speaker'],
    'speaker': {
        'count': 2,
        'in_folds': 5,
        'unknown': 0,
        'examples': [
            {'fold': 'part 1', 'parts': ['train', 'test'], 'speaker': 'd', 'utterances': ['a', 'b']}
        ],
    },
}


def write_sweep(
    path: Path,
    lams=(0.0, 0.3, 1.0),
    folds=2,
    seeds=2,
    speakers=SPEAKERS,
    diverged=(),
    probed=True,
    old_probe=False,
    share_by_speaker=None,
    absent='',
    **facts,
) -> dict:
    """Writes the workdir of a finished sweep; returns results.json.

    `old_probe`: the probe has the keys of earlier versions. `diverged` are the (coefficient, seed,
    fold) that diverged; `share_by_speaker` replaces the shares of correct predictions at lam = 1;
    no utterance has the class `absent`; `facts` replace some of results.json.
    """
    path.mkdir(parents=True)
    hypers = []
    for fold in range(folds):
        for lam in lams:
            hypers += [{'lam': lam, 'seed': seed, 'fold': fold} for seed in range(seeds)]
    label_keys = varying_keys(hypers)
    random = np.random.default_rng(0)
    runs, predictions, metrics = [], [], []
    for hyper in hypers:
        is_ok = (hyper['lam'], hyper['seed'], hyper['fold']) not in diverged
        metrics += epoch_metrics(hyper, is_ok)
        if not is_ok:
            runs.append(diverged_run(hyper))
            continue
        shares = [CORRECT_SHARE[hyper['lam']]] * len(speakers)
        if share_by_speaker and hyper['lam'] == 1:
            shares = share_by_speaker
        rows, count_CxC = predict(hyper, speakers, shares, folds, absent, random)
        for row in rows:
            predictions.append({'run': run_label(hyper, label_keys)} | row)
        runs.append(finished_run(hyper, count_CxC))
    if probed:
        for run in runs:
            is_ok = run['status'] == 'ok'
            make_probe = older_probe if old_probe else probe
            hyper = run['hyper']
            run['probe'] = make_probe(hyper['lam'], hyper['seed']) if is_ok else None
    config = make_config('dann' if len(lams) > 1 else 'erm')
    for run, verdict in zip(runs, adversary.adversary_verdicts(runs, config)):
        run['adversary'] = verdict
    config |= facts.get('config', {})
    results = results_facts(speakers, folds, runs) | facts
    predicted = read_predictions([as_block(predictions)], list(CLASSES))
    results['summary'] = summary.summary_rows(runs, predicted, config, len(CLASSES))
    metadata = {
        'command': 'python -m jaxser.main --config=<x>',
        'git_commit': None,
        'config': config,
        'versions': {'jax': '1'},
    }
    (path / 'predictions.csv').write_text(csv_files.format_rows(predictions))
    (path / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in metrics))
    (path / 'config.json').write_text(json.dumps(metadata))
    (path / 'results.json').write_text(json.dumps(results))
    return json.loads(json.dumps(results))


def as_block(rows: list[dict]) -> dict[str, list]:
    """Returns the columns of rows, as the blocks of predictions.csv are read."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def make_config(method: str) -> dict:
    """Returns the configuration, as config.json has it."""
    return {
        'method': method,
        'domain': 'speaker',
        'speaker_norm': 'tap',
        'data': {'dir': '<dir>'},
        'protocol': {'name': 'speaker_folds', 'source': [], 'target': []},
    }


def epoch_metrics(hyper: dict, is_ok: bool) -> list[dict]:
    """Returns the lines of metrics.jsonl of a run."""
    lines = []
    for epoch in (1, 2, 3):
        line = {'epoch': epoch, 'emotion_loss': 1 / epoch if is_ok else None}
        lines.append(hyper | line | {'speaker_loss': 1.5, 'dev_uar': 0.5, 'loss': None})
    return lines


def diverged_run(hyper: dict) -> dict:
    """Returns a run that diverged."""
    missing = dict.fromkeys(('epoch', 'dev', 'test', 'selected'))
    return {'hyper': hyper} | missing | {'status': 'nonfinite', 'step': 7}


def finished_run(hyper: dict, count_CxC: np.ndarray) -> dict:
    """Returns a run that finished."""
    return {
        'hyper': hyper,
        'epoch': 2,
        'dev': {'uar': DEV_UAR[hyper['lam']]},
        'test': {'uar': 0.5, 'confusion': count_CxC.tolist()},
        'selected': {'speaker_loss': 1.5, 'lam_p': hyper['lam']},
        'status': 'ok',
        'entropy': {'speaker': 1.6},
    }


def predict(
    hyper: dict, speakers, shares, folds: int, absent: str, random: np.random.Generator
) -> tuple[list[dict], np.ndarray]:
    """Returns the test predictions of a run, without its label, and their confusion matrix."""
    rows = []
    count_CxC = np.zeros((3, 3), int)
    for n, speaker in enumerate(speakers):
        if n % folds != hyper['fold']:
            continue
        for i in range(UTTERANCES):
            truth = i % 3
            if CLASSES[truth] == absent:
                continue
            predicted = truth if i < UTTERANCES * shares[n] else (truth + 1) % 3
            count_CxC[truth, predicted] += 1
            confidence = random.uniform(0.5, 1)
            posterior = dict.fromkeys(CLASSES, (1 - confidence) / 2)
            posterior[CLASSES[predicted]] = confidence
            row = {'fold': hyper['fold'], 'utterance': f'{n}_{i}', 'speaker': speaker}
            rows.append(row | {'truth': CLASSES[truth]} | posterior)
    return rows, count_CxC


def probe(lam: float, seed: int) -> dict:
    """Returns the answers of the probe of a run: utterances of training speakers are withheld."""
    trained = SPEAKER_RECALL[lam] + 0.01 * seed
    return {
        'speaker': speaker_answer(trained, chance=0.2, withheld=True, strangers=False),
        'unseen_speaker': speaker_answer(
            trained + 0.05, chance=0.25, withheld=False, strangers=True
        ),
        'emotion': attackers(0.6)
        | {
            'classes': 3,
            'chance': 1 / 3,
            'n': 9,
            'strangers': True,
            'withheld': False,
            'bits': None,
            'below_chance': False,
            'input': attackers(0.5),
        },
        'verification': {
            'eer': 0.45,
            'lda_eer': 0.4,
            'speakers': 4,
            'input': {'eer': 0.35, 'lda_eer': 0.3},
        },
    }


def attackers(linear: float) -> dict:
    """Returns the recall of every attacker, of which the linear one has `linear`."""
    recalls = {attacker: linear + added for attacker, added in ADDED_RECALL.items()}
    return recalls | {'strongest': recalls['rbf'], 'attacker': 'rbf'}


def speaker_answer(linear: float, chance: float, withheld: bool, strangers: bool) -> dict:
    """Returns the answer to a question about speakers, who are all recognised equally well."""
    recalls = attackers(linear)
    recall_by_attacker = {}
    for attacker in ADDED_RECALL:
        recall_by_attacker[attacker] = dict.fromkeys(SPEAKERS, recalls[attacker])
    return recalls | {
        'classes': round(1 / chance),
        'chance': chance,
        'n': 40,
        'strangers': strangers,
        'withheld': withheld,
        'bits': 1.5,
        'speaker_bits': dict.fromkeys(SPEAKERS, 1.5),
        'recall': recall_by_attacker,
        'below_chance': False,
        'input': attackers(0.85),
        'scores': attackers(0.3) | {'bits': 0.2},
    }


def older_probe(lam: float, seed: int) -> dict:
    """Returns the answers of the probe of a run in the form of earlier versions."""
    mean = SPEAKER_RECALL[lam] + 0.01 * seed
    recall = dict.fromkeys(SPEAKERS, mean)
    return {
        'speaker': {
            'linear': mean,
            'mlp': mean,
            'chance': 0.2,
            'classes': 5,
            'n': 9,
            'strangers': False,
            'recall': {'linear': recall, 'mlp': recall},
            'input': {'linear': 0.95, 'mlp': 0.9},
        },
        'emotion': {
            'linear': 0.7,
            'mlp': 0.7,
            'chance': 1 / 3,
            'strangers': True,
            'input': {'linear': 0.6, 'mlp': 0.6},
        },
        'verification': {'eer': 0.4, 'speakers': 4, 'input': {'eer': 0.3}},
    }


def results_facts(speakers, folds: int, runs: list[dict]) -> dict:
    """Returns results.json without the summary."""
    attributes = {}
    for n, speaker in enumerate(speakers):
        attributes[speaker] = {'sex': 'f' if n % 2 else 'm', 'language': 'de'}
    return {
        'protocol': 'speaker_folds',
        'corpora': ['one'],
        'labels': 'native',
        'folds': [str(fold) for fold in range(folds)],
        'selection': 'best dev UAR',
        'normalisation': 'global',
        'classes': list(CLASSES),
        'synthetic': False,
        'split_sha256': 'f' * 64,
        'matmul_precision': 'default',
        'device': '1 x cpu',
        'seconds': 60.0,
        'speakers': attributes,
        'audit': {'folds': 5, 'leaks': []},
        'groups': [{'runs': len(runs), 'seconds': 2.0}],
        'runs': runs,
    }


def add_enrolment(path: Path, lams=(0.0, 0.3, 1.0), with_leakage: bool = True) -> None:
    """Adds enrolment curves to results.json: UAR rises from 0.6, for one emotion less."""
    rows = []
    for lam in lams:
        for source, gain in (('any', 0.03), ('one', 0.01)):
            for n, enrol in enumerate((0, 4, 'all')):
                rows.append(enrolment_row(lam, source, enrol, n * gain))
                if source == 'any' and with_leakage:
                    recall = SPEAKER_RECALL[lam] - 0.1 * n
                    rows[-1]['unseen_speaker'] = attackers(recall) | {
                        'chance': 0.25,
                        'strangers': True,
                        'ci95': [recall, recall + 0.2],
                    }
    results = json.loads((path / 'results.json').read_text())
    results['enrolment'] = {'draws': 10, 'rows': rows}
    (path / 'results.json').write_text(json.dumps(results))


def enrolment_row(lam: float, source: str, enrol: int | str, gain: float) -> dict:
    """Returns a row of the enrolment curve without leakage."""
    is_reference = enrol == 0
    return {
        'lam': lam,
        'enrol_from': source,
        'enrol': enrol,
        'utterances': 9.5 if enrol == 'all' else enrol,
        'uar': 0.6 + gain,
        'uar_ci95': [0.55 + gain, 0.65 + gain],
        'delta_uar': None if is_reference else gain,
        'delta_ci95': None if is_reference else [gain - 0.005, gain + 0.005],
        'unseen_speaker': None,
    }


def write_representations(path: Path) -> None:
    """Writes representations.npz of two settings."""
    random = np.random.default_rng(0)
    utterances = 24
    arrays = {
        'utterance': np.arange(utterances).astype(str),
        'speaker': np.array(SPEAKERS).repeat(3),
        'emotion': np.resize(CLASSES, utterances),
        'setting': np.array(['lam=0', 'lam=1']),
    }
    for n in range(2):
        arrays[f'z_{n}'] = random.normal(size=(utterances, 4)).astype(np.float16)
        arrays[f'row_{n}'] = np.arange(utterances)
        arrays[f'part_{n}'] = np.repeat(['train', 'test'], utterances // 2)
    np.savez(path / 'representations.npz', allow_pickle=False, **arrays)

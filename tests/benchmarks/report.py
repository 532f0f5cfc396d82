"""Measures the report and the comparison of a sweep with many tested utterances and speakers.

  python tests/benchmarks/report.py [--utterances 48000 200000] [--speakers 360 1500] [--ratings]

The workdir of a finished sweep of twelve runs (four coefficients, three seeds) is made up, with
leakage and representations as the probe writes them. Each command runs in its own process. With
`--keep FOLDER` the workdirs stay there, so that their pages can be looked at.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from jaxser.analysis import adversary, summary
from jaxser.analysis.predictions import RunPredictions
from jaxser.runs import run_label, varying_keys

LAMS = (0.0, 0.1, 0.3, 1.0)
SEEDS = (0, 1, 2)
CLASSES = ('angry', 'contempt', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise')
RATINGS = ('arousal', 'valence', 'dominance')
NOISE = {0.0: 1.5, 0.1: 1.3, 0.3: 1.4, 1.0: 2.5}  # of the scores, by coefficient
RECALL = {0.0: 0.30, 0.1: 0.25, 0.3: 0.15, 1.0: 0.05}  # of the strongest attacker
ATTACKERS = ('linear', 'mlp', 'rbf', 'knn')
EPOCHS = 10
WIDTH = 128  # of the representation
COMMANDS = {'jaxser.report': ['--workdir'], 'jaxser.compare': []}  # what precedes the workdir


def make_hypers() -> list[dict]:
    """Returns the hyper-parameters of the runs."""
    hypers = []
    for lam in LAMS:
        hypers += [{'lam': lam, 'seed': seed, 'fold': 0} for seed in SEEDS]
    return hypers


class Truth:
    """The tested utterances: their speakers, classes and ratings."""

    def __init__(self, utterances: int, speakers: int):
        random = np.random.default_rng(0)
        share_S = random.pareto(1.5, speakers) + 0.2
        index_N = random.choice(speakers, utterances, p=share_S / share_S.sum())
        index_N[:speakers] = np.arange(speakers)
        self.speaker_N = np.char.add('MSP_', np.sort(index_N).astype(str))
        self.utterance_N = np.char.add('MSP-PODCAST_', np.arange(utterances).astype(str))
        self.class_N = random.integers(0, len(CLASSES), utterances)
        self.rating_NxA = random.uniform(-1, 1, (utterances, len(RATINGS)))


def predict(truth: Truth, hyper: dict) -> tuple[np.ndarray, np.ndarray]:
    """Returns the posteriors p_NxC and ratings rating_NxA of a run."""
    random = np.random.default_rng([round(100 * hyper['lam']), hyper['seed']])
    score_NxC = random.normal(size=(len(truth.class_N), len(CLASSES))) * NOISE[hyper['lam']]
    score_NxC[np.arange(len(truth.class_N)), truth.class_N] += 2
    p_NxC = np.exp(score_NxC)
    noise_NxA = random.normal(size=truth.rating_NxA.shape) * NOISE[hyper['lam']] / 2
    rating_NxA = np.tanh(truth.rating_NxA + noise_NxA)
    return p_NxC / p_NxC.sum(1, keepdims=True), rating_NxA


def make_lines(truth: Truth, label: str, p_NxC, rating_NxA, ratings) -> Iterator[str]:
    """Yields the lines of predictions.csv of a run."""
    names = np.array(CLASSES)[truth.class_N].tolist()
    columns = zip(truth.utterance_N.tolist(), truth.speaker_N.tolist(), names)
    true_NxA = truth.rating_NxA[:, : len(ratings)].tolist()
    rows = zip(columns, p_NxC.tolist(), true_NxA, rating_NxA.tolist())
    for (utterance, speaker, emotion), p_C, true_A, rating_A in rows:
        cells = [label, '0', utterance, speaker, emotion, *(f'{p:.9g}' for p in p_C)]
        for value, rating in zip(true_A, rating_A):
            cells += [f'{value:.9g}', f'{rating:.9g}']
        yield ','.join(cells) + '\n'


def make_answer(lam: float, names: list[str], seed: int) -> dict:
    """Returns the probe's answer to a question about speakers."""
    random = np.random.default_rng(seed)
    answer = {'chance': 1 / len(names), 'classes': len(names), 'n': 10 * len(names)}
    answer |= {'strangers': True, 'withheld': True, 'below_chance': False, 'bits': 1.0}
    answer['recall'] = {}
    for attacker in ATTACKERS:
        recall_S = random.binomial(20, RECALL[lam], len(names)) / 20
        answer['recall'][attacker] = dict(zip(names, recall_S.tolist()))
        answer[attacker] = float(recall_S.mean())
    answer['speaker_bits'] = dict(zip(names, random.normal(1, 0.3, len(names)).tolist()))
    strongest = max(ATTACKERS, key=answer.get)
    answer |= {'attacker': strongest, 'strongest': answer[strongest]}
    attack = dict.fromkeys(ATTACKERS, 0.5)
    return answer | {'input': attack | {'strongest': 0.5, 'attacker': 'linear'}}


def make_run(hyper: dict, truth: Truth, p_NxC: np.ndarray) -> dict:
    """Returns a run of results.json."""
    count_CxC = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(count_CxC, (truth.class_N, p_NxC.argmax(1)), 1)
    names = np.unique(truth.speaker_N).tolist()
    probe = {}
    for number, question in enumerate(('speaker', 'unseen_speaker')):
        probe[question] = make_answer(hyper['lam'], names, 10 * hyper['seed'] + number)
    dev = {'uar': 0.5 - 0.01 * hyper['lam'], 'ccc': 0.4 - 0.01 * hyper['lam']}
    return {
        'hyper': hyper,
        'status': 'ok',
        'epoch': EPOCHS,
        'dev': dev,
        'test': {'uar': 0.5, 'ccc': 0.4, 'n': len(truth.class_N), 'confusion': count_CxC.tolist()},
        'selected': {'speaker_loss': 3.0, 'lam_p': hyper['lam']},
        'entropy': {'speaker': 5.0},
        'probe': probe,
    }


def write_sweep(path: Path, utterances: int, speakers: int, ratings: tuple[str, ...]) -> None:
    """Writes the workdir of a finished sweep."""
    path.mkdir(parents=True)
    truth = Truth(utterances, speakers)
    hypers = make_hypers()
    label_keys = varying_keys(hypers)
    runs, predicted = [], {}
    header = ['run', 'fold', 'utterance', 'speaker', 'truth', *CLASSES]
    for name in ratings:
        header += [f'truth_{name}', name]
    with (path / 'predictions.csv').open('w') as file:
        file.write(','.join(header) + '\n')
        for hyper in hypers:
            label = run_label(hyper, label_keys)
            p_NxC, rating_NxA = predict(truth, hyper)
            rating_NxA = rating_NxA[:, : len(ratings)]
            file.writelines(make_lines(truth, label, p_NxC, rating_NxA, ratings))
            predicted[label, 0] = RunPredictions(
                truth.speaker_N,
                truth.class_N,
                p_NxC.argmax(1),
                p_NxC.max(1),
                truth.rating_NxA if ratings else None,
                rating_NxA if ratings else None,
            )
            runs.append(make_run(hyper, truth, p_NxC))
    config = {
        'method': 'dann',
        'task': 'both' if ratings else 'emotion',
        'domain': 'speaker',
        'speaker_norm': 'tap',
        'data': {'dir': 'data'},
        'protocol': {'name': 'official', 'source': [], 'target': []},
        'train': {'epochs': EPOCHS},
    }
    for run, verdict in zip(runs, adversary.adversary_verdicts(runs, config)):
        run['adversary'] = verdict
    attributes = {}
    for n, name in enumerate(np.unique(truth.speaker_N).tolist()):
        attributes[name] = {'sex': 'female' if n % 2 else 'male', 'language': 'en'}
    results = {
        'protocol': 'official',
        'method': 'dann',
        'task': config['task'],
        'corpora': ['msp_podcast'],
        'labels': 'native',
        'folds': ['official'],
        'selection': 'best dev UAR',
        'normalisation': 'global',
        'speakers': attributes,
        'classes': list(CLASSES),
        'ratings': list(ratings),
        'synthetic': False,
        'split_sha256': 'f' * 64,
        'audit': {'leaks': []},
        'matmul_precision': 'default',
        'device': '1 x cpu',
        'seconds': 60.0,
        'groups': [{'runs': len(runs), 'seconds': 60.0}],
        'runs': runs,
        'summary': summary.summary_rows(runs, predicted, config, len(CLASSES), ratings),
    }
    description = {'command': 'python -m jaxser.main', 'git_commit': None, 'versions': {}}
    (path / 'results.json').write_text(json.dumps(results, indent=2))
    (path / 'config.json').write_text(json.dumps(description | {'config': config}))
    (path / 'metrics.jsonl').write_text(''.join(make_metrics(hypers)))
    write_representations(path / 'representations.npz', truth)


def make_metrics(hypers: list[dict]) -> Iterator[str]:
    """Yields the lines of metrics.jsonl."""
    for epoch in range(1, EPOCHS + 1):
        for hyper in hypers:
            line = {'epoch': epoch, 'emotion_loss': 1 / epoch, 'speaker_loss': 3.0, 'dev_uar': 0.5}
            yield json.dumps(hyper | line) + '\n'


def write_representations(file: Path, truth: Truth) -> None:
    """Writes the representations of two settings."""
    random = np.random.default_rng(0)
    rows = np.sort(random.permutation(len(truth.class_N))[:5_000])
    arrays = {
        'utterance': truth.utterance_N[rows],
        'speaker': truth.speaker_N[rows],
        'emotion': np.array(CLASSES)[truth.class_N[rows]],
        'setting': np.array([f'lam={lam:g}' for lam in LAMS]),
    }
    for n in range(len(LAMS)):
        arrays[f'z_{n}'] = random.normal(size=(len(rows), WIDTH)).astype(np.float16)
        arrays[f'row_{n}'] = np.arange(len(rows))
        arrays[f'part_{n}'] = np.full(len(rows), 'test')
    np.savez_compressed(file, allow_pickle=False, **arrays)


def measure(command: list[str]) -> dict:
    """Runs a command; returns its seconds, its processor time and its largest memory."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f'{" ".join(command)} ended with status {status}.')
    return {
        'seconds': round(time.perf_counter() - start, 1),
        'processor_seconds': round(usage.ru_utime + usage.ru_stime, 1),
        'peak_gb': round(usage.ru_maxrss / 1e6, 2),
    }


def measure_sweep(path: Path) -> dict:
    """Returns the figures of both commands, and the sizes of the files."""
    figures = {}
    for module, options in COMMANDS.items():
        figures[module] = measure(['-m', module, *options, str(path)])
    for name in ('predictions.csv', 'results.json', 'report.html'):
        figures[f'{name}_mb'] = round((path / name).stat().st_size / 1e6, 2)
    return figures


def main() -> None:
    """Prints a JSON object for each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--utterances', type=int, nargs='+', default=[48_000, 200_000])
    parser.add_argument('--speakers', type=int, nargs='+', default=[360, 1_500])
    parser.add_argument('--ratings', action='store_true', help='predict ratings, too')
    parser.add_argument('--keep', type=Path, metavar='FOLDER', help='keep the workdirs here')
    options = parser.parse_args()
    versions = {name: metadata.version(name) for name in ('numpy', 'matplotlib')}
    machine = {'machine': platform.processor() or platform.machine(), 'cores': os.cpu_count()}
    print(json.dumps(machine | {'python': platform.python_version()} | versions))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for utterances, speakers in zip(options.utterances, options.speakers):
            path = folder / f'{utterances}_{speakers}'
            if not path.exists():
                write_sweep(path, utterances, speakers, RATINGS if options.ratings else ())
            size = {'utterances': utterances, 'speakers': speakers, 'runs': len(make_hypers())}
            print(json.dumps(size | measure_sweep(path)), flush=True)


if __name__ == '__main__':
    main()

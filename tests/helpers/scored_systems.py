"""Small split files, truth files and predictions, to be scored."""

import argparse
import json
from pathlib import Path

import numpy as np

from data_pipelines import csv_files
from jaxser import score

CLASSES = ('angry', 'happy', 'sad')
SPEAKERS = 8
UTTERANCES = 9  # of a speaker
FOLDS = 4
SPLIT_COLUMNS = (
    'fold', 'fold_name', 'part', 'utterance', 'path', 'corpus', 'speaker', 'emotion', 'sex',
    'language', 'session', 'sentence',
)  # fmt: skip


def utterances() -> list[dict]:
    """Returns the facts of all utterances."""
    rows = []
    for s in range(SPEAKERS):
        for i in range(UTTERANCES):
            rows.append(
                {
                    'utterance': f'u{s}_{i}',
                    'path': f'wav/u{s}_{i}.wav',
                    'corpus': 'one',
                    'speaker': f's{s}',
                    'emotion': CLASSES[i % 3],
                    'sex': 'female' if s % 2 else 'male',
                    'language': 'de',
                    'session': '',
                    'sentence': f'{i // 3}',
                }
            )
    return rows


def fold_of(row: dict) -> int:
    """Returns the fold in which an utterance is tested."""
    return int(row['speaker'][1:]) % FOLDS


def split_rows() -> list[dict]:
    """Returns the rows of a split file: speakers are in one part of a fold."""
    rows = []
    for fold in range(FOLDS):
        for part, offsets in (('train', (2, 3)), ('dev', (1,)), ('test', (0,))):
            for row in utterances():
                if (fold_of(row) - fold) % FOLDS in offsets:
                    rows.append({'fold': fold, 'fold_name': f'part {fold}', 'part': part} | row)
    return rows


def write_split(folder: Path) -> Path:
    """Writes a split file."""
    file = folder / 'split.csv'
    csv_files.write_rows(file, split_rows(), SPLIT_COLUMNS)
    return file


def posterior(predicted: int, confidence: float = 0.8) -> dict[str, float]:
    """Returns the posteriors of an utterance, by class."""
    p = dict.fromkeys(CLASSES, (1 - confidence) / 2)
    p[CLASSES[predicted]] = confidence
    return p


def prediction_rows(share: float = 0.7, seeds=('0',), random_seed: int = 0) -> list[dict]:
    """Returns predictions of which about this share is correct."""
    random = np.random.default_rng(random_seed)
    rows = []
    for seed in seeds:
        for row in utterances():
            truth = CLASSES.index(row['emotion'])
            is_correct = random.random() < share
            predicted = truth if is_correct else (truth + 1) % 3
            p = posterior(predicted, float(random.uniform(0.5, 1)))
            rows.append({'utterance': row['utterance'], 'seed': seed} | p)
    return rows


def write_predictions(file: Path, rows: list[dict]) -> Path:
    """Writes predictions.csv."""
    csv_files.write_rows(file, rows)
    return file


def run_score(split: Path, *systems, out: Path, task=None, reference=None) -> dict:
    """Scores systems as the command does; returns results.json."""
    options = argparse.Namespace(
        system=list(map(str, systems)), split=split, task=task, reference=reference, out=out
    )
    score.score_systems(options, 'python -m jaxser.score')
    return json.loads((out / 'results.json').read_text())


def system_of(results: dict, name: str) -> dict:
    """Returns the figures of a system in results.json."""
    return next(system for system in results['systems'] if system['name'] == name)

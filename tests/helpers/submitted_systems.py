"""Submissions to a leaderboard of a small task, as jaxser.score leaves them."""

import dataclasses
import json
from pathlib import Path

from helpers import scored_systems

from data_pipelines.protocols.split_file import read_split_file
from data_pipelines.tasks import BenchmarkTask
from jaxser import score
from jaxser.scoring import submissions

TASK = BenchmarkTask(
    name='small_task',
    title='A small task',
    corpora=('one',),
    changes={},
    unseen='speakers',
    counts=None,
    split_sha256=None,
)
CARD = {
    'name': 'a system',
    'authors': 'A. Author',
    'description': 'What it is.',
    'training_data': 'the training part',
    'licence': 'MIT',
    'command': 'python train.py',
    'date': '2026-11-29',
    'parameters': 1234,
    'url': 'https://example.org',
}


def use_small_task(monkeypatch, folder: Path, **changes) -> Path:
    """Makes `small_task` a benchmark task; returns the split file of it."""
    split = scored_systems.write_split(folder)
    task = dataclasses.replace(TASK, split_sha256=read_split_file(split).sha256, **changes)
    for module in (score, submissions):
        monkeypatch.setattr(module, 'load_task', lambda name: task)
    return split


def write_submission(root: Path, folder_name: str, split: Path, rows: list[dict], **card) -> Path:
    """Writes a scored submission of predictions; returns its folder."""
    folder = root / TASK.name / folder_name
    folder.mkdir(parents=True)
    scored_systems.write_predictions(folder / 'predictions.csv', rows)
    content = CARD | {'name': folder_name} | card
    (folder / 'system.json').write_text(json.dumps(content), encoding='utf-8')
    scored_systems.run_score(split, folder, out=folder, task=TASK.name)
    return folder


def change_results(folder: Path, change) -> None:
    """Applies a function to the content of results.json, in place."""
    file = folder / 'results.json'
    results = json.loads(file.read_text())
    change(results)
    file.write_text(json.dumps(results))

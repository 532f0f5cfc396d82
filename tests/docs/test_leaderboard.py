"""Tests that the submissions in docs/leaderboard are valid, small, and what the site shows."""

import json
import os
import re
from pathlib import Path

import pytest
from helpers.html_page import Page, skip_drawing

from data_pipelines.tasks import __main__ as tasks
from jaxser import leaderboard
from jaxser.scoring import leaderboard_page

ROOT = Path(__file__).parents[2]
SUBMISSIONS = ROOT / 'docs' / 'leaderboard' / 'submissions'
CORPORA = Path(os.environ.get('JAXSER_SHARED', 'missing')) / 'corpora'
CORPUS_BY_TASK = {'emodb_four': 'emodb', 'ravdess_speaker': 'ravdess'}
FILES = {'system.json', 'predictions.csv', 'results.json'}
MAX_BYTES = 500_000


def test_every_submission_has_three_small_files():
    folders = [path for path in SUBMISSIONS.glob('*/*') if path.is_dir()]
    assert folders
    for folder in folders:
        files = list(folder.iterdir())
        assert {file.name for file in files} == FILES, folder
        for file in files:
            assert file.stat().st_size <= MAX_BYTES, file


def test_the_guide_lists_the_submissions_with_their_names():
    guide = (ROOT / 'docs' / 'guide' / 'leaderboard.md').read_text(encoding='utf-8')
    listed = dict(re.findall(r'^\| `([\w.-]+/[\w.-]+)` \| ([^|]+) \|', guide, re.MULTILINE))
    submitted = {}
    for card in SUBMISSIONS.glob('*/*/system.json'):
        folder = card.parent.relative_to(SUBMISSIONS).as_posix()
        submitted[folder] = json.loads(card.read_text(encoding='utf-8'))['name']
    assert listed == submitted


def test_every_figure_is_that_of_its_statistics(monkeypatch):
    skip_drawing(monkeypatch)
    ranked = leaderboard.build_leaderboard(SUBMISSIONS, {})
    page = Page(leaderboard_page.leaderboard_page(ranked))
    content = json.loads(leaderboard.format_json(ranked))
    for task in content['tasks']:
        assert task['systems'][0]['rank'] == 1
        for system in task['systems']:
            assert system['card']['name'] in page.text


@pytest.mark.parametrize('task', CORPUS_BY_TASK)
def test_every_figure_is_that_of_its_predictions(task, tmp_path):
    source = CORPORA / CORPUS_BY_TASK[task]
    if not source.exists() or not (SUBMISSIONS / task).exists():
        pytest.skip('needs the corpus in $JAXSER_SHARED/corpora, and submissions to the task')
    split = tmp_path / 'split.csv'
    tasks.main([task, '--source', str(source), '--out', str(split)])
    ranked = leaderboard.build_leaderboard(SUBMISSIONS, {task: split})
    assert all(system.submission.is_recomputed for system in ranked[task])

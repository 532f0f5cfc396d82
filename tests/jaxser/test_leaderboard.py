"""Tests of the leaderboard: its page is safe to publish, and its figures are those of the score."""

import json
import subprocess
import sys

import pytest
from helpers.html_page import Page, skip_drawing
from helpers.scored_systems import prediction_rows
from helpers.submitted_systems import change_results, use_small_task, write_submission

from jaxser import leaderboard
from jaxser.scoring.leaderboard_page import format_parameters

HOSTILE = '<script>alert(1)</script>"&'


@pytest.fixture
def board(tmp_path, monkeypatch):
    """Returns the page and the content of leaderboard.json of three systems."""
    skip_drawing(monkeypatch)
    split = use_small_task(monkeypatch, tmp_path, notes='a <b> & c')
    root = tmp_path / 'all'
    write_submission(root, 'good', split, prediction_rows(0.9, ('0', '1')), description=HOSTILE)
    write_submission(root, 'tied', split, prediction_rows(0.9, random_seed=2), name=HOSTILE)
    poor = write_submission(root, 'poor', split, prediction_rows(0.3), authors=HOSTILE)

    def add_leakage(results):
        results['systems'][0]['leakage'] = {
            'unseen_speaker': {'strongest': 0.62, 'attacker': HOSTILE, 'chance': 0.25}
        }

    change_results(poor, add_leakage)
    run(monkeypatch, root, '--out', tmp_path / 'board', '--split', f'small_task={split}')
    page = (tmp_path / 'board' / 'index.html').read_text(encoding='utf-8')
    return page, json.loads((tmp_path / 'board' / 'leaderboard.json').read_text(encoding='utf-8'))


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['leaderboard', *map(str, arguments)])
    leaderboard.main()


def test_the_page_is_ranked_and_safe(board):
    text, _ = board
    page = Page(text)
    assert '<script' not in text
    assert page.elements_of('script') == page.elements_of('link') == []
    assert all(image['src'].startswith('data:image/svg+xml') for image in page.elements_of('img'))
    for link in page.elements_of('a'):
        assert link['href'].startswith(('#', 'https://example.org'))
    assert HOSTILE in page.text  # as text
    assert '0.620 (seen)' in page.text
    assert 'chance: unseen speakers 0.250' in page.text
    assert 'a <b> & c' in page.text
    assert len(set(page.ids())) == len(page.ids())


def test_the_json_has_ranks_ties_and_figures(board):
    _, content = board
    (task,) = content['tasks']
    systems = {system['card']['name']: system for system in task['systems']}
    assert [system['rank'] for system in task['systems']] == [1, 2, 3]
    assert [system['tied_with_best'] for system in task['systems']] == [True, True, False]
    assert systems['good']['tied_with'] == [HOSTILE]
    assert systems['poor']['tied_with'] == []
    gap = systems['poor']['uar'] - systems['good']['uar']
    assert systems['poor']['delta_uar'] == pytest.approx(gap, abs=1e-12)
    assert systems['good']['seeds'] == 2
    assert {system['computed_again_from'] for system in task['systems']} == {'predictions'}
    assert (task['utterances'], task['speakers']) == (72, 8)


def test_a_wrong_submission_ends_the_command_without_a_board(tmp_path, monkeypatch, capsys):
    skip_drawing(monkeypatch)
    split = use_small_task(monkeypatch, tmp_path)
    folder = write_submission(tmp_path / 'all', 'one', split, prediction_rows())
    change_results(folder, lambda results: results['systems'][0].update(uar=1.0))
    with pytest.raises(SystemExit) as exit_error:
        run(monkeypatch, tmp_path / 'all', '--out', tmp_path / 'board')
    assert exit_error.value.code == 2
    assert 'contradicts itself' in capsys.readouterr().err
    assert not (tmp_path / 'board').exists()


def test_a_split_without_its_task_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, '--out', tmp_path / 'board', '--split', 'split.csv')
    assert 'expected TASK=split.csv' in capsys.readouterr().err


def test_neither_command_imports_jax_at_its_start():
    code = 'import sys, jaxser.leaderboard, jaxser.submission; print(*sys.modules)'
    completed = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    loaded = set(completed.stdout.split())
    assert 'jaxser.scoring.ranking' in loaded
    assert loaded.isdisjoint(('jax', 'tensorflow', 'flax', 'matplotlib', 'sklearn'))


@pytest.mark.parametrize(
    ('parameters', 'text'),
    [(None, ''), (356, '356'), (999_499, '999 k'), (999_500, '1 M'), (8_206_852, '8.21 M')],
)
def test_numbers_of_parameters_have_three_digits(parameters, text):
    assert format_parameters(parameters) == text

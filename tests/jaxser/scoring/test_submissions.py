"""Tests of the checks of a submission: its figures, predictions, split and files."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from helpers.html_page import skip_drawing
from helpers.scored_systems import CLASSES, prediction_rows, write_predictions
from helpers.submitted_systems import change_results, use_small_task, write_submission

from data_pipelines.errors import UserError
from jaxser.scoring.submissions import find_contradictions, read_submissions


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    skip_drawing(monkeypatch)


@pytest.fixture
def split(tmp_path, monkeypatch):
    return use_small_task(monkeypatch, tmp_path)


@pytest.fixture
def folder(tmp_path, split):
    return write_submission(tmp_path / 'all', 'one', split, prediction_rows(seeds=('0', '1')))


def refusal(folder, splits=None):
    """Returns the message with which the submissions beside a folder are refused."""
    with pytest.raises(UserError) as error:
        read_submissions(folder.parents[1], splits or {})
    return str(error.value)


def test_a_scored_submission_is_read_with_its_figures(folder, split):
    results = json.loads((folder / 'results.json').read_text())
    for splits in ({}, {'small_task': split}):
        (submission,) = read_submissions(folder.parents[1], splits)['small_task']
        value = submission.statistics.value_by_seed().mean()
        assert value == pytest.approx(results['systems'][0]['uar'], abs=1e-12)
        assert (submission.seeds, len(submission.speakers)) == (2, 8)
        assert submission.is_recomputed == bool(splits)
        assert submission.card.parameters == 1234


def test_a_figure_that_is_not_that_of_the_statistics_is_refused(folder):
    for key in ('uar', 'wa', 'f1'):
        change_results(folder, lambda results, key=key: results['systems'][0].update({key: 0.99}))
        assert f'{key} is [0.99' in refusal(folder)
        change_results(folder, lambda results, key=key: results['systems'][0].pop(key))
        assert f'{key} is [None' in refusal(folder)


def test_an_interval_that_is_not_that_of_the_statistics_is_refused(folder):
    change_results(folder, lambda results: results['systems'][0].update(uar_ci95=[0.9, 0.99]))
    assert 'contradicts itself: uar is' in refusal(folder)


def test_statistics_that_are_not_those_of_the_predictions_are_refused(folder, split, tmp_path):
    better = write_submission(tmp_path / 'better', 'one', split, prediction_rows(0.95, ('0', '1')))
    forged = json.loads((better / 'results.json').read_text())
    honest = json.loads((folder / 'results.json').read_text())
    sha256 = honest['systems'][0]['predictions_sha256']
    forged['systems'][0]['predictions_sha256'] = sha256
    (folder / 'results.json').write_text(json.dumps(forged))
    read_submissions(folder.parents[1], {})  # consistent in itself
    assert 'do not give the statistics' in refusal(folder, {'small_task': split})


def test_other_predictions_than_those_that_were_scored_are_refused(folder):
    write_predictions(folder / 'predictions.csv', prediction_rows(0.95, ('0', '1')))
    assert 'was made from other predictions' in refusal(folder)


def test_another_split_is_refused_by_name(folder):
    change_results(folder, lambda results: results.update(split_sha256='0' * 64))
    message = refusal(folder)
    assert "split '0000000000000000'" in message
    assert 'python -m data_pipelines.tasks small_task' in message


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'task': 'another'}, "is of the task 'another', but its folder is that of small_task"),
        ({'kind': 'sweep'}, "its kind is 'sweep'"),
        ({'measure': 'wa'}, "compares by 'wa'"),
        ({'systems': []}, 'has 0 systems; expected this one alone'),
        ({'classes': None}, 'classes is None'),
        ({'classes': [*CLASSES, 'x']}, 'its counts are not 2 x 8 x 4 x 4 numbers'),
        ({'classes': ['x'] * 3000}, 'expected 1 to 10000000'),
    ],
)
def test_results_of_something_else_are_refused(folder, change, message):
    change_results(folder, lambda results: results.update(change))
    assert message in refusal(folder)


@pytest.mark.parametrize(
    ('count', 'message'),
    [
        (-1, 'no counts of the same utterances'),
        (0.5, 'no counts of the same utterances'),
        ('x', 'numbers'),
        (1e300, 'numbers'),
        ([1], 'numbers'),
    ],
)
def test_impossible_counts_are_refused(folder, count, message):
    def change(results):
        for seed in results['systems'][0]['statistics']['counts']:
            seed[0][0][0] = count

    change_results(folder, change)
    assert message in refusal(folder)


def test_seeds_of_other_utterances_are_refused(folder):
    def change(results):
        results['systems'][0]['statistics']['counts'][0][0][0][0] += 1

    change_results(folder, change)
    assert 'no counts of the same utterances' in refusal(folder)


def test_impossible_leakage_is_refused(folder):
    def change(results):
        results['systems'][0]['leakage'] = {'speaker': {'strongest': 1.5, 'chance': 0.1}}

    change_results(folder, change)
    assert 'leakage.speaker.strongest is 1.5' in refusal(folder)


def test_links_are_refused(folder, tmp_path):
    (tmp_path / 'secret').write_text('{}')
    (folder / 'system.json').unlink()
    (folder / 'system.json').symlink_to(tmp_path / 'secret')
    assert 'system.json is a link' in refusal(folder)
    (folder.parent / 'two').symlink_to(folder)
    assert 'is a link; expected a folder' in refusal(folder)


def test_files_that_are_not_json_are_refused(folder):
    (folder / 'results.json').write_text('[' * 100_000)
    assert 'it is no JSON' in refusal(folder)
    (folder / 'results.json').unlink()
    assert 'results.json is missing' in refusal(folder)


def test_a_file_that_is_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr('jaxser.scoring.submissions.MAX_PREDICTIONS_BYTES', 100)
    assert 'at most 100 are read' in refusal(folder)


def test_a_folder_with_a_name_that_is_not_allowed_is_refused(folder):
    folder.rename(folder.with_name('a b'))
    assert "has the folder 'a b'" in refusal(folder)


def test_problems_of_all_submissions_are_listed(folder, split, tmp_path):
    other = write_submission(tmp_path / 'all', 'two', split, prediction_rows())
    change_results(folder, lambda results: results['systems'][0].update(uar=0.99))
    change_results(other, lambda results: results.update(task='x'))
    message = refusal(folder)
    assert re.findall(r'(one|two)/results\.json (?:contradicts|is of)', message) == ['one', 'two']


def test_two_systems_of_one_name_are_refused(folder, split, tmp_path):
    write_submission(tmp_path / 'all', 'two', split, prediction_rows(), name='one')
    assert "have one name, 'one'" in refusal(folder)


def test_other_true_labels_or_speakers_are_named(folder):
    (first,) = read_submissions(folder.parents[1], {})['small_task']
    other = first._replace(folder=Path('other'), card=dataclasses.replace(first.card, name='x'))
    assert find_contradictions([first, other]) == []
    exchanged = first.count_ZxSxCxC.copy()
    exchanged[:, 0, 0], exchanged[:, 0, 1] = exchanged[:, 0, 1], exchanged[:, 0, 0].copy()
    exchanged[:, 0, 0, 0] += 1
    changes = (
        {'count_ZxSxCxC': exchanged},
        {'speakers': first.speakers[::-1]},
        {'classes': first.classes[::-1]},
        {'split_sha256': 'f' * 64},
    )
    for change in changes:
        (problem,) = find_contradictions([first, other._replace(**change)])
        assert problem.startswith('other was tested on other utterances than')


def test_a_split_file_of_a_task_without_submissions_is_refused(folder, split):
    assert 'has no submission' in refusal(folder, {'another': split})


def test_an_empty_folder_says_what_was_expected(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='has no submissions; expected TASK'):
        read_submissions(tmp_path / 'empty', {})
    with pytest.raises(UserError, match='There is no folder'):
        read_submissions(tmp_path / 'nothing', {})

"""Tests of what the command writes: the page, the table and results.json."""

import csv

import numpy as np
import pytest
from helpers.html_page import Page, skip_drawing
from helpers.scored_systems import (
    CLASSES,
    prediction_rows,
    run_score,
    split_rows,
    system_of,
    utterances,
    write_predictions,
    write_split,
)

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from data_pipelines.protocols.split_file import read_split_file
from data_pipelines.tasks import BenchmarkTask
from jaxser import score
from jaxser.analysis import bootstrap
from jaxser.scoring.class_statistics import F1Statistics


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Returns the predictions of two systems, of which the second is better."""
    skip_drawing(monkeypatch)
    weak = write_predictions(tmp_path / 'weak.csv', prediction_rows(0.4, ('0', '1')))
    strong = write_predictions(tmp_path / 'strong.csv', prediction_rows(0.95, random_seed=1))
    return weak, strong


def make_benchmark(split, measure='uar', sha256=None):
    """Returns a task whose official split is that of the file."""
    return BenchmarkTask(
        'small',
        'Small task',
        ('one',),
        {},
        'speakers',
        None,
        sha256 or read_split_file(split).sha256,
        measure=measure,
    )


def test_results_have_everything_that_a_leaderboard_needs(tmp_path, files):
    split = write_split(tmp_path)
    results = run_score(split, *files, out=tmp_path / 'out')
    assert results['kind'] == 'score'
    assert results['split_sha256'] == read_split_file(split).sha256
    assert results['measure'] == 'uar'
    assert results['classes'] == list(CLASSES)
    assert results['reference'] == 'weak'
    weak = system_of(results, 'weak')
    assert weak['seeds'] == ['0', '1']
    assert weak['statistics']['speakers'] == [f's{n}' for n in range(8)]
    counts = np.array(weak['statistics']['counts'])
    assert counts.shape == (2, 8, 3, 3)
    expected = bootstrap.uar_from_counts(counts.sum(1)).mean()
    assert weak['uar'] == pytest.approx(expected, abs=1e-12)
    assert weak['confusion'] == counts.sum((0, 1)).tolist()
    assert weak['delta_uar'] is None
    strong = system_of(results, 'strong')
    assert strong['delta_uar'] == pytest.approx(strong['uar'] - weak['uar'], abs=1e-12)
    assert strong['delta_ci95'][0] > 0
    assert len(strong['by_fold']) == 4
    assert set(strong['groups']) == {'sex'}
    assert strong['leakage'] is None


def test_calibration_is_of_all_seeds(tmp_path, files):
    """All posteriors of the predicted class are 0.8: ECE is |0.8 - share of correct ones|."""
    rows = []
    for row in prediction_rows(0.5, ('0', '1')):
        predicted = max(CLASSES, key=row.get)
        p = dict.fromkeys(CLASSES, 0.1) | {predicted: 0.8}
        rows.append({'utterance': row['utterance'], 'seed': row['seed']} | p)
    file = write_predictions(tmp_path / 'a.csv', rows)
    own = system_of(run_score(write_split(tmp_path), file, out=tmp_path / 'out'), 'a')
    assert own['calibration']['ece'] == pytest.approx(abs(0.8 - own['wa']))
    nll = -own['wa'] * np.log(0.8) - (1 - own['wa']) * np.log(0.1)
    assert own['calibration']['nll'] == pytest.approx(nll)


def test_classes_alone_have_no_calibration(tmp_path, files):
    rows = []
    for row in prediction_rows():
        rows.append({'utterance': row['utterance'], 'predicted': max(CLASSES, key=row.get)})
    file = write_predictions(tmp_path / 'a.csv', rows)
    own = system_of(run_score(write_split(tmp_path), file, out=tmp_path / 'out'), 'a')
    assert own['calibration'] is None
    assert own['uar'] is not None


def test_sentences_of_the_training_part_are_a_group(tmp_path, files):
    rows = split_rows()
    for row in rows:
        if row['part'] != 'train' or row['sentence'] != '2':
            continue
        row['part'] = 'adapt'  # no training part has sentence 2
    csv_files.write_rows(tmp_path / 'split.csv', rows)
    results = run_score(tmp_path / 'split.csv', *files, out=tmp_path / 'out')
    groups = system_of(results, 'weak')['groups']['sentence']
    assert groups['not in training']['utterances'] == 24
    assert groups['also in training']['utterances'] == 48


def test_the_page_begins_with_the_systems_and_names_their_differences(tmp_path, files):
    _, strong = files
    named = f'<b>"best"</b>={strong}'
    run_score(write_split(tmp_path), files[0], named, out=tmp_path / 'out')
    page = Page((tmp_path / 'out' / 'report.html').read_text())
    assert '<b>"best"</b> UAR 0.9' in page.text
    assert 'better: +0.' in page.text
    assert 'weak UAR 0.' in page.text
    assert page.text.index('<b>"best"</b> UAR') < page.text.index('How it was judged')
    ids = page.ids()
    assert ids[:1] == ['systems']
    assert {'folds', 'groups', 'confusions', 'calibration', 'judged', 'details'} <= set(ids)
    assert 'leakage' not in ids
    assert len(ids) == len(set(ids))


def test_the_table_has_a_row_for_each_system(tmp_path, files):
    run_score(write_split(tmp_path), *files, out=tmp_path / 'out')
    with open(tmp_path / 'out' / 'table.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['system'] for row in rows] == ['weak', 'strong']
    assert float(rows[1]['uar_low']) < float(rows[1]['uar']) <= float(rows[1]['uar_high'])
    assert rows[0]['delta_uar'] == ''


def test_a_task_decides_about_the_measure_and_is_named(tmp_path, files, monkeypatch):
    split = write_split(tmp_path)
    benchmark = make_benchmark(split, 'macro-F1')
    monkeypatch.setattr(score, 'load_task', lambda name: benchmark)
    results = run_score(split, *files, out=tmp_path / 'out', task='small', reference='strong')
    assert results['task'] == 'small'
    assert results['measure'] == 'f1'
    weak, strong = system_of(results, 'weak'), system_of(results, 'strong')
    counts = [np.array(own['statistics']['counts']) for own in (weak, strong)]
    estimate = bootstrap.difference_estimate(*map(F1Statistics, counts))
    assert weak['delta_f1'] == pytest.approx(estimate.value, abs=1e-12)
    assert weak['delta_ci95'] == pytest.approx(estimate.ci95, abs=1e-12)
    assert 'same SHA-256' in Page((tmp_path / 'out' / 'report.html').read_text()).text


def test_a_changed_label_makes_another_split(tmp_path, files, monkeypatch):
    split = write_split(tmp_path)
    benchmark = make_benchmark(split)
    monkeypatch.setattr(score, 'load_task', lambda name: benchmark)
    text = split.read_text().replace('s0,angry', 's0,sad', 1)
    # All rows of an utterance must agree.
    utterance = utterances()[0]['utterance']
    lines = []
    for line in text.splitlines():
        is_own = f',{utterance},' in line
        lines.append(line.replace('s0,angry', 's0,sad') if is_own else line)
    split.write_text('\n'.join(lines) + '\n')
    with pytest.raises(UserError, match='is not the split of the task small'):
        run_score(split, *files, out=tmp_path / 'out', task='small')


def test_a_truth_file_of_ones_own_is_no_task(tmp_path, files, monkeypatch):
    benchmark = make_benchmark(write_split(tmp_path))
    monkeypatch.setattr(score, 'load_task', lambda name: benchmark)
    (tmp_path / 'truth.csv').write_text('utterance,speaker,emotion\nu0_0,s0,sad\n')
    with pytest.raises(UserError, match='is no split file'):
        run_score(tmp_path / 'truth.csv', *files, out=tmp_path / 'out', task='small')

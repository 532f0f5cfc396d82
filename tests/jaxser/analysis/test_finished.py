"""Tests of reading the workdir of a finished sweep."""

import json

import pytest
from helpers import finished_sweeps, rating_sweeps
from helpers.html_page import skip_drawing

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.analysis.comparison import comparison_rows
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.analysis.frames import results_frame
from jaxser.analysis.measure import CCC, UAR
from jaxser.reporting import page, sections, speaker_sections
from jaxser.runs import format_value


def test_an_unfinished_sweep_is_refused(tmp_path):
    """The message names the folder and says what to do."""
    with pytest.raises(UserError, match='contains no finished sweep'):
        read_finished_sweep(tmp_path)
    with pytest.raises(UserError, match='There is no folder'):
        read_finished_sweep(tmp_path / 'elsewhere')


@pytest.mark.parametrize(
    ('lams', 'best', 'is_noted'),
    [((0.0, -0.1, 0.3), 0.3, True), ((0.0, -0.1, -1.0), -0.1, False)],
)
def test_a_negative_coefficient_is_best_only_if_there_is_no_other(
    tmp_path, monkeypatch, lams, best, is_noted
):
    """It keeps the domain: the report is about a setting that forgets, even if its UAR is lower."""
    for lam, dev_uar in ((-0.1, 0.9), (-1.0, 0.7)):
        monkeypatch.setitem(finished_sweeps.CORRECT_SHARE, lam, 0.9)
        monkeypatch.setitem(finished_sweeps.DEV_UAR, lam, dev_uar)
        monkeypatch.setitem(finished_sweeps.SPEAKER_RECALL, lam, 0.9)
    finished_sweeps.write_sweep(tmp_path / 'w', lams)
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    assert len(analysis.compared_rows) == 2
    assert analysis.best_row['lam'] == best
    assert ('lam &lt; 0 is not chosen' in page.headline(analysis)) == is_noted


def test_a_single_swept_method_is_that_of_the_runs(tmp_path):
    """It is in no label, and config.method may be another: --config.sweep.method=erm."""
    path = tmp_path / 'w'
    finished_sweeps.write_sweep(path, (0.0,), probed=False)
    results = json.loads((path / 'results.json').read_text())
    for run in results['runs']:
        run['hyper'] = {'method': 'erm', 'domain': 'language'} | run['hyper']
        del run['hyper']['lam']
    predictions = path / 'predictions.csv'
    predictions.write_text(predictions.read_text().replace('lam=0 ', ''))
    (path / 'results.json').write_text(json.dumps(results))
    metadata = json.loads((path / 'config.json').read_text())
    metadata['config']['method'] = 'dann'
    (path / 'config.json').write_text(json.dumps(metadata))
    sweep = read_finished_sweep(path)
    analysis = SweepAnalysis(sweep)
    assert analysis.is_all_plain
    assert analysis.setting_title(analysis.best_row) == 'erm'
    assert analysis.config['domain'] == 'language'
    row, *_ = comparison_rows(sweep)
    assert row.method == 'erm'


def write_enrolled_sweep(path, lams: tuple, dev_uars: dict) -> None:
    """Writes a sweep with 0 and 8 enrolled utterances; `dev_uars` are by (lam, enrol)."""
    finished_sweeps.write_sweep(path, lams, seeds=2, probed=False)
    results = json.loads((path / 'results.json').read_text())
    metadata = json.loads((path / 'config.json').read_text())
    metadata['config'] |= {'method': 'dann', 'data': {'normalise': 'speaker_enrolled'}}
    metadata['config']['protocol']['enrol'] = 'all'
    labels = {}
    for run in results['runs']:
        hyper = run['hyper']
        old = f'lam={format_value(hyper["lam"])} seed={hyper["seed"]}'
        # The two seeds become the two numbers of enrolled utterances.
        enrol = (0, 8)[hyper['seed']]
        hyper |= {'seed': 0, 'enrol': enrol}
        labels[old] = f'lam={format_value(hyper["lam"])} seed=0 enrol={enrol}'
        run['dev'] = {'uar': dev_uars[hyper['lam'], enrol]}
    rows = csv_files.read_rows((path / 'predictions.csv').read_bytes().decode())
    relabelled = [row | {'run': labels[row['run']]} for row in rows]
    (path / 'predictions.csv').write_text(csv_files.format_rows(relabelled))
    (path / 'config.json').write_text(json.dumps(metadata))
    (path / 'results.json').write_text(json.dumps(results))


def test_the_number_of_enrolled_utterances_is_not_chosen(tmp_path):
    """The report is about the largest; it names the setting without it, and the figures with it."""
    dev_uars = {(0.0, 0): 0.5, (0.0, 8): 0.5, (0.3, 0): 0.9, (0.3, 8): 0.6, (1.0, 0): 0.1}
    write_enrolled_sweep(tmp_path / 'w', (0.0, 0.3, 1.0), dev_uars | {(1.0, 8): 0.7})
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    assert (analysis.best_row['lam'], analysis.best_row['enrol']) == (1.0, 8)
    assert analysis.plain_row['enrol'] == 8
    headline = page.headline(analysis)
    assert 'dann, lam = 1<' in headline
    assert '8 (transductive)' in headline
    assert 'The number of enrolled utterances is not chosen' in headline
    assert 'Best dev UAR (0.700, mean of folds) of 2 settings' in headline


def test_the_table_of_settings_says_how_many_utterances_are_enrolled(tmp_path, monkeypatch):
    write_enrolled_sweep(tmp_path / 'w', (0.0,), {(0.0, 0): 0.5, (0.0, 8): 0.5})
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    skip_drawing(monkeypatch)
    table = sections.settings_section(analysis).body
    assert '>enrolled<' in table
    assert '>0<' in table
    assert '8 (transductive)' in table


def test_a_sweep_of_plain_training_alone_lacks_no_plain_training(tmp_path):
    write_enrolled_sweep(tmp_path / 'w', (0.0,), {(0.0, 0): 0.5, (0.0, 8): 0.5})
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    body = speaker_sections.speakers_section(analysis).body
    assert 'All settings are plain training: nothing to compare.' in body
    assert 'There is no plain training' not in body


def test_the_ccc_of_ratings_chooses_the_best_setting(tmp_path):
    """1 on dev, though 0.3 is better on test; guessing has a CCC of 0."""
    rating_sweeps.write_sweep(tmp_path / 'w', probed=False)
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    assert (analysis.measure, analysis.chance, analysis.classes) == (CCC, 0, [])
    assert analysis.ratings == ['arousal', 'valence', 'dominance']
    assert [row['lam'] for row in analysis.compared_rows] == [0.3, 1.0]
    assert (analysis.best_row['lam'], analysis.plain_row['lam']) == (1.0, 0.0)
    assert analysis.model_row is analysis.best_row
    statistics = analysis.statistics(analysis.best_row)
    assert statistics.speakers == len(analysis.tested_speakers) == 8
    assert statistics.value_by_seed().mean() == pytest.approx(analysis.best_row['ccc'])


def test_a_sweep_of_classes_and_ratings_has_the_statistics_of_both(tmp_path):
    path = tmp_path / 'w'
    rating_sweeps.write_sweep(path, 'emotion+ratings', probed=False, select='best dev UAR')
    analysis = SweepAnalysis(read_finished_sweep(path))
    row = analysis.best_row
    assert (analysis.measure, analysis.chance) == (UAR, pytest.approx(1 / 3))
    for measure in (UAR, CCC):
        values = analysis.statistics(row, measure).value_by_seed()
        assert values.mean() == pytest.approx(row[measure.key])


@pytest.mark.parametrize('facts', [{'ratings': []}, {'ratings': ['arousal', 'arousal']}])
def test_a_sweep_that_predicts_nothing_is_refused(tmp_path, facts):
    """Or one rating twice."""
    rating_sweeps.write_sweep(tmp_path / 'w', probed=False)
    file = tmp_path / 'w' / 'results.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    with pytest.raises(UserError, match=r'its classes are \[\], and its ratings \['):
        read_finished_sweep(tmp_path / 'w')


def test_the_frame_of_runs_has_the_figures_of_each_rating(tmp_path):
    rating_sweeps.write_sweep(tmp_path / 'w', probed=False)
    runs = json.loads((tmp_path / 'w' / 'results.json').read_text())['runs']
    frame = results_frame(tmp_path / 'w')
    assert len(frame) == len(runs)
    assert frame['ccc'].tolist() == [run['test']['ccc'] for run in runs]
    assert frame['dev_ccc'].tolist() == [run['dev']['ccc'] for run in runs]
    assert frame['valence_rmse'].tolist() == [
        run['test']['ratings']['valence']['rmse'] for run in runs
    ]
    assert frame['dev_arousal_ccc'].tolist() == [0.5] * len(runs)
    assert frame['uar'].isna().all()

"""Tests that scored predictions of a sweep get the figures of the sweep, to 1e-12."""

import numpy as np
import pytest
from helpers import finished_sweeps, rating_sweeps
from helpers.html_page import skip_drawing
from helpers.scored_systems import run_score, system_of

from data_pipelines import csv_files

CLASS_KEYS = ('uar', 'uar_ci95', 'uar_sd_seeds', 'wa', 'f1', 'confusion', 'delta_uar')
RATING_KEYS = ('ccc', 'ccc_ci95', 'ccc_sd_seeds', 'pearson', 'rmse', 'delta_ccc')
TEST_KEYS = ('delta_ci95', 'p', 'p_holm', 'tested_speakers')
SETTINGS = ('lam=0', 'lam=0.3', 'lam=1')


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    skip_drawing(monkeypatch)


def assert_equal(scored, expected):
    """Asserts that two figures are equal to 1e-12, or both None."""
    if expected is None or scored is None:
        assert scored is expected
    else:
        np.testing.assert_allclose(scored, expected, rtol=0, atol=1e-12)


def export(workdir, columns, truth_columns):
    """Writes the predictions of each setting, and a truth file; returns their paths."""
    with csv_files.open_rows(workdir / 'predictions.csv') as reader:
        rows = list(reader)
    truth, systems = {}, {}
    for row in rows:
        setting, _, seed = row['run'].partition(' seed=')
        own = {name: row[name] for name in ('fold', 'utterance', *columns)}
        systems.setdefault(setting, []).append({'seed': seed} | own)
        facts = {name: row[column] for name, column in truth_columns.items()}
        truth[row['fold'], row['utterance']] = {'fold': row['fold']} | facts
    csv_files.write_rows(workdir / 'truth.csv', truth.values())
    files = []
    for setting in SETTINGS:
        files.append(workdir / f'{setting}.csv')
        csv_files.write_rows(files[-1], systems[setting])
    return workdir / 'truth.csv', files


def test_classes_have_the_figures_of_the_sweep(tmp_path):
    results = finished_sweeps.write_sweep(tmp_path / 'sweep')
    columns = {'utterance': 'utterance', 'speaker': 'speaker', 'emotion': 'truth'}
    truth, files = export(tmp_path / 'sweep', finished_sweeps.CLASSES, columns)
    scored = run_score(truth, *files, out=tmp_path / 'out', reference='lam=0')
    for setting, row in zip(SETTINGS, results['summary'], strict=True):
        system = system_of(scored, setting)
        for key in (*CLASS_KEYS, *TEST_KEYS):
            assert_equal(system[key], row[key])
        assert len(system['seeds']) == row['seeds']


def test_ratings_have_the_figures_of_the_sweep(tmp_path):
    results = rating_sweeps.write_sweep(tmp_path / 'sweep')
    names = rating_sweeps.RATINGS
    columns = {'utterance': 'utterance', 'speaker': 'speaker'}
    columns |= {name: f'truth_{name}' for name in names}
    truth, files = export(tmp_path / 'sweep', names, columns)
    scored = run_score(truth, *files, out=tmp_path / 'out', reference='lam=0')
    assert scored['measure'] == 'ccc'
    for setting, row in zip(SETTINGS, results['summary'], strict=True):
        system = system_of(scored, setting)
        for key in (*RATING_KEYS, *TEST_KEYS):
            assert_equal(system[key], row[key])
        for name in names:
            for key in ('ccc', 'ccc_ci95', 'pearson', 'rmse'):
                assert_equal(system['ratings'][name][key], row['ratings'][name][key])

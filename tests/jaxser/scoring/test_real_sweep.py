"""Tests a score of what training itself has written: predictions, split and figures."""

import json

import numpy as np
import pytest
from helpers.html_page import skip_drawing
from helpers.scored_systems import run_score

from data_pipelines import csv_files
from data_pipelines.protocols.split_file import write_split_file
from jaxser.training.task import Task
from jaxser.training.validate import plan_programs
from jaxser.workdir import Workdir

KEYS = ('uar', 'uar_ci95', 'uar_folds', 'wa', 'f1', 'confusion', 'delta_uar', 'delta_ci95', 'p')


@pytest.fixture(scope='module')
def exported(swept, tmp_path_factory):
    """Returns a folder with the split file of a sweep, and the predictions of its settings."""
    folder = tmp_path_factory.mktemp('exported')
    config = Workdir.open(swept).config
    task = Task(config, plan_programs(config))
    write_split_file(folder / 'split.csv', task.utterances, task.folds)
    by_setting = {}
    with csv_files.open_rows(swept / 'predictions.csv') as reader:
        for row in reader:
            setting, _, row['seed'] = row.pop('run').partition(' seed=')
            del row['truth'], row['speaker']
            by_setting.setdefault(setting, []).append(row)
    for setting, rows in by_setting.items():
        csv_files.write_rows(folder / f'{setting}.csv', rows)
    return folder, list(by_setting)


def test_a_sweep_gets_its_own_figures_and_its_split_has_its_hash(
    exported, swept, tmp_path, monkeypatch
):
    skip_drawing(monkeypatch)
    folder, settings = exported
    files = [folder / f'{setting}.csv' for setting in settings]
    scored = run_score(folder / 'split.csv', *files, out=tmp_path, reference='lam=0')
    results = json.loads((swept / 'results.json').read_text())
    assert scored['split_sha256'] == results['split_sha256']
    assert len(settings) == len(results['summary']) > 1
    for system, row in zip(scored['systems'], results['summary']):
        for key in KEYS:
            if row[key] is None:
                assert system[key] is None
            else:
                np.testing.assert_allclose(system[key], row[key], rtol=0, atol=1e-12)

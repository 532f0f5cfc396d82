"""Tests that a submission of a setting has the predictions and the figures of the sweep."""

import json
import sys

import numpy as np
import pytest
from helpers import finished_sweeps, rating_sweeps
from helpers.html_page import skip_drawing
from helpers.scored_systems import run_score
from safetensors.numpy import load_file

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser import submission
from jaxser.scoring.card import parse_card

NO_CLASSES = ('utterance', 'fold', 'seed')
REQUIRED = ('--authors', 'A. Author', '--licence', 'MIT')


def run(monkeypatch, workdir, out, *arguments):
    words = ('--workdir', workdir, '--out', out, *REQUIRED, *arguments)
    monkeypatch.setattr(sys, 'argv', ['submission', *map(str, words)])
    submission.main()
    return json.loads((out / 'system.json').read_text())


def write_truth(workdir, emotion=('truth', 'emotion')):
    """Writes a truth file of the tested utterances of a sweep; returns its path."""
    source, name = emotion
    truth = {}
    with csv_files.open_rows(workdir / 'predictions.csv') as rows:
        for row in rows:
            key = row['fold'], row['utterance']
            columns = ('fold', 'utterance', 'speaker')
            truth[key] = {column: row[column] for column in columns} | {name: row[source]}
    csv_files.write_rows(workdir / 'truth.csv', truth.values())
    return workdir / 'truth.csv'


def test_a_submission_scores_as_its_setting_in_the_sweep(tmp_path, monkeypatch):
    skip_drawing(monkeypatch)
    results = finished_sweeps.write_sweep(tmp_path / 'sweep')
    truth = write_truth(tmp_path / 'sweep')
    for setting, row in zip(('lam=0', 'lam=0.3', 'lam=1'), results['summary'], strict=True):
        out = tmp_path / setting
        run(monkeypatch, tmp_path / 'sweep', out, '--setting', f'dann, {setting}')
        (system,) = run_score(truth, out, out=tmp_path / 'score')['systems']
        for key in ('uar', 'wa', 'f1', 'uar_ci95', 'uar_sd_seeds'):
            assert system[key] == pytest.approx(row[key], abs=1e-12)
        assert system['seeds'] == ['0', '1']


def test_by_default_it_is_the_setting_that_is_best_on_dev(tmp_path, monkeypatch):
    finished_sweeps.write_sweep(tmp_path / 'sweep')
    card = run(monkeypatch, tmp_path / 'sweep', tmp_path / 'best')
    run(monkeypatch, tmp_path / 'sweep', tmp_path / 'named', '--setting', 'dann, lam = 1')
    files = [tmp_path / name / 'predictions.csv' for name in ('best', 'named')]
    assert files[0].read_text() == files[1].read_text()
    parse_card(card, tmp_path / 'system.json')
    assert 'lam = 1' in card['name']
    assert card['command'] == "python -m jaxser.main '--config=<x>'"


def test_seeds_of_which_a_fold_diverged_are_left_out(tmp_path, monkeypatch):
    finished_sweeps.write_sweep(tmp_path / 'sweep', diverged={(1.0, 0, 1)})
    run(monkeypatch, tmp_path / 'sweep', tmp_path / 'out', '--setting', 'dann, lam = 1')
    with csv_files.open_rows(tmp_path / 'out' / 'predictions.csv') as rows:
        assert {row['seed'] for row in rows} == {'1'}


def test_ratings_are_written_as_the_sweep_has_them(tmp_path, monkeypatch):
    rating_sweeps.write_sweep(tmp_path / 'sweep')
    run(monkeypatch, tmp_path / 'sweep', tmp_path / 'out')
    with csv_files.open_rows(tmp_path / 'out' / 'predictions.csv') as rows:
        names = rows.fieldnames
        assert float(next(rows)[rating_sweeps.RATINGS[0]]) <= 1
    assert names == ['utterance', 'fold', 'seed', *rating_sweeps.RATINGS]


def test_an_unknown_setting_names_those_that_exist(tmp_path, monkeypatch, capsys):
    finished_sweeps.write_sweep(tmp_path / 'sweep')
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / 'sweep', tmp_path / 'out', '--setting', 'lam = 7')
    assert '"dann, lam = 0.3"' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('config', 'expected'),
    [
        ({}, 'only the training part of the task'),
        ({'data': {'upstream': 'whisper'}}, 'the pretrained encoder whisper'),
        ({'model': {'upstream': '/home/me/hubert'}}, 'the pretrained encoder FOLDER/hubert'),
        ({'protocol': {'identity': ['urdu']}}, 'speakers of urdu'),
        ({'protocol': {'adapt': 'transductive'}}, 'target speech (transductive)'),
    ],
)
def test_the_card_names_all_training_data(config, expected):
    assert expected in submission.describe_training_data(config)


def test_a_card_without_authors_is_refused(tmp_path, monkeypatch, capsys):
    finished_sweeps.write_sweep(tmp_path / 'sweep')
    with pytest.raises((SystemExit, UserError)):
        run(monkeypatch, tmp_path / 'sweep', tmp_path / 'out', '--authors', ' ')
    assert 'authors' in capsys.readouterr().err


def test_representations_are_those_that_the_emotion_head_reads(swept, tmp_path, monkeypatch):
    """Of every fold: softmax(z W + b) is the posterior in predictions.csv."""
    monkeypatch.setattr('jaxser.distributed.configure_jax', lambda: None)  # conftest.py did
    run(monkeypatch, swept, tmp_path / 'out', '--representations')
    model = load_file(swept / 'model' / 'model.safetensors')
    metadata = json.loads((swept / 'model' / 'model.json').read_text())
    with np.load(tmp_path / 'out' / 'representations.npz', allow_pickle=False) as arrays:
        keys = zip(arrays['fold_N'].tolist(), arrays['utterance_N'].tolist())
        z_by_key = dict(zip(keys, arrays['z_NxD']))
    with csv_files.open_rows(tmp_path / 'out' / 'predictions.csv') as reader:
        rows = list(reader)
    heads = {}
    for n, own_run in enumerate(metadata['runs']):
        name = 'params/emotion/layers_0/'
        heads[own_run['fold']] = model[f'{name}kernel'][n], model[f'{name}bias'][n]
    for row in rows:
        kernel_DxC, bias_C = heads[int(row['fold'])]
        scores_C = z_by_key[int(row['fold']), row['utterance']] @ kernel_DxC + bias_C
        p_C = np.exp(scores_C) / np.exp(scores_C).sum()
        expected_C = [float(row[name]) for name in row if name not in NO_CLASSES]
        np.testing.assert_allclose(p_C, expected_C, atol=1e-5)
    assert len(z_by_key) > len(rows)  # training utterances too, on which attackers are fitted

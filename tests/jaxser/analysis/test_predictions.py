"""Tests of reading predictions.csv."""

import numpy as np
import pytest

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.analysis.predictions import read_prediction_rows, read_predictions
from jaxser.runs import run_label

HEADER = 'run,fold,utterance,speaker,truth,A,B\n'
LABEL_KEYS = ['lam', 'seed']


def test_predictions_are_read_as_they_were_written():
    """By run and fold; the class with the largest posterior is the prediction."""
    run = {'run': 'lam=0', 'fold': 1}
    rows = [
        run | {'utterance': 'u', 'speaker': 's', 'truth': 'A', 'A': 0.3, 'B': 0.7},
        run | {'utterance': 'v', 'speaker': 's', 'truth': 'B', 'A': 0.4, 'B': 0.6},
    ]
    written = csv_files.read_rows(csv_files.format_rows(rows))
    predictions = read_predictions(written, ['A', 'B'])
    assert list(predictions) == [('lam=0', 1)]
    columns = predictions['lam=0', 1]
    np.testing.assert_array_equal(columns.speaker_N, ['s', 's'])
    np.testing.assert_array_equal(columns.truth_N, [0, 1])
    np.testing.assert_array_equal(columns.predicted_N, [1, 1])
    np.testing.assert_array_equal(columns.confidence_N, [0.7, 0.6])


def test_labels_of_an_earlier_version_are_read(tmp_path):
    """It cut numbers to six digits; the rows get the labels that the runs have today."""
    runs = [{'hyper': {'lam': lam, 'seed': 20261128, 'fold': 1}} for lam in (0.1, 1 / 3)]
    file = tmp_path / 'predictions.csv'
    lines = [f'lam={lam} seed=2.02611e+07,1,u,s,A,0.3,0.7\n' for lam in ('0.1', '0.333333')]
    file.write_text(HEADER + ''.join(lines))
    labels = [row['run'] for row in read_prediction_rows(file, runs)]
    assert labels == [run_label(run['hyper'], LABEL_KEYS) for run in runs]
    assert labels == ['lam=0.1 seed=20261128', 'lam=0.3333333333333333 seed=20261128']


def test_a_label_of_two_runs_is_refused(tmp_path):
    """As an earlier version gave it: their predictions cannot be distinguished."""
    runs = [{'hyper': {'lam': 0.1, 'seed': seed, 'fold': 1}} for seed in (20261128, 20261129)]
    file = tmp_path / 'predictions.csv'
    file.write_text(HEADER + 'lam=0.1 seed=2.02611e+07,1,u,s,A,0.3,0.7\n' * 2)
    with pytest.raises(UserError, match=r'same name.*seed=20261128; .*seed=20261129'):
        list(read_prediction_rows(file, runs))


def test_a_damaged_row_is_refused(tmp_path):
    """Such as one with a name whose carriage return is not quoted."""
    file = tmp_path / 'predictions.csv'
    file.write_bytes(HEADER.encode() + b'lam=0.1,1,u\r,s,A,0.3,0.7\n')
    with pytest.raises(UserError, match=r'predictions\.csv, line 2, .*outcome\.json'):
        list(read_prediction_rows(file, []))


@pytest.mark.parametrize('cells', [('0.5', 'nan'), ('nan', '0.5'), ('-0.1', '1'), ('0', '1.1')])
def test_what_is_no_posterior_is_refused(cells):
    """In any class, also of files of earlier versions, which have no checksum."""
    row = {'run': 'lam=0', 'fold': '1', 'utterance': 'u', 'speaker': 's', 'truth': 'A'}
    row |= dict(zip('AB', cells))
    with pytest.raises(UserError, match="'u' has a posterior that is not from 0 to 1"):
        read_predictions([row], ['A', 'B'])

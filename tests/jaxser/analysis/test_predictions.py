"""Tests of reading predictions.csv."""

import numpy as np
import pytest

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.analysis.predictions import (
    pool_predictions,
    read_prediction_rows,
    read_predictions,
)
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


RATING_ROW = {
    'run': 'lam=0',
    'fold': '1',
    'utterance': 'u',
    'speaker': 's',
    'truth_valence': '-0.25',
    'valence': '0.123456789',
    'truth_arousal': '1',
    'arousal': '-1',
}


def test_ratings_are_read_in_the_order_of_their_names():
    """Without classes, the fields about classes are None."""
    predictions = read_predictions([RATING_ROW, RATING_ROW], [], ['arousal', 'valence'])
    columns = predictions['lam=0', 1]
    assert (columns.truth_N, columns.predicted_N, columns.confidence_N) == (None, None, None)
    np.testing.assert_array_equal(columns.truth_NxA, [[1, -0.25]] * 2)
    np.testing.assert_array_equal(columns.rating_NxA, [[-1, 0.123456789]] * 2)
    assert columns.vote_kl_N is None


def test_classes_and_ratings_are_read_together():
    """With the divergence from the raters' votes, if training wrote it; folds are pooled."""
    row = RATING_ROW | {'truth': 'B', 'A': '0.2', 'B': '0.8', 'vote_kl': '0.5'}
    (columns,) = read_predictions([row], ['A', 'B'], ['valence']).values()
    pooled = pool_predictions([columns, columns])
    np.testing.assert_array_equal(pooled.truth_N, [1, 1])
    np.testing.assert_array_equal(pooled.rating_NxA, [[0.123456789]] * 2)
    np.testing.assert_array_equal(pooled.vote_kl_N, [0.5, 0.5])


def test_an_utterance_without_votes_has_no_divergence_from_them():
    row = RATING_ROW | {'truth': 'B', 'A': '0.2', 'B': '0.8', 'vote_kl': ''}
    (columns,) = read_predictions([row], ['A', 'B']).values()
    assert np.isnan(columns.vote_kl_N).all()


def test_columns_of_pooled_predictions_may_be_missing():
    (columns,) = read_predictions([RATING_ROW], [], ['valence']).values()
    pooled = pool_predictions([columns, columns])
    assert pooled.truth_N is None
    np.testing.assert_array_equal(pooled.speaker_N, ['s', 's'])


@pytest.mark.parametrize(
    ('column', 'cell', 'reason'),
    [
        ('valence', 'nan', 'a rating that is not from -1 to 1'),
        ('truth_valence', '1.5', 'a rating that is not from -1 to 1'),
        ('valence', '', 'a cell that cannot be used'),
        ('vote_kl', 'inf', 'a vote_kl that is not finite'),
        ('vote_kl', 'x', 'a cell that cannot be used'),
    ],
)
def test_what_is_no_rating_is_refused(column, cell, reason):
    row = RATING_ROW | {'truth': 'B', 'A': '0.2', 'B': '0.8'} | {column: cell}
    with pytest.raises(UserError, match=f"'u' has {reason}"):
        read_predictions([row], ['A', 'B'], ['valence'])


def test_a_missing_rating_is_refused():
    with pytest.raises(UserError, match='truth_dominance'):
        read_predictions([RATING_ROW], [], ['dominance'])

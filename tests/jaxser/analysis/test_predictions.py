"""Tests of reading predictions.csv."""

import numpy as np
import pytest
from helpers.finished_sweeps import as_block

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser.analysis.predictions import (
    pool_predictions,
    read_blocks,
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
    written = csv_files.BlockReader(csv_files.format_rows(rows).splitlines(keepends=True))
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
    (block,) = read_blocks(file, runs)
    labels = block['run']
    assert labels == [run_label(run['hyper'], LABEL_KEYS) for run in runs]
    assert labels == ['lam=0.1 seed=20261128', 'lam=0.3333333333333333 seed=20261128']


def test_a_label_of_two_runs_is_refused(tmp_path):
    """As an earlier version gave it: their predictions cannot be distinguished."""
    runs = [{'hyper': {'lam': 0.1, 'seed': seed, 'fold': 1}} for seed in (20261128, 20261129)]
    file = tmp_path / 'predictions.csv'
    file.write_text(HEADER + 'lam=0.1 seed=2.02611e+07,1,u,s,A,0.3,0.7\n' * 2)
    with pytest.raises(UserError, match=r'same name.*seed=20261128; .*seed=20261129'):
        list(read_blocks(file, runs))


def test_a_damaged_row_is_refused(tmp_path):
    """Such as one with a name whose carriage return is not quoted."""
    file = tmp_path / 'predictions.csv'
    file.write_bytes(HEADER.encode() + b'lam=0.1,1,u\r,s,A,0.3,0.7\n')
    with pytest.raises(UserError, match=r'predictions\.csv, line 2, .*outcome\.json'):
        list(read_blocks(file, []))


@pytest.mark.parametrize('cells', [('0.5', 'nan'), ('nan', '0.5'), ('-0.1', '1'), ('0', '1.1')])
def test_what_is_no_posterior_is_refused(cells):
    """In any class, also of files of earlier versions, which have no checksum."""
    row = {'run': 'lam=0', 'fold': '1', 'utterance': 'u', 'speaker': 's', 'truth': 'A'}
    row |= dict(zip('AB', cells))
    with pytest.raises(UserError, match="'u' has a posterior that is not from 0 to 1"):
        read_predictions([as_block([row])], ['A', 'B'])


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
    predictions = read_predictions([as_block([RATING_ROW] * 2)], [], ['arousal', 'valence'])
    columns = predictions['lam=0', 1]
    assert (columns.truth_N, columns.predicted_N, columns.confidence_N) == (None, None, None)
    np.testing.assert_array_equal(columns.truth_NxA, [[1, -0.25]] * 2)
    np.testing.assert_array_equal(columns.rating_NxA, [[-1, 0.123456789]] * 2)
    assert columns.vote_kl_N is None


def test_classes_and_ratings_are_read_together():
    """With the divergence from the raters' votes, if training wrote it; folds are pooled."""
    row = RATING_ROW | {'truth': 'B', 'A': '0.2', 'B': '0.8', 'vote_kl': '0.5'}
    (columns,) = read_predictions([as_block([row])], ['A', 'B'], ['valence']).values()
    pooled = pool_predictions([columns, columns])
    np.testing.assert_array_equal(pooled.truth_N, [1, 1])
    np.testing.assert_array_equal(pooled.rating_NxA, [[0.123456789]] * 2)
    np.testing.assert_array_equal(pooled.vote_kl_N, [0.5, 0.5])


def test_an_utterance_without_votes_has_no_divergence_from_them():
    row = RATING_ROW | {'truth': 'B', 'A': '0.2', 'B': '0.8', 'vote_kl': ''}
    (columns,) = read_predictions([as_block([row])], ['A', 'B']).values()
    assert np.isnan(columns.vote_kl_N).all()


def test_columns_of_pooled_predictions_may_be_missing():
    (columns,) = read_predictions([as_block([RATING_ROW])], [], ['valence']).values()
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
        read_predictions([as_block([row])], ['A', 'B'], ['valence'])


def test_a_missing_rating_is_refused():
    with pytest.raises(UserError, match='truth_dominance'):
        read_predictions([as_block([RATING_ROW])], [], ['dominance'])


def test_rows_of_runs_are_collected_wherever_they_are(tmp_path, monkeypatch):
    """A run may begin in one block and go on in another, after rows of other runs."""
    monkeypatch.setattr(csv_files, 'BLOCK_ROWS', 3)
    file = tmp_path / 'predictions.csv'
    order = 'aabbacbaab'
    lines = [f'{run},1,u{n},s{n},A,{n / 10},0\n' for n, run in enumerate(order)]
    file.write_text(HEADER + ''.join(lines[:4]) + '\n' + ''.join(lines[4:]))
    predictions = read_predictions(read_blocks(file, []), ['A', 'B'])
    assert list(predictions) == [('a', 1), ('b', 1), ('c', 1)]
    for run in 'abc':
        expected = [n / 10 for n, other in enumerate(order) if other == run]
        assert predictions[run, 1].confidence_N.tolist() == expected


def test_a_wrong_row_is_named_among_others():
    """The first one, by its utterance."""
    rows = [RATING_ROW | {'utterance': f'u{n}', 'truth': 'A', 'A': '1', 'B': '0'} for n in range(5)]
    rows[2]['B'] = 'x'
    rows[3]['truth'] = rows[4]['truth'] = 'C'
    with pytest.raises(UserError, match=r"'u2' has a cell that cannot be used.*'x'"):
        read_predictions([as_block(rows)], ['A', 'B'])
    rows[2]['B'] = '0'
    with pytest.raises(UserError, match=r"'u3' has a cell that cannot be used.*'C'"):
        read_predictions([as_block(rows)], ['A', 'B'])


def test_predictions_that_are_not_utf8_are_refused(tmp_path):
    file = tmp_path / 'predictions.csv'
    file.write_bytes(HEADER.encode() + b'lam=0,1,\xff,s,A,0.3,0.7\n')
    with pytest.raises(UserError, match=r'predictions\.csv is damaged: it is not UTF-8'):
        list(read_blocks(file, []))


def test_a_file_of_zeros_is_refused(tmp_path):
    """As a crash of the machine leaves it; its only line is longer than csv reads."""
    file = tmp_path / 'predictions.csv'
    file.write_bytes(bytes(200_000))
    with pytest.raises(UserError, match=r'predictions\.csv, line 1, is damaged: field larger'):
        list(read_blocks(file, []))

"""The equal error rate of speaker verification."""

import numpy as np
import pytest
from helpers import probing
from sklearn.metrics import roc_curve

from jaxser.analysis import metrics
from jaxser.probing.verification import verification_error


@pytest.mark.parametrize('distance', [0.0, 0.5, 2.0])
def test_the_equal_error_rate_is_that_of_scikit_learn(distance):
    """The crossing of the two rates of its curve; 0.5 where nothing separates the speakers."""
    random = np.random.default_rng(0)
    speaker_N = np.repeat(np.arange(4), 20)
    z_NxD = random.normal(size=(80, 8)) + distance * np.eye(8)[speaker_N]
    unit_NxD = z_NxD / np.linalg.norm(z_NxD, axis=1, keepdims=True)
    first, second = np.triu_indices(80, 1)
    is_same = speaker_N[first] == speaker_N[second]
    similarity = (unit_NxD @ unit_NxD.T)[first, second]
    false_alarms, hits, _ = roc_curve(is_same, similarity, drop_intermediate=False)
    crossing = np.argmin(np.abs(false_alarms - (1 - hits)))
    expected = (false_alarms[crossing] + 1 - hits[crossing]) / 2
    eer = metrics.equal_error_rate(z_NxD, speaker_N)
    assert eer == pytest.approx(expected, abs=5e-3)
    if distance:
        assert eer < 0.5


def test_equal_scores_give_an_equal_error_rate_of_one_half():
    """A representation that is one point; the order of the pairs makes no difference."""
    eer = metrics.equal_error_rate(np.ones((20, 3)), np.repeat([0, 1], 10))
    assert eer == pytest.approx(0.5)


def test_a_shift_of_the_whole_representation_changes_nothing():
    """The mean of the training data is subtracted."""
    table = probing.make_table()
    fold, speaker_N = table.folds[0], table.domain_N['speaker']
    # The table knows only training speakers: the tested ones get their numbers here.
    is_tested_N = np.isin(np.arange(len(speaker_N)), fold.test)
    speaker_N = np.where(is_tested_N, np.repeat(np.arange(8), 12), speaker_N)
    rows = fold.used_rows
    noise_NxD = np.random.default_rng(0).normal(size=(len(rows), 8))
    z_NxD = noise_NxD + np.eye(8)[speaker_N[rows]]
    plain = verification_error(z_NxD, rows, fold, speaker_N, 0)
    shifted = verification_error(z_NxD + 100.0, rows, fold, speaker_N, 0)
    assert plain['eer'] == pytest.approx(shifted['eer'], abs=1e-6)
    assert 0 < plain['eer'] < 0.5

"""Tests of the differences of speakers: their values and their rough intervals."""

import numpy as np
import pytest
from helpers.finished_sweeps import write_sweep

from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.analysis.speaker_differences import mean_over_classes, speaker_differences


def test_values_are_those_of_the_uar(tmp_path):
    """Mean over seeds of the differences in UAR, as from the confusion matrices."""
    write_sweep(tmp_path / 'w', probed=False, share_by_speaker=(0.4, 0.9, 0.6, 0.2) * 2)
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    best, plain = analysis.best_row, analysis.plain_row
    uar_ZxS = bootstrap.uar_from_counts(analysis.confusion_counts(best))
    plain_uar_ZxS = bootstrap.uar_from_counts(analysis.confusion_counts(plain))
    differences = speaker_differences(analysis, best, plain)
    assert [d.speaker for d in differences] == analysis.tested_speakers
    expected_S = uar_ZxS.mean(0) - plain_uar_ZxS.mean(0)
    np.testing.assert_allclose([d.value for d in differences], expected_S, atol=1e-12)


def test_the_interval_is_that_of_a_mean():
    """One class: 1.96 standard errors of the mean, from the deviation of the utterances."""
    value_N = np.array([0.0, 1.0, 0.0, 1.0])
    value, (low, high) = mean_over_classes(value_N, np.zeros(4, int))
    error = value_N.std(ddof=1) / 2
    assert (value, low, high) == pytest.approx((0.5, 0.5 - 1.96 * error, 0.5 + 1.96 * error))


def test_classes_count_equally():
    value, _ = mean_over_classes(np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1]))
    assert value == 0.5


@pytest.mark.parametrize('class_N', [[0, 0, 0, 1], [0, 0, 1, 1]])
def test_without_spread_there_is_no_interval(class_N):
    """Of a single utterance, nor where all differences are equal."""
    assert mean_over_classes(np.ones(4), np.array(class_N))[1] is None


def test_the_error_shrinks_with_the_number_of_utterances():
    """A simulation: 95 % intervals of a difference of 0 include it in about 95 % of draws."""
    random = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        value_N = random.choice([-1.0, 0.0, 1.0], 60)
        _, (low, high) = mean_over_classes(value_N, np.arange(60) % 3)
        covered.append(low <= 0 <= high)
    assert 0.91 < np.mean(covered) < 0.98

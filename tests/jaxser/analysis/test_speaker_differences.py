"""Tests of the differences of speakers: their values and their rough intervals."""

import numpy as np
import pytest
from helpers import rating_sweeps
from helpers.finished_sweeps import write_sweep

from jaxser.analysis import bootstrap, concordance
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.analysis.speaker_differences import (
    concordance_difference,
    mean_over_classes,
    speaker_differences,
)


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


def test_values_of_ratings_are_those_of_the_ccc(tmp_path):
    """Mean over ratings and seeds of the differences in CCC of the speaker's utterances."""
    rating_sweeps.write_sweep(tmp_path / 'w', probed=False)
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    best, plain = analysis.best_row, analysis.plain_row
    differences = speaker_differences(analysis, best, plain)
    assert [d.speaker for d in differences] == analysis.tested_speakers
    for s, difference in enumerate(differences):
        mask_S = np.arange(len(differences)) == s
        values = [analysis.statistics(row).select_speakers(mask_S) for row in (best, plain)]
        expected = values[0].value_by_seed().mean() - values[1].value_by_seed().mean()
        assert difference.value == pytest.approx(expected, abs=1e-12)
        assert difference.ci95[0] < difference.value < difference.ci95[1]


def test_the_interval_of_a_ccc_is_that_of_resampled_utterances():
    """The delta method, against a bootstrap of the utterances."""
    random = np.random.default_rng(0)
    truth_Nx1 = random.normal(size=(200, 1))
    index_N = np.arange(200)
    moments = []
    for noise in (0.5, 0.9):
        predicted_Nx1 = truth_Nx1 + random.normal(0, noise, (200, 1))
        moments.append(concordance.speaker_moments(index_N, truth_Nx1, predicted_Nx1)[None])
    value, (low, high) = concordance_difference(*moments)
    drawn = []
    for _ in range(1000):
        rows = random.integers(0, 200, 200)
        first, second = (moment[0, rows, 0].sum(0) for moment in moments)
        drawn.append(
            concordance.concordance_from_moments(first)
            - concordance.concordance_from_moments(second)
        )
    assert np.mean(drawn) == pytest.approx(value, abs=0.01)
    assert (high - low) / (2 * 1.96) == pytest.approx(np.std(drawn), rel=0.1)
    assert concordance_difference(moments[0], moments[0]) == (0.0, None)

"""Tests of the expected calibration error against closed forms."""

import numpy as np
import pytest

from jaxser.analysis import calibration


def test_the_calibration_error_is_0_where_confidence_equals_accuracy():
    bins = calibration.reliability_bins(np.full(100, 0.7), np.arange(100) < 70)
    assert bins.expected_error == pytest.approx(0)


def test_the_calibration_error_is_the_difference_of_confidence_and_accuracy():
    """0.4 where predictions with 90 % are correct every second time."""
    bins = calibration.reliability_bins(np.full(10, 0.9), np.arange(10) % 2 == 0)
    assert bins.expected_error == pytest.approx(0.4)


def test_a_confidence_of_1_is_in_the_last_bin():
    confidence_N = np.array([0.9] * 10 + [1.0] * 30)
    correct_N = np.array([True, False] * 5 + [True] * 30)
    bins = calibration.reliability_bins(confidence_N, correct_N)
    assert bins.expected_error == pytest.approx(0.1)
    assert bins.share_B.tolist() == [0.25, 0.75]


def test_bins_start_where_their_predictions_were_sorted():
    """The rounded mean of equal confidences at an edge may be below the edge."""
    bins = calibration.reliability_bins(np.full(10, 0.8), np.full(10, True))
    assert bins.start_B.tolist() == [12 / 15]


def test_wilson_intervals_are_those_of_the_closed_form():
    """Of 0 and of 10 correct ones in 10, one end is the share and the other z² / (n + z²) away."""
    correct_N = np.arange(20) >= 10
    bins = calibration.reliability_bins(np.repeat([0.1, 0.9], 10), correct_N)
    away = 1.96**2 / (10 + 1.96**2)
    (low, high), (other_low, other_high) = calibration.wilson_intervals(bins)
    assert (low, high) == pytest.approx((0, away))
    assert (other_low, other_high) == pytest.approx((1 - away, 1))

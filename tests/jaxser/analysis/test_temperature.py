"""The temperature by which a model's scores are divided."""

import numpy as np
import pytest

from jaxser.analysis import calibration


def test_the_temperature_of_scores_three_times_too_large_is_three():
    """It undoes the scaling of scores from whose softmax the labels are drawn; decisions stay."""
    random = np.random.default_rng(0)
    true_NxC = calibration.apply_temperature(np.exp(random.normal(size=(20_000, 4))), 1.0)
    label_N = (random.random((20_000, 1)) > true_NxC.cumsum(1)).sum(1)
    overconfident_NxC = calibration.apply_temperature(true_NxC, 1 / 3)
    fit = calibration.fit_temperature(overconfident_NxC, label_N)
    assert fit['temperature'] == pytest.approx(3, rel=0.03)
    assert fit['nll'] < fit['nll_before'] - 0.1
    calibrated_NxC = calibration.apply_temperature(overconfident_NxC, fit['temperature'])
    nll = calibration.negative_log_likelihood(calibrated_NxC, label_N)
    assert fit['nll'] == pytest.approx(nll)
    np.testing.assert_array_equal(calibrated_NxC.argmax(1), overconfident_NxC.argmax(1))
    np.testing.assert_allclose(calibrated_NxC, true_NxC, atol=0.02)


@pytest.mark.parametrize('label', [0, 1])
def test_the_temperature_is_bounded(label):
    """Even if all predictions are right, or all wrong; without utterances it is 1."""
    p_NxC = np.tile([0.9, 0.1], (8, 1))
    fit = calibration.fit_temperature(p_NxC, np.full(8, label))
    assert calibration.MIN_TEMPERATURE <= fit['temperature'] <= calibration.MAX_TEMPERATURE
    assert fit['nll'] <= fit['nll_before']
    assert calibration.fit_temperature(p_NxC[:0], np.zeros(0, int))['temperature'] == 1.0

"""Tests of LabelGrad over a linear encoder."""

import chex
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, Case, differences, emotion_each, emotion_loss, encode

EPS, ALPHA = 1.5, 0.3


@pytest.fixture(scope='module')
def case():
    return Case('labelgrad')


def test_value_and_gradients_equal_the_formula(case):
    """Only labelled examples and valid frames are moved; the moved features are constants."""
    labelled_B = BATCH['labelled_B'] > 0
    valid_BxT = np.arange(linear.T) < BATCH['frames_B'][:, None]

    def summed_loss(mel_BxTxM):
        z_BxD = encode(case.float64_params, mel_BxTxM)
        return (emotion_each(case.float64_params, z_BxD) * labelled_B).sum()

    gradient = differences(summed_loss, np.float64(BATCH['mel_BxTxM']))
    x_e = BATCH['mel_BxTxM'] + EPS * np.clip(gradient, -0.1, 0.1) * valid_BxT[..., None]

    def formula(params):
        clean = emotion_loss(params, encode(params))
        return (1 - ALPHA) * clean + ALPHA * emotion_loss(params, encode(params, x_e))

    (value, aux), gradient = case.value_and_gradient(eps=EPS, alpha=ALPHA)
    assert value == pytest.approx(formula(case.float64_params), rel=1e-6)
    assert value > case.value_and_gradient(eps=0)[0][0] + 1e-3  # the moved features are harder
    chex.assert_trees_all_close(
        gradient, differences(formula, case.float64_params), rtol=1e-5, atol=1e-5
    )
    shift_B = np.sqrt(((x_e - BATCH['mel_BxTxM']) ** 2).sum((1, 2)))
    assert aux.metrics['emotion_shift'] == pytest.approx(shift_B.mean(), rel=1e-5)
    assert aux.batch_stats['mean'] == pytest.approx(BATCH['mel_BxTxM'].mean(), rel=1e-6)


def test_at_alpha_0_it_equals_plain_training(case):
    """The gradients are equal to the bit."""
    chex.assert_trees_all_equal(case.gradient(alpha=0), Case('erm').gradient())

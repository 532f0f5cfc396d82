"""Tests of CORAL over a linear encoder."""

import chex
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, Case, differences, emotion_loss, encode

from jaxser.methods import coral

LAM = 7.0


@pytest.fixture(scope='module')
def case():
    return Case('coral')


def distance(z_BxD, target_B) -> float:
    source, target = (np.cov(z_BxD[target_B == t], rowvar=False) for t in (0, 1))
    return ((source - target) ** 2).sum() / (4 * linear.D**2)


def test_value_and_gradients_equal_the_formula(case):
    """The formula of Sun & Saenko, over the source and target examples of the batch."""

    def formula(params):
        return emotion_loss(params, encode(params)) + LAM * distance(
            encode(params), BATCH['target_B']
        )

    (value, _), gradient = case.value_and_gradient(lam=LAM)
    assert value == pytest.approx(formula(case.float64_params), rel=1e-6)
    chex.assert_trees_all_close(
        gradient, differences(formula, case.float64_params), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize('count', range(linear.B + 1))
def test_the_distance_follows_the_formula_and_is_0_for_too_few_examples(case, count):
    """With fewer than two examples of source or target, the gradient is that of plain training."""
    target_B = np.float32(np.random.default_rng(count).permutation(linear.B) < count)
    if 2 <= count <= linear.B - 2:
        z_BxD = encode(case.float64_params)
        assert coral.coral_distance(np.float32(z_BxD), target_B) == pytest.approx(
            distance(z_BxD, target_B), rel=1e-5
        )
        return
    (_, aux), gradient = case.value_and_gradient(batch=BATCH | {'target_B': target_B}, lam=LAM)
    assert aux.metrics['coral'] == 0
    chex.assert_trees_all_equal(gradient, case.gradient(lam=0))

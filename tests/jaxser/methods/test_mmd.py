"""Tests of MMD over a linear encoder."""

import itertools

import chex
import jax
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, Case, differences, emotion_loss, encode

from jaxser.methods import mmd

LAM = 0.7


@pytest.fixture(scope='module')
def case():
    return Case('mmd')


def median(z_BxD) -> float:
    return np.median([((a - b) ** 2).sum() for a, b in itertools.combinations(z_BxD, 2)])


def distance(z_BxD, target_B, m: float) -> float:
    """Returns squared MMD, pair by pair."""

    def k(x, y):
        return np.mean([np.exp(-((x - y) ** 2).sum() / (u * m)) for u in (0.25, 0.5, 1, 2, 4)])

    source, target = z_BxD[target_B == 0], z_BxD[target_B == 1]
    within_source = np.mean([k(x, y) for x, y in itertools.permutations(source, 2)])
    within_target = np.mean([k(x, y) for x, y in itertools.permutations(target, 2)])
    across = np.mean([k(x, y) for x, y in itertools.product(source, target)])
    return within_source + within_target - 2 * across


def test_value_and_gradients_equal_the_formula(case):
    """The median bandwidth is a constant."""
    m = median(encode(case.float64_params))

    def formula(params):
        z_BxD = encode(params)
        return emotion_loss(params, z_BxD) + LAM * distance(z_BxD, BATCH['target_B'], m)

    def formula_of_encoder(encoder_params):
        return formula(case.float64_params | {'encoder': encoder_params})

    (value, _), gradient = case.value_and_gradient(lam=LAM)
    assert value == pytest.approx(formula(case.float64_params), rel=1e-5)
    chex.assert_trees_all_close(
        gradient['encoder'],
        differences(formula_of_encoder, case.float64_params['encoder']),
        rtol=1e-5,
        atol=1e-5,
    )
    chex.assert_trees_all_equal(gradient['emotion'], case.gradient(lam=0)['emotion'])


@pytest.mark.parametrize('count', range(linear.B + 1))
def test_the_distance_follows_the_formula_and_is_0_for_too_few_examples(case, count):
    """With fewer than two examples of source or target, the gradient is that of plain training."""
    target_B = np.float32(np.random.default_rng(count).permutation(linear.B) < count)
    if 2 <= count <= linear.B - 2:
        z_BxD = encode(case.float64_params)
        assert mmd.squared_mmd(np.float32(z_BxD), target_B) == pytest.approx(
            distance(z_BxD, target_B, median(z_BxD)), abs=1e-5
        )
        return
    (_, aux), gradient = case.value_and_gradient(batch=BATCH | {'target_B': target_B}, lam=LAM)
    assert aux.metrics['mmd'] == 0
    chex.assert_trees_all_equal(gradient, case.gradient(lam=0))


def test_equal_points_have_no_distance_and_no_gradient():
    """Although their median distance, by which the kernels are scaled, is 0."""
    value, gradient = jax.value_and_grad(mmd.squared_mmd)(
        np.ones((linear.B, linear.D), np.float32), BATCH['target_B']
    )
    assert value == pytest.approx(0, abs=1e-6)
    assert (gradient == 0).all()

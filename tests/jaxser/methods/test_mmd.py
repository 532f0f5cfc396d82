"""Kernel distance of source and target, on an encoder of one matrix."""

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
    """Pair by pair."""

    def k(x, y):
        return np.mean([np.exp(-((x - y) ** 2).sum() / (u * m)) for u in (0.25, 0.5, 1, 2, 4)])

    source, target = z_BxD[target_B == 0], z_BxD[target_B == 1]
    own = sum(
        np.mean([k(x, y) for x, y in itertools.permutations(some, 2)]) for some in (source, target)
    )
    return own - 2 * np.mean([k(x, y) for x, y in itertools.product(source, target)])


def test_value_and_gradients_are_the_formula(case):
    """The median bandwidth is a constant."""
    m = median(encode(case.float64_params))

    def formula(params):
        return emotion_loss(params, encode(params)) + LAM * distance(
            encode(params), BATCH['target_B'], m
        )

    (value, _), gradient = case.value_and_gradient(lam=LAM)
    assert value == pytest.approx(formula(case.float64_params), rel=1e-5)
    chex.assert_trees_all_close(
        gradient['encoder'],
        differences(
            lambda e: formula(case.float64_params | {'encoder': e}), case.float64_params['encoder']
        ),
        rtol=1e-5,
        atol=1e-5,
    )
    chex.assert_trees_all_equal(gradient['emotion'], case.gradient(lam=0)['emotion'])


@pytest.mark.parametrize('count', range(linear.B + 1))
def test_any_mix_is_right_and_too_few_are_0(case, count):
    """With fewer than two of either, the gradient is that of plain training."""
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


def test_points_in_one_place_have_no_distance_and_no_gradient():
    """The median of the bandwidth is 0 there."""
    value, gradient = jax.value_and_grad(mmd.squared_mmd)(
        np.ones((linear.B, linear.D), np.float32), BATCH['target_B']
    )
    assert value == pytest.approx(0, abs=1e-6)
    assert (gradient == 0).all()

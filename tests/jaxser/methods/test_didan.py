"""Tests of DIDAN, regression and implicit alignment, over a linear encoder."""

import chex
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, Case, differences, encode

from jaxser.methods import _sparse_coding

LAM, TAU = 0.7, 0.2
TARGET_B = BATCH['target_B'] > 0


@pytest.fixture(scope='module')
def case():
    return Case('didan')


def regression(params, z_BxD) -> float:
    error_B = (
        (linear.linear(params['emotion'], z_BxD) - np.eye(linear.C)[BATCH['emotion_B']]) ** 2
    ).sum(-1)
    return (error_B * BATCH['labelled_B']).sum() / BATCH['labelled_B'].sum()


def unit_rows(z_BxD) -> np.ndarray:
    return z_BxD / np.linalg.norm(z_BxD, axis=1, keepdims=True)


def test_value_and_gradients_equal_the_formula(case):
    """Targets are reconstructed from sources, rows have norm 1, and W is a constant."""
    f_BxD = unit_rows(encode(case.float64_params))
    W = np.float64(
        _sparse_coding.sparse_mixture(
            np.float32(f_BxD[TARGET_B]), np.float32(f_BxD[~TARGET_B]), TAU
        )
    )

    def residual(params):
        f_BxD = unit_rows(encode(params))
        return ((f_BxD[TARGET_B] - W @ f_BxD[~TARGET_B]) ** 2).sum() / TARGET_B.sum()

    def formula(params):
        return regression(params, encode(params)) + LAM * (
            residual(params) + TAU * np.abs(W).sum() / TARGET_B.sum()
        )

    (value, aux), gradient = case.value_and_gradient(lam=LAM, tau=TAU)
    assert value == pytest.approx(formula(case.float64_params), rel=1e-4)
    chex.assert_trees_all_close(
        gradient, differences(formula, case.float64_params), rtol=1e-4, atol=1e-4
    )
    assert aux.metrics['residual'] == pytest.approx(residual(case.float64_params), rel=1e-3)
    assert aux.metrics['nonzeros'] == pytest.approx((W != 0).sum() / TARGET_B.sum())
    aligned = np.abs(
        case.gradient(lam=LAM, tau=TAU)['encoder']['w'] - case.gradient(lam=0)['encoder']['w']
    )
    assert aligned.max() > 0.01


@pytest.mark.parametrize('target_B', [np.zeros(linear.B), np.ones(linear.B)])
def test_without_source_or_target_the_alignment_is_0(case, target_B):
    """The gradient is that of the regression."""
    (value, aux), gradient = case.value_and_gradient(
        batch=BATCH | {'target_B': np.float32(target_B)}
    )
    assert (aux.metrics['residual'], aux.metrics['nonzeros']) == (0, 0)
    assert value == pytest.approx(
        regression(case.float64_params, encode(case.float64_params)), rel=1e-6
    )
    chex.assert_trees_all_equal(gradient, case.gradient(lam=0))


def test_rows_of_zeros_get_no_alignment_gradient(case):
    """z = 0 has norm 0: nothing is divided by it."""
    zero_params = case.params | {'encoder': {'w': np.zeros((linear.M, linear.D), np.float32)}}
    (value, _), gradient = case.value_and_gradient(zero_params)
    assert np.isfinite(value)
    chex.assert_trees_all_close(gradient, case.gradient(zero_params, lam=0), rtol=1e-7, atol=1e-7)


def test_scores_are_the_outputs_of_the_regression(case):
    """They are not passed through a softmax."""
    _, scores_BxC = case.method.predict(case.params, case.state.batch_stats, BATCH)
    chex.assert_trees_all_close(
        scores_BxC,
        linear.linear(case.float64_params['emotion'], encode(case.float64_params, keep_BxD=1)),
        rtol=1e-5,
        atol=1e-5,
    )

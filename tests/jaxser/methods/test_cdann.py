"""Tests of cdann, with a domain head for each emotion, over a linear encoder."""

import chex
import jax
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, Case, differences, domain_each, emotion_loss, encode

LAM, WEIGHT = 0.7, 0.5
COUNTS_B = (BATCH['labelled_B'] > 0) & (BATCH['speaker_B'] >= 0)


@pytest.fixture(scope='module')
def case():
    return Case('cdann')


def domain_loss(params, z_BxD) -> float:
    """Returns the mean CE by the head of the emotion, over labelled examples of known speaker."""
    losses_CxB = np.stack(
        [domain_each(params['speaker'][str(c)], 'speaker', z_BxD) for c in range(linear.C)]
    )
    return losses_CxB[BATCH['emotion_B'], np.arange(linear.B)][COUNTS_B].mean()


def test_gradients_equal_finite_differences(case):
    """The encoder gets emotion minus lam ramp(p) domain; each head gets that of its own loss."""
    (value, aux), gradient = case.value_and_gradient(lam=LAM, domain_weight=WEIGHT)
    emotion = differences(lambda p: emotion_loss(p, encode(p)), case.float64_params)
    domain = differences(lambda p: WEIGHT * domain_loss(p, encode(p)), case.float64_params)

    def reverse(emotion_gradient, domain_gradient):
        return emotion_gradient - LAM * linear.RAMPED * domain_gradient

    chex.assert_trees_all_close(
        gradient['encoder'],
        jax.tree.map(reverse, emotion['encoder'], domain['encoder']),
        rtol=1e-5,
        atol=1e-5,
    )
    chex.assert_trees_all_close(gradient['emotion'], emotion['emotion'], rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(gradient['speaker'], domain['speaker'], rtol=1e-5, atol=1e-5)
    z_BxD = encode(case.float64_params)
    assert value == pytest.approx(
        emotion_loss(case.float64_params, z_BxD) + WEIGHT * domain_loss(case.float64_params, z_BxD),
        rel=1e-6,
    )
    assert aux.metrics['lam_p'] == pytest.approx(LAM * linear.RAMPED)


def test_a_head_is_trained_by_its_own_emotion_only(case):
    """If only one emotion has labels, the heads of the others get no gradient."""
    batch = BATCH | {'labelled_B': BATCH['labelled_B'] * (BATCH['emotion_B'] == 1)}
    has_gradient = {}
    for emotion, gradient in case.gradient(batch=batch)['speaker'].items():
        has_gradient[emotion] = any(x.any() for x in jax.tree.leaves(gradient))
    assert has_gradient == {'0': False, '1': True, '2': False}


def test_with_one_emotion_cdann_equals_dann():
    """If all examples are labelled and there is one class, loss and gradients are equal."""
    batch = BATCH | {
        'emotion_B': np.zeros(linear.B, int),
        'labelled_B': np.ones(linear.B, np.float32),
    }
    sizes = linear.SIZES._replace(emotions=1)
    cdann = Case('cdann', sizes=sizes)
    params = cdann.params | {'speaker': cdann.params['speaker']['0']}
    (value, _), gradient = cdann.value_and_gradient(batch=batch)
    (expected, _), dann_gradient = Case('dann', sizes=sizes).value_and_gradient(params, batch)
    assert value == pytest.approx(expected, rel=1e-6)
    chex.assert_trees_all_close(
        gradient | {'speaker': gradient['speaker']['0']}, dann_gradient, rtol=1e-6, atol=1e-6
    )

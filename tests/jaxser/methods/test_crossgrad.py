"""Tests of cross-gradient training over a linear encoder."""

import chex
import numpy as np
import pytest
from helpers import linear
from helpers.linear import (
    BATCH,
    Case,
    differences,
    domain_each,
    domain_loss,
    emotion_each,
    emotion_loss,
    encode,
)

EPS, ALPHA = 1.5, 0.3
VALID_BxTx1 = (np.arange(linear.T) < BATCH['frames_B'][:, None])[..., None]


def move_features(example_losses, mask_B) -> np.ndarray:
    """Returns the features plus eps times the clipped gradient, by finite differences.

    Padded frames and masked examples are not moved.
    """
    gradient = differences(
        lambda mel: (example_losses(mel) * mask_B).sum(), np.float64(BATCH['mel_BxTxM'])
    )
    clipped = np.abs(gradient) > 0.1
    assert clipped.any()
    assert not clipped[(gradient != 0) & VALID_BxTx1].all()
    return BATCH['mel_BxTxM'] + EPS * np.clip(gradient, -0.1, 0.1) * VALID_BxTx1


@pytest.mark.parametrize('domain', ['speaker', 'speaker+language'])
def test_value_and_gradients_equal_the_formula(domain):
    """The batch has unlabelled and unknown examples, padding, weights and unseen speakers.

    The moved features are constants.
    """
    case = Case('crossgrad', domain)
    domains = domain.split('+')
    float64_params = case.float64_params
    x_e = move_features(
        lambda mel: emotion_each(float64_params, encode(float64_params, mel)),
        BATCH['labelled_B'] > 0,
    )

    def summed_domain_losses(mel):
        return sum(domain_each(float64_params[d], d, encode(float64_params, mel)) for d in domains)

    x_d = move_features(summed_domain_losses, np.ones(linear.B))

    def formula(params):
        z, z_e, z_d = (encode(params, mel) for mel in (BATCH['mel_BxTxM'], x_e, x_d))
        clean = emotion_loss(params, z) + sum(domain_loss(params[d], d, z) for d in domains)
        crossed = emotion_loss(params, z_d) + sum(domain_loss(params[d], d, z_e) for d in domains)
        return (1 - ALPHA) * clean + ALPHA * crossed

    (value, aux), gradient = case.value_and_gradient(eps=EPS, alpha=ALPHA)
    assert value == pytest.approx(formula(float64_params), rel=1e-6)
    chex.assert_trees_all_close(
        gradient, differences(formula, float64_params), rtol=1e-5, atol=1e-5
    )
    for name, x in (('emotion', x_e), ('domain', x_d)):
        shift_B = np.sqrt(((x - BATCH['mel_BxTxM']) ** 2).sum((1, 2)))
        assert aux.metrics[f'{name}_shift'] == pytest.approx(shift_B.mean(), rel=1e-5)


def test_only_the_original_features_update_the_running_statistics():
    """The passes over moved features do not."""
    (_, aux), _ = Case('crossgrad').value_and_gradient()
    assert aux.batch_stats['mean'] == pytest.approx(BATCH['mel_BxTxM'].mean(), rel=1e-6)


def test_without_labels_the_emotion_head_gets_no_gradient():
    """Without labels x_e = x, so the domain heads train on x twice."""
    case = Case('crossgrad')
    unlabelled = BATCH | {'labelled_B': np.zeros(linear.B, np.float32)}
    (value, aux), gradient = case.value_and_gradient(batch=unlabelled)
    assert value == pytest.approx(
        domain_loss(case.float64_params['speaker'], 'speaker', encode(case.float64_params)),
        rel=1e-6,
    )
    assert aux.metrics['emotion_shift'] == 0
    assert not gradient['emotion']['layers_0']['kernel'].any()

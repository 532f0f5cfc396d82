"""Tests of domain confusion over a linear encoder."""

import chex
import jax
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, Case, differences, domain_log_p, domain_loss, emotion_loss, encode

LAM = 0.7


def confusion(params, domain: str, z_BxD) -> float:
    """Returns CE(uniform over the seen domains, p) of the examples of known domain."""
    known_B = BATCH[f'{domain}_B'] >= 0
    return (
        -domain_log_p(params[domain], domain, z_BxD)[known_B].sum()
        / BATCH[f'{domain}_seen_K'].sum()
        / known_B.sum()
    )


@pytest.mark.parametrize('domain', ['speaker', 'speaker+language'])
def test_gradients_equal_finite_differences(domain):
    """The encoder learns with constant heads, and each head with constant z."""
    case = Case('confusion', domain)
    domains = domain.split('+')
    z_BxD = encode(case.float64_params)
    lam = LAM * linear.RAMPED
    (value, aux), gradient = case.value_and_gradient(lam=LAM)

    def encoder_objective(params):
        return emotion_loss(params, encode(params)) + lam * sum(
            confusion(params, d, encode(params)) for d in domains
        )

    def heads_objective(params):
        return emotion_loss(params, z_BxD) + sum(domain_loss(params[d], d, z_BxD) for d in domains)

    expected = differences(heads_objective, case.float64_params) | {
        'encoder': differences(encoder_objective, case.float64_params)['encoder']
    }
    chex.assert_trees_all_close(gradient, expected, rtol=1e-5, atol=1e-5)
    total = (
        encoder_objective(case.float64_params)
        + heads_objective(case.float64_params)
        - emotion_loss(case.float64_params, z_BxD)
    )
    assert value == pytest.approx(total, rel=1e-6)
    for d in domains:
        assert aux.metrics[f'{d}_confusion'] == pytest.approx(
            confusion(case.float64_params, d, z_BxD), rel=1e-6
        )


def test_uniform_scores_give_the_encoder_no_gradient():
    """At uniform scores the confusion is log K, its minimum."""
    case = Case('confusion')
    uniform_params = case.params | {'speaker': jax.tree.map(np.zeros_like, case.params['speaker'])}
    (_, aux), gradient = case.value_and_gradient(uniform_params, lam=5)
    assert aux.metrics['speaker_confusion'] == pytest.approx(
        np.log(BATCH['speaker_seen_K'].sum()), rel=1e-6
    )
    chex.assert_trees_all_close(
        gradient['encoder'], case.gradient(uniform_params, lam=0)['encoder'], rtol=1e-7, atol=1e-7
    )

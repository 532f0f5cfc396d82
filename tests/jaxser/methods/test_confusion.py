"""An encoder that wants the domain head undecided, and a head that wants to know, on an encoder of one matrix."""

import chex
import jax
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, Case, differences, domain_log_p, domain_loss, emotion_loss, encode

LAM = 0.7


def confusion(params, domain: str, z_BxD) -> float:
    """CE(uniform over the seen, p) of the examples whose domain is known."""
    known_B = BATCH[f'{domain}_B'] >= 0
    return (
        -domain_log_p(params[domain], domain, z_BxD)[known_B].sum()
        / BATCH[f'{domain}_seen_K'].sum()
        / known_B.sum()
    )


@pytest.mark.parametrize('domain', ['speaker', 'speaker+language'])
def test_gradients_are_those_of_the_players(domain):
    """Encoder: emotion and confusion, the heads constant; heads: their own loss, the encoder constant."""
    case, domains = Case('confusion', domain), domain.split('+')
    z_BxD, lam = encode(case.float64_params), LAM * linear.RAMPED
    (value, aux), found = case.value_and_gradient(lam=LAM)

    def of_encoder(params):
        return emotion_loss(params, encode(params)) + lam * sum(
            confusion(params, d, encode(params)) for d in domains
        )

    def of_heads(params):
        return emotion_loss(params, z_BxD) + sum(domain_loss(params[d], d, z_BxD) for d in domains)

    expected = differences(of_heads, case.float64_params) | {
        'encoder': differences(of_encoder, case.float64_params)['encoder']
    }
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-5)
    everything = (
        of_encoder(case.float64_params)
        + of_heads(case.float64_params)
        - emotion_loss(case.float64_params, z_BxD)
    )
    assert value == pytest.approx(everything, rel=1e-6)
    for d in domains:
        assert aux.metrics[f'{d}_confusion'] == pytest.approx(
            confusion(case.float64_params, d, z_BxD), rel=1e-6
        )


def test_an_undecided_head_leaves_the_encoder_alone():
    """At uniform scores over the seen the confusion is log K, its least, and its gradient 0."""
    case = Case('confusion')
    flat = case.params | {'speaker': jax.tree.map(np.zeros_like, case.params['speaker'])}
    (_, aux), found = case.value_and_gradient(flat, lam=5)
    assert aux.metrics['speaker_confusion'] == pytest.approx(
        np.log(BATCH['speaker_seen_K'].sum()), rel=1e-6
    )
    chex.assert_trees_all_close(
        found['encoder'], case.gradient(flat, lam=0)['encoder'], rtol=1e-7, atol=1e-7
    )

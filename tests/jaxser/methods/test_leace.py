"""Tests of linear erasure: its closed form on synthetic z, and training over a linear encoder."""

import chex
import jax
import numpy as np
import pytest
import scipy.linalg
from helpers import linear
from helpers.linear import BATCH, SIZES, Case, encode
from ml_collections import ConfigDict

from jaxser import plugins
from jaxser.methods import leace
from jaxser.training import step

N, D, K = 200, 6, 4


def make_representation(
    domains: int = K, mix_DxD: np.ndarray | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns synthetic z_NxD and index_N; mean and spread of z depend on the domain.

    z is mixed by a matrix if one is given.
    """
    r = np.random.default_rng(seed)
    index_N = np.append(
        np.arange(domains),
        r.choice(domains, N - domains, p=np.arange(1, domains + 1) / np.arange(domains + 1).sum()),
    )
    z_NxD = (
        5
        + r.normal(size=(domains, D))[index_N]
        + r.uniform(0.5, 2, (domains, 1))[index_N] * r.normal(size=(N, D))
    )
    return np.float32(z_NxD @ (r.normal(size=(D, D)) if mix_DxD is None else mix_DxD)), index_N


def erased(z_NxD: np.ndarray, index: dict) -> np.ndarray:
    A_DxD, mean_D = leace.fit_eraser(z_NxD, index)
    return z_NxD - (z_NxD - mean_D) @ A_DxD.T


def centred(x_NxK: np.ndarray) -> np.ndarray:
    return x_NxK - x_NxK.mean(0)


def covariance(z_NxD: np.ndarray, index_N: np.ndarray) -> np.ndarray:
    """Returns Sigma_zd over the rows of known domain."""
    known = index_N >= 0
    d_NxK = np.eye(index_N.max() + 1)[index_N[known]]
    return centred(np.float64(z_NxD)[known]).T @ centred(d_NxK) / known.sum()


LINE = np.diag([1, 1e-4, 1, 1, 1, 1]) @ np.random.default_rng(1).normal(size=(D, D))
FLAT = np.random.default_rng(1).normal(size=(D, 3)) @ np.random.default_rng(2).normal(size=(3, D))
CASES = {
    'fewer domains than directions': make_representation(),
    'two domains': make_representation(2),
    'more domains than directions': make_representation(9),
    'a narrow direction': make_representation(mix_DxD=LINE),
    'a singular covariance': make_representation(3, FLAT),
    'silent units': make_representation(mix_DxD=np.diag([1, 0, 1, 0, 1, 1])),
}


@pytest.mark.parametrize(('z_NxD', 'index_N'), CASES.values(), ids=CASES)
def test_no_linear_trace_of_the_domain_is_left(z_NxD, index_N):
    """The cross-covariance falls to 1e-6, and least squares predict the prior for every row."""
    r_NxD = erased(z_NxD, {'speaker': index_N})
    before, after = (np.linalg.norm(covariance(x, index_N)) for x in (z_NxD, r_NxD))
    assert after < 1e-6 * before
    d_NxK = np.eye(index_N.max() + 1)[index_N]
    probe = np.c_[np.ones(N), centred(r_NxD)]
    fit, *_ = np.linalg.lstsq(probe, d_NxK, rcond=1e-6)
    np.testing.assert_allclose(probe @ fit, np.tile(d_NxK.mean(0), (N, 1)), atol=1e-6)


def test_k_domains_take_k_minus_1_directions():
    """If z has no more directions, only the mean is left. The mean itself never changes."""
    ranks = []
    for domains in (2, 4, 9):
        z_NxD, index_N = make_representation(domains)
        r_NxD = erased(z_NxD, {'speaker': index_N})
        ranks.append(D - np.linalg.matrix_rank(centred(r_NxD), tol=1e-6))
        np.testing.assert_allclose(r_NxD.mean(0), z_NxD.mean(0, dtype=float), rtol=1e-6)
    assert ranks == [1, 3, D]


def test_the_eraser_is_the_oblique_projection():
    """It projects onto the columns of Sigma_zd along Sigma_zz^-1, by another formula in scipy."""
    z_NxD, index_N = make_representation()
    sigma_zz = np.cov(np.float64(z_NxD).T, bias=True)
    B = scipy.linalg.orth(covariance(z_NxD, index_N), rcond=1e-10)
    S_inverse_B = scipy.linalg.solve(sigma_zz, B, assume_a='pos')
    expected = B @ scipy.linalg.solve(B.T @ S_inverse_B, S_inverse_B.T)
    A_DxD, mean_D = leace.fit_eraser(z_NxD, {'speaker': index_N})
    np.testing.assert_allclose(A_DxD, expected, atol=1e-9)
    np.testing.assert_allclose(mean_D, z_NxD.mean(0, dtype=float))


def test_no_other_eraser_changes_less():
    """No linear map without cross-covariance has a smaller mean square, in any inner product."""
    z_NxD, index_N = make_representation()
    A_DxD, _ = leace.fit_eraser(z_NxD, {'speaker': index_N})
    x_NxD, r = centred(np.float64(z_NxD)), np.random.default_rng(3)
    B = scipy.linalg.orth(covariance(z_NxD, index_N), rcond=1e-10)
    complement = np.eye(D) - B @ B.T
    for n in range(50):
        removed = B @ B.T + (r.normal(size=(D, D)) * 0.1 ** (n % 4) @ complement if n else 0)
        nearby = A_DxD + r.normal(size=(D, D)) * 1e-3 @ complement
        for other in (removed, nearby):
            assert np.abs(covariance(x_NxD - x_NxD @ other.T, index_N)).max() < 1e-12
            for scale in (np.eye(D), r.normal(size=(D, D))):
                assert ((x_NxD @ A_DxD.T @ scale) ** 2).sum() < (
                    (x_NxD @ other.T @ scale) ** 2
                ).sum()


def test_without_a_linear_trace_nothing_is_erased():
    """If all domains have the same z, or z never varies, r is the identity."""
    z_NxD = np.tile(make_representation()[0][:50], (4, 1))
    assert not leace.fit_eraser(z_NxD, {'speaker': np.repeat(np.arange(4), 50)})[0].any()
    assert not leace.fit_eraser(np.ones((8, D)), {'speaker': np.arange(8) % 2})[0].any()


def test_rows_of_unknown_domain_are_left_out():
    """Each of several domains is erased by means of the rows in which it is known."""
    z_NxD, index_N = make_representation()
    known = np.random.default_rng(4).random(N) < 0.7
    marked = np.where(known, index_N, -1)
    for actual, expected in zip(
        leace.fit_eraser(z_NxD, {'speaker': marked}),
        leace.fit_eraser(z_NxD[known], {'speaker': index_N[known]}),
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-12)
    language_N = (z_NxD[:, 0] > z_NxD[:, 0].mean()).astype(int) - 2 * (np.arange(N) % 5 == 0)
    language_N = np.maximum(language_N, -1)
    index = {'speaker': marked, 'language': language_N}
    assert np.linalg.matrix_rank(leace.fit_eraser(z_NxD, index)[0], tol=1e-6) == 3 + 1
    for domain_N in index.values():
        assert np.linalg.norm(covariance(erased(z_NxD, index), domain_N)) < 1e-6 * np.linalg.norm(
            covariance(z_NxD, domain_N)
        )


def test_gaps_among_domain_indices_do_not_matter():
    """Every fold has gaps, since it has not all speakers."""
    z_NxD, index_N = make_representation()
    for actual, expected in zip(
        leace.fit_eraser(z_NxD, {'speaker': 3 * index_N + 2}),
        leace.fit_eraser(z_NxD, {'speaker': index_N}),
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-12)


@pytest.fixture(scope='module')
def case():
    return Case('leace')


def test_predictions_are_those_of_the_trained_head_on_erased_z(case):
    """Before the fit they are erm's; afterwards the head reads r(z) in float32."""
    plain = Case('erm')
    chex.assert_trees_all_equal(
        case.method.predict(case.params, {}, BATCH), plain.method.predict(plain.params, {}, BATCH)
    )
    z_BxD = encode(case.float64_params, keep_BxD=1)
    index = {'speaker': BATCH['speaker_B']}
    after = case.method.fit(case.params, np.float32(z_BxD), index)
    chex.assert_trees_all_equal({k: after[k] for k in plain.params}, plain.params)
    assert {x.dtype for x in jax.tree.leaves(after)} == {np.dtype('float32')}
    expected = erased(np.float32(z_BxD), index)
    known = BATCH['speaker_B'] >= 0
    assert np.abs(expected - z_BxD)[known].max() > 0.1
    r_BxD, scores_BxC = case.method.predict(after, {}, BATCH)
    chex.assert_trees_all_close(r_BxD, expected, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(
        scores_BxC, linear.linear(case.float64_params['emotion'], expected), rtol=1e-5, atol=1e-5
    )


def test_z_that_is_not_finite_is_not_fitted(case):
    """A diverged run does not stop the others."""
    z_BxD = np.where(np.arange(8)[:, None] == 3, np.nan, encode(case.float64_params, keep_BxD=1))
    chex.assert_trees_all_equal(
        case.method.fit(case.params, z_BxD, {'speaker': BATCH['speaker_B']}), case.params
    )


def test_training_equals_erm_and_does_not_change_the_eraser():
    """To the bit, after five steps with weight decay from an eraser that is not 0."""
    config = ConfigDict(
        {
            'domain': 'speaker',
            'domain_hidden': 3,
            'train': {},
            'warmup': 0.1,
            'clip': 5.0,
            'optimizer': 'adamw',
        }
    )
    hyper = {'lr': 0.1, 'weight_decay': 0.5, 'time_mask': 0.1, 'band_mask': 0.1}
    hyper = {k: np.float32(x) for k, x in hyper.items()} | {
        'seed': np.int32(1),
        'fold': np.int32(0),
    }
    batch = BATCH | {
        'mean_BxM': np.zeros((linear.B, linear.M), np.float32),
        'scale_BxM': np.ones((linear.B, linear.M), np.float32),
    }
    states = {}
    for name in ('erm', 'leace'):
        method = plugins.load_plugin('methods', name).make(config, linear.ENCODER, SIZES)
        run_step = step.make_step(linear.ENCODER, method, SIZES, config)
        state = linear.quick(run_step.init)(hyper)
        ones = jax.tree.map(
            lambda x: x + 1, {k: x for k, x in state.params.items() if k == 'eraser'}
        )
        states[name] = state.replace(params=state.params | ones)
        update = linear.quick(run_step.update)
        for _ in range(5):
            states[name], metrics = update(states[name], batch, hyper)
        assert {'loss', 'emotion_loss', 'emotion_accuracy'} <= set(metrics)
    learned = states['leace'].params
    assert all((x == 1).all() for x in jax.tree.leaves(learned.pop('eraser')))
    chex.assert_trees_all_equal(learned, states['erm'].params)
    chex.assert_trees_all_equal(states['leace'].batch_stats, states['erm'].batch_stats)

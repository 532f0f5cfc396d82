"""Tests of nuisance attribute projection: its closed form, and training on projected features."""

import chex
import jax
import numpy as np
import pytest
from helpers import linear
from helpers.linear import BATCH, SIZES, Case
from ml_collections import ConfigDict

from data_pipelines.errors import UserError
from jaxser import plugins
from jaxser.methods import projection
from jaxser.training import step

N, M, K = 60, 8, 4


def make_means() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns x_NxM, speaker_N and language_N; both domains shift x."""
    r = np.random.default_rng(0)
    speaker_N, language_N = r.integers(0, K, N), r.integers(0, 2, N)
    shift_NxM = r.normal(size=(K, M))[speaker_N] + r.normal(size=(2, M))[language_N]
    return np.float32(r.normal(size=(N, M)) + shift_NxM), speaker_N, language_N


def project(x_NxM: np.ndarray, basis_MxR: np.ndarray) -> np.ndarray:
    return x_NxM - x_NxM @ basis_MxR @ basis_MxR.T


def means(x_NxM: np.ndarray, index_N: np.ndarray) -> np.ndarray:
    return np.stack([x_NxM[index_N == k].mean(0) for k in np.unique(index_N)])


def test_projected_speakers_have_equal_means():
    """K speakers take K - 1 directions."""
    x_NxM, speaker_N, _ = make_means()
    basis_MxR = projection.fit_basis(x_NxM, {'speaker': speaker_N})
    assert basis_MxR.shape == (M, K - 1)
    np.testing.assert_allclose(basis_MxR.T @ basis_MxR, np.eye(K - 1), atol=1e-12)
    means_KxM = means(project(x_NxM, basis_MxR), speaker_N)
    np.testing.assert_allclose(means_KxM, np.tile(means_KxM[0], (K, 1)), atol=1e-6)
    assert np.ptp(means(x_NxM, speaker_N), axis=0).max() > 1


def test_what_is_orthogonal_to_the_deviations_is_not_changed():
    """Such as the difference of two emotions of the same speakers in another direction."""
    x_NxM, speaker_N, _ = make_means()
    x_NxM[:, -1] = np.arange(N) % 2  # an emotion; equally frequent in every speaker, below
    for k in range(K):
        x_NxM[speaker_N == k, -1] -= x_NxM[speaker_N == k, -1].mean()
    projected_NxM = project(x_NxM, projection.fit_basis(x_NxM, {'speaker': speaker_N}))
    np.testing.assert_allclose(projected_NxM[:, -1], x_NxM[:, -1], atol=1e-6)


def test_every_speaker_counts_once():
    """A speaker with more utterances has no more weight in the mean of the means."""
    x_NxM, speaker_N, _ = make_means()
    deviation_KxM = projection.mean_deviations(x_NxM, speaker_N)
    np.testing.assert_allclose(deviation_KxM.sum(0), 0, atol=1e-5)
    means_KxM = means(x_NxM, speaker_N)
    np.testing.assert_allclose(deviation_KxM, means_KxM - means_KxM.mean(0), atol=1e-6)


def test_two_languages_take_one_direction_and_several_domains_the_sum():
    """The means of each of the domains are equal afterwards."""
    x_NxM, speaker_N, language_N = make_means()
    assert projection.fit_basis(x_NxM, {'language': language_N}).shape == (M, 1)
    basis_MxR = projection.fit_basis(x_NxM, {'speaker': speaker_N, 'language': language_N})
    assert basis_MxR.shape == (M, K)
    for index_N in (speaker_N, language_N):
        assert np.ptp(means(project(x_NxM, basis_MxR), index_N), axis=0).max() < 1e-5


def test_utterances_of_unknown_speakers_are_left_out():
    x_NxM, speaker_N, _ = make_means()
    is_known_N = np.arange(N) % 3 > 0
    basis_MxR = projection.fit_basis(x_NxM, {'speaker': np.where(is_known_N, speaker_N, -1)})
    expected = projection.fit_basis(x_NxM[is_known_N], {'speaker': speaker_N[is_known_N]})
    np.testing.assert_allclose(basis_MxR @ basis_MxR.T, expected @ expected.T, atol=1e-12)


@pytest.mark.parametrize('equal', ['utterances', 'speakers'])
def test_where_no_speaker_deviates_nothing_is_removed(equal):
    """Up to rounding of float32; as after normalisation by speaker."""
    x_NxM, _, _ = make_means()
    speaker_N = np.arange(N) % K
    if equal == 'utterances':
        x_NxM = np.ones((N, M), np.float32)
    for k in range(K):
        x_NxM[speaker_N == k] -= x_NxM[speaker_N == k].mean(0) - 1
    assert projection.fit_basis(x_NxM, {'speaker': speaker_N}).shape == (M, 0)


def test_speakers_that_span_all_features_raise_a_user_error():
    """The encoder would read zeros."""
    x_NxM, _, _ = make_means()
    with pytest.raises(UserError, match='features have only 8, so that nothing would be left'):
        projection.fit_basis(x_NxM, {'speaker': np.arange(N) % (M + 1)})


@pytest.fixture(scope='module')
def fitted() -> tuple[Case, dict]:
    """The method over the linear encoder, and its parameters after the fit."""
    case = Case('projection')
    x_NxM = np.random.default_rng(1).normal(size=(12, linear.M))
    params = case.method.fit_input(case.params, x_NxM, {'speaker': np.arange(12) % 2})
    return case, params


def projected_batch(params: dict, batch: dict) -> dict:
    basis_MxR = params['projection']['basis']
    return batch | {'mel_BxTxM': project(batch['mel_BxTxM'], basis_MxR)}


def without_projection(params: dict) -> dict:
    return {branch: p for branch, p in params.items() if branch != 'projection'}


def test_the_fit_keeps_the_shapes_and_all_other_parameters(fitted):
    """Since a checkpoint is restored into the shapes of the initialisation."""
    case, params = fitted
    chex.assert_trees_all_equal_shapes_and_dtypes(params, case.params)
    chex.assert_trees_all_equal(without_projection(params), without_projection(case.params))
    assert np.linalg.norm(params['projection']['basis']) == pytest.approx(1)


def test_predictions_are_those_of_erm_on_projected_features(fitted):
    """Before the fit they are erm's."""
    case, params = fitted
    plain = Case('erm').method
    for own in (case.params, params):
        expected = plain.predict(without_projection(own), {}, projected_batch(own, BATCH))
        chex.assert_trees_all_close(case.method.predict(own, {}, BATCH), expected, atol=1e-6)
    before, after = (case.method.predict(own, {}, BATCH)[0] for own in (case.params, params))
    assert np.abs(before - after).max() > 0.01


def test_training_is_that_of_erm_on_projected_features(fitted):
    """After five steps with weight decay; the projection gets no step and does not change."""
    _, params = fitted
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
    hyper = {'lr': 0.1, 'weight_decay': 0.5, 'time_mask': 0.0, 'band_mask': 0.0}
    hyper = {key: np.float32(x) for key, x in hyper.items()}
    hyper |= {'seed': np.int32(1), 'fold': np.int32(0)}
    batch = BATCH | {
        'mean_BxM': np.zeros((linear.B, linear.M), np.float32),
        'scale_BxM': np.ones((linear.B, linear.M), np.float32),
        'frames_B': np.full(linear.B, linear.T),
    }
    batches = {'erm': projected_batch(params, batch), 'projection': batch}
    learned = {}
    for name, own_batch in batches.items():
        method = plugins.load_plugin('methods', name).make(config, linear.ENCODER, SIZES)
        run_step = step.make_step(linear.ENCODER, method, SIZES, config)
        state = linear.quick(run_step.init)(hyper)
        if name == 'projection':
            fixed = {'projection': params['projection']}
            state = state.replace(params=state.params | fixed)
        update = linear.quick(run_step.update)
        for _ in range(5):
            state, metrics = update(state, own_batch, hyper)
        assert {'loss', 'emotion_loss', 'emotion_accuracy'} <= set(metrics)
        learned[name] = jax.device_get(state.params)
    chex.assert_trees_all_equal(learned['projection'].pop('projection'), params['projection'])
    chex.assert_trees_all_close(learned['projection'], learned['erm'], rtol=1e-4, atol=1e-5)

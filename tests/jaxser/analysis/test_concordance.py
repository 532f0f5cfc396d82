"""Tests of CCC, Pearson's correlation and RMSE: closed forms, other libraries, derivatives."""

import numpy as np
import pytest
from scipy import stats

from jaxser.analysis import concordance


def make_ratings(utterances: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Returns true and predicted ratings of shape (N, 3)."""
    random = np.random.default_rng(3)
    truth_NxA = np.clip(random.normal(0.2, 0.4, (utterances, 3)), -1, 1)
    noise_NxA = random.normal(0, 0.2, (utterances, 3))
    return truth_NxA, np.clip(0.6 * truth_NxA + 0.1 + noise_NxA, -1, 1)


@pytest.mark.parametrize(('slope', 'offset'), [(1, 0), (0.5, 0), (1, 0.3), (-0.8, 0.2), (0, 0.1)])
def test_ccc_of_a_linear_function_has_a_closed_form(slope, offset):
    """2 a s^2 / (s^2 + a^2 s^2 + (mean - a mean - b)^2), with the population variance s^2."""
    truth_N = np.linspace(-0.7, 0.9, 41)
    variance, mean = truth_N.var(), truth_N.mean()
    shift = mean - slope * mean - offset
    expected = 2 * slope * variance / (variance + slope**2 * variance + shift**2)
    assert concordance.concordance(truth_N, slope * truth_N + offset) == pytest.approx(
        expected, abs=1e-12
    )


def test_ccc_is_the_share_of_the_expected_squared_difference_that_is_avoided():
    """1 - mean squared error / what it would be without any correlation (Lin 1989)."""
    truth_N, predicted_N = (ratings_NxA[:, 0] for ratings_NxA in make_ratings())
    error = np.mean((truth_N - predicted_N) ** 2)
    every_pair = np.mean((truth_N[:, None] - predicted_N) ** 2)
    expected = 1 - error / every_pair
    assert concordance.concordance(truth_N, predicted_N) == pytest.approx(expected, abs=1e-12)


def test_pearson_and_rmse_are_those_of_scipy_and_numpy():
    truth_N, predicted_N = (ratings_NxA[:, 0] for ratings_NxA in make_ratings())
    expected = stats.pearsonr(truth_N, predicted_N).statistic
    assert concordance.pearson(truth_N, predicted_N) == pytest.approx(expected, abs=1e-12)
    error = np.sqrt(np.mean((truth_N - predicted_N) ** 2))
    assert concordance.rmse(truth_N, predicted_N) == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize('utterances', [2, 5, 1000])
def test_ccc_and_pearson_are_those_of_audmetric(utterances):
    """The library of audEERING has the same definition."""
    audmetric = pytest.importorskip('audmetric')
    truth_NxA, predicted_NxA = make_ratings(utterances)
    for truth_N, predicted_N in zip(truth_NxA.T, predicted_NxA.T):
        expected = audmetric.concordance_cc(truth_N, predicted_N)
        assert concordance.concordance(truth_N, predicted_N) == pytest.approx(expected, abs=1e-10)
        expected = audmetric.pearson_cc(truth_N, predicted_N)
        assert concordance.pearson(truth_N, predicted_N) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize('utterances', [5, 1000])
def test_ccc_is_that_of_torchmetrics_with_sample_variances(utterances):
    """torchmetrics divides variances by n - 1, which is the same as a smaller mean difference."""
    torch = pytest.importorskip('torch')
    regression = pytest.importorskip('torchmetrics.functional.regression')
    truth_NxA, predicted_NxA = make_ratings(utterances)
    expected_A = regression.concordance_corrcoef(
        torch.tensor(predicted_NxA), torch.tensor(truth_NxA)
    ).numpy()
    difference_A = predicted_NxA.mean(0) - truth_NxA.mean(0)
    smaller_A = difference_A * np.sqrt((utterances - 1) / utterances)
    shifted_NxA = predicted_NxA - difference_A + smaller_A
    for a in range(3):
        ccc = concordance.concordance(truth_NxA[:, a], shifted_NxA[:, a])
        assert ccc == pytest.approx(expected_A[a], abs=1e-10)


@pytest.mark.parametrize(
    ('truth', 'predicted'), [([0.1] * 5, [0.1] * 5), ([0.1] * 5, [0.3] * 5), ([0.9], [0.9])]
)
def test_constant_values_have_no_correlation(truth, predicted):
    """Whatever rounding leaves of their variance."""
    assert concordance.concordance(np.array(truth), np.array(predicted)) == 0
    assert concordance.pearson(np.array(truth), np.array(predicted)) == 0


def test_a_constant_prediction_is_no_better_than_guessing():
    truth_N = np.linspace(-1, 1, 9)
    assert concordance.concordance(truth_N, np.full(9, 0.3)) == pytest.approx(0, abs=1e-15)
    assert concordance.pearson(truth_N, np.full(9, 0.3)) == 0


def test_without_utterances_the_figures_are_nan():
    """There is no warning."""
    nothing = np.zeros(0)
    for figure in (concordance.concordance, concordance.pearson, concordance.rmse):
        assert np.isnan(figure(nothing, nothing))


def test_figures_are_averaged_over_the_ratings():
    truth_NxA, predicted_NxA = make_ratings()
    names = ['arousal', 'valence', 'dominance']
    figures = concordance.rating_metrics(truth_NxA, predicted_NxA, names)
    assert figures['n'] == 200
    assert list(figures['ratings']) == names
    for key in ('ccc', 'pearson', 'rmse'):
        values = [figures['ratings'][name][key] for name in names]
        assert figures[key] == pytest.approx(np.mean(values), abs=1e-15)
    expected = concordance.concordance(truth_NxA[:, 1], predicted_NxA[:, 1])
    assert figures['ratings']['valence']['ccc'] == pytest.approx(expected, abs=1e-12)


def test_moments_of_speakers_add_up_to_those_of_all_utterances():
    """The speakers are in alphabetical order, and their utterances in any order."""
    truth_NxA, predicted_NxA = make_ratings()
    speaker_N = np.random.default_rng(0).choice(['b', 'a', 'c'], 200)
    moment_SxAx6 = concordance.speaker_moments(speaker_N, truth_NxA, predicted_NxA)
    for s, speaker in enumerate('abc'):
        own = speaker_N == speaker
        assert moment_SxAx6[s, 0, 0] == own.sum()
        ccc_A = concordance.concordance_from_moments(moment_SxAx6[s])
        expected = concordance.concordance(truth_NxA[own, 2], predicted_NxA[own, 2])
        assert ccc_A[2] == pytest.approx(expected, abs=1e-12)
    pooled = concordance.concordance_from_moments(moment_SxAx6.sum(0))[0]
    expected = concordance.concordance(truth_NxA[:, 0], predicted_NxA[:, 0])
    assert pooled == pytest.approx(expected, abs=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    truth_NxA, predicted_NxA = make_ratings()
    moment_Ax6 = concordance.utterance_moments(truth_NxA, predicted_NxA).sum(0)
    ccc_A, gradient_6xA = concordance.concordance_gradient(moment_Ax6.T)
    np.testing.assert_allclose(ccc_A, concordance.concordance_from_moments(moment_Ax6))
    for k in range(6):
        step_6 = 1e-4 * (np.arange(6) == k)
        higher_A = concordance.concordance_from_moments(moment_Ax6 + step_6)
        lower_A = concordance.concordance_from_moments(moment_Ax6 - step_6)
        np.testing.assert_allclose(gradient_6xA[k], (higher_A - lower_A) / 2e-4, atol=1e-8)

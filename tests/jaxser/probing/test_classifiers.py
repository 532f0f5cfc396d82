"""The classifiers against scikit-learn and a known Bayes rate, and what must not change them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.linear_model import LogisticRegression

from jaxser.probing import classifiers


class Example(NamedTuple):
    """Examples of K classes, in three parts that are masks."""

    x_NxD: np.ndarray
    y_N: np.ndarray
    fit_N: np.ndarray
    validation_N: np.ndarray
    test_N: np.ndarray


def make_example(N: int = 240, D: int = 5, K: int = 4, distance: float = 1.5, seed: int = 0):
    """Returns normal clouds around K corners of a simplex."""
    random = np.random.default_rng(seed)
    y_N = random.integers(0, K, N)
    x_NxD = random.normal(size=(N, D))
    x_NxD[np.arange(N), y_N] += distance
    part_N = random.permutation(N) % 5
    fit_N = (part_N < 3).astype(np.float32)
    validation_N = (part_N == 3).astype(np.float32)
    test_N = (part_N == 4).astype(np.float32)
    return Example(x_NxD.astype(np.float32), y_N, fit_N, validation_N, test_N)


def fit_alone(x_NxD, y_N, fit_N, validation_N, classes: int) -> dict[str, np.ndarray]:
    """Returns the scores_NxK of both classifiers for one run."""
    scores, _ = classifiers.fit_classifiers(
        x_NxD[None], y_N[None], fit_N[None], validation_N[None], classes
    )
    return {kind: np.asarray(scores_RxNxK[0]) for kind, scores_RxNxK in scores.items()}


def bayes_accuracy(K: int, distance: float) -> float:
    """Returns the best possible accuracy on such clouds.

    The coordinate of the true class, normal around `distance`, must exceed K - 1 others, which are
    normal around 0.
    """

    def density(x: float) -> float:
        return stats.norm.pdf(x - distance) * stats.norm.cdf(x) ** (K - 1)

    return integrate.quad(density, -8, 8 + distance)[0]


def test_the_linear_classifier_is_that_of_scikit_learn():
    """With the same L2: scores equal to three digits, a gradient of 0, and balanced classes."""
    x_NxD, y_N, fit_N, validation_N, _ = make_example(distance=1.0)
    y_N = np.where((y_N == 3) & (np.arange(len(y_N)) % 3 > 0), 0, y_N)  # one class is rare
    fit = jax.jit(classifiers.fit_logistic, static_argnums=4)(x_NxD, y_N, fit_N, validation_N, 4)
    assert fit.gradient_norm < 2 * classifiers.TOLERANCE
    used_N = fit_N + validation_N > 0
    z_NxD = (x_NxD - x_NxD[used_N].mean(0)) / x_NxD[used_N].std(0)
    weight_N = used_N / (4 * np.bincount(y_N[used_N])[y_N])
    inverse_penalty = 1 / (float(fit.l2) * weight_N.sum())
    reference = LogisticRegression(C=inverse_penalty, tol=1e-8, max_iter=2000)
    reference.fit(z_NxD[used_N], y_N[used_N], sample_weight=weight_N[used_N])
    log_p_NxK = np.asarray(jax.nn.log_softmax(fit.scores_NxK))
    np.testing.assert_allclose(log_p_NxK, reference.predict_log_proba(z_NxD), atol=5e-3)


@functools.cache
def scores_of_example(N: int, K: int, distance: float) -> dict[str, np.ndarray]:
    return fit_alone(*make_example(N=N, K=K, distance=distance)[:4], K)


@pytest.mark.parametrize('kind', ['linear', 'mlp'])
@pytest.mark.parametrize('distance', [0.0, 1.0, 3.0])
def test_the_accuracy_is_the_bayes_rate(kind, distance):
    """Within the binomial interval around it; the MLP may lie a little below."""
    K, N = 4, 4000
    example = make_example(N=N, K=K, distance=distance)
    is_correct_N = scores_of_example(N, K, distance)[kind].argmax(1) == example.y_N
    tested = int(example.test_N.sum())
    low, high = stats.binom.interval(0.99, tested, bayes_accuracy(K, distance))
    tolerance = 0.02 if kind == 'mlp' else 0.0
    accuracy = is_correct_N[example.test_N > 0].mean()
    assert low / tested - tolerance <= accuracy <= high / tested


def test_the_mlp_learns_exclusive_or_and_the_linear_classifier_cannot():
    random = np.random.default_rng(0)
    x_NxD = random.choice([-1.0, 1.0], (600, 2)) + 0.2 * random.normal(size=(600, 2))
    y_N = (x_NxD.prod(1) > 0).astype(int)
    part_N = np.arange(600) % 3
    fit_N, validation_N = np.float32(part_N == 0), np.float32(part_N == 1)
    scores = fit_alone(np.float32(x_NxD), y_N, fit_N, validation_N, 2)
    is_tested_N = part_N == 2
    accuracy = {}
    for kind, scores_NxK in scores.items():
        accuracy[kind] = (scores_NxK.argmax(1) == y_N)[is_tested_N].mean()
    assert accuracy['linear'] < 0.65
    assert accuracy['mlp'] > 0.95


def test_runs_fitted_together_have_the_scores_of_runs_fitted_alone():
    """Whatever the parts and the classes of the other runs."""
    runs = [make_example(N=90, seed=seed) for seed in range(3)]
    # The second run has fewer classes.
    runs[1] = runs[1]._replace(y_N=np.where(runs[1].y_N == 3, -1, runs[1].y_N))
    stacked = [np.stack(arrays) for arrays in zip(*runs)]
    together, _ = classifiers.fit_classifiers(*stacked[:4], 4)
    for n, run in enumerate(runs):
        alone = fit_alone(*run[:4], 4)
        for kind in together:
            np.testing.assert_allclose(together[kind][n], alone[kind], atol=1e-4)
    assert np.isin(np.asarray(together['linear'][1]).argmax(1), range(3)).all()


def test_a_class_without_fitted_examples_is_never_predicted():
    """However far its examples lie from all others."""
    x_NxD, y_N, fit_N, validation_N, test_N = make_example(N=90)
    is_unseen_N = (y_N == 3) & (test_N == 0)
    fit_N = np.where(is_unseen_N, 0, fit_N).astype(np.float32)
    validation_N = np.where(is_unseen_N, 0, validation_N).astype(np.float32)
    for scores_NxK in fit_alone(x_NxD, y_N, fit_N, validation_N, 4).values():
        assert (scores_NxK[:, 3] < -1e6).all()


def test_examples_outside_both_parts_change_nothing():
    """Neither the tested examples nor their labels."""
    x_NxD, y_N, fit_N, validation_N, test_N = make_example(N=90)
    first = fit_alone(x_NxD, y_N, fit_N, validation_N, 4)
    is_used_N = test_N == 0
    y_N = np.where(is_used_N, y_N, np.arange(len(y_N)) % 9 - 1)  # -1, and classes that do not exist
    x_NxD = np.where(is_used_N[:, None], x_NxD, 9.0)
    second = fit_alone(x_NxD, y_N, fit_N, validation_N, 4)
    for kind in first:
        np.testing.assert_allclose(first[kind][is_used_N], second[kind][is_used_N], atol=1e-5)


def test_a_constant_dimension_is_standardised_to_zero():
    """A dead unit is 0 everywhere."""
    example = make_example(N=30)
    example.x_NxD[:, 0] = 7.0
    z_NxD = classifiers.standardise(jnp.asarray(example.x_NxD), jnp.asarray(example.fit_N))
    assert not z_NxD[:, 0].any()
    assert jnp.isfinite(z_NxD).all()

"""Fresh classifiers against scikit-learn, a known Bayes rate, and what must not change them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.linear_model import LogisticRegression

from jaxser.probing import classifiers


def example(N: int = 240, D: int = 5, K: int = 4, apart: float = 1.5, seed: int = 0):
    """(x_NxD, y_N, fit_N, choose_N, test_N): normal clouds around K corners of a simplex."""
    r = np.random.default_rng(seed)
    y_N = r.integers(0, K, N)
    x_NxD = r.normal(size=(N, D))
    x_NxD[np.arange(N), y_N] += apart
    part_N = r.permutation(N) % 5
    fit_N, choose_N, test_N = (
        np.isin(part_N, p).astype(np.float32) for p in ((0, 1, 2), (3,), (4,))
    )
    return x_NxD.astype(np.float32), y_N, fit_N, choose_N, test_N


def bayes(K: int, apart: float) -> float:
    """The best possible accuracy: the own coordinate, normal around `apart`, beats K - 1 others, normal around 0."""
    return integrate.quad(
        lambda x: stats.norm.pdf(x - apart) * stats.norm.cdf(x) ** (K - 1), -8, 8 + apart
    )[0]


def test_the_linear_one_is_scikit_learns_at_the_same_l2():
    """The same scores to three digits, at the minimum (the gradient is 0), with classes weighing equally."""
    x_NxD, y_N, fit_N, choose_N, _ = example(apart=1.0)
    y_N = np.where((y_N == 3) & (np.arange(len(y_N)) % 3 > 0), 0, y_N)  # one class is rare
    scores_NxK, l2, gradient = jax.jit(classifiers.fit_logistic, static_argnums=4)(
        x_NxD, y_N, fit_N, choose_N, 4
    )
    assert gradient < 2 * classifiers.TOLERANCE
    both = fit_N + choose_N > 0
    z_NxD = (x_NxD - x_NxD[both].mean(0)) / x_NxD[both].std(0)
    weight_N = both / (4 * np.bincount(y_N[both])[y_N])
    theirs = LogisticRegression(C=1 / (float(l2) * weight_N.sum()), tol=1e-8, max_iter=2000)
    theirs.fit(z_NxD[both], y_N[both], sample_weight=weight_N[both])
    ours_NxK = np.asarray(jax.nn.log_softmax(scores_NxK))
    np.testing.assert_allclose(ours_NxK, theirs.predict_log_proba(z_NxD), atol=5e-3)


@functools.cache
def told(N: int, K: int, apart: float) -> dict[str, np.ndarray]:
    """Of both classifiers the scores of such an example, scores_NxK."""
    x_NxD, y_N, fit_N, choose_N, _ = example(N=N, K=K, apart=apart)
    scores, _ = classifiers.fit_classifiers(*(a[None] for a in (x_NxD, y_N, fit_N, choose_N)), K)
    return {kind: np.asarray(s[0]) for kind, s in scores.items()}


@pytest.mark.parametrize('kind', ['linear', 'mlp'])
@pytest.mark.parametrize('apart', [0.0, 1.0, 3.0])
def test_a_planted_amount_is_recovered(kind, apart):
    """Of clouds whose Bayes rate is known: within the binomial interval around it (the network: or a little below)."""
    K, N = 4, 4000
    _, y_N, *_, test_N = example(N=N, K=K, apart=apart)
    right_N = told(N, K, apart)[kind].argmax(1) == y_N
    tested = int(test_N.sum())
    low, high = stats.binom.interval(0.99, tested, bayes(K, apart))
    assert low / tested - 0.02 * (kind == 'mlp') <= right_N[test_N > 0].mean() <= high / tested


def test_the_network_hears_what_no_line_tells():
    """Exclusive or: at chance for the linear one, nearly all right for the network."""
    r = np.random.default_rng(0)
    x_NxD = r.choice([-1.0, 1.0], (600, 2)) + 0.2 * r.normal(size=(600, 2))
    y_N = (x_NxD.prod(1) > 0).astype(int)
    part_N = np.arange(600) % 3
    scores, _ = classifiers.fit_classifiers(
        *(np.float32(a)[None] for a in (x_NxD,)),
        y_N[None],
        *(np.float32(part_N == p)[None] for p in (0, 1)),
        2,
    )
    right = {k: (np.asarray(s[0]).argmax(1) == y_N)[part_N == 2].mean() for k, s in scores.items()}
    assert right['linear'] < 0.65
    assert right['mlp'] > 0.95


def test_runs_side_by_side_are_as_alone():
    """Of several runs with other parts, classes and padding, each gets what it gets by itself."""
    runs = [example(N=90, seed=s)[:4] for s in range(3)]
    runs[1] = (
        *runs[1][:1],
        np.where(runs[1][1] == 3, -1, runs[1][1]),
        *runs[1][2:],
    )  # has fewer classes
    together, _ = classifiers.fit_classifiers(*map(np.stack, zip(*runs)), 4)
    for n, run in enumerate(runs):
        alone, _ = classifiers.fit_classifiers(*(a[None] for a in run), 4)
        for kind in together:
            np.testing.assert_allclose(together[kind][n], alone[kind][0], atol=1e-4)
    assert np.isin(np.asarray(together['linear'][1]).argmax(1), range(3)).all()


def test_a_class_that_nobody_was_heard_of_is_never_said():
    """However far its examples lie from all others."""
    x_NxD, y_N, fit_N, choose_N, test_N = example(N=90)
    unheard = (y_N == 3) & (test_N == 0)
    fit_N, choose_N = (
        np.where(unheard, 0, fit_N).astype(np.float32),
        np.where(unheard, 0, choose_N).astype(np.float32),
    )
    scores, _ = classifiers.fit_classifiers(x_NxD[None], y_N[None], fit_N[None], choose_N[None], 4)
    for of in scores.values():
        assert (of[0][:, 3] < -1e6).all()


def test_what_is_neither_fitted_nor_chosen_on_changes_nothing():
    """Neither the tested examples, their labels, nor rows of nobody."""
    x_NxD, y_N, fit_N, choose_N, test_N = example(N=90)
    first, _ = classifiers.fit_classifiers(x_NxD[None], y_N[None], fit_N[None], choose_N[None], 4)
    known = test_N == 0
    y_N = np.where(known, y_N, np.arange(len(y_N)) % 9 - 1)  # -1, and classes that there are not
    x_NxD = np.where(known[:, None], x_NxD, 9.0)
    second, _ = classifiers.fit_classifiers(x_NxD[None], y_N[None], fit_N[None], choose_N[None], 4)
    for kind in first:
        np.testing.assert_allclose(first[kind][0][known], second[kind][0][known], atol=1e-5)


def test_a_dimension_that_does_not_vary_is_no_trouble():
    """A dead unit is 0 everywhere, and stays so."""
    x_NxD, _, fit_N, *_ = example(N=30)
    x_NxD[:, 0] = 7.0
    z_NxD = classifiers.standardise(jnp.asarray(x_NxD), jnp.asarray(fit_N))
    assert not z_NxD[:, 0].any()
    assert jnp.isfinite(z_NxD).all()

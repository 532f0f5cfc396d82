"""Attackers against planted information of known amount, and what must not change them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import probing
from scipy import integrate, stats
from sklearn.linear_model import LogisticRegression

from jaxser.probing import attackers
from jaxser.probing.attackers import job, linear, mlp, rbf

K = 4


def make_clouds(distance: float, examples: int = 2400, dimensions: int = 5, seed: int = 0):
    """Returns a job of normal clouds around K corners of a simplex, and the tested labels."""
    random = np.random.default_rng(seed)
    y_M = random.integers(0, K, examples)
    x_MxD = random.normal(size=(examples, dimensions))
    x_MxD[np.arange(examples), y_M] += distance
    return probing.make_job(x_MxD, y_M)


def fit(data: job.JobData, classes: int = K) -> attackers.Attack:
    return jax.tree.map(np.asarray, fit_compiled(data, classes))


fit_compiled = jax.jit(attackers.fit_attackers, static_argnums=1)


def accuracies(attack: attackers.Attack, true_T: np.ndarray) -> dict[str, float]:
    """Returns the share of correct predictions of each attacker."""
    is_correct_AxT = attack.log_p_AxTxK.argmax(2) == true_T
    return dict(zip(attackers.ATTACKERS, is_correct_AxT.mean(1).tolist()))


def bayes_accuracy(distance: float) -> float:
    """Returns the best possible accuracy on the clouds.

    The coordinate of the true class, normal around `distance`, must exceed K - 1 others, which are
    normal around 0.
    """

    def density(x: float) -> float:
        return stats.norm.pdf(x - distance) * stats.norm.cdf(x) ** (K - 1)

    return integrate.quad(density, -8, 8 + distance)[0]


@functools.cache
def attack_on_clouds(distance: float) -> tuple[attackers.Attack, np.ndarray]:
    data, true_T = make_clouds(distance)
    return fit(data), true_T


@pytest.mark.parametrize('name', attackers.ATTACKERS)
@pytest.mark.parametrize('distance', [0.0, 1.0, 3.0])
def test_linear_information_is_recovered_to_the_bayes_rate(name, distance):
    """Within the binomial interval; nearest neighbours and kernels may lie a little below."""
    attack, true_T = attack_on_clouds(distance)
    tested = len(true_T)
    low, high = stats.binom.interval(0.999, tested, bayes_accuracy(distance))
    tolerance = {'linear': 0.0, 'mlp': 0.01, 'rbf': 0.02, 'knn': 0.06}[name]
    accuracy = accuracies(attack, true_T)[name]
    assert low / tested - tolerance <= accuracy <= high / tested


@pytest.mark.parametrize('noise_dimensions', [0, 6])
def test_exclusive_or_is_found_by_all_but_the_linear_attacker(noise_dimensions):
    random = np.random.default_rng(0)
    x_MxD = random.choice([-1.0, 1.0], (1200, 2)) + 0.2 * random.normal(size=(1200, 2))
    y_M = (x_MxD.prod(1) > 0).astype(int)
    noise_MxD = 0.5 * random.normal(size=(1200, noise_dimensions))
    data, true_T = probing.make_job(np.concatenate([x_MxD, noise_MxD], 1), y_M)
    accuracy = accuracies(fit(data, 2), true_T)
    assert accuracy['linear'] < 0.6
    assert accuracy['rbf'] > 0.9
    assert accuracy['mlp'] > 0.9
    assert accuracy['knn'] > (0.95 if noise_dimensions == 0 else 0.8)


def test_the_linear_attacker_is_scikit_learns_logistic_regression():
    """With the same L2: the same posteriors, with balanced classes."""
    data, _ = make_clouds(1.0, examples=480)
    parts = []
    for part in (data.fit, data.validation):  # class 3 is rare
        has_own_label_N = (part.y_N != 3) | (np.arange(len(part.y_N)) % 3 == 0)
        parts.append(part._replace(y_N=np.where(has_own_label_N, part.y_N, 0).astype(np.int32)))
    data = job.JobData(*parts, data.test_TxD)
    standard = job.standardise(data)
    found = jax.jit(linear.fit_linear, static_argnums=2)(standard, job.weigh(standard, K), K)
    known = standard.join_parts()
    y_N = np.asarray(known.y_N)
    weight_N = 1 / (K * np.bincount(y_N)[y_N])
    reference = LogisticRegression(C=1 / float(found.l2), tol=1e-8, max_iter=2000)
    reference.fit(np.asarray(known.x_NxD), y_N, sample_weight=weight_N)
    log_p_TxK = np.asarray(jax.nn.log_softmax(found.scores.test_TxK))
    expected_TxK = reference.predict_log_proba(np.asarray(standard.test_TxD))
    np.testing.assert_allclose(log_p_TxK, expected_TxK, atol=0.02)


def test_the_mlp_is_the_linear_attacker_where_training_does_not_help(monkeypatch):
    """So that it is no weaker: with patience for no step at all, the scores are equal."""
    monkeypatch.setattr(mlp, 'LEARNING_RATE', 10.0)  # every step makes it worse
    data, _ = make_clouds(1.0, examples=240)
    data = job.standardise(data)
    weights = job.weigh(data, K)
    linear_fit = linear.fit_linear(data, weights, K)
    mlp_fit = mlp.fit_mlp(data, weights, linear_fit)
    assert mlp_fit.steps == 0
    np.testing.assert_allclose(mlp_fit.scores.test_TxK, linear_fit.scores.test_TxK, atol=1e-5)


def test_the_gradient_of_the_mlp_is_that_of_its_loss():
    """Also where a class is absent from the fit part but not from the others."""
    random = np.random.default_rng(0)
    present_K = np.array([True, True, False])
    x_NxE = random.normal(size=(20, 6)).astype(np.float32)
    y_N = np.arange(20) % 3
    weight_N = random.uniform(size=20).astype(np.float32)
    params = {}
    for name, shape in (('linear', (3, 6)), ('in', (4, 6)), ('out', (3, 4))):
        params[name] = jnp.asarray(random.normal(size=shape), jnp.float32)

    def loss(params):
        scores_KxN = mlp.forward(params, x_NxE.T, present_K)[1]
        penalty = 0.3 / 2 * (params['linear'][:, :-1] ** 2).sum()
        return job.weighted_cross_entropy(scores_KxN.T, y_N, weight_N) + penalty

    target_KxN = np.float32(job.one_hot(y_N, 3)).T
    found = mlp.loss_gradient(params, x_NxE, x_NxE.T, target_KxN, weight_N, present_K, 0.3)
    for name, expected in jax.grad(loss)(params).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_kernel_coefficients_minimise_the_weighted_squared_error():
    """The gradient of the objective at the solution is 0; examples of weight 0 have none."""
    random = np.random.default_rng(0)
    x_NxD = random.normal(size=(12, 3))
    kernel_NxN = np.exp(-np.square(x_NxD[:, None] - x_NxD).sum(2))
    target_NxK = random.normal(size=(12, 2))
    weight_N = np.where(np.arange(12) < 9, random.uniform(0.5, 2, 12), 0.0)
    arguments = (np.float32(x) for x in (kernel_NxN, target_NxK, weight_N, 0.1))
    alpha_NxK = np.asarray(rbf.coefficients(*arguments), float)
    residual_NxK = kernel_NxN @ alpha_NxK - target_NxK
    gradient_NxK = kernel_NxN @ (weight_N[:, None] * residual_NxK + 0.1 * alpha_NxK)
    np.testing.assert_allclose(gradient_NxK, 0, atol=1e-5)
    assert not alpha_NxK[9:].any()


def test_posteriors_are_calibrated():
    """Their mean log-likelihood is that of the true posterior, which is known for the clouds."""
    attack, true_T = attack_on_clouds(1.0)
    data, _ = make_clouds(1.0)
    true_log_p_TxK = np.asarray(jax.nn.log_softmax(data.test_TxD[:, :K]))  # distance 1
    index = np.arange(len(true_T)), true_T
    best = attack.validation_loss_A.argmin()
    difference = true_log_p_TxK[index].mean() - attack.log_p_AxTxK[best][index].mean()
    assert -0.01 < difference < 0.03
    # Sharpness alone is wrong for no attacker by much.
    for log_p_TxK in attack.log_p_AxTxK:
        assert true_log_p_TxK[index].mean() - log_p_TxK[index].mean() < 0.15


def test_vmapped_jobs_have_the_posteriors_of_single_jobs():
    jobs = [make_clouds(1.0, examples=160, seed=seed)[0] for seed in range(3)]
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *jobs)
    fit_one = functools.partial(attackers.fit_attackers, classes=K)
    together = jax.jit(jax.vmap(fit_one))(stacked)
    for n, data in enumerate(jobs):
        alone = fit(data)
        np.testing.assert_allclose(together.log_p_AxTxK[n], alone.log_p_AxTxK, atol=5e-3)


def test_masked_examples_change_nothing():
    """Neither their labels nor their values, nor those of other tested examples."""
    data, _ = make_clouds(1.0, examples=160)
    masked, changed = [], []
    for part in (data.fit, data.validation):
        is_padding_N = np.arange(len(part.y_N)) % 7 == 0
        part = part._replace(mask_N=np.float32(~is_padding_N))
        masked.append(part)
        other_x_NxD = np.where(is_padding_N[:, None], 9, part.x_NxD).astype(np.float32)
        any_label_N = np.arange(len(part.y_N)) % 9 - 1
        other_y_N = np.where(is_padding_N, any_label_N, part.y_N).astype(np.int32)
        changed.append(part._replace(x_NxD=other_x_NxD, y_N=other_y_N))
    other_test_TxD = np.concatenate([data.test_TxD[:1], data.test_TxD[1:] + 100])
    first = fit(job.JobData(*masked, data.test_TxD))
    second = fit(job.JobData(*changed, other_test_TxD))
    np.testing.assert_allclose(first.log_p_AxTxK[:, 0], second.log_p_AxTxK[:, 0], atol=2e-3)
    np.testing.assert_allclose(first.validation_loss_A, second.validation_loss_A, atol=1e-3)


def test_a_class_without_fitted_examples_is_never_predicted():
    data, _ = make_clouds(3.0, examples=160)
    parts = [
        part._replace(mask_N=part.mask_N * (part.y_N != 3)) for part in (data.fit, data.validation)
    ]
    attack = fit(job.JobData(*parts, data.test_TxD))
    assert (attack.log_p_AxTxK[:, :, 3] < -1e6).all()


def test_pairs_are_compared_with_a_limited_number_of_examples(monkeypatch):
    """Attackers of all pairs are then fitted on the first examples, and remain good."""
    data, true_T = make_clouds(3.0, examples=1200)
    monkeypatch.setattr(job, 'MAX_PAIRED_FIT', 75)
    monkeypatch.setattr(job, 'MAX_PAIRED_VALIDATION', 25)
    attack = jax.jit(functools.partial(attackers.fit_attackers, classes=K))(data)
    accuracy = accuracies(jax.tree.map(np.asarray, attack), true_T)
    assert min(accuracy.values()) > 0.9
    x_FxD = np.concatenate([data.fit.x_NxD[:75], -data.fit.x_NxD[75:]])
    changed = data._replace(fit=data.fit._replace(x_NxD=x_FxD))
    again = jax.jit(functools.partial(attackers.fit_attackers, classes=K))(changed)
    accuracy = accuracies(jax.tree.map(np.asarray, again), true_T)
    assert accuracy['linear'] < 0.9  # it is fitted on all examples
    assert min(accuracy['rbf'], accuracy['knn']) > 0.9


def test_a_constant_dimension_is_standardised_to_zero():
    """A dead unit is 0 everywhere."""
    data, _ = make_clouds(1.0, examples=60)
    data.fit.x_NxD[:, 0] = data.validation.x_NxD[:, 0] = 7.0
    data.test_TxD[:, 0] = 8.0
    standard = job.standardise(jax.tree.map(jnp.asarray, data))
    assert not standard.join_parts().x_NxD[:, 0].any()
    assert not standard.test_TxD[:, 0].any()
    assert jnp.isfinite(standard.join_parts().x_NxD).all()

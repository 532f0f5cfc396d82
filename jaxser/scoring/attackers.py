"""Attackers of scikit-learn: classifiers that try to recognise a speaker from a representation.

They are stand-ins for those of jaxser/probing/attackers, which need JAX: of the same kinds, with
settings that are chosen on the validation rows by the calibrated cross-entropy, and then fitted on
the fitting and the validation rows together. All classes have the same weight.

Shapes: N known examples, T tested examples, D dimensions.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# The settings that are tried. Of equally good ones the first is taken.
INVERSE_PENALTIES = (0.003, 0.1, 3.0, 100.0)  # logistic regression: C
NEIGHBOURS = (1, 3, 5, 10, 20)
DISTANCES = ('euclidean', 'cosine')
# Kernel ridge regression: bandwidths in typical squared distances, and penalties.
BANDWIDTHS = (1.5, 0.5, 4.5)
RIDGES = (1e-2, 1e-3, 1e-1)
WEIGHT_DECAYS = (1e-4, 1e-1, 10.0)  # multilayer perceptron: alpha
HIDDEN_WIDTH = 64
MAX_ITERATIONS = 100
MIN_POSTERIOR = 1e-4  # of nearest neighbours, which give 0 to a class without a neighbour
ABSENT_CLASS_SCORE = -1e9
# Scores are multiplied by the best of these on the validation rows, before they are compared.
SHARPNESS = tuple(0.01 * 10 ** (n / 5) for n in range(21))
MAX_KERNEL_EXAMPLES = 2048  # on which kernel ridge regression is fitted; more take too long


class Examples(NamedTuple):
    """The examples of a question, standardised by the known ones."""

    fit_NxD: np.ndarray
    fit_N: np.ndarray  # classes
    validation_NxD: np.ndarray
    validation_N: np.ndarray
    test_TxD: np.ndarray
    classes: int


def standardise(examples: Examples) -> Examples:
    """Returns the examples with mean 0 and variance 1 over the known ones; constants become 0."""
    known_NxD = np.concatenate([examples.fit_NxD, examples.validation_NxD])
    mean_D, scale_D = known_NxD.mean(0), known_NxD.std(0)
    is_varying_D = scale_D > 1e-5 * np.abs(mean_D) + 1e-6
    factor_D = np.where(is_varying_D, 1 / np.where(is_varying_D, scale_D, 1), 0)
    return examples._replace(
        fit_NxD=(examples.fit_NxD - mean_D) * factor_D,
        validation_NxD=(examples.validation_NxD - mean_D) * factor_D,
        test_TxD=(examples.test_TxD - mean_D) * factor_D,
    )


def predict_tested(examples: Examples) -> dict[str, np.ndarray]:
    """Returns predicted_T of each attacker, by the names of jaxser/analysis/leakage.py."""
    from threadpoolctl import threadpool_limits

    examples = standardise(examples)
    with threadpool_limits(1):  # products of small matrices are slower with several threads
        return {
            'linear': _fit_best(examples, list(map(_linear_classifier, INVERSE_PENALTIES))),
            'mlp': _fit_best(examples, list(map(_perceptron, WEIGHT_DECAYS))),
            'rbf': _fit_best(_subsample(examples), _kernel_classifiers(examples)),
            'knn': _fit_best(examples, _neighbour_classifiers(len(examples.fit_NxD))),
        }


def _linear_classifier(inverse_penalty: float):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        C=inverse_penalty, class_weight='balanced', max_iter=MAX_ITERATIONS, tol=1e-3
    )


def _perceptron(weight_decay: float):
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (HIDDEN_WIDTH,),
        alpha=weight_decay,
        learning_rate_init=1e-2,
        max_iter=MAX_ITERATIONS,
        tol=1e-3,
        random_state=0,
    )


class KernelClassifier(NamedTuple):
    """Kernel ridge regression on one-hot labels with a Gaussian kernel (LS-SVM)."""

    gamma: float
    ridge: float

    def fit(self, x_NxD: np.ndarray, y_N: np.ndarray, sample_weight: np.ndarray):
        """Returns a fitted regression, and the classes in the order of its outputs."""
        from sklearn.kernel_ridge import KernelRidge

        classes, index_N = np.unique(y_N, return_inverse=True)
        target_NxK = np.eye(len(classes))[index_N] - 1 / len(classes)
        regression = KernelRidge(alpha=self.ridge, kernel='rbf', gamma=self.gamma)
        regression.fit(x_NxD, target_NxK, sample_weight)
        return regression, classes


def _kernel_classifiers(examples: Examples) -> list[KernelClassifier]:
    """Returns the candidates; standardised examples have a mean squared distance of 2 D."""
    dimensions = max(int((np.abs(examples.fit_NxD).max(0) > 0).sum()), 1)
    candidates = []
    for bandwidth in BANDWIDTHS:
        for ridge in RIDGES:
            candidates.append(KernelClassifier(1 / (2 * dimensions * bandwidth), ridge))
    return candidates


def _neighbour_classifiers(examples: int) -> list:
    """Returns the candidates that need at most so many fitting examples."""
    from sklearn.neighbors import KNeighborsClassifier

    candidates = []
    for distance in DISTANCES:
        for number in NEIGHBOURS:
            if number <= examples:
                candidate = KNeighborsClassifier(number, weights='distance', metric=distance)
                candidates.append(candidate)
    return candidates


def _subsample(examples: Examples) -> Examples:
    """Returns the examples with at most MAX_KERNEL_EXAMPLES known ones, chosen at random."""
    known = len(examples.fit_N) + len(examples.validation_N)
    if known <= MAX_KERNEL_EXAMPLES:
        return examples
    random = np.random.default_rng(0)
    share = MAX_KERNEL_EXAMPLES / known
    fit = random.permutation(len(examples.fit_N))[: round(share * len(examples.fit_N))]
    validation = random.permutation(len(examples.validation_N))
    validation = validation[: round(share * len(examples.validation_N))]
    return examples._replace(
        fit_NxD=examples.fit_NxD[fit],
        fit_N=examples.fit_N[fit],
        validation_NxD=examples.validation_NxD[validation],
        validation_N=examples.validation_N[validation],
    )


def _fit_best(examples: Examples, candidates: Sequence) -> np.ndarray:
    """Returns predicted_T of the candidate that is best on the validation rows."""
    best, lowest = candidates[0], np.inf
    for candidate in candidates:
        score = _fit(candidate, examples.fit_NxD, examples.fit_N, examples.classes)
        loss = calibrated_loss(score(examples.validation_NxD), examples.validation_N)
        if loss < lowest:
            best, lowest = candidate, loss
    known_NxD = np.concatenate([examples.fit_NxD, examples.validation_NxD])
    known_N = np.concatenate([examples.fit_N, examples.validation_N])
    score = _fit(best, known_NxD, known_N, examples.classes)
    return score(examples.test_TxD).argmax(1)


def calibrated_loss(scores_NxK: np.ndarray, y_N: np.ndarray) -> float:
    """Returns the cross-entropy of scores that are multiplied by the best factor of SHARPNESS.

    All classes have the same weight; scores may be infinitely low.
    """
    _, index_N, count_K = np.unique(y_N, return_inverse=True, return_counts=True)
    weight_N = 1 / count_K[index_N] / len(count_K)
    losses = []
    for sharpness in SHARPNESS:
        sharp_NxK = sharpness * scores_NxK
        total_N = np.logaddexp.reduce(sharp_NxK, axis=1)
        losses.append((weight_N * (total_N - sharp_NxK[np.arange(len(y_N)), y_N])).sum())
    return float(min(losses))


def _fit(
    candidate, x_NxD: np.ndarray, y_N: np.ndarray, classes: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Fits a classifier; returns a function that gives scores_NxK of representations."""
    from sklearn.base import clone
    from sklearn.neural_network import MLPClassifier
    from sklearn.utils.class_weight import compute_sample_weight

    weight_N = compute_sample_weight('balanced', y_N)
    if isinstance(candidate, KernelClassifier):
        regression, fitted_classes = candidate.fit(x_NxD, y_N, weight_N)
        return functools.partial(_score, regression.predict, fitted_classes, classes)
    model = clone(candidate)
    with warnings.catch_warnings():
        # A fit that stops early is a weaker attacker, which the validation rows may still choose.
        warnings.filterwarnings('ignore', module='sklearn')
        if isinstance(model, MLPClassifier):
            model.fit(x_NxD, y_N, sample_weight=weight_N)
        else:
            model.fit(x_NxD, y_N)
    log_posteriors = functools.partial(_log_posteriors, model)
    return functools.partial(_score, log_posteriors, model.classes_, classes)


def _log_posteriors(model, x_NxD: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(model.predict_proba(x_NxD), MIN_POSTERIOR))


def _score(
    function: Callable, fitted_classes: np.ndarray, classes: int, x_NxD: np.ndarray
) -> np.ndarray:
    """Returns scores_NxK; those of classes that were not fitted are very low."""
    scores_NxK = np.full((len(x_NxD), classes), ABSENT_CLASS_SCORE)
    scores_NxK[:, fitted_classes] = function(x_NxD)
    return scores_NxK

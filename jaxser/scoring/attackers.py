"""Attackers of scikit-learn: classifiers that try to recognise a speaker from a representation.

They are stand-ins for those of jaxser/probing/attackers, which need JAX: of the same kinds, with
settings that are chosen on the validation rows by the mean recall, and then fitted on the fitting
and the validation rows together. All classes have the same weight.

Shapes: N known examples, T tested examples, D dimensions.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxser.analysis import metrics

# The settings that are tried. Of equally good ones the first is taken.
INVERSE_PENALTIES = (0.003, 0.1, 3.0, 100.0)  # logistic regression: C
NEIGHBOURS = (1, 3, 5, 10, 20)
DISTANCES = ('euclidean', 'cosine')
SOFT_MARGINS = (1.0, 10.0, 100.0)  # support vectors: C
BANDWIDTHS = (0.25, 1.0, 4.0)  # gamma times the number of dimensions
WEIGHT_DECAYS = (1e-4, 1e-1, 10.0)  # multilayer perceptron: alpha
HIDDEN_WIDTH = 64
MAX_ITERATIONS = 100
MAX_PAIRED_EXAMPLES = 2048  # on which support vectors are fitted; more take too long


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
    dimensions = examples.fit_NxD.shape[1]
    with threadpool_limits(1):  # products of small matrices are slower with several threads
        return {
            'linear': _fit_best(examples, list(map(_linear, INVERSE_PENALTIES))),
            'mlp': _fit_best(examples, list(map(_network, WEIGHT_DECAYS))),
            'rbf': _fit_best(_first_examples(examples), _support_vectors(dimensions)),
            'knn': _fit_best(examples, _neighbours(len(examples.fit_NxD))),
        }


def _linear(inverse_penalty: float):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(
        C=inverse_penalty, class_weight='balanced', max_iter=MAX_ITERATIONS, tol=1e-3
    )


def _network(weight_decay: float):
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (HIDDEN_WIDTH,),
        alpha=weight_decay,
        learning_rate_init=1e-2,
        max_iter=MAX_ITERATIONS,
        tol=1e-3,
        random_state=0,
    )


def _support_vectors(dimensions: int) -> list:
    from sklearn.svm import SVC

    machines = []
    for bandwidth in BANDWIDTHS:
        for margin in SOFT_MARGINS:
            machines.append(SVC(C=margin, gamma=bandwidth / dimensions, class_weight='balanced'))
    return machines


def _neighbours(examples: int) -> list:
    from sklearn.neighbors import KNeighborsClassifier

    searches = []
    for distance in DISTANCES:
        for number in NEIGHBOURS:
            if number <= examples:
                searches.append(KNeighborsClassifier(number, weights='distance', metric=distance))
    return searches


def _first_examples(examples: Examples) -> Examples:
    """Returns at most MAX_PAIRED_EXAMPLES known examples, in random order."""
    known = len(examples.fit_N) + len(examples.validation_N)
    if known <= MAX_PAIRED_EXAMPLES:
        return examples
    random = np.random.default_rng(0)
    share = MAX_PAIRED_EXAMPLES / known
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
    best, best_recall = candidates[0], -1.0
    for candidate in candidates:
        predict = _fit(candidate, examples.fit_NxD, examples.fit_N)
        recall = _mean_recall(
            examples.validation_N, predict(examples.validation_NxD), examples.classes
        )
        if recall > best_recall:
            best, best_recall = candidate, recall
    known_NxD = np.concatenate([examples.fit_NxD, examples.validation_NxD])
    known_N = np.concatenate([examples.fit_N, examples.validation_N])
    return _fit(best, known_NxD, known_N)(examples.test_TxD)


def _fit(candidate, x_NxD: np.ndarray, y_N: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fits a classifier; returns its function of prediction."""
    from sklearn.base import clone
    from sklearn.neural_network import MLPClassifier
    from sklearn.utils.class_weight import compute_sample_weight

    model = clone(candidate)
    weights = {}
    if isinstance(model, MLPClassifier):
        weights['sample_weight'] = compute_sample_weight('balanced', y_N)
    with warnings.catch_warnings():
        # A fit that stops early is a weaker attacker, which the validation rows may still choose.
        warnings.filterwarnings('ignore', module='sklearn')
        model.fit(x_NxD, y_N, **weights)
    return functools.partial(_predict, model)


def _predict(model, x_NxD: np.ndarray) -> np.ndarray:
    return model.predict(x_NxD)


def _mean_recall(truth_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> float:
    count_KxK = metrics.confusion_matrix(truth_N, predicted_N, classes)
    return metrics.classification_metrics(count_KxK)['uar']

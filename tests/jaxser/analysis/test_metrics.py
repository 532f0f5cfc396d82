"""Measures of a confusion matrix against scikit-learn, and posteriors gathered batch by batch."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from jaxser.analysis import metrics
from jaxser.analysis.metrics import classification_metrics
from jaxser.training.tracking import CollectedPosteriors

C = 5
RANDOM = np.random.default_rng(0)
TRUTH, PREDICTED = RANDOM.integers(0, C, 200), RANDOM.integers(0, C, 200)
CASES = {
    'random labels': (TRUTH, PREDICTED),
    'a class absent from the truth': (np.where(TRUTH == 2, 1, TRUTH), PREDICTED),
    'a class absent from the predictions': (TRUTH, np.where(PREDICTED == 4, 0, PREDICTED)),
    'both, and a class that is nowhere': (
        TRUTH % 3,
        np.where(PREDICTED % 4 == 1, 3, PREDICTED % 4),
    ),
    'all right': (TRUTH, TRUTH),
    'a single class': (np.ones(7, int), np.ones(7, int)),
    'none right': (np.zeros(7, int), np.ones(7, int)),
}


@pytest.mark.parametrize(('truth', 'predicted'), CASES.values(), ids=CASES)
def test_measures_are_those_of_scikit_learn(truth, predicted):
    """UAR and macro-F1 leave out the classes absent from the truth, WA is accuracy; rows of the matrix are the truth."""
    count_CxC = metrics.confusion_matrix(truth, predicted, C)
    np.testing.assert_array_equal(count_CxC, confusion_matrix(truth, predicted, labels=range(C)))
    options = {'labels': np.unique(truth), 'average': 'macro', 'zero_division': 0}
    expected = {
        'uar': recall_score(truth, predicted, **options),
        'wa': accuracy_score(truth, predicted),
        'f1': f1_score(truth, predicted, **options),
        'n': len(truth),
    }
    assert classification_metrics(count_CxC) == pytest.approx(expected, abs=1e-12)


def test_nobody_to_evaluate_is_nan():
    """No utterances: no figure, rather than a zero that looks like one."""
    found = classification_metrics(np.zeros((C, C), int))
    assert found.pop('n') == 0
    assert all(map(math.isnan, found.values()))


def gathered(
    batches: list[np.ndarray], fold_N: np.ndarray, scores_NxUxC: np.ndarray
) -> CollectedPosteriors:
    """The scores of every run for the utterances of its fold, in batches of row_FxB; what is padding has scores too."""
    scores = CollectedPosteriors(fold_N)
    for row_FxB in batches:
        scores.add(row_FxB, np.stack([s[row_FxB[f]] for s, f in zip(scores_NxUxC, fold_N)]))
    return scores


def test_posteriors_are_the_softmax_of_each_run_for_the_utterances_of_its_fold():
    """In the order of the utterances, whatever the batches; padding is nobody, and scores may be large."""
    batches = [np.array([[5, 0], [3, -1]]), np.array([[2, -1], [1, -1]])]
    fold_N = np.array([0, 1, 0])
    scores_NxUxC = np.float32(2000 * RANDOM.normal(size=(3, 6, C)))
    scores = gathered(batches, fold_N, scores_NxUxC)
    for n, expected in enumerate(([0, 2, 5], [1, 3], [0, 2, 5])):
        row_U, p_UxC = scores.get_run(n)
        assert row_U.tolist() == expected
        exact = scores_NxUxC[n, expected].astype(float)
        exact = np.exp(exact - exact.max(-1, keepdims=True))
        np.testing.assert_allclose(p_UxC, exact / exact.sum(-1, keepdims=True), rtol=1e-12)
        assert p_UxC.dtype == np.float64


def test_only_the_folds_that_have_runs_are_gathered():
    """A group of runs sees the batches of every fold."""
    scores = gathered([np.array([[0], [1], [2]])], np.array([2]), np.zeros((1, 3, C), np.float32))
    row_U, p_UxC = scores.get_run(0)
    assert row_U.tolist() == [2]
    np.testing.assert_array_equal(p_UxC, np.full((1, C), 1 / C))


def test_the_confusions_are_those_of_each_run():
    """An utterance counts for the class of its largest posterior."""
    emotion_U = np.array([0, 1, 2, 3])
    predicted_NxU = np.array([[0, 1, 2, 3], [1, 1, 1, 1]])
    scores = gathered(
        [np.array([[3, 0]]), np.array([[1, 2]])], np.zeros(2, int), np.eye(C)[predicted_NxU]
    )
    for found, predicted_U in zip(scores.confusion_matrices(emotion_U), predicted_NxU, strict=True):
        np.testing.assert_array_equal(found, metrics.confusion_matrix(emotion_U, predicted_U, C))

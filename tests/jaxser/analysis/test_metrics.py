"""Tests of the measures of a confusion matrix against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from jaxser.analysis import metrics
from jaxser.analysis.metrics import classification_metrics

C = 5
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.integers(0, C, 200)
PREDICTED = RANDOM.integers(0, C, 200)
FOUR_PREDICTED = PREDICTED % 4
CASES = {
    'random labels': (TRUTH, PREDICTED),
    'a class absent from the truth': (np.where(TRUTH == 2, 1, TRUTH), PREDICTED),
    'a class absent from the predictions': (TRUTH, np.where(PREDICTED == 4, 0, PREDICTED)),
    'both, and a class that is nowhere': (
        TRUTH % 3,
        np.where(FOUR_PREDICTED == 1, 3, FOUR_PREDICTED),
    ),
    'all right': (TRUTH, TRUTH),
    'a single class': (np.ones(7, int), np.ones(7, int)),
    'none right': (np.zeros(7, int), np.ones(7, int)),
}


@pytest.mark.parametrize(('truth', 'predicted'), CASES.values(), ids=CASES)
def test_measures_are_those_of_scikit_learn(truth, predicted):
    """UAR and F1 leave out the classes that are absent from the truth; WA is accuracy."""
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


def test_without_utterances_the_measures_are_nan():
    """Not a zero, which would look like a result."""
    measured = classification_metrics(np.zeros((C, C), int))
    assert measured.pop('n') == 0
    assert all(map(math.isnan, measured.values()))

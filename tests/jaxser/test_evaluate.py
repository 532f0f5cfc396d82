"""Measures of a confusion matrix against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from jaxser.evaluate import confusion, measures

C = 5
RANDOM = np.random.default_rng(0)
TRUTH, PREDICTED = RANDOM.integers(0, C, 200), RANDOM.integers(0, C, 200)
CASES = {
    'random labels': (TRUTH, PREDICTED),
    'a class absent from the truth': (np.where(TRUTH == 2, 1, TRUTH), PREDICTED),
    'a class absent from the predictions': (TRUTH, np.where(PREDICTED == 4, 0, PREDICTED)),
    'both, and a class that is nowhere': (TRUTH % 3, np.where(PREDICTED % 4 == 1, 3, PREDICTED % 4)),
    'all right': (TRUTH, TRUTH),
    'a single class': (np.ones(7, int), np.ones(7, int)),
    'none right': (np.zeros(7, int), np.ones(7, int)),
}


@pytest.mark.parametrize(('truth', 'predicted'), CASES.values(), ids=CASES)
def test_measures_are_those_of_scikit_learn(truth, predicted):
    """UAR and macro-F1 leave out the classes absent from the truth, WA is accuracy; rows of the matrix are the truth."""
    count_CxC = confusion(truth, predicted, C)
    np.testing.assert_array_equal(count_CxC, confusion_matrix(truth, predicted, labels=range(C)))
    options = {'labels': np.unique(truth), 'average': 'macro', 'zero_division': 0}
    expected = {
        'uar': recall_score(truth, predicted, **options),
        'wa': accuracy_score(truth, predicted),
        'f1': f1_score(truth, predicted, **options),
        'n': len(truth),
    }
    assert measures(count_CxC) == pytest.approx(expected, abs=1e-12)


def test_nobody_to_evaluate_is_nan():
    """No utterances: no figure, rather than a zero that looks like one."""
    found = measures(np.zeros((C, C), int))
    assert found.pop('n') == 0
    assert all(map(math.isnan, found.values()))

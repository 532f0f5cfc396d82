"""What a prediction is worth.

UAR  unweighted average recall: the mean over classes of recall; classes absent from the truth are left out (also called UA)
WA   weighted accuracy: the share of utterances that are right
F1   macro-F1: the mean over classes of the harmonic mean of precision and recall; classes absent from the truth are left out
"""

import numpy as np


def confusion(truth_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """count_CxC: rows are the truth, columns the prediction."""
    return np.bincount(truth_N * classes + predicted_N, minlength=classes**2).reshape(classes, classes)


def measures(count_CxC: np.ndarray) -> dict[str, float]:
    """UAR, WA, macro-F1 and the number of utterances of a confusion matrix; all NaN without utterances."""
    right_C, truth_C, predicted_C = np.diag(count_CxC), count_CxC.sum(1), count_CxC.sum(0)
    n, there = int(truth_C.sum()), truth_C > 0
    if not n:
        return {'uar': float('nan'), 'wa': float('nan'), 'f1': float('nan'), 'n': 0}
    return {
        'uar': float((right_C[there] / truth_C[there]).mean()),
        'wa': float(right_C.sum() / n),
        'f1': float((2 * right_C[there] / (truth_C + predicted_C)[there]).mean()),
        'n': n,
    }

"""Measures of predictions.

UAR  unweighted average recall: the mean of the recalls of the classes (also called UA)
WA   weighted accuracy: the share of utterances that are classified correctly
F1   macro-F1: the mean over classes of the harmonic mean of precision and recall

UAR and F1 leave out the classes that are absent from the truth.
"""

import numpy as np


def confusion_matrix(truth_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """Returns count_CxC: rows are the truth, columns the prediction."""
    cell_N = truth_N * classes + predicted_N
    return np.bincount(cell_N, minlength=classes**2).reshape(classes, classes)


def classification_metrics(count_CxC: np.ndarray) -> dict[str, float]:
    """Returns UAR, WA, F1 and the number of utterances of a confusion matrix.

    Without utterances the three measures are NaN.
    """
    correct_C = np.diag(count_CxC)
    truth_C = count_CxC.sum(1)
    predicted_C = count_CxC.sum(0)
    utterances = int(truth_C.sum())
    if not utterances:
        return {'uar': float('nan'), 'wa': float('nan'), 'f1': float('nan'), 'n': 0}
    present_C = truth_C > 0
    recall = correct_C[present_C] / truth_C[present_C]
    f1 = 2 * correct_C[present_C] / (truth_C + predicted_C)[present_C]
    return {
        'uar': float(recall.mean()),
        'wa': float(correct_C.sum() / utterances),
        'f1': float(f1.mean()),
        'n': utterances,
    }


def equal_error_rate(z_NxD: np.ndarray, speaker_N: np.ndarray) -> float:
    """Returns the equal error rate of speaker verification by cosine similarity, over all pairs.

    It is the rate at which misses (pairs of one speaker that are rejected) are as frequent as false
    alarms (pairs of two speakers that are accepted); linear between the points of the curve. At
    least one pair of each kind is required.
    """
    from sklearn.metrics import det_curve  # takes a second to import

    norm_Nx1 = np.linalg.norm(z_NxD, axis=1, keepdims=True)
    unit_NxD = z_NxD / np.where(norm_Nx1 > 0, norm_Nx1, 1)
    first_P, second_P = np.triu_indices(len(z_NxD), 1)
    similarity_P = (unit_NxD @ unit_NxD.T)[first_P, second_P]
    same_speaker_P = speaker_N[first_P] == speaker_N[second_P]
    false_alarm_T, miss_T, _ = det_curve(same_speaker_P, similarity_P)
    # Both ends of the curve, which older releases leave out: accept all pairs, reject all pairs.
    false_alarm_T = np.concatenate([[1.0], false_alarm_T, [0.0]])
    miss_T = np.concatenate([[0.0], miss_T, [1.0]])
    return float(np.interp(0.0, miss_T - false_alarm_T, miss_T))

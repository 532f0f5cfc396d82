"""What a prediction is worth.

UAR  unweighted average recall: the mean over classes of recall; classes absent from the truth are left out (also called UA)
WA   weighted accuracy: the share of utterances that are right
F1   macro-F1: the mean over classes of the harmonic mean of precision and recall; classes absent from the truth are left out
"""

import numpy as np


def confusion_matrix(truth_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """count_CxC: rows are the truth, columns the prediction."""
    return np.bincount(truth_N * classes + predicted_N, minlength=classes**2).reshape(
        classes, classes
    )


def classification_metrics(count_CxC: np.ndarray) -> dict[str, float]:
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


def equal_error_rate(z_NxD: np.ndarray, speaker_N: np.ndarray) -> float:
    """Of telling by the cosine whether two utterances have one speaker: where misses are as frequent as false alarms."""
    norm_Nx1 = np.linalg.norm(z_NxD, axis=1, keepdims=True)
    unit_NxD = z_NxD / np.where(norm_Nx1 > 0, norm_Nx1, 1)
    first, second = np.triu_indices(len(z_NxD), 1)
    score_P, same_P = (unit_NxD @ unit_NxD.T)[first, second], speaker_N[first] == speaker_N[second]
    order = np.argsort(score_P, kind='stable')
    score_P, same_P = score_P[order], same_P[order]
    last_P = np.append(
        score_P[1:] > score_P[:-1], True
    )  # pairs of one score are told apart by none
    missed_P = np.concatenate([[0], np.cumsum(same_P)[last_P]]) / same_P.sum()
    alarms_P = 1 - np.concatenate([[0], np.cumsum(~same_P)[last_P]]) / (~same_P).sum()
    after = int(np.argmax(missed_P >= alarms_P))
    before = max(after - 1, 0)
    gap = (alarms_P - missed_P)[before] - (alarms_P - missed_P)[after]
    share = (alarms_P - missed_P)[before] / gap if gap > 0 else 0.0
    return float(missed_P[before] + share * (missed_P[after] - missed_P[before]))

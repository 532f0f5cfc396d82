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
    norm_Nx1 = np.linalg.norm(z_NxD, axis=1, keepdims=True)
    unit_NxD = z_NxD / np.where(norm_Nx1 > 0, norm_Nx1, 1)
    first_P, second_P = np.triu_indices(len(z_NxD), 1)
    similarity_P = (unit_NxD @ unit_NxD.T)[first_P, second_P]
    is_same_P = speaker_N[first_P] == speaker_N[second_P]

    # From "reject all pairs" to "accept all"; equal similarities are accepted together.
    order_P = np.argsort(-similarity_P)
    is_same_P = is_same_P[order_P]
    is_last_P = np.append(np.diff(similarity_P[order_P]) != 0, True)
    hits_T = np.cumsum(is_same_P)[is_last_P]
    false_alarms_T = np.cumsum(~is_same_P)[is_last_P]
    miss_T = np.append(1.0, 1 - hits_T / hits_T[-1])
    false_alarm_T = np.append(0.0, false_alarms_T / false_alarms_T[-1])
    return float(np.interp(0.0, false_alarm_T - miss_T, miss_T))


def below_chance_p_value(count_KxK: np.ndarray) -> float:
    """Returns the p-value of a one-sided binomial test that predictions are below chance.

    Args:
      count_KxK: a confusion matrix; rows are the truth. Chance is the share of correct predictions
        if truth and prediction were independent, with their frequencies as they are.
    """
    from scipy import stats

    n = count_KxK.sum()
    chance = float(count_KxK.sum(0) @ count_KxK.sum(1)) / n**2
    return float(stats.binom.cdf(np.trace(count_KxK), n, chance))

"""Calibration of posteriors: of the predictions with a confidence of 80 %, 80 % are correct."""

from typing import NamedTuple

import numpy as np

# Bounds for dev parts whose best temperature would be 0 (all predictions are correct) or infinite.
MIN_TEMPERATURE = 0.05
MAX_TEMPERATURE = 20.0

BIN_COUNT = 15  # bins of equal width (Guo et al. 2017, arXiv 1706.04599)


def apply_temperature(p_NxC: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the posteriors of scores divided by the temperature; their order is unchanged."""
    score_NxC = np.log(np.maximum(p_NxC, np.finfo(float).tiny)) / temperature
    p_NxC = np.exp(score_NxC - score_NxC.max(-1, keepdims=True))
    return p_NxC / p_NxC.sum(-1, keepdims=True)


def negative_log_likelihood(p_NxC: np.ndarray, truth_N: np.ndarray) -> float:
    """Returns the mean negative log likelihood of the truth, in nats."""
    p_N = p_NxC[np.arange(len(truth_N)), truth_N]
    return float(-np.log(np.maximum(p_N, np.finfo(float).tiny)).mean())


def fit_temperature(p_NxC: np.ndarray, truth_N: np.ndarray) -> dict:
    """Returns the temperature that minimises the negative log likelihood (Guo et al. 2017).

    Returns {'temperature', 'utterances', 'nll_before', 'nll'}, the likelihoods in nats. The
    temperature is 1 if there are no utterances, or if no temperature is better than 1.
    """
    if not len(truth_N):
        return {'temperature': 1.0, 'utterances': 0, 'nll_before': None, 'nll': None}
    from scipy import optimize  # prediction need not wait for this import

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(apply_temperature(p_NxC, np.exp(log_temperature)), truth_N)

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    minimum = optimize.minimize_scalar(loss, bounds=bounds, method='bounded')
    loss_before = negative_log_likelihood(p_NxC, truth_N)
    temperature = float(np.exp(minimum.x)) if minimum.fun < loss_before else 1.0
    return {
        'temperature': temperature,
        'utterances': len(truth_N),
        'nll_before': loss_before,
        'nll': min(float(minimum.fun), loss_before),
    }


class Reliability(NamedTuple):
    """The bins of confidence that are not empty, B of them."""

    share_B: np.ndarray  # of all predictions
    confidence_B: np.ndarray  # the mean
    accuracy_B: np.ndarray
    count_B: np.ndarray  # of predictions
    start_B: np.ndarray  # the lowest confidence of the bin

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean |confidence - accuracy|, weighted by share."""
        return float((self.share_B * np.abs(self.confidence_B - self.accuracy_B)).sum())


def reliability_bins(confidence_N: np.ndarray, correct_N: np.ndarray) -> Reliability:
    """Returns the reliability of predictions, sorted into bins by their confidence."""
    bin_N = np.minimum((confidence_N * BIN_COUNT).astype(int), BIN_COUNT - 1)
    all_count_B = np.bincount(bin_N, minlength=BIN_COUNT)
    used_B = all_count_B > 0
    count_B = all_count_B[used_B]
    confidence_B = np.bincount(bin_N, confidence_N, BIN_COUNT)[used_B] / count_B
    accuracy_B = np.bincount(bin_N, correct_N, BIN_COUNT)[used_B] / count_B
    start_B = np.flatnonzero(used_B) / BIN_COUNT
    return Reliability(count_B / len(bin_N), confidence_B, accuracy_B, count_B, start_B)


def wilson_intervals(bins: Reliability) -> list[tuple[float, float]]:
    """Returns 95 % intervals of the accuracy of each bin (Wilson 1927).

    Predictions count as independent. Those of one speaker are not, so that the intervals are too
    narrow where there are few speakers.
    """
    z = 1.96
    intervals = []
    for share, count in zip(bins.accuracy_B.tolist(), bins.count_B.tolist()):
        centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
        variance = share * (1 - share) / count + z**2 / (4 * count**2)
        margin = z * variance**0.5 / (1 + z**2 / count)
        intervals.append((centre - margin, centre + margin))
    return intervals

"""Whether posteriors are what they say: of utterances predicted with 80 %, 80 % should be right."""

from typing import NamedTuple

import numpy as np

MIN_TEMPERATURE, MAX_TEMPERATURE = (
    0.05,
    20.0,
)  # where a dev part would have a temperature of 0 (all of it is right) or none


def apply_temperature(p_NxC: np.ndarray, temperature: float) -> np.ndarray:
    """The posteriors of scores that are divided by the temperature; their order stays."""
    score_NxC = np.log(np.maximum(p_NxC, np.finfo(float).tiny)) / temperature
    p_NxC = np.exp(score_NxC - score_NxC.max(-1, keepdims=True))
    return p_NxC / p_NxC.sum(-1, keepdims=True)


def negative_log_likelihood(p_NxC: np.ndarray, truth_N: np.ndarray) -> float:
    """The mean negative log likelihood of the truth, in nats."""
    return float(
        -np.log(np.maximum(p_NxC[np.arange(len(truth_N)), truth_N], np.finfo(float).tiny)).mean()
    )


def fit_temperature(p_NxC: np.ndarray, truth_N: np.ndarray) -> dict:
    """The temperature that makes the truth least surprising (Guo et al. 2017, arXiv 1706.04599); 1 of no utterance."""
    if not len(truth_N):
        return {'temperature': 1.0, 'utterances': 0, 'nll_before': None, 'nll': None}
    from scipy import optimize  # prediction need not wait for it

    loss = lambda log_t: negative_log_likelihood(apply_temperature(p_NxC, np.exp(log_t)), truth_N)  # noqa: E731
    found = optimize.minimize_scalar(
        loss, bounds=(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)), method='bounded'
    )
    before = negative_log_likelihood(p_NxC, truth_N)
    temperature = float(np.exp(found.x)) if found.fun < before else 1.0
    return {
        'temperature': temperature,
        'utterances': len(truth_N),
        'nll_before': before,
        'nll': min(float(found.fun), before),
    }


BIN_COUNT = 15  # of equal width (Guo et al. 2017, 1706.04599)


class Reliability(NamedTuple):
    """Of the bins that hold an utterance: share of all, mean confidence, and accuracy; shapes (B,)."""

    share_B: np.ndarray
    confidence_B: np.ndarray
    accuracy_B: np.ndarray

    @property
    def expected_error(self) -> float:
        """The expected calibration error: the mean distance of confidence and accuracy, by share."""
        return float((self.share_B * np.abs(self.confidence_B - self.accuracy_B)).sum())


def reliability_bins(confidence_N: np.ndarray, right_N: np.ndarray) -> Reliability:
    """The bins of some utterances."""
    bin_N = np.minimum((confidence_N * BIN_COUNT).astype(int), BIN_COUNT - 1)
    count_B = np.bincount(bin_N, minlength=BIN_COUNT)
    there = count_B > 0
    of = lambda x_N: np.bincount(bin_N, x_N, BIN_COUNT)[there] / count_B[there]  # noqa: E731
    return Reliability(count_B[there] / len(bin_N), of(confidence_N), of(right_N))

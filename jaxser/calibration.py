"""Whether posteriors are what they say: of utterances predicted with 80 %, 80 % should be right."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

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


def read_confidences(rows: Iterable[dict], classes: list[str]) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    """Returns confidence and correctness by run and fold, each of shape (N,), from the rows of predictions.csv.

    The confidence is the posterior of the predicted class.
    """
    lists: dict[tuple, list] = {}
    for row in rows:
        posterior = [float(row[name]) for name in classes]
        at = int(np.argmax(posterior))
        lists.setdefault((row['run'], int(row['fold'])), []).append((posterior[at], classes[at] == row['truth']))
    return {k: tuple(np.array(column) for column in zip(*some)) for k, some in lists.items()}


def reliability_bins(confidence_N: np.ndarray, right_N: np.ndarray) -> Reliability:
    """The bins of some utterances."""
    bin_N = np.minimum((confidence_N * BIN_COUNT).astype(int), BIN_COUNT - 1)
    count_B = np.bincount(bin_N, minlength=BIN_COUNT)
    there = count_B > 0
    of = lambda x_N: np.bincount(bin_N, x_N, BIN_COUNT)[there] / count_B[there]  # noqa: E731
    return Reliability(count_B[there] / len(bin_N), of(confidence_N), of(right_N))

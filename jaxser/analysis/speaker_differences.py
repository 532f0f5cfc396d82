"""The difference of two settings for each speaker, with an interval over the speaker's utterances.

Both settings were tested on the same utterances, so that the differences are paired: utterance by
utterance, the share of seeds in which it was correct, minus that of the other setting.
"""

from typing import NamedTuple

import numpy as np

from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.predictions import pool_predictions

Z_95 = 1.96  # the 95 % quantile of |z| for a normal distribution


class SpeakerDifference(NamedTuple):
    """UAR of a speaker minus that of another setting, with a rough 95 % interval or None."""

    speaker: str
    value: float
    ci95: tuple[float, float] | None


class CorrectShares(NamedTuple):
    """For every tested utterance: its speaker, its class, and the share of correct seeds."""

    speaker_N: np.ndarray
    truth_N: np.ndarray
    share_N: np.ndarray


def speaker_differences(analysis: SweepAnalysis, row: dict, other: dict) -> list[SpeakerDifference]:
    """Returns the difference of a row and another, speaker by speaker in alphabetical order."""
    shares, other_shares = correct_shares(analysis, row), correct_shares(analysis, other)
    difference_N = shares.share_N - other_shares.share_N
    differences = []
    for speaker in np.unique(shares.speaker_N).tolist():
        mask_N = shares.speaker_N == speaker
        value, ci95 = mean_over_classes(difference_N[mask_N], shares.truth_N[mask_N])
        differences.append(SpeakerDifference(speaker, value, ci95))
    return differences


def correct_shares(analysis: SweepAnalysis, row: dict) -> CorrectShares:
    """Returns how often each tested utterance was correct, the folds of every seed pooled."""
    runs_by_seed: dict[int, list[dict]] = {}
    for run in analysis.complete_runs(row):
        runs_by_seed.setdefault(run['hyper']['seed'], []).append(run)
    correct_by_seed = []
    for runs in runs_by_seed.values():
        runs.sort(key=_fold)
        pooled = pool_predictions(map(analysis.run_predictions, runs))
        correct_by_seed.append(pooled.predicted_N == pooled.truth_N)
    return CorrectShares(pooled.speaker_N, pooled.truth_N, np.mean(correct_by_seed, axis=0))


def _fold(run: dict) -> int:
    return run['hyper']['fold']


def mean_over_classes(
    value_N: np.ndarray, class_N: np.ndarray
) -> tuple[float, tuple[float, float] | None]:
    """Returns the mean over classes of the mean of each class, and its rough 95 % interval.

    There is no interval if a class has a single utterance, and if the values of no class differ.
    """
    means, variances = [], []
    for k in np.unique(class_N):
        class_values = value_N[class_N == k]
        means.append(class_values.mean())
        spread = class_values.var(ddof=1) if len(class_values) > 1 else np.nan
        variances.append(spread / len(class_values))
    value = float(np.mean(means))
    error = float(np.sqrt(np.sum(variances))) / len(means)
    if not error > 0:  # NaN too
        return value, None
    return value, (value - Z_95 * error, value + Z_95 * error)

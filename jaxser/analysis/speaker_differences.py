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
    """A speaker's UAR in one setting minus that in another."""

    speaker: str
    value: float
    ci95: tuple[float, float] | None  # roughly 95 %; None if the utterances have no spread


class CorrectShares(NamedTuple):
    """The tested utterances of a setting."""

    speaker_N: np.ndarray
    truth_N: np.ndarray  # classes as numbers
    share_N: np.ndarray  # the share of seeds in which the prediction is correct


def speaker_differences(analysis: SweepAnalysis, row: dict, other: dict) -> list[SpeakerDifference]:
    """Returns UAR in a row of the summary minus that in another, by speaker in alphabetical order.

    Folds are pooled, and seeds averaged.
    """
    shares, other_shares = correct_shares(analysis, row), correct_shares(analysis, other)
    difference_N = shares.share_N - other_shares.share_N
    speakers, speaker_N = np.unique(shares.speaker_N, return_inverse=True)
    rows_by_speaker = np.split(
        np.argsort(speaker_N, kind='stable'), np.cumsum(np.bincount(speaker_N))[:-1]
    )
    differences = []
    for speaker, rows in zip(speakers.tolist(), rows_by_speaker):
        value, ci95 = mean_over_classes(difference_N[rows], shares.truth_N[rows])
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

    There is no interval if a class has a single utterance, or if all values of each class are
    equal.
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

"""The difference of two settings for each speaker, with an interval over the speaker's utterances.

Both settings were tested on the same utterances, so that the differences are paired. For UAR:
utterance by utterance, the share of seeds in which it was correct, minus that of the other setting.
For CCC: the influence of each utterance on the difference (the delta method).
"""

from typing import NamedTuple

import numpy as np

from jaxser.analysis import concordance
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.measure import CCC
from jaxser.analysis.predictions import RunPredictions, pool_predictions
from jaxser.analysis.statistics import ConcordanceTerm

Z_95 = 1.96  # the 95 % quantile of |z| for a normal distribution
ZERO_TOLERANCE = 1e-12  # a standard error below it means that no utterance has an influence


class SpeakerDifference(NamedTuple):
    """A speaker's UAR or CCC in one setting minus that in another."""

    speaker: str
    value: float
    ci95: tuple[float, float] | None  # roughly 95 %; None if the utterances have no spread
    utterances: int  # tested ones of the speaker


class CorrectShares(NamedTuple):
    """The tested utterances of a setting."""

    speaker_N: np.ndarray
    truth_N: np.ndarray  # classes as numbers
    share_N: np.ndarray  # the share of seeds in which the prediction is correct


def speaker_differences(analysis: SweepAnalysis, row: dict, other: dict) -> list[SpeakerDifference]:
    """Returns UAR in a row of the summary minus that in another, by speaker in alphabetical order.

    It is CCC where that is the main measure. Folds are pooled, and seeds averaged.
    """
    if analysis.measure == CCC:
        return _concordance_differences(analysis, row, other)
    shares, other_shares = correct_shares(analysis, row), correct_shares(analysis, other)
    difference_N = shares.share_N - other_shares.share_N
    differences = []
    for speaker, rows in _rows_by_speaker(shares.speaker_N).items():
        value, ci95 = mean_over_classes(difference_N[rows], shares.truth_N[rows])
        differences.append(SpeakerDifference(speaker, value, ci95, len(rows)))
    return differences


def _rows_by_speaker(speaker_N: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the indices of each speaker's utterances, the speakers in alphabetical order."""
    speakers, index_N = np.unique(speaker_N, return_inverse=True)
    ends = np.cumsum(np.bincount(index_N))[:-1]
    rows = np.split(np.argsort(index_N, kind='stable'), ends)
    return dict(zip(speakers.tolist(), rows))


def _concordance_differences(
    analysis: SweepAnalysis, row: dict, other: dict
) -> list[SpeakerDifference]:
    """Returns CCC, averaged over the ratings, in a row minus that in another, by speaker."""
    seeds, other_seeds = _pooled_seeds(analysis, row), _pooled_seeds(analysis, other)
    moment_ZxNxAx6, other_ZxNxAx6 = _utterance_moments(seeds), _utterance_moments(other_seeds)
    differences = []
    for speaker, rows in _rows_by_speaker(seeds[0].speaker_N).items():
        value, ci95 = concordance_difference(moment_ZxNxAx6[:, rows], other_ZxNxAx6[:, rows])
        differences.append(SpeakerDifference(speaker, value, ci95, len(rows)))
    return differences


def _utterance_moments(seeds: list[RunPredictions]) -> np.ndarray:
    """Returns moment_ZxNxAx6 of each utterance."""
    moments = []
    for pooled in seeds:
        index_N = np.arange(len(pooled.speaker_N))
        moments.append(concordance.speaker_moments(index_N, pooled.truth_NxA, pooled.rating_NxA))
    return np.stack(moments)


def concordance_difference(
    moment_ZxNxAx6: np.ndarray, other_ZxNxAx6: np.ndarray
) -> tuple[float, tuple[float, float] | None]:
    """Returns the CCC of utterances minus that in another setting, and its rough 95 % interval.

    The two may have different numbers of seeds. There is no interval if the utterances have no
    influence on the difference, as where the settings are equal.
    """
    weight_1xN = np.ones((1, moment_ZxNxAx6.shape[1]))
    (value,), (influence_N,) = ConcordanceTerm(1, moment_ZxNxAx6).evaluate(weight_1xN)
    (other,), (other_influence_N,) = ConcordanceTerm(1, other_ZxNxAx6).evaluate(weight_1xN)
    difference = float(value - other)
    error = float(np.sqrt(np.sum((influence_N - other_influence_N) ** 2)))
    if error < ZERO_TOLERANCE:
        return difference, None
    return difference, (difference - Z_95 * error, difference + Z_95 * error)


def correct_shares(analysis: SweepAnalysis, row: dict) -> CorrectShares:
    """Returns how often each tested utterance was correct, the folds of every seed pooled."""
    seeds = _pooled_seeds(analysis, row)
    correct_by_seed = [pooled.predicted_N == pooled.truth_N for pooled in seeds]
    share_N = np.mean(correct_by_seed, axis=0)
    return CorrectShares(seeds[0].speaker_N, seeds[0].truth_N, share_N)


def _pooled_seeds(analysis: SweepAnalysis, row: dict) -> list[RunPredictions]:
    """Returns the predictions of each seed of a setting, its folds pooled in ascending order."""
    runs_by_seed: dict[int, list[dict]] = {}
    for run in analysis.complete_runs(row):
        runs_by_seed.setdefault(run['hyper']['seed'], []).append(run)
    seeds = []
    for runs in runs_by_seed.values():
        runs.sort(key=_fold)
        seeds.append(pool_predictions(map(analysis.run_predictions, runs)))
    return seeds


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

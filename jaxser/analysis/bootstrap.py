"""How sure a UAR is: a bootstrap that resamples speakers, each with all that they say.

A speaker is drawn, not an utterance: what a network makes of a voice it makes of all its utterances. The same draw holds for
every seed and for both of two methods (seeds crossed with speakers), so a difference is of pairs, and what follows is about other
speakers, not about other seeds. The quantiles of draws themselves would make intervals that are too narrow for few speakers;
those of studentised draws do not (Hall 1988, the symmetric bootstrap-t): every draw's distance from the figure is taken in units
of its own standard error.

Shapes: Z seeds, S speakers, C classes, Q draws; count_ZxSxCxC are confusion matrices, rows the truth, columns the prediction.
"""

from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError

DRAWS = 2000
RARE_DRAWS, RARE_COUNT = (
    50_000,
    10,
)  # draws for a p-value where of the first fewer are beyond: else it could not survive many comparisons
CONFIDENCE_LEVEL = 0.95
MIN_SPEAKERS = 6  # speakers: what fewer would give is no interval
# By the number of speakers, how often intervals of 95 % hold the truth: the least of what tests/benchmarks/intervals.py prints.
MEASURED_COVERAGE = {6: 0.938, 10: 0.943, 24: 0.945}


class Estimate(NamedTuple):
    """A figure, its 95 % interval, and the p-value of its being 0.

    Both are None where there are fewer than 6 speakers, of whom little about others follows.
    """

    value: float
    ci95: tuple[float, float] | None
    p: float | None


def speaker_confusions(
    speaker_N: np.ndarray, truth_N: np.ndarray, predicted_N: np.ndarray, classes: int
) -> np.ndarray:
    """count_SxCxC of a seed's test predictions, its folds pooled: speakers by name, in their order; classes by index."""
    names, index_N = np.unique(speaker_N, return_inverse=True)
    at_N = (index_N * classes + truth_N) * classes + predicted_N
    return np.bincount(at_N, minlength=len(names) * classes**2).reshape(-1, classes, classes)


def uar_from_counts(count_CxC: np.ndarray) -> np.ndarray:
    """The mean over classes of recall, of one or many matrices; classes absent from the truth are left out; NaN without any."""
    right_C, truth_C = np.diagonal(count_CxC, axis1=-2, axis2=-1), count_CxC.sum(-1)
    recall_C = right_C / np.where(truth_C > 0, truth_C, 1)
    there = (truth_C > 0).sum(-1)
    return recall_C.sum(-1) / np.where(there > 0, there, np.nan)


def bootstrap_weights(speakers: int, draws: int = DRAWS) -> np.ndarray:
    """weight_QxS: how often each draw holds each speaker; always the same draws."""
    return np.random.default_rng(0).multinomial(speakers, np.full(speakers, 1 / speakers), draws)


def mean_recall(
    right_SxC: np.ndarray, said_SxC: np.ndarray, weight_QxS: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(uar_Q, influence_QxS) of every draw: the mean over classes of recall, and its derivative by each speaker's weight."""
    weight_QxS = weight_QxS.astype(np.float64)
    said_QxC = weight_QxS @ said_SxC
    there_QxC = said_QxC > 0
    share_QxC = (
        there_QxC
        / np.where(there_QxC, said_QxC, 1)
        / np.maximum(there_QxC.sum(1, keepdims=True), 1)
    )
    recall_QxC = (weight_QxS @ right_SxC) / np.where(there_QxC, said_QxC, 1)
    uar_Q = (recall_QxC * there_QxC).sum(1) / np.maximum(there_QxC.sum(1), 1)
    return uar_Q, share_QxC @ right_SxC.T - (share_QxC * recall_QxC) @ said_SxC.T


def bootstrap_estimate(*terms: tuple[int, np.ndarray, np.ndarray]) -> Estimate:
    """Of a sum of mean recalls, each (sign, right_SxC, said_SxC), all by the same draws.

    The interval is value -+ q error, with q the 95 % quantile of |draw - value| / error of the draw, by the draws in which
    speakers differ; p the share of them beyond |value| / error, of more draws where that is rare.
    """
    S = len(terms[0][1])

    def of(weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value_Q, influence_QxS = 0.0, 0.0
        for sign, right_SxC, said_SxC in terms:
            one_Q, its_QxS = mean_recall(right_SxC, said_SxC, weight_QxS)
            value_Q, influence_QxS = value_Q + sign * one_Q, influence_QxS + sign * its_QxS
        return value_Q, np.sqrt((weight_QxS * influence_QxS**2).sum(1))

    (value,), (error,) = of(np.ones((1, S)))
    if S < MIN_SPEAKERS:
        return Estimate(float(value), None, None)
    if error <= ZERO_TOLERANCE:
        return Estimate(
            float(value), (float(value), float(value)), float(abs(value) <= ZERO_TOLERANCE)
        )

    def apart(draws: int) -> tuple[np.ndarray, int]:
        value_Q, error_Q = of(bootstrap_weights(S, draws))
        apart_Q = (
            np.abs(value_Q - value)[error_Q > ZERO_TOLERANCE] / error_Q[error_Q > ZERO_TOLERANCE]
        )
        return apart_Q, int((apart_Q >= abs(value) / error).sum())

    apart_Q, beyond = apart(DRAWS)
    reach = float(np.quantile(apart_Q, CONFIDENCE_LEVEL) * error)
    if beyond < RARE_COUNT:
        apart_Q, beyond = apart(RARE_DRAWS)
    return Estimate(
        float(value),
        (float(value) - reach, float(value) + reach),
        (beyond + 1) / (len(apart_Q) + 1),
    )


ZERO_TOLERANCE = 1e-12  # an error below it is that of speakers who do not differ


def _correct_and_total(count_ZxSxCxC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(right_SxC, said_SxC): every seed is tested on the same, so the mean recall over seeds is that of their mean counts."""
    return np.diagonal(count_ZxSxCxC, axis1=-2, axis2=-1).mean(0), count_ZxSxCxC[0].sum(-1)


def uar_estimate(count_ZxSxCxC: np.ndarray) -> Estimate:
    """The UAR that pools the folds of a seed, averaged over seeds; its interval stays within 0 and 1."""
    found = bootstrap_estimate((1, *_correct_and_total(count_ZxSxCxC)))
    return found._replace(
        ci95=found.ci95 and (max(found.ci95[0], 0.0), min(found.ci95[1], 1.0)), p=None
    )


def difference_estimate(count_ZxSxCxC: np.ndarray, reference_ZxSxCxC: np.ndarray) -> Estimate:
    """That UAR less a reference's, which may have other seeds; refuses one that was tested on other utterances."""
    (right_SxC, said_SxC), (theirs_SxC, others_SxC) = (
        _correct_and_total(count_ZxSxCxC),
        _correct_and_total(reference_ZxSxCxC),
    )
    if not np.array_equal(said_SxC, others_SxC):
        raise UserError(
            f'Two results to compare were tested on other utterances: {said_SxC.sum()} of {len(said_SxC)} speakers, and '
            f'{others_SxC.sum()} of {len(others_SxC)}, class by class. Compare results of the same split_sha256 and folds.'
        )
    return bootstrap_estimate((1, right_SxC, said_SxC), (-1, theirs_SxC, others_SxC))


def holm_correction(p_M: list[float]) -> list[float]:
    """The p-values of several comparisons, corrected so that any false one among them is as rare as said (Holm 1979)."""
    order = np.argsort(p_M)
    raised = np.maximum.accumulate(np.array(p_M)[order] * np.arange(len(p_M), 0, -1))
    return np.minimum(raised, 1.0)[np.argsort(order)].tolist()


def interval_coverage(speakers: int) -> float | None:
    """How often an interval of so many speakers holds the truth, as measured for the largest number not above; None for fewer."""
    return next(
        (MEASURED_COVERAGE[n] for n in sorted(MEASURED_COVERAGE, reverse=True) if n <= speakers),
        None,
    )

"""Confidence intervals and p-values of UAR and CCC, by a bootstrap that resamples speakers.

A draw is a bootstrap sample: speakers are drawn with replacement, each with all their utterances,
because errors on one voice are correlated. Every seed uses the same draws, and so do two methods
that are compared: their differences are paired. The intervals are about other speakers, not about
other seeds.

Plain quantiles of the draws give intervals that are too narrow for few speakers. Here each draw's
distance from the estimate is divided by that draw's own standard error (the symmetric bootstrap-t,
Hall 1988). The standard error is that of the delta method. A measure therefore gives, for every
draw, its value and the influence of each speaker on it: its derivative with respect to the weight
of the speaker.

A CCC is transformed by Fisher's z (artanh) before, and its interval back, as Lin (1989, Biometrics
45, 255-268) does, and as Hall, Martin and Schucany recommend for the bootstrap of correlations
(1988, technical report 221, Southern Methodist University). Without it, intervals over six speakers
are too narrow where speakers differ much. A difference of two CCCs is not transformed. Its standard
error is multiplied by sqrt(S / (S - 1)), which was chosen by the simulations: without it, intervals
over ten speakers are too narrow where speakers differ much.

Shapes: Z seeds, S speakers, C classes, Q draws. count_ZxSxCxC are confusion matrices: rows are the
truth, columns the prediction.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from data_pipelines.errors import UserError
from jaxser.analysis.measure import Measure

DRAWS = 2000
# Where fewer than RARE_COUNT of the first draws are as extreme as the estimate, the p-value is
# computed from RARE_DRAWS: the smallest p-value of 2,000 draws is too large for a correction for
# many comparisons. With more than 300 speakers so many draws would take too long. There are then
# RARE_WEIGHTS / speakers of them, and at least LEAST_RARE_DRAWS. (Student's t is no substitute: if
# speakers have very different numbers of utterances, its tails are far too thin.)
RARE_DRAWS = 50_000
RARE_WEIGHTS = 15_000_000
LEAST_RARE_DRAWS = 10_000
RARE_COUNT = 10
# Number of weights (draws x speakers) that are processed at a time. The arrays of a block of this
# size fit into the cache of the processor.
BLOCK_SIZE = 50_000
CONFIDENCE_LEVEL = 0.95
MIN_SPEAKERS = 6  # with fewer speakers there are no intervals
ZERO_TOLERANCE = 1e-12  # a standard error below it means that the speakers do not differ
MAX_CORRELATION = 1 - 1e-6  # a larger one counts as this, because z of 1 is infinite
# How often 95 % intervals include the true value, by measure and number of speakers: the lowest
# rate that tests/benchmarks/intervals.py prints.
MEASURED_COVERAGE = {
    'uar': {6: 0.938, 10: 0.943, 24: 0.945},
    'ccc': {6: 0.942, 10: 0.942, 24: 0.937},
}


class Estimate(NamedTuple):
    """A value, its 95 % interval, and the p-value of the hypothesis that it is 0.

    Interval and p-value are None where there are fewer than MIN_SPEAKERS speakers.
    """

    value: float
    ci95: tuple[float, float] | None
    p: float | None


class Term(Protocol):
    """A measure that is a term of a sum, such as a difference."""

    @property
    def sign(self) -> float:
        """The factor: +1 or -1, divided by the number of terms if they are averaged."""

    @property
    def speakers(self) -> int:
        """The number of speakers."""

    def evaluate(self, weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (value_Q, influence_QxS) of every draw, without the factor."""


class Statistics(Protocol):
    """What the tested speakers contribute to a measure (jaxser/analysis/statistics.py)."""

    @property
    def measure(self) -> Measure:
        """The measure."""

    @property
    def truth_SxK(self) -> np.ndarray:
        """Sums over the truth of each speaker, by which the tested utterances are compared."""

    @property
    def utterances(self) -> int:
        """The number of tested utterances."""

    def term(self, sign: float = 1) -> Term:
        """Returns the measure, averaged over seeds, as a term."""


class RecallTerm(NamedTuple):
    """A mean recall that is a term of a sum, with its factor."""

    sign: float
    correct_SxC: np.ndarray  # utterances classified correctly, by speaker and true class
    total_SxC: np.ndarray  # all utterances

    @property
    def speakers(self) -> int:
        """The number of speakers."""
        return len(self.correct_SxC)

    def evaluate(self, weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (uar_Q, influence_QxS) of every draw."""
        return mean_recall(self.correct_SxC, self.total_SxC, weight_QxS)


class FisherTerm(NamedTuple):
    """A correlation on Fisher's z scale: z = artanh(value)."""

    term: Term
    sign: float = 1

    @property
    def speakers(self) -> int:
        """The number of speakers."""
        return self.term.speakers

    def evaluate(self, weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (z_Q, influence_QxS) of every draw."""
        value_Q, influence_QxS = self.term.evaluate(weight_QxS)
        value_Q = np.clip(value_Q, -MAX_CORRELATION, MAX_CORRELATION)
        return np.arctanh(value_Q), influence_QxS / (1 - value_Q**2)[:, None]


def speaker_confusions(
    speaker_N: np.ndarray, truth_N: np.ndarray, predicted_N: np.ndarray, classes: int
) -> np.ndarray:
    """Returns count_SxCxC of test predictions, the speakers in alphabetical order."""
    names, index_N = np.unique(speaker_N, return_inverse=True)
    cell_N = (index_N * classes + truth_N) * classes + predicted_N
    count_N = np.bincount(cell_N, minlength=len(names) * classes**2)
    return count_N.reshape(-1, classes, classes)


def uar_from_counts(count_CxC: np.ndarray) -> np.ndarray:
    """Returns the UAR of confusion matrices of shape (..., C, C).

    Classes that are absent from the truth are left out; without any class the UAR is NaN.
    """
    correct_C = np.diagonal(count_CxC, axis1=-2, axis2=-1)
    truth_C = count_CxC.sum(-1)
    recall_C = correct_C / np.where(truth_C > 0, truth_C, 1)
    present = (truth_C > 0).sum(-1)
    return recall_C.sum(-1) / np.where(present > 0, present, np.nan)


@functools.lru_cache(maxsize=4)
def bootstrap_weights(speakers: int, draws: int = DRAWS) -> np.ndarray:
    """Returns weight_QxS: how often each draw contains each speaker; always the same draws.

    The array is shared by all callers and cannot be written. Drawing takes longer than computing a
    difference, therefore the result is cached.
    """
    random = np.random.default_rng(0)
    share_S = np.full(speakers, 1 / speakers)
    # Eight bits are enough: a number above 255 has a probability below 1e-500.
    weight_QxS = np.empty((draws, speakers), np.uint8)
    for block_BxS in _blocks(weight_QxS):
        block_BxS[:] = random.multinomial(speakers, share_S, len(block_BxS))
    weight_QxS.flags.writeable = False
    return weight_QxS


def _blocks(weight_QxS: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the draws in blocks of BLOCK_SIZE weights, rounded down to whole draws."""
    rows = max(BLOCK_SIZE // weight_QxS.shape[1], 1)
    for start in range(0, len(weight_QxS), rows):
        yield weight_QxS[start : start + rows]


def mean_recall(
    correct_SxC: np.ndarray, total_SxC: np.ndarray, weight_QxS: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (uar_Q, influence_QxS) of every draw.

    The influence is the derivative of the draw's UAR with respect to the weight of each speaker.
    """
    weight_QxS = np.asarray(weight_QxS, np.float64)
    total_QxC = weight_QxS @ total_SxC
    present_QxC = total_QxC > 0
    nonzero_total_QxC = np.where(present_QxC, total_QxC, 1)
    present_Qx1 = np.maximum(present_QxC.sum(1, keepdims=True), 1)
    share_QxC = present_QxC / nonzero_total_QxC / present_Qx1
    recall_QxC = (weight_QxS @ correct_SxC) / nonzero_total_QxC
    uar_Q = (recall_QxC * present_QxC).sum(1) / present_Qx1[:, 0]
    influence_QxS = share_QxC @ correct_SxC.T
    influence_QxS -= (share_QxC * recall_QxC) @ total_SxC.T
    return uar_Q, influence_QxS


def bootstrap_estimate(*terms: Term, with_p: bool = True, error_factor: float = 1.0) -> Estimate:
    """Returns the estimate of a sum of terms, which all use the same draws.

    The interval is value -+ q error, where q is the 95 % quantile of |draw - value| / (error of the
    draw) over the draws in which speakers differ. The p-value is the share of these draws that are
    at least as far away as |value| / error. It is None if not `with_p`, which is faster. The error
    of the value, but not those of the draws, is multiplied by `error_factor`.
    """
    speakers = terms[0].speakers
    (value,), (error,) = _values_and_errors(terms, np.ones((1, speakers)))
    value, error = float(value), error * error_factor
    if speakers < MIN_SPEAKERS:
        return Estimate(value, None, None)
    if error <= ZERO_TOLERANCE:
        return Estimate(value, (value, value), float(abs(value) <= ZERO_TOLERANCE))
    distance_Q = _studentised_distances(terms, value, DRAWS)
    margin = float(np.quantile(distance_Q, CONFIDENCE_LEVEL) * error)
    ci95 = (value - margin, value + margin)
    if not with_p:
        return Estimate(value, ci95, None)
    extreme_Q = distance_Q >= abs(value) / error
    if extreme_Q.sum() < RARE_COUNT:
        draws = rare_draws(speakers)
        extreme_Q = _studentised_distances(terms, value, draws) >= abs(value) / error
    p = (int(extreme_Q.sum()) + 1) / (len(extreme_Q) + 1)
    return Estimate(value, ci95, p)


def rare_draws(speakers: int) -> int:
    """Returns the number of draws from which a small p-value is computed."""
    return min(RARE_DRAWS, max(RARE_WEIGHTS // speakers, LEAST_RARE_DRAWS))


def _values_and_errors(terms: tuple, weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (value_Q, error_Q): the sum of the terms in every draw, and its standard error.

    The error is that of the delta method: from the influence of each speaker.
    """
    weight_QxS = weight_QxS.astype(np.float64)
    value_Q = np.zeros(len(weight_QxS))
    influence_QxS = np.zeros(weight_QxS.shape)
    for term in terms:
        term_Q, term_influence_QxS = term.evaluate(weight_QxS)
        value_Q += term.sign * term_Q
        influence_QxS += term.sign * term_influence_QxS
    influence_QxS *= influence_QxS
    influence_QxS *= weight_QxS
    return value_Q, np.sqrt(influence_QxS.sum(1))


def _studentised_distances(terms: tuple, value: float, draws: int) -> np.ndarray:
    """Returns |draw - value| / (error of the draw), for the draws in which speakers differ."""
    distances = []
    for weight_BxS in _blocks(bootstrap_weights(terms[0].speakers, draws)):
        value_B, error_B = _values_and_errors(terms, weight_BxS)
        varied_B = error_B > ZERO_TOLERANCE
        distances.append(np.abs(value_B - value)[varied_B] / error_B[varied_B])
    return np.concatenate(distances)


def measure_estimate(statistics: Statistics) -> Estimate:
    """Returns the measure, averaged over seeds, an interval within its range, no p-value."""
    term, measure = statistics.term(), statistics.measure
    if not measure.is_correlation:
        value, ci95, _ = bootstrap_estimate(term, with_p=False)
    else:
        _, ci95, _ = bootstrap_estimate(FisherTerm(term), with_p=False)
        (value,), _ = term.evaluate(np.ones((1, term.speakers)))
        value = float(value)
        ci95 = None if ci95 is None else tuple(np.tanh(ci95).tolist())
    if ci95 is not None:
        low, high = ci95
        ci95 = (max(low, measure.low), min(high, measure.high))
    return Estimate(value, ci95, None)


def difference_estimate(
    statistics: Statistics, reference: Statistics, with_p: bool = True
) -> Estimate:
    """Returns the measure minus that of a reference, which may have other seeds.

    Raises UserError when the two were tested on different utterances.
    """
    check_same_utterances(statistics, reference)
    term = statistics.term()
    factor = difference_factor(statistics.measure, term.speakers)
    return bootstrap_estimate(term, reference.term(sign=-1), with_p=with_p, error_factor=factor)


def difference_factor(measure: Measure, speakers: int) -> float:
    """Returns the factor of the standard error of a difference in a measure."""
    if measure.is_correlation and speakers > 1:
        return float(np.sqrt(speakers / (speakers - 1)))
    return 1.0


def check_same_utterances(statistics: Statistics, reference: Statistics) -> None:
    """Raises UserError unless both have the same measure and were tested on the same utterances."""
    truth_SxK, reference_SxK = statistics.truth_SxK, reference.truth_SxK
    is_same = truth_SxK.shape == reference_SxK.shape
    # The order of utterances rounds sums of ratings differently; counts are compared exactly.
    if is_same and np.allclose(truth_SxK, reference_SxK, rtol=1e-9, atol=1e-9):
        return
    raise UserError(
        'Two results were tested on different utterances and cannot be compared: '
        f'{statistics.utterances} utterances of {len(truth_SxK)} speakers, and '
        f'{reference.utterances} utterances of {len(reference_SxK)} speakers; '
        'expected the same utterances of every speaker, with the same labels or ratings. Compare '
        'results that have the same split_sha256 and folds.'
    )


def holm_correction(p_M: list[float]) -> list[float]:
    """Returns p-values corrected for the number of comparisons (Holm 1979).

    The probability of any false positive among the comparisons is at most the level of the test.
    """
    order_M = np.argsort(p_M)
    remaining_M = np.arange(len(p_M), 0, -1)
    sorted_M = np.maximum.accumulate(np.array(p_M)[order_M] * remaining_M)
    return np.minimum(sorted_M, 1.0)[np.argsort(order_M)].tolist()


def interval_coverage(speakers: int, measure: Measure) -> float | None:
    """Returns how often 95 % intervals include the true value, as measured in simulations.

    It is the rate for the largest simulated number of speakers that is not above `speakers`; None
    if `speakers` is below the smallest, and for a measure that was not simulated.
    """
    coverage = None
    for simulated_speakers, rate in sorted(MEASURED_COVERAGE.get(measure.key, {}).items()):
        if simulated_speakers <= speakers:
            coverage = rate
    return coverage

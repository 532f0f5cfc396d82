"""Measures how often the intervals of jaxser/analysis/bootstrap.py include the true value.

  python tests/benchmarks/intervals.py [SIMULATIONS]

The corpora are simulated. For UAR, speakers differ in how well they are recognised, overall and by
class (logit-normal), and in their number of utterances (Poisson). The true value is the mean recall
of all such speakers. For a difference, one share of utterances becomes right with the one method
and another share becomes wrong, and speakers differ in both (gamma).

For CCC, a rating is the sum of a speaker's mean and of what is particular to the utterance. It is
predicted with a slope, an offset and noise. Speakers differ in their mean rating, in the slope, in
the offset, and in their number of utterances (a gamma mixture of Poisson). Three ratings are
correlated. The true value is that of all such speakers, in closed form. For a difference, a second
system has another slope, shares offsets and noise with the first, and adds some of its own.

Percentile intervals of the same draws are printed for comparison.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxser.analysis import bootstrap
from jaxser.analysis.bootstrap import RecallTerm, Term
from jaxser.analysis.concordance import utterance_moments
from jaxser.analysis.measure import CCC, UAR, Measure
from jaxser.analysis.statistics import ConcordanceStatistics, ConcordanceTerm

CLASSES = 4
UTTERANCES = 8  # mean number of utterances of a speaker and class
UARS = {
    'voices differ': (0.9, 0.6),
    'voices differ much': (0.9, 1.0),
    'nearly all correct': (2.5, 0.6),
}  # mean and standard deviation of the logit
DIFFERENCES = {'1 % gained, 0.6 % lost': (0.01, 0.006), '3 % gained, 2 % lost': (0.03, 0.02)}
RATED_UTTERANCES = 20  # mean number of rated utterances of a speaker
MIN_RATED_UTTERANCES = 2
UTTERANCES_SHAPE = 4  # of the gamma distribution of the number of utterances
RATING_CORRELATION = 0.5  # of the random variables of two ratings


class RatingModel(NamedTuple):
    """How ratings and predictions arise; standard deviations unless said otherwise."""

    ratings: int  # their number
    slope: float  # the mean over speakers
    speaker_slope: float
    speaker_mean: float  # of the true ratings
    utterance: float  # of the true ratings, around the speaker's mean
    speaker_offset: float
    noise: float
    offset: float  # the same for all speakers
    # Of a second system, which has the same offsets and noise besides its own:
    other_slope: float | None = None
    own_offset: float = 0.0
    own_noise: float = 0.0


_USUAL = RatingModel(
    ratings=3,
    slope=0.8,
    speaker_slope=0.1,
    speaker_mean=0.15,
    utterance=0.3,
    speaker_offset=0.1,
    noise=0.15,
    offset=0.05,
)
_DIFFERING = _USUAL._replace(
    speaker_slope=0.25, speaker_mean=0.3, utterance=0.2, speaker_offset=0.25
)
CCCS = {
    'voices differ': _USUAL,
    'voices differ, one rating': _USUAL._replace(ratings=1),
    'voices differ much': _DIFFERING,
    'voices differ much, one rating': _DIFFERING._replace(ratings=1),
    'nearly no errors': _USUAL._replace(
        slope=1.0, speaker_slope=0.03, speaker_offset=0.03, noise=0.07, offset=0.0
    ),
    'no better than guessing': _USUAL._replace(slope=0.0, ratings=1),
}
CCC_DIFFERENCES = {
    'another slope': _USUAL._replace(other_slope=0.7, own_offset=0.03, own_noise=0.1),
    'another slope, one rating': _USUAL._replace(
        ratings=1, other_slope=0.7, own_offset=0.03, own_noise=0.1
    ),
    'voices differ much': _DIFFERING._replace(other_slope=0.7, own_offset=0.05, own_noise=0.1),
}


class Case(NamedTuple):
    """A measure or difference that is simulated."""

    name: str
    measure: Measure
    simulate: Callable  # (random, speakers, *sizes) -> terms
    sizes: tuple
    truth: float


def simulate_uar(
    random: np.random.Generator, speakers: int, mean: float, sd: float
) -> tuple[Term, ...]:
    """Returns right and total utterances per speaker and class of a simulated corpus."""
    speaker_Sx1 = random.normal(0, sd, (speakers, 1))
    class_SxC = random.normal(0, 0.5, (speakers, CLASSES))
    logit_SxC = mean + speaker_Sx1 + class_SxC
    total_SxC = random.poisson(UTTERANCES, logit_SxC.shape)
    right_SxC = random.binomial(total_SxC, 1 / (1 + np.exp(-logit_SxC)))
    return (RecallTerm(1, right_SxC, total_SxC),)


def simulate_difference(
    random: np.random.Generator, speakers: int, gained: float, lost: float
) -> tuple[Term, ...]:
    """Returns by how many utterances one method is right more often, and the totals."""
    total_SxC = np.full((speakers, CLASSES), 4 * UTTERANCES)
    gained_Sx1 = np.minimum(gained * random.gamma(1, 1, (speakers, 1)), 1)
    gained_SxC = random.binomial(total_SxC, gained_Sx1)
    lost_Sx1 = np.minimum(lost * random.gamma(1, 1, (speakers, 1)), 1)
    lost_SxC = random.binomial(total_SxC, lost_Sx1)
    return (RecallTerm(1, gained_SxC - lost_SxC, total_SxC),)


def true_recall(mean: float, sd: float) -> float:
    """Returns the recall of all speakers, by Gauss-Hermite quadrature."""
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    recall = 1 / (1 + np.exp(-(mean + np.hypot(sd, 0.5) * node)))
    return float((weight / weight.sum() * recall).sum())


def simulate_ccc(
    random: np.random.Generator, speakers: int, model: RatingModel
) -> tuple[Term, ...]:
    """Returns the moments of a simulated corpus; with `other_slope`, minus those of that system."""
    mean_S = random.gamma(UTTERANCES_SHAPE, RATED_UTTERANCES / UTTERANCES_SHAPE, speakers)
    count_S = np.maximum(random.poisson(mean_S), MIN_RATED_UTTERANCES)
    speaker_N = np.repeat(np.arange(speakers), count_S)
    utterances = len(speaker_N)
    x_NxA = model.speaker_mean * _correlated_normal(random, speakers, model.ratings)[speaker_N]
    x_NxA += model.utterance * _correlated_normal(random, utterances, model.ratings)
    slope_SxA = model.speaker_slope * _correlated_normal(random, speakers, model.ratings)
    offset_SxA = model.speaker_offset * _correlated_normal(random, speakers, model.ratings)
    error_NxA = model.offset + offset_SxA[speaker_N]
    error_NxA += model.noise * _correlated_normal(random, utterances, model.ratings)
    terms = []
    for sign, slope in ((1, model.slope), (-1, model.other_slope)):
        if slope is None:
            continue
        own_SxA = model.own_offset * _correlated_normal(random, speakers, model.ratings)
        own_NxA = model.own_noise * _correlated_normal(random, utterances, model.ratings)
        y_NxA = (slope + slope_SxA[speaker_N]) * x_NxA + error_NxA + own_SxA[speaker_N] + own_NxA
        terms.append(ConcordanceTerm(sign, _sum_moments(count_S, x_NxA, y_NxA)[None]))
    return tuple(terms)


def _correlated_normal(random: np.random.Generator, rows: int, ratings: int) -> np.ndarray:
    """Returns standard normal values of shape (rows, ratings), correlated within a row."""
    common = random.normal(size=(rows, 1))
    own = random.normal(size=(rows, ratings))
    return np.sqrt(RATING_CORRELATION) * common + np.sqrt(1 - RATING_CORRELATION) * own


def _sum_moments(count_S: np.ndarray, x_NxA: np.ndarray, y_NxA: np.ndarray) -> np.ndarray:
    """Returns moment_SxAx6; the utterances are sorted by speaker."""
    start_S = np.concatenate(([0], np.cumsum(count_S)[:-1]))
    return np.add.reduceat(utterance_moments(x_NxA, y_NxA), start_S, axis=0)


def true_ccc(model: RatingModel) -> float:
    """Returns the CCC of all speakers, minus that of the second system if there is one."""
    if model.other_slope is None:
        return _population_ccc(model, model.slope)
    return _population_ccc(model, model.slope) - _population_ccc(model, model.other_slope)


def _population_ccc(model: RatingModel, slope: float) -> float:
    truth_variance = model.speaker_mean**2 + model.utterance**2
    variance = (slope**2 + model.speaker_slope**2) * truth_variance
    variance += model.speaker_offset**2 + model.noise**2 + model.own_offset**2 + model.own_noise**2
    covariance = slope * truth_variance
    return 2 * covariance / (truth_variance + variance + model.offset**2)


def coverage(case: Case, speakers: int, simulations: int) -> np.ndarray:
    """Returns three means: bootstrap-t includes the truth, percentiles do, width of bootstrap-t."""
    random = np.random.default_rng(0)
    weight_QxS = bootstrap.bootstrap_weights(speakers)
    rows = np.zeros((simulations, 3))
    for n in range(simulations):
        terms = case.simulate(random, speakers, *case.sizes)
        low, high = _interval(case, terms)
        value_Q = sum(term.sign * term.evaluate(weight_QxS)[0] for term in terms)
        percentile_low, percentile_high = np.quantile(value_Q, (0.025, 0.975))
        includes = low <= case.truth <= high
        rows[n] = includes, percentile_low <= case.truth <= percentile_high, high - low
    return rows.mean(0)


def _interval(case: Case, terms: tuple[Term, ...]) -> tuple[float, float]:
    """Returns the interval as reports have it."""
    if case.measure == UAR:
        return bootstrap.bootstrap_estimate(*terms, with_p=False).ci95
    statistics = [ConcordanceStatistics(term.moment_ZxSxAx6) for term in terms]
    if len(statistics) == 1:
        return bootstrap.measure_estimate(*statistics).ci95
    return bootstrap.difference_estimate(*statistics, with_p=False).ci95


def simulated_cases() -> dict[str, Case]:
    """Returns all cases by their name."""
    cases = []
    for name, sizes in UARS.items():
        cases.append(Case(f'UAR, {name}', UAR, simulate_uar, sizes, true_recall(*sizes)))
    for name, sizes in DIFFERENCES.items():
        truth = sizes[0] - sizes[1]
        cases.append(Case(f'difference in UAR, {name}', UAR, simulate_difference, sizes, truth))
    for name, model in CCCS.items():
        cases.append(Case(f'CCC, {name}', CCC, simulate_ccc, (model,), true_ccc(model)))
    for name, model in CCC_DIFFERENCES.items():
        title = f'difference in CCC, {name}'
        cases.append(Case(title, CCC, simulate_ccc, (model,), true_ccc(model)))
    return {case.name: case for case in cases}


def main() -> None:
    """Prints a line for each case and number of speakers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('simulations', metavar='SIMULATIONS', type=int, nargs='?', default=2000)
    simulations = parser.parse_args().simulations
    error = np.sqrt(0.95 * 0.05 / simulations)
    print(
        f'{simulations} simulations each; {CLASSES} classes; '
        f'standard error of a share of 0.95: {error:.4f}'
    )
    print(f'{"":44}{"speakers":>8} {"bootstrap-t":>12} {"percentile":>11} {"width":>7}')
    for name, case in simulated_cases().items():
        for speakers in sorted(bootstrap.MEASURED_COVERAGE[case.measure.key]):
            ours, percentile, width = coverage(case, speakers, simulations)
            print(f'{name:44}{speakers:8} {ours:12.3f} {percentile:11.3f} {width:7.3f}', flush=True)


if __name__ == '__main__':
    main()

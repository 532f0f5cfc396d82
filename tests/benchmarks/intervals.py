"""Measures how often the intervals of jaxser/analysis/bootstrap.py include the true value.

  python tests/benchmarks/intervals.py [SIMULATIONS]

The corpora are simulated. Speakers differ in how well they are recognised, overall and by class
(logit-normal), and in their number of utterances (Poisson). The true value is the mean recall of
all such speakers. For a difference, one share of utterances becomes right with the one method and
another share becomes wrong, and speakers differ in both (gamma). Percentile intervals of the same
draws are printed for comparison.
"""

import argparse
from collections.abc import Callable

import numpy as np

from jaxser.analysis import bootstrap

CLASSES = 4
UTTERANCES = 8  # mean number of utterances of a speaker and class
UARS = {
    'voices differ': (0.9, 0.6),
    'voices differ much': (0.9, 1.0),
    'nearly all correct': (2.5, 0.6),
}  # mean and standard deviation of the logit
DIFFERENCES = {'1 % gained, 0.6 % lost': (0.01, 0.006), '3 % gained, 2 % lost': (0.03, 0.02)}
Counts = tuple[np.ndarray, np.ndarray]  # right_SxC, total_SxC


def simulate_uar(random: np.random.Generator, speakers: int, mean: float, sd: float) -> Counts:
    """Returns right and total utterances per speaker and class of a simulated corpus."""
    speaker_Sx1 = random.normal(0, sd, (speakers, 1))
    class_SxC = random.normal(0, 0.5, (speakers, CLASSES))
    logit_SxC = mean + speaker_Sx1 + class_SxC
    total_SxC = random.poisson(UTTERANCES, logit_SxC.shape)
    return random.binomial(total_SxC, 1 / (1 + np.exp(-logit_SxC))), total_SxC


def simulate_difference(
    random: np.random.Generator, speakers: int, gained: float, lost: float
) -> Counts:
    """Returns by how many utterances one method is right more often, and the totals."""
    total_SxC = np.full((speakers, CLASSES), 4 * UTTERANCES)
    gained_Sx1 = np.minimum(gained * random.gamma(1, 1, (speakers, 1)), 1)
    gained_SxC = random.binomial(total_SxC, gained_Sx1)
    lost_Sx1 = np.minimum(lost * random.gamma(1, 1, (speakers, 1)), 1)
    lost_SxC = random.binomial(total_SxC, lost_Sx1)
    return gained_SxC - lost_SxC, total_SxC


def true_recall(mean: float, sd: float) -> float:
    """Returns the recall of all speakers, by Gauss-Hermite quadrature."""
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    recall = 1 / (1 + np.exp(-(mean + np.hypot(sd, 0.5) * node)))
    return float((weight / weight.sum() * recall).sum())


def coverage(
    simulate: Callable, sizes: tuple[float, float], truth: float, speakers: int, simulations: int
) -> np.ndarray:
    """Returns three means: bootstrap-t includes the truth, percentiles do, width of bootstrap-t."""
    random = np.random.default_rng(0)
    weight_QxS = bootstrap.bootstrap_weights(speakers)
    rows = np.zeros((simulations, 3))
    for n in range(simulations):
        counts = simulate(random, speakers, *sizes)
        low, high = bootstrap.bootstrap_estimate(bootstrap.RecallTerm(1, *counts)).ci95
        recalls = bootstrap.mean_recall(*counts, weight_QxS)[0]
        percentile_low, percentile_high = np.quantile(recalls, (0.025, 0.975))
        rows[n] = low <= truth <= high, percentile_low <= truth <= percentile_high, high - low
    return rows.mean(0)


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
    cases = []
    for name, sizes in UARS.items():
        cases.append((f'UAR, {name}', simulate_uar, sizes, true_recall(*sizes)))
    for name, (gained, lost) in DIFFERENCES.items():
        cases.append((f'difference, {name}', simulate_difference, (gained, lost), gained - lost))
    for name, simulate, sizes, truth in cases:
        for speakers in sorted(bootstrap.MEASURED_COVERAGE):
            ours, percentile, width = coverage(simulate, sizes, truth, speakers, simulations)
            print(f'{name:44}{speakers:8} {ours:12.3f} {percentile:11.3f} {width:7.3f}', flush=True)


if __name__ == '__main__':
    main()

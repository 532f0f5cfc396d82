"""How often the intervals of jaxser/statistics.py hold the truth, by the number of speakers.

  python tests/benchmarks/intervals.py [SIMULATIONS]

Speakers differ in how well they are understood, altogether and class by class (logit-normal), and in how much they say
(Poisson); the truth is the mean recall of all such speakers. Of differences: a share of utterances becomes right by the one
method, and another share wrong; speakers differ in both (gamma). Beside the intervals of statistics stand those of the draws'
own quantiles (percentile).
"""

import sys

import numpy as np

from jaxser.analysis import bootstrap

CLASSES, SAID = 4, 8
UARS = {
    'voices differ': (0.9, 0.6),
    'voices differ much': (0.9, 1.0),
    'nearly all right': (2.5, 0.6),
}  # logit: mean, spread
DIFFERENCES = {'1 % gained, 0.6 % lost': (0.01, 0.006), '3 % gained, 2 % lost': (0.03, 0.02)}


def of_uar(random, speakers: int, mean: float, spread: float):
    """(right_SxC, said_SxC) of one simulated corpus."""
    logit_SxC = (
        mean + random.normal(0, spread, (speakers, 1)) + random.normal(0, 0.5, (speakers, CLASSES))
    )
    said_SxC = random.poisson(SAID, logit_SxC.shape)
    return random.binomial(said_SxC, 1 / (1 + np.exp(-logit_SxC))), said_SxC


def of_difference(random, speakers: int, gained: float, lost: float):
    """(right_SxC, said_SxC) where `right` counts what the one method has right more than the other."""
    said_SxC = np.full((speakers, CLASSES), 4 * SAID)
    share = lambda of: np.minimum(of * random.gamma(1, 1, (speakers, 1)), 1)  # noqa: E731
    return random.binomial(said_SxC, share(gained)) - random.binomial(
        said_SxC, share(lost)
    ), said_SxC


def truth(mean: float, spread: float) -> float:
    """The recall of all speakers, by Gauss-Hermite quadrature."""
    at, weight = np.polynomial.hermite_e.hermegauss(80)
    return float((weight / weight.sum() / (1 + np.exp(-(mean + np.hypot(spread, 0.5) * at)))).sum())


def covered(
    simulate, truth: float, speakers: int, simulations: int, seed: int = 0
) -> tuple[float, float, float]:
    """The share of intervals that hold the truth: ours, those of percentiles, and the mean width of ours."""
    random = np.random.default_rng(seed)
    weight_QxS = bootstrap.bootstrap_weights(speakers)
    ours, plain, width = np.zeros(simulations), np.zeros(simulations), np.zeros(simulations)
    for n in range(simulations):
        counts = simulate(random, speakers)
        low, high = bootstrap.bootstrap_estimate((1, *counts)).ci95
        ends = np.quantile(bootstrap.mean_recall(*counts, weight_QxS)[0], (0.025, 0.975))
        ours[n], plain[n], width[n] = low <= truth <= high, ends[0] <= truth <= ends[1], high - low
    return float(ours.mean()), float(plain.mean()), float(width.mean())


def main() -> None:
    """A line per case and number of speakers."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f'{simulations} simulations each; {CLASSES} classes; standard error of a share of 0.95: '
          f'{np.sqrt(0.95 * 0.05 / simulations):.4f}')  # fmt: skip
    print(f'{"":44}{"speakers":>8} {"bootstrap-t":>12} {"percentile":>11} {"width":>7}')
    cases = {f'UAR, {k}': (of_uar, v, truth(*v)) for k, v in UARS.items()}
    cases |= {f'difference, {k}': (of_difference, v, v[0] - v[1]) for k, v in DIFFERENCES.items()}
    for name, (simulate, sizes, true) in cases.items():
        for speakers in sorted(bootstrap.MEASURED_COVERAGE):
            run = lambda random, S, f=simulate, of=sizes: f(random, S, *of)  # noqa: E731
            ours, plain, width = covered(run, true, speakers, simulations)
            print(f'{name:44}{speakers:8} {ours:12.3f} {plain:11.3f} {width:7.3f}', flush=True)


if __name__ == '__main__':
    main()

"""Ranks the submissions to a task, and says which of them are tied.

Two systems are tied if the 95 % interval of their paired difference includes 0. The rank of a
system is 1 plus the number of systems that are better and not tied with it. The intervals are not
corrected for the number of pairs, so that of many pairs some are called different by chance.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxser.analysis import bootstrap
from jaxser.analysis.bootstrap import Estimate
from jaxser.scoring.submissions import Submission


class RankedSystem(NamedTuple):
    """A submission with its place among those to the same task."""

    submission: Submission
    rank: int
    estimate: Estimate  # the measure of the task
    gap: Estimate | None  # the measure minus that of the best system; None for the best one
    tied: tuple[str, ...]  # names of the systems that it is tied with


def rank_systems(submissions: Sequence[Submission]) -> list[RankedSystem]:
    """Returns the submissions to a task, the highest measure first.

    Where there are too few speakers for intervals, only equal values are tied.
    """
    estimates = [bootstrap.measure_estimate(own.statistics) for own in submissions]
    order = sorted(
        range(len(submissions)),
        key=lambda n: (-estimates[n].value, submissions[n].name),
    )
    differences = {}
    for place, n in enumerate(order):
        for better in order[:place]:
            differences[better, n] = bootstrap.difference_estimate(
                submissions[n].statistics, submissions[better].statistics
            )
    ranked = []
    for place, n in enumerate(order):
        tied, better_count = [], 0
        for other in order:
            difference = differences.get((other, n)) or differences.get((n, other))
            if difference is None:
                continue
            if is_tie(difference):
                tied.append(submissions[other].name)
            elif (other, n) in differences:
                better_count += 1
        gap = differences[order[0], n] if place else None
        ranked.append(
            RankedSystem(submissions[n], 1 + better_count, estimates[n], gap, tuple(tied))
        )
    return ranked


def is_tie(difference: Estimate) -> bool:
    """Returns whether the interval of a difference includes 0."""
    if difference.ci95 is None:
        return difference.value == 0
    low, high = difference.ci95
    return low <= 0 <= high

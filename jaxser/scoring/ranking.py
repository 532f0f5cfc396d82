"""Ranks the submissions to a task by its measure, and says which of them are tied.

Two systems are tied if the 95 % interval of their paired difference includes 0. So a system with a
wide interval may be tied with the best one, while another one with a higher measure is not. The
intervals are not corrected for the number of pairs, so that of many pairs some are called different
by chance.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxser.analysis import bootstrap
from jaxser.analysis.bootstrap import Estimate
from jaxser.scoring.submissions import Submission


class RankedSystem(NamedTuple):
    """A submission with its place among those to the same task."""

    submission: Submission
    rank: int  # the place by the measure, from 1
    estimate: Estimate  # the measure of the task
    gap: Estimate | None  # the measure minus that of the best system; None for the best one
    tied: tuple[str, ...]  # names of the systems that it is tied with
    tied_with_best: bool  # True for the best one


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
        tied = []
        for other in order:
            difference = differences.get((other, n)) or differences.get((n, other))
            if difference is not None and is_tie(difference):
                tied.append(submissions[other].name)
        gap = differences[order[0], n] if place else None
        is_tied = gap is None or is_tie(gap)
        ranked.append(
            RankedSystem(submissions[n], 1 + place, estimates[n], gap, tuple(tied), is_tied)
        )
    return ranked


def is_tie(difference: Estimate) -> bool:
    """Returns whether the interval of a difference includes 0."""
    if difference.ci95 is None:
        return difference.value == 0
    low, high = difference.ci95
    return low <= 0 <= high

"""Tests that ranks follow the measure, and ties the intervals of paired differences."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxser.analysis.statistics import RecallStatistics
from jaxser.scoring.ranking import rank_systems

UTTERANCES = 20  # of a speaker and class


def system(name, correct_S):
    """Returns a system with two classes: so many of each speaker's 20 utterances are correct."""
    count_1xSx2x2 = np.zeros((1, len(correct_S), 2, 2), int)
    for s, correct in enumerate(correct_S):
        count_1xSx2x2[0, s] = [
            [correct, UTTERANCES - correct],
            [UTTERANCES - correct, correct],
        ]
    return SimpleNamespace(name=name, statistics=RecallStatistics(count_1xSx2x2))


def test_systems_whose_difference_is_not_shown_are_tied():
    best = system('best', [18, 15, 18, 15, 18, 15, 18, 15])
    same = system('same', [15, 18, 15, 18, 15, 18, 15, 17])
    worst = system('worst', [10, 9, 10, 9, 10, 9, 10, 9])
    ranked = rank_systems([worst, same, best])
    assert [own.submission.name for own in ranked] == ['best', 'same', 'worst']
    assert [own.rank for own in ranked] == [1, 2, 3]
    assert [own.tied for own in ranked] == [('same',), ('best',), ()]
    assert [own.tied_with_best for own in ranked] == [True, True, False]


def test_a_wide_interval_ties_a_lower_system_with_the_best():
    """The second is 1 of 20 lower for every speaker, the third varies by speaker around -2."""
    best = system('best', [18] * 8)
    second = system('second', [17] * 8)
    third = system('third', [20, 9, 20, 9, 20, 9, 20, 20])
    ranked = rank_systems([third, second, best])
    assert [own.submission.name for own in ranked] == ['best', 'second', 'third']
    assert [own.rank for own in ranked] == [1, 2, 3]
    assert [own.tied_with_best for own in ranked] == [True, False, True]


def test_the_gap_is_the_paired_difference_to_the_best():
    first = system('first', [20, 16, 18, 16, 20, 16])
    second = system('second', [18, 14, 16, 14, 18, 14])  # 2 of 20 less for every speaker
    best, other = rank_systems([second, first])
    assert best.gap is None
    assert other.gap.value == pytest.approx(-0.1)
    assert other.gap.ci95 == pytest.approx((-0.1, -0.1))  # no speaker differs
    assert other.rank == 2
    assert other.estimate.value == pytest.approx(np.mean([18, 14, 16, 14, 18, 14]) / 20)


def test_with_few_speakers_only_equal_systems_are_tied():
    ranked = rank_systems([system('a', [18, 15]), system('b', [15, 18]), system('c', [18, 14])])
    assert [own.tied_with_best for own in ranked] == [True, True, False]
    assert ranked[0].estimate.ci95 is None


def test_a_single_system_is_first():
    (only,) = rank_systems([system('only', [10] * 6)])
    assert (only.rank, only.gap, only.tied, only.tied_with_best) == (1, None, (), True)

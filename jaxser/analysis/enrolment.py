"""The enrolment curve: UAR or CCC, and leakage, by the number of enrolled utterances of a speaker.

results['enrolment'] is {'draws': 10, 'probed': True, 'rows': [...]}: the number of draws, whether
leakage was measured, and the rows. A draw is one random choice of the utterances that may be
enrolled; the others are tested, with every number of enrolled ones. A row is a setting under one
kind and one number of enrolled utterances:

  swept keys             the values of the setting, as in the summary, without `enrol`
  enrol_from, enrol      what may be enrolled (any, one, neutral); the number K, or 'all'
  utterances             mean number of enrolled utterances of a tested speaker: fewer than K where
                         speakers have fewer
  uar, uar_ci95          UAR of the pooled folds, mean over draws and seeds; 95 % interval. If CCC
                         is the main measure, its figures are in ccc, ccc_ci95 and delta_ccc
  delta_uar, delta_ci95  the difference to K = 0, on the same utterances; None for K = 0
  unseen_speaker         leakage of unseen speakers, as jaxser/analysis/leakage.py describes an
                         average; None where it was not measured

Shapes: E draws, Z seeds, S speakers, C classes, Q draws of the bootstrap.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxser.analysis import bootstrap, leakage
from jaxser.analysis.bootstrap import RecallTerm, Term
from jaxser.analysis.measure import CCC, UAR, Measure
from jaxser.runs import USUAL_VARIANTS, setting_title

ENROLLED = (0, 1, 2, 4, 8, 16, 'all')  # the numbers of enrolled utterances on the curve

# What may be enrolled, and what tables call it.
SOURCES = {'any': 'any emotion', 'one': 'one emotion', 'neutral': 'neutral'}


def result_keys(measure: Measure) -> tuple[str, ...]:
    """Returns the keys of a row besides those that were swept."""
    key = measure.key
    figures = (key, f'{key}_ci95', f'delta_{key}', 'delta_ci95')
    return ('enrol_from', 'enrol', 'utterances', *figures, 'unseen_speaker')


# With either measure.
RESULT_KEYS = tuple(dict.fromkeys((*result_keys(UAR), *result_keys(CCC))))


@dataclasses.dataclass(frozen=True, eq=False)
class RecallCounts:
    """Numbers of tested utterances by class, whose measure is the UAR, averaged over seeds.

    They are the part of RecallStatistics (statistics.py) that the UAR needs.
    """

    correct_ZxSxC: np.ndarray  # utterances classified correctly
    total_SxC: np.ndarray  # all tested utterances; the same for all seeds

    @property
    def measure(self) -> Measure:
        """The measure of these counts."""
        return UAR

    @property
    def truth_SxK(self) -> np.ndarray:
        """The number of utterances by class."""
        return self.total_SxC

    @property
    def utterances(self) -> int:
        """The number of tested utterances."""
        return int(self.total_SxC.sum())

    def term(self, sign: float = 1) -> RecallTerm:
        """Returns the UAR averaged over seeds as a term of a sum, with its factor."""
        return RecallTerm(sign, self.correct_ZxSxC.mean(0), self.total_SxC)


class SumTerm(NamedTuple):
    """A sum of terms that is itself a term of a sum, with its factor."""

    sign: float
    terms: Sequence[Term]

    @property
    def speakers(self) -> int:
        """The number of speakers."""
        return self.terms[0].speakers

    def evaluate(self, weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (value_Q, influence_QxS) of every draw of the bootstrap."""
        value_Q, influence_QxS = 0.0, 0.0
        for term in self.terms:
            term_Q, term_influence_QxS = term.evaluate(weight_QxS)
            value_Q = value_Q + term.sign * term_Q
            influence_QxS = influence_QxS + term.sign * term_influence_QxS
        return value_Q, influence_QxS


class DrawStatistics(NamedTuple):
    """The statistics of E draws, whose measure is the mean over the draws.

    The draws are tested on different utterances, the seeds of a draw on the same.
    """

    by_draw: Sequence[bootstrap.Statistics]

    @property
    def measure(self) -> Measure:
        """The measure of all draws."""
        return self.by_draw[0].measure

    @property
    def truth_SxK(self) -> np.ndarray:
        """The truth of all draws."""
        return np.concatenate([statistics.truth_SxK for statistics in self.by_draw], axis=1)

    @property
    def utterances(self) -> int:
        """The number of tested utterances, over the draws."""
        return sum(statistics.utterances for statistics in self.by_draw)

    def term(self, sign: float = 1) -> SumTerm:
        """Returns the mean over the draws as a term of a sum, with its factor."""
        share = 1 / len(self.by_draw)
        return SumTerm(sign, [statistics.term(share) for statistics in self.by_draw])


class Measured(NamedTuple):
    """What was measured of a setting with one kind and one number of enrolled utterances."""

    statistics: DrawStatistics  # the folds pooled
    utterances: float  # mean number of enrolled utterances of a tested speaker
    answers: list[dict]  # to the question `unseen_speaker`, one per run; may be empty


def curve_rows(setting: dict, measured: dict[tuple[str, int | str], Measured]) -> list[dict]:
    """Returns the rows of a setting; `measured` is by (enrol_from, enrol) and contains K = 0."""
    rows = []
    for (source, enrol), point in measured.items():
        measure = point.statistics.measure
        estimate = bootstrap.measure_estimate(point.statistics)
        row = setting | dict.fromkeys(result_keys(measure))
        row |= {'enrol_from': source, 'enrol': enrol, 'utterances': point.utterances}
        row |= {measure.key: estimate.value, f'{measure.key}_ci95': estimate.ci95}
        if enrol != 0:
            difference = bootstrap.difference_estimate(
                point.statistics, measured[source, 0].statistics, with_p=False
            )
            row |= {f'delta_{measure.key}': difference.value, 'delta_ci95': difference.ci95}
        if point.answers:
            probes = [{'unseen_speaker': answer} for answer in point.answers]
            averages, _ = leakage.average_probe(probes)
            row['unseen_speaker'] = averages['unseen_speaker']
        rows.append(row)
    return rows


def setting_keys(row: dict) -> list[str]:
    """Returns the keys of a row that were swept."""
    return [key for key in row if key not in RESULT_KEYS]


def rows_by_title(results: dict, config: dict) -> dict[str, list[dict]]:
    """Returns the rows of each setting by its title; {} where no curve was measured.

    `config` is the configuration as in config.json.
    """
    method = {key: config.get(key) for key in ('method', *USUAL_VARIANTS)}
    by_title: dict[str, list[dict]] = {}
    for row in results.get('enrolment', {}).get('rows', []):
        title = setting_title(method | row, ['method', *setting_keys(row)])
        by_title.setdefault(title, []).append(row)
    return by_title


def rows_from(rows: list[dict], source: str) -> list[dict]:
    """Returns the rows with this `enrol_from`, in ascending order of K, 'all' last."""
    chosen = [row for row in rows if row['enrol_from'] == source]
    return sorted(chosen, key=_enrolled_order)


def _enrolled_order(row: dict) -> float:
    return np.inf if row['enrol'] == 'all' else row['enrol']

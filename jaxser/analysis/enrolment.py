"""The enrolment curve: UAR and leakage against the number of enrolled utterances of a speaker.

results['enrolment'] is {'draws': 10, 'probed': True, 'rows': [...]}: the number of draws, whether
leakage was measured, and the rows. A draw is one random choice of the utterances that may be
enrolled; the others are tested, with every number of enrolled ones. A row is a setting under one
kind and one number of enrolled utterances:

  swept keys             the values of the setting, as in the summary, without `enrol`
  enrol_from, enrol      what may be enrolled (any, one, neutral); the number K, or 'all'
  utterances             mean number of enrolled utterances of a tested speaker: fewer than K where
                         speakers have fewer
  uar, uar_ci95          UAR of the pooled folds, mean over draws and seeds; 95 % interval
  delta_uar, delta_ci95  the difference to K = 0, on the same utterances; None for K = 0
  unseen_speaker         leakage of unseen speakers, as jaxser/analysis/leakage.py describes an
                         average; None where it was not measured

Shapes: E draws, Z seeds, S speakers, C classes.
"""

from typing import NamedTuple

import numpy as np

from jaxser.analysis import leakage
from jaxser.analysis.bootstrap import RecallTerm, bootstrap_estimate
from jaxser.runs import USUAL_VARIANTS, setting_title

ENROLLED = (0, 1, 2, 4, 8, 16, 'all')  # the numbers of enrolled utterances on the curve

# What may be enrolled, and what tables call it.
SOURCES = {'any': 'any emotion', 'one': 'one emotion', 'neutral': 'neutral'}

# The keys of a row besides those that were swept.
RESULT_KEYS = (
    'enrol_from',
    'enrol',
    'utterances',
    'uar',
    'uar_ci95',
    'delta_uar',
    'delta_ci95',
    'unseen_speaker',
)


class Measured(NamedTuple):
    """What was measured of a setting with one kind and one number of enrolled utterances."""

    correct_ExZxSxC: np.ndarray  # utterances classified correctly, the folds pooled
    total_ExSxC: np.ndarray  # all tested utterances; the same for all seeds
    utterances: float  # mean number of enrolled utterances of a tested speaker
    answers: list[dict]  # to the question `unseen_speaker`, one per run; may be empty


def curve_rows(setting: dict, measured: dict[tuple[str, int | str], Measured]) -> list[dict]:
    """Returns the rows of a setting; `measured` is by (enrol_from, enrol) and contains K = 0."""
    rows = []
    for (source, enrol), point in measured.items():
        terms = uar_terms(point)
        estimate = bootstrap_estimate(*terms, with_p=False)
        row = setting | dict.fromkeys(RESULT_KEYS)
        row |= {'enrol_from': source, 'enrol': enrol, 'utterances': point.utterances}
        row |= {'uar': estimate.value, 'uar_ci95': leakage.clip_interval(estimate.ci95)}
        if enrol != 0:
            reference = uar_terms(measured[source, 0], sign=-1)
            difference = bootstrap_estimate(*terms, *reference, with_p=False)
            row |= {'delta_uar': difference.value, 'delta_ci95': difference.ci95}
        if point.answers:
            probes = [{'unseen_speaker': answer} for answer in point.answers]
            averages, _ = leakage.average_probe(probes)
            row['unseen_speaker'] = averages['unseen_speaker']
        rows.append(row)
    return rows


def uar_terms(point: Measured, sign: int = 1) -> list[RecallTerm]:
    """Returns the mean UAR over draws and seeds as a sum of terms, one per draw.

    The draws are tested on different utterances, the seeds of a draw on the same.
    """
    draws = len(point.total_ExSxC)
    terms = []
    for correct_ZxSxC, total_SxC in zip(point.correct_ExZxSxC, point.total_ExSxC):
        terms.append(RecallTerm(sign / draws, correct_ZxSxC.mean(0), total_SxC))
    return terms


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

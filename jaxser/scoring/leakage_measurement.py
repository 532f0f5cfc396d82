"""Measures the leakage of a system's representations, by the questions of our probe.

The averages have the keys that jaxser/analysis/leakage.py describes, except those about bits, the
input and the emotion scores.
"""

import collections
import sys
import time
from typing import NamedTuple

import numpy as np

from data_pipelines.protocols.folds import PARTS, Fold
from data_pipelines.terminal import print_text
from jaxser.analysis import leakage, metrics
from jaxser.analysis.leakage import ATTACKERS, BELOW_CHANCE_LEVEL, HEADLINE_QUESTIONS
from jaxser.probing.questions import Question, make_questions
from jaxser.scoring import attackers
from jaxser.scoring.evidence import Evidence
from jaxser.scoring.representations import (
    ORDER_SEED,
    FoldRepresentations,
    SplitTable,
    make_split_table,
    read_representations,
)
from jaxser.scoring.truth import Truth

PROGRESS_SECONDS = 5  # between two lines of progress
ONE_ENCODER_NOTE = (
    'Leakage: one encoder for all folds, as the file says (no fold_N). If each fold has its own '
    'encoder, write the representations of every fold, and their folds into the array fold.'
)


def add_leakage(truth: Truth, evidence: list[Evidence], reference: str) -> None:
    """Measures the leakage of systems that have representations.

    Averages about speakers get the keys delta, delta_ci95 and p: the recall of the strongest
    attacker minus that of the reference, if that was measured too.
    """
    table = make_split_table(truth.rows)
    recalls_by_name = {}
    for system in evidence:
        files = system.predictions.system
        representations = read_representations(files.representations, truth, table)
        measured = measure_leakage(files.name, table, representations.by_fold)
        system.leakage = measured.averages
        if not representations.has_folds and len(table.folds) > 1:
            system.predictions.notes.append(ONE_ENCODER_NOTE)
        system.predictions.notes.extend(measured.notes)
        recalls_by_name[files.name] = measured.recalls
    for system in evidence:
        if system.name == reference or reference not in recalls_by_name:
            continue
        for question, recalls in recalls_by_name[system.name].items():
            others = recalls_by_name[reference].get(question, {})
            if recalls and recalls.keys() == others.keys():
                system.leakage[question] |= leakage.leakage_difference(recalls, others)


class Leakage(NamedTuple):
    """The leakage of a system."""

    averages: dict[str, dict]  # by question
    recalls: dict[str, leakage.Recalls]  # of each speaker by the strongest attacker, by question
    notes: list[str]  # what was not measured, and why


def measure_leakage(
    name: str, table: SplitTable, representations: dict[int, FoldRepresentations]
) -> Leakage:
    """Returns the leakage of a system, averaged over the folds that have representations.

    `representations` are by the number of the fold.

    Both questions are asked in every fold that has the representations of all their rows.
    """
    probes = []
    missing: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    start = printed = time.monotonic()
    for n, fold in enumerate(table.folds):
        rows, z_NxD = representations[fold.number]
        probe = {}
        for question in make_questions(table, fold, ORDER_SEED):
            if question.name not in HEADLINE_QUESTIONS:
                continue
            absent = np.setdiff1d(_all_rows(question), rows)
            if len(absent):
                missing[question.name] += _count_by_part(fold, absent)
                continue
            probe[question.name] = answer_question(question, rows, z_NxD)
        probes.append(probe)
        if time.monotonic() - printed > PROGRESS_SECONDS:
            printed = time.monotonic()
            seconds = printed - start
            text = f'{name}: leakage, fold {n + 1} of {len(table.folds)}, {seconds:.0f} s'
            print_text(text, file=sys.stderr)
    averages, recalls = leakage.average_probe(probes)
    return Leakage(averages, recalls, _missing_notes(averages, missing))


def _missing_notes(averages: dict, missing: dict[str, collections.Counter]) -> list[str]:
    """Returns what was not measured, and why.

    `missing` has the number of missing representations of each part, by question.
    """
    notes = []
    for question in HEADLINE_QUESTIONS:
        title = leakage.question_title(question)
        if missing[question]:
            where = ' in every fold' if question in averages else ''
            parts = [f'{count} of {part}' for part, count in missing[question].items()]
            notes.append(
                f'Leakage of {title} was not measured{where}. Representations are missing: '
                f'{", ".join(parts)} (all folds together). Those of train, dev and test are '
                'needed in every fold.'
            )
        elif question not in averages:
            notes.append(f'Leakage of {title} was not measured: the split has no such question.')
    return notes


def _count_by_part(fold: Fold, rows: np.ndarray) -> collections.Counter:
    """Returns how many of the rows are in each part of a fold."""
    counts = collections.Counter()
    for part in PARTS:
        counts[part] = int(np.isin(rows, getattr(fold, part)).sum())
    counts['withheld'] = len(rows) - counts.total()
    return +counts


def _all_rows(question: Question) -> np.ndarray:
    return np.concatenate([question.fit_rows, question.validation_rows, question.test_rows])


def answer_question(question: Question, rows: np.ndarray, z_NxD: np.ndarray) -> dict:
    """Returns the answer of all attackers to a question, as jaxser/probing/answers.py does.

    Args:
      question: The question.
      rows: The rows that have representations, ascending.
      z_NxD: Their representations.
    """
    K = len(question.classes)
    predicted_by_turn: dict[str, list[np.ndarray]] = {name: [] for name in ATTACKERS}
    for turn in question.turns():
        examples = attackers.Examples(
            z_NxD[np.searchsorted(rows, turn.fit_rows)],
            question.label_N[turn.fit_rows],
            z_NxD[np.searchsorted(rows, turn.validation_rows)],
            question.label_N[turn.validation_rows],
            z_NxD[np.searchsorted(rows, turn.test_rows)],
            K,
        )
        for name, predicted_T in attackers.predict_tested(examples).items():
            predicted_by_turn[name].append(predicted_T)
    true_T = question.label_N[question.tested_rows]
    answer, recalls, p_values = {}, {}, []
    for name in ATTACKERS:
        predicted_T = np.concatenate(predicted_by_turn[name])
        confusion_KxK = metrics.confusion_matrix(true_T, predicted_T, K)
        answer[name] = metrics.classification_metrics(confusion_KxK)['uar']
        recalls[name] = _class_recalls(question.classes, confusion_KxK)
        p_values.append(metrics.below_chance_p_value(confusion_KxK))
    attacker, strongest = leakage.strongest_attacker(answer)
    return answer | {
        'strongest': strongest,
        'attacker': attacker,
        'classes': K,
        'chance': 1 / K,
        'n': len(true_T),
        'strangers': question.unseen_speakers,
        'withheld': question.is_withheld,
        'below_chance': min(p_values) * len(ATTACKERS) < BELOW_CHANCE_LEVEL,
        'recall': recalls,
    }


def _class_recalls(classes: np.ndarray, confusion_KxK: np.ndarray) -> dict[str, float]:
    """Returns {speaker: recall} of every speaker with tested utterances."""
    count_K = confusion_KxK.sum(1)
    tested = np.flatnonzero(count_K)
    recall = np.diag(confusion_KxK)[tested] / count_K[tested]
    return dict(zip(np.asarray(classes)[tested].tolist(), recall.tolist()))

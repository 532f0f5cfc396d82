"""The figures of systems, by the functions that also make those of a sweep (jaxser/analysis).

A row has the keys of a row of a sweep's summary, as far as they apply:

  seeds, tested_speakers
  uar, uar_ci95, uar_sd_seeds, uar_folds, wa, wa_ci95, f1, f1_ci95, confusion
                          of classes; the folds of a seed are pooled, and seeds are averaged
  ccc, ccc_ci95, ccc_sd_seeds, ccc_folds, pearson, rmse, ratings
                          of ratings; `ratings` has the figures of each
  vote_kl                 mean of KL(votes || posterior), in nats
  delta_<measure>, delta_ci95, p, p_holm
                          the main measure minus that of the reference; p_holm is corrected for all
                          systems that are compared

Shapes: Z seeds, N tested rows, C classes, A ratings, S speakers.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, calibration, concordance, metrics, summary
from jaxser.analysis.bootstrap import Statistics
from jaxser.analysis.measure import CCC, UAR, Measure
from jaxser.analysis.statistics import ConcordanceStatistics, RecallStatistics
from jaxser.scoring.class_statistics import F1, WA, AccuracyStatistics, F1Statistics
from jaxser.scoring.predictions_file import Predictions
from jaxser.scoring.truth import Truth

MEASURES = {measure.key: measure for measure in (UAR, F1, CCC, WA)}
GROUP_KINDS = ('sex', 'language', 'corpus')
SENTENCE_KIND = 'sentence'
SEEN_SENTENCE, NEW_SENTENCE = 'also in training', 'not in training'


class Task(NamedTuple):
    """What is scored."""

    name: str  # of the benchmark task; '' without one
    truth: Truth
    measure: Measure  # by which systems are compared
    classes: tuple[str, ...]  # () if classes are not scored
    ratings: tuple[str, ...]  # () if ratings are not scored


@dataclasses.dataclass
class Evidence:
    """The figures of a system."""

    predictions: Predictions
    row: dict
    folds: list[dict]  # the figures of each fold
    groups: dict[str, dict[str, dict]]  # the main measure by kind and group
    count_ZxSxCxC: np.ndarray | None
    moment_ZxSxAx6: np.ndarray | None
    reliability: calibration.Reliability | None = None
    calibration: dict | None = None  # {'ece', 'nll'}
    leakage: dict | None = None  # averages of the probe by question

    @property
    def name(self) -> str:
        """The name of the system."""
        return self.predictions.system.name


def make_task(
    truth: Truth, predictions: Sequence[Predictions], name: str, measure: str | None
) -> Task:
    """Returns what is scored: what all systems predict.

    Args:
      truth: The truth.
      predictions: Those of all systems.
      name: The name of the benchmark task, or ''.
      measure: The key of the main measure, or None: then it is UAR if classes are predicted, and
        CCC otherwise.

    Raises:
      UserError: The systems predict different things, or not what the measure is about.
    """
    kinds = {}
    for system in predictions:
        has_classes = system.predicted_ZxN is not None
        kinds.setdefault((has_classes, system.ratings), []).append(system.system.name)
    if len(kinds) > 1:
        parts = []
        for (has_classes, ratings), names in kinds.items():
            predicted = [*(['classes'] if has_classes else []), *ratings]
            parts.append(f'{", ".join(names)} ({", ".join(predicted)})')
        raise UserError(
            f'The systems predict different things: {"; ".join(parts)}. Score them separately, or '
            'remove the columns that only some of them have.'
        )
    ((has_classes, ratings),) = kinds
    key = measure or (UAR.key if has_classes else CCC.key)
    lacks = 'ratings' if key == CCC.key and not ratings else ''
    lacks = 'classes' if key != CCC.key and not has_classes else lacks
    if lacks:
        raise UserError(
            f'The task {name} is scored by {MEASURES[key].title}, which needs predicted {lacks}; '
            'the predictions have none.'
        )
    return Task(name, truth, MEASURES[key], truth.classes if has_classes else (), ratings)


def make_statistics(
    measure: Measure, count_ZxSxCxC: np.ndarray | None, moment_ZxSxAx6: np.ndarray | None
) -> Statistics:
    """Returns the statistics of a measure, from confusion matrices or moments of speakers."""
    if measure.key == CCC.key:
        return ConcordanceStatistics(moment_ZxSxAx6)
    by_key = {UAR.key: RecallStatistics, F1.key: F1Statistics, WA.key: AccuracyStatistics}
    return by_key[measure.key](count_ZxSxCxC)


def make_evidence(task: Task, predictions: Predictions) -> Evidence:
    """Returns the figures of a system, without its differences to the reference and leakage."""
    all_rows = np.arange(len(task.truth))
    counts = _counts(task, predictions, all_rows)
    moments = _moments(task, predictions, all_rows)
    folds = [_fold_figures(task, predictions, fold) for fold in task.truth.fold_numbers]
    speakers = len(set(task.truth.column('speaker').tolist()))
    row = {'seeds': len(predictions.seeds), 'tested_speakers': speakers}
    if counts is not None:
        row |= _class_figures(counts)
        for key in (UAR.key, WA.key, F1.key):
            row[f'{key}_folds'] = float(np.mean([fold[key] for fold in folds]))
    if moments is not None:
        row |= summary.rating_figures(ConcordanceStatistics(moments), task.ratings)
        row['ccc_folds'] = float(np.mean([fold['ccc'] for fold in folds]))
    row['vote_kl'] = vote_divergence(task, predictions)
    evidence = Evidence(predictions, row, folds, {}, counts, moments)
    evidence.groups = _group_figures(task, predictions)
    if predictions.p_ZxNxC is not None and task.classes:
        evidence.reliability, evidence.calibration = _calibrate(task, predictions)
    return evidence


def compare(task: Task, evidence: Sequence[Evidence], reference: str) -> None:
    """Writes into each row the difference to the reference, and the corrected p-values."""
    key = task.measure.key
    by_name = {system.name: system for system in evidence}
    compared = []
    for system in evidence:
        keys = (f'delta_{key}', 'delta_ci95', 'p', 'p_holm')
        system.row |= dict.fromkeys(keys)
        if system.name == reference:
            continue
        estimate = bootstrap.difference_estimate(
            _main_statistics(task, system), _main_statistics(task, by_name[reference])
        )
        system.row |= {f'delta_{key}': estimate.value, 'delta_ci95': estimate.ci95}
        system.row['p'] = estimate.p
        if estimate.p is not None:
            compared.append(system)
    corrected = bootstrap.holm_correction([system.row['p'] for system in compared])
    for system, p_holm in zip(compared, corrected):
        system.row['p_holm'] = p_holm


def _main_statistics(task: Task, system: Evidence) -> Statistics:
    return make_statistics(task.measure, system.count_ZxSxCxC, system.moment_ZxSxAx6)


def _counts(task: Task, predictions: Predictions, rows: np.ndarray) -> np.ndarray | None:
    """Returns count_ZxSxCxC of some tested rows; None if classes are not scored."""
    if not task.classes:
        return None
    speaker_N = task.truth.column('speaker')[rows]
    truth_N = task.truth.class_N[rows]
    counts = []
    for predicted_N in predictions.predicted_ZxN:
        counts.append(
            bootstrap.speaker_confusions(speaker_N, truth_N, predicted_N[rows], len(task.classes))
        )
    return np.stack(counts)


def _moments(task: Task, predictions: Predictions, rows: np.ndarray) -> np.ndarray | None:
    """Returns moment_ZxSxAx6 of some tested rows; None if ratings are not scored."""
    if not task.ratings:
        return None
    speaker_N = task.truth.column('speaker')[rows]
    truth_NxA = task.truth.rating_NxA(task.ratings)[rows]
    moments = []
    for rating_NxA in predictions.rating_ZxNxA:
        moments.append(concordance.speaker_moments(speaker_N, truth_NxA, rating_NxA[rows]))
    return np.stack(moments)


def _class_figures(count_ZxSxCxC: np.ndarray) -> dict:
    """Returns the figures of classes that pool the folds of each seed."""
    figures = summary.class_figures(RecallStatistics(count_ZxSxCxC))
    for measure in (WA, F1):
        statistics = make_statistics(measure, count_ZxSxCxC, None)
        figures[f'{measure.key}_ci95'] = bootstrap.measure_estimate(statistics).ci95
        deviation = summary.seed_deviation(statistics.value_by_seed())
        figures[f'{measure.key}_sd_seeds'] = deviation
    return figures


def _fold_figures(task: Task, predictions: Predictions, fold: int) -> dict:
    """Returns the figures of a fold, averaged over seeds."""
    rows = np.flatnonzero(task.truth.fold_N == fold)
    figures = {
        'fold': fold,
        'name': task.truth.rows.fold_names[fold],
        'utterances': len(rows),
        'speakers': len(set(task.truth.column('speaker')[rows].tolist())),
    }
    counts = _counts(task, predictions, rows)
    if counts is not None:
        measured = [metrics.classification_metrics(count.sum(0)) for count in counts]
        for key in (UAR.key, WA.key, F1.key):
            figures[key] = float(np.mean([seed[key] for seed in measured]))
    moments = _moments(task, predictions, rows)
    if moments is not None:
        measured = []
        for moment in moments:
            measured.append(concordance.metrics_from_moments(moment.sum(0), task.ratings))
        for key in ('ccc', 'pearson', 'rmse'):
            figures[key] = float(np.mean([seed[key] for seed in measured]))
    return figures


def find_groups(truth: Truth) -> dict[str, np.ndarray]:
    """Returns the group of each tested row, by kind; '' where it is not known.

    Kinds with fewer than two groups are left out. The groups of SENTENCE_KIND say whether the
    sentence of a row is also in the training part of its fold.
    """
    groups = {kind: truth.column(kind) for kind in GROUP_KINDS}
    sentence_N = truth.column('sentence')
    seen_N = np.full(len(truth), '', dtype='<U20')
    for fold in truth.fold_numbers:
        training = set(truth.rows.text['sentence'][truth.rows.rows(fold, 'train')].tolist()) - {''}
        own_N = (truth.fold_N == fold) & (sentence_N != '')
        if training:
            is_seen_N = np.isin(sentence_N, list(training))
            seen_N[own_N & is_seen_N] = SEEN_SENTENCE
            seen_N[own_N & ~is_seen_N] = NEW_SENTENCE
    groups[SENTENCE_KIND] = seen_N
    return {kind: group_N for kind, group_N in groups.items() if len(_known(group_N)) > 1}


def _known(group_N: np.ndarray) -> list[str]:
    return sorted(set(group_N.tolist()) - {''})


def _group_figures(task: Task, predictions: Predictions) -> dict[str, dict[str, dict]]:
    """Returns the main measure of each group of each kind."""
    figures = {}
    for kind, group_N in find_groups(task.truth).items():
        figures[kind] = {}
        for group in _known(group_N):
            rows = np.flatnonzero(group_N == group)
            statistics = make_statistics(
                task.measure,
                _counts(task, predictions, rows),
                _moments(task, predictions, rows),
            )
            estimate = bootstrap.measure_estimate(statistics)
            figures[kind][group] = {
                'utterances': len(rows),
                'speakers': len(set(task.truth.column('speaker')[rows].tolist())),
                task.measure.key: estimate.value,
                f'{task.measure.key}_ci95': estimate.ci95,
            }
    return figures


def _calibrate(task: Task, predictions: Predictions) -> tuple[calibration.Reliability, dict]:
    """Returns the reliability and the figures of calibration, all seeds together."""
    truth_N = task.truth.class_N
    confidences, corrects, losses = [], [], []
    for p_NxC, predicted_N in zip(predictions.p_ZxNxC, predictions.predicted_ZxN):
        confidences.append(p_NxC.max(1))
        corrects.append(predicted_N == truth_N)
        losses.append(calibration.negative_log_likelihood(p_NxC, truth_N))
    reliability = calibration.reliability_bins(
        np.concatenate(confidences), np.concatenate(corrects)
    )
    figures = {'ece': reliability.expected_error, 'nll': float(np.mean(losses))}
    is_impossible_ZxN = predictions.p_ZxNxC[:, np.arange(len(truth_N)), truth_N] <= 0
    if is_impossible_ZxN.any():
        predictions.notes.append(_impossible_note(is_impossible_ZxN))
    return reliability, figures


def _impossible_note(is_impossible_ZxN: np.ndarray) -> str:
    """Returns the note on predictions that give the true class a posterior of 0."""
    count = pluralize(int(is_impossible_ZxN.sum()), 'prediction')
    cost = -np.log(np.finfo(float).tiny)
    return (
        f'NLL is dominated by {count} of {is_impossible_ZxN.size}, with a posterior of 0 for the '
        f'true class: each adds {cost:.0f} nats before the mean. Write more digits, or posteriors '
        'of at least 1e-7.'
    )


def vote_divergence(task: Task, predictions: Predictions) -> float | None:
    """Returns the mean of KL(votes || posterior), in nats.

    Returns None without posteriors or votes. Utterances without votes are left out.
    """
    votes_NxC = task.truth.votes_NxC if task.classes else None
    if votes_NxC is None or predictions.p_ZxNxC is None:
        return None
    voted_N = votes_NxC.sum(1) > 0
    share_VxC = votes_NxC[voted_N].astype(np.float64)
    share_VxC = share_VxC / share_VxC.sum(1, keepdims=True)
    p_ZxVxC = np.maximum(predictions.p_ZxNxC[:, voted_N], np.finfo(float).tiny)
    safe_share_VxC = np.where(share_VxC > 0, share_VxC, 1)
    divergence_ZxV = (share_VxC * (np.log(safe_share_VxC) - np.log(p_ZxVxC))).sum(-1)
    return float(divergence_ZxV.mean())

"""The summary of a sweep: one row per setting, each compared with plain training.

A setting is a combination of the values that were swept, except the seed. A row is a dict with
these keys; a figure that was not computed is None:

  swept keys           the values of the setting; filled by `_summarize_setting`, with the next five
  seeds                number of seeds of which no fold diverged
  adversary            {verdict: number of runs}
  dev_uar, uar_folds   means over the runs: UAR on dev, UAR on the test part of each fold
  probe                {question: average}: the means of the probes of the runs, as
                       jaxser/analysis/leakage.py describes them
  tested_speakers, uar, uar_sd_seeds, uar_ci95, wa, f1, confusion
                       the test figures of the pooled folds; filled by `class_figures`
  delta_uar, delta_ci95, p
                       the difference to plain training; filled by `_compare`, which also adds the
                       keys delta, delta_ci95 and p to the questions about speakers in
                       row['probe']: the strongest attacker's recall minus that after plain training
  p_holm               p, corrected for all rows; filled by `_correct_p_values`

If ratings are predicted, a row also has these keys:

  dev_ccc, ccc_folds   means over the runs
  ccc, ccc_sd_seeds, ccc_ci95, pearson, rmse
                       the test figures of the pooled folds, averaged over the ratings; filled by
                       `rating_figures`
  ratings              {rating: {ccc, ccc_ci95, pearson, rmse}}
  delta_ccc            the difference to plain training

The difference to plain training, its interval and p are those of the main measure (measure.py).
With soft labels, a row also has the key vote_kl: the mean of KL(votes of the raters || posterior),
in nats.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxser.analysis import bootstrap, concordance, leakage, metrics
from jaxser.analysis.measure import CCC, Measure, main_measure
from jaxser.analysis.predictions import (
    VOTE_KL,
    PredictionsByRun,
    RunPredictions,
    pool_predictions,
)
from jaxser.analysis.statistics import ConcordanceStatistics, RecallStatistics, Statistics
from jaxser.runs import (
    SHARED_KEYS,
    method_name,
    run_label,
    varying_keys,
    with_run_values,
)

# With lam = 0 these methods are plain training (erm); the tests show it. The last one, a network
# with SNP's layer, stands for plain training only where there is no other.
PLAIN_AT_ZERO_LAM = (
    'dann',
    'speaker_norm tap',
    'cdann',
    'confusion',
    'similarity',
    'similarity unconditional',
    'coral',
    'mmd',
    'speaker_norm snp',
)

# In order of preference as the reference of a comparison.
PLAIN_METHODS = ('erm', *(f'{method}, lam = 0' for method in PLAIN_AT_ZERO_LAM))

# The keys of a row besides those that were swept.
RESULT_KEYS = (
    'seeds',
    'tested_speakers',
    'dev_uar',
    'uar',
    'uar_sd_seeds',
    'uar_ci95',
    'uar_folds',
    'wa',
    'f1',
    'delta_uar',
    'delta_ci95',
    'p',
    'p_holm',
    'confusion',
    'probe',
    'adversary',
)


# The further keys of a row if ratings are predicted.
RATING_KEYS = (
    'dev_ccc',
    'ccc',
    'ccc_sd_seeds',
    'ccc_ci95',
    'ccc_folds',
    'pearson',
    'rmse',
    'ratings',
    'delta_ccc',
)


class SweepOutputs(NamedTuple):
    """What the runs of a sweep predict, and their test predictions."""

    predicted: PredictionsByRun
    label_keys: list[str]  # the keys of the runs' labels
    classes: int  # their number; 0 if no classes are predicted
    ratings: tuple[str, ...]
    measure: Measure  # by which settings are compared
    has_votes: bool  # whether the runs were trained on the votes of raters


@dataclasses.dataclass
class SettingSummary:
    """The row of a setting, and what a comparison with another setting needs."""

    row: dict
    setting: dict  # the values of the swept keys
    folds: set[int] = dataclasses.field(default_factory=set)  # of the runs that count
    statistics: Statistics | None = None  # of the main measure; None where no seed is complete
    # Each speaker's recall by the strongest attacker, by question.
    recalls: dict[str, leakage.Recalls] = dataclasses.field(default_factory=dict)


def summary_rows(
    runs: list[dict],
    predicted: PredictionsByRun,
    config: dict,
    classes: int,
    ratings: Sequence[str] = (),
) -> list[dict]:
    """Returns the summary of results.json.

    `uar` and `ccc` pool the test parts of a seed's folds, and are averaged over the seeds of which
    no fold diverged; `uar_folds` and `ccc_folds` are the means over folds. `delta_uar` or
    `delta_ccc` is the difference to plain training with the same network, subset and training
    hyper-parameters (SHARED_KEYS); `p_holm` is corrected for all differences of the sweep.

    Args:
      runs: the runs, as in results.json.
      predicted: their test predictions.
      config: the configuration, as in config.json.
      classes: the number of classes; 0 if none are predicted.
      ratings: the names of the predicted ratings.
    """
    hypers = collect(runs, 'hyper')
    config = with_run_values(config, hypers)
    outputs = SweepOutputs(
        predicted,
        varying_keys(hypers),
        classes,
        tuple(ratings),
        main_measure(config),
        bool(config.get('train', {}).get('soft_labels')),
    )
    swept = [key for key in outputs.label_keys if key != 'seed']
    runs_by_setting: dict[tuple, list[dict]] = {}
    for run in runs:
        values = tuple(map(run['hyper'].get, swept))
        runs_by_setting.setdefault(values, []).append(run)
    settings, rows, summaries = [], [], []
    for values, setting_runs in runs_by_setting.items():
        setting = dict(zip(swept, values))
        summary = _summarize_setting(setting, setting_runs, outputs)
        leakage.mark_centred(summary.row['probe'] or {}, config)
        settings.append(setting)
        rows.append(summary.row)
        summaries.append(summary)
    for summary in summaries:
        reference = find_plain_reference_index(summary.setting, settings, config)
        if reference is not None:
            _compare(summary, summaries[reference])
    _correct_p_values(rows)
    return rows


def swept_keys(row: dict) -> list[str]:
    """Returns the keys of a row that were swept."""
    return [key for key in row if key not in (*RESULT_KEYS, *RATING_KEYS, VOTE_KL)]


def probed_answers(rows: list[dict], question: str = 'speaker') -> list[dict]:
    """Returns the averages of the probe for one question, of the rows that have them."""
    answers = []
    for row in rows:
        if row['probe'] and question in row['probe']:
            answers.append(row['probe'][question])
    return answers


def tested_speakers(rows: list[dict]) -> int:
    """Returns the number of tested speakers; 0 where no row has figures."""
    return next(filter(None, collect(rows, 'tested_speakers')), 0)


def collect(records: list[dict], *path: str) -> list:
    """Returns record[key1][key2]... of every record, for path = key1, key2, ..."""
    values = []
    for record in records:
        for key in path:
            record = record[key]
        values.append(record)
    return values


def mean_of(records: list[dict], *path: str) -> float:
    """Returns the mean of the values that `collect` returns."""
    return float(np.mean(collect(records, *path)))


def _summarize_setting(setting: dict, runs: list[dict], outputs: SweepOutputs) -> SettingSummary:
    """Returns the figures of a setting, without the comparison with plain training."""
    complete = complete_seeds(runs)
    row = setting | dict.fromkeys(RESULT_KEYS)
    if outputs.ratings:
        row |= dict.fromkeys(RATING_KEYS)
    if outputs.has_votes:
        row[VOTE_KL] = None
    row['seeds'] = len(set(collect(complete, 'hyper', 'seed')))
    row['adversary'] = _count_verdicts(runs)
    summary = SettingSummary(row, setting)
    if not complete:
        return summary
    summary.folds = set(collect(complete, 'hyper', 'fold'))
    pooled = pool_folds(outputs.predicted, complete, outputs.label_keys)
    if outputs.classes:
        class_statistics = recall_statistics(pooled, outputs.classes)
        row |= class_figures(class_statistics)
        row['dev_uar'] = mean_of(complete, 'dev', 'uar')
        row['uar_folds'] = mean_of(complete, 'test', 'uar')
        summary.statistics = class_statistics
    if outputs.ratings:
        rating_statistics = concordance_statistics(pooled)
        row |= rating_figures(rating_statistics, outputs.ratings)
        row['dev_ccc'] = mean_of(complete, 'dev', 'ccc')
        row['ccc_folds'] = mean_of(complete, 'test', 'ccc')
        if outputs.measure == CCC:
            summary.statistics = rating_statistics
    row['tested_speakers'] = summary.statistics.speakers
    if outputs.has_votes:
        row[VOTE_KL] = _mean_divergence(pooled)
    if all(run.get('probe') for run in complete):
        row['probe'], summary.recalls = leakage.average_probe(collect(complete, 'probe'))
    return summary


def _count_verdicts(runs: list[dict]) -> dict[str, int] | None:
    """Returns the number of runs by the verdict on their adversary; None without verdicts."""
    counts: Counter[str] = Counter()
    for run in runs:
        if run.get('adversary'):
            counts[run['adversary']['verdict']] += 1
    return dict(counts) or None


def class_figures(statistics: RecallStatistics) -> dict:
    """Returns the figures of classes that pool the folds of each seed.

    They are averaged over the seeds: 'uar', 'uar_sd_seeds', 'uar_ci95', 'wa' and 'f1'. 'confusion'
    is the sum of the confusion matrices.
    """
    count_ZxSxCxC = statistics.count_ZxSxCxC
    measured = []
    for count_SxCxC in count_ZxSxCxC:
        measured.append(metrics.classification_metrics(count_SxCxC.sum(0)))
    estimate = bootstrap.measure_estimate(statistics)
    return {
        'uar': estimate.value,
        'uar_sd_seeds': seed_deviation(collect(measured, 'uar')),
        'uar_ci95': estimate.ci95,
        'wa': mean_of(measured, 'wa'),
        'f1': mean_of(measured, 'f1'),
        'confusion': count_ZxSxCxC.sum((0, 1)).tolist(),
    }


def rating_figures(statistics: ConcordanceStatistics, ratings: Sequence[str]) -> dict:
    """Returns the figures of ratings that pool the folds of each seed.

    They are averaged over the seeds: 'ccc', 'ccc_sd_seeds', 'ccc_ci95', 'pearson' and 'rmse', means
    over the ratings, and 'ratings', which has the figures of each.
    """
    measured = []
    for moment_SxAx6 in statistics.moment_ZxSxAx6:
        measured.append(concordance.metrics_from_moments(moment_SxAx6.sum(0), ratings))
    estimate = bootstrap.measure_estimate(statistics)
    by_rating = {}
    for a, name in enumerate(ratings):
        rating_estimate = bootstrap.measure_estimate(statistics.select_rating(a))
        by_rating[name] = {
            'ccc': rating_estimate.value,
            'ccc_ci95': rating_estimate.ci95,
            'pearson': mean_of(measured, 'ratings', name, 'pearson'),
            'rmse': mean_of(measured, 'ratings', name, 'rmse'),
        }
    return {
        'ccc': estimate.value,
        'ccc_sd_seeds': seed_deviation(collect(measured, 'ccc')),
        'ccc_ci95': estimate.ci95,
        'pearson': mean_of(measured, 'pearson'),
        'rmse': mean_of(measured, 'rmse'),
        'ratings': by_rating,
    }


def seed_deviation(values: Sequence[float]) -> float | None:
    """Returns the standard deviation over seeds; None for one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _mean_divergence(pooled: list[RunPredictions]) -> float | None:
    """Returns the mean of KL(votes || posterior) over the utterances that have votes.

    It is None where there is no such utterance, and where the divergence was not written.
    """
    means = []
    for seed in pooled:
        if seed.vote_kl_N is None or np.isnan(seed.vote_kl_N).all():
            return None
        means.append(np.nanmean(seed.vote_kl_N))
    return float(np.mean(means))


def _compare(summary: SettingSummary, plain: SettingSummary) -> None:
    """Writes the difference to plain training into a row, if both were tested on the same folds."""
    if summary.statistics is None or plain.statistics is None:
        return
    if summary.folds != plain.folds:
        return
    estimate = bootstrap.difference_estimate(summary.statistics, plain.statistics)
    delta_key = f'delta_{summary.statistics.measure.key}'
    summary.row |= {delta_key: estimate.value, 'delta_ci95': estimate.ci95, 'p': estimate.p}
    for question, recalls in summary.recalls.items():
        plain_recalls = plain.recalls.get(question, {})
        if recalls and recalls.keys() == plain_recalls.keys():
            difference = leakage.leakage_difference(recalls, plain_recalls)
            summary.row['probe'][question] |= difference


def _correct_p_values(rows: list[dict]) -> None:
    """Writes p_holm into the rows that have a p-value."""
    compared = [row for row in rows if row['p'] is not None]
    corrected = bootstrap.holm_correction(collect(compared, 'p'))
    for row, p_holm in zip(compared, corrected):
        row['p_holm'] = p_holm


def pool_folds(
    predicted: PredictionsByRun, runs: list[dict], label_keys: list[str]
) -> list[RunPredictions]:
    """Returns the predictions of each seed, its folds pooled; the seeds are in ascending order.

    There must be one run for every seed and fold; `label_keys` are the keys of their labels.
    """
    folds_by_seed: dict[int, list] = {}
    for run in runs:
        hyper = run['hyper']
        fold = predicted[run_label(hyper, label_keys), hyper['fold']]
        folds_by_seed.setdefault(hyper['seed'], []).append(fold)
    return [pool_predictions(folds) for _, folds in sorted(folds_by_seed.items())]


def recall_statistics(pooled: list[RunPredictions], classes: int) -> RecallStatistics:
    """Returns the confusion matrices of speakers, from the predictions of each seed."""
    counts = []
    for seed in pooled:
        count_SxCxC = bootstrap.speaker_confusions(
            seed.speaker_N, seed.truth_N, seed.predicted_N, classes
        )
        counts.append(count_SxCxC)
    return RecallStatistics(np.stack(counts))


def concordance_statistics(pooled: list[RunPredictions]) -> ConcordanceStatistics:
    """Returns the moments of speakers, from the predictions of each seed."""
    moments = []
    for seed in pooled:
        moments.append(concordance.speaker_moments(seed.speaker_N, seed.truth_NxA, seed.rating_NxA))
    return ConcordanceStatistics(np.stack(moments))


def measure_statistics(pooled: list[RunPredictions], measure: Measure, classes: int) -> Statistics:
    """Returns the statistics of a measure, from the predictions of each seed."""
    if measure == CCC:
        return concordance_statistics(pooled)
    return recall_statistics(pooled, classes)


def complete_seeds(runs: list[dict]) -> list[dict]:
    """Returns the runs of those seeds of which no run diverged."""
    diverged_seeds = set()
    for run in runs:
        if run['status'] != 'ok':
            diverged_seeds.add(run['hyper']['seed'])
    return [run for run in runs if run['hyper']['seed'] not in diverged_seeds]


def find_plain_reference_index(setting: dict, others: list[dict], config: dict) -> int | None:
    """Returns the index in `others` of the plain training that a setting is compared with.

    It has the same network, subset and training hyper-parameters (SHARED_KEYS). Of several, the
    method that comes first in PLAIN_METHODS is taken, and of these the setting with the most equal
    values. Returns None if there is none, if it is the setting itself, and if the setting is plain
    training.
    """
    if method_name(config | setting) in PLAIN_METHODS[:-1]:
        return None
    shared = [key for key in setting if key in SHARED_KEYS or key.startswith('model.')]
    candidates = []
    for n, other in enumerate(others):
        name = method_name(config | other)
        equal_keys = {key for key in setting if other.get(key) == setting[key]}
        if name in PLAIN_METHODS and equal_keys.issuperset(shared):
            candidates.append((PLAIN_METHODS.index(name), -len(equal_keys), n))
    if not candidates:
        return None
    _, _, reference = min(candidates)
    return None if others[reference] == setting else reference

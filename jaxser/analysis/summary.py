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
                       the test figures of the pooled folds; filled by `_test_figures`
  delta_uar, delta_ci95, p
                       the difference to plain training; filled by `_compare`, which also adds the
                       keys delta, delta_ci95 and p to the questions about speakers in
                       row['probe']: the strongest attacker's recall minus that after plain training
  p_holm               p, corrected for all rows; filled by `_correct_p_values`
"""

import dataclasses
from collections import Counter

import numpy as np

from jaxser.analysis import bootstrap, leakage, metrics
from jaxser.analysis.predictions import PredictionsByRun, pool_predictions
from jaxser.analysis.statistics import RecallStatistics
from jaxser.runs import SHARED_KEYS, method_name, run_label, varying_keys

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


@dataclasses.dataclass
class SettingSummary:
    """The row of a setting, and what a comparison with another setting needs."""

    row: dict
    setting: dict  # the values of the swept keys
    folds: set[int] = dataclasses.field(default_factory=set)  # of the runs that count
    count_ZxSxCxC: np.ndarray | None = None  # None where no seed is complete
    # Each speaker's recall by the strongest attacker, by question.
    recalls: dict[str, leakage.Recalls] = dataclasses.field(default_factory=dict)


def summary_rows(
    runs: list[dict], predicted: PredictionsByRun, config: dict, classes: int
) -> list[dict]:
    """Returns the summary of results.json; `config` is the configuration as in config.json.

    `uar` pools the test parts of a seed's folds, and is averaged over the seeds of which no fold
    diverged; `uar_folds` is the mean over folds. `delta_uar` is the difference to plain training
    with the same network, subset and training hyper-parameters (SHARED_KEYS); `p_holm` is corrected
    for all differences of the sweep.
    """
    label_keys = varying_keys(collect(runs, 'hyper'))
    swept = [key for key in label_keys if key != 'seed']
    runs_by_setting: dict[tuple, list[dict]] = {}
    for run in runs:
        values = tuple(map(run['hyper'].get, swept))
        runs_by_setting.setdefault(values, []).append(run)
    settings, rows, summaries = [], [], []
    for values, setting_runs in runs_by_setting.items():
        setting = dict(zip(swept, values))
        summary = _summarize_setting(setting, setting_runs, predicted, label_keys, classes)
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
    return [key for key in row if key not in RESULT_KEYS]


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


def _summarize_setting(
    setting: dict,
    runs: list[dict],
    predicted: PredictionsByRun,
    label_keys: list[str],
    classes: int,
) -> SettingSummary:
    """Returns the figures of a setting, without the comparison with plain training."""
    complete = complete_seeds(runs)
    row = setting | dict.fromkeys(RESULT_KEYS)
    row['seeds'] = len(set(collect(complete, 'hyper', 'seed')))
    row['adversary'] = _count_verdicts(runs)
    summary = SettingSummary(row, setting)
    if not complete:
        return summary
    summary.folds = set(collect(complete, 'hyper', 'fold'))
    summary.count_ZxSxCxC = run_confusions(predicted, complete, label_keys, classes)
    row |= _test_figures(summary.count_ZxSxCxC)
    row['dev_uar'] = mean_of(complete, 'dev', 'uar')
    row['uar_folds'] = mean_of(complete, 'test', 'uar')
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


def _test_figures(count_ZxSxCxC: np.ndarray) -> dict:
    """Returns the figures that pool the folds of each seed."""
    measured = []
    for count_SxCxC in count_ZxSxCxC:
        measured.append(metrics.classification_metrics(count_SxCxC.sum(0)))
    estimate = bootstrap.measure_estimate(RecallStatistics(count_ZxSxCxC))
    deviation = None
    if len(measured) > 1:
        deviation = float(np.std(collect(measured, 'uar'), ddof=1))
    return {
        'tested_speakers': count_ZxSxCxC.shape[1],
        'uar': estimate.value,
        'uar_sd_seeds': deviation,
        'uar_ci95': estimate.ci95,
        'wa': mean_of(measured, 'wa'),
        'f1': mean_of(measured, 'f1'),
        'confusion': count_ZxSxCxC.sum((0, 1)).tolist(),
    }


def _compare(summary: SettingSummary, plain: SettingSummary) -> None:
    """Writes the difference to plain training into a row, if both were tested on the same folds."""
    if summary.count_ZxSxCxC is None or plain.count_ZxSxCxC is None:
        return
    if summary.folds != plain.folds:
        return
    estimate = bootstrap.difference_estimate(
        RecallStatistics(summary.count_ZxSxCxC), RecallStatistics(plain.count_ZxSxCxC)
    )
    summary.row |= {'delta_uar': estimate.value, 'delta_ci95': estimate.ci95, 'p': estimate.p}
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


def run_confusions(
    predicted: PredictionsByRun, runs: list[dict], label_keys: list[str], classes: int
) -> np.ndarray:
    """Returns count_ZxSxCxC, the folds of each seed pooled; the seeds are in ascending order.

    There must be one run for every seed and fold; `label_keys` are the keys of their labels.
    """
    folds_by_seed: dict[int, list] = {}
    for run in runs:
        hyper = run['hyper']
        fold = predicted[run_label(hyper, label_keys), hyper['fold']]
        folds_by_seed.setdefault(hyper['seed'], []).append(fold)
    counts = []
    for _, folds in sorted(folds_by_seed.items()):
        pooled = pool_predictions(folds)
        count_SxCxC = bootstrap.speaker_confusions(
            pooled.speaker_N, pooled.truth_N, pooled.predicted_N, classes
        )
        counts.append(count_SxCxC)
    return np.stack(counts)


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

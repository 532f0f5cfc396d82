"""The table over finished sweeps: one row per method and setting, its coefficients chosen on dev.

A setting is a combination of the keys that are compared: SETTING_KEYS and all keys of the model.
The coefficients are all other swept keys, such as lam, except the seed.
"""

import itertools
from typing import NamedTuple

from jaxser.analysis import bootstrap, leakage, summary
from jaxser.analysis.finished import FinishedSweep
from jaxser.analysis.measure import CCC, UAR, Measure, main_measure
from jaxser.analysis.statistics import Statistics
from jaxser.runs import USUAL_VARIANTS, format_value, method_name, varying_keys

# The number of enrolled utterances is a condition of the test and not tuned: training is the same.
SETTING_KEYS = ('domain', 'per_class', 'speakers', 'confounded', 'enrol')


class ComparisonRow(NamedTuple):
    """A method under a setting; without figures where every coefficient diverged in a fold."""

    setting: dict
    method: str
    coefficients: list[str]  # as text, one per fold
    measure: Measure = UAR  # the main measure, of `sd` and of the gains
    dev_uar: float | None = None  # None if no classes are predicted
    uar: bootstrap.Estimate | None = None
    dev_ccc: float | None = None  # None if no ratings are predicted
    ccc: bootstrap.Estimate | None = None
    sd: float | None = None
    gain: bootstrap.Estimate | None = None  # over plain training
    # Over plain training with BatchNorm `joint`, in sweeps over model.batch_norm.
    gain_over_joint: bootstrap.Estimate | None = None
    # Averages by question of the probe, as jaxser/analysis/leakage.py describes them: those about
    # the domain to forget, and all that every run answers.
    leakage: dict[str, dict] | None = None
    probe: dict[str, dict] | None = None
    seconds: float | None = None
    # For comparisons with rows of other sweeps: the test figures, and each speaker's recall by the
    # strongest attacker, by question.
    statistics: Statistics | None = None
    recalls: dict[str, dict[str, float]] | None = None

    @property
    def main(self) -> bootstrap.Estimate | None:
        """The main measure."""
        return self.ccc if self.measure == CCC else self.uar

    @property
    def dev_main(self) -> float | None:
        """The main measure on dev."""
        return self.dev_ccc if self.measure == CCC else self.dev_uar


class Candidate(NamedTuple):
    """The runs of one coefficient in one fold, one for each seed."""

    coefficient: tuple[tuple, ...]  # (key, value) pairs
    runs: list[dict]


class Choice(NamedTuple):
    """The candidates chosen on dev for a method under a setting."""

    setting: dict
    method: str
    by_fold: dict[int, Candidate | None]  # None where every coefficient diverged
    # By the key of each measure of what is predicted; None where a fold has no candidate.
    statistics: dict[str, Statistics] | None


def comparison_rows(
    finished_sweep: FinishedSweep, every_coefficient: bool = False
) -> list[ComparisonRow]:
    """Returns the table of a sweep, the methods of a setting together.

    With `every_coefficient`, every coefficient has a row of its own and none is chosen.
    """
    choices = _choose(finished_sweep, every_coefficient)
    # The first of several choices with one key is the reference of all others.
    main_key = main_measure(finished_sweep.metadata['config']).key
    by_method: dict[tuple, Statistics] = {}
    for choice in choices:
        if choice.statistics is not None:
            key = (tuple(choice.setting.values()), choice.method)
            by_method.setdefault(key, choice.statistics[main_key])
    rows_by_setting: dict[tuple, list[ComparisonRow]] = {}
    for choice in choices:
        row = _make_row(choice, by_method, finished_sweep.metadata['config'])
        rows_by_setting.setdefault(tuple(choice.setting.values()), []).append(row)
    return list(itertools.chain.from_iterable(rows_by_setting.values()))


def _choose(finished_sweep: FinishedSweep, every_coefficient: bool) -> list[Choice]:
    """Returns the best coefficients of every method under every setting."""
    runs = finished_sweep.results['runs']
    label_keys = varying_keys(summary.collect(runs, 'hyper'))
    setting_keys, coefficient_keys = [], []
    for key in label_keys:
        if key in SETTING_KEYS or key.startswith('model.'):
            setting_keys.append(key)
        elif key not in ('method', 'seed', *USUAL_VARIANTS):
            coefficient_keys.append(key)

    runs_by_group: dict[tuple, dict[tuple, list[dict]]] = {}
    for run, seconds in zip(runs, finished_sweep.run_seconds):
        hyper = run['hyper']
        method = method_name(finished_sweep.metadata['config'] | hyper)
        setting = tuple(map(hyper.get, setting_keys))
        coefficient = _coefficient(hyper, coefficient_keys)
        group = (setting, method, coefficient if every_coefficient else ())
        candidates = runs_by_group.setdefault(group, {})
        candidates.setdefault((hyper['fold'], coefficient), []).append(run | {'seconds': seconds})

    choices = []
    main_key = main_measure(finished_sweep.metadata['config']).key
    for (setting, method, _), candidates in runs_by_group.items():
        by_fold = _best_by_fold(candidates, main_key)
        statistics = None
        if all(by_fold.values()):
            statistics = _statistics(finished_sweep, _chosen_runs(by_fold), label_keys)
        choices.append(Choice(dict(zip(setting_keys, setting)), method, by_fold, statistics))
    return choices


def _statistics(
    finished_sweep: FinishedSweep, runs: list[dict], label_keys: list[str]
) -> dict[str, Statistics]:
    """Returns the statistics of what the runs predict, by the key of the measure."""
    results = finished_sweep.results
    pooled = summary.pool_folds(finished_sweep.predictions, runs, label_keys)
    statistics: dict[str, Statistics] = {}
    if results['classes']:
        statistics[UAR.key] = summary.recall_statistics(pooled, len(results['classes']))
    if results.get('ratings'):
        statistics[CCC.key] = summary.concordance_statistics(pooled)
    return statistics


def _coefficient(hyper: dict, keys: list[str]) -> tuple[tuple, ...]:
    """Returns the (key, value) pairs of a run's coefficients; keys it does not use are left out."""
    pairs = []
    for key in keys:
        if hyper.get(key) is not None:
            pairs.append((key, hyper[key]))
    return tuple(pairs)


def _best_by_fold(
    runs_by_candidate: dict[tuple, list[dict]], key: str
) -> dict[int, Candidate | None]:
    """Returns, by fold, the coefficient that is best on dev, the first of equals.

    It has the largest mean of the measure with this key.
    """
    best: dict[int, Candidate | None] = {}
    best_value: dict[int, float] = {}
    for (fold, coefficient), runs in runs_by_candidate.items():
        best.setdefault(fold, None)
        if set(summary.collect(runs, 'status')) != {'ok'}:
            continue
        value = summary.mean_of(runs, 'dev', key)
        if best[fold] is None or value > best_value[fold]:
            best[fold] = Candidate(coefficient, runs)
            best_value[fold] = value
    return dict(sorted(best.items()))


def _chosen_runs(by_fold: dict[int, Candidate]) -> list[dict]:
    runs = []
    for candidate in by_fold.values():
        runs += candidate.runs
    return runs


def _make_row(choice: Choice, by_method: dict, config: dict) -> ComparisonRow:
    """Returns the row of a choice, compared with plain training where there is one.

    `by_method` are the statistics of the main measure, by setting and method.
    """
    measure = main_measure(config)
    if choice.statistics is None:
        diverged = [str(fold) for fold, candidate in choice.by_fold.items() if candidate is None]
        note = f'diverged in fold {", ".join(diverged)}'
        return ComparisonRow(choice.setting, choice.method, [note], measure)
    runs = _chosen_runs(choice.by_fold)
    coefficients = []
    for candidate in choice.by_fold.values():
        coefficients.append(_format_coefficient(candidate.coefficient))
    statistics = choice.statistics[measure.key]
    domains = (choice.setting.get('domain') or config.get('domain', '')).split('+')
    gain_over_joint = None
    if 'model.batch_norm' in choice.setting:
        joint_setting = choice.setting | {'model.batch_norm': 'joint'}
        gain_over_joint = _gain_over_plain(statistics, joint_setting, by_method)
    probe, recalls = _average_answers(runs)
    leakage.mark_centred(probe, config)
    return ComparisonRow(
        setting=choice.setting,
        method=choice.method,
        coefficients=coefficients,
        measure=measure,
        sd=summary.seed_deviation(statistics.value_by_seed()),
        gain=_gain_over_plain(statistics, choice.setting, by_method),
        gain_over_joint=gain_over_joint,
        leakage=_domain_leakage(probe, domains),
        probe=probe,
        seconds=summary.mean_of(runs, 'seconds'),
        statistics=statistics,
        recalls=recalls,
        **_measured(choice.statistics, runs),
    )


def _measured(statistics: dict[str, Statistics], runs: list[dict]) -> dict:
    """Returns the fields of a row about each measure: `uar` and `dev_uar`, `ccc` and `dev_ccc`."""
    fields: dict = {}
    for key, own in statistics.items():
        fields[key] = bootstrap.measure_estimate(own)
        fields[f'dev_{key}'] = summary.mean_of(runs, 'dev', key)
    return fields


def _format_coefficient(coefficient: tuple[tuple, ...]) -> str:
    return ' '.join(f'{key} {format_value(value)}' for key, value in coefficient)


def _gain_over_plain(
    statistics: Statistics, setting: dict, by_method: dict
) -> bootstrap.Estimate | None:
    """Returns the gain over plain training of a setting; None without one, and for itself."""
    for method in summary.PLAIN_METHODS:
        plain = by_method.get((tuple(setting.values()), method))
        if plain is statistics:
            return None
        if plain is not None:
            return bootstrap.difference_estimate(statistics, plain)
    return None


def _average_answers(runs: list[dict]) -> tuple[dict[str, dict], dict[str, leakage.Recalls]]:
    """Returns, of each question that was probed in all runs, the average and speakers' recalls."""
    probes = [run.get('probe') or {} for run in runs]
    averages, recalls = leakage.average_probe(probes)
    answered_by_all = {}
    for question, average in averages.items():
        if all(question in probe for probe in probes):
            answered_by_all[question] = average
    return answered_by_all, recalls


def _domain_leakage(probe: dict[str, dict], domains: list[str]) -> dict[str, dict] | None:
    """Returns the averages about the domains and their unseen values; None without any."""
    averages = {}
    for domain in domains:
        for question in (domain, leakage.unseen_question(domain)):
            if question in probe:
                averages[question] = probe[question]
    return averages or None

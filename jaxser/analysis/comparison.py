"""The table over finished sweeps: one row per method and setting, its coefficients chosen on dev.

A setting is a combination of the keys that are compared: SETTING_KEYS and all keys of the model.
The coefficients are all other swept keys, such as lam, except the seed.
"""

import itertools
from typing import NamedTuple

import numpy as np

from jaxser.analysis import bootstrap, leakage, summary
from jaxser.analysis.finished import FinishedSweep
from jaxser.analysis.statistics import RecallStatistics
from jaxser.runs import USUAL_VARIANTS, format_value, method_name, varying_keys

# The number of enrolled utterances is a condition of the test and not tuned: training is the same.
SETTING_KEYS = ('domain', 'per_class', 'speakers', 'confounded', 'enrol')


class ComparisonRow(NamedTuple):
    """A method under a setting; without figures where every coefficient diverged in a fold."""

    setting: dict
    method: str
    coefficients: list[str]  # as text, one per fold
    dev_uar: float | None = None
    uar: bootstrap.Estimate | None = None
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
    count_ZxSxCxC: np.ndarray | None = None
    recalls: dict[str, dict[str, float]] | None = None


class Candidate(NamedTuple):
    """The runs of one coefficient in one fold, one for each seed."""

    coefficient: tuple[tuple, ...]  # (key, value) pairs
    runs: list[dict]


class Choice(NamedTuple):
    """The candidates chosen on dev for a method under a setting."""

    setting: dict
    method: str
    by_fold: dict[int, Candidate | None]  # None where every coefficient diverged
    count_ZxSxCxC: np.ndarray | None  # None where a fold has no candidate


def comparison_rows(
    finished_sweep: FinishedSweep, every_coefficient: bool = False
) -> list[ComparisonRow]:
    """Returns the table of a sweep, the methods of a setting together.

    With `every_coefficient`, every coefficient has a row of its own and none is chosen.
    """
    choices = _choose(finished_sweep, every_coefficient)
    # The first of several choices with one key is the reference of all others.
    count_by_method: dict[tuple, np.ndarray] = {}
    for choice in choices:
        if choice.count_ZxSxCxC is not None:
            key = (tuple(choice.setting.values()), choice.method)
            count_by_method.setdefault(key, choice.count_ZxSxCxC)
    rows_by_setting: dict[tuple, list[ComparisonRow]] = {}
    for choice in choices:
        row = _make_row(choice, count_by_method, finished_sweep.metadata['config'])
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
    for (setting, method, _), candidates in runs_by_group.items():
        by_fold = _best_by_fold(candidates)
        count = None
        if all(by_fold.values()):
            count = summary.run_confusions(
                finished_sweep.predictions,
                _chosen_runs(by_fold),
                label_keys,
                len(finished_sweep.results['classes']),
            )
        choices.append(Choice(dict(zip(setting_keys, setting)), method, by_fold, count))
    return choices


def _coefficient(hyper: dict, keys: list[str]) -> tuple[tuple, ...]:
    """Returns the (key, value) pairs of a run's coefficients; keys it does not use are left out."""
    pairs = []
    for key in keys:
        if hyper.get(key) is not None:
            pairs.append((key, hyper[key]))
    return tuple(pairs)


def _best_by_fold(runs_by_candidate: dict[tuple, list[dict]]) -> dict[int, Candidate | None]:
    """Returns, by fold, the coefficient with the best mean dev UAR, the first of equals."""
    best: dict[int, Candidate | None] = {}
    best_uar: dict[int, float] = {}
    for (fold, coefficient), runs in runs_by_candidate.items():
        best.setdefault(fold, None)
        if set(summary.collect(runs, 'status')) != {'ok'}:
            continue
        dev_uar = summary.mean_of(runs, 'dev', 'uar')
        if best[fold] is None or dev_uar > best_uar[fold]:
            best[fold] = Candidate(coefficient, runs)
            best_uar[fold] = dev_uar
    return dict(sorted(best.items()))


def _chosen_runs(by_fold: dict[int, Candidate]) -> list[dict]:
    runs = []
    for candidate in by_fold.values():
        runs += candidate.runs
    return runs


def _make_row(choice: Choice, count_by_method: dict, config: dict) -> ComparisonRow:
    """Returns the row of a choice, compared with plain training where there is one."""
    if choice.count_ZxSxCxC is None:
        diverged = [str(fold) for fold, candidate in choice.by_fold.items() if candidate is None]
        note = f'diverged in fold {", ".join(diverged)}'
        return ComparisonRow(choice.setting, choice.method, [note])
    runs = _chosen_runs(choice.by_fold)
    coefficients = []
    for candidate in choice.by_fold.values():
        coefficients.append(_format_coefficient(candidate.coefficient))
    uar_Z = bootstrap.uar_from_counts(choice.count_ZxSxCxC.sum(1))
    domains = (choice.setting.get('domain') or config.get('domain', '')).split('+')
    gain_over_joint = None
    if 'model.batch_norm' in choice.setting:
        joint_setting = choice.setting | {'model.batch_norm': 'joint'}
        gain_over_joint = _gain_over_plain(choice, joint_setting, count_by_method)
    probe, recalls = _average_answers(runs)
    leakage.mark_centred(probe, config)
    return ComparisonRow(
        setting=choice.setting,
        method=choice.method,
        coefficients=coefficients,
        dev_uar=summary.mean_of(runs, 'dev', 'uar'),
        uar=bootstrap.measure_estimate(RecallStatistics(choice.count_ZxSxCxC)),
        sd=float(np.std(uar_Z, ddof=1)) if len(uar_Z) > 1 else None,
        gain=_gain_over_plain(choice, choice.setting, count_by_method),
        gain_over_joint=gain_over_joint,
        leakage=_domain_leakage(probe, domains),
        probe=probe,
        seconds=summary.mean_of(runs, 'seconds'),
        count_ZxSxCxC=choice.count_ZxSxCxC,
        recalls=recalls,
    )


def _format_coefficient(coefficient: tuple[tuple, ...]) -> str:
    return ' '.join(f'{key} {format_value(value)}' for key, value in coefficient)


def _gain_over_plain(
    choice: Choice, setting: dict, count_by_method: dict
) -> bootstrap.Estimate | None:
    """Returns the gain over plain training of a setting; None without one, and for itself."""
    for method in summary.PLAIN_METHODS:
        plain_ZxSxCxC = count_by_method.get((tuple(setting.values()), method))
        if plain_ZxSxCxC is choice.count_ZxSxCxC:
            return None
        if plain_ZxSxCxC is not None:
            return bootstrap.difference_estimate(
                RecallStatistics(choice.count_ZxSxCxC), RecallStatistics(plain_ZxSxCxC)
            )
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

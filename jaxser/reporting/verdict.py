"""Sums up several sweeps in a few sentences: which methods differ from plain training."""

from typing import NamedTuple

import numpy as np

from jaxser.analysis import bootstrap
from jaxser.analysis.bootstrap import Estimate
from jaxser.analysis.comparison import ComparisonRow
from jaxser.reporting.formats import format_interval
from jaxser.runs import format_value


class Comparison(NamedTuple):
    """A row that is compared with plain training."""

    gain: Estimate
    row: ComparisonRow
    sweep: str


def comparison_verdict(rows_by_sweep: dict[str, list[ComparisonRow]]) -> str:
    """Returns the result of all comparisons with plain training in several sweeps, as text."""
    comparisons = []
    for sweep, rows in rows_by_sweep.items():
        for row in rows:
            if row.gain:
                comparisons.append(Comparison(row.gain, row, sweep))
    if not comparisons:
        return 'No sweep has a row of plain training and another row to compare with it.'
    sentences = [_count_sentence(comparisons), *_extreme_sentences(comparisons)]
    sentences += _method_sentences(comparisons)
    return ' '.join(sentences)


def _count_sentence(comparisons: list[Comparison]) -> str:
    """Returns a sentence with the numbers of gains, losses and undecided comparisons."""
    gains, losses, p_values = 0, 0, []
    for comparison in comparisons:
        if comparison.gain.ci95:
            low, high = comparison.gain.ci95
            gains += low > 0
            losses += high < 0
            p_values.append(comparison.gain.p)
    corrected_M = np.array(bootstrap.holm_correction(p_values))
    significant = int((corrected_M < 1 - bootstrap.CONFIDENCE_LEVEL).sum())
    sentence = (
        f'Of {len(comparisons)} comparisons with plain training, {gains} gain and {losses} lose by '
        f"an interval that excludes 0; by Holm's correction for the number of comparisons, "
        f'{significant} of them are significant; the others are undecided'
    )
    too_few = len(comparisons) - len(p_values)
    if not too_few:
        return f'{sentence}.'
    return (
        f'{sentence}, {too_few} of them because there are too few speakers '
        f'({bootstrap.MIN_SPEAKERS} or more are needed).'
    )


def _extreme_sentences(comparisons: list[Comparison]) -> list[str]:
    """Returns a sentence on the largest gain and the largest loss, if there are any."""
    largest = max(comparisons, key=_gain_value)
    smallest = min(comparisons, key=_gain_value)
    clauses = []
    if largest.gain.value > 0:
        clauses.append(f'the largest gain is that of {_describe(largest)}')
    if smallest.gain.value < 0:
        clauses.append(f'the largest loss is that of {_describe(smallest)}')
    if not clauses:
        return []
    sentence = '; '.join(clauses)
    return [f'{sentence[0].upper()}{sentence[1:]}.']


def _gain_value(comparison: Comparison) -> float:
    return comparison.gain.value


def _describe(comparison: Comparison) -> str:
    row, gain = comparison.row, comparison.gain
    setting = format_setting_values(row.setting)
    method = f'{row.method} ({setting})' if setting else row.method
    interval = format_interval(gain.ci95, '+.3f')
    return f'{method} in {comparison.sweep}, {gain.value:+.3f} {interval}'.rstrip()


def format_setting_values(setting: dict) -> str:
    """Returns the values of a setting as text, e.g. 'domain speaker, model.width 8'."""
    parts = []
    for key, value in setting.items():
        if value is not None:
            parts.append(f'{key} {format_value(value)}')
    return ', '.join(parts)


def _method_sentences(comparisons: list[Comparison]) -> list[str]:
    """Returns a sentence on the best and the worst method on average, if one has several rows."""
    gains_by_method: dict[str, list[float]] = {}
    for comparison in comparisons:
        gains_by_method.setdefault(comparison.row.method, []).append(comparison.gain.value)
    if len(gains_by_method) == len(comparisons):  # every method has a single row
        return []
    mean_gain = {method: float(np.mean(gains)) for method, gains in gains_by_method.items()}
    best = max(mean_gain, key=mean_gain.get)
    worst = min(mean_gain, key=mean_gain.get)
    if best == worst:
        return []
    return [
        f'In UAR, averaged over its rows, {best} is best ({mean_gain[best]:+.3f}) and {worst} is '
        f'worst ({mean_gain[worst]:+.3f}).'
    ]

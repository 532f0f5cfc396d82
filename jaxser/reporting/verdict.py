"""Sums up several sweeps in a few sentences: which methods help, harm, and leak least."""

from typing import NamedTuple

from jaxser.analysis import bootstrap, summary
from jaxser.analysis.bootstrap import Estimate
from jaxser.analysis.comparison import ComparisonRow
from jaxser.analysis.leakage import is_biased_low, question_title, strongest_recall
from jaxser.reporting.formats import format_interval, format_number, format_p
from jaxser.runs import NEGATIVE_LAM_ENDING, format_value


class Comparison(NamedTuple):
    """A row that is compared with plain training."""

    gain: Estimate
    row: ComparisonRow
    sweep: str  # '' if there is one sweep
    p_holm: float | None
    unit: str = ''  # the measure, where that of other comparisons differs

    @property
    def direction(self) -> int:
        """1: the interval is above 0; -1: below 0; 0: it includes 0, or there is none."""
        if not self.gain.ci95:
            return 0
        low, high = self.gain.ci95
        return int(low > 0) - int(high < 0)

    @property
    def is_significant(self) -> bool:
        """Whether it is, after correction for the number of comparisons."""
        return self.direction != 0 and is_significant(self.p_holm)


def is_significant(p_holm: float | None) -> bool:
    """Whether a corrected p-value shows a difference."""
    return p_holm is not None and p_holm < 1 - bootstrap.CONFIDENCE_LEVEL


def holm_p_values(rows: list[ComparisonRow]) -> list[float | None]:
    """Returns the corrected p-value of each row; None where a row has no p-value."""
    indices, p_values = [], []
    for n, row in enumerate(rows):
        if row.gain and row.gain.p is not None:
            indices.append(n)
            p_values.append(row.gain.p)
    corrected: list[float | None] = [None] * len(rows)
    for n, p_holm in zip(indices, bootstrap.holm_correction(p_values)):
        corrected[n] = p_holm
    return corrected


def comparison_verdict(rows_by_sweep: dict[str, list[ComparisonRow]]) -> str:
    """Returns the result of all comparisons with plain training in several sweeps, as text."""
    comparisons = _make_comparisons(rows_by_sweep)
    if not comparisons:
        return 'No sweep has a row of plain training and another row to compare with it.'
    sentences = [_shown_sentence(comparisons), _uncorrected_sentence(comparisons)]
    sentences.append(_few_speakers_sentence(comparisons))
    for sweep, rows in rows_by_sweep.items():
        sentences.append(_leakage_sentence(rows, sweep if len(rows_by_sweep) > 1 else ''))
    return ' '.join(filter(None, sentences))


def _make_comparisons(rows_by_sweep: dict[str, list[ComparisonRow]]) -> list[Comparison]:
    """Returns the rows that are compared with plain training."""
    all_rows, sweeps = [], []
    for sweep, rows in rows_by_sweep.items():
        all_rows += rows
        sweeps += [sweep if len(rows_by_sweep) > 1 else ''] * len(rows)
    has_several = len({row.measure for row in all_rows if row.gain}) > 1
    comparisons = []
    for row, sweep, p_holm in zip(all_rows, sweeps, holm_p_values(all_rows)):
        if row.gain:
            unit = row.measure.title if has_several else ''
            comparisons.append(Comparison(row.gain, row, sweep, p_holm, unit))
    return comparisons


def _shown_sentence(comparisons: list[Comparison]) -> str:
    """Returns which methods help and which harm, after correction."""
    shown = [comparison for comparison in comparisons if comparison.is_significant]
    helping = [_describe(comparison) for comparison in shown if comparison.direction > 0]
    harming = [_describe(comparison) for comparison in shown if comparison.direction < 0]
    correction = ''
    if len(comparisons) > 1:
        correction = f' after correction for {len(comparisons)} comparisons'
    if not shown:
        comma = ',' if correction else ''
        return f'No method is shown to help, and none to harm{comma}{correction}.'
    return (
        f'Shown to help{correction}: {"; ".join(helping) or "none"}. '
        f'Shown to harm: {"; ".join(harming) or "none"}.'
    )


def _uncorrected_sentence(comparisons: list[Comparison]) -> str:
    """Returns which differences count only before correction; '' without any."""
    clauses = []
    for direction, verb in ((1, 'gain'), (-1, 'lose')):
        found = []
        for comparison in comparisons:
            if comparison.direction == direction and not comparison.is_significant:
                found.append(_describe(comparison))
        if found:
            counted = f'one {verb}s' if len(found) == 1 else f'{len(found)} {verb}'
            clauses.append(f'{counted}: {"; ".join(found)}')
    if not clauses:
        return ''
    return f'Before correction, {". Also, ".join(clauses)}.'


def _few_speakers_sentence(comparisons: list[Comparison]) -> str:
    """Returns for how many comparisons there are too few speakers; '' if there are enough."""
    few = sum(comparison.gain.ci95 is None for comparison in comparisons)
    if not few:
        return ''
    which = 'all of them' if few == len(comparisons) else f'{few} of them'
    if len(comparisons) == 1:
        which = 'an interval'
    return f'For {which} there are too few speakers ({bootstrap.MIN_SPEAKERS} or more are needed).'


def _describe(comparison: Comparison) -> str:
    """Returns e.g. 'leace in w, -0.061 [-0.108, -0.014], p = 0.025 (Holm: 0.275)'.

    Where there are several measures, the difference is e.g. 'CCC -0.061'.
    """
    gain = comparison.gain
    name = row_title(comparison.row)
    if comparison.sweep:
        name = f'{name} in {comparison.sweep}'
    p_value = format_p(gain.p)
    if not p_value.startswith('<'):
        p_value = f'= {p_value}'
    interval = format_interval(gain.ci95, '+z.3f')
    holm = format_p(comparison.p_holm)
    value = f'{comparison.unit} {gain.value:+z.3f}'.strip()
    return f'{name}, {value} {interval}, p {p_value} (Holm: {holm})'


def row_title(row: ComparisonRow) -> str:
    """Returns the method of a row with its setting; that of plain training is called so."""
    method = f'plain training ({row.method})' if is_plain(row) else row.method
    setting = format_setting_values(row.setting)
    return f'{method} ({setting})' if setting else method


def is_plain(row: ComparisonRow) -> bool:
    """Whether a row is plain training: erm, or an adversary at lam = 0."""
    return row.method in summary.PLAIN_METHODS


def format_setting_values(setting: dict) -> str:
    """Returns the values of a setting as text, e.g. 'domain speaker, model.width 8'."""
    parts = []
    for key, value in setting.items():
        if value is not None:
            parts.append(f'{key} {format_value(value)}')
    return ', '.join(parts)


def _leakage_sentence(rows: list[ComparisonRow], sweep: str) -> str:
    """Returns which method of a sweep leaks least, beside plain training; '' without leakage."""
    compared = [row for row in rows if row.gain and _can_leak_least(row)]
    if not compared:
        return ''
    least = min(compared, key=_first_recall)
    plain = next((row for row in rows if is_plain(row) and row.setting == least.setting), None)
    if plain is None or not plain.leakage:
        return ''
    where = f' in {sweep}' if sweep else ''
    plain_recalls = f'plain training: {_format_recalls(plain, with_titles=False)}'
    if _first_recall(least) >= _first_recall(plain):
        title = question_title(next(iter(plain.leakage)))
        return f'No method lowers the leakage of {title}{where} ({plain_recalls}).'
    change = format_number(least.gain.value, '+z.3f')
    return (
        f'Least leakage{where}: {row_title(least)}, {_format_recalls(least)} ({plain_recalls}), '
        f'{least.measure.title} {change}.'
    )


def _can_leak_least(row: ComparisonRow) -> bool:
    """Whether leakage of a row was measured and is not below chance; it must forget, too."""
    if not row.leakage or row.method.endswith(NEGATIVE_LAM_ENDING):
        return False
    return not any(answer.get('below_chance') for answer in row.leakage.values())


def _first_recall(row: ComparisonRow) -> float:
    return strongest_recall(next(iter(row.leakage.values())))


def _format_recalls(row: ComparisonRow, with_titles: bool = True) -> str:
    """Returns e.g. '0.217 training speakers / 0.484 unseen speakers'."""
    parts = []
    for question, answer in row.leakage.items():
        recall = format_number(strongest_recall(answer))
        if with_titles:
            recall = f'{recall} {question_title(question)}'
            if is_biased_low(answer):
                recall += ' (biased low)'
        parts.append(recall)
    return ' / '.join(parts)

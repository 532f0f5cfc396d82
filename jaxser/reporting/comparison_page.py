"""The page that compares several finished sweeps, comparison.html."""

import contextlib
import itertools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis.comparison import ComparisonRow, comparison_rows
from jaxser.analysis.finished import FinishedSweep, read_finished_sweep
from jaxser.analysis.leakage import is_biased_low, question_title, strongest_recall
from jaxser.analysis.measure import CCC, UAR, Measure, results_measure
from jaxser.analysis.reference import compare_with_references
from jaxser.reporting.card_facts import RED
from jaxser.reporting.cards import INVALID_SECTION
from jaxser.reporting.figures import ForestAxis, ForestRow, draw_forest_plot, draw_heatmap
from jaxser.reporting.formats import (
    SEEN_NOTE,
    format_estimate,
    format_leakage,
    format_number,
    format_p,
)
from jaxser.reporting.html import (
    Picture,
    Section,
    cells_table,
    html_code,
    html_figure,
    html_figures,
    html_page,
    html_paragraph,
)
from jaxser.reporting.leakage_figure import LeakageRow, draw_leakage_rows
from jaxser.reporting.reference import TITLE, reference_cells, reference_note
from jaxser.reporting.split_card import split_answer
from jaxser.reporting.target import chance_level, measure_titles
from jaxser.reporting.verdict import (
    comparison_verdict,
    format_setting_values,
    holm_p_values,
    is_plain,
    is_significant,
    row_title,
)
from jaxser.runs import NEGATIVE_LAM_ENDING, synthetic_note
from jaxser.workdir_files import WorkdirFiles, write_whole


class SweepTable(NamedTuple):
    """A finished sweep and its rows, the coefficients chosen on dev."""

    sweep: FinishedSweep
    rows: list[ComparisonRow]


def write_comparison(paths: list) -> Path:
    """Writes comparison.html of several finished sweeps into the first; returns its path."""
    tables = []
    for path in paths:
        with WorkdirFiles(epath.Path(path)).refuse_other_contents('results.json'):
            sweep = read_finished_sweep(epath.Path(path))
            tables.append(SweepTable(sweep, comparison_rows(sweep)))
    with contextlib.ExitStack() as stack:
        for path in paths:
            files = WorkdirFiles(epath.Path(path))
            stack.enter_context(files.refuse_other_contents('results.json'))
        sections = [
            forest_section(tables),
            _methods_section(tables),
            _reference_section(tables),
            cross_corpus_section(tables),
            _sweeps_section(tables),
        ]
        title = f'{pluralize(len(tables), "sweep")} compared'
        page = html_page(title, _introduction(tables), sections)
    file = tables[0].sweep.path / 'comparison.html'
    write_whole(file, page)
    return file


def _sweep_names(tables: list[SweepTable]) -> list[str]:
    """Returns the name of each sweep's folder, with as many parents as make the names differ."""
    paths = [table.sweep.path.parts for table in tables]
    names = []
    for depth in range(1, max(map(len, paths)) + 1):
        names = ['/'.join(parts[-depth:]) for parts in paths]
        if len(set(names)) == len(names):
            break
    return names


def _introduction(tables: list[SweepTable]) -> Markup:
    """Returns the verdict, and warnings about leaks, splits and synthetic speech."""
    names = _sweep_names(tables)
    rows_by_sweep = {name: table.rows for name, table in zip(names, tables)}
    body = Markup('')
    for name, table in zip(names, tables):
        if split_answer(table.sweep.results.get('audit', {})).status == RED:
            body += Markup('<p class="warning red">{}: {}</p>\n').format(name, INVALID_SECTION)
    body += html_paragraph(comparison_verdict(rows_by_sweep))
    body += html_paragraph(_splits_sentence(names, tables))
    for name, table in zip(names, tables):
        note = synthetic_note(table.sweep.results)
        if note:
            body += html_paragraph(f'{name}: {note}')
    return body


def _splits_sentence(names: list[str], tables: list[SweepTable]) -> str:
    """Returns which sweeps share a split; '' if all do."""
    names_by_split: dict[str, list[str]] = {}
    for name, table in zip(names, tables):
        names_by_split.setdefault(table.sweep.results['split_sha256'], []).append(name)
    if len(names_by_split) == 1:
        return ''
    groups = []
    for shared in names_by_split.values():
        groups.append(
            f'{" and ".join(shared)} share one' if len(shared) > 1 else f'{shared[0]} has its own'
        )
    return (
        f'The sweeps have {len(names_by_split)} splits ({"; ".join(groups)}). Results of different '
        'splits are from different test utterances: differences between them are not paired.'
    )


def forest_section(tables: list[SweepTable]) -> Section | None:
    """Returns the figures of each sweep: every method minus plain training, and its leakage.

    Returns None where no row is compared with plain training.
    """
    all_rows = list(itertools.chain.from_iterable(table.rows for table in tables))
    p_values = iter(holm_p_values(all_rows))
    forest_rows = []
    for _, rows in tables:
        compared = []
        for row in rows:
            p_holm = next(p_values)
            if row.gain:
                compared.append(_forest_row(row, p_holm))
        forest_rows.append(compared)
    titles = measure_titles(row.measure for row in all_rows)
    axis = ForestAxis.of(
        f'{titles} minus that of plain training', list(itertools.chain.from_iterable(forest_rows))
    )
    pictures = []
    for name, table, rows in zip(_sweep_names(tables), tables, forest_rows):
        if not rows:
            continue
        title = '\n'.join(textwrap.wrap(name, 44))
        own = table.rows[0].measure.title
        own_axis = axis._replace(label=f'{own} minus that of plain training')
        alt = f'{own} of each method of {name} minus that of plain training'
        pictures.append(Picture(alt, draw_forest_plot, (rows, own_axis, title)))
        pictures += _leakage_pictures(name, table.rows)
    if not pictures:
        return None
    body = html_figures(
        f'{titles} minus that of plain training of the same sweep, folds pooled, with 95 % '
        'intervals over speakers; all panels have the same axis. Blue: the interval is above 0 (a '
        'gain). Orange: below 0 (a loss). Hollow: only before correction for the number of '
        'comparisons. Grey: it includes 0, or there are too few speakers for one. Leakage, where '
        'it was measured: mean of folds, with 95 % intervals; black: plain training.',
        pictures,
    )
    return Section('forest', f'{titles} and leakage of each method', body)


def _forest_row(row: ComparisonRow, p_holm: float | None) -> ForestRow:
    excludes_zero = bool(row.gain.ci95) and (row.gain.ci95[0] > 0 or row.gain.ci95[1] < 0)
    return ForestRow(
        _wrapped_title(row),
        row.gain.value,
        row.gain.ci95,
        is_hollow=excludes_zero and not is_significant(p_holm),
    )


def _wrapped_title(row: ComparisonRow) -> str:
    title = row_title(row)
    if is_plain(row):
        title = title.replace(f' ({row.method})', '', 1)
    return '\n'.join(textwrap.wrap(title, 26))


def _leakage_pictures(name: str, rows: list[ComparisonRow]) -> list[Picture]:
    """Returns the figure of the leakage of a sweep's methods; [] where it was not measured."""
    leakage_rows = []
    chances: dict[str, set[float]] = {}
    for row in rows:
        recalls = {}
        for question, answer in (row.leakage or {}).items():
            title = question_title(question)
            recalls[title] = (strongest_recall(answer), answer.get('ci95'))
            chances.setdefault(title, set()).add(round(answer['chance'], 6))
        if recalls:
            leakage_rows.append(LeakageRow(_wrapped_title(row), is_plain(row), recalls))
    if not leakage_rows:
        return []
    shared = {title: values.pop() for title, values in chances.items() if len(values) == 1}
    alt = f'Leakage of each method of {name}, and of plain training'
    return [Picture(alt, draw_leakage_rows, (leakage_rows, shared, name))]


def _methods_section(tables: list[SweepTable]) -> Section:
    """Returns the table with a row per method, setting and sweep."""
    rows, sweeps, names = [], [], []
    for name, table in zip(_sweep_names(tables), tables):
        rows += table.rows
        sweeps += [table.sweep] * len(table.rows)
        names += [name] * len(table.rows)
    questions: dict[str, None] = {}
    for row in rows:
        questions |= dict.fromkeys(row.leakage or {})
    measures = [UAR] if any(row.uar for row in rows) else []
    if any(row.ccc for row in rows):
        measures.append(CCC)
    columns = MethodColumns(measures, list(questions))
    cells_by_row = []
    for name, sweep, row, p_holm in zip(names, sweeps, rows, holm_p_values(rows)):
        cells = [('sweep', name), *_row_cells(sweep, row, p_holm, columns)]
        cells_by_row.append(cells)
    answers = itertools.chain.from_iterable((row.leakage or {}).values() for row in rows)
    titles = measure_titles(row.measure for row in rows)
    has_seen = any(map(is_biased_low, answers))
    note = html_paragraph(
        'Coefficients are chosen on dev, fold by fold.',
        f'vs plain: minus the {titles} of plain training.',
        'Leakage: recall of the strongest attacker, which is named; mean of folds.',
        SEEN_NOTE if has_seen else '',
        'p Holm: corrected for the number of comparisons on this page.',
    )
    return Section('methods', 'Methods', cells_table('Methods', cells_by_row) + note)


def _reference_section(tables: list[SweepTable]) -> Section | None:
    """Returns sweeps that enrol speakers against plain training without; None without any."""
    body = Markup('')
    for comparison in compare_with_references(tables):
        body += html_paragraph(f'{comparison.sweep.path.name}.', reference_note(comparison))
        body += cells_table(comparison.sweep.path.name, reference_cells(comparison))
    return Section('reference', TITLE, body) if body else None


class MethodColumns(NamedTuple):
    """The measures and questions that have columns in the table of methods."""

    measures: list[Measure]
    questions: list[str]  # of the probe


def _row_cells(
    sweep: FinishedSweep, row: ComparisonRow, p_holm: float | None, columns: MethodColumns
) -> list[tuple[str, object]]:
    """Returns a row, without the sweep, as (heading, text) of every column."""
    measured, intervals, devs = _measure_cells(row, columns.measures)
    differing = [('measure', row.measure.title)] if len(columns.measures) > 1 else []
    gain, gain_interval = format_estimate(row.gain, '+z.3f')
    leakages, chances = [], []
    for question in columns.questions:
        answer = (row.leakage or {}).get(question, {})
        title = question_title(question)
        leakages.append((f'leakage of {title}', format_leakage(answer)))
        chances.append((f'chance, {title}', format_number(answer.get('chance'))))
    return [
        ('method', f'plain training ({row.method})' if is_plain(row) else row.method),
        ('setting', format_setting_values(row.setting)),
        *measured,
        *differing,
        ('vs plain (pooled)', gain),
        ('95 %', gain_interval),
        *leakages,
        ('p', format_p(row.gain.p if row.gain else None)),
        ('p Holm', format_p(p_holm)),
        ('chosen by dev', ', '.join(dict.fromkeys(row.coefficients))),
        *intervals,
        *devs,
        *chances,
        ('epochs', sweep.metadata['config'].get('train', {}).get('epochs', '')),
        ('split', sweep.results['split_sha256'][:8]),
    ]


def _measure_cells(
    row: ComparisonRow, measures: list[Measure]
) -> tuple[list[tuple[str, str]], ...]:
    """Returns the columns of the value, the interval and the value on dev of each measure."""
    values, intervals, devs = [], [], []
    for measure in measures:
        estimate, dev = (row.ccc, row.dev_ccc) if measure == CCC else (row.uar, row.dev_uar)
        value, interval = format_estimate(estimate)
        values.append((f'{measure.title} (pooled)', value))
        intervals.append((f'95 % of {measure.title}', interval))
        devs.append((f'dev {measure.title} (mean of folds)', format_number(dev)))
    return values, intervals, devs


def _sweeps_section(tables: list[SweepTable]) -> Section:
    """Returns the protocol and the command of every sweep."""
    body = Markup('')
    for name, (sweep, _) in zip(_sweep_names(tables), tables):
        body += html_paragraph(f'{name}: {sweep.results["protocol"]}.')
        body += html_code(sweep.metadata['command'])
    return Section('sweeps', 'Sweeps', body)


def cross_corpus_section(tables: list[SweepTable]) -> Section | None:
    """Returns UAR or CCC by source and target corpora.

    For each measure there is a figure of plain training, and one of the best method on dev. Returns
    None where no sweep trains on a source and tests on a target.
    """
    rows_by_measure: dict[Measure, dict[tuple[str, str], list[ComparisonRow]]] = {}
    chances: dict[Measure, float] = {}
    for sweep, rows in tables:
        protocol = sweep.metadata['config']['protocol']
        if protocol['name'] == 'source_target':
            corpora = ('+'.join(protocol['source']), '+'.join(protocol['target']))
            measure = results_measure(sweep.results)
            chances[measure] = min(chances.get(measure, 1.0), chance_level(sweep.results))
            rows_by_corpora = rows_by_measure.setdefault(measure, {})
            measured = [row for row in rows if row.main]
            rows_by_corpora.setdefault(corpora, []).extend(measured)
    if not rows_by_measure:
        return None
    body = Markup('')
    for measure, rows_by_corpora in rows_by_measure.items():
        chance = chances[measure]
        titles = (measure.title, 'plain training')
        body += _cross_corpus_figure(rows_by_corpora, titles, is_plain, chance)
        titles = (measure.title, 'the best method on dev')
        body += _cross_corpus_figure(rows_by_corpora, titles, _can_be_best, chance)
    return Section('cross', 'From corpus to corpus', body)


def _can_be_best(row: ComparisonRow) -> bool:
    return not is_plain(row) and not row.method.endswith(NEGATIVE_LAM_ENDING)


def _dev_main(row: ComparisonRow) -> float:
    return row.dev_main


def _cross_corpus_figure(
    rows_by_corpora: dict[tuple[str, str], list[ComparisonRow]],
    titles: tuple[str, str],
    is_shown: Callable[[ComparisonRow], bool],
    chance: float,
) -> Markup:
    """Returns the figure of the best row on dev of those that are shown, by source and target.

    `titles` are those of the measure and of the method.
    """
    measure, title = titles
    sources = sorted({source for source, _ in rows_by_corpora})
    targets = sorted({target for _, target in rows_by_corpora})
    values = np.full((len(sources), len(targets)), np.nan)
    for (source, target), rows in rows_by_corpora.items():
        best = max(filter(is_shown, rows), key=_dev_main, default=None)
        if best:
            values[sources.index(source), targets.index(target)] = best.main.value
    if np.isnan(values).all():
        return Markup('')
    return html_figure(
        f'{measure} of {title} by source and target',
        f'{measure} (folds pooled) of {title}; the dev speakers are from the source.',
        draw_heatmap,
        values,
        sources,
        targets,
        ('source', 'target'),
        chance,
        f'{measure}, folds pooled',
    )

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
from jaxser.analysis import bootstrap, summary
from jaxser.analysis.comparison import ComparisonRow, comparison_rows
from jaxser.analysis.finished import FinishedSweep, read_finished_sweep
from jaxser.analysis.leakage import question_title
from jaxser.analysis.reference import compare_with_references
from jaxser.reporting.figures import ForestAxis, ForestRow, draw_forest_plot, draw_heatmap
from jaxser.reporting.formats import format_estimate, format_number
from jaxser.reporting.html import (
    Picture,
    Section,
    cells_table,
    html_figure,
    html_figures,
    html_list,
    html_page,
    html_paragraph,
)
from jaxser.reporting.markdown import format_leakage_of_row
from jaxser.reporting.reference import TITLE, reference_cells, reference_note
from jaxser.reporting.verdict import comparison_verdict, format_setting_values
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


def _introduction(tables: list[SweepTable]) -> Markup:
    """Returns the verdict, and warnings about splits and synthetic speech."""
    rows_by_sweep = {str(table.sweep.path): table.rows for table in tables}
    paragraphs = [comparison_verdict(rows_by_sweep)]
    splits = {table.sweep.results['split_sha256'] for table in tables}
    if len(splits) > 1:
        paragraphs.append(
            f'The sweeps have {len(splits)} splits. Results of different splits are from '
            'different test utterances: differences between them are not paired.'
        )
    for table in tables:
        note = synthetic_note(table.sweep.results)
        if note:
            paragraphs.append(f'{table.sweep.path.name}: {note}')
    return Markup('').join(map(html_paragraph, paragraphs))


def forest_section(tables: list[SweepTable]) -> Section | None:
    """Returns a forest plot of each sweep: every method minus plain training.

    Returns None where no row is compared with plain training.
    """
    rows_by_sweep = {}
    for sweep, rows in tables:
        compared = [_forest_row(row) for row in rows if row.gain]
        if compared:
            rows_by_sweep.setdefault(sweep.path.name, []).extend(compared)
    if not rows_by_sweep:
        return None
    all_rows = itertools.chain.from_iterable(rows_by_sweep.values())
    axis = ForestAxis.of('UAR minus that of plain training', list(all_rows))
    pictures = []
    for name, rows in rows_by_sweep.items():
        title = '\n'.join(textwrap.wrap(name, 44))
        alt = f'UAR of each method of {name} minus that of plain training'
        pictures.append(Picture(alt, draw_forest_plot, (rows, axis, title)))
    body = html_figures(
        'UAR minus that of plain training of the same sweep, folds pooled, with 95 % intervals '
        'over speakers; all panels have the same axis. Blue: the interval is above 0 (a gain). '
        'Orange: below 0 (a loss). Grey: it includes 0, or there are too few speakers for one. The '
        'intervals are not corrected for their number; the table has corrected p-values.',
        pictures,
    )
    return Section('forest', 'Which methods helped', body)


def _forest_row(row: ComparisonRow) -> ForestRow:
    setting = format_setting_values(row.setting)
    name = f'{row.method} ({setting})' if setting else row.method
    return ForestRow('\n'.join(textwrap.wrap(name, 26)), row.gain.value, row.gain.ci95)


def _methods_section(tables: list[SweepTable]) -> Section:
    """Returns the table with a row per method, setting and sweep."""
    rows = []
    sweeps = []
    for table in tables:
        rows += table.rows
        sweeps += [table.sweep] * len(table.rows)
    cells_by_row = []
    for sweep, row, p_holm in zip(sweeps, rows, _holm_p_values(rows)):
        cells_by_row.append(_row_cells(sweep, row, p_holm))
    note = html_paragraph(
        'Coefficients are chosen on dev, fold by fold.',
        'p Holm: corrected for the number of rows on this page.',
    )
    return Section('methods', 'Methods', cells_table('Methods', cells_by_row) + note)


def _reference_section(tables: list[SweepTable]) -> Section | None:
    """Returns sweeps that enrol speakers against plain training without; None without any."""
    body = Markup('')
    for comparison in compare_with_references(tables):
        body += html_paragraph(f'{comparison.sweep.path.name}.', reference_note(comparison))
        body += cells_table(comparison.sweep.path.name, reference_cells(comparison))
    return Section('reference', TITLE, body) if body else None


def _holm_p_values(rows: list[ComparisonRow]) -> list[float | None]:
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


def _row_cells(
    sweep: FinishedSweep, row: ComparisonRow, p_holm: float | None
) -> list[tuple[str, object]]:
    """Returns a row as (heading, text) of every column."""
    uar, uar_interval = format_estimate(row.uar)
    gain, gain_interval = format_estimate(row.gain, '+z.3f')
    leakages = []
    for question in row.leakage or {}:
        leakages.append(f'{question_title(question)} {format_leakage_of_row(row, question)}')
    return [
        ('sweep', sweep.path.name),
        ('setting', format_setting_values(row.setting)),
        ('method', row.method),
        ('chosen by dev', ', '.join(dict.fromkeys(row.coefficients))),
        ('dev UAR (mean of folds)', format_number(row.dev_uar)),
        ('UAR (pooled)', uar),
        ('95 %', uar_interval),
        ('- plain (pooled)', gain),
        ('95 %', gain_interval),
        ('p', format_number(row.gain.p if row.gain else None, '.3g')),
        ('p Holm', format_number(p_holm, '.3g')),
        ('leakage (strongest attacker), mean of folds', '; '.join(leakages)),
        ('epochs', sweep.metadata['config'].get('train', {}).get('epochs', '')),
        ('split', sweep.results['split_sha256'][:8]),
    ]


def _sweeps_section(tables: list[SweepTable]) -> Section:
    """Returns the protocol and the command of every sweep."""
    items = []
    for sweep, _ in tables:
        items.append(f'{sweep.path}: {sweep.results["protocol"]}; {sweep.metadata["command"]}')
    return Section('sweeps', 'Sweeps', html_list(items))


def cross_corpus_section(tables: list[SweepTable]) -> Section | None:
    """Returns UAR by source and target corpora, of plain training and of the best method on dev.

    Returns None where no sweep trains on a source and tests on a target.
    """
    rows_by_corpora: dict[tuple[str, str], list[ComparisonRow]] = {}
    for sweep, rows in tables:
        protocol = sweep.metadata['config']['protocol']
        if protocol['name'] == 'source_target':
            corpora = ('+'.join(protocol['source']), '+'.join(protocol['target']))
            measured = [row for row in rows if row.uar]
            rows_by_corpora.setdefault(corpora, []).extend(measured)
    if not rows_by_corpora:
        return None
    chance = 1 / max(len(table.sweep.results['classes']) for table in tables)
    body = _cross_corpus_figure(rows_by_corpora, 'plain training', _is_plain, chance)
    body += _cross_corpus_figure(rows_by_corpora, 'the best method on dev', _can_be_best, chance)
    return Section('cross', 'From corpus to corpus', body)


def _is_plain(row: ComparisonRow) -> bool:
    return row.method in summary.PLAIN_METHODS


def _can_be_best(row: ComparisonRow) -> bool:
    return not _is_plain(row) and not row.method.endswith(NEGATIVE_LAM_ENDING)


def _dev_uar(row: ComparisonRow) -> float:
    return row.dev_uar


def _cross_corpus_figure(
    rows_by_corpora: dict[tuple[str, str], list[ComparisonRow]],
    title: str,
    is_shown: Callable[[ComparisonRow], bool],
    chance: float,
) -> Markup:
    """Returns the UAR of the best row on dev of those that are shown, by source and target."""
    sources = sorted({source for source, _ in rows_by_corpora})
    targets = sorted({target for _, target in rows_by_corpora})
    uar = np.full((len(sources), len(targets)), np.nan)
    for (source, target), rows in rows_by_corpora.items():
        best = max(filter(is_shown, rows), key=_dev_uar, default=None)
        if best:
            uar[sources.index(source), targets.index(target)] = best.uar.value
    if np.isnan(uar).all():
        return Markup('')
    return html_figure(
        f'UAR of {title} by source and target',
        f'UAR (folds pooled) of {title}; the dev speakers are from the source.',
        draw_heatmap,
        uar,
        sources,
        targets,
        ('source', 'target'),
        chance,
        'UAR, folds pooled',
    )

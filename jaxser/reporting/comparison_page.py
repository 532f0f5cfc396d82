"""TODO: jaxser.reporting.comparison_page."""

from pathlib import Path

import numpy as np
from etils import epath

from data_pipelines.wording import pluralize
from jaxser import runs
from jaxser.analysis import bootstrap, comparison, finished, summary
from jaxser.reporting.figures import draw_heatmap
from jaxser.reporting.html import (
    Section,
    escape_text,
    format_interval,
    format_number,
    html_figure,
    html_page,
    html_paragraph,
    html_table,
)

NO_ESTIMATE = bootstrap.Estimate(None, None, None)


def cross_corpus_section(
    finished_sweeps: list[finished.FinishedSweep],
    rows_by_sweep: list[list[comparison.ComparisonRow]],
) -> Section | None:
    """UAR by source and target, of plain training and of the best on dev; None without sweeps from a source to a target."""
    cells: dict[tuple[str, str], list[comparison.ComparisonRow]] = {}
    for of, rows in zip(finished_sweeps, rows_by_sweep):
        protocol = of.metadata['config']['protocol']
        if protocol['name'] == 'source_target':
            ends = tuple('+'.join(protocol[k]) for k in ('source', 'target'))
            cells.setdefault(ends, []).extend(r for r in rows if r.uar)
    if not cells:
        return None
    sources, targets = (sorted({ends[n] for ends in cells}) for n in (0, 1))
    chance, body = 1 / max(len(of.results['classes']) for of in finished_sweeps), ''
    for name, some in (
        ('plain training', lambda r: r.method in summary.PLAIN_METHODS),
        ('the best method by dev', lambda r: r.method not in summary.PLAIN_METHODS),
    ):
        value = np.full((len(sources), len(targets)), np.nan)
        for (source, target), rows in cells.items():
            if best := max(filter(some, rows), key=lambda r: r.dev_uar, default=None):
                value[sources.index(source), targets.index(target)] = best.uar.value
        if np.isfinite(value).any():
            drawn = draw_heatmap, value, sources, targets, ('source', 'target'), chance
            caption = f'UAR (folds pooled) of {name}; dev are speakers of the source.'
            body += html_figure(
                f'UAR of {name} by source and target', caption, *drawn, 'UAR, folds pooled'
            )
    return Section('cross', 'From corpus to corpus', body)


def write_comparison(paths: list) -> Path:
    """Writes comparison.html of several finished sweeps into the first; returns it."""
    found = [finished.read_finished_sweep(epath.Path(p)) for p in paths]
    tables = [comparison.comparison_rows(of) for of in found]
    splits = {of.results['split_sha256'] for of in found}
    top = html_paragraph(
        comparison.comparison_verdict({str(of.path): rows for of, rows in zip(found, tables)})
    )
    if len(splits) > 1:
        top += html_paragraph(
            f'{len(splits)} splits: figures of different splits are of other utterances and make no pairs.'
        )
    for of in found:
        if warning := runs.synthetic_note(of.results):
            top += html_paragraph(f'{of.path.name}: {warning}')
    head = [
        'sweep',
        'setting',
        'method',
        'chosen by dev',
        'dev UAR (mean of folds)',
        'UAR (pooled)',
        '95 %',
    ]
    head += [
        '- plain (pooled)',
        '95 %',
        'p',
        'p Holm',
        'leakage (chance), mean of folds',
        'epochs',
        'split',
    ]
    lines, compared = [], [r for rows in tables for r in rows if r.gain and r.gain.p is not None]
    holm = {
        id(r): p for r, p in zip(compared, bootstrap.holm_correction([r.gain.p for r in compared]))
    }
    for of, rows in zip(found, tables):
        for r in rows:
            setting = ', '.join(
                f'{k} {runs.format_value(v)}' for k, v in r.setting.items() if v is not None
            )
            uar, gain = r.uar or NO_ESTIMATE, r.gain or NO_ESTIMATE
            figures = [
                format_number(r.dev_uar),
                format_number(uar.value),
                format_interval(uar.ci95),
                format_number(gain.value, '+z.3f'),
                format_interval(gain.ci95, '+.3f'),
            ]
            chosen, split = ', '.join(dict.fromkeys(r.coefficients)), of.results['split_sha256'][:8]
            sure = format_number(gain.p, '.3g'), format_number(holm.get(id(r)), '.3g')
            told = ', '.join(
                f'{d} {tells:.3f} ({chance:.3f})'
                for d, (tells, chance) in (r.leakage or {}).items()
            )
            epochs = of.metadata['config'].get('train', {}).get('epochs', '')
            lines.append(
                [of.path.name, setting, r.method, chosen, *figures, *sure, told, epochs, split]
            )
    note = html_paragraph(
        'Coefficients are chosen on dev, fold by fold; p Holm is corrected for the number of rows on this page.'
    )
    links = ''.join(
        f'<li>{escape_text(of.path)}: {escape_text(of.results["protocol"])}; {escape_text(of.metadata["command"])}</li>'
        for of in found
    )
    sections = [
        Section('methods', 'Methods', html_table(head, lines) + note),
        cross_corpus_section(found, tables),
        Section('sweeps', 'Sweeps', f'<ul>{links}</ul>'),
    ]
    file = found[0].path / 'comparison.html'
    file.write_bytes(
        html_page(
            f'{pluralize(len(found), "sweep")} compared', top, [s for s in sections if s]
        ).encode()
    )
    return file

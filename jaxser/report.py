"""Writes report.html of a finished sweep, one page that needs nothing else, and compares several.

  python -m jaxser.report --workdir runs/A [runs/B ...]

The page is read from the top: what came out, the evidence for it, the details. Training writes it at its end; summary.csv beside
it has the table of settings. With several workdirs each gets its page, and the first comparison.html.

The setting of which the page speaks is the one with the best dev UAR of those that are compared with plain training; test chooses
nothing.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from etils import epath

from data_pipelines import csv_files
from data_pipelines.errors import exit_on_user_error
from jaxser import evidence, pictures, runs
from jaxser.analysis import bootstrap, comparison, finished, summary
from jaxser.analysis.finished import SweepAnalysis
from jaxser.page import Section, escape_text, format_interval, format_number, html_figure, html_page, html_paragraph, html_table
from jaxser.runs import pluralize

NO_ESTIMATE = bootstrap.Estimate(None, None, None)
ALARMING_VERDICTS = {  # verdicts that a reader must not miss
    'inert': 'the representation tells nearly as much of what it shall forget as that of plain training, or more',
    'collapsed': 'the emotion went too, or the run diverged',
}


def probed_domain(analysis: SweepAnalysis, row: dict) -> tuple[str, dict | None]:
    """The domain that a setting shall forget, the first of several that was asked for, and what the probe says of it."""
    asked = [*(row.get('domain') or analysis.config['domain']).split('+'), 'speaker']
    answers = row['probe'] or {}
    name = next((d for d in asked if d in answers), asked[0])
    return name, answers.get(name)


def warning_banners(analysis: SweepAnalysis) -> list[str]:
    """What a reader must not miss."""
    found = [f'Leak of {kind} allowed: training has heard what is tested.' for kind in analysis.results['audit'].get('leaks', [])]
    best = analysis.best_row
    if best is None:
        return [*found, 'No setting is whole: in every seed a fold diverged.']
    for word, n in (best['adversary'] or {}).items():
        if word in ALARMING_VERDICTS:
            judged = pluralize(sum(best['adversary'].values()), 'run')
            found.append(f'The adversary was {word} in {n} of {judged}: {ALARMING_VERDICTS[word]}.')
    if best['delta_uar'] is not None and not best['delta_ci95']:
        least = bootstrap.MIN_SPEAKERS
        found.append(f'Undecided: {pluralize(best["tested_speakers"], "tested speaker")}, too few for an interval ({least} or more).')
    elif best['delta_uar'] is not None and best['delta_ci95'][0] <= 0 <= best['delta_ci95'][1]:
        found.append(f'Undecided: the interval of the difference to plain training, {format_interval(best["delta_ci95"], "+.3f")}, holds 0.')
    return found


def headline_box(analysis: SweepAnalysis) -> str:
    """The box at the top."""
    results, best, plain = analysis.results, analysis.best_row, analysis.plain_row
    facts: list[tuple[str, str, str]] = []  # what, the figure, what is said of it
    if best:
        settings = pluralize(len(analysis.compared_rows or analysis.rows), 'setting')
        rule = 'the only one'
        if settings != '1 setting':
            rule = f'best dev UAR ({best["dev_uar"]:.3f}, mean of folds) of {settings}'
        facts.append(('setting', analysis.setting_title(best), rule + ' compared with plain training' * bool(plain)))
        facts.append(('UAR, folds pooled', format_number(best['uar']), f'{format_interval(best["uar_ci95"])} chance {analysis.chance:.3f}'))
    if plain:
        sure = 'too few speakers' if best['p'] is None else f'p = {best["p"]:.3g}, by Holm {best["p_holm"]:.3g}'
        against = f'{format_interval(best["delta_ci95"], "+.3f")} {sure}; {analysis.setting_title(plain)} has {plain["uar"]:.3f}'
        facts.append(('difference to plain training, folds pooled', format_number(best['delta_uar'], '+z.3f'), against))
        if plain['dev_uar'] >= best['dev_uar']:
            preferred = 'plain training' if plain['dev_uar'] > best['dev_uar'] else 'neither'
            level = f'plain training has a dev UAR of {plain["dev_uar"]:.3f}, mean of folds'
            facts.append(('dev prefers', preferred, level))
    if best:
        domain, tells = probed_domain(analysis, best)
        _, before = probed_domain(analysis, plain) if plain else ('', None)
        if tells:
            levels = [f'plain training {before["linear"]:.3f}'] if before else []
            levels += [f'the input (raw) {tells["input"]["linear"]:.3f}', f'chance {tells["chance"]:.3f}']
            facts.append((f'leakage of the {domain}, mean of folds', format_number(tells['linear']), ', '.join(levels)))
        else:
            facts.append((f'leakage of the {domain}', 'not asked', f'python -m jaxser.probe --workdir {analysis.path}'))
    facts += [
        ('tested speakers', str(len(analysis.tested_speakers)), f'{results["protocol"]}, {pluralize(len(results["folds"]), "fold")}'),
        ('split', results['split_sha256'][:12], 'the first digits of its sha256; all of them are below'),
        ('epoch chosen by', results['selection'], 'the setting is chosen by its dev UAR; the test part chooses nothing'),
        ('device', results['device'], f'{results["seconds"]:.0f} s'),
    ]
    items = ''.join(f'<dt>{escape_text(k)}</dt><dd><b>{escape_text(v)}</b> {escape_text(more)}</dd>' for k, v, more in facts)
    warnings = ''.join(f'<div class=banner role=alert>{escape_text(b)}</div>' for b in warning_banners(analysis))
    warning = runs.synthetic_note(results)
    note = html_paragraph(warning) if warning else ''
    return f'{warnings}<div class=box><dl>{items}</dl></div>{note}'


def summary_csv(analysis: SweepAnalysis) -> str:
    """summary.csv: the rows of the summary, a figure a column."""
    lines = []
    for r in analysis.rows:
        line = {k: r[k] for k in r if k not in ('confusion', 'probe', 'adversary') and not k.endswith('_ci95')}
        for k in ('uar', 'delta'):
            line[f'{k}_low'], line[f'{k}_high'] = r[f'{k}_ci95'] or (None, None)
        for name, told in (r['probe'] or {}).items():
            line |= {f'{name}_{k}': told[k] for k in ('linear', 'mlp', 'chance', 'eer') if k in told}
        lines.append(line | {f'adversary_{word}': n for word, n in (r['adversary'] or {}).items()})
    return csv_files.format_rows(lines, dict.fromkeys(k for line in lines for k in line))


def write_report(path) -> Path:
    """Writes report.html and summary.csv of the finished sweep in `path`; returns the page."""
    began, path = time.perf_counter(), epath.Path(path)
    print(f'Drawing {path}/report.html ...', end=' ', flush=True)
    of = SweepAnalysis(finished.read_finished_sweep(path))
    sections = [
        evidence.settings_section(of),
        evidence.leakage_section(of),
        evidence.speakers_section(of),
        evidence.confusions_section(of),
        evidence.groups_section(of),
        evidence.held_out_section(of),
        evidence.representation_section(of),
        evidence.calibration_section(of),
        evidence.training_section(of),
        evidence.failed_runs_section(of),
        evidence.details_section(of),
    ]
    (path / 'report.html').write_bytes(html_page(path.name, headline_box(of), [s for s in sections if s]).encode())
    (path / 'summary.csv').write_bytes(summary_csv(of).encode())
    print(f'{time.perf_counter() - began:.0f} s.')
    return path / 'report.html'


def cross_corpus_section(finished_sweeps: list[finished.FinishedSweep], rows_by_sweep: list[list[comparison.ComparisonRow]]) -> Section | None:
    """UAR by source and target, of plain training and of the best on dev; None without sweeps from a source to a target."""
    cells: dict[tuple[str, str], list[comparison.ComparisonRow]] = {}
    for of, rows in zip(finished_sweeps, rows_by_sweep):
        protocol = of.facts['config']['protocol']
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
            if best := max(filter(some, rows), key=lambda r: r.dev, default=None):
                value[sources.index(source), targets.index(target)] = best.uar.value
        if np.isfinite(value).any():
            drawn = pictures.draw_heatmap, value, sources, targets, ('source', 'target'), chance
            caption = f'UAR (folds pooled) of {name}; dev are speakers of the source.'
            body += html_figure(f'UAR of {name} by source and target', caption, *drawn, 'UAR, folds pooled')
    return Section('cross', 'From corpus to corpus', body)


def write_comparison(paths: list) -> Path:
    """Writes comparison.html of several finished sweeps into the first; returns it."""
    found = [finished.read_finished_sweep(epath.Path(p)) for p in paths]
    tables = [comparison.comparison_rows(of) for of in found]
    splits = {of.results['split_sha256'] for of in found}
    top = html_paragraph(comparison.comparison_verdict({str(of.path): rows for of, rows in zip(found, tables)}))
    if len(splits) > 1:
        top += html_paragraph(f'{len(splits)} splits: figures of different splits are of other utterances and make no pairs.')
    for of in found:
        if warning := runs.synthetic_note(of.results):
            top += html_paragraph(f'{of.path.name}: {warning}')
    head = ['sweep', 'setting', 'method', 'chosen by dev', 'dev UAR (mean of folds)', 'UAR (pooled)', '95 %']
    head += ['- plain (pooled)', '95 %', 'p', 'p Holm', 'leakage (chance), mean of folds', 'epochs', 'split']
    lines, compared = [], [r for rows in tables for r in rows if r.gain and r.gain.p is not None]
    holm = {id(r): p for r, p in zip(compared, bootstrap.holm_correction([r.gain.p for r in compared]))}
    for of, rows in zip(found, tables):
        for r in rows:
            setting = ', '.join(f'{k} {runs.format_value(v)}' for k, v in r.setting.items() if v is not None)
            uar, gain = r.uar or NO_ESTIMATE, r.gain or NO_ESTIMATE
            figures = [format_number(r.dev), format_number(uar.value), format_interval(uar.ci95), format_number(gain.value, '+z.3f'), format_interval(gain.ci95, '+.3f')]
            chosen, split = ', '.join(dict.fromkeys(r.coefficients)), of.results['split_sha256'][:8]
            sure = format_number(gain.p, '.3g'), format_number(holm.get(id(r)), '.3g')
            told = ', '.join(f'{d} {tells:.3f} ({chance:.3f})' for d, (tells, chance) in (r.leakage or {}).items())
            epochs = of.facts['config'].get('train', {}).get('epochs', '')
            lines.append([of.path.name, setting, r.method, chosen, *figures, *sure, told, epochs, split])
    note = html_paragraph('Coefficients are chosen on dev, fold by fold; p Holm is corrected for the number of rows on this page.')
    links = ''.join(f'<li>{escape_text(of.path)}: {escape_text(of.results["protocol"])}; {escape_text(of.metadata["command"])}</li>' for of in found)
    sections = [
        Section('methods', 'Methods', html_table(head, lines) + note),
        cross_corpus_section(found, tables),
        Section('sweeps', 'Sweeps', f'<ul>{links}</ul>'),
    ]
    file = found[0].path / 'comparison.html'
    file.write_bytes(html_page(f'{pluralize(len(found), "sweep")} compared', top, [s for s in sections if s]).encode())
    return file


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(prog='python -m jaxser.report', description=__doc__.splitlines()[0])
    parser.add_argument('--workdir', nargs='+', required=True, type=epath.Path, help='of a finished sweep, or of several')
    asked = parser.parse_args()
    with exit_on_user_error():
        files = [write_report(path) for path in asked.workdir]
        if len(files) > 1:
            files.append(write_comparison(asked.workdir))
        print('\n'.join(map(str, files)))


if __name__ == '__main__':
    main()

"""TODO: jaxser.reporting.page."""

import time
from pathlib import Path

from etils import epath

from data_pipelines import csv_files
from data_pipelines.wording import pluralize
from jaxser import runs
from jaxser.analysis import bootstrap, finished
from jaxser.analysis.finished import SweepAnalysis
from jaxser.reporting.html import (
    escape_text,
    format_interval,
    format_number,
    html_page,
    html_paragraph,
)
from jaxser.reporting.sections import (
    calibration_section,
    confusions_section,
    details_section,
    failed_runs_section,
    groups_section,
    held_out_section,
    leakage_section,
    representation_section,
    settings_section,
    speakers_section,
    training_section,
)

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
    found = [
        f'Leak of {kind} allowed: training has heard what is tested.'
        for kind in analysis.results['audit'].get('leaks', [])
    ]
    best = analysis.best_row
    if best is None:
        return [*found, 'No setting is whole: in every seed a fold diverged.']
    for word, n in (best['adversary'] or {}).items():
        if word in ALARMING_VERDICTS:
            judged = pluralize(sum(best['adversary'].values()), 'run')
            found.append(f'The adversary was {word} in {n} of {judged}: {ALARMING_VERDICTS[word]}.')
    if best['delta_uar'] is not None and not best['delta_ci95']:
        least = bootstrap.MIN_SPEAKERS
        found.append(
            f'Undecided: {pluralize(best["tested_speakers"], "tested speaker")}, too few for an interval ({least} or more).'
        )
    elif best['delta_uar'] is not None and best['delta_ci95'][0] <= 0 <= best['delta_ci95'][1]:
        found.append(
            f'Undecided: the interval of the difference to plain training, {format_interval(best["delta_ci95"], "+.3f")}, holds 0.'
        )
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
        facts.append(
            (
                'setting',
                analysis.setting_title(best),
                rule + ' compared with plain training' * bool(plain),
            )
        )
        facts.append(
            (
                'UAR, folds pooled',
                format_number(best['uar']),
                f'{format_interval(best["uar_ci95"])} chance {analysis.chance:.3f}',
            )
        )
    if plain:
        sure = (
            'too few speakers'
            if best['p'] is None
            else f'p = {best["p"]:.3g}, by Holm {best["p_holm"]:.3g}'
        )
        against = f'{format_interval(best["delta_ci95"], "+.3f")} {sure}; {analysis.setting_title(plain)} has {plain["uar"]:.3f}'
        facts.append(
            (
                'difference to plain training, folds pooled',
                format_number(best['delta_uar'], '+z.3f'),
                against,
            )
        )
        if plain['dev_uar'] >= best['dev_uar']:
            preferred = 'plain training' if plain['dev_uar'] > best['dev_uar'] else 'neither'
            level = f'plain training has a dev UAR of {plain["dev_uar"]:.3f}, mean of folds'
            facts.append(('dev prefers', preferred, level))
    if best:
        domain, tells = probed_domain(analysis, best)
        _, before = probed_domain(analysis, plain) if plain else ('', None)
        if tells:
            levels = [f'plain training {before["linear"]:.3f}'] if before else []
            levels += [
                f'the input (raw) {tells["input"]["linear"]:.3f}',
                f'chance {tells["chance"]:.3f}',
            ]
            facts.append(
                (
                    f'leakage of the {domain}, mean of folds',
                    format_number(tells['linear']),
                    ', '.join(levels),
                )
            )
        else:
            facts.append(
                (
                    f'leakage of the {domain}',
                    'not asked',
                    f'python -m jaxser.probe --workdir {analysis.path}',
                )
            )
    facts += [
        (
            'tested speakers',
            str(len(analysis.tested_speakers)),
            f'{results["protocol"]}, {pluralize(len(results["folds"]), "fold")}',
        ),
        (
            'split',
            results['split_sha256'][:12],
            'the first digits of its sha256; all of them are below',
        ),
        (
            'epoch chosen by',
            results['selection'],
            'the setting is chosen by its dev UAR; the test part chooses nothing',
        ),
        ('device', results['device'], f'{results["seconds"]:.0f} s'),
    ]
    items = ''.join(
        f'<dt>{escape_text(k)}</dt><dd><b>{escape_text(v)}</b> {escape_text(more)}</dd>'
        for k, v, more in facts
    )
    warnings = ''.join(
        f'<div class=banner role=alert>{escape_text(b)}</div>' for b in warning_banners(analysis)
    )
    warning = runs.synthetic_note(results)
    note = html_paragraph(warning) if warning else ''
    return f'{warnings}<div class=box><dl>{items}</dl></div>{note}'


def summary_csv(analysis: SweepAnalysis) -> str:
    """summary.csv: the rows of the summary, a figure a column."""
    lines = []
    for r in analysis.rows:
        line = {
            k: r[k]
            for k in r
            if k not in ('confusion', 'probe', 'adversary') and not k.endswith('_ci95')
        }
        for k in ('uar', 'delta'):
            line[f'{k}_low'], line[f'{k}_high'] = r[f'{k}_ci95'] or (None, None)
        for name, told in (r['probe'] or {}).items():
            line |= {
                f'{name}_{k}': told[k] for k in ('linear', 'mlp', 'chance', 'eer') if k in told
            }
        lines.append(line | {f'adversary_{word}': n for word, n in (r['adversary'] or {}).items()})
    return csv_files.format_rows(lines, dict.fromkeys(k for line in lines for k in line))


def write_report(path) -> Path:
    """Writes report.html and summary.csv of the finished sweep in `path`; returns the page."""
    began, path = time.perf_counter(), epath.Path(path)
    print(f'Drawing {path}/report.html ...', end=' ', flush=True)
    of = SweepAnalysis(finished.read_finished_sweep(path))
    sections = [
        settings_section(of),
        leakage_section(of),
        speakers_section(of),
        confusions_section(of),
        groups_section(of),
        held_out_section(of),
        representation_section(of),
        calibration_section(of),
        training_section(of),
        failed_runs_section(of),
        details_section(of),
    ]
    (path / 'report.html').write_bytes(
        html_page(path.name, headline_box(of), [s for s in sections if s]).encode()
    )
    (path / 'summary.csv').write_bytes(summary_csv(of).encode())
    print(f'{time.perf_counter() - began:.0f} s.')
    return path / 'report.html'

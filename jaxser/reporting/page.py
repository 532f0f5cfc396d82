"""The report page of a finished sweep (report.html), and its table of settings (summary.csv)."""

import time
from pathlib import Path
from typing import NamedTuple

from etils import epath
from markupsafe import Markup

from data_pipelines import csv_files
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.reporting import leakage_sections, sections, training_sections
from jaxser.reporting.formats import folds_of_sweep, format_interval, format_number
from jaxser.reporting.html import html_page, render
from jaxser.runs import synthetic_note

# The verdicts on adversaries that become warnings, and their meaning.
ALARMING_VERDICTS = {
    'inert': 'the representation leaks nearly as much as that of plain training, or more',
    'collapsed': 'the emotion was forgotten too, or the run diverged',
}

SECTIONS = (
    sections.settings_section,
    leakage_sections.leakage_section,
    sections.speakers_section,
    sections.confusions_section,
    sections.groups_section,
    sections.held_out_section,
    leakage_sections.representation_section,
    training_sections.calibration_section,
    training_sections.training_section,
    training_sections.failed_runs_section,
    training_sections.details_section,
)

PROBE_COLUMNS = ('linear', 'mlp', 'chance', 'eer')  # figures of a probe that summary.csv has


def write_report(path) -> Path:
    """Writes report.html and summary.csv of the finished sweep in `path`; returns the page's path.

    Raises UserError when there is no finished sweep.
    """
    start = time.perf_counter()
    path = epath.Path(path)
    print(f'Writing {path}/report.html ...', end=' ', flush=True)
    analysis = SweepAnalysis(read_finished_sweep(path))
    page_sections = [make_section(analysis) for make_section in SECTIONS]
    page = html_page(path.name, headline_box(analysis), page_sections)
    (path / 'report.html').write_bytes(page.encode())
    (path / 'summary.csv').write_bytes(summary_csv(analysis).encode())
    print(f'{time.perf_counter() - start:.0f} s.')
    return path / 'report.html'


class Fact(NamedTuple):
    """An entry of the box at the top of the page."""

    name: str
    value: str
    note: str


def headline_box(analysis: SweepAnalysis) -> Markup:
    """Returns the top of the page: warnings, and a box with the main figures."""
    facts = []
    if analysis.best_row:
        facts += _setting_facts(analysis)
    if analysis.plain_row:
        facts += _difference_facts(analysis)
    if analysis.best_row:
        facts.append(_leakage_fact(analysis))
    facts += _sweep_facts(analysis)
    return render(
        'headline',
        warnings=warning_banners(analysis),
        facts=facts,
        synthetic_note=synthetic_note(analysis.results),
    )


def _setting_facts(analysis: SweepAnalysis) -> list[Fact]:
    """Returns the setting that the report is about, and its UAR."""
    best = analysis.best_row
    settings = len(analysis.compared_rows or analysis.rows)
    rule = 'the only one'
    if settings > 1:
        rule = (
            f'best dev UAR ({best["dev_uar"]:.3f}, mean of folds) of '
            f'{pluralize(settings, "setting")}'
        )
    if analysis.plain_row:
        rule += ' compared with plain training'
    interval = format_interval(best['uar_ci95'])
    return [
        Fact('setting', analysis.setting_title(best), rule),
        Fact(
            'UAR, folds pooled',
            format_number(best['uar']),
            f'{interval} (chance: {analysis.chance:.3f})',
        ),
    ]


def _difference_facts(analysis: SweepAnalysis) -> list[Fact]:
    """Returns the difference to plain training, and whether dev prefers plain training."""
    best, plain = analysis.best_row, analysis.plain_row
    significance = 'too few speakers'
    if best['p'] is not None:
        significance = f'p = {best["p"]:.3g} (Holm-corrected: {best["p_holm"]:.3g})'
    interval = format_interval(best['delta_ci95'], '+.3f')
    plain_uar = f'{analysis.setting_title(plain)} has {plain["uar"]:.3f}'
    facts = [
        Fact(
            'difference to plain training, folds pooled',
            format_number(best['delta_uar'], '+z.3f'),
            f'{interval} {significance}; {plain_uar}',
        )
    ]
    if plain['dev_uar'] >= best['dev_uar']:
        preferred = 'plain training' if plain['dev_uar'] > best['dev_uar'] else 'neither'
        note = f'plain training has a dev UAR of {plain["dev_uar"]:.3f}, mean of folds'
        facts.append(Fact('dev prefers', preferred, note))
    return facts


def _leakage_fact(analysis: SweepAnalysis) -> Fact:
    """Returns the leakage of the domain to forget, or the command that measures it."""
    domain, answer = probed_domain(analysis, analysis.best_row)
    if not answer:
        command = f'python -m jaxser.probe --workdir {analysis.path}'
        return Fact(f'leakage of the {domain}', 'not measured', command)
    levels = []
    if analysis.plain_row:
        _, plain_answer = probed_domain(analysis, analysis.plain_row)
        if plain_answer:
            levels.append(f'plain training: {plain_answer["linear"]:.3f}')
    levels.append(f'the input alone: {answer["input"]["linear"]:.3f}')
    levels.append(f'chance: {answer["chance"]:.3f}')
    name = f'leakage of the {domain}, mean of folds'
    return Fact(name, format_number(answer['linear']), f'({", ".join(levels)})')


def probed_domain(analysis: SweepAnalysis, row: dict) -> tuple[str, dict | None]:
    """Returns the domain that a setting should forget, and the result of its probe or None.

    Of several domains it is the first that was probed; if none was, it is the speaker if probed.
    """
    forgotten = (row.get('domain') or analysis.config['domain']).split('+')
    answers = row['probe'] or {}
    for domain in (*forgotten, 'speaker'):
        if domain in answers:
            return domain, answers[domain]
    return forgotten[0], None


def _sweep_facts(analysis: SweepAnalysis) -> list[Fact]:
    """Returns the data, the selection and the machine."""
    results = analysis.results
    folds = folds_of_sweep(results)
    return [
        Fact(
            'tested speakers', str(len(analysis.tested_speakers)), f'{results["protocol"]}, {folds}'
        ),
        Fact(
            'split',
            results['split_sha256'][:12],
            'the first digits of its SHA-256; the last section has all digits',
        ),
        Fact(
            'epoch chosen by',
            results['selection'],
            'the setting is chosen by its dev UAR; the test part chooses nothing',
        ),
        Fact('device', results['device'], f'trained and tested in {results["seconds"]:.0f} s'),
    ]


def warning_banners(analysis: SweepAnalysis) -> list[str]:
    """Returns the warnings that a reader must not miss."""
    warnings = []
    for kind in analysis.results['audit'].get('leaks', []):
        warnings.append(
            f'Leak of {kind} allowed: some training and test utterances have the same {kind}.'
        )
    best = analysis.best_row
    if best is None:
        warnings.append(sections.NO_COMPLETE_SETTING)
        return warnings
    verdicts = best['adversary'] or {}
    runs = pluralize(sum(verdicts.values()), 'run')
    for verdict, count in verdicts.items():
        if verdict in ALARMING_VERDICTS:
            meaning = ALARMING_VERDICTS[verdict]
            warnings.append(f'The adversary was {verdict} in {count} of {runs}: {meaning}.')
    if best['delta_uar'] is not None:
        warnings += _undecided_warning(best)
    return warnings


def _undecided_warning(row: dict) -> list[str]:
    """Returns a warning if the difference of a row to plain training is not significant."""
    if not row['delta_ci95']:
        speakers = pluralize(row['tested_speakers'], 'tested speaker')
        return [
            f'Undecided: {speakers}, too few for an interval of the difference to plain training '
            f'({bootstrap.MIN_SPEAKERS} or more are needed).'
        ]
    low, high = row['delta_ci95']
    if low <= 0 <= high:
        interval = format_interval(row['delta_ci95'], '+.3f')
        return [
            f'Undecided: the interval of the difference to plain training, {interval}, includes 0.'
        ]
    return []


def summary_csv(analysis: SweepAnalysis) -> str:
    """Returns summary.csv: the rows of the summary, one figure per column."""
    lines = list(map(_csv_line, analysis.rows))
    columns: dict[str, None] = {}
    for line in lines:
        columns |= dict.fromkeys(line)
    return csv_files.format_rows(lines, columns)


def _csv_line(row: dict) -> dict:
    line = {}
    for key, value in row.items():
        if key not in ('confusion', 'probe', 'adversary') and not key.endswith('_ci95'):
            line[key] = value
    for key in ('uar', 'delta'):
        line[f'{key}_low'], line[f'{key}_high'] = row[f'{key}_ci95'] or (None, None)
    for domain, answer in (row['probe'] or {}).items():
        for key in PROBE_COLUMNS:
            if key in answer:
                line[f'{domain}_{key}'] = answer[key]
    for verdict, count in (row['adversary'] or {}).items():
        line[f'adversary_{verdict}'] = count
    return line

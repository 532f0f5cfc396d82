"""The report page of a finished sweep (report.html), and its table of settings (summary.csv)."""

import time
from pathlib import Path
from typing import NamedTuple

from etils import epath
from markupsafe import Markup

from data_pipelines import csv_files
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.adversary import inert_hint
from jaxser.analysis.finished import (
    SweepAnalysis,
    read_finished_sweep,
    with_most_enrolled,
    without_negative_lam,
)
from jaxser.analysis.leakage import (
    ATTACKERS,
    HEADLINE_QUESTIONS,
    is_biased_low,
    question_title,
    unseen_question,
)
from jaxser.reporting import leakage_sections, sections, training_sections
from jaxser.reporting.enrolment import enrolment_png, enrolment_section
from jaxser.reporting.formats import (
    folds_of_sweep,
    format_attack,
    format_enrolled,
    format_interval,
    format_leakage,
    format_number,
)
from jaxser.reporting.html import html_page, render
from jaxser.runs import synthetic_note
from jaxser.workdir_files import WorkdirFiles, write_whole

# The verdicts that become warnings, and their meaning.
ALARMING_VERDICTS = {
    'inert': 'the representation leaks nearly as much as that of plain training, or more',
    'collapsed': 'the emotion was forgotten too, or the run diverged',
}

SECTIONS = (
    sections.settings_section,
    leakage_sections.leakage_section,
    enrolment_section,
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

# Figures of a probe that summary.csv has, and those of attackers on the emotion scores alone.
PROBE_COLUMNS = (
    *ATTACKERS,
    'strongest',
    'attacker',
    'chance',
    'bits',
    'withheld',
    'below_chance',
    'delta',
    'eer',
    'lda_eer',
)
PROBE_INTERVALS = {'ci95': '', 'bits_ci95': '_bits', 'delta_ci95': '_delta'}
SCORES_COLUMNS = ('strongest', 'attacker', 'bits')


def write_report(path) -> Path:
    """Writes the report of the finished sweep in `path`; returns the path of the page.

    The report is report.html, summary.csv and the figures leakage.png, if the sweep was probed, and
    enrolment.png, if speakers were enrolled.

    Raises UserError when there is no finished sweep.
    """
    start = time.perf_counter()
    path = epath.Path(path)
    print(f'Writing {path}/report.html ...', end=' ', flush=True)
    with WorkdirFiles(path).refuse_other_contents('results.json'):
        analysis = SweepAnalysis(read_finished_sweep(path))
        page_sections = [make_section(analysis) for make_section in SECTIONS]
        page = html_page(path.name, headline_box(analysis), page_sections)
        files = {
            'report.html': page,
            'summary.csv': summary_csv(analysis),
            'leakage.png': leakage_sections.tradeoff_png(analysis),
            'enrolment.png': enrolment_png(analysis),
        }
    for name, content in files.items():
        if content is not None:
            write_whole(path / name, content)
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
        facts += _leakage_facts(analysis)
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
    rows = analysis.compared_rows or analysis.rows
    not_negative = without_negative_lam(rows)
    settings = len(with_most_enrolled(not_negative))
    rule = 'the only one'
    if settings > 1:
        rule = (
            f'best dev UAR ({best["dev_uar"]:.3f}, mean of folds) of '
            f'{pluralize(settings, "setting")}'
        )
    if analysis.plain_row:
        rule += ' compared with plain training'
    if len(not_negative) < len(rows):
        rule += '; lam < 0 is not chosen, because it keeps the domain'
    if settings < len(not_negative):
        rule += '; the number of enrolled utterances is not chosen: training is the same for all'
    interval = format_interval(best['uar_ci95'])
    # All numbers of enrolled utterances are of one model.
    title = analysis.setting_title(best | {'enrol': None})
    return [
        Fact('setting', title, rule),
        *_enrolled_facts(analysis),
        Fact(
            'UAR, folds pooled',
            format_number(best['uar']),
            f'{interval} (chance: {analysis.chance:.3f})',
        ),
    ]


def _enrolled_facts(analysis: SweepAnalysis) -> list[Fact]:
    """Returns with how many enrolled utterances the figures are; [] if no speakers are enrolled."""
    enrolled = analysis.enrolled(analysis.best_row)
    if enrolled is None:
        return []
    note = 'of each tested speaker, without labels and not scored; all figures of this box'
    if 'enrolment' in analysis.results:
        note += '; the section on enrolment has other numbers'
    return [Fact('enrolled utterances', format_enrolled(enrolled), note)]


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


def _leakage_facts(analysis: SweepAnalysis) -> list[Fact]:
    """Returns the leakage of the domain to forget, or the command that measures it.

    For speakers, these are the leakage of training speakers and that of unseen speakers.
    """
    domain, answer = probed_domain(analysis, analysis.best_row)
    if not answer:
        command = f'python -m jaxser.probe --workdir {analysis.path}'
        return [Fact(f'leakage of the {domain}', 'not measured', command)]
    facts = []
    for question in (domain, unseen_question(domain)):
        if question in analysis.best_row['probe']:
            facts.append(_question_fact(analysis, question))
    return facts


def _question_fact(analysis: SweepAnalysis, question: str) -> Fact:
    """Returns the strongest attacker's recall beside plain training, the input and chance."""
    answer = analysis.best_row['probe'][question]
    levels = []
    plain_probe = (analysis.plain_row or {}).get('probe') or {}
    if question in plain_probe:
        levels.append(f'plain training: {format_leakage(plain_probe[question])}')
    if answer.get('input'):
        levels.append(f'the input alone: {format_attack(answer["input"])}')
    levels.append(f'chance: {answer["chance"]:.3f}')
    note = f'{format_interval(answer.get("ci95"))} {", ".join(levels)}'.strip()
    if is_biased_low(answer):
        note += '. Seen utterances: biased low'
    if answer.get('centred'):
        note += '. Centred by tested utterances: too low'
    name = f'leakage of {question_title(question)}, strongest attacker, mean of folds'
    return Fact(name, format_leakage(answer), note)


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
            hint = _hint(analysis, verdict)
            warnings.append(f'The method was {verdict} in {count} of {runs}: {meaning}.{hint}')
    warnings += below_chance_warning(best)
    if best['delta_uar'] is not None:
        warnings += _undecided_warning(best)
    return warnings


def _hint(analysis: SweepAnalysis, verdict: str) -> str:
    """Returns what to try after runs of the best setting with this verdict; '' if unknown."""
    if verdict != 'inert':
        return ''
    for run in analysis.complete_runs(analysis.best_row):
        hint = (run.get('adversary') or {}).get('next')
        if hint:
            return f' Next: {hint}.'
    method = analysis.best_row.get('method') or analysis.config['method']  # an earlier version
    return f' Next: {inert_hint(analysis.best_row, method)}.'


def below_chance_warning(row: dict) -> list[str]:
    """Returns a warning if an attacker of speakers is significantly below chance."""
    names = []
    for question in HEADLINE_QUESTIONS:
        if ((row['probe'] or {}).get(question) or {}).get('below_chance'):
            names.append(question_title(question))
    if not names:
        return []
    return [
        f'Leakage of {", ".join(names)}: an attacker is significantly below chance, which is a '
        'leak too.'
    ]


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
    for question, answer in (row['probe'] or {}).items():
        line |= _csv_answer(question, answer)
    for verdict, count in (row['adversary'] or {}).items():
        line[f'adversary_{verdict}'] = count
    return line


def _csv_answer(question: str, answer: dict) -> dict:
    """Returns the columns of a question, e.g. speaker_strongest, speaker_low, speaker_high."""
    columns = {}
    for key in PROBE_COLUMNS:
        if key in answer:
            columns[f'{question}_{key}'] = answer[key]
    for key, suffix in PROBE_INTERVALS.items():
        if key in answer:
            low, high = answer[key] or (None, None)
            columns[f'{question}{suffix}_low'] = low
            columns[f'{question}{suffix}_high'] = high
    for key in SCORES_COLUMNS:
        if key in answer.get('scores', {}):
            columns[f'{question}_scores_{key}'] = answer['scores'][key]
    return columns

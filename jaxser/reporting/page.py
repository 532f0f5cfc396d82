"""The report page of a finished sweep (report.html), which begins with the answers."""

import time
from pathlib import Path
from typing import NamedTuple

from etils import epath
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis.finished import (
    SweepAnalysis,
    read_finished_sweep,
    with_most_enrolled,
    without_negative_lam,
)
from jaxser.reporting import (
    audit_sections,
    leakage_sections,
    sections,
    speaker_sections,
    training_sections,
)
from jaxser.reporting.card_facts import RED
from jaxser.reporting.cards import INVALID_SECTION, make_cards
from jaxser.reporting.enrolment import enrolment_png, enrolment_section
from jaxser.reporting.formats import format_enrolled
from jaxser.reporting.html import Section, html_page, render
from jaxser.reporting.rating_sections import ratings_png, ratings_section
from jaxser.reporting.split_card import split_answer
from jaxser.reporting.summary_table import summary_csv
from jaxser.runs import synthetic_note
from jaxser.workdir_files import WorkdirFiles, write_whole

SECTIONS = (
    audit_sections.data_section,
    sections.settings_section,
    leakage_sections.leakage_section,
    enrolment_section,
    speaker_sections.speakers_section,
    ratings_section,
    sections.confusions_section,
    sections.groups_section,
    sections.held_out_section,
    audit_sections.split_section,
    leakage_sections.representation_section,
    training_sections.calibration_section,
    training_sections.training_section,
    training_sections.failed_runs_section,
    training_sections.details_section,
)
# Sections with results, by name, which are not valid if the split leaks.
RESULT_SECTIONS = (
    'settings',
    'leakage',
    'enrolment',
    'speakers',
    'ratings',
    'confusions',
    'groups',
    'cross',
    'map',
    'calibration',
)


def write_report(path) -> Path:
    """Writes the report of the finished sweep in `path`; returns the path of the page.

    The report is report.html, summary.csv, speakers.csv and the figures leakage.png, if the sweep
    was probed, enrolment.png, if speakers were enrolled, and ratings.png, if ratings were
    predicted.

    Raises UserError when there is no finished sweep.
    """
    start = time.perf_counter()
    path = epath.Path(path)
    print(f'Writing {path}/report.html ...', end=' ', flush=True)
    with WorkdirFiles(path).refuse_other_contents('results.json'):
        analysis = SweepAnalysis(read_finished_sweep(path))
        page_sections = make_sections(analysis)
        page = html_page(path.name, headline(analysis), page_sections)
        files = {
            'report.html': page,
            'summary.csv': summary_csv(analysis),
            speaker_sections.SPEAKERS_FILE: speaker_sections.speakers_csv(analysis),
            'leakage.png': leakage_sections.tradeoff_png(analysis),
            'enrolment.png': enrolment_png(analysis),
            'ratings.png': ratings_png(analysis),
        }
    for name, content in files.items():
        if content is not None:
            write_whole(path / name, content)
    print(f'{time.perf_counter() - start:.0f} s.')
    return path / 'report.html'


def make_sections(analysis: SweepAnalysis) -> list[Section]:
    """Returns the sections of the page; those with results have a warning if the split leaks."""
    is_leaked = split_answer(analysis.results.get('audit', {})).status == RED
    made = [make_section(analysis) for make_section in SECTIONS]
    shown = list(filter(None, made))
    if not is_leaked:
        return shown
    marked = []
    for section in shown:
        is_result = section.name in RESULT_SECTIONS
        marked.append(section._replace(warning=INVALID_SECTION) if is_result else section)
    return marked


class Lead(NamedTuple):
    """The setting that the page is about, and how it was chosen."""

    title: str
    plain_title: str  # '' where there is no plain training
    rule: str
    model: str  # which setting is saved as the model; '' where none has figures on dev


def headline(analysis: SweepAnalysis) -> Markup:
    """Returns the top of the page: three answers, the setting, notes, and the cards."""
    return render(
        'headline',
        lead=make_lead(analysis) if analysis.best_row else None,
        notes=list(filter(None, (synthetic_note(analysis.results), _enrolled_note(analysis)))),
        cards=make_cards(analysis),
    )


def make_lead(analysis: SweepAnalysis) -> Lead:
    """Returns the setting that the page is about."""
    best, measure = analysis.best_row, analysis.measure
    rows = analysis.compared_rows or analysis.rows
    not_negative = without_negative_lam(rows)
    settings = len(with_most_enrolled(not_negative))
    rules = ['The only setting']
    if settings > 1:
        setting_count = pluralize(settings, 'setting')
        best_dev = f'{best[f"dev_{measure.key}"]:.3f}'
        rules = [f'Best dev {measure.title} ({best_dev}, mean of folds) of {setting_count}']
    if analysis.plain_row:
        rules[0] += ' compared with plain training'
    rules.append('Test data choose neither settings nor epochs')
    if len(not_negative) < len(rows):
        rules.append('A setting with lam < 0 is not chosen, because it keeps the domain')
    if settings < len(not_negative):
        text = 'The number of enrolled utterances is not chosen: training is the same for all'
        rules.append(text)
    # All numbers of enrolled utterances are of one model.
    title = analysis.setting_title(best | {'enrol': None})
    plain_title = analysis.setting_title(analysis.plain_row) if analysis.plain_row else ''
    return Lead(title, plain_title, '. '.join(rules) + '.', _describe_model(analysis, title))


def _describe_model(analysis: SweepAnalysis, lead_title: str) -> str:
    """Returns which setting is saved as the model: plain training may be the best on dev."""
    row, measure = analysis.model_row, analysis.measure
    dev = row[f'dev_{measure.key}']
    if dev is None:
        return ''
    title = analysis.setting_title(row | {'enrol': None})
    if title == lead_title:
        return 'This setting is saved as the model.'
    if analysis.setting_title(row) in analysis.plain_titles:
        title = f'plain training ({title})'
    reason = f'which has the best dev {measure.title} of all settings ({dev:.3f})'
    return f'Saved as the model: {title}, {reason}.'


def _enrolled_note(analysis: SweepAnalysis) -> str:
    """Returns with how many enrolled utterances the figures are; '' if none is enrolled."""
    enrolled = analysis.enrolled(analysis.best_row) if analysis.best_row else None
    if enrolled is None:
        return ''
    note = (
        f'Enrolled utterances: {format_enrolled(enrolled)} of each tested speaker, without labels '
        'and not scored. The figures of the cards are with these.'
    )
    if 'enrolment' in analysis.results:
        note += ' The section on enrolment has other numbers.'
    return note

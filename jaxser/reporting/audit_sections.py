"""The sections of the report page on the data and the split: what they are, and their audit."""

import datetime

from etils import epath
from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis.finished import SweepAnalysis
from jaxser.reporting.formats import folds_of_sweep, format_number
from jaxser.reporting.html import (
    Section,
    facts_table,
    html_details,
    html_list,
    html_paragraph,
    html_table,
    render,
)
from jaxser.reporting.split_card import split_answer
from jaxser.reporting.target import Target, find_target

SHARED_TITLES = {'speaker': 'speakers', 'session': 'sessions', 'windows': 'overlapping windows'}


def data_section(analysis: SweepAnalysis) -> Section:
    """Returns what the data are: corpus, languages, speakers, emotions or ratings, date."""
    return Section('data', 'The data', render('data', facts=data_facts(analysis)))


def data_facts(analysis: SweepAnalysis) -> list[tuple[str, str]]:
    """Returns (name, value) of what a reader must know of the data and of the training."""
    results = analysis.results
    utterances = results.get('audit', {}).get('utterances') or analysis.metadata.get('utterances')
    emotions = ratings = ''
    if analysis.classes:
        votes = ''
        if analysis.config.get('train', {}).get('soft_labels'):
            votes = "; trained on the raters' votes"
        emotions = f'{", ".join(analysis.classes)} (labels: {results["labels"]}{votes})'
    if analysis.ratings:
        ratings = f'{", ".join(analysis.ratings)} (from -1 to 1)'
    facts = [
        ('corpus', ', '.join(results['corpora'])),
        ('language', ', '.join(_attribute_values(results, 'language'))),
        ('utterances', '' if utterances is None else f'{utterances:,}'),
        ('speakers', _describe_speakers(analysis)),
        ('emotions', emotions),
        ('ratings', ratings),
        ('protocol', f'{results["protocol"]}, {folds_of_sweep(results)}'),
        ('tested speakers', str(len(analysis.tested_speakers))),
        ('epoch chosen by', f'{results["selection"]}; test data choose nothing'),
        ('split', f'{results["split_sha256"][:12]} (the first digits of its SHA-256)'),
        ('results written', _date(analysis)),
        ('device', f'{results["device"]}, trained and tested in {results["seconds"]:.0f} s'),
    ]
    return [(name, value) for name, value in facts if value]


def _attribute_values(results: dict, attribute: str) -> list[str]:
    """Returns the distinct values of an attribute of speakers, e.g. their languages."""
    values = set()
    for speaker in results.get('speakers', {}).values():
        values.add(speaker.get(attribute, ''))
    return sorted(values - {''})


def _describe_speakers(analysis: SweepAnalysis) -> str:
    """Returns the number of speakers, by sex where it is known; '' if they are not recorded."""
    speakers = analysis.results.get('speakers', {})
    if not speakers:
        return ''
    counts = []
    for sex in _attribute_values(analysis.results, 'sex'):
        count = sum(speaker.get('sex') == sex for speaker in speakers.values())
        counts.append(f'{count} {sex}')
    return f'{len(speakers)} ({", ".join(counts)})' if counts else str(len(speakers))


def _date(analysis: SweepAnalysis) -> str:
    """Returns the date on which results.json was written."""
    seconds = epath.Path(analysis.path / 'results.json').stat().mtime
    return datetime.datetime.fromtimestamp(seconds).date().isoformat()


def split_section(analysis: SweepAnalysis) -> Section:
    """Returns the audit of the split as sentences and tables."""
    audit = analysis.results.get('audit', {})
    target = find_target(analysis.results)
    body = html_list(split_answer(audit, target).sentences)
    body += _shared_table(audit)
    body += _domains_table(audit, target)
    body += _shortcuts_table(audit, target)
    body += _parts_table(audit)
    body += _examples_table(audit)
    return Section('split', 'The split', body)


def _shared_table(audit: dict) -> Markup:
    """Returns what two parts of a fold share."""
    folds = audit.get('folds')
    rows = []
    for kind, title in SHARED_TITLES.items():
        if kind in audit:
            rows.append([title, audit[kind]['count'], _of_folds(audit[kind], folds), ''])
    for kind, title in (
        ('audio', 'recordings'),
        ('duplicates', 'copies within one part (harmless)'),
    ):
        found = audit.get(kind)
        if found:
            in_folds = _of_folds(found, folds) if 'in_folds' in found else ''
            rows.append([title, found['exact'], in_folds, found['near']])
    if not rows:
        return Markup('')
    headings = ['in two parts', 'shared', 'in folds', 'nearly identical']
    return html_table('What the parts of a fold share', headings, rows)


def _of_folds(found: dict, folds: int | None) -> str:
    return f'{found["in_folds"]} of {folds}' if folds else str(found['in_folds'])


def _domains_table(audit: dict, target: Target) -> Markup:
    """Returns how much speaker, corpus and language tell about what is predicted."""
    rows = []
    for name, information in audit.get('tells', {}).items():
        numbers = [format_number(information[key], 'z.2f') for key in ('bits', 'chance', 'of')]
        rows.append([name, *numbers, information['word']])
    if not rows:
        return Markup('')
    headings = ['who or where', 'bits', 'by chance', 'of', 'confounding']
    title = f'What speaker, corpus and language tell about {target.stratum}'
    table = html_table(title, headings, rows)
    note = html_paragraph(
        _thirds_note(target),
        f'Bits: the information on {target.stratum}, if only this is known (mutual information).',
        'By chance: the bits to expect from so few utterances if there is no relation.',
        f'Of: the bits of {target.stratum} itself, the most there can be.',
        'Confounding: how much of it is more than chance.',
    )
    return table + note


def _thirds_note(target: Target) -> str:
    """Returns how the audit sees a rating; '' for emotions."""
    if not target.is_in_thirds:
        return ''
    return f'The audit knows {target.stratum} in thirds of its scale: low, middle and high.'


def _shortcuts_table(audit: dict, target: Target) -> Markup:
    """Returns how much properties of a recording tell about what is predicted."""
    rows = []
    for shortcut in audit.get('shortcuts', []):
        numbers = [
            format_number(shortcut.get('uar')),
            format_number(shortcut.get('chance')),
            format_number(shortcut.get('bits'), 'z.2f'),
        ]
        rows.append([shortcut['feature'], *numbers, shortcut['status']])
    if not rows:
        return Markup('')
    headings = ['what', 'UAR', 'chance', 'bits beyond chance', 'shortcut']
    table = html_table(f'What gives {target.stratum} away without listening', headings, rows)
    note = 'UAR: of a tiny classifier that knows only this, on the tested speakers.'
    if target.is_in_thirds:
        note = (
            'UAR: mean recall of low, middle and high, of a tiny classifier that knows only this, '
            'on the tested speakers.'
        )
    unmeasured = [f'{name}: {why}' for name, why in audit.get('unmeasured', {}).items()]
    missing = f'Not measured: {"; ".join(unmeasured)}.' if unmeasured else ''
    return table + html_paragraph(note, missing)


def _parts_table(audit: dict) -> Markup:
    """Returns what is known of withheld utterances, copies and absent classes."""
    rows = []
    withheld = audit.get('withheld', {}).get('utterances', [])
    if any(withheld):
        rows.append(['withheld utterances, by fold', ', '.join(map(str, withheld))])
    copies = audit.get('copies')
    if copies:
        rows.append(['copies at other speeds, by fold', ', '.join(map(str, copies['utterances']))])
    for example in audit.get('missing', {}).get('examples', []):
        part = f'{example["part"]} of {example["fold"]} lacks'
        rows.append([part, ', '.join(example['classes'])])
    if not rows:
        return Markup('')
    return facts_table('Parts', rows)


def _examples_table(audit: dict) -> Markup:
    """Returns examples of what is shared, and of copies within a part."""
    rows = []
    for kind in ('speaker', 'session', 'audio', 'windows', 'duplicates'):
        for example in audit.get(kind, {}).get('examples', []):
            where = ' and '.join(example.get('parts', ['one part']))
            utterances = ' and '.join(map(str, example.get('utterances', [])))
            rows.append([kind, example.get('fold', ''), where, utterances])
    if not rows:
        return Markup('')
    table = html_table('Examples', ['what', 'fold', 'parts', 'utterances'], rows)
    return html_details(pluralize(len(rows), 'example'), table)

"""The page of a score, report.html: the systems, the evidence, and how they were judged."""

import textwrap
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from data_pipelines.tasks import BenchmarkTask
from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, calibration
from jaxser.analysis.leakage import (
    ATTACKERS,
    HEADLINE_QUESTIONS,
    is_biased_low,
    question_title,
    strongest_attacker,
)
from jaxser.reporting.card_facts import AMBER, GREEN, SAME_SYMBOL, SYMBOLS, WORSE_SYMBOL
from jaxser.reporting.figures import (
    ForestAxis,
    ForestRow,
    draw_confidence_counts,
    draw_confusion_matrix,
    draw_forest_plot,
    draw_reliability_diagram,
)
from jaxser.reporting.formats import (
    SEEN_NOTE,
    VOTE_KL_NOTE,
    format_interval,
    format_leakage,
    format_number,
    format_p,
)
from jaxser.reporting.html import (
    Picture,
    Section,
    cells_table,
    facts_table,
    html_code,
    html_details,
    html_figures,
    html_list,
    html_page,
    html_paragraph,
)
from jaxser.reporting.leakage_figure import LeakageRow, draw_leakage_rows
from jaxser.reporting.rating_sections import MAX_POINTS, RatedPanel, draw_rated_panel
from jaxser.reporting.verdict import is_significant
from jaxser.scoring.evidence import SENTENCE_KIND, Evidence, Task
from jaxser.scoring.results_file import CLASS_COLUMNS, RATING_COLUMNS, other_cells, system_cells

NAME_LETTERS = 26  # of a name in one line of a figure
MAX_DRAWN_SYSTEMS = 8  # confusion matrices and reliability diagrams; tables have all systems
GROUP_TITLES = {SENTENCE_KIND: 'sentence'}


def score_page(
    title: str,
    task: Task,
    benchmark: BenchmarkTask | None,
    evidence: Sequence[Evidence],
    reference: str,
    command: str,
) -> str:
    """Returns the page of a score."""
    sections = [
        systems_section(task, evidence, reference),
        ratings_section(task, evidence),
        leakage_section(evidence, reference),
        groups_section(task, evidence),
        folds_section(task, evidence),
        confusions_section(task, evidence),
        calibration_section(evidence),
        judged_section(task, benchmark, evidence, reference),
        cards_section(evidence),
        details_section(task, evidence, command),
    ]
    name = benchmark.title if benchmark else title
    return html_page(name, introduction(task, benchmark, evidence, reference), sections)


def introduction(
    task: Task, benchmark: BenchmarkTask | None, evidence: Sequence[Evidence], reference: str
) -> Markup:
    """Returns the top of the page: what was scored, and a line for each system."""
    truth = task.truth
    speakers = evidence[0].row['tested_speakers']
    what = f'the task {benchmark.name}' if benchmark else f'the truth file {truth.rows.path.name}'
    targets = []
    if task.classes:
        targets.append(pluralize(len(task.classes), 'class'))
    if task.ratings:
        targets.append(', '.join(task.ratings))
    body = html_paragraph(
        f'{pluralize(len(evidence), "system")} on {what}: {len(truth)} tested utterances of '
        f'{pluralize(speakers, "speaker")}, {pluralize(len(truth.fold_numbers), "fold")}; '
        f'{" and ".join(targets)}.',
        f'{task.measure.title}: {task.measure.definition}. In brackets: 95 % intervals.',
    )
    items = [_answer_item(task, system, reference) for system in evidence]
    body += Markup('<ul class=answers>\n{}</ul>\n').format(Markup('').join(items))
    for system in evidence:
        for note in system.predictions.notes:
            body += Markup('<p class=note>{}: {}</p>\n').format(system.name, note)
    if speakers < bootstrap.MIN_SPEAKERS:
        body += html_paragraph(
            f'There are fewer than {bootstrap.MIN_SPEAKERS} speakers: too few for intervals.'
        )
    return body


def _answer_item(task: Task, system: Evidence, reference: str) -> Markup:
    """Returns the line of a system on the first screen."""
    key, row = task.measure.key, system.row
    value = f'{task.measure.title} {format_number(row[key])}'
    interval = format_interval(row[f'{key}_ci95'])
    if system.name == reference:
        status, verdict = 'reference', 'the reference'
    else:
        status, symbol, word = difference_verdict(row)
        difference = format_number(row[f'delta_{key}'], '+z.3f')
        ends = format_interval(row['delta_ci95'], '+z.3f')
        verdict = f'{symbol} {word}: {difference} {ends} vs {reference}'
    leaks = []
    for question in HEADLINE_QUESTIONS:
        answer = (system.leakage or {}).get(question)
        if answer:
            chance = format_number(answer['chance'])
            leaks.append(f'{question_title(question)} {format_leakage(answer)}, chance {chance}')
    leakage = f'Leakage: {"; ".join(leaks)}.' if leaks else ''
    return Markup(
        '<li class={}><a href="#systems">{}</a> <strong>{} {}</strong><div>{}</div><div>{}</div>'
        '</li>\n'
    ).format(status, system.name, value, interval, verdict, leakage)


def difference_verdict(row: dict) -> tuple[str, str, str]:
    """Returns the status, the sign and the words for the difference to the reference."""
    if not row['delta_ci95']:
        return AMBER, SYMBOLS[AMBER], 'too few speakers to say'
    low, high = row['delta_ci95']
    if low <= 0 <= high:
        return AMBER, SAME_SYMBOL, 'no difference shown'
    is_shown = is_significant(row['p_holm'])
    if low > 0:
        return (GREEN, SYMBOLS[GREEN], 'better') if is_shown else (AMBER, '!', 'perhaps better')
    return AMBER, WORSE_SYMBOL, 'worse' if is_shown else 'perhaps worse'


def systems_section(task: Task, evidence: Sequence[Evidence], reference: str) -> Section:
    """Returns the table of the systems, and the figure of their differences to the reference."""
    body = cells_table('Each system', [system_cells(task, system) for system in evidence])
    leakages = [answer for system in evidence for answer in (system.leakage or {}).values()]
    body += html_paragraph(
        'All folds are pooled, and seeds are averaged.',
        f'vs reference: minus the figure of {reference}, on the same utterances.'
        if len(evidence) > 1
        else '',
        'p Holm: corrected for the number of systems that are compared.',
        SEEN_NOTE if any(map(is_biased_low, leakages)) else '',
    )
    compared = [system for system in evidence if system.name != reference]
    if compared:
        rows = [_forest_row(task, system) for system in compared]
        axis = ForestAxis.of(f'{task.measure.title} minus that of {reference}', rows)
        alt = f'{task.measure.title} of each system minus that of {reference}'
        body += html_figures(
            f'{task.measure.title} minus that of {reference}, with 95 % intervals over speakers. '
            'Blue: the interval is above 0; orange: below 0; grey: it includes 0, or there are too '
            'few speakers. Hollow: not significant after correction for the number of systems.',
            [Picture(alt, draw_forest_plot, (rows, axis))],
        )
    body += cells_table('Other figures', [other_cells(task, system) for system in evidence])
    body += html_paragraph(
        'WA: share of correct predictions. macro-F1: mean of the F1 scores of the classes.'
        if task.classes
        else '',
        'ECE, NLL: see Calibration.' if any(system.reliability for system in evidence) else '',
    )
    return Section('systems', 'Systems', body)


def _forest_row(task: Task, system: Evidence) -> ForestRow:
    row = system.row
    _, _, word = difference_verdict(row)
    return ForestRow(
        '\n'.join(textwrap.wrap(system.name, NAME_LETTERS)),
        row[f'delta_{task.measure.key}'],
        row['delta_ci95'],
        is_hollow=word.startswith('perhaps'),
    )


def ratings_section(task: Task, evidence: Sequence[Evidence]) -> Section | None:
    """Returns the figures of each rating; None if ratings are not scored."""
    if not task.ratings:
        return None
    cells_by_row = []
    for system in evidence:
        for name, figures in system.row['ratings'].items():
            cells = [('system', system.name), ('rating', name)]
            for key, heading in RATING_COLUMNS.items():
                cells.append((heading, format_number(figures[key])))
                if key == 'ccc':
                    cells.append(('95 %', format_interval(figures['ccc_ci95'])))
            cells_by_row.append(cells)
    body = cells_table('Each rating', cells_by_row)
    body += html_paragraph('RMSE: root mean squared error, on the scale of the truth.')
    pictures = _rated_pictures(task, evidence)
    if pictures:
        body += html_figures(
            f'Predicted against rated values, all folds and seeds; at most {MAX_POINTS} points are '
            'shown. Dotted: equal. Orange: the least-squares line, which is flatter where '
            'predictions stay near their mean.',
            pictures,
        )
    return Section('ratings', 'Ratings', body)


def _rated_pictures(task: Task, evidence: Sequence[Evidence]) -> list[Picture]:
    """Returns predicted against rated values; [] for a truth on a scale of its own."""
    truth_NxA = task.truth.rating_NxA(task.ratings)
    if np.abs(truth_NxA).max() > 1:
        return []
    pictures = []
    for system in evidence[:MAX_DRAWN_SYSTEMS]:
        seeds = len(system.predictions.seeds)
        for a, name in enumerate(task.ratings):
            ccc = system.row['ratings'][name]['ccc']
            title = '\n'.join(textwrap.wrap(f'{system.name}, {name}: CCC {ccc:.3f}', 40))
            predicted_N = system.predictions.rating_ZxNxA[:, :, a].ravel()
            panel = RatedPanel(title, np.tile(truth_NxA[:, a], seeds), predicted_N)
            alt = f'Predicted against rated {name} of {system.name}'
            pictures.append(Picture(alt, draw_rated_panel, (panel,)))
    return pictures


def leakage_section(evidence: Sequence[Evidence], reference: str) -> Section | None:
    """Returns what attackers recognise; None where no system has representations."""
    measured = [system for system in evidence if system.leakage]
    if not measured:
        return None
    cells_by_row, figure_rows = [], []
    chances: dict[str, set[float]] = {}
    for system in measured:
        recalls = {}
        for question in HEADLINE_QUESTIONS:
            answer = system.leakage.get(question)
            if not answer:
                continue
            title = question_title(question)
            cells_by_row.append([('system', system.name), ('asked', title), *_answer_cells(answer)])
            recalls[title] = (strongest_attacker(answer)[1], answer['ci95'])
            chances.setdefault(title, set()).add(round(answer['chance'], 6))
        name = '\n'.join(textwrap.wrap(system.name, NAME_LETTERS))
        figure_rows.append(LeakageRow(name, system.name == reference, recalls))
    if not cells_by_row:
        return None
    shared = {title: values.pop() for title, values in chances.items() if len(values) == 1}
    picture = Picture('Leakage of each system', draw_leakage_rows, (figure_rows, shared, ''))
    body = html_figures(
        'Leakage: how often the strongest attacker recognises the speaker, mean of folds, with '
        '95 % intervals over speakers. Lower is better. Black: the reference.',
        [picture],
    )
    body += cells_table('Every attacker', cells_by_row)
    body += html_paragraph(
        'An attacker is a new classifier of the frozen representation, from scikit-learn: '
        'logistic regression (linear), a multilayer perceptron (MLP), kernel ridge regression with '
        'a Gaussian kernel (RBF) and nearest neighbours (kNN).',
        'Settings are chosen on utterances that are neither fitted nor tested.',
        'p is not corrected for the number of comparisons.' if len(measured) > 1 else '',
        SEEN_NOTE,
        'Attackers of jaxser itself differ in details, so that recalls of this page and of a '
        "sweep's page may differ a little.",
    )
    return Section('leakage', 'Leakage', body)


def _answer_cells(answer: dict) -> list[tuple[str, str]]:
    cells = [
        ('strongest', format_leakage(answer)),
        ('95 %', format_interval(answer['ci95'])),
        ('chance', format_number(answer['chance'])),
        ('vs reference', format_number(answer.get('delta'), '+z.3f')),
        ('95 %', format_interval(answer.get('delta_ci95'), '+z.3f')),
        ('p', format_p(answer.get('p'))),
    ]
    for attacker, title in ATTACKERS.items():
        cells.append((title, format_number(answer.get(attacker))))
    return cells


def groups_section(task: Task, evidence: Sequence[Evidence]) -> Section | None:
    """Returns the main measure by sex, language, corpus and known sentences."""
    key, title = task.measure.key, task.measure.title
    body = Markup('')
    for kind in evidence[0].groups:
        cells_by_row = []
        for group in evidence[0].groups[kind]:
            first = evidence[0].groups[kind][group]
            cells = [(GROUP_TITLES.get(kind, kind), group)]
            cells += [('utterances', first['utterances']), ('speakers', first['speakers'])]
            for system in evidence:
                figures = system.groups[kind][group]
                cells.append((f'{title} of {system.name}', format_number(figures[key])))
                cells.append(('95 %', format_interval(figures[f'{key}_ci95'])))
            cells_by_row.append(cells)
        body += cells_table(f'{title} by {GROUP_TITLES.get(kind, kind)}', cells_by_row)
    if not body:
        return None
    if SENTENCE_KIND in evidence[0].groups:
        body += html_paragraph(
            'Sentence: whether the tested sentence also occurs in the training part of its fold.'
        )
    return Section('groups', 'By group', body)


def folds_section(task: Task, evidence: Sequence[Evidence]) -> Section | None:
    """Returns the main measure by fold; None for one fold."""
    folds = evidence[0].folds
    if len(folds) < 2:
        return None
    key, title = task.measure.key, task.measure.title
    cells_by_row = []
    for n, fold in enumerate(folds):
        cells = [('fold', fold['name'])]
        cells += [('utterances', fold['utterances']), ('speakers', fold['speakers'])]
        for system in evidence:
            cells.append((f'{title} of {system.name}', format_number(system.folds[n][key])))
        cells_by_row.append(cells)
    mean = [('fold', 'mean of folds'), ('utterances', ''), ('speakers', '')]
    for system in evidence:
        mean.append((f'{title} of {system.name}', format_number(system.row[f'{key}_folds'])))
    cells_by_row.append(mean)
    return Section('folds', 'By fold', cells_table(f'{title} by fold', cells_by_row))


def confusions_section(task: Task, evidence: Sequence[Evidence]) -> Section | None:
    """Returns the confusion matrices; None if classes are not scored."""
    if not task.classes:
        return None
    pictures = []
    for system in evidence[:MAX_DRAWN_SYSTEMS]:
        arguments = (system.row['confusion'], list(task.classes), system.name)
        alt = f'Confusion matrix of {system.name}'
        pictures.append(Picture(alt, draw_confusion_matrix, arguments))
    caption = 'Percent of each true class, all folds and seeds.' + _drawn_note(evidence)
    return Section('confusions', 'Confusions', html_figures(caption, pictures))


def _drawn_note(evidence: Sequence[Evidence]) -> str:
    if len(evidence) <= MAX_DRAWN_SYSTEMS:
        return ''
    return f' Of the first {MAX_DRAWN_SYSTEMS} of {len(evidence)} systems.'


def calibration_section(evidence: Sequence[Evidence]) -> Section | None:
    """Returns the reliability diagrams; None where no system has posteriors."""
    calibrated = [system for system in evidence if system.reliability]
    if not calibrated:
        return None
    reliabilities = {}
    for system in calibrated[:MAX_DRAWN_SYSTEMS]:
        reliabilities[system.name] = system.reliability
    cells_by_row = []
    for system in calibrated:
        cells_by_row.append(
            [
                ('system', system.name),
                ('ECE', format_number(system.calibration['ece'])),
                ('NLL (nats)', format_number(system.calibration['nll'])),
                ('KL to votes (nats)', format_number(system.row['vote_kl'])),
            ]
        )
    body = html_figures(
        f'Reliability in {calibration.BIN_COUNT} bins of the posteriors, all folds and seeds. '
        'Bars: 95 % intervals that take predictions as independent, so that they are too narrow. '
        f'The other picture: the number of predictions in each bin.{_drawn_note(calibrated)}',
        [
            Picture('Accuracy against confidence', draw_reliability_diagram, (reliabilities, ())),
            Picture('Predictions in each bin', draw_confidence_counts, (reliabilities, ())),
        ],
    )
    body += cells_table('Calibration', cells_by_row)
    notes = [
        'ECE: expected calibration error, the mean distance to the diagonal.',
        'NLL: mean negative log likelihood of the true class.',
    ]
    if any(system.row['vote_kl'] is not None for system in calibrated):
        notes.append(VOTE_KL_NOTE)
    body += html_paragraph(*notes)
    return Section('calibration', 'Calibration', body)


def judged_section(
    task: Task, benchmark: BenchmarkTask | None, evidence: Sequence[Evidence], reference: str
) -> Section:
    """Returns how the figures were computed."""
    speakers = evidence[0].row['tested_speakers']
    split = 'No task was named (--task), so that the split was compared with no official one.'
    if benchmark and benchmark.split_sha256:
        split = f'The split is the official one of the task {benchmark.name} (same SHA-256).'
    elif benchmark:
        split = f'The SHA-256 of the official split of {benchmark.name} is not known yet.'
    coverage = bootstrap.interval_coverage(speakers, task.measure)
    items = [
        split,
        f'Every system predicted each of the {len(task.truth)} tested utterances once in each seed '
        'and fold: this was checked.',
        'The predictions of all folds of a seed are pooled, and the figures of seeds averaged.',
        f'Intervals resample the {pluralize(speakers, "speaker")}, each with all utterances '
        '(symmetric bootstrap-t, 2,000 draws). They are about other speakers, not other seeds.',
        f'In simulations with so many speakers, {100 * coverage:.0f} % of the 95 % intervals '
        'included the true value.'
        if coverage
        else '',
        f'Differences to {reference} are paired: they use the same draws.'
        if len(evidence) > 1
        else '',
        'A predicted class is that with the largest posterior.' if task.classes else '',
        'CCC: concordance correlation (Lin 1989), with population moments.' if task.ratings else '',
        'Nobody can see from predictions whether a system was trained or tuned on tested '
        'utterances. What it was trained on, its authors say in its card.',
    ]
    if benchmark:
        items.append(f'Allowed in training: {benchmark.allowed_in_training}')
    return Section('judged', 'How it was judged', html_list(filter(None, items)))


def cards_section(evidence: Sequence[Evidence]) -> Section | None:
    """Returns what the authors say of their systems; None without any card."""
    body = Markup('')
    for system in evidence:
        card = system.predictions.system.card
        if card:
            facts = [(str(key), str(value)) for key, value in card.items() if value is not None]
            body += facts_table(system.name, facts)
    return Section('cards', 'Cards of the systems', body) if body else None


def details_section(task: Task, evidence: Sequence[Evidence], command: str) -> Section:
    """Returns the command and the hashes of the files."""
    rows = task.truth.rows
    facts = [('split file', f'{rows.path.name}, sha256 {rows.file_sha256}')]
    if task.truth.split_sha256:
        facts.append(('split', f'sha256 {task.truth.split_sha256}'))
    for system in evidence:
        facts.append((system.name, f'predictions sha256 {system.predictions.sha256}'))
    body = html_code(command) + facts_table('Files', facts)
    figures = ', '.join({**CLASS_COLUMNS, **RATING_COLUMNS}.values())
    body += html_details(
        'Other files',
        html_paragraph(
            f'results.json has all figures ({figures}) and what each speaker contributes to them. '
            'table.csv has a row for each system.'
        ),
    )
    return Section('details', 'Command and files', body)

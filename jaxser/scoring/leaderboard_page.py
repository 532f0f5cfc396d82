"""The leaderboard as a page (index.html), which loads no other file, and as leaderboard.json."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from data_pipelines.wording import pluralize
from jaxser.analysis.bootstrap import MIN_SPEAKERS, Estimate
from jaxser.analysis.leakage import HEADLINE_QUESTIONS, question_title
from jaxser.reporting.figures import ForestAxis, ForestRow, draw_forest_plot
from jaxser.reporting.formats import SEEN_NOTE, format_estimate
from jaxser.reporting.html import (
    Section,
    cells_table,
    facts_table,
    html_code,
    html_details,
    html_figure,
    html_page,
    html_paragraph,
)
from jaxser.scoring.ranking import RankedSystem

TITLE = 'Leaderboard of speech emotion recognition'
FIGURE_NAME_LETTERS = 24  # of a line of a name in the figure
UNCHECKED = 'statistics'
RECOMPUTED = 'predictions'


def leaderboard_page(ranked: Mapping[str, Sequence[RankedSystem]]) -> str:
    """Returns the page of the ranked systems of each task."""
    sections = [overview_section(ranked)]
    for name, systems in ranked.items():
        sections.append(Section(name, systems[0].submission.task.title, task_body(systems)))
    sections.append(reading_section())
    return html_page(TITLE, introduction(ranked), sections)


def introduction(ranked: Mapping[str, Sequence[RankedSystem]]) -> Markup:
    """Returns the first paragraph of the page."""
    systems = sum(len(same_task) for same_task in ranked.values())
    return html_paragraph(
        f'{pluralize(systems, "result")} on {pluralize(len(ranked), "task")}. All systems of a '
        'task were tested on the same utterances, with the same folds. Their figures were computed '
        'by jaxser.score, and computed again for this page.'
    )


def overview_section(ranked: Mapping[str, Sequence[RankedSystem]]) -> Section:
    """Returns the section with the best systems of each task."""
    rows = []
    for systems in ranked.values():
        task = systems[0].submission.task
        best, *others = systems
        tied = sum(system.tied_with_best for system in others)
        value, interval = format_estimate(best.estimate)
        rows.append(
            [
                ('task', task.title),
                ('systems', len(systems)),
                ('best', f'{best.submission.measure.title} {value}'),
                ('95 %', interval),
                ('best system', best.submission.name),
                ('tied with it', tied or ''),
            ]
        )
    return Section('overview', 'Tasks', cells_table('The best systems of each task', rows))


def task_body(systems: Sequence[RankedSystem]) -> Markup:
    """Returns the ranking of the systems of a task, as a table and a figure, and their cards."""
    first = systems[0].submission
    task, measure = first.task, first.measure
    statistics = first.statistics
    body = html_paragraph(
        f'Measure: {measure.title} ({measure.definition}).',
        f'Tested: {statistics.utterances:,} utterances of '
        f'{pluralize(statistics.speakers, "speaker")}, folds pooled.',
        f'Unseen in training: {task.unseen}.',
        f'Allowed in training: {task.allowed_in_training}',
    )
    if statistics.speakers < MIN_SPEAKERS:
        body += html_paragraph(
            f'With fewer than {MIN_SPEAKERS} speakers there are no intervals, and ties are not '
            'known.'
        )
    body += cells_table(f'Ranking by {measure.title}', list(map(ranking_cells, systems)))
    if len(systems) > 1:
        body += gap_figure(systems)
    body += leakage_table(systems)
    body += cells_table('Systems', [system_cells(own) for own in systems])
    body += html_paragraph(source_sentence(systems))
    cards = Markup('').join(card_facts(own) for own in systems)
    body += html_details('What the systems are, and the commands', cards)
    body += html_details('Identity of the task', facts_table(task.title, task_facts(systems)))
    return body


def ranking_cells(system: RankedSystem) -> list[tuple[str, object]]:
    """Returns the figures of a system as (heading, text) of every column."""
    submission = system.submission
    value, interval = format_estimate(system.estimate)
    gap, gap_interval = format_estimate(system.gap, '+z.3f')
    tied_with_best = 'yes' if system.tied_with_best else 'no'
    return [
        ('system', submission.name),
        ('rank', system.rank),
        (submission.measure.title, value),
        ('95 %', interval),
        ('vs best', gap),
        ('95 % of vs best', gap_interval),
        ('tied with the best', '' if system.gap is None else tied_with_best),
    ]


def leakage_table(systems: Sequence[RankedSystem]) -> Markup:
    """Returns the table of the leakage of systems; nothing where none was measured."""
    measured = [system for system in systems if system.submission.leakage]
    if not measured:
        return Markup('')
    chance_texts, cells_by_row = [], [[('system', own.submission.name)] for own in measured]
    for question in HEADLINE_QUESTIONS:
        title = question_title(question)
        answers = [system.submission.leakage.get(question) for system in measured]
        chances = {answer['chance'] for answer in answers if answer} - {None}
        if len(chances) == 1:
            chance_texts.append(f'{title} {next(iter(chances)):.3f}')
        for cells, answer in zip(cells_by_row, answers):
            cells.append((title, format_recall(answer, has_chance=len(chances) > 1)))
    chance = f' (chance: {"; ".join(chance_texts)})' if chance_texts else ''
    return cells_table(f'Leakage{chance}', cells_by_row)


def format_recall(answer: dict | None, has_chance: bool) -> str:
    """Returns the recall of the strongest attacker, e.g. '0.534 (seen)', perhaps with chance."""
    if answer is None:
        return ''
    notes = []
    if has_chance and answer['chance'] is not None:
        notes.append(f'chance {answer["chance"]:.3f}')
    if answer['seen']:
        notes.append('seen')
    recall = f'{answer["strongest"]:.3f}'
    return f'{recall} ({", ".join(notes)})' if notes else recall


def system_cells(system: RankedSystem) -> list[tuple[str, object]]:
    """Returns what a system is as (heading, text) of every column."""
    card = system.submission.card
    return [
        ('system', card.name),
        ('parameters', format_parameters(card.parameters)),
        ('seeds', system.submission.seeds),
        ('training data', card.training_data),
    ]


def _source(system: RankedSystem) -> str:
    """Returns from what the figures of a system were computed again."""
    return RECOMPUTED if system.submission.is_recomputed else UNCHECKED


def source_sentence(systems: Sequence[RankedSystem]) -> str:
    """Returns from what the figures of the systems were computed again."""
    sources = [_source(own) for own in systems]
    texts = []
    for source in (RECOMPUTED, UNCHECKED):
        if source in sources:
            texts.append(f'{source} ({pluralize(sources.count(source), "system")})')
    return f'Figures were computed again from: {", ".join(texts)}.'


def format_parameters(parameters: int | None) -> str:
    """Returns a number of parameters with three digits, such as '8.21 M'; '' if it is not known."""
    if parameters is None:
        return ''
    for factor, unit in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if parameters >= 0.9995 * factor:  # with three digits, 999,500 is 1 M
            return f'{parameters / factor:.3g} {unit}'
    return str(parameters)


def gap_figure(systems: Sequence[RankedSystem]) -> Markup:
    """Returns the forest plot of the differences to the best system."""
    measure = systems[0].submission.measure
    rows = []
    for system in systems:
        gap = system.gap or Estimate(0.0, None, None)
        name = textwrap.fill(system.submission.name, FIGURE_NAME_LETTERS)
        rows.append(ForestRow(name, gap.value, gap.ci95))
    best = systems[0].submission.name
    axis = ForestAxis.of(f'{measure.title} minus that of the best system', rows)
    return html_figure(
        f'Differences in {measure.title} to {best}',
        f'Difference to {best} with 95 % intervals over speakers, paired. Grey: tied, the interval '
        'includes 0. Orange: lower.',
        draw_forest_plot,
        rows,
        axis,
    )


def card_facts(system: RankedSystem) -> Markup:
    """Returns the card of a system."""
    card = system.submission.card
    link = Markup('<a href="{0}" rel="nofollow noopener">{0}</a>').format(card.url)
    facts = [
        ('description', card.description),
        ('training data', card.training_data),
        ('parameters', '' if card.parameters is None else f'{card.parameters:,}'),
        ('authors', card.authors),
        ('licence', card.licence),
        ('date', card.date),
        ('address', link if card.url else ''),
        ('command', card.command),
        ('computed again from', _source(system)),
        ('folder', f'{system.submission.task.name}/{system.submission.folder.name}'),
    ]
    return facts_table(card.name, [fact for fact in facts if fact[1]])


def task_facts(systems: Sequence[RankedSystem]) -> list[tuple[str, object]]:
    """Returns what identifies a task."""
    submission = systems[0].submission
    task = submission.task
    command = f'python -m data_pipelines.tasks {task.name} --source PATH --out split.csv'
    return [
        ('name', task.name),
        ('predicted', ', '.join((*submission.classes, *submission.ratings))),
        ('split (SHA-256)', submission.split_sha256),
        ('to write its split', html_code(command)),
        *([('notes', task.notes)] if task.notes else []),
    ]


def reading_section() -> Section:
    """Returns the section that explains the columns."""
    body = html_paragraph(
        'Intervals are over speakers: a bootstrap that draws speakers with replacement. '
        "'vs best' is the difference to the best system. It is paired, on the same speakers."
    )
    body += html_paragraph(
        'The rank is the place by the measure. Two systems are tied if the interval of their '
        'difference includes 0: the data do not show which one is better. A system with a wide '
        'interval may be tied with the best, while one of a higher rank is not. Differences are '
        'not corrected for the number of systems. leaderboard.json has the ties of every system.'
    )
    body += html_paragraph(
        'Leakage is the recall with which the strongest of several newly trained classifiers '
        'recognises the speaker from the representation. It is empty where it was not measured. '
        'These figures were not computed again: the submissions contain no representations. '
        f'{SEEN_NOTE}'
    )
    body += html_paragraph(
        f"'Computed again from: {RECOMPUTED}': the predictions were scored again for this page. "
        f"'{UNCHECKED}': the figures were computed again from the counts or moments of each "
        'speaker in the submission, because the split file was not given.'
    )
    body += html_paragraph(
        'What a system was trained on, its parameters and its licence are the words of its authors.'
    )
    return Section('reading', 'How to read it', body)


def leaderboard_json(ranked: Mapping[str, Sequence[RankedSystem]]) -> dict:
    """Returns the content of leaderboard.json."""
    tasks = []
    for name, systems in ranked.items():
        first = systems[0].submission
        tasks.append(
            {
                'name': name,
                'title': first.task.title,
                'measure': first.measure.key,
                'classes': list(first.classes),
                'ratings': list(first.ratings),
                'split_sha256': first.split_sha256,
                'utterances': first.statistics.utterances,
                'speakers': first.statistics.speakers,
                'systems': [_system_json(system) for system in systems],
            }
        )
    return {'kind': 'leaderboard', 'tasks': tasks}


def _system_json(system: RankedSystem) -> dict:
    submission = system.submission
    key = submission.measure.key
    gap = system.gap or Estimate(0.0, None, None)
    return {
        'rank': system.rank,
        'tied_with_best': system.tied_with_best,
        'folder': f'{submission.task.name}/{submission.folder.name}',
        'card': dataclasses.asdict(submission.card),
        key: system.estimate.value,
        f'{key}_ci95': system.estimate.ci95,
        f'delta_{key}': gap.value,
        'delta_ci95': gap.ci95,
        'tied_with': list(system.tied),
        'seeds': submission.seeds,
        'leakage': submission.leakage,
        'computed_again_from': _source(system),
    }

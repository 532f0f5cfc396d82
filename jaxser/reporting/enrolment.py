"""The enrolment curve: its section of the report page, its figure and its table."""

import textwrap

import numpy as np

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, enrolment, summary
from jaxser.analysis.enrolment import SOURCES, rows_from
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.measure import UAR, Measure
from jaxser.reporting import plotting
from jaxser.reporting.figures import Measured, measured_column
from jaxser.reporting.formats import format_interval, format_leakage, format_number
from jaxser.reporting.html import Picture, Section, cells_table, html_figures, html_paragraph
from jaxser.reporting.target import chance_level, find_target
from jaxser.runs import USUAL_VARIANTS, method_name, synthetic_note

MAX_SETTINGS = 5  # in the figure; the table has all
PANELS_PER_ROW = 3
SHIFT = 0.06  # between lines, so that points of equal value do not cover each other
K_LABEL = 'enrolled utterances of a speaker, K'

# The table of settings is of one draw, and the curve of others.
DRAWS_NOTE = (
    'Each draw sets aside other utterances, so that the scored ones differ too. The table of '
    'settings is of a single draw: its figures differ from the curve, for K = 0 too.'
)
FEWER_NOTE = 'If a speaker has fewer than K such utterances, all of them are enrolled.'

# How to read the table and the figure; {measure} is UAR or CCC, and {sources} are of SOURCES.
NOTES = (
    'K utterances of a tested speaker, without labels, are enrolled: they give the offset of the '
    "speaker's features. They are never scored. All K are tested on the same utterances.",
    '{measure}: test parts of all folds pooled, mean over draws of the enrolled utterances and '
    'over seeds. In parentheses: the difference to K = 0, with its 95 % interval over speakers.',
    f'{{sources}}: what was enrolled. {FEWER_NOTE}',
    'All numbers except K = 0 are transductive: the model has unlabelled speech of the tested '
    'speaker.',
    'Leakage of unseen speakers: mean recall of the strongest attacker, which is named, in a '
    'single draw, with its 95 % interval over speakers.',
)


def enrolment_section(analysis: SweepAnalysis) -> Section | None:
    """Returns the section with the enrolment curve; None where it was not measured."""
    by_title = enrolment.rows_by_title(analysis.results, analysis.config)
    if not by_title:
        return None
    measure = analysis.measure
    caption = (
        f'{measure.title} (folds pooled) against the number of enrolled utterances, by what is '
        'enrolled.'
    )
    if _leakage_rows(by_title):
        caption += ' Last: leakage of unseen speakers (any emotion enrolled), mean over runs.'
    if len(by_title) > MAX_SETTINGS:
        caption += f' The first {MAX_SETTINGS} of {len(by_title)} settings; the table has all.'
    body = html_figures(caption, _curve_pictures(analysis, by_title))
    title = f'{measure.title} and leakage by K'
    body += cells_table(title, curve_cells(by_title, measure))
    draws = pluralize(analysis.results['enrolment']['draws'], 'draw')
    rows = analysis.results['enrolment']['rows']
    words = {'measure': measure.title, 'sources': _list_sources(rows)}
    notes = [note.format(**words) for note in NOTES]
    clarity = clarity_note(rows, len(analysis.tested_speakers), measure)
    body += html_paragraph(*notes, f'{draws}.', DRAWS_NOTE, clarity)
    return Section('enrolment', 'Enrolment', body)


def _list_sources(rows: list[dict]) -> str:
    """Returns what was enrolled: any emotion alone, as with ratings, or all of SOURCES."""
    used = {row['enrol_from'] for row in rows}
    names = [SOURCES['any']] if used == {'any'} else SOURCES.values()
    return ', '.join(names).capitalize()


def _curve_pictures(analysis: SweepAnalysis, by_title: dict[str, list[dict]]) -> list[Picture]:
    """Returns a picture of UAR or CCC for each setting, and then one of leakage."""
    measure = analysis.measure
    shown = dict(list(by_title.items())[:MAX_SETTINGS])
    limits = _measure_limits(shown, measure)
    pictures = []
    for title, rows in shown.items():
        arguments = (title, rows, limits, analysis.chance, measure)
        alt = f'{measure.title} of {title} against the number of enrolled utterances'
        pictures.append(Picture(alt, draw_measure_picture, arguments))
    leakage_curves = _leakage_rows(shown)
    if leakage_curves:
        alt = 'Leakage of unseen speakers against the number of enrolled utterances'
        pictures.append(Picture(alt, draw_leakage_picture, (leakage_curves, analysis.config)))
    return pictures


def draw_measure_picture(
    title: str,
    rows: list[dict],
    limits: tuple[float, float],
    chance: float,
    measure: Measure,
):
    """Draws UAR or CCC against K for one setting."""
    figure, ((axes,),) = plotting.make_figure(plotting.PANEL_WIDTH, plotting.PANEL_HEIGHT + 0.8)
    _draw_measure_panel(axes, rows, chance, measure)
    label = f'{measure.title}, folds pooled'
    axes.set(title='\n'.join(textwrap.wrap(title, 40)), ylim=limits, ylabel=label)
    plotting.legend_below(figure, columns=2)
    return figure


def draw_leakage_picture(curves: dict[str, list[dict]], config: dict):
    """Draws the leakage of unseen speakers against K, a line for each setting."""
    height = plotting.PANEL_HEIGHT + 0.17 * len(curves)
    figure, ((axes,),) = plotting.make_figure(plotting.PANEL_WIDTH, height)
    _draw_leakage_panel(
        axes, curves, plotting.line_styles(list(curves), _plain_titles(curves, config))
    )
    plotting.legend_below(figure)
    return figure


def enrolment_png(analysis: SweepAnalysis) -> bytes | None:
    """Returns the figure as a PNG file; None where no curve was measured."""
    if not enrolment.rows_by_title(analysis.results, analysis.config):
        return None
    return plotting.render_png(draw_enrolment_curves, analysis.results, analysis.config)


def is_clear(row: dict) -> bool:
    """Whether the interval of the difference to K = 0 excludes 0."""
    if not row['delta_ci95']:
        return False
    low, high = row['delta_ci95']
    return low > 0 or high < 0


def clarity_note(rows: list[dict], speakers: int, measure: Measure = UAR) -> str:
    """Returns a sentence on how many differences to K = 0 are clear with so many speakers."""
    tested = pluralize(speakers, 'tested speaker')
    compared = [row for row in rows if row[f'delta_{measure.key}'] is not None]
    if not any(row['delta_ci95'] for row in compared):
        return (
            f'{tested}: too few for intervals of the differences to K = 0 '
            f'({bootstrap.MIN_SPEAKERS} or more are needed).'
        )
    clear = sum(map(is_clear, compared))
    others = f'; the others are not clear with {tested}' if clear < len(compared) else ''
    return (
        f'The interval of the difference to K = 0 excludes 0 in {clear} of {len(compared)} cases'
        f'{others}. The intervals are not corrected for their number.'
    )


def curve_cells(
    by_title: dict[str, list[dict]], measure: Measure = UAR
) -> list[list[tuple[str, str]]]:
    """Returns the table: for each row (heading, text) of every column, a column for each K.

    A setting has a row of the measure for each kind of enrolled utterances, and one of leakage.
    """
    cells_by_row = []
    for title, rows in by_title.items():
        for source, name in SOURCES.items():
            curve = rows_from(rows, source)
            if curve:
                head = [('setting', title), ('enrolled', name), ('figure', measure.title)]
                cells = []
                for row in curve:
                    cells.append((f'K = {row["enrol"]}', _format_measure(row, measure)))
                cells_by_row.append([*head, *cells])
        curve = _with_leakage(rows)
        if curve:
            chance = format_number(curve[0]['unseen_speaker']['chance'])
            figure = f'leakage of unseen speakers (chance: {chance}{_attacked(curve[0])})'
            head = [('setting', title), ('enrolled', SOURCES['any']), ('figure', figure)]
            cells = [(f'K = {row["enrol"]}', _format_leakage(row)) for row in curve]
            cells_by_row.append([*head, *cells])
    return cells_by_row


def _format_measure(row: dict, measure: Measure) -> str:
    """Returns e.g. '0.783 (+0.025 [+0.010, +0.040])'."""
    text = format_number(row[measure.key])
    if row[f'delta_{measure.key}'] is None:
        return text
    difference = format_number(row[f'delta_{measure.key}'], '+z.3f')
    interval = format_interval(row['delta_ci95'], '+z.3f')
    return f'{text} ({f"{difference} {interval}".strip()})'


def _format_leakage(row: dict) -> str:
    """Returns e.g. '0.460 (MLP) [0.336, 0.584]'."""
    answer = row['unseen_speaker']
    return f'{format_leakage(answer)} {format_interval(answer.get("ci95"))}'.strip()


def _attacked(row: dict) -> str:
    """Returns on how many utterances of how many speakers attackers were tested in a run."""
    answer = row['unseen_speaker']
    if 'n' not in answer:
        return ''
    return (
        f'; tested in a run: {answer["n"]:.0f} utterances of {answer["classes"]:.0f} speakers on '
        'average'
    )


def _with_leakage(rows: list[dict]) -> list[dict]:
    """Returns the rows that have leakage, in ascending order of K."""
    return [row for row in rows_from(rows, 'any') if row['unseen_speaker']]


def _leakage_rows(by_title: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """Returns the rows that have leakage, of each setting that has them."""
    curves = {}
    for title, rows in by_title.items():
        curve = _with_leakage(rows)
        if curve:
            curves[title] = curve
    return curves


def draw_enrolment_curves(results: dict, config: dict):
    """Draws UAR or CCC against K, a panel for each setting; then leakage of unseen speakers."""
    by_title = enrolment.rows_by_title(results, config)
    shown = dict(list(by_title.items())[:MAX_SETTINGS])
    leakage_curves = _leakage_rows(shown)
    panels = len(shown) + bool(leakage_curves)
    columns = min(panels, PANELS_PER_ROW)
    rows = -(-panels // columns)
    figure, grid = plotting.make_figure(4.6 * columns + 0.6, 4 * rows + 0.5, rows, columns)
    measure, chance = find_target(results).measure, chance_level(results)
    limits = _measure_limits(shown, measure)
    for axes, (title, curve) in zip(grid.flat, shown.items()):
        _draw_measure_panel(axes, curve, chance, measure)
        plotting.add_legend(axes, 8)
        axes.set(title=title, ylim=limits, ylabel=f'{measure.title}, folds pooled')
    if leakage_curves:
        styles = plotting.line_styles(list(leakage_curves), _plain_titles(leakage_curves, config))
        leakage_axes = figure.axes[len(shown)]
        _draw_leakage_panel(leakage_axes, leakage_curves, styles)
        plotting.add_legend(leakage_axes, 8)
    for axes in figure.axes[panels:]:
        axes.set_axis_off()
    draws = pluralize(results['enrolment']['draws'], 'draw')
    bars = _bars(shown, measure)
    lines = [results['protocol'], f'{draws} of the enrolled utterances; {bars}']
    if synthetic_note(results):
        lines.append(synthetic_note(results))
    figure.suptitle('\n'.join(lines), fontsize=9, wrap=True)
    return figure


def _bars(by_title: dict[str, list[dict]], measure: Measure) -> str:
    """Says what the error bars are."""
    for rows in by_title.values():
        if any(row[f'{measure.key}_ci95'] for row in rows):
            return 'bars: 95 % intervals that resample speakers'
    return f'no intervals for fewer than {bootstrap.MIN_SPEAKERS} speakers'


def _measure_limits(by_title: dict[str, list[dict]], measure: Measure) -> tuple[float, float]:
    """Returns the limits of the axis of UAR or CCC, the same in all panels."""
    ends = []
    for rows in by_title.values():
        for row in rows:
            value = row[measure.key]
            ends += row[f'{measure.key}_ci95'] or (value, value)
    return plotting.wide_limits(min(ends), max(ends), least=measure.low)


def _plain_titles(by_title: dict[str, list[dict]], config: dict) -> set[str]:
    """Returns the titles of the settings that are plain training."""
    method = {key: config.get(key) for key in ('method', *USUAL_VARIANTS)}
    titles = set()
    for title, rows in by_title.items():
        if method_name(method | rows[0]) in summary.PLAIN_METHODS:
            titles.add(title)
    return titles


def _draw_measure_panel(axes, rows: list[dict], chance: float, measure: Measure) -> None:
    """Draws a line for each kind of enrolled utterances, and the level of K = 0."""
    for n, (source, name) in enumerate(SOURCES.items()):
        curve = rows_from(rows, source)
        if not curve:
            continue
        measured = measured_column(curve, measure)
        _draw_line(axes, curve, measured, n, {'color': f'C{n}', 'label': name})
        if curve[0]['enrol'] == 0 and n == 0:
            axes.axhline(curve[0][measure.key], color='grey', linewidth=0.8, label='not enrolled')
    if axes.dataLim.y0 < chance:
        axes.axhline(chance, color='grey', linestyle=':', label='chance')


def _draw_line(axes, curve: list[dict], measured: Measured, n: int, style: dict) -> None:
    """Draws line `n` with its error bars; the values of K are spaced evenly."""
    x_N = np.arange(len(curve)) + SHIFT * n
    axes.errorbar(x_N, measured.value_N, measured.error_2xN, marker='o', capsize=3, **style)
    axes.set_xticks(np.arange(len(curve)), [str(row['enrol']) for row in curve])
    axes.set_xlabel(K_LABEL)


def _draw_leakage_panel(axes, curves: dict[str, list[dict]], styles: dict[str, dict]) -> None:
    """Draws the strongest attacker's recall of unseen speakers, a line for each setting."""
    chances = set()
    for n, (title, curve) in enumerate(curves.items()):
        answers = [row['unseen_speaker'] for row in curve]
        chances.update(answer['chance'] for answer in answers)
        recalls = [answer['strongest'] for answer in answers]
        leakage = Measured.of(recalls, [answer.get('ci95') for answer in answers])
        _draw_line(axes, curve, leakage, n, styles[title] | {'label': title})
    if len(chances) == 1:
        axes.axhline(chances.pop(), color='grey', linestyle=':', label='chance')
    axes.set(
        title='leakage of unseen speakers (any emotion)',
        ylabel='recall of the strongest attacker',
        ylim=(0, 1.05),
    )

"""Writes the overview of docs/results/index.md and its forest plots, from the tables of results.

    python docs/overview.py

It reads the tables that `python -m jaxser.compare` wrote (docs/results/log_mel.md, whisper.md and
forgetting.md), writes what is between the two marks of docs/results/index.md, and writes
docs/figures/overview_within.svg and overview_across.svg. No figure is typed by hand.
"""

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / 'results' / 'index.md'
BEGIN, END = '<!-- begin: written by docs/overview.py -->', '<!-- end -->'

METHODS = (
    'dann',
    'cdann',
    'confusion',
    'similarity',
    'speaker_norm tap',
    'speaker_norm snp',
    'crossgrad',
    'labelgrad',
    'leace',
    'projection',
    'coral',
    'mmd',
    'didan',
)

FIGURE = '![Difference to plain training in UAR, {tasks}](../figures/overview_{name}.svg)'

# Limits of the axis of differences; intervals beyond it end in an arrow.
LIMIT = 0.2
TICKS = (-0.2, -0.1, 0.0, 0.1, 0.2)

# Of the column of UAR, in tables of earlier versions and of this one.
UAR_HEADINGS = ('UAR', 'UAR (pooled)')


class Task(NamedTuple):
    """A column of the overview: its title and the sweeps it is read from.

    Each sweep is 'FILE/SWEEP'. A method that the first one lacks is read from the next.
    """

    title: str
    sweeps: tuple[str, ...]


WITHIN = (
    Task('EMO-DB, log-mel', ('forgetting/forgetting_emodb_tdnn', 'log_mel/table_emodb')),
    Task('RAVDESS, log-mel', ('forgetting/forgetting_ravdess_tdnn', 'log_mel/table_ravdess')),
    Task('EMO-DB, Whisper tiny', ('forgetting/forgetting_emodb_tiny', 'whisper/frozen_emodb')),
    Task('RAVDESS, Whisper tiny', ('forgetting/forgetting_ravdess_tiny', 'whisper/frozen_ravdess')),
    Task('EMO-DB, Whisper base', ('forgetting/forgetting_emodb_base',)),
    Task('RAVDESS, Whisper base', ('forgetting/forgetting_ravdess_base',)),
)
ACROSS = (
    Task('EMO-DB to RAVDESS, log-mel', ('log_mel/table_emodb_ravdess',)),
    Task('RAVDESS to EMO-DB, log-mel', ('log_mel/table_ravdess_emodb',)),
    Task('EMO-DB to RAVDESS, Whisper tiny', ('whisper/frozen_emodb_ravdess',)),
    Task('RAVDESS to EMO-DB, Whisper tiny', ('whisper/frozen_ravdess_emodb',)),
    Task('both to URDU, log-mel', ('log_mel/table_emodb+ravdess_urdu',)),
    Task('both to URDU, Whisper tiny', ('whisper/frozen_emodb+ravdess_urdu',)),
)


class Result(NamedTuple):
    """A row of a table of results."""

    coefficient: str
    uar: float
    difference: float | None  # to plain training in UAR
    interval: tuple[float, float] | None  # 95 %, of the difference
    leakage: tuple[float | None, float | None]  # of training and of unseen speakers
    chance: tuple[float | None, float | None]  # of the two
    is_fallback: bool = False  # of a sweep other than the first of the task


class Sweep(NamedTuple):
    """The first table below the heading of a sweep."""

    command: str
    results: dict[str, Result]  # by method; the first coefficient of each


def read_sweep(text: str, name: str) -> Sweep:
    """Returns a sweep of a file that `jaxser.compare` wrote."""
    section = text.partition(f'\n## runs/{name}\n')[2].partition('\n## ')[0]
    if not section:
        raise ValueError(f'There is no sweep runs/{name}.')
    command = re.search(r'`(python -m jaxser\.main [^`]*)`', section)[1]
    lines = section[section.index('\n| ') :].strip().split('\n\n')[0].splitlines()
    headings = split_row(lines[0])
    results = {}
    for line in lines[2:]:
        cells = split_row(line)
        method = cells[headings.index('method')]
        if method not in results:
            results[method] = read_result(headings, cells)
    return Sweep(command, results)


def split_row(line: str) -> list[str]:
    """Returns the cells of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip('|').split('|')]


def read_result(headings: list[str], cells: list[str]) -> Result:
    """Returns a row; the interval of the difference is in the column after it."""
    uar = next((n for n, heading in enumerate(headings) if heading in UAR_HEADINGS), None)
    if uar is None:
        raise ValueError(
            f'The table has no column UAR, but {", ".join(headings)}. The overview compares sweeps '
            'of emotions; those of ratings (CCC) have pages of their own.'
        )
    difference = headings.index('- plain')
    leakages = []
    for heading in ('leakage of training speakers', 'leakage of unseen speakers'):
        cell = cells[headings.index(heading)] if heading in headings else ''
        leakages.append(read_leakage(cell))
    return Result(
        coefficient=cells[headings.index('chosen')],
        uar=float(cells[uar]),
        difference=float(cells[difference]) if cells[difference] else None,
        interval=read_interval(cells[difference + 1]),
        leakage=tuple(recall for recall, _ in leakages),
        chance=tuple(chance for _, chance in leakages),
    )


def read_leakage(cell: str) -> tuple[float | None, float | None]:
    """Returns recall and chance of e.g. '0.413 (MLP) [0.325, 0.501], chance 0.167'."""
    match = re.fullmatch(r'([\d.]+) \(.*chance ([\d.]+)', cell)
    return (float(match[1]), float(match[2])) if match else (None, None)


def read_interval(cell: str) -> tuple[float, float] | None:
    """Returns the ends of e.g. '[-0.004, +0.012]'; None if the cell is empty."""
    numbers = re.findall(r'[-+]?\d+\.\d+', cell)
    return (float(numbers[0]), float(numbers[1])) if numbers else None


def read_task(task: Task) -> tuple[str, dict[str, Result]]:
    """Returns the command of the task's first sweep, and the results by method."""
    command, results = '', {}
    for source in task.sweeps:
        file, _, name = source.partition('/')
        sweep = read_sweep((DOCS / 'results' / f'{file}.md').read_text(), name)
        command = command or sweep.command
        for method, result in sweep.results.items():
            results.setdefault(method, result._replace(is_fallback=source != task.sweeps[0]))
    return command, results


# The tables


def markdown_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = [f'| {" | ".join(headings)} |', '|' + '---|' * len(headings)]
    for row in rows:
        lines.append(f'| {" | ".join(row)} |')
    return lines


def method_title(method: str) -> str:
    """Returns the name of a method as code, and its variant."""
    name, _, variant = method.partition(' ')
    return f'`{name}` {variant}'.strip()


def format_difference(result: Result | None) -> str:
    """Returns the difference, in bold if its interval excludes 0; a * marks the other sweep."""
    if result is None or result.difference is None:
        return ''
    text = f'{result.difference:+.3f}'
    low, high = result.interval or (-1.0, 1.0)
    if low > 0 or high < 0:
        text = f'**{text}**'
    return text + (r' \*' if result.is_fallback else '')


def difference_table(tasks: tuple[Task, ...]) -> list[str]:
    """Returns the table of differences in UAR to plain training, methods by tasks."""
    results_by_task = [read_task(task)[1] for task in tasks]
    plain = ['plain training: UAR']
    plain += [f'{results["erm"].uar:.3f}' for results in results_by_task]
    rows = [plain]
    for method in METHODS:
        cells = [format_difference(results.get(method)) for results in results_by_task]
        if any(cells):
            rows.append([method_title(method), *cells])
    return markdown_table(['', *(task.title for task in tasks)], rows)


def leakage_table(tasks: tuple[Task, ...], which: int) -> list[str]:
    """Returns the table of leakage of training (0) or of unseen speakers (1)."""
    results_by_task = [read_task(task)[1] for task in tasks]
    rows = []
    for method in ('erm', *METHODS):
        cells = []
        for results in results_by_task:
            recall = results[method].leakage[which] if method in results else None
            cells.append('' if recall is None else f'{recall:.3f}')
        if any(cells):
            title = 'plain training' if method == 'erm' else method_title(method)
            rows.append([title, *cells])
    chance = [f'{results["erm"].chance[which]:.3f}' for results in results_by_task]
    rows.append(['chance', *chance])
    return markdown_table(['', *(task.title for task in tasks)], rows)


def command_table(tasks: tuple[Task, ...]) -> list[str]:
    """Returns the table of the commands that gave the figures."""
    rows = []
    for task in tasks:
        command, _ = read_task(task)
        sources = []
        for source in task.sweeps:
            file, _, name = source.partition('/')
            anchor = re.sub(r'[^a-z0-9_]', '', f'runs/{name}'.lower())
            sources.append(f'[{name}]({file}.md#{anchor})')
        rows.append([task.title, f'`{command}`', ', '.join(sources)])
    return markdown_table(['task', 'command', 'tables'], rows)


def overview() -> str:
    """Returns the generated part of the page."""
    lines = ['## Does it raise the UAR?', '', '### Within a corpus', '']
    lines += [FIGURE.format(name='within', tasks='within a corpus'), '']
    lines += difference_table(WITHIN)
    lines += ['', '### Across corpora and languages', '']
    lines += [FIGURE.format(name='across', tasks='across corpora and languages'), '']
    lines += difference_table(ACROSS)
    lines += ['', '## Does it forget the speaker?', '', '### Training speakers', '']
    lines += leakage_table(WITHIN, 0)
    lines += ['', '### Unseen speakers', '', *leakage_table(WITHIN, 1)]
    lines += ['', '## The commands', '', *command_table((*WITHIN, *ACROSS))]
    return '\n'.join(lines)


# The forest plots

WIDTH, PANEL_WIDTH, LABEL_WIDTH = 760, 370, 138
ROW_HEIGHT, HEADER_HEIGHT, FOOTER_HEIGHT = 19, 34, 28
COLOURS = {'gain': '#1f6f3a', 'loss': '#a33a1c', 'open': '#3d4a63'}

STYLE = """\
text { fill: #1b1f2a; font-family: Helvetica, Arial, sans-serif; font-size: 13px; }
.title { font-weight: bold; font-size: 14px; }
.number { text-anchor: middle; fill: #3d4453; font-size: 12px; }
.label { text-anchor: end; }"""


def forest_plot(tasks: tuple[Task, ...]) -> str:
    """Returns an SVG with a panel for each task: the difference of every method, and its interval.

    It has a background of its own, so that it is readable on light and on dark pages.
    """
    panels, y = [], 8
    for first in range(0, len(tasks), 2):
        pair = [draw_panel(task) for task in tasks[first : first + 2]]
        for column, (shapes, _) in enumerate(pair):
            panels.append(f'<g transform="translate({8 + column * PANEL_WIDTH} {y})">{shapes}</g>')
        y += max(height for _, height in pair) + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">\n'
        '<title>Difference to plain training in UAR, with 95 % intervals over speakers</title>\n'
        f'<style>{STYLE}</style>\n'
        f'<rect x="1" y="1" width="{WIDTH - 2}" height="{y - 2}" rx="10" fill="#fcfcff" '
        'stroke="#c5c9d6"/>\n' + '\n'.join(panels) + '\n</svg>\n'
    )


def position(difference: float) -> float:
    """Returns the x of a difference within a panel, at most at the limits of the axis."""
    share = (min(max(difference, -LIMIT), LIMIT) + LIMIT) / (2 * LIMIT)
    return round(LABEL_WIDTH + share * (PANEL_WIDTH - LABEL_WIDTH - 24), 1)


def draw_panel(task: Task) -> tuple[str, int]:
    """Returns the shapes of a panel, and its height."""
    _, results = read_task(task)
    methods = [method for method in METHODS if method in results]
    bottom = HEADER_HEIGHT + ROW_HEIGHT * len(methods)
    shapes = [f'<text class="title" x="8" y="18">{task.title}</text>']
    for tick in TICKS:
        x = position(tick)
        colour = '#1b1f2a' if tick == 0 else '#d9dce5'
        shapes.append(f'<path d="M{x} {HEADER_HEIGHT - 6}V{bottom}" stroke="{colour}"/>')
        label = f'{tick:+.1f}' if tick else '0'
        shapes.append(f'<text class="number" x="{x}" y="{bottom + 16}">{label}</text>')
    for n, method in enumerate(methods):
        y = HEADER_HEIGHT + ROW_HEIGHT * n + 9
        label = method + (' *' if results[method].is_fallback else '')
        shapes.append(f'<text class="label" x="{LABEL_WIDTH - 14}" y="{y + 4}">{label}</text>')
        shapes += draw_estimate(results[method], y)
    return ''.join(shapes), bottom + FOOTER_HEIGHT


def colour_of_interval(low: float, high: float) -> str:
    """Returns the colour of an interval that is above 0, below 0, or includes 0."""
    if low > 0:
        return COLOURS['gain']
    return COLOURS['loss' if high < 0 else 'open']


def draw_estimate(result: Result, y: int) -> list[str]:
    """Returns a point and its interval; an end beyond the axis is an arrow."""
    low, high = result.interval
    colour = colour_of_interval(low, high)
    left, right = position(low), position(high)
    shapes = [f'<path d="M{left} {y}H{right}" stroke="{colour}" stroke-width="2"/>']
    if low < -LIMIT:
        shapes.append(arrow_head(left, y, -7, colour))
    if high > LIMIT:
        shapes.append(arrow_head(right, y, 7, colour))
    if abs(result.difference) <= LIMIT:
        x = position(result.difference)
        shapes.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{colour}"/>')
    return shapes


def arrow_head(x: float, y: int, length: int, colour: str) -> str:
    """Returns a triangle whose tip is `length` to the right of x, or to the left if negative."""
    return f'<path d="M{x} {y - 5}L{x + length} {y}L{x} {y + 5}z" fill="{colour}"/>'


def replace_overview(page: str) -> str:
    """Returns the text of the page with a new overview between the two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f'{before}{BEGIN}\n\n{overview()}\n\n{END}{after}'


def main() -> None:
    """Writes the page and the figures."""
    PAGE.write_text(replace_overview(PAGE.read_text()))
    for name, tasks in {'within': WITHIN, 'across': ACROSS}.items():
        (DOCS / 'figures' / f'overview_{name}.svg').write_text(forest_plot(tasks))


if __name__ == '__main__':
    main()

"""The figures of a sweep, one function each.

`plotting.render_svg` makes a picture of the page from a function, `plotting.render_png` a file. A
picture of the page has one panel, which a phone can show at full size.
"""

import math
import textwrap
from collections.abc import Container
from typing import NamedTuple

import numpy as np

from data_pipelines import labels
from data_pipelines.wording import pluralize
from jaxser.analysis import calibration
from jaxser.analysis.measure import CCC, UAR, Measure
from jaxser.analysis.summary import collect, swept_keys
from jaxser.reporting.formats import folds_of_sweep
from jaxser.reporting.plotting import (
    MAX_COLOURS,
    PANEL_WIDTH,
    PLAIN_COLOUR,
    draw_matrix,
    draw_placeholder,
    legend_below,
    line_styles,
    make_figure,
    row_percentages,
    wide_limits,
)
from jaxser.runs import setting_title, synthetic_note

# Of the legend below a map, in inches; the width of a letter is that of capitals on average.
LEGEND_MARK_WIDTH, LEGEND_LETTER_WIDTH, LEGEND_LINE = 0.6, 0.08, 0.18
MAX_LEGEND_LETTERS = 36
MAX_NAMED_SPEAKERS = 12  # the legend of more speakers could not be read
TRADEOFF_LEGEND_COLUMNS = 2  # per panel
TRADEOFF_PANEL_WIDTH = 5.6  # inches, in files
MAX_COLUMN_LETTERS = 26  # of a name in these columns; longer names are in one column
FOREST_ROWS = 34  # speakers in one panel of the forest plot; more have several panels
LETTER_WIDTH = 0.07  # inches, of names
FOREST_LINE = 0.19  # inches between rows
MIN_FOREST_LIMIT = 0.2  # of the differences of speakers: 0.01 must look small
MIN_CONFUSION_LIMIT = 25.0  # percentage points; one or two must not look large
LEGEND_SIZE = 8.5
ZERO_WIDTH_SPACE = '\u200b'
MAP_DOT_SIZES = (12.0, 40.0)  # of one utterance of very many, and of very few
MAP_DOTS_AREA = 4000.0  # of all utterances together


def draw_confusion_matrices(results: dict):
    """Draws confusion matrices in percent of each true class, one per row of the summary."""
    rows = [row for row in results['summary'] if row['confusion']]
    classes = results['classes']
    if not rows:
        return draw_placeholder()
    columns = min(len(rows), 3)
    lines = -(-len(rows) // columns)
    side = max(3.2, 0.55 * len(classes) + 1.6)
    figure, grid = make_figure(side * columns, side * lines + 0.4, lines, columns)
    for axes, row in zip(grid.flat, rows):
        draw_matrix(axes, row_percentages(row['confusion']), classes, classes)
        names = setting_title(row, swept_keys(row)).split(', ')
        title = '\n'.join(filter(None, [*names, f'UAR {row["uar"]:.3f}']))
        axes.set(xlabel='predicted', ylabel='truth', title=title)
    for axes in figure.axes[len(rows) :]:
        axes.set_axis_off()
    folds = folds_of_sweep(results)
    seeds = pluralize(rows[0]['seeds'], 'seed')
    parts = f'test parts pooled, {folds}, {seeds}'
    title = f'Percent of each true class; {results["protocol"]}, {parts}'
    figure.suptitle('\n'.join(filter(None, (title, synthetic_note(results)))), fontsize=9)
    return figure


def pareto_front(value_N: np.ndarray, leakage_N: np.ndarray) -> np.ndarray:
    """Returns a mask of the points on the Pareto front.

    A point is on the front when no other has at least its value, such as UAR, and at most its
    leakage, and is better in one of them.
    """
    no_worse_NxN = (value_N[None] >= value_N[:, None]) & (leakage_N[None] <= leakage_N[:, None])
    better_NxN = (value_N[None] > value_N[:, None]) | (leakage_N[None] < leakage_N[:, None])
    return ~(no_worse_NxN & better_NxN).any(1)


class Measured(NamedTuple):
    """A figure of N settings with the ends of its intervals; without one, the ends are equal."""

    value_N: np.ndarray
    end_Nx2: np.ndarray

    @classmethod
    def of(cls, values: list[float], intervals: list) -> 'Measured':
        """Returns the values with their intervals, each (low, high) or None."""
        ends = [interval or (value, value) for value, interval in zip(values, intervals)]
        return cls(np.array(values, float), np.array(ends, float))

    @property
    def error_2xN(self) -> np.ndarray:
        """The lengths of the error bars below and above; never negative."""
        value_Nx1 = self.value_N[:, None]
        length_Nx2 = (self.end_Nx2 - value_Nx1) * np.array([-1, 1])
        return np.maximum(length_Nx2, 0).T


def measured_column(rows: list[dict], measure: Measure) -> Measured:
    """Returns a measure of rows of the summary with its intervals."""
    return Measured.of(collect(rows, measure.key), collect(rows, f'{measure.key}_ci95'))


class TradeoffPanel(NamedTuple):
    """Leakage of one kind of speakers, of all settings, for the figure of UAR against leakage."""

    title: str
    leakage: Measured
    chance: float | None  # None if the settings have several
    input_leakage: float | None  # likewise, or if it was not measured


def draw_tradeoff(
    names: list[str],
    plain_N: np.ndarray,
    measured: Measured,
    panels: list[TradeoffPanel],
    panel_width: float = TRADEOFF_PANEL_WIDTH,
    measure: Measure = UAR,
):
    """Draws a measure against leakage, a point per setting, and the Pareto front, in each panel.

    Settings that are plain training, marked by the mask `plain_N`, are black. All others have a
    colour of their own; if there are many, those that are on no front are grey.
    """
    front_PxN = np.array([pareto_front(measured.value_N, p.leakage.value_N) for p in panels])
    coloured_N = ~plain_N
    if coloured_N.sum() > MAX_COLOURS:
        coloured_N &= front_PxN.any(0)
    coloured = [names[n] for n in np.flatnonzero(coloured_N)]
    styles = line_styles(coloured, ())
    colours = []
    for name, is_plain in zip(names, plain_N):
        colour = styles[name]['color'] if name in styles else 'grey'
        colours.append(PLAIN_COLOUR if is_plain else colour)
    # Besides the settings: plain training, Pareto front, chance and the input.
    longest = max(map(len, coloured), default=0)
    legend_columns = TRADEOFF_LEGEND_COLUMNS if longest <= MAX_COLUMN_LETTERS else 1
    legend_columns *= len(panels)
    legend_rows = math.ceil((len(coloured) + 4) / legend_columns)
    height = 0.8 * panel_width + 0.2 * legend_rows
    figure, grid = make_figure(panel_width * len(panels), height, 1, len(panels))
    for axes, panel, front_N in zip(grid.flat, panels, front_PxN):
        _draw_tradeoff_panel(axes, colours, measured, panel, front_N)
        axes.set_ylabel(f'{measure.title}, folds pooled')
        ends = (measured.end_Nx2.min(), measured.end_Nx2.max())
        axes.set_ylim(wide_limits(*ends, least=measure.low))
    first = grid[0, 0]
    if np.any(plain_N):
        first.scatter([], [], color=PLAIN_COLOUR, label='plain training')
    for name in coloured:
        first.scatter([], [], color=[styles[name]['color']], label=name)
    handles = {}
    for axes in grid.flat:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(
        handles.values(),
        handles.keys(),
        fontsize=LEGEND_SIZE,
        loc='outside lower center',
        ncols=legend_columns,
        frameon=False,
    )
    return figure


def _draw_tradeoff_panel(
    axes, colours: list, measured: Measured, panel: TradeoffPanel, front_N: np.ndarray
) -> None:
    value_N, leakage_N = measured.value_N, panel.leakage.value_N
    axes.scatter(leakage_N, value_N, color=colours, zorder=3)
    axes.errorbar(
        leakage_N,
        value_N,
        measured.error_2xN,
        panel.leakage.error_2xN,
        fmt='none',
        ecolor=colours,
        elinewidth=0.8,
        alpha=0.5,
        zorder=1,
    )
    order = np.flatnonzero(front_N)[np.argsort(leakage_N[front_N])]
    if len(order) > 1:
        axes.plot(
            leakage_N[order],
            value_N[order],
            color='grey',
            alpha=0.5,
            drawstyle='steps-post',
            label='Pareto front',
        )
    if panel.chance is not None:
        axes.axvline(panel.chance, color='grey', linestyle=':', label='chance')
    if panel.input_leakage is not None:
        label = 'from the input alone'
        axes.axvline(panel.input_leakage, color='grey', linestyle='--', label=label)
    axes.set(
        title=panel.title,
        xlabel='leakage: recall of the strongest attacker',
        xlim=(0, 1.05),
    )


class ForestRow(NamedTuple):
    """A row of a forest plot: a difference with its interval, which may be missing."""

    name: str
    value: float
    ci95: tuple[float, float] | None
    is_summary: bool = False  # of all other rows
    is_hollow: bool = False  # its interval counts only before a correction for many rows


class ForestAxis(NamedTuple):
    """What the panels of a forest plot have in common, so that their points can be compared."""

    label: str
    limit: float  # the axis reaches from -limit to limit
    letters: int  # of the longest name

    @classmethod
    def of(cls, label: str, rows: list[ForestRow]) -> 'ForestAxis':
        """Returns the axis on which all rows can be drawn; it is symmetric around 0."""
        limit, letters = MIN_FOREST_LIMIT, 0
        for row in rows:
            limit = max(limit, *map(abs, (row.value, *(row.ci95 or ()))))
            letters = max(letters, *map(len, row.name.splitlines()))
        return cls(label, 1.05 * limit, letters)


def draw_forest_plot(rows: list[ForestRow], axis: ForestAxis, title: str = ''):
    """Draws differences with their intervals, the first row at the top.

    A row is coloured if its interval excludes 0: blue is a gain, orange a loss. A row that is a
    summary of all others is a diamond.
    """
    above, below = (0.3 if title else 0.08), 0.48  # inches outside the axes
    height = above + below + FOREST_LINE * sum(len(row.name.splitlines()) for row in rows)
    figure, ((axes,),) = make_figure(PANEL_WIDTH, height)
    figure.set_layout_engine(None)
    left = (0.25 + LETTER_WIDTH * axis.letters) / PANEL_WIDTH
    edges = {'left': left, 'right': 0.97, 'top': 1 - above / height, 'bottom': below / height}
    figure.subplots_adjust(**edges)
    figure.supxlabel(axis.label, fontsize=LEGEND_SIZE, y=0.04 / height)
    y, ticks = 0.0, []
    for row in rows:
        lines = len(row.name.splitlines())
        ticks.append(y + lines / 2)
        _draw_forest_row(axes, row, ticks[-1])
        y += lines
    axes.axvline(0, color='grey', linewidth=0.8, zorder=0)
    axes.set_yticks(ticks, [row.name for row in rows], fontsize=LEGEND_SIZE)
    axes.set(xlim=(-axis.limit, axis.limit), ylim=(y, 0), title=title)
    axes.grid(axis='x', color='0.9')
    axes.set_axisbelow(True)
    return figure


def _draw_forest_row(axes, row: ForestRow, y: float) -> None:
    low, high = row.ci95 or (row.value, row.value)
    colour = '0.35'
    if row.ci95 and low > 0:
        colour = 'C0'
    elif row.ci95 and high < 0:
        colour = 'C1'
    error_2x1 = np.maximum([[row.value - low], [high - row.value]], 0)
    style = {'marker': 'o', 'markersize': 4}
    if row.is_summary:
        style = {'marker': 'D', 'markersize': 5, 'linewidth': 2}
    if row.is_hollow:
        style |= {'markerfacecolor': 'white', 'zorder': 3}
    axes.errorbar([row.value], [y], xerr=error_2x1, color=colour, **style)


def draw_training_metric(
    metric: str,
    curves: dict[str, dict[str, list]],
    entropy: dict[str, float],
    highlighted: list[str],
    plain: Container[str],
):
    """Draws a metric of every setting: {setting: {metric: a mean per epoch}}.

    Settings in `highlighted` are in the legend, others are light grey; those in `plain` are plain
    training. `entropy` is that of each domain, the loss of a head that only guesses.
    """
    styles = line_styles(highlighted, plain)
    figure, ((axes,),) = make_figure(PANEL_WIDTH, 2.6 + 0.17 * len(styles))
    # The highlighted ones last, so that they lie over the others.
    for name in sorted(curves, key=lambda name: name in styles):
        value_E = np.array(curves[name].get(metric, []), float)
        if not np.isfinite(value_E).any():
            continue
        style = {'color': 'lightgrey', 'linewidth': 0.8}
        if name in styles:
            style = styles[name] | {'label': name}
        axes.plot(np.arange(len(value_E)) + 1, value_E, **style)
    domain = metric.removesuffix('_loss')
    if domain in entropy:
        label = f'{domain} entropy: guessing'
        axes.axhline(entropy[domain], color='grey', linestyle=':', label=label)
    title = metric.replace('_', ' ').replace('uar', UAR.title).replace('ccc', CCC.title)
    axes.set(title=title, xlabel='epoch')
    axes.xaxis.get_major_locator().set_params(integer=True)
    if metric.endswith('uar'):
        axes.set_ylim(0, 1.02)
    elif metric.endswith('ccc'):
        axes.set_ylim(min(axes.dataLim.y0, 0), 1.02)
    else:
        axes.set_ylim(bottom=0)
    legend_below(figure)
    return figure


def training_metrics(curves: dict[str, dict[str, list]]) -> list[str]:
    """Returns the metrics that any setting has."""
    metrics: dict[str, None] = {}
    for setting in curves.values():
        metrics |= dict.fromkeys(setting)
    return list(metrics)


def draw_confusion_matrix(count_CxC, classes: list[str], title: str):
    """Draws a confusion matrix in percent of each true class."""
    figure, axes = _matrix_figure(classes)
    draw_matrix(axes, row_percentages(count_CxC), classes, classes)
    axes.set(xlabel='predicted', ylabel='truth', title='\n'.join(textwrap.wrap(title, 36)))
    return figure


def draw_confusion_difference(best_CxC, plain_CxC, classes: list[str]):
    """Draws the difference of two confusion matrices, in percentage points.

    The colours say better (blue: more correct or fewer wrong predictions) or worse (red).
    """
    figure, axes = _matrix_figure(classes)
    difference_CxC = row_percentages(best_CxC) - row_percentages(plain_CxC)
    # More predictions are better on the diagonal and worse elsewhere.
    benefit_CxC = np.where(np.eye(len(classes), dtype=bool), difference_CxC, -difference_CxC)
    limit = max(np.nanmax(np.abs(difference_CxC)), MIN_CONFUSION_LIMIT)
    draw_matrix(
        axes,
        difference_CxC,
        classes,
        classes,
        number_format='+z.0f',
        low=-limit,
        high=limit,
        cmap='RdBu',
        colour_CxC=benefit_CxC,
    )
    axes.set(xlabel='predicted', ylabel='truth', title='difference (blue: better, red: worse)')
    return figure


def _matrix_figure(classes: list[str]):
    """Returns a figure for a matrix of classes, and its axes."""
    side = min(max(3.2, 0.42 * len(classes) + 1.3), 6.0)
    figure, ((axes,),) = make_figure(min(side, PANEL_WIDTH + 1), side)
    return figure, axes


class RepresentationMap(NamedTuple):
    """The representations of utterances in two dimensions, with the labels for their colours."""

    position_Nx2: np.ndarray
    target_N: np.ndarray  # the emotion, or the third of the scale of the first rating
    speaker_N: np.ndarray
    tested_N: np.ndarray  # whether an utterance is in the test part


def draw_representation_map(
    representation: RepresentationMap, title: str, by: str, target: str = 'emotion'
):
    """Draws a map coloured by what is predicted or by speaker; test utterances as crosses.

    `by` is 'speaker' or `target`, the name of what is predicted.
    """
    label_N = representation.speaker_N if by == 'speaker' else representation.target_N
    longest = max(map(len, np.unique(label_N).tolist()), default=0)
    width = LEGEND_MARK_WIDTH + LEGEND_LETTER_WIDTH * min(longest, MAX_LEGEND_LETTERS)
    columns = int(np.clip(PANEL_WIDTH / width, 1, 4))
    rows = min(len(np.unique(label_N)), MAX_NAMED_SPEAKERS) / columns
    figure, ((axes,),) = make_figure(PANEL_WIDTH, 3.7 + LEGEND_LINE * np.ceil(rows))
    _draw_map(axes, representation, label_N)
    title = '\n'.join(textwrap.wrap(title, 40))
    axes.set(title=f'{title}\nby {by}', xticks=[], yticks=[])
    _, names = axes.get_legend_handles_labels()
    if len(names) <= MAX_NAMED_SPEAKERS:
        legend_below(figure, columns)
    return figure


def _draw_map(axes, representation: RepresentationMap, label_N: np.ndarray) -> None:
    """Draws the utterances of a representation in the colours of their labels."""
    import matplotlib

    values = labels.in_order(np.unique(label_N).tolist())
    few = len(values) <= MAX_COLOURS
    size = np.clip(MAP_DOTS_AREA / len(label_N), *MAP_DOT_SIZES)
    colours = matplotlib.colormaps['tab10' if few else 'turbo']
    for k, value in enumerate(values):
        style = {'s': size, 'c': [colours(k if few else k / len(values))], 'linewidths': 0.8}
        trained = (label_N == value) & ~representation.tested_N
        tested = (label_N == value) & representation.tested_N
        axes.scatter(
            *representation.position_Nx2[trained].T, marker='o', label=_legend_label(value), **style
        )
        axes.scatter(*representation.position_Nx2[tested].T, marker='x', **style)


def _legend_label(name: str) -> str:
    """Returns a name that matplotlib does not leave out of the legend, as it does with '_a'.

    Of a long one, the end is left out.
    """
    if len(name) > MAX_LEGEND_LETTERS:
        name = f'{name[: MAX_LEGEND_LETTERS - 1]}…'
    return f'{ZERO_WIDTH_SPACE}{name}' if name.startswith('_') else name


def draw_reliability_diagram(
    reliabilities: dict[str, calibration.Reliability], plain: Container[str]
):
    """Draws accuracy against confidence with 95 % intervals; on the diagonal they are equal."""
    figure, ((axes,),) = make_figure(PANEL_WIDTH, 3.6 + 0.17 * len(reliabilities))
    axes.plot([0, 1], [0, 1], color='grey', linestyle=':', label='calibrated')
    styles = line_styles(list(reliabilities), plain)
    for name, bins in reliabilities.items():
        label = f'{name}: ECE {bins.expected_error:.3f}'
        accuracy = Measured.of(bins.accuracy_B, calibration.wilson_intervals(bins))
        axes.errorbar(
            bins.confidence_B,
            bins.accuracy_B,
            accuracy.error_2xN,
            marker='o',
            markersize=4,
            elinewidth=0.8,
            label=label,
            **styles[name],
        )
    axes.set(xlabel='confidence', ylabel='accuracy', xlim=(0, 1.03), ylim=(-0.03, 1.03))
    legend_below(figure)
    return figure


def draw_confidence_counts(
    reliabilities: dict[str, calibration.Reliability], plain: Container[str]
):
    """Draws how many predictions are in each bin of the reliability diagram, as numbers too."""
    figure, grid = make_figure(PANEL_WIDTH, 0.6 + 1.5 * len(reliabilities), len(reliabilities))
    styles = line_styles(list(reliabilities), plain)
    for axes, (name, bins) in zip(grid.flat, reliabilities.items()):
        left_B = bins.start_B
        width = 1 / calibration.BIN_COUNT
        bars = axes.bar(
            left_B, bins.count_B, 0.9 * width, align='edge', color=styles[name]['color'], alpha=0.6
        )
        axes.bar_label(bars, fontsize=7.5, rotation=90, padding=2)
        axes.set(xlim=(0, 1.03), ylim=(0, 1.45 * bins.count_B.max()), yticks=[])
        axes.set(ylabel='predictions')
        axes.set_title('\n'.join(textwrap.wrap(name, 44)))
    grid[-1, 0].set_xlabel('confidence')
    return figure


def draw_heatmap(
    values,
    rows: list[str],
    columns: list[str],
    axis_labels: tuple[str, str],
    chance: float,
    title: str = 'UAR',
):
    """Draws a measure of every row in every column; NaN where it was not measured.

    `axis_labels` are those of the rows and of the columns.
    """
    longest = max(map(len, rows))
    width = max(3.6, 0.62 * len(columns) + 0.075 * longest + 1.0)
    height = max(2.6, 0.55 * len(rows) + 1.8)
    figure, ((axes,),) = make_figure(width, height)
    draw_matrix(axes, values, rows, columns, '.3f', chance, 1.0)
    axes.set(ylabel=axis_labels[0], xlabel=axis_labels[1], title=title)
    return figure

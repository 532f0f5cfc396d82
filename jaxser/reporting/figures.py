"""The figures of a sweep, one function each; `plotting.render_png` makes a PNG file of one."""

import math
import textwrap
from collections.abc import Container
from typing import NamedTuple

import numpy as np

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap, calibration
from jaxser.analysis.summary import swept_keys
from jaxser.reporting.formats import folds_of_sweep
from jaxser.reporting.plotting import (
    MAX_COLOURS,
    PLAIN_COLOUR,
    add_legend,
    draw_matrix,
    draw_placeholder,
    line_styles,
    make_figure,
    row_percentages,
)
from jaxser.runs import setting_title, synthetic_note

MAX_NAMED_SPEAKERS = 12  # the legend of more speakers could not be read
MAX_LABELLED_SPEAKERS = 100  # on the axis of the forest plot
TRADEOFF_LEGEND_COLUMNS = 4


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


def pareto_front(uar_N: np.ndarray, leakage_N: np.ndarray) -> np.ndarray:
    """Returns a mask of the points on the Pareto front.

    A point is on the front when no other has at least its UAR and at most its leakage, and is
    better in one of them.
    """
    no_worse_NxN = (uar_N[None] >= uar_N[:, None]) & (leakage_N[None] <= leakage_N[:, None])
    better_NxN = (uar_N[None] > uar_N[:, None]) | (leakage_N[None] < leakage_N[:, None])
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


class TradeoffPanel(NamedTuple):
    """Leakage of one kind of speakers, of all settings, for the figure of UAR against leakage."""

    title: str
    leakage: Measured
    chance: float | None  # None if the settings have several
    input_leakage: float | None  # likewise, or if it was not measured


def draw_tradeoff(
    names: list[str], plain_N: np.ndarray, uar: Measured, panels: list[TradeoffPanel]
):
    """Draws UAR against leakage, a point per setting, and the Pareto front, in each panel.

    Settings that are plain training, marked by the mask `plain_N`, are black. All others have a
    colour of their own; if there are many, those that are on no front are grey.
    """
    front_PxN = np.array([pareto_front(uar.value_N, p.leakage.value_N) for p in panels])
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
    legend_rows = math.ceil((len(coloured) + 4) / TRADEOFF_LEGEND_COLUMNS)
    height = 4.4 + 0.2 * legend_rows
    figure, grid = make_figure(max(5.6 * len(panels), 7), height, 1, len(panels))
    for axes, panel, front_N in zip(grid.flat, panels, front_PxN):
        _draw_tradeoff_panel(axes, colours, uar, panel, front_N)
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
        fontsize=8,
        loc='outside lower center',
        ncols=TRADEOFF_LEGEND_COLUMNS,
    )
    return figure


def _draw_tradeoff_panel(
    axes, colours: list, uar: Measured, panel: TradeoffPanel, front_N: np.ndarray
) -> None:
    uar_N, leakage_N = uar.value_N, panel.leakage.value_N
    axes.scatter(leakage_N, uar_N, color=colours, zorder=3)
    axes.errorbar(
        leakage_N,
        uar_N,
        uar.error_2xN,
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
            uar_N[order],
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
        ylabel='UAR, folds pooled',
        xlim=(0, 1.05),
    )
    low, high = uar.end_Nx2.min(), uar.end_Nx2.max()
    margin = 0.1 * max(high - low, 0.02)  # a difference of 0.01 or 0.02 must not look large
    axes.set_ylim(low - margin, high + margin)


def draw_forest_plot(names: list[str], difference_ZxS: np.ndarray, overall: bootstrap.Estimate):
    """Draws each speaker's difference to plain training, and the overall one with its interval.

    Shapes: Z seeds, S speakers. A speaker's point is the mean over seeds, and the bar their range.
    """
    speakers = len(names)
    figure, ((axes,),) = make_figure(5.6, min(1.4 + 0.24 * speakers, 16))
    mean_S = difference_ZxS.mean(0)
    order_S = np.argsort(mean_S)
    y_S = np.arange(speakers) + 1
    low_S, high_S = difference_ZxS.min(0), difference_ZxS.max(0)
    axes.hlines(y_S, low_S[order_S], high_S[order_S], color='C0', alpha=0.4)
    axes.plot(mean_S[order_S], y_S, 'o', color='C0', markersize=4)
    axes.axvline(0, color='grey', linewidth=0.8)
    overall_label = 'all'
    if overall.ci95:
        axes.hlines(0, *overall.ci95, color='black', linewidth=2)
        overall_label = 'all, 95 %'
    axes.plot(overall.value, 0, 'D', color='black')
    labels = [''] * speakers  # so many could not be read; the table has them
    if speakers <= MAX_LABELLED_SPEAKERS:
        labels = [names[n] for n in order_S]
    size = 8 if speakers < 50 else 5
    axes.set_yticks(range(speakers + 1), [overall_label, *labels], fontsize=size)
    bars = '; bars: range over seeds' if len(difference_ZxS) > 1 else ''
    axes.set(
        xlabel=f'UAR minus that of plain training, folds pooled{bars}', ylim=(-0.8, speakers + 0.8)
    )
    return figure


def draw_training_curves(
    curves: dict[str, dict[str, list]],
    entropy: dict[str, float],
    highlighted: list[str],
    plain: Container[str],
):
    """Draws the training of every setting: {setting: {metric: a mean per epoch}}.

    Settings in `highlighted` are in the legend, others are light grey; those in `plain` are plain
    training. `entropy` is that of each domain, the loss of a head that only guesses.
    """
    metrics = []
    for setting in curves.values():
        metrics += [metric for metric in setting if metric not in metrics]
    figure, grid = make_figure(5.6, 2.3 * len(metrics) + 0.5, len(metrics))
    styles = line_styles(highlighted, plain)
    # The highlighted ones last, so that they lie over the others.
    names = sorted(curves, key=lambda name: name in styles)
    for axes, metric in zip(grid.flat, metrics):
        for name in names:
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
        axes.set_ylabel(metric.replace('_', ' ').replace('uar', 'UAR'))
        add_legend(axes, 7)
    grid[-1, 0].set_xlabel('epoch')
    return figure


def draw_confusion_difference(best, plain, names: tuple[str, str], classes: list[str]):
    """Draws two confusion matrices in percent of each true class, and their difference."""
    side = max(3.2, 0.5 * len(classes) + 1.6)
    figure, ((best_axes, plain_axes, difference_axes),) = make_figure(3 * side, side + 0.3, 1, 3)
    for axes, count, name in ((best_axes, best, names[0]), (plain_axes, plain, names[1])):
        draw_matrix(axes, row_percentages(count), classes, classes)
        axes.set(xlabel='predicted', ylabel='truth', title='\n'.join(textwrap.wrap(name, 28)))
    difference = row_percentages(best) - row_percentages(plain)
    limit = max(np.nanmax(np.abs(difference)), 10.0)  # one or two points must not look large
    draw_matrix(difference_axes, difference, classes, classes, '+.0f', -limit, limit, 'RdBu')
    difference_axes.set(xlabel='predicted', ylabel='truth', title='difference')
    return figure


class RepresentationMap(NamedTuple):
    """The representations of utterances in two dimensions, with the labels for their colours."""

    position_Nx2: np.ndarray
    emotion_N: np.ndarray
    speaker_N: np.ndarray
    tested_N: np.ndarray  # whether an utterance is in the test part


def draw_representation_maps(maps: dict[str, RepresentationMap]):
    """Draws the maps of several settings, by emotion and by speaker; test utterances as crosses."""
    figure, grid = make_figure(4.2 * len(maps), 8.6, 2, len(maps))
    for n, (name, representation) in enumerate(maps.items()):
        _draw_map(grid[0, n], representation, representation.emotion_N)
        grid[0, n].set(title=f'{name}\nby emotion', xticks=[], yticks=[])
        _draw_map(grid[1, n], representation, representation.speaker_N)
        grid[1, n].set(title=f'{name}\nby speaker', xticks=[], yticks=[])
    return figure


def _draw_map(axes, representation: RepresentationMap, label_N: np.ndarray) -> None:
    """Draws the utterances of a representation in the colours of their labels."""
    import matplotlib

    values, index_N = np.unique(label_N, return_inverse=True)
    few = len(values) <= MAX_COLOURS
    colours = matplotlib.colormaps['tab10' if few else 'turbo']
    for k, value in enumerate(values.tolist()):
        style = {'s': 9, 'c': [colours(k if few else k / len(values))], 'linewidths': 0.8}
        trained = (index_N == k) & ~representation.tested_N
        tested = (index_N == k) & representation.tested_N
        axes.scatter(*representation.position_Nx2[trained].T, marker='o', label=value, **style)
        axes.scatter(*representation.position_Nx2[tested].T, marker='x', **style)
    if len(values) <= MAX_NAMED_SPEAKERS:
        add_legend(axes, 6)


def draw_reliability_diagram(
    reliabilities: dict[str, calibration.Reliability], plain: Container[str]
):
    """Draws accuracy against confidence, a line per setting; on the diagonal they are equal."""
    figure, ((axes,),) = make_figure(5.2, 4.6)
    axes.plot([0, 1], [0, 1], color='grey', linestyle=':', label='calibrated')
    styles = line_styles(list(reliabilities), plain)
    for name, bins in reliabilities.items():
        label = f'{name}: ECE {bins.expected_error:.3f}'
        axes.plot(bins.confidence_B, bins.accuracy_B, **styles[name], label=label)
        area_B = 10 + 400 * bins.share_B
        colour = styles[name]['color']
        axes.scatter(bins.confidence_B, bins.accuracy_B, s=area_B, color=colour, alpha=0.6)
    axes.set(
        xlabel='confidence',
        ylabel='accuracy; areas: share of utterances',
        xlim=(0, 1.03),
        ylim=(-0.03, 1.03),
    )
    add_legend(axes, 8)
    return figure


def draw_heatmap(
    values,
    rows: list[str],
    columns: list[str],
    axis_labels: tuple[str, str],
    chance: float,
    title: str = 'UAR',
):
    """Draws the UAR of every row in every column; NaN where it was not measured.

    `axis_labels` are those of the rows and of the columns.
    """
    width = max(3.6, 0.8 * len(columns) + 2.6)
    height = max(2.6, 0.55 * len(rows) + 1.8)
    figure, ((axes,),) = make_figure(width, height)
    high = max(np.nanmax(values), chance + 0.01)
    draw_matrix(axes, values, rows, columns, '.3f', chance, high)
    axes.set(ylabel=axis_labels[0], xlabel=axis_labels[1], title=title)
    return figure

"""The figure of the leakage of several methods, a row each, beside plain training."""

import textwrap
from typing import NamedTuple

import numpy as np

from jaxser.reporting.figures import FOREST_LINE, LEGEND_SIZE
from jaxser.reporting.plotting import PANEL_WIDTH, PLAIN_COLOUR, legend_below, make_figure

# Of the first question, such as training speakers, and of the second, such as unseen speakers.
MARKERS = ({'marker': 'o'}, {'marker': 's', 'markerfacecolor': 'white'})
SHIFTS = (-0.17, 0.17)  # rows; so that the points of a row do not cover each other
LEGEND_HEIGHT = 0.75  # inches below the axes, with their label


class LeakageRow(NamedTuple):
    """A method with the recall of the strongest attacker by question, and its interval or None."""

    name: str
    is_plain: bool
    recalls: dict[str, tuple[float, tuple[float, float] | None]]


def draw_leakage_rows(rows: list[LeakageRow], chances: dict[str, float], title: str):
    """Draws leakage from 0 to 1, the first row at the top; plain training is black.

    `chances` is the recall of guessing, by question, where it is the same for all rows.
    """
    lines = [len(row.name.splitlines()) for row in rows]
    height = 0.3 + LEGEND_HEIGHT + FOREST_LINE * 1.2 * sum(lines)
    figure, ((axes,),) = make_figure(PANEL_WIDTH, height)
    y_N = np.cumsum(lines) - np.array(lines) / 2
    labelled = set()
    for row, y in zip(rows, y_N):
        for question, shift, style in zip(row.recalls, SHIFTS, MARKERS):
            label = None if row.is_plain or question in labelled else question
            labelled.add(label)
            _draw_recall(axes, row, question, y + shift, style | {'label': label})
    for question, chance in chances.items():
        style = ':' if question == next(iter(chances)) else '-.'
        label = f'chance, {question}'
        axes.axvline(chance, color='grey', linestyle=style, label=label, zorder=0)
    axes.set_yticks(y_N, [row.name for row in rows], fontsize=LEGEND_SIZE)
    axes.set(xlim=(0, 1), ylim=(sum(lines), 0), title='\n'.join(textwrap.wrap(title, 44)))
    axes.set_xlabel('leakage: recall of the strongest attacker', fontsize=LEGEND_SIZE)
    axes.grid(axis='x', color='0.9')
    axes.set_axisbelow(True)
    legend_below(figure, columns=2, size=LEGEND_SIZE)
    return figure


def _draw_recall(axes, row: LeakageRow, question: str, y: float, style: dict) -> None:
    value, ci95 = row.recalls[question]
    low, high = ci95 or (value, value)
    error_2x1 = np.maximum([[value - low], [high - value]], 0)
    colour = PLAIN_COLOUR if row.is_plain else 'C0'
    axes.errorbar([value], [y], xerr=error_2x1, color=colour, markersize=4.5, linewidth=1, **style)

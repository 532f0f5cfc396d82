"""Functions that all figures use: styles, matrices, legends, limits, and PNG and SVG files.

Matplotlib takes a second to import, so it is imported where a figure is drawn.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

import numpy as np

from jaxser.analysis import summary
from jaxser.runs import method_name

# The size of a panel of the page in inches. A phone (390 pixels) shows it at nearly full size.
PANEL_WIDTH = 4.0
PANEL_HEIGHT = 3.2
PIXELS_PER_INCH = 96
MIN_SPAN = 0.3  # of an axis of UAR or CCC: a difference of 0.01 must look small

MAX_COLOURS = 10  # settings with a colour of their own
PLAIN_COLOUR = 'black'  # only of plain training
PLAIN_DOT = {'color': PLAIN_COLOUR, 'zorder': 4}  # over the line of its method, at lam = 0
# Without C7, the grey of reference lines.
DISTINCT_COLOURS = ('C0', 'C1', 'C2', 'C3', 'C4', 'C5', 'C6', 'C8', 'C9')
NO_FIGURE_TEXT = 'In every setting a fold diverged in every seed:\nthere is nothing to draw.'


class Drawing(NamedTuple):
    """A figure as SVG, with its size in CSS pixels."""

    svg: str
    width: int
    height: int


def render_png(draw: Callable, *arguments) -> bytes:
    """Returns the figure that `draw(*arguments)` makes as a PNG file.

    Names in it are never read as formulas, and may be in any script.
    """
    content = io.BytesIO()
    with _names_as_they_are():
        draw(*arguments).savefig(content, dpi=110, bbox_inches='tight', format='png')
    return content.getvalue()


def render_svg(draw: Callable, *arguments) -> Drawing:
    """Returns the figure that `draw(*arguments)` makes as SVG, always the same for the same data.

    Its text is text: the reader's browser has letters that matplotlib's font lacks.
    """
    content = io.StringIO()
    with _names_as_they_are(), _small_text():
        figure = draw(*arguments)
        figure.savefig(content, format='svg', metadata={'Date': None})
        width, height = figure.get_size_inches() * PIXELS_PER_INCH
    return Drawing(content.getvalue(), round(width), round(height))


@contextlib.contextmanager
def _names_as_they_are() -> Iterator[None]:
    """Names in figures are never read as formulas, and may be in any script."""
    import matplotlib

    with matplotlib.rc_context({'text.parse_math': False}), warnings.catch_warnings():
        # A letter that the font lacks is an empty box in the figure; the tables have the name.
        warnings.filterwarnings('ignore', 'Glyph .* missing')
        yield


def _small_text():
    """Returns the context of a figure for the page: text and lines that fit a panel."""
    import matplotlib

    return matplotlib.rc_context(
        {
            'svg.fonttype': 'none',
            'svg.hashsalt': 'jaxser',
            'font.size': 9.5,
            'axes.titlesize': 10,
            'axes.spines.top': False,
            'axes.spines.right': False,
        }
    )


def wide_limits(
    low: float, high: float, span: float = MIN_SPAN, least: float = 0.0
) -> tuple[float, float]:
    """Returns limits around values from `low` to `high`, at least `span` apart.

    They stay from `least`, the lowest possible value, to a little above 1, the highest one.
    """
    missing = max(span - (high - low), 0.1 * (high - low))
    low, high = low - missing / 2, high + missing / 2
    if high > 1:
        low, high = low - (high - 1), 1.0
    if low < least:
        low, high = least, high - (low - least)
    return max(low, least), min(high, 1.02)


def make_figure(width: float, height: float, rows: int = 1, columns: int = 1):
    """Returns a figure, its size in inches, and its axes, an array of shape (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False)


def draw_placeholder():
    """Draws the figure of a sweep in which no setting has all its folds."""
    figure, ((axes,),) = make_figure(5.6, 1.6)
    axes.set_axis_off()
    axes.text(0.5, 0.5, NO_FIGURE_TEXT, ha='center', va='center', transform=axes.transAxes)
    return figure


def line_styles(names: list[str], plain: Container[str]) -> dict[str, dict]:
    """Returns the matplotlib keywords of every setting's line.

    Settings in `plain` are plain training: they are black and differ by their dashes. All others
    have different colours, however many there are, and none of them is black or grey.
    """
    plain_names, other_names = [], []
    for name in names:
        if name in plain:
            plain_names.append(name)
        else:
            other_names.append(name)
    styles = {}
    for name, colour in zip(other_names, _colours(len(other_names))):
        styles[name] = {'color': colour}
    for n, name in enumerate(plain_names):
        styles[name] = {'color': PLAIN_COLOUR, 'linestyle': (0, (4, 2, *([1, 2] * n)))}
    return styles


def _colours(count: int) -> list:
    """Returns distinct colours (up to 200 of them), neither black nor grey."""
    if count <= len(DISTINCT_COLOURS):
        return list(DISTINCT_COLOURS[:count])
    import matplotlib

    return list(matplotlib.colormaps['turbo'](np.linspace(0.1, 0.95, count)))


def is_plain(results: dict, row: dict) -> bool:
    """Whether a row of the summary is plain training: erm, or an adversary at lam = 0."""
    method = {'method': results['method'].partition(' ')[0], 'speaker_norm': 'tap'}
    return method_name(method | row) in summary.PLAIN_METHODS


def add_legend(axes, size: int) -> None:
    """Adds a legend if anything has a label; matplotlib ignores labels that begin with '_'."""
    _, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(fontsize=size)


def row_percentages(count_CxC) -> np.ndarray:
    """Returns a confusion matrix in percent of each true class; NaN for an absent class."""
    count_CxC = np.array(count_CxC)
    truth_Cx1 = count_CxC.sum(1, keepdims=True)
    return 100 * count_CxC / np.where(truth_Cx1, truth_Cx1, np.nan)


def draw_matrix(
    axes,
    values,
    rows: list[str],
    columns: list[str],
    number_format: str = '.0f',
    low: float = 0.0,
    high: float = 100.0,
    cmap: str = 'Blues',
    colour_CxC=None,
) -> None:
    """Draws numbers on colours; cells that are NaN stay white.

    The colours are those of the numbers, or of `colour_CxC`.
    """
    values = np.array(values, float)
    colours = values if colour_CxC is None else np.array(colour_CxC, float)
    image = _draw_cells(axes, colours, low, high, cmap)
    size = min(10.0, 80 / max(values.shape))
    for i, j in zip(*np.nonzero(np.isfinite(values))):
        is_dark = sum(image.cmap(image.norm(colours[i, j]))[:3]) < 1.5
        colour = 'white' if is_dark else 'black'
        text = f'{values[i, j]:{number_format}}'
        axes.text(j, i, text, ha='center', va='center', color=colour, fontsize=size)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha='right')
    axes.set_yticks(range(len(rows)), rows)


def _draw_cells(axes, values: np.ndarray, low: float, high: float, cmap: str):
    """Draws the cells of a matrix as shapes, which stay sharp at any size; returns them."""
    edges_i, edges_j = (np.arange(length + 1) - 0.5 for length in values.shape)
    cells = axes.pcolormesh(edges_j, edges_i, values, vmin=low, vmax=high, cmap=cmap)
    axes.set(aspect='equal', ylim=(edges_i[-1], edges_i[0]))
    return cells


def legend_below(figure, columns: int = 1, size: float = 8.5) -> None:
    """Adds the legend of the figure's axes below them, where it covers nothing."""
    handles = {}
    for axes in figure.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    if handles:
        figure.legend(
            handles.values(),
            handles.keys(),
            fontsize=size,
            loc='outside lower center',
            ncols=columns,
            frameon=False,
        )

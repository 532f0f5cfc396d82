"""Parts of an HTML page that loads nothing: no network, no scripts, figures inside the file.

The HTML is in `templates/`. Text from data is escaped, by the templates and by `Markup.format`. A
value of type Markup is HTML already.
"""

import base64
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from jaxser.reporting import plotting
from jaxser.reporting.formats import split_cells

MAX_CELL_LETTERS = 60  # longer texts in a table are wrapped
MAX_HEADING_LETTERS = 18  # longer headings have several lines

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader('jaxser.reporting'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Section(NamedTuple):
    """A section of a page; links refer to it by its name."""

    name: str
    title: str
    body: Markup
    warning: str = ''  # above the body, which is grey then


def render(template: str, **values) -> Markup:
    """Returns the HTML of the template TEMPLATE.html.jinja, filled with values."""
    return Markup(TEMPLATES.get_template(f'{template}.html.jinja').render(values))


class Picture(NamedTuple):
    """A figure of one panel: what `draw(*arguments)` draws.

    `alt` is the text for readers who cannot see it.
    """

    alt: str
    draw: Callable
    arguments: tuple


def html_page(title: str, introduction: Markup, sections: Iterable[Section | None]) -> str:
    """Returns a whole page: title, introduction, contents, and the sections that are not None."""
    shown = list(filter(None, sections))
    return render('page', title=title, introduction=introduction, sections=shown)


def html_table(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence],
    highlighted: Collection[int] = (),
) -> Markup:
    """Returns a table with a title; columns that are empty in all rows are left out.

    Cells are plain text. `highlighted` are the indices of rows that stand out. The first column has
    the names of the rows.
    """
    rows = list(rows)
    columns = []
    for column in zip(headings, *rows):
        if any(cell != '' for cell in column[1:]):
            columns.append(column)
    used_headings, *used_rows = zip(*columns)
    return render(
        'table',
        title=title,
        headings=used_headings,
        rows=used_rows,
        highlighted=highlighted,
        heading_classes=[_heading_class(column) for column in columns],
        text_columns=[n for n, column in enumerate(columns) if _is_text(column[1:])],
        max_letters=MAX_CELL_LETTERS,
    )


def _heading_class(column: Sequence) -> str:
    """Returns the classes of a heading: those of texts are left, long ones have several lines."""
    classes = []
    if _is_text(column[1:]):
        classes.append('text')
    if len(column[0]) > MAX_HEADING_LETTERS:
        classes.append('long')
    return ' '.join(classes)


def _is_text(cells: Iterable) -> bool:
    """Whether a column has words: most cells that are not empty begin with a letter."""
    filled = [str(cell) for cell in cells if cell != '']
    return 2 * sum(cell[0].isalpha() for cell in filled) > len(filled)


def cells_table(
    title: str,
    cells_by_row: list[list[tuple[str, object]]],
    highlighted: Collection[int] = (),
) -> Markup:
    """Returns a table of one or more rows, each given as (heading, text) of every column."""
    headings, rows = split_cells(cells_by_row)
    return html_table(title, headings, rows, highlighted)


def facts_table(title: str, facts: Iterable[tuple[str, str]]) -> Markup:
    """Returns a table of names and values, which may be long texts."""
    return render('facts', title=title, facts=list(facts))


def html_figure(alt: str, caption: str, draw: Callable, *arguments) -> Markup:
    """Returns the figure that `draw(*arguments)` makes, with `caption` below it.

    `alt` is the text for readers who cannot see the figure.
    """
    return html_figures(caption, [Picture(alt, draw, arguments)])


def html_figures(caption: str, pictures: Iterable[Picture]) -> Markup:
    """Returns pictures side by side, below each other on narrow screens, with one caption."""
    images = []
    for picture in pictures:
        drawing = plotting.render_svg(picture.draw, *picture.arguments)
        content = base64.b64encode(drawing.svg.encode()).decode()
        images.append((picture.alt, drawing.width, drawing.height, content))
    return render('figure', caption=caption, images=images)


def html_details(title: str, body: Markup) -> Markup:
    """Returns a part of the page that is hidden until the reader opens it."""
    return Markup('<details><summary>{}</summary>{}</details>\n').format(title, body)


def html_paragraph(*sentences: str) -> Markup:
    """Returns a paragraph of plain text; empty sentences are left out."""
    return Markup('<p>{}</p>\n').format(' '.join(filter(None, sentences)))


def html_code(text: str) -> Markup:
    """Returns a command or another text with fixed lines."""
    return Markup('<pre>{}</pre>\n').format(text)


def html_list(items: Iterable[str]) -> Markup:
    """Returns a list with bullets."""
    lines = map(Markup('<li>{}</li>\n').format, items)
    return Markup('<ul>\n{}</ul>\n').format(Markup('').join(lines))

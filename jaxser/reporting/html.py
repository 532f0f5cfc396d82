"""Parts of an HTML page that loads nothing: no network, no scripts, figures inside the file.

The HTML is in `templates/`. Text from data is escaped, by the templates and by `Markup.format`. A
value of type Markup is HTML already.
"""

import base64
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from jaxser.reporting import plotting
from jaxser.reporting.formats import split_cells

MIN_SCROLLED_WIDTH = 750  # pixels; wider figures scroll on a phone instead of becoming smaller

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


def render(template: str, **values) -> Markup:
    """Returns the HTML of the template TEMPLATE.html.jinja, filled with values."""
    return Markup(TEMPLATES.get_template(f'{template}.html.jinja').render(values))


def html_page(title: str, introduction: Markup, sections: Iterable[Section | None]) -> str:
    """Returns a whole page: title, introduction, contents, and the sections that are not None."""
    shown = list(filter(None, sections))
    return render('page', title=title, introduction=introduction, sections=shown)


def html_table(
    headings: Sequence[str], rows: Iterable[Sequence], highlighted: Collection[int] = ()
) -> Markup:
    """Returns a table; columns that are empty in all rows are left out.

    Cells are plain text. `highlighted` are the indices of rows that stand out.
    """
    rows = list(rows)
    columns = []
    for column in zip(headings, *rows):
        if any(cell != '' for cell in column[1:]):
            columns.append(column)
    used_headings, *used_rows = zip(*columns)
    return render('table', headings=used_headings, rows=used_rows, highlighted=highlighted)


def cells_table(
    cells_by_row: list[list[tuple[str, object]]], highlighted: Collection[int] = ()
) -> Markup:
    """Returns a table of one or more rows, each given as (heading, text) of every column."""
    headings, rows = split_cells(cells_by_row)
    return html_table(headings, rows, highlighted)


def facts_table(facts: Iterable[tuple[str, str]]) -> Markup:
    """Returns a table of names and values, which may be long texts."""
    return render('facts', facts=list(facts))


def html_figure(alt: str, caption: str, draw, *arguments) -> Markup:
    """Returns the figure that `draw(*arguments)` makes, with `caption` below it.

    `alt` is the text for readers who cannot see the figure.
    """
    png = plotting.render_png(draw, *arguments)
    # Width and height are at fixed bytes of every PNG file.
    width = int.from_bytes(png[16:20])
    height = int.from_bytes(png[20:24])
    return render(
        'figure',
        alt=alt,
        caption=caption,
        width=width,
        height=height,
        is_wide=width > MIN_SCROLLED_WIDTH,
        base64=base64.b64encode(png).decode(),
    )


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

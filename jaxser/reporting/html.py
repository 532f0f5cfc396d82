"""The building blocks of a page that needs nothing but itself: no network, no scripts, pictures inline."""

import base64
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

from jaxser.reporting import figures

STYLESHEET = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
figure { margin: 1rem 0; overflow-x: auto; } figcaption { color: #444; }
img { max-width: 100%; height: auto; } img.wide { min-width: 36rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
table { font-size: .85rem; } th { vertical-align: bottom; } td { white-space: nowrap; }
th, td { padding: .2rem .4rem; text-align: right; border-bottom: 1px solid #ddd; background: #fff; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; } tr.loud td { background: #fff3c4; }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.box { border: 2px solid #111; border-radius: .5rem; padding: .5rem 1rem; } .box dl { margin: 0; }
.box dt { color: #444; font-size: .85rem; margin-top: .5rem; } .box dd { margin: 0; overflow-wrap: anywhere; }
.box dd b { font-size: 1.3rem; }
.banner { background: #b00020; color: #fff; border-radius: .5rem; padding: .6rem 1rem; margin: .8rem 0; }
pre { overflow-x: auto; background: #f4f4f4; padding: .6rem; } nav ol { columns: 16rem; }
"""


SCROLL_WIDTH = 750  # pixels of a picture that a phone shows by scrolling, not smaller


class Section(NamedTuple):
    """A part of the page; the body is HTML."""

    name: str
    title: str
    body: str


def escape_text(value) -> str:
    """What comes from data, as HTML that says just that."""
    return escape(str(value))


def format_number(value: float | None, number_format: str = 'z.3f') -> str:
    """A figure; nothing for None. The z in its form makes 0 of -0."""
    return '' if value is None else f'{value:{number_format}}'


def format_interval(ci95, number_format: str = '.3f') -> str:
    """An interval; nothing for None."""
    return f'[{ci95[0]:{number_format}}, {ci95[1]:{number_format}}]' if ci95 else ''


def html_table(headings: list[str], rows: Iterable[list], highlighted: Iterable[int] = ()) -> str:
    """Cells are plain text; the rows in `highlighted` stand out; a column without any text is left out."""
    highlighted, rows = set(highlighted), list(rows)
    there = [n for n in range(len(headings)) if any(row[n] != '' for row in rows)]
    headings, rows = [headings[n] for n in there], [[row[n] for n in there] for row in rows]
    head = ''.join(f'<th>{escape_text(h)}</th>' for h in headings)
    lines = [
        f'<tr{" class=loud" if n in highlighted else ""}>'
        + ''.join(f'<td>{escape_text(c)}</td>' for c in row)
        + '</tr>'
        for n, row in enumerate(rows)
    ]
    return f'<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def facts_table(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are, which may be long."""
    lines = ''.join(
        f'<tr><td>{escape_text(k)}</td><td>{escape_text(v)}</td></tr>' for k, v in pairs
    )
    return f'<table class=facts><tbody>{lines}</tbody></table>'


def html_figure(alt: str, caption: str, draw, *arguments) -> str:
    """A figure within the page."""
    png = figures.render_png(draw, *arguments)
    across, down = (int.from_bytes(png[at : at + 4]) for at in (16, 20))
    size = f'width={across} height={down}{" class=wide" if across > SCROLL_WIDTH else ""}'
    image = f'<img alt="{escape_text(alt)}" {size} src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    return f'<figure>{image}<figcaption>{escape_text(caption)}</figcaption></figure>'


def html_details(title: str, body: str) -> str:
    """What few will read, behind its title."""
    return f'<details><summary>{escape_text(title)}</summary>{body}</details>'


def html_paragraph(*sentences: str) -> str:
    """A paragraph of plain text."""
    return f'<p>{escape_text(" ".join(s for s in sentences if s))}</p>'


def html_page(title: str, introduction: str, sections: list[Section]) -> str:
    """The whole file; it may load nothing, and says so to the browser."""
    contents = ''.join(f'<li><a href="#{s.name}">{escape_text(s.title)}</a></li>' for s in sections)
    body = ''.join(
        f'<section id="{s.name}"><h2>{escape_text(s.title)}</h2>{s.body}</section>'
        for s in sections
    )
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape_text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLESHEET}</style></head>'
        f'<body><h1>{escape_text(title)}</h1>{introduction}<nav><ol>{contents}</ol></nav>{body}</body></html>\n'
    )

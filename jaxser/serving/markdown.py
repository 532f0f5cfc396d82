"""Renders Markdown from the templates of the model card.

Jinja's own escaping is for HTML and is off. Templates pass text that comes from data, such as names
of corpora and classes, through the filters `text` (in a paragraph) or `cell` (in a table).
"""

import html
import re
from collections.abc import Iterable

import jinja2

from data_pipelines.terminal import escape_control_characters
from jaxser.reporting.formats import format_number

# Characters that begin code, emphasis or links, and the escape character itself. An underscore
# begins emphasis only at the end of a word.
SPECIAL_CHARACTERS = re.compile(r'[\\`*~\[]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])')


def escape_text(value) -> str:
    """Returns a value as plain text on one line, which neither Markdown nor HTML interprets."""
    visible = escape_control_characters(join_lines(value))
    return html.escape(SPECIAL_CHARACTERS.sub(r'\\\g<0>', visible), quote=False)


def escape_code(value) -> str:
    """Returns the Python literal of a value, which cannot end a block of code."""
    literal = repr(value)
    for character in '`<':
        literal = literal.replace(character, f'\\x{ord(character):02x}')
    return literal


def escape_cell(value) -> str:
    """Returns a value as the plain text of a table cell."""
    return escape_text(value).replace('|', r'\|')


def join_lines(value) -> str:
    """Returns text on one line, with single spaces."""
    return ' '.join(str(value).split())


def make_paragraph(text: str) -> str:
    """Returns the text of a filter block as one line, with a line break at its end."""
    return f'{join_lines(text)}\n'


def join_words(words: Iterable) -> str:
    """Returns words with commas between them."""
    return ', '.join(map(str, words))


def _make_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader('jaxser.serving'),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        'cell': escape_cell,
        'code': escape_code,
        'text': escape_text,
        'paragraph': make_paragraph,
        'round3': format_number,
        'words': join_words,
    }
    return environment


TEMPLATES = _make_environment()


def render(name: str, **context) -> str:
    """Returns the template NAME.md.jinja, filled in, without blank lines around it."""
    return TEMPLATES.get_template(f'{name}.md.jinja').render(**context).strip('\n')

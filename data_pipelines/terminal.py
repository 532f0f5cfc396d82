"""Prints text that comes from data, such as names, without control characters."""

import unicodedata

CONTROL_CATEGORIES = ('Cc', 'Zl', 'Zp')  # of Unicode: control characters and ends of lines
MAX_TABLE_WIDTH = 10_000
DIRECTION_CHARACTERS = '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'


def escape_control_characters(text: str, kept: str = '') -> str:
    r"""Returns a text with its control characters and ends of lines as escapes, such as \x1b.

    A terminal would obey them: they could hide or forge what is printed. So could the characters
    that change the direction of writing, which are escaped too. Characters in `kept` are not.
    """
    if text.isprintable():
        return text
    escaped = []
    for character in text:
        is_control = unicodedata.category(character) in CONTROL_CATEGORIES
        is_escaped = (is_control or character in DIRECTION_CHARACTERS) and character not in kept
        escaped.append(repr(character)[1:-1] if is_escaped else character)
    return ''.join(escaped)


def print_text(text: str, kept: str = '', **options) -> None:
    """Prints a text that may contain names from data; `options` are those of print.

    `kept` has the control characters that the text itself needs, such as ends of lines.
    """
    visible = escape_control_characters(text, kept)
    print(visible.encode(errors='backslashreplace').decode(), **options)


def format_table(table, is_uncut: bool = False) -> str:
    """Returns a table of rich as plain text, whose cells may contain names from data.

    Nothing in a cell is taken for markup or an emoji. With `is_uncut` the text is as wide as the
    table needs, whatever the terminal's width, so that no name or number is cut off.
    """
    import rich.console

    # Of standard output, which may show ASCII only.
    console = rich.console.Console(
        highlight=False, markup=False, emoji=False, force_terminal=False, color_system=None
    )
    if is_uncut:
        unlimited = console.options.update(width=MAX_TABLE_WIDTH)
        console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    with console.capture() as capture:
        console.print(table)
    return escape_control_characters(capture.get(), kept='\n').rstrip()

"""Prints text that comes from data, such as names, without what a terminal would obey."""

import unicodedata

CONTROL_CATEGORIES = ('Cc', 'Zl', 'Zp')  # of Unicode: control characters and ends of lines
DIRECTION_CHARACTERS = '\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'


def escape_control_characters(text: str, kept: str = '') -> str:
    r"""Returns a text with its control characters and ends of lines as escapes, such as \x1b.

    A terminal would obey them: they could hide or forge what is printed. So could the characters
    that change the direction of writing. Those in `kept` stay.
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

    `kept` are control characters of the text itself, such as ends of lines.
    """
    visible = escape_control_characters(text, kept)
    print(visible.encode(errors='backslashreplace').decode(), **options)

import sys

import pytest
import rich.table

from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.terminal import escape_control_characters, format_table, print_text


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('Zoë 张 a b', 'Zoë 张 a b'),
        ('\x1b[2Ja', '\\x1b[2Ja'),
        ('a\r\nb\x07\x9b', '\\r'.join(['a', '\\nb\\x07\\x9b'])),
        ('a\u202eb', 'a\\u202eb'),
        ('a\u200cb', 'a\u200cb'),  # which joins no letters, as Persian needs
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text, shown, capsys):
    assert escape_control_characters(text) == shown
    print_text(text)
    assert capsys.readouterr().out == f'{shown}\n'


def test_an_error_shows_names_as_they_are_and_keeps_its_lines(capsys):
    with pytest.raises(SystemExit), exit_on_user_error():
        raise UserError('No file \x1b]0;x\x07.wav.\nChoose another.')
    assert capsys.readouterr().err == 'No file \\x1b]0;x\\x07.wav.\nChoose another.\n'


def test_a_name_that_is_no_text_is_printed(capsys):
    print_text('a\udcff', file=sys.stdout)
    assert capsys.readouterr().out == 'a\\udcff\n'


@pytest.mark.parametrize('is_uncut', [False, True])
def test_a_table_shows_names_as_they_are(is_uncut, monkeypatch):
    """They are neither markup nor emoji, and nothing that a terminal would obey."""
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('COLUMNS', '80')
    table = rich.table.Table('[red]a', 'long', title='[/b] \x1b]0;title\x07')
    table.add_row('[bold]x[/] :dog: \x1b[2J\x9b', 'n' * 100)
    text = format_table(table, is_uncut)
    for name in ('[red]a', '[bold]x[/] :dog: \\x1b[2J\\x9b', '[/b] \\x1b]0;title'):
        assert name in text
    assert '\x1b' not in text
    assert ('n' * 100 in text) == is_uncut

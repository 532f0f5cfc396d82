"""Tests of the building blocks of pages."""

import pytest
from helpers.html_page import Page

from jaxser.reporting.html import html_code, html_details, html_paragraph, html_table


def test_a_column_without_any_text_is_left_out():
    """One seed has no deviation to show; one cell with a text keeps its column."""
    table = html_table('t', ['a', 'none', 'b'], [['1', '', ''], ['2', '', '3']])
    assert 'none' not in table
    assert table.count('<th scope=col') == 2
    assert table.count('<th scope=row>') == 2
    assert table.count('<td>') == 2


def test_text_is_escaped_once():
    """Also where one block is within another."""
    table = html_table('<title>', ['<h>'], [['<c>']])
    block = html_details('<t>', html_paragraph('<p>', '') + html_code('a < b') + table)
    for text in ('&lt;t&gt;', '&lt;p&gt;', 'a &lt; b', '&lt;h&gt;', '&lt;c&gt;', '&lt;title&gt;'):
        assert text in block
    assert '&amp;' not in block


@pytest.mark.parametrize('letters', [5, 60, 61, 500])
def test_long_texts_in_a_table_are_wrapped(letters):
    page = Page(html_table('A table', ['a', 'b'], [['x', 'x' * letters]]))
    wrapped = [attrs for attrs in page.elements_of('td') if 'long' in attrs.get('class', '')]
    assert bool(wrapped) == (letters > 60)

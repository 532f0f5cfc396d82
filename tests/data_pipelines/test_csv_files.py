"""Tests that the reader returns what the writer wrote, for any content of a field."""

import csv
import io
import itertools

import pytest

from data_pipelines import csv_files

LINE_BREAKS = (
    '\r', '\n', '\r\n', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029',
)  # fmt: skip
FIELDS = (
    *(f'a{line_break}b' for line_break in LINE_BREAKS),
    *LINE_BREAKS,
    'com,ma',
    'quo"te',
    ' blanks ',
    '',
    "'",
    '王',
)


@pytest.mark.parametrize('field', FIELDS, ids=ascii)
def test_a_field_survives_the_round_trip(field, tmp_path):
    """By text and by file, as a value and as the name of a column."""
    rows = [{'name': field, f'{field}2': 'x'}, {'name': 'plain', f'{field}2': field}]
    assert list(csv_files.read_rows(csv_files.format_rows(rows))) == rows
    csv_files.write_rows(tmp_path / 'rows.csv', rows)
    with csv_files.open_rows(tmp_path / 'rows.csv', strict=True) as reader:
        assert list(reader) == rows


def was_quoted(case: tuple[str, str]) -> bool:
    """Returns whether earlier versions quoted a field, given the end of their lines."""
    field, end = case
    return end == '\r\n' or '\r' not in field or '\n' in field


EARLIER_CASES = list(filter(was_quoted, itertools.product(FIELDS, ('\n', '\r\n'))))


@pytest.mark.parametrize(('field', 'end'), EARLIER_CASES, ids=ascii)
def test_files_of_earlier_versions_are_read(field, end):
    """Only a carriage return was left unquoted, if lines ended with a newline alone."""
    rows = [{'name': field, 'x': '1'}, {'name': 'plain', 'x': field}]
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, ('name', 'x'), lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    assert list(csv_files.read_rows(text.getvalue())) == rows


def test_fields_are_quoted_only_if_needed_and_missing_fields_are_empty():
    rows = [{'a': 1, 'b': 0.1, 'c': None}, {'a': 'x,y', 'c': '\r'}]
    assert csv_files.format_rows(rows) == 'a,b,c\n1,0.1,\n"x,y",,"\r"\n'
    assert csv_files.format_rows([], ('a', 'b')) == 'a,b\n'
    assert csv_files.format_rows([]) == ''


def test_a_key_that_is_not_a_column_is_an_error():
    with pytest.raises(ValueError, match=r"\['d'\]"):
        csv_files.format_rows([{'d': 1}], ('a',))


def test_a_single_row_has_no_newline_at_its_end():
    assert csv_files.format_row(['a\nb', 'c\rd', 1]) == '"a\nb","c\rd",1'


def test_names_of_files_may_be_any_bytes(tmp_path):
    """They are written and read as their bytes; a byte order mark is not part of a name."""
    rows = [{'path': b'\xff\xfe'.decode(errors='surrogateescape')}]
    csv_files.write_rows(tmp_path / 'rows.csv', rows, errors='surrogateescape')
    assert (tmp_path / 'rows.csv').read_bytes() == b'path\n\xff\xfe\n'
    (tmp_path / 'rows.csv').write_bytes(b'\xef\xbb\xbfpath\n\xff\xfe\n')
    with csv_files.open_rows(tmp_path / 'rows.csv', errors='surrogateescape') as reader:
        assert list(reader) == rows


def test_a_table_of_two_columns_is_split_by_its_own_delimiter():
    """A field that is too long for the module csv, as in another file, is no pair."""
    assert csv_files.split_rows('wut;angry\na,b;sad\n') == [['wut', 'angry'], ['a,b', 'sad']]
    assert csv_files.split_rows('wut\tangry') == [['wut', 'angry']]
    assert csv_files.split_rows(f'"{200_000 * "x"}"') == []

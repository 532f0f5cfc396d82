"""What is written as CSV is read as it was, whatever a field holds."""

import csv
import io

import pytest

from data_pipelines import csv_files

BREAKS = ('\r', '\n', '\r\n', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029')
ODD = (*(f'a{b}b' for b in BREAKS), *BREAKS, 'com,ma', 'quo"te', ' blanks ', '', "'", '王')


@pytest.mark.parametrize('field', ODD, ids=ascii)
def test_a_field_survives_the_round_trip(field, tmp_path):
    """By text and by file, as a value and as the name of a column."""
    rows = [{'name': field, f'{field}2': 'x'}, {'name': 'plain', f'{field}2': field}]
    assert list(csv_files.read_rows(csv_files.format_rows(rows))) == rows
    csv_files.write_rows(tmp_path / 'rows.csv', rows)
    with csv_files.open_rows(tmp_path / 'rows.csv', strict=True) as reader:
        assert list(reader) == rows


@pytest.mark.parametrize('field', ODD, ids=ascii)
def test_what_earlier_versions_wrote_is_read(field):
    """By a DictWriter whose rows end with a newline, or with both; only the carriage return was left unquoted."""
    rows = [{'name': field, 'x': '1'}, {'name': 'plain', 'x': field}]
    for end in ('\n', '\r\n'):
        if '\r' in field and '\n' not in field and end == '\n':
            continue
        text = io.StringIO(newline='')
        writer = csv.DictWriter(text, ('name', 'x'), lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
        assert list(csv_files.read_rows(text.getvalue())) == rows


def test_the_text_is_plain():
    """Rows end with a newline, only what must be is quoted, and nothing stands for None or what a row lacks."""
    rows = [{'a': 1, 'b': 0.1, 'c': None}, {'a': 'x,y', 'c': '\r'}]
    assert csv_files.format_rows(rows) == 'a,b,c\n1,0.1,\n"x,y",,"\r"\n'
    assert csv_files.format_rows([], ('a', 'b')) == 'a,b\n'
    assert csv_files.format_rows([]) == ''
    with pytest.raises(ValueError, match=r"\['d'\]"):
        csv_files.format_rows([{'d': 1}], ('a',))


def test_a_row_stands_alone():
    """Without the end of its line, with those in its fields quoted."""
    assert csv_files.format_row(['a\nb', 'c\rd', 1]) == '"a\nb","c\rd",1'


def test_names_of_files_may_be_any_bytes(tmp_path):
    """They are written and read as the bytes that they are; a byte order mark is no part of a name."""
    rows = [{'path': b'\xff\xfe'.decode(errors='surrogateescape')}]
    csv_files.write_rows(tmp_path / 'rows.csv', rows, errors='surrogateescape')
    assert (tmp_path / 'rows.csv').read_bytes() == b'path\n\xff\xfe\n'
    (tmp_path / 'rows.csv').write_bytes(b'\xef\xbb\xbfpath\n\xff\xfe\n')
    with csv_files.open_rows(tmp_path / 'rows.csv', errors='surrogateescape') as reader:
        assert list(reader) == rows

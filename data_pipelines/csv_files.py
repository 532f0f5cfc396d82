"""Reads and writes CSV: the one reader and the one writer of this project, built on Python's csv module.

A row ends with a newline. A field that holds a newline or a carriage return is quoted. Other
characters at which `str.splitlines` would split, such as U+2028, are ordinary parts of a field.
"""

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Error = csv.Error  # what a strict reader raises


@contextlib.contextmanager
def open_rows(
    path: str | os.PathLike, errors: str = 'strict', strict: bool = False
) -> Iterator[csv.DictReader]:
    """Opens a UTF-8 file, with or without a byte order mark, as its rows: a dictionary each.

    `errors` says what to do with bytes that are not UTF-8, as in `open`. With `strict`, bad quoting
    raises an Error. A row with too few fields has None as their values, and one with too many has
    the rest under the key None.
    """
    with open(path, newline='', encoding='utf-8-sig', errors=errors) as file:
        yield csv.DictReader(file, strict=strict)


def read_rows(text: str) -> csv.DictReader:
    """Returns the rows of the text of a CSV file, as `open_rows` does. Its ends of lines must be untranslated."""
    return csv.DictReader(io.StringIO(text, newline=''))


def format_row(values: Iterable) -> str:
    """Returns one row without the newline at its end."""
    text = io.StringIO(newline='')
    # All versions of Python quote a field with a character of the terminator. With a newline alone
    # as the terminator, some leave a carriage return unquoted, and a reader would end the row there.
    csv.writer(text, lineterminator='\r\n').writerow(values)
    return text.getvalue().removesuffix('\r\n')


def format_rows(rows: Iterable[Mapping], columns: Iterable[str] = ()) -> str:
    """Returns the text of a CSV file; nothing where there are neither rows nor columns.

    Without `columns`, they are the keys of the first row. What a row lacks is empty; a key that is
    no column raises a ValueError.
    """
    rows = list(rows)
    columns = list(columns or (rows[0] if rows else ()))
    if not columns:
        return ''
    lines = [format_row(columns)]
    for row in rows:
        if unknown := row.keys() - set(columns):
            raise ValueError(f'A row has the keys {sorted(unknown)}; the columns are {columns}.')
        lines.append(format_row([row.get(column) for column in columns]))
    return '\n'.join(lines) + '\n'


def write_rows(
    path: str | os.PathLike,
    rows: Iterable[Mapping],
    columns: Iterable[str] = (),
    errors: str = 'strict',
) -> None:
    """Writes a CSV file of UTF-8, as `format_rows` has it; `errors` is as in `open`."""
    Path(path).write_bytes(format_rows(rows, columns).encode(errors=errors))

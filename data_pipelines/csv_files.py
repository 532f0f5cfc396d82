"""Reads and writes CSV files. No other module of the project does.

A row ends with a newline. A field with a newline or a carriage return is quoted. Other
characters at which `str.splitlines` would split, such as U+2028, are ordinary parts of a field.
"""

import contextlib
import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

Error = csv.Error  # what a strict reader raises

DELIMITERS = (',', ';', '\t')
MAX_HEADER_LENGTH = 65_536
MAX_LINES_BEFORE_HEADER = 100
BLOCK_ROWS = 1_000  # with more, the garbage collector takes half of the time
LINE_BREAK_PATTERN = re.compile('\r\n|\r|\n')
SEPARATOR_PATTERN = re.compile(r'\ufeff?"?sep=.?"?[,;\t]*\s*', re.IGNORECASE)


@contextlib.contextmanager
def open_rows(
    path: str | os.PathLike,
    errors: str = 'strict',
    strict: bool = False,
    delimiter: str = ',',
    skip_lines: int = 0,
) -> Iterator[csv.DictReader]:
    """Opens a UTF-8 file, with or without a byte order mark, and yields a reader of its rows.

    Each row is a dictionary. Columns that a short row lacks are None, and the surplus fields of a
    long row are under the key None.

    Args:
      path: The file.
      errors: What to do with bytes that are not UTF-8, as in `open`.
      strict: Whether wrong quoting raises an Error.
      delimiter: What separates the fields of a row.
      skip_lines: How many lines come before the header.
    """
    with open(path, newline='', encoding='utf-8-sig', errors=errors) as file:
        for _ in range(skip_lines):
            file.readline()
        yield csv.DictReader(file, strict=strict, delimiter=delimiter)


def count_line_breaks(row: Mapping[str | None, str | list[str] | None]) -> int:
    """Returns how many ends of lines are in the cells of a row that `open_rows` has read."""
    count = 0
    for cell in row.values():
        texts = cell if isinstance(cell, list) else [cell or '']
        for text in texts:
            count += len(LINE_BREAK_PATTERN.findall(text))
    return count


def find_wrong_row(path: str | os.PathLike, delimiter: str, skip_lines: int) -> int:
    """Returns the line on which the first row with wrong quoting begins; 1 if there is none.

    A reader finds a quotation mark that is not closed only at the next one, or at the end.
    """
    first_line = 1
    with open_rows(
        path, 'surrogateescape', strict=True, delimiter=delimiter, skip_lines=skip_lines
    ) as rows:
        try:
            for _ in rows.reader:
                first_line = rows.reader.line_num + 1
        except Error:
            return skip_lines + first_line
    return 1


def count_lines_before_header(path: str | os.PathLike) -> int:
    """Returns how many lines come before the header of a file.

    These are empty lines, and 'sep=;', with which Excel names the separator.
    """
    count = 0
    with open(path, newline='', encoding='utf-8-sig', errors='surrogateescape') as file:
        while count < MAX_LINES_BEFORE_HEADER:
            line = file.readline(MAX_HEADER_LENGTH)
            if not line or (line.strip('\ufeff \r\n') and not SEPARATOR_PATTERN.fullmatch(line)):
                break
            count += 1
        return count if line else 0


def detect_delimiter(
    path: str | os.PathLike,
    columns: Iterable[str],
    fold: Callable[[str], str],
    skip_lines: int = 0,
) -> str:
    """Returns which of `DELIMITERS` finds the most of the columns in the header of a file.

    `fold` writes the name of a column as `columns` do; the header comes after `skip_lines`.
    """
    with open(path, newline='', encoding='utf-8-sig', errors='surrogateescape') as file:
        for _ in range(skip_lines):
            file.readline()
        header = file.readline(MAX_HEADER_LENGTH)
    columns = set(columns)
    best = DELIMITERS[0]
    most_found = 0
    for delimiter in DELIMITERS:
        fields = next(csv.reader([header], delimiter=delimiter), [])
        count = len(columns & set(map(fold, fields)))
        if count > most_found:
            best = delimiter
            most_found = count
    return best


def split_rows(text: str) -> list[list[str]]:
    """Returns the fields of each row of a table of two columns.

    The delimiter is the one of `DELIMITERS` by which the most rows have two fields.
    """
    lines = text.splitlines()
    best: list[list[str]] = []
    most_pairs = -1
    for delimiter in DELIMITERS:
        try:
            rows = list(csv.reader(lines, delimiter=delimiter))
        except Error:  # such as a field of more than 131,072 characters
            continue
        pairs = sum(len(row) == 2 for row in rows)
        if pairs > most_pairs:
            best = rows
            most_pairs = pairs
    return best


def read_rows(text: str) -> csv.DictReader:
    """Returns a reader of the rows of a CSV file's text, as `open_rows` does.

    The text must have the line endings of the file: decode its bytes, or open it with newline=''.
    """
    return csv.DictReader(io.StringIO(text, newline=''))


class BlockReader:
    """Reads the rows of a CSV file in blocks, by column: faster than a dictionary for each row."""

    def __init__(self, lines: Iterable[str]):
        """`lines` are those of the file, with the ends that they have there."""
        self._reader = csv.reader(lines)

    @property
    def line_num(self) -> int:
        """The number of the line that was read last."""
        return self._reader.line_num

    def __iter__(self) -> Iterator[dict[str, Sequence[str]]]:
        """Yields {column: cells} of up to BLOCK_ROWS rows; Error if a row is too short or long."""
        columns = next(self._reader, [])
        rows = []
        for row in self._reader:
            if not row:  # an empty line
                continue
            if len(row) != len(columns):
                raise Error('it has too many or too few fields')
            rows.append(row)
            if len(rows) == BLOCK_ROWS:
                yield dict(zip(columns, zip(*rows)))
                rows = []
        if rows:
            yield dict(zip(columns, zip(*rows)))


def format_row(values: Iterable) -> str:
    """Returns one row of CSV without the newline at its end."""
    return format_lines([values]).removesuffix('\n')


def format_lines(rows: Iterable[Iterable]) -> str:
    """Returns the lines of many rows of CSV, each with a newline at its end."""
    collector = _LineCollector()
    # All versions of Python quote a field with a character of the terminator. With a newline alone
    # as the terminator, some leave a carriage return unquoted: a reader would end the row there.
    csv.writer(collector, lineterminator='\r\n').writerows(rows)
    return ''.join(collector.lines)


class _LineCollector:
    """Collects the lines that a CSV writer writes, each with a newline alone at its end."""

    def __init__(self):
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        """Adds a line; called by the CSV writer."""
        self.lines.append(line.removesuffix('\r\n') + '\n')


def format_rows(rows: Iterable[Mapping], columns: Iterable[str] = ()) -> str:
    """Returns the text of a CSV file, or '' if there are neither rows nor columns.

    Args:
      rows: The rows by column. A column that a row lacks is left empty.
      columns: The columns in order; by default, the keys of the first row.

    Raises:
      ValueError: A row has a key that is no column.
    """
    rows = list(rows)
    columns = list(columns)
    if not columns and rows:
        columns = list(rows[0])
    if not columns:
        return ''
    for row in rows:
        unknown = row.keys() - set(columns)
        if unknown:
            raise ValueError(f'A row has the keys {sorted(unknown)}; the columns are {columns}.')
    return format_lines([columns, *(map(row.get, columns) for row in rows)])


def write_rows(
    path: str | os.PathLike,
    rows: Iterable[Mapping],
    columns: Iterable[str] = (),
    errors: str = 'strict',
) -> None:
    """Writes the text that `format_rows` returns to a file in UTF-8; `errors` is as in `open`."""
    Path(path).write_bytes(format_rows(rows, columns).encode(errors=errors))

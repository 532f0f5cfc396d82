"""Reads the table of a list of the user's own, as spreadsheets and pandas write it.

Cells are separated by commas, semicolons or tabs. Names of columns may have blanks and capitals.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from data_pipelines import csv_files, file_kinds, labels
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

# A column without a name is called '\n1', '\n2', ... by its place: no name has a line break.
NAMELESS = '\n'
PANDAS_PATTERN = re.compile(r'unnamed: [\d.]+')
ROW_NUMBER_PATTERN = re.compile(r'\d+(\.0)?')
DECIMAL_COMMA_PATTERN = re.compile(r'([+-]?\d+),(\d+)')


class Table(NamedTuple):
    """The rows of a list with the numbers of the lines on which they begin."""

    columns: list[str]
    numbered_rows: list[tuple[int, dict]]


def read_table(source: Path, known_columns: Iterable[str], numbers: Iterable[str]) -> Table:
    """Returns the table in a file; raises a UserError if the file is no table.

    Args:
      source: The file.
      known_columns: The names of columns that tell how cells are separated.
      numbers: The columns of numbers, which may have a decimal comma where no comma separates.
    """
    check_kind(source)
    skip_lines = csv_files.count_lines_before_header(source)
    delimiter = csv_files.detect_delimiter(source, known_columns, labels.fold_word, skip_lines)
    numbered_rows = []
    empty_count = 0
    try:
        # The names of files may be any bytes.
        with csv_files.open_rows(
            source,
            errors='surrogateescape',
            strict=True,
            delimiter=delimiter,
            skip_lines=skip_lines,
        ) as reader:
            columns = name_columns(reader.fieldnames or [])
            reader.fieldnames = columns
            if not set(columns) & set(known_columns):
                return Table(columns_in_words(columns), [])
            for row in reader:
                line = skip_lines + reader.reader.line_num - csv_files.count_line_breaks(row)
                row = strip_cells(row)
                if not any(row.values()):
                    empty_count += 1
                    continue
                if delimiter != ',':
                    replace_decimal_commas(row, numbers)
                numbered_rows.append((line, row))
    except csv_files.Error as error:
        line = csv_files.find_wrong_row(source, delimiter, skip_lines)
        raise UserError(
            f'{source}, line {line}, is not CSV: {error}. Probably a quotation mark is missing or '
            'too many in the row that begins there, or the cells are not separated by commas, '
            'semicolons or tabs.'
        ) from None
    if empty_count:
        print_text(f'{source} has {pluralize(empty_count, "row")} without any text; ignored.')
    return Table(remove_nameless(source, columns, numbered_rows), numbered_rows)


def check_kind(source: Path) -> None:
    """Raises a UserError if the first bytes are of a workbook, UTF-16, a web page or the like."""
    with open(source, 'rb') as file:
        head = file.read(file_kinds.HEAD_BYTES)
    kind = file_kinds.recognise(head)
    if kind is None and b'\0' in head:
        kind = file_kinds.BINARY
    if kind == file_kinds.ZIP:  # its first bytes do not say so, but for a list it is likely
        kind = file_kinds.XLSX._replace(name='a ZIP archive, probably an Excel workbook')
    if kind is not None:
        raise UserError(f'{source} is not CSV: {file_kinds.describe(kind)}.')


def name_columns(fields: list[str]) -> list[str]:
    """Returns the names of columns as `labels.fold_word` writes them."""
    columns = []
    for number, field in enumerate(fields, start=1):
        name = labels.fold_word(field)
        # What pandas makes of a nameless column that it has read.
        is_nameless = not name or PANDAS_PATTERN.fullmatch(name)
        columns.append(f'{NAMELESS}{number}' if is_nameless else name)
    return columns


def columns_in_words(columns: list[str]) -> list[str]:
    """Returns the names of columns for a message."""
    return [column.replace(NAMELESS, 'nameless ') for column in columns]


def strip_cells(row: dict) -> dict:
    """Returns the row without spaces at the ends of cells, as 'anna ' and 'anna' are one speaker.

    The path keeps its spaces: they may belong to the name of the file.
    """
    stripped = dict(row)
    for column, text in row.items():
        if column != 'path' and isinstance(text, str):
            stripped[column] = text.strip()
    return stripped


def replace_decimal_commas(row: dict, numbers: Iterable[str]) -> None:
    """Writes '0.5' for '0,5' in the cells of numbers."""
    for column in numbers:
        match = DECIMAL_COMMA_PATTERN.fullmatch(row.get(column) or '')
        if match:
            row[column] = f'{match[1]}.{match[2]}'


def remove_nameless(
    source: Path, columns: list[str], numbered_rows: list[tuple[int, dict]]
) -> list[str]:
    """Returns the columns that have a name, and removes the others from the rows.

    A column of row numbers, as pandas writes it, and an empty one are ignored, which is printed. A
    UserError for any other: it may matter.
    """
    named = [column for column in columns if not column.startswith(NAMELESS)]
    for column in columns:
        if column in named:
            continue
        cells = [row.get(column) or '' for _, row in numbered_rows]
        place = column.removeprefix(NAMELESS)
        is_index = len(set(cells)) == len(cells) and all(map(ROW_NUMBER_PATTERN.fullmatch, cells))
        if any(cells) and not is_index:
            raise UserError(
                f'Column {place} of {source} has no name. Name it in the first line, or remove it.'
            )
        content = 'row numbers' if any(cells) else 'nothing'
        print_text(f'Column {place} of {source} has no name. It has {content}, and is ignored.')
        for _, row in numbered_rows:
            row.pop(column, None)
    return named

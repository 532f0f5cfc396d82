"""Formats the answers of jaxser.predict as JSON lines, as CSV or as a table."""

import contextlib
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator

from data_pipelines.csv_files import format_row
from data_pipelines.progress import progress_bar

FORMATS = ('table', 'csv', 'jsonl')
MIN_FILES_FOR_PROGRESS = 10
ESCAPED_CATEGORIES = ('Cc', 'Zl', 'Zp')  # of Unicode: control characters and ends of lines


def format_answers(
    answers: Iterable[dict], output_format: str, classes: tuple[str, ...]
) -> Iterator[str]:
    """Yields the answers as text, each as soon as it is available.

    A table of files is complete only at the end of the answers.
    """
    if output_format == 'jsonl':
        yield from map(json.dumps, answers)
    elif output_format == 'csv':
        yield from format_csv(answers, classes)
    else:
        yield from format_table(answers, classes)


def track_failures(answers: Iterable[dict], failed: list[dict], count: int) -> Iterator[dict]:
    """Yields the answers of `count` files, and appends those without a posterior to `failed`.

    A progress bar is shown if there are many files.
    """
    with contextlib.ExitStack() as stack:
        bar = None
        if count >= MIN_FILES_FOR_PROGRESS:
            bar = stack.enter_context(progress_bar(total=count, unit='file'))
        for answer in answers:
            if 'error' in answer:
                failed.append(answer)
            if bar is not None:
                bar.update()
            yield answer


def format_csv(answers: Iterable[dict], classes: tuple[str, ...]) -> Iterator[str]:
    """Yields a header, and a row for each file and each of its windows, or each of a stream's."""
    yield format_row(['file', 'part', 'start', 'end', 'emotion', *classes, 'error'])
    for answer in answers:
        yield format_row(csv_columns(answer, _part_of_answer(answer), classes))
        for window in answer.get('windows', ()):
            window_of_file = window | {'file': answer['file']}
            yield format_row(csv_columns(window_of_file, 'window', classes))


def _part_of_answer(answer: dict) -> str:
    if 'error' in answer:
        return 'error'
    return 'file' if 'file' in answer else 'window'


def csv_columns(answer: dict, part: str, classes: tuple[str, ...]) -> list:
    """Returns the columns of a file, or of a window."""
    posterior = answer.get('posterior') or {}
    start = answer.get('start', 0 if posterior else '')
    end = answer.get('end', answer.get('seconds', ''))
    columns = [answer.get('file', '-'), part, start, end, answer.get('emotion') or '']
    for name in classes:
        columns.append(f'{posterior[name]:.9g}' if name in posterior else '')
    columns.append(answer.get('error', answer.get('note', '')))
    return columns


def format_table(answers: Iterable[dict], classes: tuple[str, ...]) -> Iterator[str]:
    """Yields text for people.

    For files that is one table, then a line for each without an answer; for a stream a line a
    second.
    """
    answered, errors = [], []
    for answer in answers:
        if 'file' not in answer:
            yield _stream_line(answer, classes)
        elif answer.get('posterior'):
            answered.append(answer)
        else:
            errors.append(f'{one_line(answer["file"])}: {answer["error"]}')
    if answered:
        yield _render_table(answered, classes)
    yield from errors


def _stream_line(answer: dict, classes: tuple[str, ...]) -> str:
    posterior = answer['posterior']
    if posterior:
        result = ' '.join(f'{name} {posterior[name]:.2f}' for name in classes)
    else:
        result = answer['note']
    emotion = answer['emotion'] or ''
    return f'{answer["start"]:8.1f} to {answer["end"]:8.1f} s  {emotion:12s}  {result}'


def _render_table(answers: list[dict], classes: tuple[str, ...]) -> str:
    """A table of files; its column of windows is left out if no file was cut into windows."""
    import rich.console
    import rich.table

    has_windows = any(answer['windows'] for answer in answers)
    table = rich.table.Table()
    table.add_column('file')
    table.add_column('seconds', justify='right')
    if has_windows:
        table.add_column('mean of windows', justify='right')
    table.add_column('emotion')
    for name in classes:
        table.add_column(name, justify='right')
    for answer in answers:
        cells = [one_line(answer['file']), f'{answer["seconds"]:.1f}']
        if has_windows:
            cells.append(str(len(answer['windows']) or ''))
        cells.append(answer['emotion'])
        for name in classes:
            cells.append(f'{answer["posterior"][name]:.3f}')
        table.add_row(*cells)
    console = rich.console.Console(highlight=False, markup=False, file=io.StringIO())
    # As wide as the table needs: a name that is cut off would be of no use.
    unlimited = console.options.update(width=10_000)
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)
    return console.file.getvalue().rstrip()


def one_line(name: str) -> str:
    r"""Returns a name with its control characters and ends of lines as escapes, such as \n."""
    escaped = ''
    for character in name:
        must_escape = unicodedata.category(character) in ESCAPED_CATEGORIES
        escaped += repr(character)[1:-1] if must_escape else character
    return escaped

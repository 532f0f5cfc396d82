"""What jaxser.predict answers, as text: JSON lines, CSV, or a table."""

import io
import json
import unicodedata
from collections.abc import Iterable, Iterator

from data_pipelines.csv_files import format_row

FORMATS = ('table', 'csv', 'jsonl')


def format_answers(
    answers: Iterable[dict], output_format: str, classes: tuple[str, ...]
) -> Iterator[str]:
    """The answers as text, each as soon as it is known; a table of files is known at their end."""
    if output_format == 'jsonl':
        yield from map(json.dumps, answers)
    elif output_format == 'csv':
        yield format_row(['file', 'part', 'start', 'end', 'emotion', *classes, 'error'])
        for a in answers:
            yield format_row(
                csv_columns(
                    a, 'error' if 'error' in a else 'file' if 'file' in a else 'window', classes
                )
            )
            for window in a.get('windows', ()):
                yield format_row(csv_columns(window | {'file': a['file']}, 'window', classes))
    else:
        yield from format_table(answers, classes)


def csv_columns(answer: dict, part: str, classes: tuple[str, ...]) -> list:
    """A file, or a window of one, as columns."""
    p = answer.get('posterior') or {}
    times = [answer.get('start', 0 if p else ''), answer.get('end', answer.get('seconds', ''))]
    head = [answer.get('file', '-'), part, *times, answer.get('emotion') or '']
    return [
        *head,
        *(f'{p[c]:.9g}' if c in p else '' for c in classes),
        answer.get('error', answer.get('note', '')),
    ]


def format_table(answers: Iterable[dict], classes: tuple[str, ...]) -> Iterator[str]:
    """For people: a table of files, and a line for each that has no answer; of a stream, a line a second."""
    import rich.console
    import rich.table

    files, wrong = [], []
    for a in answers:
        p = a.get('posterior')
        if 'file' not in a:
            said = ' '.join(f'{c} {p[c]:.2f}' for c in classes) if p else a['note']
            yield f'{a["start"]:8.1f} to {a["end"]:8.1f} s  {a["emotion"] or "":12s}  {said}'
        elif p:
            windows = len(a['windows'])
            whole = [
                f'{a["seconds"]:.1f}',
                str(windows or ''),
                a['emotion'],
                *(f'{p[c]:.3f}' for c in classes),
            ]
            files.append([one_line(a['file']), *whole])
        else:
            wrong.append(f'{one_line(a["file"])}: {a["error"]}')
    if files:
        cut = any(of[2] for of in files)
        grid = rich.table.Table('file', 'seconds', *['mean of windows'] * cut, 'emotion', *classes)
        for column in (*range(1, 2 + cut), *range(3 + cut, 3 + cut + len(classes))):
            grid.columns[column].justify = 'right'
        for name, seconds, windows, *rest in files:
            grid.add_row(name, seconds, *[windows] * cut, *rest)
        console = rich.console.Console(highlight=False, markup=False, file=io.StringIO())
        console.width = max(
            console.width,
            console.measure(grid, options=console.options.update(width=10_000)).maximum,
        )
        console.print(grid)
        yield console.file.getvalue().rstrip()
    yield from wrong


def one_line(name: str) -> str:
    """Returns a name with its control characters and ends of lines as escapes, such as \\n."""
    shown = ''
    for c in name:
        breaks = unicodedata.category(c) in ('Cc', 'Zl', 'Zp')
        shown += repr(c)[1:-1] if breaks else c
    return shown

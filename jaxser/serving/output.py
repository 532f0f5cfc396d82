"""Formats the predictions of jaxser.predict as JSON lines, as CSV or as a table."""

import contextlib
import json
from collections.abc import Iterable, Iterator

from data_pipelines import terminal
from data_pipelines.csv_files import format_row
from data_pipelines.progress import progress_bar
from data_pipelines.wording import pluralize

FORMATS = ('table', 'csv', 'jsonl')
MIN_FILES_FOR_PROGRESS = 10


def format_predictions(
    predictions: Iterable[dict],
    output_format: str,
    classes: tuple[str, ...],
    has_enrolled: bool = False,
) -> Iterator[str]:
    """Yields the predictions as text, each as soon as it is available.

    The table of files is one text, at the end of the predictions. With `has_enrolled`, CSV has the
    numbers of enrolled utterances as a column.
    """
    if output_format == 'jsonl':
        yield from map(json.dumps, predictions)
    elif output_format == 'csv':
        yield from format_csv(predictions, classes, has_enrolled)
    else:
        yield from format_table(predictions, classes)


def track_failures(predictions: Iterable[dict], failed: list[dict], count: int) -> Iterator[dict]:
    """Yields the predictions of `count` files, and appends those without a posterior to `failed`.

    A progress bar is shown if there are many files.
    """
    with contextlib.ExitStack() as stack:
        bar = None
        if count >= MIN_FILES_FOR_PROGRESS:
            bar = stack.enter_context(progress_bar(total=count, unit='file'))
        for prediction in predictions:
            if 'error' in prediction:
                failed.append(prediction)
            if bar is not None:
                bar.update()
            yield prediction


def format_csv(
    predictions: Iterable[dict], classes: tuple[str, ...], has_enrolled: bool = False
) -> Iterator[str]:
    """Yields a header, and a row for each file and each window of a file or stream."""
    header = ['file', 'part', 'start', 'end', 'emotion', *classes, 'error']
    yield format_row([*header, 'enrolled'] if has_enrolled else header)
    for prediction in predictions:
        enrolled = [prediction.get('enrolled', '')] if has_enrolled else []
        columns = csv_columns(prediction, _part_of_prediction(prediction), classes)
        yield format_row(columns + enrolled)
        for window in prediction.get('windows', ()):
            window_of_file = window | {'file': prediction['file']}
            yield format_row(csv_columns(window_of_file, 'window', classes) + enrolled)


def _part_of_prediction(prediction: dict) -> str:
    if 'error' in prediction:
        return 'error'
    return 'file' if 'file' in prediction else 'window'


def csv_columns(prediction: dict, part: str, classes: tuple[str, ...]) -> list:
    """Returns the columns of a prediction; `part` is 'file', 'window' or 'error'."""
    posterior = prediction.get('posterior') or {}
    start = prediction.get('start', 0 if posterior else '')
    end = prediction.get('end', prediction.get('seconds', ''))
    columns = [prediction.get('file', '-'), part, start, end, prediction.get('emotion') or '']
    for name in classes:
        columns.append(f'{posterior[name]:.9g}' if name in posterior else '')
    columns.append(prediction.get('error', prediction.get('note', '')))
    return columns


def format_table(predictions: Iterable[dict], classes: tuple[str, ...]) -> Iterator[str]:
    """Yields text for people.

    For files: one table, then a line for each file without a prediction. For a stream: a line per
    second.
    """
    predicted, errors = [], []
    for prediction in predictions:
        if 'file' not in prediction:
            yield _stream_line(prediction)
        elif prediction.get('posterior'):
            predicted.append(prediction)
        else:
            errors.append(f'{one_line(prediction["file"])}: {prediction["error"]}')
    if predicted:
        yield _render_table(predicted, classes)
    yield from errors


def _stream_line(prediction: dict) -> str:
    posterior = prediction['posterior']
    result = _posterior_text(posterior) if posterior else prediction['note']
    emotion = prediction['emotion'] or ''
    line = f'{prediction["start"]:8.1f} to {prediction["end"]:8.1f} s  {emotion:12s}  {result}'
    if 'enrolled' in prediction:
        line += f'  (enrolled: {pluralize(prediction["enrolled"], "window")})'
    return line


def _posterior_text(posterior: dict[str, float]) -> str:
    return ' '.join(f'{name} {p:.2f}' for name, p in posterior.items())


def describe_change(prediction: dict) -> str:
    """Returns how enrolment changed a prediction of a stream that has 'not_enrolled'."""
    windows = pluralize(prediction['enrolled'], 'window')
    return (
        f'{prediction["start"]:.0f} to {prediction["end"]:.0f} s, with {windows} of the speaker '
        f'enrolled: {_posterior_text(prediction["posterior"])}; without enrolment: '
        f'{_posterior_text(prediction["not_enrolled"])}.'
    )


def _render_table(predictions: list[dict], classes: tuple[str, ...]) -> str:
    """Returns a table of files, with a column of windows if any file was cut into windows."""
    import rich.table

    has_windows = any(prediction['windows'] for prediction in predictions)
    has_enrolled = any('enrolled' in prediction for prediction in predictions)
    table = rich.table.Table()
    table.add_column('file')
    table.add_column('seconds', justify='right')
    if has_windows:
        table.add_column('mean of windows', justify='right')
    if has_enrolled:
        table.add_column('enrolled', justify='right')
    table.add_column('emotion')
    for name in classes:
        table.add_column(name, justify='right')
    for prediction in predictions:
        cells = [one_line(prediction['file']), f'{prediction["seconds"]:.1f}']
        if has_windows:
            cells.append(str(len(prediction['windows']) or ''))
        if has_enrolled:
            cells.append(str(prediction['enrolled']))
        cells.append(prediction['emotion'])
        for name in classes:
            cells.append(f'{prediction["posterior"][name]:.3f}')
        table.add_row(*cells)
    return terminal.format_table(table, is_uncut=True)


def one_line(name: str) -> str:
    r"""Returns a name with its control characters and ends of lines as escapes, such as \n."""
    return terminal.escape_control_characters(name)

"""Formats the predictions of jaxser.predict as JSON lines, as CSV or as a table."""

import contextlib
import json
from collections.abc import Iterable, Iterator

from data_pipelines import terminal
from data_pipelines.csv_files import format_row
from data_pipelines.progress import progress_bar
from data_pipelines.wording import pluralize
from jaxser.serving.output_names import OutputNames

FORMATS = ('table', 'csv', 'jsonl')
MIN_FILES_FOR_PROGRESS = 10


def format_predictions(
    predictions: Iterable[dict],
    output_format: str,
    names: OutputNames,
    has_enrolled: bool = False,
) -> Iterator[str]:
    """Yields the predictions as text, each as soon as it is available.

    `names` are the classes and ratings of the model. The table of files is one text, at the end of
    the predictions. With `has_enrolled`, CSV has the numbers of enrolled utterances as a column.
    """
    if output_format == 'jsonl':
        yield from map(json.dumps, predictions)
    elif output_format == 'csv':
        yield from format_csv(predictions, names, has_enrolled)
    else:
        yield from format_table(predictions, names)


def track_failures(predictions: Iterable[dict], failed: list[dict], count: int) -> Iterator[dict]:
    """Yields the predictions of `count` files, and appends those of the failed ones to `failed`.

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
    predictions: Iterable[dict], names: OutputNames, has_enrolled: bool = False
) -> Iterator[str]:
    """Yields a header, and a row for each file and each window of a file or stream."""
    emotion = ['emotion'] if names.classes else []
    header = ['file', 'part', 'start', 'end', *emotion, *names.classes, *names.ratings, 'error']
    yield format_row([*header, 'enrolled'] if has_enrolled else header)
    for prediction in predictions:
        enrolled = [prediction.get('enrolled', '')] if has_enrolled else []
        columns = csv_columns(prediction, _part_of_prediction(prediction), names)
        yield format_row(columns + enrolled)
        for window in prediction.get('windows', ()):
            window_of_file = window | {'file': prediction['file']}
            yield format_row(csv_columns(window_of_file, 'window', names) + enrolled)


def _part_of_prediction(prediction: dict) -> str:
    if 'error' in prediction:
        return 'error'
    return 'file' if 'file' in prediction else 'window'


def csv_columns(prediction: dict, part: str, names: OutputNames) -> list:
    """Returns the columns of a prediction; `part` is 'file', 'window' or 'error'."""
    values = names.find_values(prediction)
    start = prediction.get('start', 0 if values else '')
    end = prediction.get('end', prediction.get('seconds', ''))
    columns = [prediction.get('file', '-'), part, start, end]
    if names.classes:
        columns.append(prediction.get('emotion') or '')
    for name in (*names.classes, *names.ratings):
        columns.append(f'{values[name]:.9g}' if name in values else '')
    columns.append(prediction.get('error', prediction.get('note', '')))
    return columns


def format_table(predictions: Iterable[dict], names: OutputNames) -> Iterator[str]:
    """Yields text for people.

    For files: one table, then a line for each file without a prediction. For a stream: a line per
    second.
    """
    predicted, errors = [], []
    for prediction in predictions:
        if 'file' not in prediction:
            yield _stream_line(prediction, names)
        elif 'error' not in prediction:
            predicted.append(prediction)
        else:
            errors.append(f'{one_line(prediction["file"])}: {prediction["error"]}')
    if predicted:
        yield _render_table(predicted, names)
    yield from errors


def _stream_line(prediction: dict, names: OutputNames) -> str:
    values = names.find_values(prediction)
    parts = [f'{prediction["start"]:8.1f} to {prediction["end"]:8.1f} s']
    if names.classes:
        parts.append(f'{prediction["emotion"] or "":12s}')
    parts.append(_join_values(values, names) if values else prediction['note'])
    if 'enrolled' in prediction:
        parts.append(f'(enrolled: {pluralize(prediction["enrolled"], "window")})')
    return '  '.join(parts)


def _join_values(values: dict[str, float], names: OutputNames) -> str:
    """Returns values by name as text, such as 'angry 0.90 sad 0.10' or 'arousal +0.25'."""
    texts = names.format_values(values)
    return ' '.join(f'{name} {text}' for name, text in texts.items())


def describe_change(prediction: dict, names: OutputNames) -> str:
    """Returns how enrolment changed a prediction of a stream that has 'not_enrolled'."""
    windows = pluralize(prediction['enrolled'], 'window')
    values = names.find_values(prediction)
    return (
        f'{prediction["start"]:.0f} to {prediction["end"]:.0f} s, with {windows} of the speaker '
        f'enrolled: {_join_values(values, names)}; without enrolment: '
        f'{_join_values(prediction["not_enrolled"], names)}.'
    )


def _render_table(predictions: list[dict], names: OutputNames) -> str:
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
    if names.classes:
        table.add_column('emotion')
    for name in (*names.classes, *names.ratings):
        table.add_column(name, justify='right')
    for prediction in predictions:
        cells = [one_line(prediction['file']), f'{prediction["seconds"]:.1f}']
        if has_windows:
            cells.append(str(len(prediction['windows']) or ''))
        if has_enrolled:
            cells.append(str(prediction['enrolled']))
        if names.classes:
            cells.append(prediction['emotion'])
        cells += names.format_values(names.find_values(prediction), digits=3).values()
        table.add_row(*cells)
    return terminal.format_table(table, is_uncut=True)


def one_line(name: str) -> str:
    r"""Returns a name with its control characters and ends of lines as escapes, such as \n."""
    return terminal.escape_control_characters(name)

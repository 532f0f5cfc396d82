"""Answers as JSON lines, as CSV and as a table."""

import csv
import io
import json

import numpy as np
import pytest

from jaxser.serving import output
from jaxser.serving.output_names import OutputNames

NAMES = OutputNames(('angry', 'sad'))
RATING_NAMES = OutputNames((), ('arousal', 'valence'))
FILE_ANSWER = {
    'file': 'short.wav',
    'seconds': 2.0,
    'emotion': 'sad',
    'posterior': {'angry': 0.25, 'sad': 0.75},
    'windows': [],
}
WINDOW = {'start': 30.0, 'end': 40.0, 'emotion': 'angry', 'posterior': {'angry': 0.9, 'sad': 0.1}}
LONG_ANSWER = FILE_ANSWER | {'file': 'long.wav', 'seconds': 40.0, 'windows': [WINDOW] * 7}
FAILED_ANSWER = {'file': 'empty.wav', 'error': 'empty: 0 bytes'}
ANSWERS = [FILE_ANSWER, LONG_ANSWER, FAILED_ANSWER]


def format_answers(
    answers: list[dict], output_format: str, names: OutputNames = NAMES
) -> list[str]:
    return list(output.format_predictions(answers, output_format, names))


def table_cells(table: str) -> list[list[str]]:
    """The cells of the rows below the header."""
    rows = []
    for line in table.splitlines():
        if '│' in line:
            rows.append([cell.strip() for cell in line.split('│')[1:-1]])
    return rows


def test_the_number_of_enrolled_utterances_is_shown():
    """In a column for files, and at the end of the line for each second of a stream."""
    (table,) = format_answers([FILE_ANSWER | {'enrolled': 3}], 'table')
    assert table_cells(table)[-1][:4] == ['short.wav', '2.0', '3', 'sad']
    (line,) = format_answers([WINDOW | {'enrolled': 1}], 'table')
    assert line.endswith('angry 0.90 sad 0.10  (enrolled: 1 window)')


def test_the_change_by_enrolment_is_a_sentence():
    change = WINDOW | {'enrolled': 4, 'not_enrolled': {'angry': 0.4, 'sad': 0.6}}
    assert output.describe_change(change, NAMES) == (
        '30 to 40 s, with 4 windows of the speaker enrolled: angry 0.90 sad 0.10; '
        'without enrolment: angry 0.40 sad 0.60.'
    )


RATING_WINDOW = {'start': 30.0, 'end': 40.0, 'arousal': -0.25, 'valence': 0.5}
SILENT_WINDOW = RATING_WINDOW | dict.fromkeys(RATING_NAMES.ratings)
RATING_ANSWER = {
    'file': 'long.wav',
    'seconds': 40.0,
    'arousal': -0.25,
    'valence': 0.0,
    'windows': [RATING_WINDOW, SILENT_WINDOW],
}


def test_ratings_are_columns_of_csv_without_an_emotion():
    """A silent window has none."""
    lines = list(format_answers([RATING_ANSWER, FAILED_ANSWER], 'csv', RATING_NAMES))
    assert lines[0].strip() == 'file,part,start,end,arousal,valence,error'
    rows = list(csv.DictReader(lines))
    assert [row['part'] for row in rows] == ['file', 'window', 'window', 'error']
    assert [row['arousal'] for row in rows] == ['-0.25', '-0.25', '', '']
    assert [row['valence'] for row in rows] == ['0', '0.5', '', '']


def test_ratings_have_a_sign_in_the_table_and_in_a_stream():
    table, error = format_answers([RATING_ANSWER, FAILED_ANSWER], 'table', RATING_NAMES)
    assert table_cells(table) == [['long.wav', '40.0', '2', '-0.250', '+0.000']]
    assert 'emotion' not in table
    assert error == 'empty.wav: empty: 0 bytes'
    silent = SILENT_WINDOW | {'note': 'silent'}
    assert list(format_answers([RATING_WINDOW, silent], 'table', RATING_NAMES)) == [
        '    30.0 to     40.0 s  arousal -0.25 valence +0.50',
        '    30.0 to     40.0 s  silent',
    ]


def test_a_model_of_both_has_the_ratings_after_the_classes():
    names = OutputNames(NAMES.classes, ('arousal',))
    prediction = names.make_prediction(np.array([0.25, 0.75, -0.5]))
    assert prediction == {
        'emotion': 'sad',
        'posterior': {'angry': 0.25, 'sad': 0.75},
        'arousal': -0.5,
    }
    assert names.make_prediction(None) == dict.fromkeys(prediction)
    answer = prediction | {'file': 'short.wav', 'seconds': 2.0, 'windows': []}
    header, row = format_answers([answer], 'csv', names)
    assert header.strip() == 'file,part,start,end,emotion,angry,sad,arousal,error'
    assert row.strip() == 'short.wav,file,0,2.0,sad,0.25,0.75,-0.5,'
    (table,) = format_answers([answer], 'table', names)
    assert table_cells(table) == [['short.wav', '2.0', 'sad', '0.250', '0.750', '-0.500']]


def test_the_change_of_ratings_by_enrolment_is_a_sentence():
    not_enrolled = {'arousal': 0.1, 'valence': 0.5}
    change = RATING_WINDOW | {'enrolled': 4, 'not_enrolled': not_enrolled}
    assert output.describe_change(change, RATING_NAMES) == (
        '30 to 40 s, with 4 windows of the speaker enrolled: arousal -0.25 valence +0.50; '
        'without enrolment: arousal +0.10 valence +0.50.'
    )


def test_json_lines_are_the_answers():
    assert [json.loads(line) for line in format_answers(ANSWERS, 'jsonl')] == ANSWERS


def test_csv_has_a_row_for_each_file_and_each_window():
    rows = list(csv.DictReader(format_answers(ANSWERS, 'csv')))
    assert [row['part'] for row in rows] == ['file', 'file', *['window'] * 7, 'error']
    assert float(rows[1]['angry']) == 0.25
    assert (rows[-2]['start'], rows[-2]['end']) == ('30.0', '40.0')
    assert rows[-1]['error'] == 'empty: 0 bytes'


def test_csv_has_the_number_of_enrolled_utterances_if_speakers_are_enrolled():
    answers = [LONG_ANSWER | {'enrolled': 3}, FAILED_ANSWER]
    rows = list(csv.DictReader(output.format_predictions(answers, 'csv', NAMES, True)))
    assert [row['enrolled'] for row in rows] == ['3'] * 8 + ['']
    assert 'enrolled' not in next(csv.DictReader(format_answers(answers, 'csv')))


def test_the_table_has_a_row_for_each_file_and_then_the_errors():
    table, error = format_answers(ANSWERS, 'table')
    assert 'mean of windows' in table
    assert table_cells(table) == [
        ['short.wav', '2.0', '', 'sad', '0.250', '0.750'],
        ['long.wav', '40.0', '7', 'sad', '0.250', '0.750'],
    ]
    assert error == 'empty.wav: empty: 0 bytes'


def test_the_table_has_no_column_of_windows_if_no_file_has_any():
    (table,) = format_answers([FILE_ANSWER], 'table')
    assert 'windows' not in table


@pytest.mark.parametrize('end', ['\n', '\r', '\r\n', '\u2028', '\x85', '\x0c'], ids=ascii)
def test_the_name_of_a_file_cannot_forge_a_row(end):
    """With the end of a line and another row in it, of a file with or without an answer."""
    name = f'a.wav{end}b.wav,file,0,1,sad,0.1,0.9,'
    answers = [FILE_ANSWER | {'file': name, 'windows': [WINDOW]}, {'file': name, 'error': 'empty'}]
    texts = {}
    for output_format in output.FORMATS:
        texts[output_format] = '\n'.join(format_answers(answers, output_format))
    rows = list(csv.DictReader(io.StringIO(texts['csv'], newline=''), strict=True))
    assert [(row['file'], row['part']) for row in rows] == [
        (name, 'file'),
        (name, 'window'),
        (name, 'error'),
    ]
    assert [json.loads(line) for line in texts['jsonl'].splitlines()] == answers
    assert not any(line.startswith('b.wav') for line in texts['table'].splitlines())
    assert texts['table'].count('b.wav,file') == 2


def test_failures_are_collected_while_the_answers_pass():
    failed = []
    assert list(output.track_failures(ANSWERS, failed, len(ANSWERS))) == ANSWERS
    assert failed == [FAILED_ANSWER]

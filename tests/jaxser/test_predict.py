"""The command jaxser.predict, as a user runs it."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import models
from helpers.predictions import RATE, assert_close, make_tone

import jaxser
from data_pipelines.errors import UserError
from jaxser import predict

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Files as people have them: 48 kHz stereo, a very short one, a long one, and no audio."""
    path = tmp_path_factory.mktemp('files')
    left = make_tone(2.0, 48_000)
    soundfile.write(path / 'stereo.wav', np.stack([left, 0.5 * left], 1), 48_000)
    soundfile.write(path / 'short.wav', make_tone(0.3), RATE)
    soundfile.write(path / 'long.wav', make_tone(600.0, 8_000), 8_000)
    (path / 'empty.wav').touch()
    (path / 'notes.txt').write_text('no audio\n')
    return path


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['a.wav', '--rate', '8000'], '--rate is for standard input'),
        (['-'], 'give its rate'),
        (['-', 'a.wav', '--rate', '8000'], 'cannot be combined with files'),
        (['-', '--rate', '5'], '--rate is 5'),
        (['-', '--rate', '8000', '--channels', '0'], '--channels is 0'),
        ([], 'required: PATH'),
        (['--enrol', 'a.wav', 'b.wav'], 'write the files to predict before --enrol'),
        (['a.wav', '--enrol', 'stream'], '--enrol stream is for standard input'),
        (['-', '--rate', '8000', '--enrol', 'stream', 'a.wav'], 'cannot be combined with files'),
        (['-', '--rate', '8000', '--enrol-by', 'folder'], 'use --enrol stream'),
        (['a.wav', '--enrol', 'b.wav', '--enrol-by', 'folder'], 'choose one of them'),
        (['a.wav', '--save_enrolment', 'me'], 'add --enrol'),
        (
            ['a.wav', '--enrol', 'b.wav', '--save_enrolment', '/absent/me'],
            '/absent is not a folder',
        ),
        (['a.wav', '--window', 'inf'], 'A window of inf s cannot be used; expected 0.2 to 3600'),
        (['a.wav', '--window', 'nan'], 'A window of nan s cannot be used'),
        (['a.wav', '--window', '1e9'], 'A window of 1e+09 s cannot be used'),
        (['a.wav', '--hop', '1e-9'], 'a hop of 1e-09 s; expected a hop of 0.01 s or more'),
        (['a.wav', '--channel', '0'], 'The channel is 0; expected 1 to 64'),
        (['a.wav', ''], 'PATH has an empty path'),
        (['a.wav', '--enrol', ''], '--enrol has an empty path'),
        (['a.wav', '--upstream', ''], '--upstream has an empty path'),
        (['a.wav', '--enrol', 'b.wav', '--save_enrolment', ''], '--save_enrolment has an empty'),
        (['a.wav', '--workdir', ''], '--workdir has an empty path'),
        (['a.wav', '--enrol', 'b', '--save_enrolment', 'x' * 5000 + '/a'], 'is not a folder'),
    ],
)
def test_contradicting_flags_are_refused_before_the_model_is_read(arguments, message, capsys):
    with pytest.raises(SystemExit, match='2'):
        predict.parse_arguments(['--workdir', 'w', *arguments])
    assert message in capsys.readouterr().err


COMMAND = """
import sys
import jaxser
assert 'jax' not in sys.modules, 'import jaxser is light'
from jaxser import predict
heavy = {'tensorflow', 'tensorflow_datasets', 'orbax'}
try:
    predict.main()
finally:
    assert not {name.partition('.')[0] for name in sys.modules} & heavy
"""


def run_predict(*arguments: object, **options) -> subprocess.CompletedProcess:
    """Runs the command; it fails if it imports TensorFlow."""
    environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '1', 'PYTHONPATH': str(ROOT)}
    words = [sys.executable, '-c', COMMAND, *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, timeout=300, **options)


def test_good_files_are_answered_and_bad_ones_are_named(swept, folder, tmp_path):
    """In one call, from a copy of model/ alone; one of the bad files does not exist."""
    shutil.copytree(swept / 'model', tmp_path / 'model')
    names = ['stereo.wav', 'short.wav', 'long.wav', 'empty.wav', 'notes.txt', 'absent.wav']
    command = run_predict('--workdir', tmp_path / 'model', '--format', 'jsonl', *names, cwd=folder)
    assert command.returncode == 1, command.stderr
    answers = [json.loads(line) for line in command.stdout.splitlines()]
    assert [answer['file'] for answer in answers] == names
    assert [round(answer['seconds'], 3) for answer in answers[:3]] == [2.0, 0.3, 600.0]
    assert len(answers[2]['windows']) == 119
    assert [answer['error'] for answer in answers[3:]] == [
        'empty: 0 bytes',
        'not audio: a text file: name the right file, or download it again',
        'missing',
    ]
    assert b'3 of 6 files could not be predicted' in command.stderr
    assert command.stderr.count(b'Model: dann (lam = ') == 1
    assert b'), 3 networks.' in command.stderr
    assert b'Traceback' not in command.stderr


def test_what_is_left_out_of_a_folder_is_counted(swept, folder, tmp_path):
    """On stderr, next to the answers; a name of 5,000 bytes is answered like a missing file."""
    shutil.copytree(folder, tmp_path / 'in')
    (tmp_path / 'in' / 'line\nbreak.csv').write_text('a,b\n')
    command = run_predict('--workdir', swept, '--format', 'csv', tmp_path / 'in', 'x' * 5000)
    assert command.returncode == 1
    rows = list(csv.DictReader(command.stdout.decode().splitlines()))
    names = [Path(row['file']).name for row in rows if row['part'] != 'window']
    assert names == ['empty.wav', 'long.wav', 'short.wav', 'stereo.wav', 'x' * 5000]
    notes = command.stderr.decode()
    assert 'Left out, as not audio: 2 files in' in notes
    assert 'line\\nbreak.csv, notes.txt' in notes
    assert 'Traceback' not in notes


def test_a_stream_has_a_line_a_second_and_the_exit_status_0(swept):
    pcm = (make_tone(3.0) * 32768).astype('<i2').tobytes()
    command = run_predict('--workdir', swept, '-', '--rate', RATE, '--format', 'csv', input=pcm)
    assert command.returncode == 0, command.stderr
    rows = list(csv.DictReader(command.stdout.decode().splitlines()))
    times = [(row['start'], row['end']) for row in rows]
    assert times == [('0.0', '1.0'), ('0.0', '2.0'), ('0.0', '3.0')]


def test_standard_input_may_follow_enrol():
    words = ['--workdir', 'w', '--rate', '8000', '--enrol', 'stream', '-']
    parsed = predict.parse_arguments(words)
    assert (parsed.paths, parsed.enrol) == (['-'], ['stream'])


@pytest.fixture(scope='module')
def enrolment_folder(tmp_path_factory) -> Path:
    """A model in which speakers can be enrolled, and two recordings each of two speakers."""
    path = tmp_path_factory.mktemp('enrolment')
    models.write_model(path / 'model', models.make_enrolment_model())
    for speaker, pitch in (('anna', 220), ('ben', 120)):
        (path / 'voices' / speaker).mkdir(parents=True)
        for n in range(2):
            wave = make_tone(1.2 + n, pitch=pitch + 5 * n)
            soundfile.write(path / 'voices' / speaker / f'{n}.wav', wave, RATE)
    soundfile.write(path / 'voices' / 'ben' / 'short.wav', make_tone(0.4), RATE)
    return path


def run_enrolment(folder: Path, *arguments: str, **options) -> tuple[list[dict], str]:
    """Returns the predictions of a command that succeeds, and what it says on stderr."""
    command = run_predict(
        *('--workdir', 'model', '--format', 'jsonl', *arguments), cwd=folder, **options
    )
    assert command.returncode == 0, command.stderr
    answers = [json.loads(line) for line in command.stdout.splitlines()]
    return answers, command.stderr.decode()


def test_a_speaker_is_enrolled_saved_and_named_again(enrolment_folder, tmp_path):
    """By the command, with the answers of the Python interface; what is too short is named."""
    ben, tested = 'voices/ben', 'voices/anna/0.wav'
    saved = str(tmp_path / 'ben.safetensors')
    (plain,), notes = run_enrolment(enrolment_folder, tested)
    assert 'No speaker is enrolled' in notes
    (answer,), notes = run_enrolment(
        enrolment_folder, tested, '--enrol', ben, '--save-enrolment', saved
    )
    assert f'Saved: {saved}.' in notes
    assert 'are transductive' in notes
    assert answer['enrolled'] == 2
    assert 'One speaker is enrolled by 2 utterances, 3.4 s.' in notes
    assert 'Not enrolled: voices/ben/short.wav (shorter than 1 s: 0.40 s).' in notes
    (from_saved,), notes = run_enrolment(enrolment_folder, tested, '--enrol', saved)
    assert 'One speaker is enrolled by 2 utterances' in notes
    assert from_saved == answer
    assert answer['posterior'] != pytest.approx(plain['posterior'], abs=1e-3)
    predictor = jaxser.load(enrolment_folder / 'model', enrolment=saved)
    (expected,) = predictor.predict_files([enrolment_folder / tested])
    assert_close(answer, expected)


def test_each_folder_is_a_speaker(enrolment_folder):
    answers, notes = run_enrolment(enrolment_folder, 'voices', '--enrol-by', 'folder')
    assert '2 folders = 2 speakers.\n' in notes
    assert 'Not enrolled: voices/ben/short.wav (shorter than 1 s: 0.40 s).' in notes
    assert 'are transductive' in notes
    enrolled = {answer['file']: answer['enrolled'] for answer in answers}
    assert enrolled == {
        'voices/anna/0.wav': 1,
        'voices/anna/1.wav': 1,
        'voices/ben/0.wav': 1,
        'voices/ben/1.wav': 1,
        'voices/ben/short.wav': 2,
    }


def test_a_file_that_is_predicted_and_enrolled_is_named(enrolment_folder):
    """Its answer is not that of a new recording. CSV has the number of enrolled utterances."""
    paths = ('voices/ben/0.wav', 'voices/ben/1.wav')
    command = run_predict(
        *('--workdir', 'model', '--format', 'csv', *paths, '--enrol', 'voices/ben'),
        cwd=enrolment_folder,
    )
    assert b'Predicted and enrolled, too: voices/ben/0.wav and 1 other.' in command.stderr
    rows = list(csv.DictReader(command.stdout.decode().splitlines()))
    assert [row['enrolled'] for row in rows] == ['2', '2']


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('absent.safetensors', 'does not exist'),
        ('model/model.safetensors', 'is not a saved enrolment'),
    ],
)
def test_a_file_that_is_no_saved_enrolment_is_refused_by_its_suffix(
    enrolment_folder, name, message
):
    predictor = jaxser.load(enrolment_folder / 'model')
    with pytest.raises(UserError, match=message):
        predict._enrol_paths(predictor, [str(enrolment_folder / name)], [])


def test_a_stream_enrols_its_speaker_and_says_what_changed(enrolment_folder, tmp_path):
    pcm = (make_tone(61.0) * 32768).astype('<i2').tobytes()
    flags = ('--rate', str(RATE), '--enrol', 'stream', '--save_enrolment', str(tmp_path / 'me'))
    answers, notes = run_enrolment(enrolment_folder, '-', *flags, input=pcm)
    assert [answer['enrolled'] for answer in answers[::10]] == [0, 1, 2, 3, 4, 5, 6]
    assert '50 to 60 s, with 5 windows of the speaker enrolled: angry' in notes
    assert 'are transductive' in notes
    assert f'Saved: {tmp_path / "me"}.' in notes
    assert '; without enrolment: angry' in notes
    saved = jaxser.load(enrolment_folder / 'model', enrolment=tmp_path / 'me').enrolment
    assert (saved.utterances, saved.seconds) == (6, 60.0)


@pytest.mark.parametrize(
    'flags', [['a.wav', '--enrol', 'b.wav'], ['a', '--enrol-by', 'folder']], ids=str
)
def test_a_model_that_cannot_enrol_ends_with_what_to_train(swept, flags):
    command = run_predict('--workdir', swept, *flags)
    assert (command.returncode, command.stdout) == (2, b'')
    assert b'--config.data.normalise=speaker_enrolled' in command.stderr


def test_a_workdir_without_a_model_ends_with_a_message_and_the_exit_status_2(tmp_path):
    command = run_predict('--workdir', tmp_path, 'a.wav')
    assert (command.returncode, command.stdout) == (2, b'')
    assert b'contains no model' in command.stderr
    assert b'Traceback' not in command.stderr

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
from helpers.predictions import RATE, make_tone

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
        'unreadable: Format not recognised.',
        'missing',
    ]
    assert b'3 of 6 files could not be predicted' in command.stderr
    assert b'Traceback' not in command.stderr


def test_a_stream_has_a_line_a_second_and_the_exit_status_0(swept):
    pcm = (make_tone(3.0) * 32768).astype('<i2').tobytes()
    command = run_predict('--workdir', swept, '-', '--rate', RATE, '--format', 'csv', input=pcm)
    assert command.returncode == 0, command.stderr
    rows = list(csv.DictReader(command.stdout.decode().splitlines()))
    times = [(row['start'], row['end']) for row in rows]
    assert times == [('0.0', '1.0'), ('0.0', '2.0'), ('0.0', '3.0')]


def test_a_workdir_without_a_model_ends_with_a_message_and_the_exit_status_2(tmp_path):
    command = run_predict('--workdir', tmp_path, 'a.wav')
    assert (command.returncode, command.stdout) == (2, b'')
    assert b'contains no model' in command.stderr
    assert b'Traceback' not in command.stderr

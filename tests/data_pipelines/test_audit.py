"""Tests of the command data_pipelines.audit and its flags."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_pipelines import pack
from data_pipelines.features.log_mel import LogMel

ROOT = Path(__file__).parents[2]
CONFIG = '--config=tests/helpers/tiny_config.py'


def run_command(*arguments: object) -> tuple[int, str]:
    """Returns the exit status of the command and its output."""
    line = [sys.executable, '-m', 'data_pipelines.audit', *map(str, arguments)]
    process = subprocess.run(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    return process.returncode, process.stdout


def test_the_command_prints_the_audit_and_exits_with_2_on_a_leak(data, tmp_path):
    """On a packed corpus, first as it is, then with a recording under another speaker's name."""
    (record,) = data.rglob('prepared.json')
    file = tmp_path / 'folder' / LogMel().npz_name
    file.parent.mkdir()
    pack.write_npz(record.parent, file)
    data_flag = f'--config.data.dir={tmp_path}'
    status, output = run_command(CONFIG, data_flag)
    assert status == 0, output
    for words in (
        'part 1 of 3',
        '16, 2, 2',
        'most unbalanced speakers first',
        'no speaker shared',
        'emotion from speaker',
        'split ',
    ):
        assert words in output
    assert max(map(len, output.splitlines())) <= 80, output

    with np.load(file) as content:
        columns = dict(content)
    columns['text_sha256'][0] = columns['text_sha256'][-1]
    np.savez(file, **columns)
    status, output = run_command(CONFIG, data_flag)
    assert status == 2, output
    assert 'Audio leak' in output.splitlines()[-1]
    assert 'labelled with different speaker and emotion' in output
    assert 'Traceback' not in output
    status, output = run_command(CONFIG, data_flag, '--allow_leak=audio')
    assert status == 0, output
    assert 'LEAK (allowed): 1 recording shared' in output


def test_a_length_that_predicts_the_emotion_is_in_the_first_ten_lines(data, tmp_path):
    """Utterances of one emotion are all of 2 s, the others of 3 s, with their features as before.

    The results have the same for the page, and copies are written to the CSV and left out.
    """
    (record,) = data.rglob('prepared.json')
    file = tmp_path / 'folder' / LogMel().npz_name
    file.parent.mkdir()
    pack.write_npz(record.parent, file)
    with np.load(file) as content:
        columns = dict(content)
    is_first_N = columns['text_emotion'] == columns['text_emotion'][0]
    columns['audio_facts_NxF'][:, 0] = np.where(is_first_N, 2.0, 3.0)
    columns['text_sha256'][0] = columns['text_sha256'][-1]
    np.savez(file, **columns)
    listed = tmp_path / 'copies.csv'
    flags = [CONFIG, f'--config.data.dir={tmp_path}', f'--duplicates={listed}']
    status, output = run_command(*flags, '--drop_copies')
    assert status == 0, output
    first_lines = ' '.join(output.splitlines()[:10])
    assert 'Warning: length alone predicts the emotion of unseen speakers: UAR 1.00' in first_lines
    assert 'without copies of recordings' in output.splitlines()[0]
    hash_without_copies = output.splitlines()[1]
    assert 'Left out, copies of other recordings: 6.' in output  # 5 tones are nearly identical
    assert '6 pairs of copies' in output
    header, *rows = listed.read_text().splitlines()
    assert header.startswith('utterance,copy,similarity')
    assert rows[-1] == '0_angry_0.wav,5_sad_3.wav,1.0,s0,s5,angry,sad,,yes'
    assert {row.rpartition(',')[2] for row in rows} == {'yes'}
    status, output = run_command(*flags)
    assert status == 2, output
    assert output.splitlines()[1] != hash_without_copies
    assert '--drop_copies keeps one' in output.splitlines()[-1]
    assert '0_angry_0.wav,5_sad_3.wav,1.0,s0,s5,angry,sad,yes,\n' in listed.read_text()


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ([CONFIG, '--allow_leak=voice'], '--allow_leak accepts speaker, audio'),
        ([], 'python -m data_pipelines.audit --config'),
        ([CONFIG, '--config.protocol.nam=x'], "Did you mean 'name'"),
        ([CONFIG, '--config.data.dir='], '--config.data.dir is empty'),
    ],
)
def test_a_mistake_in_the_flags_is_explained(arguments, words):
    """The message is a sentence, as in training, with the name of this command."""
    status, output = run_command(*arguments)
    assert status == 2, output
    assert words in output
    assert 'Traceback' not in output


def test_allowed_leaks_are_part_of_the_configuration():
    """Their order is fixed, so that config.json has them and resuming does not change them."""
    code = (
        'import sys; from configs import command; '
        'print(command.parse_flags(sys.argv, "x").protocol.allow_leak)'
    )
    line = [sys.executable, '-c', code, CONFIG, '--allow_leak=speaker,audio']
    process = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout == 'audio,speaker\n'

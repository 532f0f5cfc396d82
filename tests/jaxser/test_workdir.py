"""Tests of the folder of a sweep: its lock, its removal, and the text files in it."""

import errno
import fcntl
import io
import json
import math
import os
import subprocess
import sys

import filelock
import pytest

from configs import base
from data_pipelines import csv_files
from data_pipelines.errors import UserError
from jaxser import parquet
from jaxser.workdir import Workdir

LOCK_AND_WAIT = """
import fcntl, sys
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
"""

# What Python's str.splitlines takes for the end of a line, beside the newline.
BREAKS = ('\r', '\n', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\x85', '\u2028', '\u2029')


def open_workdir(path) -> Workdir:
    """Returns the workdir of a sweep with the default configuration."""
    return Workdir(path, base.get_config())


def test_a_second_process_is_refused_while_the_first_uses_the_folder(tmp_path):
    """It may use the folder when the first has been killed."""
    command = [sys.executable, '-c', LOCK_AND_WAIT, str(tmp_path / '.lock')]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'locked\n'
        with pytest.raises(UserError, match=f'Another process is using {tmp_path}'):
            open_workdir(tmp_path)
        other.kill()
    open_workdir(tmp_path)


def test_a_process_may_open_its_folder_twice(tmp_path):
    """The lock is one, and is free when nothing in the process refers to it any more."""
    first = open_workdir(tmp_path)
    second = open_workdir(tmp_path)
    assert second.lock is first.lock
    command = [sys.executable, '-c', LOCK_AND_WAIT, str(tmp_path / '.lock')]
    del first
    with open(tmp_path / '.lock') as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    del second
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'locked\n'
        other.kill()


@pytest.mark.parametrize('number', [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_can_be_used(number, tmp_path, monkeypatch, capsys):
    """The folder is opened without a lock, which is said once."""

    def fail(file, operation):
        raise OSError(number, 'no locks here')

    monkeypatch.setattr(fcntl, 'flock', fail)
    open_workdir(tmp_path)
    open_workdir(tmp_path)
    assert capsys.readouterr().out.count('.lock cannot be locked (no locks here)') == 1


def test_the_lock_of_another_user_is_said(tmp_path, monkeypatch, capsys):
    """It can be read, but not be opened for writing; the folder may still be writable."""

    def refuse(lock):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr(filelock.FileLock, '_acquire', refuse)
    open_workdir(tmp_path)
    printed = capsys.readouterr().out
    assert '.lock cannot be locked (Permission denied)' in printed
    assert 'If the file belongs to another user, and nothing runs there, remove it.' in printed


def test_a_folder_is_removed_only_if_it_is_empty(tmp_path):
    """A file in it may be the user's."""
    open_workdir(tmp_path / 'new').remove_if_empty()
    assert not (tmp_path / 'new').exists()
    workdir = open_workdir(tmp_path / 'new')
    (tmp_path / 'new' / 'notes').touch()
    workdir.remove_if_empty()
    assert (tmp_path / 'new' / 'notes').exists()


def save_group(workdir: Workdir, group: int, lam: float, names: list[str]) -> list[dict]:
    """Saves a group of one run with a prediction for each name; returns the predictions."""
    rows = []
    for name in names:
        row = {'run': f'lam={lam:g} seed=0', 'fold': '0', 'utterance': name, 'speaker': name}
        rows.append(row | {'truth': 'sad', 'sad': '0.5'})
    workdir.save_outcome(group, {'runs': []}, [csv_files.format_rows(rows)])
    return rows


def test_predictions_of_all_groups_are_merged_whatever_the_names(tmp_path):
    """Names may contain line breaks; a group whose runs have all diverged has no rows."""
    workdir = open_workdir(tmp_path)
    names = [f's{line_break}1' for line_break in BREAKS]
    rows = save_group(workdir, 0, 0.1, names)
    workdir.save_outcome(1, {'runs': []}, [])
    rows += save_group(workdir, 2, 0.3, ['plain', *names])
    text = workdir.merge_predictions(3).read_bytes().decode()
    assert text == csv_files.format_rows(rows)
    assert list(csv_files.read_rows(text)) == rows


def test_large_predictions_are_written_as_parquet_too(tmp_path, monkeypatch):
    """The same table, and none where PyArrow is missing; an older one is removed."""
    arrow_parquet = pytest.importorskip('pyarrow.parquet')
    monkeypatch.setattr(parquet, 'MIN_CSV_BYTES', 0)
    monkeypatch.setattr(parquet, 'ROW_GROUP_BYTES', 100)
    workdir = open_workdir(tmp_path)
    names = [f's{line_break}1' for line_break in BREAKS]
    save_group(workdir, 0, 0.1, ['nan', '', 'a"b', *names])
    save_group(workdir, 1, 0.3, names)
    file = workdir.merge_predictions(2)
    table = arrow_parquet.read_table(tmp_path / 'predictions.parquet')
    rows = csv_files.read_rows(file.read_bytes().decode())
    expected = [row | {'fold': int(row['fold']), 'sad': float(row['sad'])} for row in rows]
    assert table.to_pylist() == expected
    assert workdir.files.read('predictions.parquet')  # its checksum is right
    monkeypatch.setattr(parquet, 'is_available', lambda: False)
    workdir.merge_predictions(2)
    assert not (tmp_path / 'predictions.parquet').exists()


def test_numbers_of_parquet_may_be_missing_or_not_finite():
    """An empty cell is null, as a divergence from votes; a rating that is NaN stays NaN."""
    arrow_parquet = pytest.importorskip('pyarrow.parquet')
    content = parquet.csv_to_parquet(b'run,fold,valence,vote_kl\n"a,b",1,nan,\n"a,b",1,0.5,2e-3\n')
    first, second = arrow_parquet.read_table(io.BytesIO(content)).to_pylist()
    assert (first['run'], first['vote_kl']) == ('a,b', None)
    assert math.isnan(first['valence'])
    assert second == {'run': 'a,b', 'fold': 1, 'valence': 0.5, 'vote_kl': 0.002}


def test_lines_end_with_a_newline_alone(tmp_path):
    """In metrics.jsonl another program may have written U+2028 as it is."""
    lines = []
    for line_break in BREAKS:
        lines.append(json.dumps({'run': f's{line_break}1'}, ensure_ascii=False) + '\n')
    (tmp_path / 'metrics.jsonl').write_bytes(''.join(lines).encode())
    workdir = open_workdir(tmp_path)
    assert workdir.read_lines('metrics.jsonl') == lines
    assert workdir.read_lines('missing.jsonl') == []


@pytest.mark.parametrize('name', ['sweep[1]', 'a*', 'what?', 'a\\b', 'a\udcff'])
def test_a_path_with_which_checkpoints_cannot_be_read_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r'checkpoints cannot be read again|no checkpoint can be'):
        open_workdir(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_others_may_not_write_to_the_lock(tmp_path):
    old_mask = os.umask(0)
    try:
        workdir = open_workdir(tmp_path)
    finally:
        os.umask(old_mask)
    assert workdir.lock.is_locked
    assert (tmp_path / '.lock').stat().st_mode & 0o022 == 0


def test_partial_files_of_killed_processes_are_removed(tmp_path):
    (tmp_path / 'groups' / '0').mkdir(parents=True)
    parts = [tmp_path / '.results.json.1.part', tmp_path / 'groups' / '0' / '.outcome.json.1.part']
    for part in parts:
        part.write_text('{')
    open_workdir(tmp_path)
    assert not any(part.exists() for part in parts)


def test_damaged_files_of_a_group_are_refused_with_what_to_remove(tmp_path):
    workdir = open_workdir(tmp_path)
    save_group(workdir, 0, 0.0, ['a'])
    outcome = tmp_path / 'groups' / '0' / 'outcome.json'
    content = outcome.read_bytes()
    outcome.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r'outcome\.json is damaged.*Remove .*outcome\.json'):
        workdir.load_outcome(0)
    finished = {'hyper': {'seed': 0, 'fold': 0}, 'status': 'ok', 'epoch': 1, 'dev': {}, 'test': {}}
    text = json.dumps({'runs': [finished], 'seconds': 1.0, 'lines': 0})
    workdir.files.write('groups/0/outcome.json', text)
    with pytest.raises(UserError, match=r'damaged: it lacks runs\[0\]\.selected.*Remove'):
        workdir.load_outcome(0)
    (tmp_path / 'groups' / '0' / 'predictions.csv').unlink()
    with pytest.raises(UserError, match=r'predictions\.csv is missing.*Remove .*outcome\.json'):
        workdir.merge_predictions(1)

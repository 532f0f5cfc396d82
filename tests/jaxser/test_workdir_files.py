import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import finished_sweeps

from data_pipelines.errors import UserError
from jaxser import workdir_files
from jaxser.analysis.finished import read_finished_sweep
from jaxser.reporting.comparison_page import write_comparison
from jaxser.reporting.page import write_report
from jaxser.workdir_files import (
    CHECKSUMS_FILE,
    WorkdirFiles,
    open_whole,
    remove_partial_files,
    write_named,
    write_whole,
)

SCHEMA = {'epoch': workdir_files.EPOCH}


@pytest.fixture
def files(tmp_path) -> WorkdirFiles:
    files = WorkdirFiles(tmp_path)
    files.write('some.json', '{"epoch": 3}')
    return files


def test_what_is_written_is_read(files):
    assert files.read_json('some.json', SCHEMA) == {'epoch': 3}
    assert sorted(os.listdir(files.folder)) == [CHECKSUMS_FILE, 'some.json']


def test_every_flipped_bit_is_found(files):
    """Also one that leaves valid JSON, such as a 2 instead of a 3."""
    file = files.folder / 'some.json'
    content = file.read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=re.escape(f'{file} is damaged')):
            files.read_json('some.json', SCHEMA)


def test_a_crash_before_the_file_is_replaced_leaves_the_old_one_valid(files, monkeypatch):
    @contextlib.contextmanager
    def write_checksums_only(file):
        with open_whole(file) as stream:
            yield stream
            if file.name != CHECKSUMS_FILE:
                raise KeyboardInterrupt

    monkeypatch.setattr(workdir_files, 'open_whole', write_checksums_only)
    for _ in range(2):  # the next process may be killed at the same place
        with pytest.raises(KeyboardInterrupt):
            files.write('some.json', '{"epoch": 4}')
    assert files.read_json('some.json', SCHEMA) == {'epoch': 3}
    monkeypatch.undo()
    files.write('some.json', '{"epoch": 5}')
    assert files.read_json('some.json', SCHEMA) == {'epoch': 5}


def make_fifo(file):
    os.mkfifo(file)


def make_folder(file):
    file.mkdir()


def make_large(file):
    with open(file, 'wb') as stream:
        stream.truncate(workdir_files.MAX_BYTES + 1)


def make_loop(file):
    file.symlink_to(file)


@pytest.mark.parametrize('make', [make_fifo, make_folder, make_large, make_loop])
def test_only_regular_files_below_a_size_are_read(files, make):
    make(files.folder / 'odd.json')
    assert files.exists('odd.json')
    with pytest.raises(UserError, match=r'odd\.json (is damaged|cannot be read)'):
        files.read_json('odd.json', SCHEMA)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'', 'is no JSON'),
        (b'{"epoch": ', 'is no JSON'),
        (b'[' * 100_000, 'RecursionError'),
        (b'{"epoch": ' + b'9' * 5000 + b'}', 'is no JSON'),
        (b'\xff{}', 'byte 0 is not UTF-8'),
        (b'[]', 'expected a dictionary'),
        (b'{"epoch": 1.5}', 'expected a whole number'),
    ],
)
def test_a_file_without_checksum_is_checked_for_its_form(files, text, message):
    (files.folder / 'old.json').write_bytes(text)
    with pytest.raises(UserError, match=message):
        files.read_json('old.json', SCHEMA)


def test_damaged_checksums_are_refused_by_name(files):
    (files.folder / CHECKSUMS_FILE).write_text('{"some.json": 3}')
    with pytest.raises(UserError, match=r'checksums\.json is damaged.*remove it'):
        files.read_json('some.json', SCHEMA)


def test_damaged_archives_are_refused(files):
    file = files.folder / 'arrays.npz'
    np.savez_compressed(file, x=np.arange(1000), allow_pickle=False)
    content = file.read_bytes()
    assert files.read_arrays('arrays.npz')['x'].sum() == 499500
    random = np.random.default_rng(0)
    messages = []
    for n in range(200):
        damaged = bytearray(content)
        if n < 100:
            damaged = damaged[: random.integers(len(content))]
        else:
            damaged[random.integers(len(content))] ^= 1 << random.integers(8)
        file.write_bytes(damaged)
        try:
            arrays = files.read_arrays('arrays.npz')
        except UserError as error:
            messages.append(str(error))
        else:  # a bit that has no meaning, such as one of the date, or of the name
            assert arrays.keys() != {'x'} or np.array_equal(arrays['x'], np.arange(1000))
    assert len(messages) > 100
    assert all('arrays.npz is damaged' in message for message in messages)
    np.savez(file, x=np.array([{}]))
    with pytest.raises(UserError, match=r'arrays\.npz is damaged'):
        files.read_arrays('arrays.npz')


@pytest.mark.parametrize('make', [make_fifo, make_folder])
def test_a_file_that_became_something_else_is_refused_when_written(files, make):
    """To read a pipe would block."""
    (files.folder / 'some.json').unlink()
    make(files.folder / 'some.json')
    with pytest.raises(UserError, match=r'some\.json is damaged: it is not a regular file'):
        files.write('some.json', '{}')


def test_an_archive_larger_than_the_memory_is_refused(files, monkeypatch):
    """A small file may contain gigabytes of zeros."""
    np.savez_compressed(files.folder / 'arrays.npz', a=np.zeros(100_000))
    monkeypatch.setattr(workdir_files, 'memory_bytes', lambda: 500_000)
    with pytest.raises(UserError, match='its arrays have 800128 bytes'):
        files.read_arrays('arrays.npz')


def test_a_link_in_a_workdir_is_replaced_and_one_that_the_user_names_is_followed(tmp_path):
    (tmp_path / 'own').write_text('old')
    for name in ('workdir', 'named'):
        (tmp_path / name).symlink_to('own')
    write_whole(tmp_path / 'workdir', 'new')
    assert (tmp_path / 'own').read_text() == 'old'
    write_named(tmp_path / 'named', 'new')
    assert (tmp_path / 'named').is_symlink()
    assert (tmp_path / 'own').read_text() == 'new'


def test_a_pipe_that_the_user_names_is_written_into(tmp_path):
    """As is a device such as /dev/stdout, which must not be replaced by a file."""
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDWR | os.O_NONBLOCK)
    write_named(tmp_path / 'pipe', 'new')
    assert os.read(reader, 10) == b'new'
    os.close(reader)


def test_partial_files_have_the_process_id_and_old_ones_are_removed(tmp_path):
    names = ['.a.json.1.part', '.a.json.2.part', '.b.json.1.part']
    for name in names:
        (tmp_path / name).write_text('')
    os.utime(tmp_path / names[0], (time.time() - 7200,) * 2)
    write_whole(tmp_path / 'a.json', '{}')
    assert sorted(os.listdir(tmp_path)) == [names[1], names[2], 'a.json']
    remove_partial_files(tmp_path, 'a.json')
    assert sorted(os.listdir(tmp_path)) == [names[2], 'a.json']


def test_the_partial_file_of_a_process_that_has_ended_is_removed_at_once(tmp_path):
    """Of a process that runs, or of another machine, it may still be needed."""
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    host = socket.gethostname()
    kept = [f'.a.json.{host}-{os.getppid()}.part', f'.a.json.other-{ended.pid}.part']
    for name in (*kept, f'.a.json.{host}-{ended.pid}.part'):
        (tmp_path / name).write_text('')
    write_whole(tmp_path / 'a.json', '{}')
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, 'a.json'])


def test_a_file_is_on_disk_before_it_replaces_another(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, 'fsync', lambda number: synced.append(os.listdir(tmp_path)))
    write_whole(tmp_path / 'a.json', '{}')
    assert synced == [[f'.a.json.{socket.gethostname()}-{os.getpid()}.part']]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_whole(tmp_path / 'a.json', 'old')

    def fail(number):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match='No space'):
        write_whole(tmp_path / 'a.json', 'new')
    assert os.listdir(tmp_path) == ['a.json']
    assert (tmp_path / 'a.json').read_text() == 'old'


def write_sweep(path):
    finished_sweeps.write_sweep(path)
    finished_sweeps.write_representations(path)
    return path


DAMAGE = {
    'config.json': ['', '{}', '[]', '{"config": 3}', 'null'],
    'results.json': ['', '{}', '[]', '{"classes": ["A"], "runs": [], "groups": []}'],
    'predictions.csv': ['', 'run,fold\n', '\0', 'run,fold,speaker,truth,A,B,C\nx,y,s,A,1,0,0\n'],
    'metrics.jsonl': [
        '{',
        '[]\n',
        '{"epoch": 1000000000, "lam": 0.0, "seed": 0, "fold": 0, "dev_uar": 0.5}\n',
        '{"epoch": 1, "lam": 77, "seed": 0, "fold": 0}\n',
        '{"epoch": 1, "lam": 0.0, "seed": 0, "fold": 0, "dev_uar": "x"}\n',
    ],
    'representations.npz': ['', 'PK\3\4'],
}


@pytest.mark.parametrize('name', DAMAGE)
def test_the_report_refuses_a_damaged_file_by_its_name(tmp_path, name):
    path = write_sweep(tmp_path / 'w')
    for text in DAMAGE[name]:
        (path / name).write_text(text)
        with pytest.raises(UserError, match=re.escape(name)):
            write_report(path)
    assert not (path / 'report.html').exists()


@pytest.mark.parametrize('name', DAMAGE)
@pytest.mark.parametrize('kind', ['dead link', 'folder', 'pipe'])
def test_the_report_refuses_what_is_no_file_under_the_name_of_one(tmp_path, name, kind):
    """It is not taken for a file that does not exist, without which there is no section."""
    path = write_sweep(tmp_path / 'w')
    (path / name).unlink()
    if kind == 'dead link':
        (path / name).symlink_to('elsewhere')
    elif kind == 'folder':
        (path / name).mkdir()
    else:
        os.mkfifo(path / name)
    message = {'dead link': 'a link to elsewhere, which does not'}.get(kind, 'not a regular file')
    with pytest.raises(UserError, match=f'{re.escape(name)} is damaged: it is {message}'):
        write_report(path)


def test_values_of_another_type_are_refused_by_report_and_comparison(tmp_path):
    """results.json of an earlier version, which has no checksum."""
    path = write_sweep(tmp_path / 'w')
    results = json.loads((path / 'results.json').read_text())
    results['runs'][0]['probe']['speaker'] = 3  # no schema describes it
    (path / 'results.json').write_text(json.dumps(results))
    for write, argument in ((write_report, path), (write_comparison, [path, path])):
        with pytest.raises(UserError, match=r'results\.json is damaged'):
            write(argument)


@pytest.mark.parametrize('value', [3, 'x', [3], {'x': 3}])
def test_every_value_of_the_results_is_checked(tmp_path, value):
    path = write_sweep(tmp_path / 'w')
    results = json.loads((path / 'results.json').read_text())
    messages = []
    for key in results:
        (path / 'results.json').write_text(json.dumps(results | {key: value}))
        messages += refusals(read_finished_sweep, path)
    assert len(messages) > 8
    assert all('results.json is damaged' in text for text in messages)


def refusals(function, argument) -> list[str]:
    try:
        function(argument)
    except UserError as error:
        return [str(error)]
    return []

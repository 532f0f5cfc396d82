"""Tests that event files are those of tensorboardX, without its queue between processes."""

import contextlib
import os
from pathlib import Path

import pytest
import tensorboardX

from jaxser.training.event_files import EventFile


@pytest.mark.parametrize('first_removed', [None, 3])
def test_the_events_are_those_of_a_summary_writer(first_removed, tmp_path, monkeypatch):
    monkeypatch.setattr('time.time', lambda: 1.7e9)
    monkeypatch.setattr('socket.gethostname', lambda: 'host')
    theirs = tensorboardX.SummaryWriter(str(tmp_path / 'theirs'), purge_step=first_removed)
    ours = EventFile(str(tmp_path / 'ours'), first_removed)
    for writer in (theirs, ours):
        writer.add_scalar('dev UAR', 0.25, 3)
        writer.add_scalar('loss', 1.5, 4)
        writer.close()
    (their_file,) = (tmp_path / 'theirs').iterdir()
    (our_file,) = (tmp_path / 'ours').iterdir()
    assert our_file.name == their_file.name
    assert our_file.read_bytes() == their_file.read_bytes()


def test_shared_memory_is_not_needed(tmp_path, monkeypatch):
    """As in a container whose /dev/shm is mounted read-only."""

    def refuse(*arguments, **options):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr('multiprocessing.synchronize.SemLock.__init__', refuse)
    file = EventFile(str(tmp_path), None)
    file.add_scalar('loss', 1.5, 4)
    file.close()


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='a device of Linux')
def test_a_full_disk_is_an_error_of_the_caller(tmp_path, monkeypatch):
    from tensorboardX import record_writer

    full = Path('/dev/full').open('wb')  # noqa: SIM115 (closing it fails, too)
    monkeypatch.setattr(record_writer, 'open_file', lambda path: full)
    file = EventFile(str(tmp_path), None)
    file.add_scalar('loss', 1.5, 4)
    with pytest.raises(OSError, match='No space left'):
        file.flush()
    with contextlib.suppress(OSError):
        full.close()

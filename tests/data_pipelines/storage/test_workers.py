"""Tests that an utterance that ends a worker process takes no other utterance along."""

import dataclasses
import errno
import os
import signal
from pathlib import Path

import pytest
from helpers.audio import DyingSpec, make_utterance

from data_pipelines.errors import UserError
from data_pipelines.storage import workers


@pytest.mark.parametrize(
    ('signal_number', 'reason'),
    [
        (signal.SIGKILL, 'its worker process was killed, probably because the memory was full'),
        (signal.SIGSEGV, 'unreadable: its decoder crashed'),
        (signal.SIGABRT, 'unreadable: its decoder crashed'),
    ],
)
def test_an_utterance_that_ends_its_process_is_rejected_with_the_reason(signal_number, reason):
    utterance = make_utterance(Path('a.wav'))
    utterances = [dataclasses.replace(utterance, name=f'u{n}') for n in range(4)]
    results = workers.process_one_by_one(utterances, DyingSpec('u1', signal_number))
    assert [str(result) for result in results[1:2]] == [reason]
    assert results[0] == {'name': 'u0'}
    assert results[2:] == [{'name': 'u2'}, {'name': 'u3'}]


@pytest.mark.parametrize('number', [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EMFILE])
def test_shared_memory_that_cannot_be_written_is_a_sentence(number, monkeypatch):
    """As in a container whose /dev/shm is mounted read-only, or full."""

    def refuse(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr('multiprocessing.synchronize.SemLock.__init__', refuse)
    with pytest.raises(UserError, match=rf'{os.strerror(number)}.*/dev/shm'):
        workers.start_pool(1)


def test_a_limit_on_processes_is_a_sentence(monkeypatch):
    def refuse(*arguments, **options):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr('multiprocessing.context.SpawnProcess.start', refuse)
    with (
        pytest.raises(UserError, match=r'cannot be started .*ulimit -u'),
        workers.run_workers([make_utterance(Path('a.wav'))], DyingSpec('', 0), 1),
    ):
        pass
    with pytest.raises(UserError, match=r'cannot be started .*ulimit -u'):
        workers.process_one_by_one([make_utterance(Path('a.wav'))], DyingSpec('', 0))

"""Tests that an utterance that ends a worker process takes no other utterance along."""

import dataclasses
import signal
from pathlib import Path

import pytest
from helpers.audio import DyingSpec, make_utterance

from data_pipelines.storage import workers


@pytest.mark.parametrize(
    ('signal_number', 'reason'),
    [
        (signal.SIGKILL, 'its worker process was killed, probably because the memory was full'),
        (signal.SIGSEGV, 'unreadable: its decoder crashed'),
    ],
)
def test_an_utterance_that_ends_its_process_is_rejected_with_the_reason(signal_number, reason):
    utterance = make_utterance(Path('a.wav'))
    utterances = [dataclasses.replace(utterance, name=f'u{n}') for n in range(4)]
    results = workers.process_one_by_one(utterances, DyingSpec('u1', signal_number))
    assert [str(result) for result in results[1:2]] == [reason]
    assert results[0] == {'name': 'u0'}
    assert results[2:] == [{'name': 'u2'}, {'name': 'u3'}]

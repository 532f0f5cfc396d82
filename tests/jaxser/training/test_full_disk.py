"""Tests that a checkpoint on a full disk is an error without stack traces of Orbax's threads."""

import contextlib
import logging as standard_logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from absl import logging

from jaxser.training.checkpoints import Checkpoints

LAYOUT = SimpleNamespace(D=1, R=1)


@pytest.fixture
def unraisable(monkeypatch) -> list:
    """The exceptions that Python cannot raise and would print."""
    seen: list[Exception] = []
    monkeypatch.setattr(sys, 'unraisablehook', lambda error: seen.append(error.exc_value))
    return seen


def fail(text: str = 'No space left on device') -> None:
    """Fails as the tasks and threads of a checkpoint do."""
    logging.error('[process=0] _SignalingThread.run() raised an exception: %s', text)
    standard_logging.getLogger('asyncio').error('Task exception was never retrieved')
    sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError('Event loop is closed')))
    logging.error('something else')
    sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError(text)))


def test_only_the_error_that_is_raised_is_seen(tmp_path, caplog, unraisable, monkeypatch):
    """Other threads log the same error, with their stack traces, also after it was raised."""

    def save(epoch, args):
        fail()
        raise ValueError('No space left on device')

    # A command that another test has run in this process leaves a filter.
    monkeypatch.setattr(standard_logging.getLogger('asyncio'), 'filters', [])
    arrays = {'x': np.zeros((1, 1, 2), np.float32)}
    with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
        with monkeypatch.context() as context:
            context.setattr(checkpoints.manager, 'save', save)
            with pytest.raises(ValueError, match='No space left'):
                checkpoints.save(1, arrays, {}, LAYOUT)
        fail('later')
        assert [record.getMessage() for record in caplog.records] == ['something else'] * 2
        assert [str(error) for error in unraisable] == ['No space left on device', 'later']
        caplog.clear()
        checkpoints.save(1, arrays, {}, LAYOUT)
        fail('after a checkpoint')
        assert len(caplog.records) == 3
        assert str(unraisable[-2]) == 'Event loop is closed'

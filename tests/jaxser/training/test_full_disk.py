"""Tests that a checkpoint on a full disk is an error without stack traces of Orbax's threads."""

from types import SimpleNamespace

import pytest
from absl import logging

from jaxser.training.loop import GroupLoop


def test_errors_of_threads_are_raised_and_not_logged(caplog):
    """Orbax logs them, with their stack traces, and raises them."""

    def save(*arguments):
        message = 'No space left on device'
        logging.error('[process=0] _SignalingThread.run() raised an exception: %s', message)
        logging.error('something else')
        raise ValueError(message)

    loop = SimpleNamespace(
        state=0,
        best=0,
        layout=0,
        record=SimpleNamespace(to_json=dict),
        checkpoints=SimpleNamespace(save=save),
    )
    with pytest.raises(ValueError, match='No space left'):
        GroupLoop._save_checkpoint(loop, 1)
    logging.error('_SignalingThread afterwards')
    text = caplog.text
    assert 'raised an exception' not in text
    assert 'something else' in text
    assert 'afterwards' in text

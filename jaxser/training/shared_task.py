"""Lets the stages of a command share the data of their sweep: training, the probe, the model."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator

from data_pipelines.storage import dataset
from jaxser.configuration import sweep
from jaxser.configuration.serialization import config_to_dict
from jaxser.training.task import Task


@dataclasses.dataclass
class _Shared:
    """The task that was made last, and its configuration."""

    config: dict = dataclasses.field(default_factory=dict)
    task: Task | None = None


_shared: contextvars.ContextVar[_Shared | None] = contextvars.ContextVar('shared', default=None)


@contextlib.contextmanager
def share_task() -> Iterator[None]:
    """Context in which `load_task` makes a task once; afterwards its memory is free."""
    token = _shared.set(_Shared())
    try:
        yield
    finally:
        _shared.reset(token)


def load_task(config, programs: list[sweep.Program]) -> Task:
    """Returns the task of a configuration, which has these programs.

    Within `share_task` it is the task that was made last, if configuration and data are the same.
    """
    shared = _shared.get()
    if shared is None:
        return Task(config, programs)
    values = config_to_dict(config)
    is_known = shared.task is not None and shared.config == values
    if is_known and dataset.find_prepared_data(config.data) == shared.task.data:
        return shared.task
    shared.task = None  # its memory is free before another is made
    shared.task = Task(config, programs)
    shared.config = values
    return shared.task

"""Event files of TensorBoard, written as the metrics are added."""

import os
import time


class EventFile:
    """A new event file with the scalars of one line in TensorBoard.

    The SummaryWriter of tensorboardX writes the same in a thread, behind a queue between processes:
    it fails where shared memory cannot be written, and prints stack traces when the disk is full.
    """

    def __init__(self, folder: str, first_removed: int | None):
        """Hides what earlier files in `folder` have from the epoch `first_removed`, if any."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import directory_check

        directory_check(folder)
        self._writer = EventsWriter(os.path.join(folder, 'events'))
        if first_removed is not None:
            self._write(first_removed, file_version='brain.Event:2')
            self._write(first_removed, session_log=SessionLog(status=SessionLog.START))

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        """Adds a number of an epoch."""
        from tensorboardX.summary import scalar

        self._write(epoch, summary=scalar(name, value))

    def _write(self, step: int, **content) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(wall_time=time.time(), step=step, **content))

    def flush(self) -> None:
        """Hands everything so far to the system; an OSError if the disk is full."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

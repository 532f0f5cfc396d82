"""Folders of work in progress, which are removed even after their process was killed."""

import contextlib
import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# The variable with the number of the process that a child process shall not outlive.
PARENT_VARIABLE = 'JAXSER_PARENT'

SECONDS_BETWEEN_LOOKS = 0.2  # at whether the parent still runs


@contextlib.contextmanager
def partial_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Context of a new folder `prefix`PID-HOST inside `parent`, which is removed at the end.

    At the start it removes the folders that killed processes of this machine left behind.
    """
    parent.mkdir(parents=True, exist_ok=True)
    host = platform.node()
    pattern = re.compile(rf'{re.escape(prefix)}(\d+)-{re.escape(host)}')
    for stale in list(parent.iterdir()):
        match = pattern.fullmatch(stale.name)
        if match and (int(match[1]) == os.getpid() or not is_process_alive(int(match[1]))):
            shutil.rmtree(stale, ignore_errors=True)
    folder = parent / f'{prefix}{os.getpid()}-{host}'
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_process_alive(pid: int) -> bool:
    """Returns whether a process of that number runs on this machine.

    Windows cannot be asked without a signal to the process: there the answer is always True.
    """
    if os.name == 'nt':
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # OverflowError: no process has such a number
        return False
    except PermissionError:
        return True
    return True


def environment_of_child() -> dict[str, str]:
    """Returns the environment for a child process that calls `end_with_parent`."""
    return {**os.environ, PARENT_VARIABLE: str(os.getpid())}


def end_with_parent() -> None:
    """Lets this process end soon after its parent has, even if that was killed.

    Nothing happens in a process that was not started with `environment_of_child`.
    """
    parent = os.environ.pop(PARENT_VARIABLE, '')
    if parent:
        threading.Thread(target=_wait_for_end, args=[int(parent)], daemon=True).start()


def _wait_for_end(parent: int) -> None:
    """Ends this process when its parent has another number: that of what adopts orphans."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)

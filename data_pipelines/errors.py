"""Errors that the user can correct; a command prints them without a stack trace."""

import contextlib
import errno
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator

from data_pipelines import surroundings
from data_pipelines.terminal import print_text

# Names of the errors of files and disks that the user can correct.
DISK_ERRORS = (
    'ENOSPC',
    'EDQUOT',
    'EACCES',
    'EPERM',
    'EROFS',
    'EEXIST',
    'ENOENT',
    'ENOTDIR',
    'EISDIR',
    'ENAMETOOLONG',
    'ELOOP',
    'EFBIG',
    'EIO',
    'EMFILE',
    'ENFILE',
    'ESTALE',
)

# Numbers of those of a full disk, which libraries put into words of their own.
FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
NUMPY_FULL_DISK_PATTERN = re.compile(r'\d+ requested and \d+ written')


class UserError(Exception):
    """A mistake that the user can correct.

    Its message says what was found, where, what was expected, and what to do next.
    """

    def _render_traceback_(self) -> list[str]:
        """Returns what a notebook (IPython) shows: the message, without a stack trace."""
        return [f'UserError: {self}']


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: all that Ctrl-C ends is ended, and what it removes is removed."""


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Context in which SIGTERM raises `Terminated`; further ones are ignored meanwhile.

    Without it Python ends at once: folders of work in progress stay, and so do worker processes'
    semaphores. Only a process's main thread can receive signals; in another nothing happens.
    """

    def terminate(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # `timeout` sends two
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def exit_on_user_error(follow_up: str = '') -> Iterator[None]:
    """Ends the process with a message and no stack trace if the user can correct the error.

    Every command begins with it. It also provides what the process lacks (`surroundings`).

    The exit status is 2 after a UserError or one of `DISK_ERRORS`, 130 after Ctrl-C, and 143 after
    `Terminated`. Any other exception passes through with its stack trace.

    Args:
      follow_up: A sentence for the end of the message after a disk error or Ctrl-C. It says what
        is left on disk and how to continue.
    """
    try:
        surroundings.tolerate_any_letter()
        surroundings.provide_cache_folder()
        yield
        sys.stdout.flush()
    except UserError as error:
        print_text(str(error), kept='\n\t', file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe: this is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        cause = _find_disk_error(error)
        if cause is None:
            raise
        # Other tasks with the same error would each log it with a stack trace at the end.
        logging.getLogger('asyncio').addFilter(_is_no_unread_error)
        prefix = f'{cause.filename}: ' if cause.filename else ''
        print_text(f'{prefix}{cause.strerror}. {follow_up}'.strip(), file=sys.stderr)
        sys.exit(2)
    except Terminated:
        print(f'\nTerminated. {follow_up}'.rstrip(), file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        print(f'\nInterrupted. {follow_up}'.rstrip(), file=sys.stderr)
        sys.exit(130)


def _find_disk_error(error: BaseException) -> OSError | None:
    """Returns the error of a file or disk that `error` is; None if it is another.

    Libraries raise errors of their own where a disk is full, or raise them from an OSError.
    """
    if isinstance(error, OSError) and errno.errorcode.get(error.errno) in DISK_ERRORS:
        return error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in FULL_DISK_ERRORS:
            return cause
        for number in FULL_DISK_ERRORS:
            if os.strerror(number) in str(cause):
                return OSError(number, os.strerror(number))
        if isinstance(cause, OSError) and NUMPY_FULL_DISK_PATTERN.search(str(cause)):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        cause = cause.__cause__ or cause.__context__
    return None


def _is_no_unread_error(record: logging.LogRecord) -> bool:
    """Filter of asyncio's log: drops the errors of tasks whose result nobody has asked for."""
    return 'exception was never retrieved' not in record.getMessage()

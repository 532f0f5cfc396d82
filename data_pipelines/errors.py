"""What a person can mend, which the commands say as a sentence, without a stack trace."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

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
)  # what a person can mend of it


class UserError(Exception):
    """What was found, where, what was expected, and what to do next."""


@contextlib.contextmanager
def exit_on_user_error(follow_up: str = '') -> Iterator[None]:
    """Ends the command with a sentence: status 2 for a Refusal or a disk's, 130 after Ctrl-C.

    `follow_up` says how things stand once a disk or Ctrl-C has stopped it.
    """
    try:
        yield
        sys.stdout.flush()
    except UserError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `| head` has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as e:
        if errno.errorcode.get(e.errno) not in DISK_ERRORS:
            raise
        where = f'{e.filename}: ' if e.filename else ''
        print(f'{where}{e.strerror}. {follow_up}'.strip(), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f'\nInterrupted. {follow_up}'.rstrip(), file=sys.stderr)
        sys.exit(130)

"""What all drills share: the seed, a limit of time for each case, and the table tried / held.

A case holds if it is accepted with the right answer, or refused with a UserError (one that a
command prints as a sentence). Any other exception, an answer that differs in silence, and more than
`LIMIT_SECONDS` do not hold. On a busy machine, a case that computes may take longer, by the clock.
"""

import contextlib
import errno
import os
import secrets
import signal
import time
import traceback
from collections.abc import Callable, Iterator

import numpy as np

from data_pipelines.errors import DISK_ERRORS, UserError

LIMIT_SECONDS = 20
BUSY_FACTOR = 4  # by the clock, a case may take so many limits
CHECK_SECONDS = 5
SEED = int(os.environ.get('DRILL_SEED') or secrets.randbelow(10**6))
SHARE = float(os.environ.get('DRILL_SHARE') or 1)  # of the cases, for a shorter drill


class Hang(BaseException):
    """A case took longer than the limit; no `except Exception` of the program catches it."""


class Difference(Exception):
    """A case was accepted, and its answer is not the one without damage."""


@contextlib.contextmanager
def time_limit(seconds: float = LIMIT_SECONDS) -> Iterator[None]:
    """Raises Hang in the main thread if the block takes longer."""
    start, start_computing = time.monotonic(), time.process_time()

    def stop(number, frame):
        is_late = time.monotonic() - start > BUSY_FACTOR * seconds
        if is_late or time.process_time() - start_computing > seconds:
            raise Hang

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, CHECK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def is_refusal(error: BaseException) -> bool:
    """Returns whether a command prints the error as a sentence, as `exit_on_user_error` does."""
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno) in DISK_ERRORS
    return isinstance(error, UserError)


class Drill:
    """Counts the cases of one kind; `fail_if_any` reports those that did not hold."""

    table: list['Drill'] = []  # noqa: RUF012  (of all drills of this process)

    def __init__(self, name: str):
        self.name = name
        self.tried = 0
        self.refused = 0
        self.failures: list[str] = []
        self.table.append(self)

    def cases(self, count: int) -> Iterator[tuple[int, np.random.Generator]]:
        """Yields the number of each case and its random generator, which the seed determines."""
        chosen = os.environ.get('DRILL_CASE')
        numbers = [int(chosen)] if chosen else range(max(1, round(count * SHARE)))
        for number in numbers:
            yield number, np.random.default_rng((SEED, *self.name.encode(), number))

    def attempt(self, case: str, function: Callable[[], object], seconds=LIMIT_SECONDS) -> bool:
        """Counts a case; returns whether it was accepted. `function` raises Difference itself."""
        self.tried += 1
        try:
            with time_limit(seconds):
                function()
        except Hang:
            self.fail(case, f'took more than {seconds:g} s')
        except Difference as error:
            self.fail(case, f'other answer in silence: {error}')
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            if is_refusal(error):
                self.refused += 1
                self._check_message(case, str(error))
            else:
                self.fail(case, _describe(error))
        else:
            return True
        return False

    def _check_message(self, case: str, message: str) -> None:
        if not message.strip() or 'Traceback' in message:
            self.fail(case, f'refused without a sentence: {message!r}')

    def fail(self, case: str, reason: str) -> None:
        """Counts a case that did not hold."""
        self.failures.append(f'{self.name}, DRILL_SEED={SEED}, {case}: {reason}')

    @property
    def line(self) -> str:
        """The row of the table."""
        held = self.tried - len(self.failures)
        accepted = held - self.refused
        return f'{self.name:32} {self.tried:6} {held:6} {self.refused:8} {accepted:9}'

    def fail_if_any(self) -> None:
        """Prints the row, and fails the test with all cases that did not hold."""
        print(f'\n{self.line}')
        assert self.tried, self.name
        assert not self.failures, '\n'.join(self.failures)


def _describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if 'site-packages' not in frame.filename]
    places = ' < '.join(f'{os.path.basename(f.filename)}:{f.lineno}' for f in own[::-1][:4])
    message = ' '.join(str(error).split())[:160]
    return f'{type(error).__name__}: {message} ({places})'


def flip_bit(content: bytes, random: np.random.Generator) -> bytes:
    """Returns the content with one bit inverted."""
    damaged = bytearray(content)
    damaged[random.integers(len(damaged))] ^= 1 << int(random.integers(8))
    return bytes(damaged)

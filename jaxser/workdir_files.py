"""Reads and writes the files of a workdir. A file is written whole, and a damaged one is refused.

checksums.json contains the SHA-256 of every file that Workdir writes, under its name relative to
the workdir. A file has two of them while it is replaced, so that either content is accepted after a
crash. Files of earlier versions have none; only their form is checked.
"""

import contextlib
import hashlib
import io
import json
import os
import socket
import stat
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from data_pipelines.errors import UserError
from jaxser.schemas import Number, find_violation

CHECKSUMS_FILE = 'checksums.json'
MAX_BYTES = 16 * 2**30  # of a file; a larger one is no file of a sweep
STALE_SECONDS = 3600  # the age at which a partial file is one that a process has left behind
RETRAIN = (
    'Copy it again, or from a backup; without one, remove the whole workdir and train the sweep '
    'again.'
)

EPOCH = Number(low=1, is_whole=True)
COUNT = Number(low=0, is_whole=True)
HYPER = {'seed': COUNT, 'fold': COUNT}
RUN = {
    'hyper': HYPER,
    'status': str,
    'step?': COUNT,
    'epoch?': COUNT,
    'dev?': dict,
    'test?': dict,
    'selected?': dict,
    'entropy?': {str: (int, float)},
    'probe?': dict,
    'adversary?': dict,
}
# What a run that did not diverge has, too.
FINISHED_RUN = {'epoch': COUNT, 'dev': dict, 'test': dict, 'selected': dict}
OUTCOME = {'runs': [RUN], 'seconds': Number(low=0), 'lines': COUNT}
CONFIG = {
    'config': {
        'method?': str,
        'task?': str,
        'data?': dict,
        'model?': dict,
        'protocol?': dict,
        'train?': dict,
    },
    'data?': dict,
    'split_sha256?': str,
    'audit?': dict,
    'command?': str,
    'versions?': dict,
}
RESULTS = {
    'classes': [str],
    'task?': str,
    'ratings?': [str],
    'runs': [RUN],
    'groups': [{'runs': Number(low=1, is_whole=True), 'seconds': Number(low=0)}],
    'summary?': [dict],
    'corpora?': [str],
    'speakers?': {str: {str: str}},
    'folds?': [str],
    'synthetic?': bool,
    'seconds?': Number(low=0),
    'audit?': dict,
    'enrolment?': {'rows': [dict]},
}
for _name in (
    'protocol',
    'method',
    'labels',
    'selection',
    'normalisation',
    'split_sha256',
    'matmul_precision',
    'device',
):
    RESULTS[f'{_name}?'] = str
METRICS = {'epoch': EPOCH}  # a line of metrics.jsonl
for _name in (
    'emotion_loss',
    'rating_loss',
    'speaker_loss',
    'language_loss',
    'corpus_loss',
    'dev_uar',
    'dev_ccc',
):
    METRICS[f'{_name}?'] = (int, float)
CHOICES = {'runs_per_group?': {str: Number(low=1, is_whole=True)}, 'resident?': bool}


def write_whole(file, content: str | bytes) -> None:
    """Writes a file completely or not at all, also if the machine stops.

    A link is replaced, not followed: in a workdir from elsewhere it may lead to a file of the user.
    """
    with open_whole(file) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def open_whole(file) -> Iterator[BinaryIO]:
    """Yields a stream for the content of a file, which replaces the file as a whole at the end.

    After an error nothing is replaced.
    """
    if '://' in str(file):  # an object store writes whole objects
        content = io.BytesIO()
        yield content
        file.write_bytes(content.getvalue())
        return
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_partial_files(file.parent, file.name, STALE_SECONDS)
    part = file.with_name(f'.{file.name}.{socket.gethostname()}-{os.getpid()}.part')
    try:
        with open(part, 'wb') as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def write_named(file, content: str | bytes) -> None:
    """Writes a file that the user names: whole, but through a link, and into a pipe or device."""
    file = Path(file)
    if file.exists() and not file.is_file():
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    else:
        write_whole(file.resolve(), content)


def remove_partial_files(folder: Path, name: str, seconds: float = 0.0) -> None:
    """Removes what killed processes have left of writing a file.

    These are partial files that are older than `seconds`, and those of processes of this machine
    that have ended.
    """
    latest = time.time() - seconds
    prefix = f'.{name}.'
    with contextlib.suppress(OSError):
        for part in os.scandir(folder):
            if not (part.name.startswith(prefix) and part.name.endswith('.part')):
                continue
            owner = part.name.removeprefix(prefix).removesuffix('.part')
            is_old = part.stat(follow_symlinks=False).st_mtime <= latest
            if is_old or _has_ended(owner):
                os.unlink(part.path)


def _has_ended(owner: str) -> bool:
    """Returns whether HOST-PID, of a partial file, is a process of this machine that has ended."""
    host, _, number = owner.rpartition('-')
    if os.name != 'posix' or host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)  # sends no signal
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # a process of another user
    return False


def check_runs(file, runs: list[dict], remedy: str = RETRAIN) -> None:
    """Raises a UserError if a run that did not diverge lacks some of its results."""
    for number, run in enumerate(runs):
        violation = None
        if run['status'] == 'ok':
            violation = find_violation(run, FINISHED_RUN, f'runs[{number}]')
        if violation:
            raise damaged(file, violation, remedy)


def memory_bytes() -> int:
    """Returns the size of this machine's memory, or `MAX_BYTES` where it is not known."""
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, OSError, ValueError):
        return MAX_BYTES


def damaged(file, reason: str, remedy: str = RETRAIN) -> UserError:
    """Returns the error for a damaged file; `reason` is a clause."""
    return UserError(f'{file} is damaged: {reason}. {remedy}')


def read_regular(file, remedy: str = RETRAIN, max_bytes: int = MAX_BYTES) -> bytes:
    """Returns the content of a file; UserError if it is no regular file, or too large."""
    if '://' in str(file):
        return file.read_bytes()
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            raise damaged(file, 'it is not a regular file', remedy)
        if status.st_size > max_bytes:
            reason = f'it has {status.st_size} bytes; at most {max_bytes} are read'
            raise damaged(file, reason, remedy)
        return Path(file).read_bytes()
    except FileNotFoundError:
        if os.path.islink(file):
            reason = f'it is a link to {os.readlink(file)}, which does not exist'
            raise damaged(file, reason, remedy) from None
        raise UserError(f'{file} is missing. {remedy}') from None
    except (OSError, MemoryError) as error:
        reason = getattr(error, 'strerror', None) or 'not enough memory'
        raise UserError(f'{file} cannot be read: {reason}. {remedy}') from None


class WorkdirFiles:
    """The files of one workdir, by their names relative to it."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file as a whole, and its checksum before it."""
        self.write_parts(name, [content.encode() if isinstance(content, str) else content])

    def write_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """Writes a file part by part, as `write` does; it is replaced as a whole at the end."""
        digest = hashlib.sha256()
        with open_whole(self.folder / name) as stream:
            for part in parts:
                digest.update(part)
                stream.write(part)
            self._add_checksum(name, digest.hexdigest())

    def _add_checksum(self, name: str, digest: str) -> None:
        """Writes the checksum of the next content of a file."""
        checksums = self._read_checksums()
        checksums[name] = [digest, *self._current_digests(name, checksums)]
        write_whole(self.folder / CHECKSUMS_FILE, json.dumps(checksums, indent=1))

    def _current_digests(self, name: str, checksums: dict[str, list[str]]) -> list[str]:
        """Returns the checksum of the present content, which is valid until it is replaced."""
        file = self.folder / name
        if not file.exists() or name not in checksums:
            return []
        digest = hashlib.sha256(read_regular(file)).hexdigest()
        return [digest] if digest in checksums[name] else []

    def remove(self, names: list[str]) -> None:
        """Removes files that may not exist."""
        checksums = self._read_checksums()
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            checksums.pop(name, None)
        write_whole(self.folder / CHECKSUMS_FILE, json.dumps(checksums, indent=1))

    def exists(self, name: str) -> bool:
        """Returns whether there is such a file, or anything else of its name, such as a link."""
        return (self.folder / name).exists() or os.path.lexists(self.folder / name)

    def read(self, name: str, remedy: str = RETRAIN) -> bytes:
        """Returns the content of a file; UserError if it is missing or is not what was written."""
        file = self.folder / name
        content = read_regular(file, remedy)
        digests = self._read_checksums().get(name, [])
        if digests and hashlib.sha256(content).hexdigest() not in digests:
            raise damaged(
                file,
                f'its SHA-256 is not the one in {CHECKSUMS_FILE}',
                f'{remedy} (If you changed it on purpose, remove {self.folder / CHECKSUMS_FILE}.)',
            )
        return content

    def read_text(self, name: str, remedy: str = RETRAIN) -> str:
        """Returns the text of a file, its line endings unchanged; UserError unless it is UTF-8."""
        try:
            return self.read(name, remedy).decode()
        except UnicodeDecodeError as error:
            reason = f'byte {error.start} is not UTF-8'
            raise damaged(self.folder / name, reason, remedy) from None

    @contextlib.contextmanager
    def open_text(self, name: str, remedy: str = RETRAIN) -> Iterator[TextIO]:
        """Yields the lines of a text, their ends unchanged, without decoding it as a whole.

        UserError if the file is missing, is not what was written, or is not UTF-8.
        """
        content = io.BytesIO(self.read(name, remedy))
        try:
            yield io.TextIOWrapper(content, encoding='utf-8', newline='')
        except UnicodeDecodeError:
            raise damaged(self.folder / name, 'it is not UTF-8', remedy) from None

    def read_json(self, name: str, schema, remedy: str = RETRAIN):
        """Returns the content of a JSON file; UserError unless it fits the schema (schemas.py)."""
        text = self.read_text(name, remedy)
        return parse_json(self.folder / name, text, schema, remedy)

    def read_json_lines(self, name: str, schema, remedy: str = RETRAIN) -> Iterator[dict]:
        """Yields the values of a JSONL file's lines; UserError unless each fits the schema."""
        for number, line in enumerate(self.read_text(name, remedy).split('\n'), 1):
            if line:
                yield parse_json(f'{self.folder / name}, line {number},', line, schema, remedy)

    def read_arrays(self, name: str, remedy: str = RETRAIN) -> dict[str, np.ndarray]:
        """Returns the arrays of an npz file; UserError if it is damaged or beyond the memory."""
        content = self.read(name, remedy)
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                size = sum(member.file_size for member in archive.infolist())
            if size > min(MAX_BYTES, memory_bytes()):
                raise ValueError(f'its arrays have {size} bytes')
            return dict(np.load(io.BytesIO(content), allow_pickle=False))
        except (
            ValueError,
            KeyError,
            TypeError,
            OSError,
            EOFError,
            MemoryError,
            RuntimeError,
            SyntaxError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            reason = f'it is no archive of arrays ({type(error).__name__}: {error})'
            raise damaged(self.folder / name, reason, remedy) from None

    @contextlib.contextmanager
    def refuse_other_contents(self, name: str) -> Iterator[None]:
        """Turns errors in the contents of a file that has no checksum into one that names it.

        With a checksum the file is as it was written, and such an error is one of the program.
        """
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            if name in self._read_checksums():
                raise
            reason = f'its contents cannot be used ({type(error).__name__}: {error})'
            remedy = f'{RETRAIN} If nobody has changed it, this is a fault of jaxser: report it.'
            raise damaged(self.folder / name, reason, remedy) from error

    def _read_checksums(self) -> dict[str, list[str]]:
        file = self.folder / CHECKSUMS_FILE
        if not file.exists():
            return {}
        remedy = (
            f'Copy it again, or remove it: then only the form of the files in {self.folder} is '
            'checked.'
        )
        text = read_regular(file, remedy).decode(errors='replace')
        return parse_json(file, text, {str: [str]}, remedy)


def parse_json(name, text: str, schema, remedy: str = RETRAIN):
    """Returns the value of a JSON text; UserError, which calls it `name`, unless it fits."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(name, f'it is no JSON ({type(error).__name__}: {error})', remedy) from None
    violation = find_violation(value, schema)
    if violation:
        raise damaged(name, violation, remedy)
    return value

"""Tests how a command ends after an error that the user can correct, and after others."""

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipelines.errors import UserError, exit_on_user_error, sigterm_as_interrupt
from data_pipelines.partial_folders import partial_folder

ROOT = Path(__file__).parents[2]
FOLLOW_UP = 'The same command continues.'


def raise_in_command(error: BaseException, capsys, follow_up: str = FOLLOW_UP) -> tuple[int, str]:
    """Returns the exit status and the text on standard error."""
    with pytest.raises(SystemExit) as system_exit, exit_on_user_error(follow_up):
        raise error
    return system_exit.value.code, capsys.readouterr().err


def test_a_user_error_is_a_sentence_and_status_2(capsys):
    error = UserError('No corpus in data/.')
    assert raise_in_command(error, capsys) == (2, 'No corpus in data/.\n')


@pytest.mark.parametrize(
    'number', [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR]
)
def test_a_disk_error_is_named_with_what_happens_next(number, capsys):
    error = OSError(number, os.strerror(number), 'runs/x')
    status, message = raise_in_command(error, capsys)
    assert status == 2
    assert message == f'runs/x: {os.strerror(number)}. The same command continues.\n'


def chained(error: Exception, cause: Exception) -> Exception:
    """Returns an error that was raised from another."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    'error',
    [
        ValueError('UNKNOWN: os_error_code=28: No space left on device [runs/x]'),  # TensorStore
        RuntimeError(f'INTERNAL: {os.strerror(errno.EDQUOT)}'),
        OSError('4096 requested and 1000 written'),  # NumPy
        chained(ValueError('not saved'), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    ],
)
def test_a_full_disk_is_named_whatever_library_finds_it(error, capsys):
    status, message = raise_in_command(error, capsys)
    assert status == 2
    assert re.fullmatch(r'(No space left on device|Disk quota.*)\. The same.*\.\n', message)


def test_other_tasks_with_the_same_error_leave_no_stack_trace():
    """As those of Orbax, of which only the first error is raised."""
    code = (
        'import asyncio, gc\n'
        'from data_pipelines.errors import exit_on_user_error\n'
        'async def fail():\n'
        "    raise OSError(28, 'No space left on device')\n"
        'async def main():\n'
        '    lost.extend(asyncio.ensure_future(fail()) for _ in range(3))\n'
        '    await asyncio.sleep(0.01)\n'
        '    await fail()\n'
        'lost = []\n'
        'with exit_on_user_error():\n'
        '    asyncio.run(main())\n'
    )
    command = [sys.executable, '-c', code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (2, 'No space left on device.\n')


def test_ctrl_c_ends_with_status_130_and_no_trace(capsys):
    interrupt = KeyboardInterrupt()
    expected = (130, '\nInterrupted. The same command continues.\n')
    assert raise_in_command(interrupt, capsys) == expected
    assert raise_in_command(interrupt, capsys, follow_up='') == (130, '\nInterrupted.\n')


@pytest.mark.parametrize(
    'error',
    [ValueError('a bug'), OSError(errno.EBADF, 'a bug'), OSError('without a number')],
)
def test_a_bug_keeps_its_stack_trace(error):
    with pytest.raises(type(error)) as raised, exit_on_user_error():
        raise error
    assert raised.value is error


@pytest.mark.parametrize('flush', [True, False])
def test_a_closed_pipe_is_no_error(flush):
    """As `| head -1` closes it, whether the output is written at once or at the end."""
    code = (
        'from data_pipelines.errors import exit_on_user_error\n'
        'with exit_on_user_error():\n'
        f'    for n in range(50_000):\n        print(n, flush={flush})'
    )
    command = [sys.executable, '-c', code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        assert process.stdout.readline() == b'0\n'
        process.stdout.close()
        assert process.stderr.read() == b''


def test_success_prints_nothing(capsys):
    with exit_on_user_error(FOLLOW_UP):
        pass
    assert capsys.readouterr() == ('', '')


def be_terminated_at_work(parent: Path) -> None:
    """Sends SIGTERM to this process while it has a folder of work in progress."""
    with (
        exit_on_user_error('No files were left behind.'),
        sigterm_as_interrupt(),
        partial_folder(parent, '.staging-') as folder,
    ):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail('SIGTERM was ignored')
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            assert folder.exists()


def test_sigterm_removes_work_in_progress(tmp_path, capsys):
    """Also if it comes twice, as from `timeout`; afterwards SIGTERM means what it meant before."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as system_exit:
        be_terminated_at_work(tmp_path)
    assert system_exit.value.code == 143
    assert not list(tmp_path.iterdir())
    assert 'Terminated. No files were left behind.' in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before

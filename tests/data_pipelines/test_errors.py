"""How a command ends on what a person can mend: one sentence and a status, never a stack trace."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipelines.errors import UserError, exit_on_user_error

ROOT = Path(__file__).parents[2]


def ended(wrong: BaseException, capsys, afterwards='The same command goes on.') -> tuple[int, str]:
    """The status, and what was said."""
    with pytest.raises(SystemExit) as end, exit_on_user_error(afterwards):
        raise wrong
    return end.value.code, capsys.readouterr().err


def test_a_refusal_is_a_sentence_and_status_2(capsys):
    assert ended(UserError('No corpus in data/.'), capsys) == (2, 'No corpus in data/.\n')


@pytest.mark.parametrize(
    'number', [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR]
)
def test_what_a_disk_refuses_is_named_with_what_happens_next(number, capsys):
    status, said = ended(OSError(number, os.strerror(number), 'runs/x'), capsys)
    assert (status, said) == (2, f'runs/x: {os.strerror(number)}. The same command goes on.\n')


def test_ctrl_c_is_no_error_of_ours(capsys):
    assert ended(KeyboardInterrupt(), capsys) == (130, '\nInterrupted. The same command goes on.\n')
    assert ended(KeyboardInterrupt(), capsys, '') == (130, '\nInterrupted.\n')


@pytest.mark.parametrize(
    'wrong',
    [ValueError('a fault of ours'), OSError(errno.EBADF, 'a fault of ours'), OSError('of none')],
)
def test_a_fault_of_ours_keeps_its_trace(wrong):
    with pytest.raises(type(wrong)) as found, exit_on_user_error():
        raise wrong
    assert found.value is wrong


def test_a_pipe_that_has_had_enough_is_no_error(tmp_path):
    """`| head -1` of more than a pipe holds, whether it is written at once or at the end."""
    for flush in (True, False):
        code = f'with exit_on_user_error():\n    for n in range(50_000):\n        print(n, flush={flush})'
        words = [sys.executable, '-c', f'from data_pipelines.errors import exit_on_user_error\n{code}']
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        ) as command:
            assert command.stdout.readline() == b'0\n'
            command.stdout.close()
            assert command.stderr.read() == b''


def test_what_ends_well_says_nothing(capsys):
    with exit_on_user_error('The same command goes on.'):
        pass
    assert capsys.readouterr() == ('', '')

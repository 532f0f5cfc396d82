"""The folder of a sweep: one process writes in it, and what it never began leaves nothing."""

import subprocess
import sys

import pytest

from configs import base
from data_pipelines.refusal import Refusal
from jaxser.workdir import Workdir

ANOTHER = """
import fcntl, sys
file = open(sys.argv[1], 'w')
fcntl.flock(file, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.read()
"""


def test_two_processes_never_write_in_one_folder(tmp_path):
    """The second is told so, and may come when the first has gone; one process may open its folder twice."""
    first = Workdir(tmp_path, base.get_config())
    assert Workdir(tmp_path, base.get_config()).held is first.held
    del first
    words = [sys.executable, '-c', ANOTHER, str(tmp_path / '.lock')]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b'held\n'
        with pytest.raises(Refusal, match=f'Another process is working in {tmp_path}'):
            Workdir(tmp_path, base.get_config())
        other.kill()
    Workdir(tmp_path, base.get_config())


def test_a_folder_is_forsaken_only_if_nothing_is_in_it(tmp_path):
    """What is in it may be a person's."""
    place = Workdir(tmp_path / 'new', base.get_config())
    place.forsake()
    assert not (tmp_path / 'new').exists()
    place = Workdir(tmp_path / 'new', base.get_config())
    (tmp_path / 'new' / 'notes').touch()
    place.forsake()
    assert (tmp_path / 'new' / 'notes').exists()

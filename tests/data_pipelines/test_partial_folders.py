"""Tests that killed processes leave neither folders nor child processes behind for good."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_pipelines import partial_folders

ROOT = Path(__file__).parents[2]

CHILD = 'from data_pipelines import partial_folders as p; p.end_with_parent(); import time;'
CHILD += 'print(flush=True); time.sleep(60)'
PARENT = f"""
import subprocess, sys, time
from data_pipelines import partial_folders
command = [sys.executable, '-c', {CHILD!r}]
child = subprocess.Popen(
    command, env=partial_folders.environment_of_child(), stdout=subprocess.PIPE
)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_ends_after_its_parent_was_killed():
    command = [sys.executable, '-c', PARENT]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        time.sleep(1)
        assert _runs(child)  # as long as its parent does
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail('the child goes on')


def _runs(pid: int) -> bool:
    """Returns whether a process runs, and is not just kept as a zombie."""
    try:
        status = Path(f'/proc/{pid}/stat').read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(')')[2].split()[0] != 'Z'


def test_only_folders_of_dead_processes_of_this_machine_are_removed(tmp_path):
    with subprocess.Popen([sys.executable, '-c', '']) as process:
        pass
    host = platform.node()
    kept = {f'.a-{os.getppid()}-{host}', f'.a-{process.pid}-{host}x', f'b-{process.pid}-{host}'}
    stale = {f'.a-{process.pid}-{host}', f'.a-{os.getpid()}-{host}', f'.a-{10**30}-{host}'}
    for name in kept | stale:
        (tmp_path / name / 'sub').mkdir(parents=True)
    with partial_folders.partial_folder(tmp_path, '.a-') as folder:
        assert list(folder.iterdir()) == []
        assert {path.name for path in tmp_path.iterdir()} == {*kept, folder.name}
    assert {path.name for path in tmp_path.iterdir()} == kept

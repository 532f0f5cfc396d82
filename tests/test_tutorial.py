"""The tutorial, done as it is written: every command and every block of Python, in order, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def steps(text: str) -> list[list[str]]:
    """The command lines of the indented and the Python blocks; installing is what brought us here."""
    found = re.finditer(
        r'^    (?P<command>python -m [^\n]*)$|^```python\n(?P<block>.*?)^```$',
        text,
        re.MULTILINE | re.DOTALL,
    )
    return [
        [sys.executable, *(shlex.split(m['command'])[1:] if m['command'] else ('-c', m['block']))]
        for m in found
    ]


@pytest.mark.gate
def test_every_command_of_the_tutorial_runs(tmp_path):
    """Nothing is left out, all succeed, and what the text says to open is there."""
    text = (ROOT / 'TUTORIAL.md').read_text()
    assert len(steps(text)) == len(re.findall(r'^    python|^```python', text, re.MULTILINE)) >= 10
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    environment = {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'JAX_NUM_CPU_DEVICES': str(os.cpu_count()),
    }
    for command in steps(text):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f'{shlex.join(command)}\n{done.stdout}'
    named = re.findall(r'`((?:runs|data|emotion_model)[^`\s]*)`', text)
    assert {'runs/dann_demo/report.html', 'runs/dann_demo/comparison.html', 'data/demo'} <= set(
        named
    )
    for name in named:
        assert (tmp_path / name).exists(), name

"""Runs docs/tutorial.md as it is written: every command and every Python block, in order."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STEP = re.compile(
    r'^    (?P<command>python -m [^\n]*)$|^```python\n(?P<block>.*?)^```$', re.MULTILINE | re.DOTALL
)


def tutorial_steps(text: str) -> list[list[str]]:
    """Returns the command lines of the indented commands and the Python blocks, without pip."""
    steps = []
    for match in STEP.finditer(text):
        if match['command']:
            arguments = shlex.split(match['command'])[1:]
        else:
            arguments = ['-c', match['block']]
        steps.append([sys.executable, *arguments])
    return steps


@pytest.mark.gate
def test_every_command_of_the_tutorial_runs(tmp_path):
    """All commands succeed in an empty folder, and they write the files that the text names."""
    text = (ROOT / 'docs' / 'tutorial.md').read_text()
    steps = tutorial_steps(text)
    assert len(steps) == len(re.findall(r'^    python|^```python', text, re.MULTILINE)) >= 10
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    variables = {'PYTHONPATH': str(ROOT), 'JAX_NUM_CPU_DEVICES': str(os.cpu_count())}
    for command in steps:
        completed = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert completed.returncode == 0, f'{shlex.join(command)}\n{completed.stdout}'
    paths = re.findall(r'`((?:runs|data|emotion_model)[^`\s]*)`', text)
    required = {'runs/dann_demo/report.html', 'runs/dann_demo/comparison.html', 'data/demo'}
    assert required <= set(paths)
    for path in paths:
        assert (tmp_path / path).exists(), path

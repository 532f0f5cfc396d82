"""Runs a block of the documentation as a reader would."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_step(step: list[str], folder: Path) -> None:
    """Runs a command line in a folder; AssertionError with its output if it fails."""
    variables = {
        'PYTHONPATH': str(ROOT),
        'JAX_NUM_CPU_DEVICES': str(os.cpu_count()),
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
    }
    completed = subprocess.run(
        step,
        cwd=folder,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert completed.returncode == 0, f'{step[-1]}\n{completed.stdout[-5000:]}'

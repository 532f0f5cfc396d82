"""Answers by an exported folder, and a fresh Python to run its code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import soundfile

import jaxser


def predict_speech(folder: Path) -> dict[str, float]:
    """Returns the posterior by which jaxser.predict answers speech.wav in the folder."""
    wave, rate = soundfile.read(folder / 'speech.wav', dtype='float32')
    return jaxser.load(folder).predict(wave, rate)['posterior']


def run_in_fresh_python(code: str, folder: Path) -> str:
    """Returns what a new Python prints; jaxser is found only where it is installed."""
    environment = os.environ | {'JAX_NUM_CPU_DEVICES': '1'}
    environment.pop('PYTHONPATH', None)
    process = subprocess.run(
        [sys.executable, '-c', code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def parse_tables(markdown: str) -> dict[str, list[str]]:
    """Returns the rows of Markdown tables: first cell -> the other cells."""
    rows = {}
    for line in markdown.splitlines():
        if line.startswith('| '):
            name, *cells = re.split(r' (?<!\\)\| ', line.strip('| '))
            rows[name] = [cell.strip(' |') for cell in cells]
    return rows

"""Synthetic sounds, and comparisons of predictions and model cards."""

import ast
import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

RATE = 16_000
# librosa.load imports modules that Python is about to remove.
LIBROSA = pytest.mark.filterwarnings('ignore::DeprecationWarning')


def make_tone(seconds: float, rate: int = RATE, pitch: float = 190.0) -> np.ndarray:
    """Returns a tone with a tremolo that slows down, and some noise."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * pitch * t) * (1 + np.sin(2 * np.pi * (12 * t - t**2 / 10)))
    noise = np.random.default_rng(0).standard_normal(t.size)
    return (0.2 * wave + 0.01 * noise).astype(np.float32)


def assert_close(a: dict, b: dict, tolerance: float = 1e-4) -> None:
    """Asserts that two predictions have the same posterior."""
    assert a['posterior'] == pytest.approx(b['posterior'], abs=tolerance)


def card_snippets(folder: Path) -> list[str]:
    """Returns the Python code on the model card of an exported folder."""
    return re.findall(r'```python\n(.*?)```', (folder / 'README.md').read_text(), re.DOTALL)


def run_snippet(code: str) -> dict[str, float]:
    """Runs code and returns the dictionary that its last line prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    return ast.literal_eval(printed.getvalue().splitlines()[-1])

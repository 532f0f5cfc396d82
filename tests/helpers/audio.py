"""Tones and utterances for the tests of decoding and features."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from data_pipelines.corpora import Utterance

RATE = 16_000  # Hz, unless a test says otherwise


def make_tone(
    seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0, gain: float = 0.1
) -> np.ndarray:
    """Returns the samples of a sine, float32."""
    time = np.arange(round(seconds * rate)) / rate
    return (gain * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def make_utterance(path: Path, start: float = 0.0, end: float | None = None) -> Utterance:
    """Returns an utterance of a file; start and end are in seconds."""
    return Utterance('u', path, 's', 'sad', 'en', 'c', start=start, end=end)


def write_utterance(path: Path, wave: np.ndarray, rate: int = RATE, **options) -> Utterance:
    """Writes an audio file and returns its utterance; `options` are those of `soundfile.write`."""
    soundfile.write(path, wave, rate, **options)
    return make_utterance(path)


class DyingSpec(NamedTuple):
    """Features of which one utterance ends the worker process by a signal."""

    name: str  # of that utterance
    signal_number: int

    def process_utterance(self, utterance: Utterance) -> dict:
        """Returns nothing much, or does not return."""
        if utterance.name == self.name:
            os.kill(os.getpid(), self.signal_number)
        return {'name': utterance.name}

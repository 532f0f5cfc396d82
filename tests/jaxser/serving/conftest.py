"""An exported model, made once for all tests of its folder, its program and its card."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines.features import decode, log_mel
from jaxser.serving.exporting import export_model

RATE = 22_050


@pytest.fixture(scope='session')
def shared_export(swept, once) -> Path:
    """Returns the folder `model`: an export with a SavedModel, which no test may change."""
    return once('exported', lambda path: export_with_audio(swept, path / 'model')) / 'model'


def export_with_audio(workdir: Path, out: Path) -> None:
    """Exports a model, and adds speech.wav (stereo) and its features mel.npy."""
    export_model(workdir, out, saved_model=True)
    t = np.arange(2 * RATE) / RATE
    noise = 0.01 * np.random.default_rng(0).normal(size=t.size)
    left = 0.2 * np.sin(2 * np.pi * 190 * t) * (1 + np.sin(2 * np.pi * 9 * t)) + noise
    soundfile.write(out / 'speech.wav', np.stack([left, 0.5 * left], 1), RATE)
    samples, rate = soundfile.read(out / 'speech.wav', dtype='float32')
    wave = decode.to_mono(samples, rate, log_mel.LogMel())
    np.save(out / 'mel.npy', log_mel.compute_log_mel(wave, log_mel.LogMel()))


@pytest.fixture
def exported(shared_export, tmp_path) -> Path:
    """Returns a copy of the exported folder, which the test may change."""
    return shutil.copytree(shared_export, tmp_path / 'exported')

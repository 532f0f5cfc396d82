"""An exported model, made once for all tests of its folder, its program and its card."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import tiny_config
from helpers.predictions import make_tone

from data_pipelines.features import decode, log_mel
from jaxser.serving import bundling
from jaxser.serving.exporting import export_model
from jaxser.training import experiment

RATE = 22_050


@pytest.fixture(scope='session')
def shared_export(swept, once) -> Path:
    """Returns the folder `model`: an export with a SavedModel, which no test may change."""
    return once('exported', lambda path: export_with_audio(swept, path / 'model')) / 'model'


@pytest.fixture(scope='session')
def enrolment_sweep(data, once) -> Path:
    """Returns the workdir of a sweep that enrols two utterances of each speaker; one run a fold."""

    def make(path: Path) -> None:
        config = tiny_config.get_config()
        keys = {
            'data.dir': str(data),
            'data.normalise': 'speaker_enrolled',
            'protocol.enrol': 2,
            'train.epochs': 2,
        }
        config.update_from_flattened_dict(keys)
        config.sweep.lam = (0.5,)
        experiment.run_experiment(config, path)
        bundling.bundle_model(path)

    return once('enrolment_sweep', make)


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


@pytest.fixture
def enrolment_export(enrolment_sweep, tmp_path) -> Path:
    """An export in which speakers can be enrolled, with four recordings of a speaker to enrol."""
    folder = tmp_path / 'model'
    export_with_audio(enrolment_sweep, folder)
    (folder / 'enrol').mkdir()
    for n in range(4):
        wave = make_tone(1.0 + 0.3 * n, RATE, 120 + 20 * n)
        soundfile.write(folder / 'enrol' / f'{n}.wav', wave, RATE)
    return folder

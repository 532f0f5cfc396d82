"""Tests the log-mel features against librosa and closed forms, and what is stored with them."""

import dataclasses
import importlib.metadata

import librosa
import numpy as np
import pytest
from helpers.audio import RATE, make_tone, write_utterance

from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.features.log_mel import LogMel

SPEC = LogMel()


def test_frames_and_bands_are_those_of_librosa_to_the_bit():
    wave = make_tone(1.234)
    power = librosa.feature.melspectrogram(
        y=wave, sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=20, fmax=8000
    )
    mel_TxM = log_mel.compute_log_mel(wave, SPEC)
    assert mel_TxM.dtype == np.float16
    assert mel_TxM.shape == (1 + len(wave) // 160, 64)
    np.testing.assert_array_equal(mel_TxM, np.log(np.maximum(power, 1e-10)).T.astype(np.float16))


def test_twice_the_amplitude_adds_log_4_to_every_band():
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    quiet_TxM = log_mel.compute_log_mel(noise, SPEC)
    loud_TxM = log_mel.compute_log_mel(2 * noise, SPEC)
    # Between 8 and 16, float16 has steps of 0.008.
    np.testing.assert_allclose(loud_TxM.astype(float) - quiet_TxM, np.log(4), atol=0.01)


@pytest.mark.parametrize('hertz', [200, 1000, 5000])
def test_a_tone_is_loudest_in_the_band_that_contains_it(hertz):
    edges = librosa.mel_frequencies(SPEC.bands + 2, fmin=SPEC.low, fmax=SPEC.high)
    mel_TxM = log_mel.compute_log_mel(make_tone(hertz=hertz), SPEC)
    band = int(mel_TxM.mean(axis=0, dtype=float).argmax())
    assert edges[band] < hertz < edges[band + 2]


def test_the_moments_are_those_of_the_stored_frames(tmp_path):
    result = log_mel.compute_features(write_utterance(tmp_path / 'a.wav', make_tone()), SPEC)
    mel_TxM = result['mel_TxM'].astype(np.float64)
    np.testing.assert_array_equal(result['mean_M'], mel_TxM.mean(axis=0).astype(np.float32))
    np.testing.assert_array_equal(result['variance_M'], mel_TxM.var(axis=0).astype(np.float32))
    assert (result['frames'], result['seconds']) == (101, 1.0)


def test_the_hash_is_that_of_the_samples_and_not_of_the_file(tmp_path):
    samples = (make_tone() * 32767).astype(np.int16)
    wav = log_mel.compute_features(write_utterance(tmp_path / 'a.wav', samples), SPEC)
    flac = log_mel.compute_features(write_utterance(tmp_path / 'renamed.flac', samples), SPEC)
    other_tone = make_tone(hertz=441)
    other = log_mel.compute_features(write_utterance(tmp_path / 'b.wav', other_tone), SPEC)
    assert wav['sha256'] == flac['sha256'] != other['sha256']


def test_the_name_changes_with_every_field_and_with_librosa(monkeypatch):
    changes = dict(bands=40, hop=0.02, low=0.0, high=7000.0, floor=1e-6, window=0.032, rate=22_050)
    assert set(changes) == {field.name for field in dataclasses.fields(LogMel)}
    names = {SPEC.name}
    for field, value in changes.items():
        names.add(LogMel(**{field: value}).name)
    monkeypatch.setattr(importlib.metadata, 'version', lambda package: '99.0')
    names.add(SPEC.name)
    assert len(names) == 9  # the default, one for each of seven fields, one for another librosa
    assert all(name.startswith('logmel') for name in names)


@pytest.mark.parametrize(
    'fields',
    [
        {'hop': 0},
        {'hop': float('nan')},
        {'window': -1},
        {'window': 1e9},
        {'bands': 0},
        {'floor': 0},
        {'high': 9000},
        {'low': 8000},
        {'rate': 1},
    ],
)
def test_impossible_features_are_refused(fields):
    with pytest.raises(UserError, match='expected'):
        LogMel(**fields)


def test_empty_bands_are_refused():
    with pytest.raises(UserError, match='fewer --bands'):
        log_mel.compute_log_mel(make_tone(), LogMel(bands=256))

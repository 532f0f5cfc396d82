"""Tests of what is measured of a recording besides its features, and stored with them."""

import numpy as np
import pytest
import soundfile
from helpers.audio import RATE, make_tone, make_utterance, write_utterance

from data_pipelines.features import levels, log_mel
from data_pipelines.features.log_mel import LogMel


def test_the_level_is_that_of_a_sine():
    """Its root mean square is 3.01 dB below its peak, here at a tenth of full scale."""
    assert levels.measure_level(make_tone(gain=0.1)) == pytest.approx(-23.01, abs=0.01)
    assert levels.measure_level(np.zeros(100, np.float32)) == -200


@pytest.mark.parametrize('seconds', [0.0, 0.02, 0.5])
def test_leading_silence_ends_where_the_sound_begins(seconds):
    """Faint noise counts as silence, and the level of the whole changes nothing."""
    tone = make_tone(0.5)
    lead = np.random.default_rng(0).normal(size=round(seconds * RATE)).astype(np.float32)
    wave = np.concatenate([1e-4 * lead, tone])
    for gain in (1.0, 0.01):
        silence = levels.measure_leading_silence(gain * wave, RATE)
        assert silence == pytest.approx(seconds)


@pytest.mark.parametrize(
    ('suffix', 'options', 'codec'),
    [
        ('.wav', {}, 'WAV PCM_16'),
        ('.wav', {'subtype': 'FLOAT'}, 'WAV FLOAT'),
        ('.flac', {}, 'FLAC PCM_16'),
        ('.ogg', {}, 'OGG VORBIS'),
    ],
)
def test_rate_and_codec_of_the_file_are_stored(tmp_path, suffix, options, codec):
    """The rate is that of the file, not the one of the features."""
    wave = make_tone(rate=22_050)
    utterance = write_utterance(tmp_path / f'a{suffix}', wave, 22_050, **options)
    columns = log_mel.compute_features(utterance, LogMel())
    assert columns['source_rate'] == 22_050
    assert columns['source_codec'] == codec
    assert columns['seconds'] == pytest.approx(1, abs=1e-3)


def test_the_codec_in_a_film_is_that_of_its_sound(tmp_path):
    """FFmpeg's names of the format and of the codec."""
    av = pytest.importorskip('av')
    path = tmp_path / 'a.m4a'
    with av.open(path, 'w', format='mp4') as container:
        track = container.add_stream('aac', rate=RATE, layout='mono')
        frame = av.AudioFrame.from_ndarray(make_tone()[None], format='fltp', layout='mono')
        frame.sample_rate = RATE
        for packet in [*track.encode(frame), *track.encode(None)]:
            container.mux(packet)
    columns = log_mel.compute_features(make_utterance(path), LogMel())
    assert columns['source_codec'] == 'mov aac'


def test_a_header_that_soundfile_does_not_open_is_a_codec_of_its_own(tmp_path, monkeypatch):
    """Such files are decoded from a repaired copy. '' would hide them from the audit."""
    utterance = write_utterance(tmp_path / 'a.wav', make_tone())
    monkeypatch.setattr(soundfile, 'info', None)
    assert log_mel.compute_features(utterance, LogMel())['source_codec'] == 'irregular'

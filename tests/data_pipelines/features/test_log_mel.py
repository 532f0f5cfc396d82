"""Decoding and log-mel frames: the numbers in closed form, and a reason for everything that cannot be used."""

import importlib.metadata
import importlib.util
import io
import os
import struct
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from helpers import corpus_trees

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features import decode, log_mel
from data_pipelines.features.decode import Rejection
from data_pipelines.features.log_mel import LogMel

SPEC = LogMel()
RATE = SPEC.rate


def tone(seconds=1.0, rate=RATE, hertz=440.0, gain=0.1):
    return (gain * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def utterance(path: Path, start=0.0, end=None) -> Utterance:
    return Utterance('u', path, 's', 'sad', 'en', 'c', start=start, end=end)


def save(path: Path, wave, rate=RATE, **kwargs) -> Utterance:
    soundfile.write(path, wave, rate, **kwargs)
    return utterance(path)


def wav(wave=None, **kwargs) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone() if wave is None else wave, RATE, format='WAV', **kwargs)
    return file.getvalue()


def sizes(riff: int, data: int) -> bytes:
    """A WAV whose header states these sizes, as one that was written into a pipe."""
    content = bytearray(wav())
    struct.pack_into('<I', content, 4, riff)
    struct.pack_into('<I', content, content.index(b'data') + 4, data)
    return bytes(content)


def test_frames_and_bands_are_those_of_librosa_to_the_bit(tmp_path):
    wave = tone(1.234)
    power = librosa.feature.melspectrogram(
        y=wave, sr=RATE, n_fft=512, win_length=400, hop_length=160, n_mels=64, fmin=20, fmax=8000
    )
    mel_TxM = log_mel.compute_log_mel(wave, SPEC)
    assert mel_TxM.dtype == np.float16
    assert mel_TxM.shape == (1 + len(wave) // 160, 64)
    np.testing.assert_array_equal(mel_TxM, np.log(np.maximum(power, 1e-10)).T.astype(np.float16))


def test_twice_the_amplitude_adds_log_4_to_every_band():
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    difference = log_mel.compute_log_mel(2 * noise, SPEC).astype(float) - log_mel.compute_log_mel(
        noise, SPEC
    )
    np.testing.assert_allclose(
        difference, np.log(4), atol=0.01
    )  # float16 between 8 and 16 has steps of 0.008


def test_a_tone_is_loudest_in_the_band_that_holds_it():
    edges = librosa.mel_frequencies(SPEC.bands + 2, fmin=SPEC.low, fmax=SPEC.high)
    for hertz in (200, 1000, 5000):
        band = int(
            log_mel.compute_log_mel(tone(hertz=hertz), SPEC).mean(axis=0, dtype=float).argmax()
        )
        assert edges[band] < hertz < edges[band + 2]


def test_moments_are_those_of_the_stored_frames_and_the_hash_that_of_the_samples(tmp_path):
    samples = (tone() * 32767).astype(np.int16)
    u = save(tmp_path / 'a.wav', samples)
    result = log_mel.compute_features(u, SPEC)
    mel_TxM = result['mel_TxM'].astype(np.float64)
    np.testing.assert_array_equal(result['mean_M'], mel_TxM.mean(axis=0).astype(np.float32))
    np.testing.assert_array_equal(result['variance_M'], mel_TxM.var(axis=0).astype(np.float32))
    assert (result['frames'], result['seconds']) == (101, 1.0)
    same = log_mel.compute_features(save(tmp_path / 'renamed.flac', samples), SPEC)
    other = log_mel.compute_features(save(tmp_path / 'b.wav', tone(hertz=441)), SPEC)
    assert result['sha256'] == same['sha256'] != other['sha256']


def test_the_name_changes_with_every_field_and_with_librosa(monkeypatch):
    others = dict(bands=40, hop=0.02, low=0.0, high=7000.0, floor=1e-6, window=0.032, rate=22_050)
    names = {SPEC.name} | {LogMel(**{key: value}).name for key, value in others.items()}
    monkeypatch.setattr(importlib.metadata, 'version', lambda package: '99.0')
    assert len(names | {SPEC.name}) == 9  # the default, seven others, another librosa
    assert all(name.startswith('logmel') for name in names)


@pytest.mark.parametrize(
    'fields',
    [
        {'hop': 0},
        {'hop': float('nan')},
        {'window': -1},
        {'window': 1e9},
        {'bands': 0},
        {'high': 9000},
        {'low': 8000},
        {'rate': 1},
    ],
)
def test_features_that_cannot_be_are_refused(fields):
    with pytest.raises(UserError, match='expected'):
        LogMel(**fields)


def test_bands_without_a_bin_are_refused_rather_than_constant():
    with pytest.raises(UserError, match='fewer --bands'):
        log_mel.compute_log_mel(tone(), LogMel(bands=256))


@pytest.mark.parametrize('rate', [8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_any_rate_is_brought_to_that_of_the_features(tmp_path, rate):
    wave = decode.decode(save(tmp_path / 'a.wav', tone(rate=rate), rate), SPEC)
    assert abs(len(wave) - RATE) <= 1
    middle = slice(RATE // 4, RATE // 2)
    np.testing.assert_allclose(wave[middle], tone()[middle], atol=2e-3)


@pytest.mark.parametrize('channels', [1, 2, 6, 8])
def test_channels_are_averaged(tmp_path, channels):
    wave = np.stack([tone(gain=0.1 * (c + 1)) for c in range(channels)], axis=1)
    decoded = decode.decode(save(tmp_path / 'a.wav', wave, subtype='FLOAT'), SPEC)
    np.testing.assert_allclose(decoded, tone(gain=0.05 * (channels + 1)), atol=1e-6)


@pytest.mark.parametrize(
    'subtype', ['PCM_U8', 'PCM_16', 'PCM_24', 'PCM_32', 'FLOAT', 'DOUBLE', 'ULAW', 'IMA_ADPCM']
)
def test_every_sample_format_is_read(tmp_path, subtype):
    wave = decode.decode(save(tmp_path / 'a.wav', tone(), subtype=subtype), SPEC)
    np.testing.assert_allclose(
        wave[100:RATE], tone()[100:], atol=2e-2
    )  # ADPCM takes some samples to catch up


@pytest.mark.parametrize(
    ('riff', 'data'),
    [
        (0, 0),
        (36, 0),
        (0xFFFFFFFF, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (0, 0xFFFFFFFF),
    ],
)
def test_a_header_from_a_pipe_is_no_truncation(tmp_path, riff, data):
    (tmp_path / 'a.wav').write_bytes(sizes(riff, data))
    np.testing.assert_allclose(
        decode.decode(utterance(tmp_path / 'a.wav'), SPEC), tone(), atol=1e-4
    )


def test_a_segment_is_cut_at_its_seconds(tmp_path):
    wave = np.concatenate([tone(hertz=200), tone(hertz=3000)])
    save(tmp_path / 'a.wav', wave, subtype='FLOAT')
    np.testing.assert_array_equal(
        decode.decode(utterance(tmp_path / 'a.wav', 0.5, 1.5), SPEC),
        wave[RATE // 2 : 3 * RATE // 2],
    )
    np.testing.assert_array_equal(
        decode.decode(utterance(tmp_path / 'a.wav', 1.0), SPEC), wave[RATE:]
    )


@pytest.mark.parametrize('segment', [(2.5, None), (2.0, 3.0), (0.5, 2.1)])
def test_a_segment_outside_its_file_is_rejected(tmp_path, segment):
    save(tmp_path / 'a.wav', tone(2.0))
    with pytest.raises(Rejection, match=r'outside the file: .* of 2 s'):
        decode.decode(utterance(tmp_path / 'a.wav', *segment), SPEC)


def flac() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE, format='FLAC')
    return file.getvalue()


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(b ^ 0xFF for b in content[middle : middle + 64])
        + content[middle + 64 :]
    )


def spoilt(value: float) -> bytes:
    wave = tone()
    wave[100] = value
    return wav(wave, subtype='FLOAT')


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'empty'),
        (wav()[:44], 'truncated'),
        (wav(tone(0)), 'empty'),
        (wav()[:20], 'truncated'),
        (wav()[:-4000], 'truncated: 32000 bytes of samples expected, 28000 in the file'),
        (flac()[:-4000], 'truncated|unreadable'),
        (flac()[:42], 'unreadable'),
        (flipped(flac()), 'unreadable'),
        (spoilt(np.nan), 'NaN'),
        (spoilt(np.inf), 'infinite'),
        (spoilt(1e25), r'as large as 1e\+25'),
        (wav(0 * tone()), 'silent'),
        (wav(0 * tone() + 0.5), 'silent'),
        (wav(tone(gain=5e-5), subtype='FLOAT'), 'silent'),
        (wav(tone(0.05)), 'too short: 0.050 s'),
        (b'RIFF\0\0\0\0WAVE', 'truncated'),
        (b'<html>404</html>' * 100, 'unreadable'),
        (bytes(10_000), 'unreadable'),
        (wav()[:24] + struct.pack('<I', 1) + wav()[28:], 'sampling rate of 1 Hz'),
    ],
)
def test_a_damaged_file_is_rejected_with_its_reason(tmp_path, content, reason):
    (tmp_path / 'a.wav').write_bytes(content)
    result = log_mel.compute_features(utterance(tmp_path / 'a.wav'), SPEC)
    assert isinstance(result, Rejection)
    with pytest.raises(Rejection, match=reason):
        raise result


def test_what_is_no_file_is_rejected(tmp_path):
    (tmp_path / 'folder.wav').mkdir()
    os.mkfifo(tmp_path / 'pipe.wav')  # opening it would wait for ever
    (tmp_path / 'link.wav').symlink_to(tmp_path / 'gone.wav')
    names = ('folder.wav', 'pipe.wav', 'link.wav', 'gone.wav')
    reasons = {
        name: str(log_mel.compute_features(utterance(tmp_path / name), SPEC)) for name in names
    }
    assert reasons == {
        'folder.wav': 'unreadable: not a file',
        'pipe.wav': 'unreadable: not a file',
        'link.wav': 'missing',
        'gone.wav': 'missing',
    }


@pytest.mark.parametrize('name', ['x' * 300 + '.wav', 'a\0b.wav'])
def test_an_impossible_name_is_rejected(tmp_path, name):
    assert 'unreadable' in str(log_mel.compute_features(utterance(tmp_path / name), SPEC))


def test_a_name_of_any_bytes_and_a_wrong_extension_are_read(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/\xff\xfe.wav'))
    path.write_bytes(flac())
    assert log_mel.compute_features(utterance(path), SPEC)['frames'] == 101


def test_a_file_without_permission_is_rejected(tmp_path):
    u = save(tmp_path / 'a.wav', tone())
    u.path.chmod(0)
    if os.access(u.path, os.R_OK):
        pytest.skip('root may read everything')
    assert 'unreadable' in str(log_mel.compute_features(u, SPEC))


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('rate', [16_000, 48_000])
def test_a_film_is_its_first_sound_track(channels, rate, tmp_path):
    pytest.importorskip('av')
    wave = np.stack([tone(1.2, rate=rate, gain=0.1 * (c + 1)) for c in range(channels)], axis=1)
    corpus_trees.film(tmp_path / 'Größe.AVI', wave, rate)
    samples, found = decode.read_samples(utterance(tmp_path / 'Größe.AVI'))
    assert (samples.dtype, found) == (np.float32, rate)
    np.testing.assert_allclose(samples, wave, atol=2**-15)
    cut, _ = decode.read_samples(utterance(tmp_path / 'Größe.AVI', 0.25, 1.0))
    np.testing.assert_array_equal(cut, samples[rate // 4 : rate])
    assert log_mel.compute_features(utterance(tmp_path / 'Größe.AVI'), SPEC)['frames'] == 121


@pytest.mark.parametrize(
    ('damage', 'said'),
    [
        (lambda b: b'', 'empty: 0 bytes'),
        (lambda b: b[: len(b) // 2], 'truncated: '),
        (lambda b: b[:100], 'truncated: '),
        (lambda b: bytes(len(b)), 'unreadable: '),
        (
            lambda b: b.replace((16_000).to_bytes(4, 'little'), (99).to_bytes(4, 'little')),
            'unreadable: a sampling rate of 99 Hz',
        ),
    ],
)
def test_a_damaged_film_is_rejected(damage, said, tmp_path):
    pytest.importorskip('av')
    path = tmp_path / 'a.avi'
    corpus_trees.film(path, tone(1.2), RATE)
    path.write_bytes(damage(path.read_bytes()))
    result = log_mel.compute_features(utterance(path), SPEC)
    assert isinstance(result, Rejection)
    assert str(result).startswith(said)


def test_a_film_without_sound_or_past_its_end_is_rejected(tmp_path):
    av = pytest.importorskip('av')
    with av.open(tmp_path / 'silent.avi', 'w') as file:
        picture = file.add_stream('mpeg4', rate=25)
        picture.width = picture.height = 16
        file.mux(picture.encode(av.VideoFrame(16, 16, 'yuv420p')))
        file.mux(picture.encode())
    with pytest.raises(Rejection, match='a film without sound'):
        decode.read_samples(utterance(tmp_path / 'silent.avi'))
    corpus_trees.film(tmp_path / 'a.avi', tone(1.2), RATE)
    with pytest.raises(Rejection, match='outside the file'):
        decode.read_samples(utterance(tmp_path / 'a.avi', 1.0, 2.0))


def test_films_without_pyav_are_refused_at_once(tmp_path, monkeypatch):
    films = [utterance(tmp_path / 'a.wav'), utterance(tmp_path / 'b.AVI')]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"b\.AVI is a film.*pip install -e '\.\[video\]'"):
        decode.check_video_support(films)
    decode.check_video_support(films[:1])
    monkeypatch.undo()
    pytest.importorskip('av')
    decode.check_video_support(films)

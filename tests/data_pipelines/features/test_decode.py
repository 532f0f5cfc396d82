"""Tests that audio is decoded correctly, and that unusable files are rejected with a reason."""

import dataclasses
import importlib.util
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import corpus_trees
from helpers.audio import RATE, make_tone, make_utterance, write_utterance

from data_pipelines.errors import UserError
from data_pipelines.features import decode, log_mel, sample_blocks
from data_pipelines.features.decode import Rejection
from data_pipelines.features.log_mel import LogMel

SPEC = LogMel()


def encode_wav(wave: np.ndarray, **options) -> bytes:
    """Returns the content of a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format='WAV', **options)
    return file.getvalue()


def encode_flac() -> bytes:
    """Returns the content of a FLAC file of a second of noise."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE)
    soundfile.write(file, noise, RATE, format='FLAC')
    return file.getvalue()


TONE = make_tone()
WAV = encode_wav(TONE)
FLAC = encode_flac()


def set_lengths(riff_length: int, data_length: int) -> bytes:
    """Returns a WAV file with these lengths in its header, as of a program that writes a pipe."""
    content = bytearray(WAV)
    struct.pack_into('<I', content, 4, riff_length)
    struct.pack_into('<I', content, content.index(b'data') + 4, data_length)
    return bytes(content)


def invert_middle(content: bytes) -> bytes:
    """Returns the content with 64 inverted bytes."""
    middle = len(content) // 2
    damaged = bytearray(content)
    damaged[middle : middle + 64] = [byte ^ 0xFF for byte in damaged[middle : middle + 64]]
    return bytes(damaged)


def encode_with_sample(sample: float) -> bytes:
    """Returns a WAV file of floats, one of which is `sample`."""
    wave = make_tone()
    wave[100] = sample
    return encode_wav(wave, subtype='FLOAT')


@pytest.mark.parametrize('rate', [8_000, 11_025, 22_050, 44_100, 48_000, 192_000])
def test_any_rate_is_resampled_to_that_of_the_features(rate, tmp_path):
    utterance = write_utterance(tmp_path / 'a.wav', make_tone(rate=rate), rate)
    wave = decode.decode(utterance, SPEC)
    assert abs(len(wave) - RATE) <= 1
    middle = slice(RATE // 4, RATE // 2)
    np.testing.assert_allclose(wave[middle], TONE[middle], atol=2e-3)


@pytest.mark.parametrize('channels', [1, 2, 6, 8])
def test_channels_are_averaged(channels, tmp_path):
    wave = np.stack([make_tone(gain=0.1 * (c + 1)) for c in range(channels)], axis=1)
    utterance = write_utterance(tmp_path / 'a.wav', wave, subtype='FLOAT')
    expected = make_tone(gain=0.05 * (channels + 1))
    np.testing.assert_allclose(decode.decode(utterance, SPEC), expected, atol=1e-6)


@pytest.mark.parametrize(
    'subtype', ['PCM_U8', 'PCM_16', 'PCM_24', 'PCM_32', 'FLOAT', 'DOUBLE', 'ULAW', 'IMA_ADPCM']
)
def test_every_sample_format_is_read(subtype, tmp_path):
    wave = decode.decode(write_utterance(tmp_path / 'a.wav', TONE, subtype=subtype), SPEC)
    # ADPCM needs some samples to adapt.
    np.testing.assert_allclose(wave[100:RATE], TONE[100:], atol=2e-2)


@pytest.mark.parametrize(
    ('riff_length', 'data_length'),
    [
        (0, 0),
        (36, 0),
        (0xFFFFFFFF, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (0, 0xFFFFFFFF),
    ],
)
def test_a_file_that_was_written_into_a_pipe_is_complete(riff_length, data_length, tmp_path):
    (tmp_path / 'a.wav').write_bytes(set_lengths(riff_length, data_length))
    wave = decode.decode(make_utterance(tmp_path / 'a.wav'), SPEC)
    np.testing.assert_allclose(wave, TONE, atol=1e-4)


def test_a_segment_is_cut_at_its_seconds(tmp_path):
    path = tmp_path / 'a.wav'
    wave = np.concatenate([make_tone(hertz=200), make_tone(hertz=3000)])
    write_utterance(path, wave, subtype='FLOAT')
    segment = decode.decode(make_utterance(path, 0.5, 1.5), SPEC)
    np.testing.assert_array_equal(segment, wave[RATE // 2 : 3 * RATE // 2])
    rest = decode.decode(make_utterance(path, 1.0), SPEC)
    np.testing.assert_array_equal(rest, wave[RATE:])


@pytest.mark.parametrize(('start', 'end'), [(2.5, None), (2.0, 3.0), (0.5, 2.1)])
def test_a_segment_outside_its_file_is_rejected(start, end, tmp_path):
    write_utterance(tmp_path / 'a.wav', make_tone(2.0))
    with pytest.raises(Rejection, match=r'outside the file: .* of 2 s'):
        decode.decode(make_utterance(tmp_path / 'a.wav', start, end), SPEC)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'empty'),
        (WAV[:44], 'truncated'),
        (encode_wav(make_tone(0)), 'empty'),
        (WAV[:20], 'truncated'),
        (WAV[:-4000], 'truncated: 32000 bytes of samples expected, 28000 in the file'),
        (FLAC[:-4000], 'truncated|unreadable'),
        (FLAC[:42], 'truncated'),
        (invert_middle(FLAC), 'unreadable'),
        (encode_with_sample(np.nan), 'NaN'),
        (encode_with_sample(np.inf), 'infinite'),
        (encode_with_sample(1e25), r'as large as 1e\+25'),
        (encode_wav(0 * TONE), 'silent'),
        (encode_wav(0 * TONE + 0.5), 'silent'),
        (encode_wav(make_tone(gain=5e-5), subtype='FLOAT'), 'silent'),
        (encode_wav(make_tone(0.05)), 'too short: 0.050 s'),
        (b'RIFF\0\0\0\0WAVE', 'truncated'),
        (b'<html>404</html>' * 100, 'unreadable'),
        (bytes(10_000), 'unreadable'),
        (WAV[:24] + struct.pack('<I', 1) + WAV[28:], 'sampling rate of 1 Hz'),
    ],
)
def test_a_damaged_file_is_rejected_with_its_reason(content, reason, tmp_path):
    (tmp_path / 'a.wav').write_bytes(content)
    result = log_mel.compute_features(make_utterance(tmp_path / 'a.wav'), SPEC)
    assert isinstance(result, Rejection)
    with pytest.raises(Rejection, match=reason):
        raise result


@pytest.mark.parametrize('gain', [20_000, 2**30, 300, 8])
def test_integers_that_were_written_as_floats_are_rejected(gain, tmp_path):
    integers = np.round(10 * gain * TONE).astype(np.float32)
    utterance = write_utterance(tmp_path / 'a.wav', integers, subtype='FLOAT')
    with pytest.raises(Rejection, match=r'as large as \d.* full scale is 1: probably integers'):
        decode.decode(utterance, SPEC)


def test_float_samples_a_little_beyond_full_scale_are_accepted(tmp_path):
    utterance = write_utterance(tmp_path / 'a.wav', 35 * TONE, subtype='FLOAT')
    np.testing.assert_array_equal(decode.decode(utterance, SPEC), 35 * TONE)


def make_noise(seed: int, gain: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, gain, RATE).astype(np.float32)


@pytest.mark.parametrize(
    'channels',
    [
        [TONE, -TONE],
        [TONE, -0.9 * TONE],
        [TONE + make_noise(0, 1e-3), -TONE],
        [TONE + 0.3, 0.3 - TONE],
        [TONE, -TONE, TONE, -TONE],
    ],
)
def test_channels_that_cancel_are_rejected_until_one_is_chosen(channels, tmp_path):
    utterance = write_utterance(tmp_path / 'a.wav', np.stack(channels, 1), subtype='FLOAT')
    with pytest.raises(Rejection, match=rf'its {len(channels)} channels cancel.*--channel'):
        decode.decode(utterance, SPEC)
    for channel, wave in enumerate(channels, start=1):
        chosen = dataclasses.replace(utterance, channel=channel)
        np.testing.assert_array_equal(decode.decode(chosen, SPEC), wave.astype(np.float32))
    with pytest.raises(Rejection, match=rf'channel 9 was chosen, of {len(channels)} in the file'):
        decode.decode(dataclasses.replace(utterance, channel=9), SPEC)


@pytest.mark.parametrize(
    'channels',
    [
        [TONE, 0 * TONE],
        [0.01 * TONE, TONE],
        [make_noise(0, 0.1), make_noise(1, 0.1)],
        [TONE, *[0 * TONE] * 199],
        [TONE, TONE, -TONE],
    ],
)
def test_channels_that_do_not_cancel_are_averaged(channels, tmp_path):
    samples = np.stack(channels, 1)
    wave = decode.to_mono(samples, RATE, SPEC)
    np.testing.assert_array_equal(wave, samples.mean(axis=1))


def test_silent_channels_are_silent_and_do_not_cancel():
    with pytest.raises(Rejection, match='silent: nothing above -80 dBFS'):
        decode.to_mono(np.zeros((RATE, 2), np.float32), RATE, SPEC)
    with pytest.raises(Rejection, match=r'silent: nothing but the sample value 0\.5'):
        decode.to_mono(np.full((RATE, 2), 0.5, np.float32), RATE, SPEC)


LFS_POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 72862\n'


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (LFS_POINTER, 'unreadable: it is a Git LFS pointer.*git lfs pull'),
        (b'<!DOCTYPE html><html></html>', 'unreadable: it is a web page.*download'),
        (b'PK\x03\x04' + bytes(60), 'unreadable: it is a ZIP archive: unpack it'),
        (b'404: Not Found\n', 'not audio: a text file: '),
        ('Sprecher'.encode('utf-16'), 'unreadable: it is text in UTF-16'),
        (bytes(5000), 'unreadable: it is nothing but zero bytes'),
        (b'\xf0\x7e\x00\x01' + bytes(range(90)), 'unreadable: it is a MIDI sample dump'),
    ],
)
def test_what_is_no_audio_is_called_what_it_is(content, reason, tmp_path):
    (tmp_path / 'a.wav').write_bytes(content)
    with pytest.raises(Rejection, match=f'^{reason}'):
        decode.decode(make_utterance(tmp_path / 'a.wav'), SPEC)


@pytest.mark.parametrize('suffix', ['.flac', '.wav'])
def test_hours_in_a_small_file_are_rejected_before_the_memory_is_full(
    suffix, tmp_path, monkeypatch
):
    monkeypatch.setattr(sample_blocks, 'FIRST_CHECKED_BYTES', 1 << 20)
    monkeypatch.setattr(sample_blocks, 'available_bytes', lambda: 30 << 20)
    silence = np.zeros((100 * RATE, 8), np.int16)
    soundfile.write(tmp_path / f'a{suffix}', silence, RATE)
    with pytest.raises(Rejection, match=r'too long for the memory, .*: 8 channel.s. of [12] min'):
        decode.decode(make_utterance(tmp_path / f'a{suffix}'), SPEC)
    samples, _ = decode.read_samples(make_utterance(tmp_path / f'a{suffix}', 1.0, 2.0))
    assert samples.shape == (RATE, 8)


def test_the_memory_limit_is_for_all_joined_files_together(tmp_path, monkeypatch):
    """Each of them alone is below it."""
    monkeypatch.setattr(sample_blocks, 'FIRST_CHECKED_BYTES', 1 << 20)
    monkeypatch.setattr(sample_blocks, 'MAX_BYTES', 3 << 20)
    path = tmp_path / 'a.flac'
    soundfile.write(path, np.zeros((2 * RATE, 8), np.int16), RATE)
    path.write_bytes(path.read_bytes() * 4)
    with pytest.raises(Rejection, match='too long for the memory'):
        decode.read_samples(make_utterance(path))


def test_the_available_memory_is_known():
    assert 0 < sample_blocks.available_bytes() <= sample_blocks.MAX_BYTES * 3


def test_a_header_that_states_more_samples_than_fit_into_memory_is_a_rejection(
    tmp_path, monkeypatch
):
    def fail(*arguments, **options):
        raise MemoryError('Unable to allocate 32.0 GiB for an array')

    utterance = write_utterance(tmp_path / 'a.flac', TONE)
    monkeypatch.setattr(soundfile.SoundFile, 'read', fail)
    result = log_mel.compute_features(utterance, SPEC)
    assert str(result) == 'too long for the memory, or its header is wrong'


def test_a_path_that_is_not_a_file_is_rejected(tmp_path):
    (tmp_path / 'folder.wav').mkdir()
    os.mkfifo(tmp_path / 'pipe.wav')  # to open it would block
    (tmp_path / 'link.wav').symlink_to(tmp_path / 'gone.wav')
    expected = {
        'folder.wav': 'unreadable: not a file',
        'pipe.wav': 'unreadable: not a file',
        'link.wav': 'missing',
        'gone.wav': 'missing',
    }
    for name, reason in expected.items():
        result = log_mel.compute_features(make_utterance(tmp_path / name), SPEC)
        assert str(result) == reason, name


@pytest.mark.parametrize('name', ['x' * 300 + '.wav', 'a\0b.wav'])
def test_an_impossible_name_is_rejected(name, tmp_path):
    result = log_mel.compute_features(make_utterance(tmp_path / name), SPEC)
    assert 'unreadable' in str(result)


def test_a_name_of_any_bytes_with_a_wrong_suffix_is_read(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/\xff\xfe.wav'))
    path.write_bytes(FLAC)
    assert log_mel.compute_features(make_utterance(path), SPEC)['frames'] == 101


def test_a_file_without_permission_is_rejected(tmp_path):
    utterance = write_utterance(tmp_path / 'a.wav', TONE)
    utterance.path.chmod(0)
    if os.access(utterance.path, os.R_OK):
        pytest.skip('root may read everything')
    assert 'unreadable' in str(log_mel.compute_features(utterance, SPEC))


@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('rate', [16_000, 48_000])
def test_a_film_is_read_as_its_first_sound_track(channels, rate, tmp_path):
    pytest.importorskip('av')
    path = tmp_path / 'Größe.AVI'
    tones = [make_tone(1.2, rate=rate, gain=0.1 * (c + 1)) for c in range(channels)]
    wave = np.stack(tones, axis=1)
    corpus_trees.write_film(path, wave, rate)
    samples, sample_rate = decode.read_samples(make_utterance(path))
    assert (samples.dtype, sample_rate) == (np.float32, rate)
    np.testing.assert_allclose(samples, wave, atol=2**-15)
    segment, _ = decode.read_samples(make_utterance(path, 0.25, 1.0))
    np.testing.assert_array_equal(segment, samples[rate // 4 : rate])
    assert log_mel.compute_features(make_utterance(path), SPEC)['frames'] == 121


def state_rate_99(content: bytes) -> bytes:
    """Returns a film whose header states a sampling rate of 99 Hz."""
    return content.replace(RATE.to_bytes(4, 'little'), (99).to_bytes(4, 'little'))


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        (lambda content: b'', 'empty: 0 bytes'),
        (lambda content: content[: len(content) // 2], 'truncated: '),
        (lambda content: content[:100], 'truncated: '),
        (lambda content: bytes(len(content)), 'unreadable: '),
        (state_rate_99, 'unreadable: a sampling rate of 99 Hz'),
    ],
)
def test_a_damaged_film_is_rejected(damage: Callable[[bytes], bytes], reason, tmp_path):
    pytest.importorskip('av')
    path = tmp_path / 'a.avi'
    corpus_trees.write_film(path, make_tone(1.2), RATE)
    path.write_bytes(damage(path.read_bytes()))
    result = log_mel.compute_features(make_utterance(path), SPEC)
    assert isinstance(result, Rejection)
    assert str(result).startswith(reason)


def test_a_film_without_sound_is_rejected(tmp_path):
    av = pytest.importorskip('av')
    with av.open(tmp_path / 'silent.avi', 'w') as file:
        picture = file.add_stream('mpeg4', rate=25)
        picture.width = picture.height = 16
        file.mux(picture.encode(av.VideoFrame(16, 16, 'yuv420p')))
        file.mux(picture.encode())
    with pytest.raises(Rejection, match='a film without sound'):
        decode.read_samples(make_utterance(tmp_path / 'silent.avi'))


def test_a_segment_after_the_end_of_a_film_is_rejected(tmp_path):
    pytest.importorskip('av')
    corpus_trees.write_film(tmp_path / 'a.avi', make_tone(1.2), RATE)
    with pytest.raises(Rejection, match='outside the file'):
        decode.read_samples(make_utterance(tmp_path / 'a.avi', 1.0, 2.0))


def test_films_are_refused_at_once_if_pyav_is_not_installed(tmp_path, monkeypatch):
    utterances = [make_utterance(tmp_path / 'a.wav'), make_utterance(tmp_path / 'b.AVI')]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"b\.AVI is a film.*pip install -e '\.\[video\]'"):
        decode.check_video_support(utterances)
    decode.check_video_support(utterances[:1])
    monkeypatch.undo()
    pytest.importorskip('av')
    decode.check_video_support(utterances)

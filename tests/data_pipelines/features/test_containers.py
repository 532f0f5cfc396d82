"""Tests that truncated files are found by their headers, and that joined files are read whole."""

import io

import numpy as np
import pytest
import soundfile
from helpers.audio import RATE, make_tone, make_utterance

from data_pipelines.features import containers, decode
from data_pipelines.features.containers import Promise
from data_pipelines.features.rejection import Rejection

TONE = make_tone(2.0) + np.random.default_rng(0).normal(0, 0.01, 2 * RATE).astype(np.float32)
PROMISING = ['WAV', 'WAVEX', 'RF64', 'W64', 'AIFF', 'AU', 'CAF', 'NIST']
LOSSY = ['OGG', 'MP3']


def encode(audio_format: str, wave: np.ndarray = TONE, rate: int = RATE, **options) -> bytes:
    """Returns the content of a file."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=audio_format, **options)
    return file.getvalue()


def read(content: bytes, path) -> np.ndarray:
    """Returns the samples that are decoded from a file with this content."""
    path.write_bytes(content)
    samples, _ = decode.read_samples(make_utterance(path))
    return samples


@pytest.mark.parametrize('audio_format', PROMISING)
@pytest.mark.parametrize('lost', [400, 9000])
def test_a_file_that_is_shorter_than_its_header_says_is_truncated(audio_format, lost, tmp_path):
    content = encode(audio_format)
    assert len(read(content, tmp_path / 'a.wav')) == len(TONE)
    with pytest.raises(Rejection, match=r'truncated: \d+ bytes of samples expected, \d+ in the'):
        read(content[:-lost], tmp_path / 'a.wav')


@pytest.mark.parametrize('endian', ['LITTLE', 'BIG'])
def test_both_byte_orders_are_checked(endian, tmp_path):
    content = encode('WAV', endian=endian)
    assert len(read(content, tmp_path / 'a.wav')) == len(TONE)
    with pytest.raises(Rejection, match='truncated'):
        read(content[:-4000], tmp_path / 'a.wav')


def test_an_au_or_caf_file_without_a_length_is_decoded_to_its_end(tmp_path):
    au = encode('AU')
    unknown = au[:8] + b'\xff' * 4 + au[12:]
    np.testing.assert_array_equal(read(unknown, tmp_path / 'a.au'), read(au, tmp_path / 'b.au'))
    caf = encode('CAF')
    start = caf.index(b'data') + 4
    unknown = caf[:start] + b'\xff' * 8 + caf[start + 8 :]
    np.testing.assert_array_equal(read(unknown, tmp_path / 'a.caf'), read(caf, tmp_path / 'b.caf'))


@pytest.mark.parametrize('audio_format', [*PROMISING, 'FLAC', 'OGG'])
def test_joined_files_are_decoded_whole(audio_format, tmp_path):
    first, second = encode(audio_format), encode(audio_format, TONE[RATE // 2 :])
    both = [read(first, tmp_path / 'a.wav'), read(second, tmp_path / 'a.wav')]
    joined = read(first + second, tmp_path / 'a.wav')
    np.testing.assert_array_equal(joined, np.concatenate(both))
    segment = make_utterance(tmp_path / 'a.wav', 1.5, 2.5)
    np.testing.assert_array_equal(
        decode.read_samples(segment)[0], joined[3 * RATE // 2 : 5 * RATE // 2]
    )


def test_joined_files_of_two_formats_are_decoded_whole(tmp_path):
    joined = read(encode('WAV') + encode('FLAC') + encode('FLAC'), tmp_path / 'a.wav')
    np.testing.assert_allclose(joined, np.tile(TONE, 3)[:, None], atol=2**-14)


@pytest.mark.parametrize('audio_format', ['WAV', 'FLAC', 'OGG', 'MP3'])
def test_joined_files_of_different_rates_are_rejected(audio_format, tmp_path):
    content = encode(audio_format) + encode(audio_format, TONE, 2 * RATE)
    with pytest.raises(Rejection, match='files with different rates or channels, joined'):
        read(content, tmp_path / 'a.wav')


def test_a_part_of_joined_files_that_is_truncated_is_found(tmp_path):
    content = encode('WAV')
    with pytest.raises(Rejection, match='truncated'):
        read(content + content[:-4000], tmp_path / 'a.wav')


def test_a_header_with_very_many_chunks_does_not_hang(tmp_path):
    with pytest.raises(Rejection, match='truncated'):
        read(b'RIFF\0\0\0\0WAVE' + bytes(8_000_000), tmp_path / 'a.wav')


@pytest.mark.parametrize('start', [b'caff\0\1\0\0', containers.W64_RIFF + bytes(24)])
def test_only_so_many_chunks_are_looked_at(start, monkeypatch):
    """A file of 1 GB may have 90 million empty ones."""
    monkeypatch.setattr(containers, 'MAX_CHUNKS', 3)
    chunk = (b'free' + bytes(8)) if start[:4] == b'caff' else (bytes(16) + b'\x18' + bytes(7))
    data = encode('CAF' if start[:4] == b'caff' else 'W64')
    data = data[data.index(b'data') :]
    assert containers.read_promise(start + 2 * chunk + data).data_start is not None
    assert containers.read_promise(start + 3 * chunk + data) == Promise()


@pytest.mark.parametrize('audio_format', ['WAV', 'FLAC', 'OGG'])
def test_very_many_joined_files_are_rejected(audio_format, tmp_path):
    with pytest.raises(Rejection, match='more than 100 files joined'):
        read(110 * encode(audio_format, TONE[:100]), tmp_path / 'a.wav')


def test_a_flac_file_that_was_written_into_a_pipe_is_complete(tmp_path):
    content = bytearray(encode('FLAC'))
    expected = read(content, tmp_path / 'a.flac')
    content[21] &= 0xF0  # the number of samples
    content[22:26] = bytes(4)
    np.testing.assert_array_equal(read(content, tmp_path / 'b.flac'), expected)
    segment = make_utterance(tmp_path / 'b.flac', 0.5, 1.0)
    np.testing.assert_array_equal(decode.read_samples(segment)[0], expected[RATE // 2 : RATE])
    with pytest.raises(Rejection, match='outside the file: 1 to 3 s of 2 s'):
        decode.read_samples(make_utterance(tmp_path / 'b.flac', 1.0, 3.0))
    with pytest.raises(Rejection, match=r'unreadable|truncated'):
        read(content[:-9000], tmp_path / 'b.flac')


@pytest.mark.parametrize('subtype', ['GSM610', 'G721_32'])
def test_a_codec_that_cannot_seek_is_decoded(subtype, tmp_path):
    content = encode('WAV', subtype=subtype)
    samples = read(content, tmp_path / 'a.wav')
    assert len(samples) >= len(TONE)
    segment = make_utterance(tmp_path / 'a.wav', 0.5, 1.0)
    np.testing.assert_array_equal(decode.read_samples(segment)[0], samples[RATE // 2 : RATE])


def test_a_truncated_ogg_file_is_decoded_to_its_end(tmp_path):
    content = encode('OGG', np.tile(TONE, 5))
    assert 0 < len(read(content[: len(content) * 3 // 4], tmp_path / 'a.ogg')) < 10 * RATE

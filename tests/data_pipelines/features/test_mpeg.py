"""Tests that MP3 files are decoded to their end, whatever length their first frame states."""

import io
import time

import numpy as np
import pytest
import soundfile
from helpers.audio import RATE, make_tone, make_utterance

from data_pipelines.features import decode, mpeg
from data_pipelines.features.mpeg import FrameHeader

FRAME_SAMPLES = 576  # of MPEG 2 layer 3


def encode_mp3(seconds: float = 4.0, bitrate_mode: str = 'VARIABLE') -> bytes:
    """Returns an MP3 file of quiet and loud parts, so that its bit rate varies."""
    wave = make_tone(seconds)
    noise = np.random.default_rng(0).normal(0, 0.2, len(wave))
    wave[len(wave) // 2 :] += noise[len(wave) // 2 :]
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format='MP3', bitrate_mode=bitrate_mode)
    return file.getvalue()


MP3 = encode_mp3()
STREAM = mpeg.scan(MP3)
WITHOUT_TAG = mpeg.without_tags(MP3, STREAM)


def state_frames(count: int) -> bytes:
    """Returns the file with another number of frames in its first frame."""
    start = next(MP3.index(name) for name in (b'Xing', b'Info') if name in MP3[:200]) + 8
    return MP3[:start] + count.to_bytes(4, 'big') + MP3[start + 4 :]


def read(content: bytes, path, start: float = 0.0, end: float | None = None) -> np.ndarray:
    """Returns the samples that are decoded from a file with this content."""
    path.write_bytes(content)
    samples, rate = decode.read_samples(make_utterance(path, start, end))
    assert rate == RATE
    return samples


@pytest.mark.parametrize(
    ('header', 'expected'),
    [
        ('fffb9064', FrameHeader(417, 1152, 44_100, 2, 3)),
        ('fff388c4', FrameHeader(288, 576, 16_000, 1, 3)),
        ('fffd4444', FrameHeader(192, 1152, 48_000, 2, 2)),
        ('fffbf064', None),  # bit rate 15
        ('fff19064', None),  # layer 4: AAC
        ('00000000', None),
    ],
)
def test_the_header_of_a_frame_states_its_length(header, expected):
    assert mpeg.parse_header(bytes.fromhex(header)) == expected


def test_the_frames_are_counted(tmp_path):
    assert mpeg.states_its_length(STREAM)
    assert STREAM.formats == {(RATE, 1)}
    assert 4 * RATE <= STREAM.samples <= 4 * RATE + 4 * FRAME_SAMPLES
    tagged = b'ID3\x04\0\0\0\0\x01\x00' + bytes(128) + MP3 + b'TAG' + bytes(125)
    assert mpeg.scan(tagged).frames == STREAM.frames
    assert mpeg.scan(WITHOUT_TAG).tags == ()
    assert mpeg.scan(bytes(1000)).frames == 0


@pytest.mark.parametrize('content', [MP3, encode_mp3(bitrate_mode='CONSTANT')])
def test_a_file_that_states_its_length_is_read_as_soundfile_reads_it(content, tmp_path):
    samples = read(content, tmp_path / 'a.mp3')
    expected, _ = soundfile.read(tmp_path / 'a.mp3', dtype=np.float32, always_2d=True)
    np.testing.assert_array_equal(samples, expected)
    assert len(samples) == 4 * RATE


@pytest.mark.parametrize('factor', [0.3, 2.0])
def test_a_wrong_length_in_the_first_frame_is_not_believed(factor, tmp_path):
    samples = read(state_frames(round(factor * STREAM.frames)), tmp_path / 'a.mp3')
    # The tag also says how many samples of the first and last frame are no sound.
    assert STREAM.samples - 4 * FRAME_SAMPLES <= len(samples) <= STREAM.samples
    assert len(samples) >= 4 * RATE


@pytest.mark.parametrize('bitrate_mode', ['VARIABLE', 'CONSTANT', 'AVERAGE'])
def test_a_file_without_that_frame_is_decoded_to_its_end(bitrate_mode, tmp_path):
    content = encode_mp3(bitrate_mode=bitrate_mode)
    stream = mpeg.scan(content)
    samples = read(mpeg.without_tags(content, stream), tmp_path / 'a.mp3')
    assert len(samples) == stream.samples
    segment = read(mpeg.without_tags(content, stream), tmp_path / 'a.mp3', 3.0, 3.5)
    np.testing.assert_array_equal(segment, samples[3 * RATE : 7 * RATE // 2])


def test_the_estimate_of_libsndfile_is_too_short_for_this_file():
    """Else the test before would prove nothing."""
    with soundfile.SoundFile(io.BytesIO(WITHOUT_TAG)) as file:
        assert file.frames != STREAM.samples


@pytest.mark.parametrize('before', [b'', bytes(500), b'ID3\x03\0\0\0\0\x01\0' + bytes(128)])
def test_joined_mp3_files_are_decoded_whole(before, tmp_path):
    samples = read(before + MP3 + before + MP3, tmp_path / 'a.mp3')
    assert len(samples) == 2 * STREAM.samples
    assert len(read(WITHOUT_TAG * 3, tmp_path / 'a.mp3')) == 3 * STREAM.samples


def test_a_truncated_mp3_file_is_decoded_to_its_end(tmp_path):
    samples = read(MP3[: len(MP3) // 2], tmp_path / 'a.mp3')
    assert RATE < len(samples) < 4 * RATE


def test_damage_between_frames_is_searched_once():
    """It was searched to its end for each byte that might begin a frame: 20 s for 2 MB."""
    noise = np.random.default_rng(0).integers(0, 256, 2_000_000).astype(np.uint8).tobytes()
    start = time.process_time()
    stream = mpeg.scan(WITHOUT_TAG + noise + WITHOUT_TAG)
    assert time.process_time() - start < 2
    # Noise may look like two frames; the last frame before noise does not look like one.
    assert abs(stream.frames - 2 * STREAM.frames) < 5
    assert stream.formats == {(RATE, 1)}

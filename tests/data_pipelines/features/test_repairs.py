"""Tests that files are read whole whose header states no length of the sound, or a wrong one."""

import io
import struct

import numpy as np
import pytest
import soundfile
from helpers.audio import RATE, make_tone, make_utterance

from data_pipelines.features import decode, mpeg, repairs
from data_pipelines.features.rejection import Rejection

TONE = make_tone(2.0) + np.random.default_rng(0).normal(0, 0.01, 2 * RATE).astype(np.float32)
TONE = np.round(32768 * TONE) / 32768  # written in 16 bits without rounding
FLAC_UNKNOWN = (1 << 36) - 1


def encode(audio_format: str, **options) -> bytes:
    """Returns the content of a file with the tone."""
    file = io.BytesIO()
    soundfile.write(file, TONE, RATE, format=audio_format, **options)
    return file.getvalue()


WAV = encode('WAV')
FLAC = encode('FLAC')


def replace(content: bytes, position: int, number: int, size: int, order: str) -> bytes:
    """Returns the content with another number at a position."""
    return content[:position] + number.to_bytes(size, order) + content[position + size :]


def state_flac_length(frames: int) -> bytes:
    """Returns the FLAC file with another number of samples in its header."""
    field = int.from_bytes(FLAC[repairs.FLAC_LENGTH], 'big') >> 36 << 36
    return replace(FLAC, repairs.FLAC_LENGTH.start, field | frames, 8, 'big')


def state_rf64_length(length: int) -> bytes:
    """Returns an RF64 file with another number of bytes of samples in its header."""
    content = encode('RF64')
    return replace(content, content.index(b'ds64') + 16, length, 8, 'little')


def make_chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack('<I', len(data)) + data


def make_wav(*chunks: bytes) -> bytes:
    return b'RIFF' + struct.pack('<I', 4 + sum(map(len, chunks))) + b'WAVE' + b''.join(chunks)


FORMAT, DATA = WAV[12:36], WAV[36:]


def read(content: bytes, path, start: float = 0.0, end: float | None = None) -> np.ndarray:
    """Returns the samples that are decoded from a file with this content."""
    path.write_bytes(content)
    samples, rate = decode.read_samples(make_utterance(path, start, end))
    assert rate == RATE
    return samples[:, 0]


@pytest.mark.parametrize(
    'content',
    [
        replace(WAV, 40, 0, 4, 'little'),
        replace(replace(WAV, 40, 0, 4, 'little'), 4, 36, 4, 'little'),
        replace(replace(WAV, 40, 0, 4, 'little'), 4, 0, 4, 'little'),
        make_wav(FORMAT, make_chunk(b'note', b'abc'), DATA),
        make_wav(FORMAT, make_chunk(b'note', b'abc') + b'\0', DATA),
        state_rf64_length(0),
        state_rf64_length((1 << 64) - 1),
        replace(encode('AU'), 8, 0, 4, 'big'),
        replace(encode('AU'), 8, 0xFFFF_FFFF, 4, 'big'),
        state_flac_length(0),
        state_flac_length(1),
        state_flac_length(RATE),
        state_flac_length(FLAC_UNKNOWN),
        FLAC + b'TAG' + bytes(125),
    ],
)
def test_a_file_with_a_wrong_length_or_none_is_read_whole(content, tmp_path):
    expected = read(WAV, tmp_path / 'expected.wav')
    np.testing.assert_array_equal(read(content, tmp_path / 'a'), expected)
    segment = read(content, tmp_path / 'a', 1.25, 1.75)
    np.testing.assert_array_equal(segment, expected[RATE * 5 // 4 : RATE * 7 // 4])


@pytest.mark.parametrize(
    'content',
    [
        make_wav(FORMAT, make_chunk(b'data', b'')),
        make_wav(FORMAT, make_chunk(b'data', b''), make_chunk(b'LIST', b'INFOISFT\4\0\0\0abc\0')),
    ],
)
def test_a_wav_file_without_samples_stays_empty(content, tmp_path):
    """Chunks that follow are not taken for sound."""
    with pytest.raises(Rejection, match='empty: a header without samples'):
        read(content, tmp_path / 'a.wav')


@pytest.mark.parametrize('frames', [2 * RATE + 1, 4 * RATE])
def test_a_flac_file_with_less_than_it_states_is_truncated(frames, tmp_path):
    with pytest.raises(Rejection, match=f'truncated: {frames} samples expected, {2 * RATE} in'):
        read(state_flac_length(frames), tmp_path / 'a.flac')


def test_mpeg_audio_in_a_wav_file_is_read_whole(tmp_path):
    """libsndfile stops at a length that it estimates."""
    mp3 = encode('MP3')
    frames = mpeg.without_tags(mp3, mpeg.scan(mp3))
    fields = struct.pack('<HHIIHHHHIHHH', 0x55, 1, RATE, 4000, 1, 0, 12, 1, 2, 288, 1, 1393)
    content = make_wav(make_chunk(b'fmt ', fields), make_chunk(b'data', frames))
    expected = read(frames, tmp_path / 'a.mp3')
    np.testing.assert_array_equal(read(content, tmp_path / 'a.wav'), expected)
    with pytest.raises(Rejection, match='truncated'):
        read(content[:-4000], tmp_path / 'a.wav')
    joined = read(content + content, tmp_path / 'a.wav')
    np.testing.assert_array_equal(joined, np.tile(expected, 2))


def test_an_mp3_file_that_ends_within_a_frame_is_read_up_to_there(tmp_path):
    mp3 = encode('MP3', bitrate_mode='VARIABLE')
    frames = mpeg.without_tags(mp3, mpeg.scan(mp3))
    whole = read(frames, tmp_path / 'a.mp3')
    cut = read(frames[: len(frames) // 2], tmp_path / 'b.mp3')
    assert 0.3 * len(whole) < len(cut) < 0.7 * len(whole)


def test_mp3_frames_are_counted_where_a_vbri_header_states_them(tmp_path):
    mp3 = encode('MP3')
    stream = mpeg.scan(mp3)
    ((start, stop),) = stream.tags
    frames = mpeg.without_tags(mp3, stream)
    expected = read(frames, tmp_path / 'a.mp3')
    for stated in (stream.frames, stream.frames // 3, 3 * stream.frames):
        numbers = struct.pack('>HHHII', 1, 0, 0, len(frames), stated)
        tag = mp3[start : start + 4] + bytes(32) + b'VBRI' + numbers
        content = tag + bytes(stop - start - len(tag)) + frames
        assert len(read(content, tmp_path / 'b.mp3')) >= len(expected)


def test_a_codec_in_wav_that_libsndfile_does_not_read_is_decoded_by_pyav(tmp_path, monkeypatch):
    av = pytest.importorskip('av')
    path = tmp_path / 'a.wav'
    with av.open(str(path), 'w', format='wav') as file:
        track = file.add_stream('g722', rate=RATE, layout='mono')
        integers = (TONE * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(integers[None], format='s16', layout='mono')
        frame.sample_rate = RATE
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    content = path.read_bytes()
    samples = read(content, path)
    assert len(samples) == pytest.approx(2 * RATE, rel=0.01)
    assert np.abs(np.fft.rfft(samples[:RATE])).argmax() == 440
    with pytest.raises(Rejection, match='truncated'):
        read(content[:-4000], path)
    with pytest.raises(Rejection, match='files joined into one, of which only the first'):
        read(content + content, path)
    monkeypatch.setattr(decode.soundtracks, 'is_installed', bool)
    with pytest.raises(Rejection, match=r'a WAV file of a codec .* install PyAV .*convert it to'):
        read(content, path)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (bytes(range(16, 256)), 'Format not recognised'),
        (make_wav(FORMAT, DATA, DATA), 'no sound was found'),
    ],
)
def test_what_cannot_be_read_is_rejected_with_advice(content, reason, tmp_path):
    with pytest.raises(Rejection, match=f'unreadable: {reason}.*convert it to WAV'):
        read(content, tmp_path / 'a.wav')


@pytest.mark.parametrize(('bits', 'full_scale'), [(16, 32768), (24, 8388608), (32, 2147483648)])
def test_integers_are_rejected_with_their_full_scale(bits, full_scale):
    with pytest.raises(Rejection, match=rf'divide them by {full_scale} \({bits} bits\)'):
        decode.check_levels(0.9 * full_scale * TONE[:, None] / np.abs(TONE).max())

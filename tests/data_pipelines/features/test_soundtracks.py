"""Tests that what libsndfile does not read is decoded by PyAV, by the file's own format alone."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from helpers.audio import make_tone, make_utterance

from data_pipelines.features import decode, soundtracks
from data_pipelines.features.rejection import Rejection

av = pytest.importorskip('av')

# Suffix, codec and rate
COMPRESSED = [
    ('.m4a', 'aac', 16_000),
    ('.mp4', 'aac', 44_100),
    ('.webm', 'libopus', 48_000),
    ('.mkv', 'pcm_s16le', 16_000),
    ('.mov', 'pcm_s16le', 16_000),
    ('.aac', 'aac', 16_000),
    ('.wma', 'wmav2', 16_000),
    ('.flv', 'pcm_s16le', 44_100),
    ('.3gp', 'aac', 16_000),
    ('.ts', 'aac', 16_000),
    ('.mp2', 'mp2', 16_000),
    ('.ac3', 'ac3', 32_000),
    ('.wv', 'wavpack', 16_000),
    ('.tta', 'tta', 16_000),
]
FORMATS = {'.aac': 'adts', '.wma': 'asf', '.m4a': 'mp4', '.ts': 'mpegts', '.mkv': 'matroska'}


def write_compressed(path: Path, codec: str, rate: int, seconds: float = 2.0) -> None:
    """Writes a tone of 440 Hz as a file of another kind."""
    form = FORMATS.get(path.suffix, path.suffix[1:])
    with av.open(str(path), 'w', format=form) as file:
        track = file.add_stream(codec, rate=rate, layout='mono')
        track.bit_rate = 64_000
        integers = (make_tone(seconds, rate) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(integers[None], format='s16', layout='mono')
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=track.codec_context.format, rate=rate, frame_size=track.frame_size or None
        )
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(track.encode(block))
        file.mux(track.encode(None))


def check_tone(samples: np.ndarray, rate: int) -> None:
    """Asserts that the samples are two seconds of 440 Hz."""
    assert abs(len(samples) / rate - 2.0) < 0.15
    middle = samples[rate // 2 : 3 * rate // 2, 0]
    assert np.abs(np.fft.rfft(middle)).argmax() == 440
    assert np.std(middle) == pytest.approx(0.1 / np.sqrt(2), rel=0.1)


def test_libsndfile_prints_nothing_about_a_film_under_another_name(tmp_path, capfd):
    """It takes the bytes of an M4A file called .mp3 for damaged MP3."""
    path = tmp_path / 'a.m4a'
    write_compressed(path, 'aac', 16_000)
    path = path.rename(tmp_path / 'a.mp3')
    assert decode.expected_values(path) == decode.COMPRESSED_VALUES * path.stat().st_size
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize(('suffix', 'codec', 'rate'), COMPRESSED)
@pytest.mark.parametrize('name', ['own', '.wav'])
def test_a_compressed_file_is_decoded_whatever_its_name(suffix, codec, rate, name, tmp_path):
    path = tmp_path / f'a{suffix}'
    write_compressed(path, codec, rate)
    if name != 'own':
        path = path.rename(tmp_path / f'a{name}')
    samples, sample_rate = decode.read_samples(make_utterance(path))
    assert sample_rate == rate
    check_tone(samples, rate)
    segment, _ = decode.read_samples(make_utterance(path, 0.5, 1.0))
    np.testing.assert_array_equal(segment, samples[rate // 2 : rate])


@pytest.mark.parametrize(('suffix', 'codec', 'rate'), [COMPRESSED[0], COMPRESSED[3]])
def test_a_truncated_file_is_rejected(suffix, codec, rate, tmp_path):
    path = tmp_path / f'a{suffix}'
    write_compressed(path, codec, rate)
    content = path.read_bytes()
    for size in (len(content) // 2, len(content) - 100):
        path.write_bytes(content[:size])
        with pytest.raises(Rejection, match='truncated: '):
            decode.read_samples(make_utterance(path))


@pytest.mark.parametrize(('suffix', 'codec', 'rate'), [COMPRESSED[n] for n in (0, 2, 3, 4)])
def test_joined_files_of_which_only_the_first_can_be_read_are_rejected(
    suffix, codec, rate, tmp_path
):
    path = tmp_path / f'a{suffix}'
    write_compressed(path, codec, rate)
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(Rejection, match='files joined into one, of which only the first'):
        decode.read_samples(make_utterance(path))


def test_joined_files_of_a_format_without_a_header_are_decoded_whole(tmp_path):
    path = tmp_path / 'a.aac'
    write_compressed(path, 'aac', 16_000)
    single, _ = decode.read_samples(make_utterance(path))
    path.write_bytes(2 * path.read_bytes())
    assert len(decode.read_samples(make_utterance(path))[0]) == 2 * len(single)


@pytest.mark.parametrize(('suffix', 'codec', 'rate'), COMPRESSED[:2])
def test_without_pyav_the_file_is_named_with_what_to_do(suffix, codec, rate, tmp_path, monkeypatch):
    path = tmp_path / f'a{suffix}'
    write_compressed(path, codec, rate)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(Rejection, match=r'an MP4, M4A .* PyAV .pip install .*convert it to WAV'):
        decode.read_samples(make_utterance(path))


@pytest.mark.parametrize('suffix', ['.avi', '.mp4', '.wav', '.m3u8'])
@pytest.mark.parametrize(
    'text',
    [
        "ffconcat version 1.0\nfile '{}'\n",
        'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n',
        '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n',
        '[playlist]\nFile1={}\n',
    ],
)
def test_a_text_opens_no_other_file_and_no_address(suffix, text, tmp_path):
    write_compressed(tmp_path / 'secret.mp4', 'aac', 16_000)
    path = tmp_path / f'a{suffix}'
    path.write_text(text.format(tmp_path / 'secret.mp4'))
    with pytest.raises(Rejection, match='not audio: a text file'):
        decode.read_samples(make_utterance(path))


def test_only_the_reader_of_the_recognised_format_is_used(tmp_path, monkeypatch):
    path = tmp_path / 'a.mp4'
    write_compressed(path, 'aac', 16_000)
    formats = []
    av_open = av.open

    def recording_open(*arguments, **options):
        formats.append(options['format'])
        return av_open(*arguments, **options)

    monkeypatch.setattr(av, 'open', recording_open)
    decode.read_samples(make_utterance(path))
    assert formats == ['mov']


@pytest.mark.parametrize(
    ('head', 'demuxer'),
    [
        (b'RIFF\0\0\0\0AVI LIST', 'avi'),
        (b'RIFF\0\0\0\0WAVEfmt ', None),
        (b'#!AMR\n', 'amr'),
        (b'#!AMR-WB\n', 'amr'),
        (b'\0\0\0\x18ftypM4A ', 'mov'),
        (b'\x1a\x45\xdf\xa3', 'matroska'),
        (b'\xff\xf1\x6c\x40', 'aac'),
        (b'\xff\xfb\x90\x64', None),  # MP3
        (b'caff\0\1\0\0desc' + bytes(16) + b'aac ', 'caf'),
        (b'caff\0\1\0\0desc' + bytes(16) + b'lpcm', None),
        (b'OggS' + bytes(24) + b'Speex   1.2', 'ogg'),
        (b'OggS' + bytes(24) + b'\x01vorbis', None),
        (b'ffconcat version 1.0', None),
        (b'', None),
    ],
)
def test_the_first_bytes_decide_on_the_reader(head, demuxer):
    assert soundtracks.find_demuxer(head) == demuxer


def test_a_file_without_a_length_of_its_segment_is_complete(tmp_path):
    """As browsers record it."""
    path = tmp_path / 'a.webm'
    write_compressed(path, 'libopus', 48_000)
    content = path.read_bytes()
    start = content.index(b'\x18\x53\x80\x67') + 4
    path.write_bytes(content[:start] + b'\x01' + b'\xff' * 7 + content[start + 8 :])
    check_tone(*decode.read_samples(make_utterance(path)))

"""Decodes what libsndfile does not read (M4A, MP4, WebM, AMR, films, ...) by PyAV, if installed.

The format is recognised by the first bytes, and FFmpeg may use that one only. If FFmpeg chose, it
might choose a format of text that names other files or addresses, and open these.
"""

import importlib.util
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_pipelines.features import containers
from data_pipelines.features.containers import MAX_STATED_LENGTH, Content
from data_pipelines.features.mpeg import skip_id3
from data_pipelines.features.rejection import Rejection, check_sample_rate
from data_pipelines.features.sample_blocks import SampleBlocks

# Suffixes of files that are usually in these formats; the first bytes decide.
SUFFIXES = (
    '.avi',
    '.m4a',
    '.mp4',
    '.m4v',
    '.mov',
    '.3gp',
    '.3g2',
    '.webm',
    '.mkv',
    '.mka',
    '.amr',
    '.aac',
    '.wma',
    '.wmv',
    '.asf',
    '.flv',
    '.mpg',
    '.mpeg',
    '.ts',
)

_MAGIC = (
    (b'\x1a\x45\xdf\xa3', 'matroska'),
    (b'#!AMR', 'amr'),
    (b'\x30\x26\xb2\x75\x8e\x66\xcf\x11', 'asf'),
    (b'FLV\x01', 'flv'),
    (b'\0\0\x01\xba', 'mpeg'),
    (b'\x0b\x77', 'ac3'),
    (b'wvpk', 'wv'),
    (b'TTA1', 'tta'),
    (b'MAC ', 'ape'),
)
# Codecs that libsndfile does not read in formats that it knows, at byte 28 of the file.
_CAF_CODECS = (b'aac ', b'aach', b'opus', b'.mp3', b'samr', b'ac-3')
_OGG_CODECS = (b'Speex   ', b'\x80theora', b'fishead\0')
_MP4_BOXES = (b'ftyp', b'moov', b'mdat', b'wide')
_TITLES = {  # by the name of FFmpeg's reader
    'avi': 'an AVI film',
    'matroska': 'a WebM or Matroska file',
    'amr': 'an AMR file',
    'asf': 'a WMA or WMV file',
    'flv': 'a Flash film',
    'mpeg': 'an MPEG film',
    'mpegts': 'an MPEG transport stream',
    'mov': 'an MP4, M4A or QuickTime file',
    'aac': 'an AAC file',
    'ac3': 'an AC-3 file',
    'wv': 'a WavPack file',
    'tta': 'a TTA file',
    'ape': "a Monkey's Audio file",
    'wav': 'a WAV file of a codec that libsndfile does not read',
    'caf': 'a CAF file of compressed sound',
    'ogg': 'an Ogg film or Speex file',
}
_EBML_SEGMENT = b'\x18\x53\x80\x67'
MAX_BOXES = 100_000
_TRANSPORT_PACKET = 188  # bytes


def find_demuxer(content: Content) -> str | None:
    """Returns the name of FFmpeg's reader for a file that libsndfile does not read, or None."""
    if content[:4] == b'RIFF' and content[8:12] == b'AVI ':
        return 'avi'
    wav_codec = containers.read_wav_codec(content)
    if wav_codec and wav_codec not in containers.WAV_CODECS:
        return 'wav'
    for magic, demuxer in _MAGIC:
        if content[: len(magic)] == magic:
            return demuxer
    if content[4:8] in _MP4_BOXES:
        return 'mov'
    if content[:4] == b'caff' and content[28:32] in _CAF_CODECS:
        return 'caf'
    if content[:4] == b'OggS' and content[28:64].startswith(_OGG_CODECS):
        return 'ogg'
    if content[0:1] == b'G' and content[_TRANSPORT_PACKET : _TRANSPORT_PACKET + 1] == b'G':
        return 'mpegts'
    start = skip_id3(content, 0)
    is_aac = content[start : start + 1] == b'\xff' and start + 1 < len(content)
    return 'aac' if is_aac and content[start + 1] & 0xF6 == 0xF0 else None


def is_installed() -> bool:
    """Returns whether PyAV is installed."""
    return importlib.util.find_spec('av') is not None


def read_soundtrack(path: Path, content: Content, demuxer: str) -> tuple[np.ndarray, int]:
    """Returns a file's first sound track, float32 of shape (time, channels), and its rate in Hz.

    Raises a Rejection if PyAV is not installed, or the file is truncated, joined or without sound.
    """
    if not is_installed():
        raise Rejection(f'{_TITLES[demuxer]}: install PyAV (pip install av), or convert it to WAV')
    _check_complete(content, demuxer)
    with open(path, 'rb') as file:
        return _decode_track(file, demuxer)


def name_codec(path: Path, demuxer: str) -> str:
    """Returns FFmpeg's name of the codec of a file's first sound track."""
    import av

    options = {'format': demuxer, 'metadata_errors': 'ignore'}
    with open(path, 'rb') as file, av.open(file, **options) as container:
        return container.streams.audio[0].codec_context.name


def _decode_track(file: BinaryIO, demuxer: str) -> tuple[np.ndarray, int]:
    """Returns the samples of the first sound track, and their rate, as `read_soundtrack` does."""
    import av

    blocks = SampleBlocks()
    rate = 0
    with av.open(file, format=demuxer, metadata_errors='ignore') as container:
        if not container.streams.audio:
            raise Rejection('unreadable: a film without sound')
        track = container.streams.audio[0]
        if track.rate:
            check_sample_rate(track.rate)
        # Converts the sample format only: to float32 of shape (channels, time).
        resampler = av.AudioResampler(format='fltp')
        for frame in container.decode(track):
            if frame.sample_rate != rate:
                if rate:
                    raise Rejection(f'unreadable: its rate changes at {blocks.frames / rate:g} s')
                rate = frame.sample_rate
                check_sample_rate(rate)
            for block in resampler.resample(frame):
                blocks.add(block.to_ndarray().T, rate)
    if not blocks.frames:
        raise Rejection('empty: a film without samples')
    return blocks.join(), rate


def _check_complete(content: Content, demuxer: str) -> None:
    """Raises a Rejection for a truncated file, which FFmpeg reads without an error."""
    size = len(content)
    expected = size
    if demuxer == 'avi':
        length = int.from_bytes(content[4:8], 'little')
        expected = length if length < MAX_STATED_LENGTH else size
    elif demuxer == 'mov':
        expected = _end_of_mp4(content)
    elif demuxer == 'matroska':
        expected = _end_of_matroska(content)
    elif demuxer == 'caf':
        expected = containers.read_promise(content).end or size
    elif demuxer == 'wav':
        containers.check_complete(content)
    if size < expected:
        raise Rejection(f'truncated: {expected} bytes expected, {size} in the file')
    if _is_joined(content, demuxer):
        raise Rejection(
            'files joined into one, of which only the first can be read: cut them apart'
        )


def _is_joined(content: Content, demuxer: str) -> bool:
    """Returns whether a second file follows, which FFmpeg would not read."""
    if demuxer == 'mov':
        kinds = [content[position + 4 : position + 8] for position in _mp4_boxes(content)]
        return kinds.count(b'ftyp') > 1 or kinds.count(b'moov') > 1
    if demuxer == 'matroska':
        end = _end_of_matroska(content)
        return content[end : end + 4] == content[:4]
    if demuxer in ('caf', 'wav'):
        return len(containers.split_joined(content)) > 1
    if demuxer == 'amr':
        return content.find(b'#!AMR', 1) > 0
    if demuxer == 'avi':
        end = 8 + int.from_bytes(content[4:8], 'little')
        # A long film has further parts of the kind AVIX.
        return content[end : end + 4] == b'RIFF' and content[end + 8 : end + 12] == b'AVI '
    return False


def _mp4_boxes(content: Content) -> list[int]:
    """Returns the first byte of each box of the top level, and the byte after the last box."""
    positions = [0]
    while positions[-1] + 8 <= len(content) and len(positions) < MAX_BOXES:
        position = positions[-1]
        length = int.from_bytes(content[position : position + 4], 'big')
        if length == 1:
            length = int.from_bytes(content[position + 8 : position + 16], 'big')
        # 0 stands for all bytes up to the end of the file.
        positions.append(position + length if length >= 8 else len(content))
    return positions


def _end_of_mp4(content: Content) -> int:
    """Returns the byte after the last box, or the size of a file with very many boxes."""
    positions = _mp4_boxes(content)
    return positions[-1] if len(positions) < MAX_BOXES else len(content)


def _end_of_matroska(content: Content) -> int:
    """Returns the byte after the segment, or the size of the file if its length is not known."""
    start = content[:4096].find(_EBML_SEGMENT)
    if start < 0 or len(content) < start + 12:
        return len(content)
    first = content[start + 4]
    width = 9 - first.bit_length()
    mask = (1 << (7 * width)) - 1
    length = int.from_bytes(content[start + 4 : start + 4 + width], 'big') & mask
    return len(content) if length == mask else start + 4 + width + length

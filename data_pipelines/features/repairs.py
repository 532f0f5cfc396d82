"""Corrects the headers of audio files of which libsndfile would read too little or nothing.

A program that writes into a pipe does not know the length, and leaves 0, -1 or a very large number
in the header. The sound is complete.
"""

import re

from data_pipelines.features import containers
from data_pipelines.features.containers import MAX_STATED_LENGTH_64, Content

# The length of a FLAC file in samples is the lower 36 bits of these bytes.
FLAC_LENGTH = slice(18, 26)
FLAC_LENGTH_BITS = 36

_CHUNK_NAME = re.compile(rb'[ -~]{4}')


def repair_header(content: Content) -> bytes | None:
    """Returns a copy of a file with a corrected header; None if there is nothing to correct."""
    for magic, repair in _REPAIRS.items():
        if content[:4] == magic:
            return repair(content)
    return None


def mpeg_in_wav(content: Content) -> bytes | None:
    """Returns the MPEG audio in a WAV file, of which libsndfile reads only a part; else None."""
    if containers.read_wav_codec(content) not in containers.WAV_MPEG_CODECS:
        return None
    data = containers.find_chunk(content, b'data')
    if data is None:
        return None
    start, length = data
    return content[start : start + length] if length else content[start:]


def without_flac_length(content: Content) -> bytes | None:
    """Returns a FLAC file that states no length, at which libsndfile would stop; else None."""
    if content[:4] != b'fLaC':
        return None
    field = int.from_bytes(content[FLAC_LENGTH], 'big') >> FLAC_LENGTH_BITS << FLAC_LENGTH_BITS
    return content[: FLAC_LENGTH.start] + field.to_bytes(8, 'big') + content[FLAC_LENGTH.stop :]


def _repair_wav(content: Content) -> bytes | None:
    """Writes the length of the samples, and the missing byte after a chunk of odd length."""
    if content[8:12] != b'WAVE':
        return None
    data = containers.find_chunk(content, b'data')
    if data is None:
        return _pad_chunks(content)
    start, length = data
    if length or start >= len(content) or _is_chunks(content, start):
        return None
    return _with_number(content, start - 4, len(content) - start, 4, 'little')


def _is_chunks(content: Content, position: int) -> bool:
    """Returns whether whole chunks follow up to the end of a WAV file, and not samples."""
    for _ in range(containers.MAX_CHUNKS):
        if position + 8 > len(content):
            break
        if not _CHUNK_NAME.fullmatch(content[position : position + 4]):
            return False
        length = int.from_bytes(content[position + 4 : position + 8], 'little')
        position += 8 + length + length % 2
    return position in (len(content), len(content) + 1)


def _pad_chunks(content: Content) -> bytes | None:
    """Returns a WAV file in which each chunk of odd length is followed by the byte that is due."""
    parts = [content[:12]]
    position = 12
    for _ in range(containers.MAX_CHUNKS):
        name = content[position : position + 4]
        if not _CHUNK_NAME.fullmatch(name) or position + 8 > len(content):
            return None
        if name == b'data':
            return b''.join([*parts, content[position:]])
        stop = position + 8 + int.from_bytes(content[position + 4 : position + 8], 'little')
        parts.append(content[position:stop])
        if (stop - position) % 2:
            parts.append(b'\0')
            stop += not _CHUNK_NAME.fullmatch(content[stop : stop + 4])
        position = stop
    return None


def _repair_rf64(content: Content) -> bytes | None:
    """Writes the length of the samples of RF64 where its header says 0 or -1."""
    lengths = containers.find_chunk(content, b'ds64')
    data = containers.find_chunk(content, b'data')
    if lengths is None or data is None:
        return None
    start, _ = data
    position = lengths[0] + 8
    stated = int.from_bytes(content[position : position + 8], 'little')
    if 0 < stated < MAX_STATED_LENGTH_64 or start >= len(content):
        return None
    return _with_number(content, position, len(content) - start, 8, 'little')


def _repair_au(content: Content) -> bytes | None:
    """Writes the length of the samples of AU where its header says 0."""
    order = 'big' if content[:4] == b'.snd' else 'little'
    start = int.from_bytes(content[4:8], order)
    if content[8:12] != bytes(4) or start >= len(content):
        return None
    return _with_number(content, 8, len(content) - start, 4, order)


def _repair_caf(content: Content) -> bytes | None:
    """Writes the length of the samples of CAF where its header says -1: up to the end."""
    promise = containers.read_promise(content)
    start = promise.data_start
    if start is None or promise.data_length is not None:
        return None
    return _with_number(content, start - 8, len(content) - start, 8, 'big')


def _with_number(content: Content, position: int, number: int, size: int, order: str) -> bytes:
    """Returns the content with another number at a position."""
    number_bytes = (number % (1 << (8 * size))).to_bytes(size, order)
    return content[:position] + number_bytes + content[position + size :]


_REPAIRS = {
    b'RIFF': _repair_wav,
    b'RF64': _repair_rf64,
    b'BW64': _repair_rf64,
    b'.snd': _repair_au,
    b'dns.': _repair_au,
    b'caff': _repair_caf,
}

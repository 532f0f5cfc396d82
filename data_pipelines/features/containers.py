"""Reads the headers of audio files: codecs, promised lengths, and where joined files begin.

libsndfile reads a truncated file without an error in the formats here, so what the header promises
is compared with what is there. It reads only the first of several files that were joined
(`cat a.ogg b.ogg`), or takes the second header for sound, so these are found and cut apart.
"""

import mmap
import re
from collections.abc import Callable
from typing import NamedTuple

from data_pipelines.features.rejection import Rejection

Content = bytes | mmap.mmap

# Programs that write into a pipe leave about 2^31 or 2^32 as the length in a header.
MAX_STATED_LENGTH = 0x7FFF_0000
MAX_STATED_LENGTH_64 = 1 << 60
MAX_CHUNKS = 100_000  # looked at in one file
MIN_FILE_BYTES = 12
MAX_JOINED = 100  # files in one
W64_RIFF = bytes.fromhex('726966662e91cf11a5d628db04c10000')
W64_DATA = bytes.fromhex('64617461f3acd3118cd100c04f8edb8a')
FLAC_START = re.compile(rb'fLaC[\x00\x80]\x00\x00\x22')  # and the header of its first block
OGG_FIRST_PAGE = 2  # flag of the first page of a stream
# The codecs in a WAV file (the first number of the chunk `fmt `) that libsndfile reads.
WAV_MPEG_CODECS = (0x50, 0x55)
WAV_CODECS = (0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31, 0x38, 0x40, *WAV_MPEG_CODECS)
WAV_EXTENSIBLE = 0xFFFE  # the codec is in a later field


class Promise(NamedTuple):
    """What a header says of its file; None where it says nothing."""

    data_start: int | None = None  # first byte of the samples
    data_length: int | None = None  # bytes of samples
    end: int | None = None  # the byte after the last of the file


def read_promise(content: Content) -> Promise:
    """Returns what the header of an audio file promises; a Promise of None for other formats."""
    for magic, read in _READERS.items():
        if content[: len(magic)] == magic:
            return read(content)
    return Promise()


def has_audio_magic(head: bytes) -> bool:
    """Returns whether a file begins as one of the formats that libsndfile reads."""
    if head[:4] in (b'RIFF', b'RIFX', b'FORM'):
        return head[8:12] in (b'WAVE', b'AIFF', b'AIFC', b'8SVX')
    magics = (b'fLaC', b'OggS', *_READERS)
    return head.startswith(magics)


def check_complete(content: Content) -> None:
    """Raises a Rejection for a file that is shorter than its header says.

    Decoders read such a file without an error.
    """
    promise = read_promise(content)
    is_wav = content[:4] == b'RIFF' and content[8:12] == b'WAVE'
    if is_wav and promise.data_start is None:
        raise Rejection('truncated: a WAV header without samples')
    if promise.data_length is None:
        return
    existing = max(len(content) - promise.data_start, 0)
    # Some writers of WAV count the header as samples, so a length up to the file's is accepted.
    if promise.data_length > (len(content) if is_wav else existing):
        raise Rejection(
            f'truncated: {promise.data_length} bytes of samples expected, {existing} in the file'
        )


def read_wav_codec(content: Content) -> int | None:
    """Returns the number of the codec in a WAV file; None for other and damaged files."""
    if content[:4] != b'RIFF' or content[8:12] != b'WAVE':
        return None
    chunk = find_chunk(content, b'fmt ')
    if chunk is None:
        return None
    start, _ = chunk
    codec = _int(content, start, 2, 'little')
    if codec == WAV_EXTENSIBLE:
        codec = _int(content, start + 24, 2, 'little')
    return codec


def split_joined(content: Content) -> list[tuple[int, int]]:
    """Returns the (start, stop) in bytes of each file that was joined into this one.

    Raises a Rejection if there are more than MAX_JOINED.
    """
    starts = [0]
    while True:
        first = starts[-1]
        piece = content[first:] if first else content
        if piece[:4] in (b'fLaC', b'OggS'):
            starts += [first + start for start in _find_streams(piece)[1:]]
            _check_count(starts)
            break
        end = read_promise(piece).end
        ends = [] if end is None else [end, end + 1]  # the second after a byte of padding
        following = [start for start in ends if has_audio_magic(piece[start : start + 16])]
        if not following or following[0] < MIN_FILE_BYTES:
            break
        starts.append(first + following[0])
        _check_count(starts)
    return list(zip(starts, [*starts[1:], len(content)]))


def _check_count(starts: list[int]) -> None:
    """Raises a Rejection if more files are joined than would be read in a short time."""
    if len(starts) > MAX_JOINED:
        raise Rejection(f'more than {MAX_JOINED} files joined into one: cut them apart')


def _find_streams(content: Content) -> list[int]:
    """Returns the first byte of each FLAC or Ogg file."""
    if content[:4] == b'OggS':
        return _find_ogg_chains(content)
    return [match.start() for match in FLAC_START.finditer(content)] or [0]


def _find_ogg_chains(content: Content) -> list[int]:
    """Returns the first byte of each Ogg stream that follows another one."""
    starts = []
    position = 0
    was_first_page = False
    while content[position : position + 4] == b'OggS' and position + 27 <= len(content):
        is_first_page = bool(content[position + 5] & OGG_FIRST_PAGE)
        if is_first_page and not was_first_page:  # streams at once have their first pages in a row
            starts.append(position)
        was_first_page = is_first_page
        segments = content[position + 26]
        lengths = content[position + 27 : position + 27 + segments]
        position += 27 + segments + sum(lengths)
    return starts or [0]


def _int(content: Content, start: int, size: int, order: str, signed: bool = False) -> int:
    """Returns the whole number in some bytes."""
    return int.from_bytes(content[start : start + size], order, signed=signed)


def find_chunk(content: Content, kind: bytes, order: str = 'little') -> tuple[int, int] | None:
    """Returns the (start, length) of the first chunk of a kind in a RIFF or IFF file, or None."""
    position = 12
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(content):
            break
        length = _int(content, position + 4, 4, order)
        if content[position : position + 4] == kind:
            return position + 8, length
        position += 8 + length + length % 2
    return None


def _known(length: int, largest: int = MAX_STATED_LENGTH) -> int | None:
    """Returns a length, or None for one that programs leave which did not know it."""
    return length if 0 < length < largest else None


def _end_from(start: int, length: int | None) -> int | None:
    """Returns the byte after a length that begins at `start`, or None if it is not known."""
    return None if length is None else start + length


def _read_riff(content: Content) -> Promise:
    """WAV, of little or big endian."""
    order = 'little' if content[:4] == b'RIFF' else 'big'
    if content[8:12] != b'WAVE':
        return Promise()
    data = find_chunk(content, b'data', order)
    if data is None:
        return Promise()
    start, length = data
    end = _end_from(8, _known(_int(content, 4, 4, order)))
    # Some writers state a wrong length of the file, where that of the samples is right.
    if end is not None and _known(length):
        end = max(end, start + length)
    return Promise(start, _known(length), end)


def _read_rf64(content: Content) -> Promise:
    """RF64 and BW64: WAV with lengths of 64 bits in the chunk ds64."""
    long_lengths = find_chunk(content, b'ds64')
    data = find_chunk(content, b'data')
    if long_lengths is None or data is None:
        return Promise()
    sizes, _ = long_lengths
    start, length = data
    if length == 0xFFFF_FFFF:
        length = _int(content, sizes + 8, 8, 'little')
    end = _end_from(8, _known(_int(content, sizes, 8, 'little'), MAX_STATED_LENGTH_64))
    return Promise(start, _known(length, MAX_STATED_LENGTH_64), end)


def _read_w64(content: Content) -> Promise:
    """Sony Wave64: chunks are named by 16 bytes, and their length includes their header."""
    position = 40
    for _ in range(MAX_CHUNKS):
        if position + 24 > len(content):
            break
        length = _int(content, position + 16, 8, 'little')
        if content[position : position + 16] == W64_DATA:
            end = _known(_int(content, 16, 8, 'little'), MAX_STATED_LENGTH_64)
            return Promise(position + 24, _known(length - 24, MAX_STATED_LENGTH_64), end)
        if length < 24:
            break
        position += -(-length // 8) * 8
    return Promise()


def _read_aiff(content: Content) -> Promise:
    """AIFF and AIFF-C."""
    if content[8:12] not in (b'AIFF', b'AIFC'):
        return Promise()
    data = find_chunk(content, b'SSND', 'big')
    if data is None:
        return Promise()
    start, length = data
    return Promise(start, _known(length), _end_from(8, _known(_int(content, 4, 4, 'big'))))


def _read_au(content: Content) -> Promise:
    """Sun's AU, of big or little endian."""
    order = 'big' if content[:4] == b'.snd' else 'little'
    start = _int(content, 4, 4, order)
    length = _known(_int(content, 8, 4, order))
    return Promise(start, length, _end_from(start, length))


def _read_caf(content: Content) -> Promise:
    """Apple's Core Audio Format; lengths do not include the header of a chunk."""
    position = 8
    promise = Promise()
    for _ in range(MAX_CHUNKS):
        kind = content[position : position + 4]
        if kind == b'caff' or position + 12 > len(content):
            return promise._replace(end=position)
        length = _int(content, position + 4, 8, 'big', signed=True)
        if kind == b'data':
            promise = Promise(position + 12, _known(length, MAX_STATED_LENGTH_64))
        if not 0 <= length < MAX_STATED_LENGTH_64:
            return promise
        position += 12 + length
    return promise


def _read_nist(content: Content) -> Promise:
    """NIST SPHERE: a header of text with one field a line."""
    text = content[:4096].decode('latin-1')
    header_size = re.match(r'NIST_1A\n\s*(\d{1,6})\n', text)
    if header_size is None:
        return Promise()
    fields = dict(re.findall(r'^(\w+) -i (\d{1,15})\s*$', text, re.MULTILINE))
    coding = re.search(r'^sample_coding -s\d+ (\S+)', text, re.MULTILINE)
    names = ('sample_count', 'channel_count', 'sample_n_bytes')
    if not all(name in fields for name in names) or (coding and ',' in coding[1]):
        return Promise()
    start = int(header_size[1])
    length = 1
    for name in names:
        length *= int(fields[name])
    return Promise(start, length, start + length)


_READERS: dict[bytes, Callable[[Content], Promise]] = {
    b'RIFF': _read_riff,
    b'RIFX': _read_riff,
    b'RF64': _read_rf64,
    b'BW64': _read_rf64,
    W64_RIFF: _read_w64,
    b'FORM': _read_aiff,
    b'.snd': _read_au,
    b'dns.': _read_au,
    b'caff': _read_caf,
    b'NIST_1A': _read_nist,
}

"""Counts the frames of an MP3 or MP2 file, whose header may state no length or a wrong one.

libsndfile stops at the length that the first frame states (Xing or Info) or that it estimates from
the first bit rate. For joined files, files without that frame and some variable bit rates this is
less than there is.
"""

import collections
import re
from typing import NamedTuple

from data_pipelines.features.containers import Content

# kbit/s by (whether it is MPEG 1, layer), and then by the index 1 to 14 of the frame's header.
_BIT_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# Hz by the version in the header (3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5), and then by the index.
_SAMPLE_RATES = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
MIN_FORMAT_FRAMES = 10  # fewer frames of a format are damage that looks like the header of a frame
_MAX_TAG_OFFSET = 40
# What the first bytes of a frame may be (see `parse_header`), or an ID3v2 tag.
_FRAME_OR_TAG = re.compile(rb'\xff[\xe2-\xff][\x10-\xef]|ID3', re.DOTALL)


class FrameHeader(NamedTuple):
    """The header of an MPEG audio frame (ISO 11172-3 and 13818-3)."""

    length: int  # bytes
    samples: int  # per channel
    rate: int  # Hz
    channels: int
    layer: int


class MpegStream(NamedTuple):
    """What a scan of all frames found."""

    samples: int = 0  # per channel, without the frames of `tags`
    tags: tuple[tuple[int, int], ...] = ()  # (start, stop) in bytes of frames without sound
    stated_frames: int | None = None  # by the first frame, if it is a tag
    frames: int = 0  # without those of `tags`
    formats: frozenset[tuple[int, int]] = frozenset()  # (rate, channels) of many frames
    start: int = 0  # first byte of the first frame
    stop: int = 0  # the byte after the last whole frame


def parse_header(header: bytes) -> FrameHeader | None:
    """Returns what four bytes say, or None if they are not the header of an MPEG audio frame."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version = header[1] >> 3 & 3
    layer = 4 - (header[1] >> 1 & 3)
    bit_rate_index = header[2] >> 4
    rate_index = header[2] >> 2 & 3
    if version == 1 or layer == 4 or bit_rate_index in (0, 15) or rate_index == 3:
        return None
    is_version_1 = version == 3
    bit_rate = 1000 * _BIT_RATES[is_version_1, layer][bit_rate_index - 1]
    rate = _SAMPLE_RATES[version][rate_index]
    padding = header[2] >> 1 & 1
    channels = 1 if header[3] >> 6 == 3 else 2
    if layer == 1:
        return FrameHeader((12 * bit_rate // rate + padding) * 4, 384, rate, channels, layer)
    samples = 576 if layer == 3 and not is_version_1 else 1152
    length = samples // 8 * bit_rate // rate + padding
    return FrameHeader(length, samples, rate, channels, layer)


def skip_id3(content: Content, position: int) -> int:
    """Returns the first byte after the ID3v2 tags at `position`."""
    while content[position : position + 3] == b'ID3':
        size = 0
        for byte in content[position + 6 : position + 10]:
            size = size << 7 | byte & 0x7F
        position += 10 + size
    return position


def scan(content: Content) -> MpegStream:
    """Counts the frames of a file; returns an empty stream if it finds none."""
    position = skip_id3(content, 0)
    samples, frames = 0, 0
    tags = []
    frames_by_format = collections.Counter()
    stated_frames = None
    first, last_stop = 0, 0
    while position + 4 <= len(content):
        header = parse_header(content[position : position + 4])
        if header is None or not _is_followed(content, position + header.length):
            position = _find_next(content, position)
            continue
        if not frames and not tags:
            first = position
        stop = position + header.length
        stated = _read_tag(content[position:stop]) if header.layer == 3 else None
        if stated is not None:
            if not frames and not tags:
                stated_frames = stated
            tags.append((position, stop))
        elif stop <= len(content):
            frames += 1
            samples += header.samples
            last_stop = stop
            frames_by_format[header.rate, header.channels] += 1
        position = stop
    formats = {form for form, count in frames_by_format.items() if count >= MIN_FORMAT_FRAMES}
    return MpegStream(
        samples, tuple(tags), stated_frames, frames, frozenset(formats), first, last_stop
    )


def states_its_length(stream: MpegStream) -> bool:
    """Returns whether the first frame states the right number of frames."""
    # Some encoders count the first frame itself.
    has_one = len(stream.tags) == 1 and stream.stated_frames is not None
    return has_one and stream.stated_frames - stream.frames in (0, 1)


def _is_followed(content: Content, stop: int) -> bool:
    """Returns whether a frame that ends at `stop` is followed by another, a tag, or the end."""
    following = content[stop : stop + 4]
    if len(following) < 4:
        return True
    return following[:3] in (b'TAG', b'ID3', b'APE') or parse_header(following) is not None


def _find_next(content: Content, position: int) -> int:
    """Returns where the next frame may begin, if none begins at `position`.

    All of a damaged file is searched once: a search for each kind would go to the end each time.
    """
    after_tag = skip_id3(content, position)
    if after_tag > position:
        return after_tag
    found = _FRAME_OR_TAG.search(content, position + 1)
    return skip_id3(content, found.start()) if found else len(content)


def _read_tag(frame: bytes) -> int | None:
    """Returns the number of frames that a frame without sound states, or -1 if it states none.

    Such frames have Xing, Info or VBRI in place of sound. Returns None for all other frames.
    """
    for magic in (b'Xing', b'Info'):
        start = frame.find(magic, 4, _MAX_TAG_OFFSET + 4)
        if start >= 0:
            has_frames = len(frame) >= start + 12 and frame[start + 7] & 1
            return int.from_bytes(frame[start + 8 : start + 12], 'big') if has_frames else -1
    # libsndfile reads fewer frames than VBRI states, so what it states is passed over.
    return -1 if frame[36:40] == b'VBRI' else None


def without_tags(content: Content, stream: MpegStream) -> bytes:
    """Returns the whole frames of a file, without those that state a length.

    libsndfile gives no sound at all where the last frame in a pipe is cut off.
    """
    parts = []
    position = stream.start
    for start, stop in stream.tags:
        parts.append(content[position:start])
        position = stop
    parts.append(content[position : stream.stop])
    return b''.join(parts)

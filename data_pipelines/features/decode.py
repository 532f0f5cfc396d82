"""Reads the audio of an utterance, and rejects what is damaged, silent or too short."""

import contextlib
import io
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data_pipelines import file_kinds
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features import containers, mpeg, soundtracks
from data_pipelines.features.containers import MAX_STATED_LENGTH, Content
from data_pipelines.features.rejection import SAMPLE_RATE_RANGE as SAMPLE_RATE_RANGE
from data_pipelines.features.rejection import Rejection
from data_pipelines.features.rejection import check_sample_rate as check_sample_rate

if TYPE_CHECKING:
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.features.sound_files import SequentialFile

MIN_SECONDS = 0.1
SILENCE_AMPLITUDE = 1e-4  # -80 dB of full scale
# Full scale is 1. Float samples above this are probably integers that were not scaled, and so are
# whole numbers above the second limit.
UNSCALED_INTEGER_AMPLITUDE = 100.0
WHOLE_NUMBER_AMPLITUDE = 2.0
# The channels cancel if their mean has less than this share of their power. It has 1/K if K
# channels are unrelated, or if all but one are silent; and there are 64 at most.
CANCELLED_POWER = 0.01
MIDI_DUMP_MAGIC = b'\xf0\x7e'  # libsndfile prints on standard output if such a file is damaged
COMPRESSED_VALUES = 8  # samples per byte of speech that PyAV decodes
MIXED_FORMATS = 'files joined into one, of different rates or channels: cut them apart'
VIDEO_SUFFIXES = soundtracks.SUFFIXES  # decoded by PyAV; other files are decoded by soundfile


def check_video_support(utterances: list[Utterance]) -> None:
    """Raises a UserError if there are films and PyAV, which decodes them, is not installed."""
    if soundtracks.is_installed():
        return
    paths = [u.path for u in utterances if u.path.suffix.lower() in VIDEO_SUFFIXES]
    if paths:
        more = f' (as are {len(paths) - 1} more)' if len(paths) > 1 else ''
        raise UserError(
            f'{paths[0]} is a film or compressed speech{more}, which is decoded by PyAV, and PyAV '
            "is not installed. In the checkout of jaxser, run: pip install -e '.[video]'"
        )


class Sound(NamedTuple):
    """The sound of an utterance, and how its file stores it."""

    wave: np.ndarray  # samples, float32, mono, at the rate of the features
    source_rate: int  # Hz, of the file
    source_codec: str  # of the file: the format and the codec within it


def decode(utterance: Utterance, spec: 'LogMel') -> np.ndarray:
    """Returns the samples of an utterance, float32, mono, at `spec.rate` Hz.

    At `utterance.speed` 2 the audio has half its duration and twice its frequencies. Raises a
    Rejection if the samples cannot be used.
    """
    return _decode_with_rate(utterance, spec)[0]


def decode_sound(utterance: Utterance, spec: 'LogMel') -> Sound:
    """Returns the samples as `decode` does, with the rate and the codec of the file."""
    wave, source_rate = _decode_with_rate(utterance, spec)
    return Sound(wave, source_rate, name_codec(utterance.path))


def _decode_with_rate(utterance: Utterance, spec: 'LogMel') -> tuple[np.ndarray, int]:
    """Returns the samples as `decode` does, and the rate of the file in Hz."""
    samples, source_rate = read_samples(utterance)
    rate = source_rate * utterance.speed if utterance.speed != 1 else source_rate
    return to_mono(samples, rate, spec, utterance.channel or None), source_rate


def name_codec(path: Path) -> str:
    """Returns the format of a file that can be decoded, and its codec: 'WAV PCM_16'.

    Of a film or compressed speech the names are those of FFmpeg, as in 'mov aac'. '' if soundfile
    reads the file only after its header has been repaired.
    """
    import soundfile

    with open_content(path) as content:
        demuxer = soundtracks.find_demuxer(content)
    if demuxer:
        return f'{demuxer} {soundtracks.name_codec(path, demuxer)}'
    try:
        info = soundfile.info(os.fsencode(path))
    except Exception:  # a decoder may raise anything for a damaged file
        return ''
    return f'{info.format} {info.subtype}'


def to_mono(
    samples: np.ndarray, rate: float, spec: 'LogMel', channel: int | None = None
) -> np.ndarray:
    """Returns one channel, resampled to `spec.rate` Hz.

    Args:
      samples: Float32 of shape (time, channels).
      rate: Their sampling rate in Hz.
      spec: The features that will be computed.
      channel: Which channel, from 1; None is the mean of all.

    Raises:
      Rejection: The samples are not finite, too large, silent or too few, or the channels cancel.
    """
    import librosa

    check_levels(samples)
    wave = mix_channels(samples, channel)
    check_sound(wave)
    if rate != spec.rate:
        wave = librosa.resample(wave, orig_sr=rate, target_sr=spec.rate)
    if len(wave) < max(MIN_SECONDS * spec.rate, spec.fft_length):
        raise Rejection(f'too short: {len(wave) / spec.rate:.3f} s')
    return wave


def check_levels(samples: np.ndarray) -> None:
    """Raises a Rejection for samples that are not finite, or whose full scale is not 1."""
    peak = max(samples.max(), -samples.min())  # without a copy; NaN if a sample is NaN
    if not np.isfinite(peak):
        raise Rejection('NaN or infinite samples')
    is_unscaled = peak > UNSCALED_INTEGER_AMPLITUDE
    if peak >= WHOLE_NUMBER_AMPLITUDE and not is_unscaled:
        is_unscaled = np.array_equal(samples, np.rint(samples))
    if is_unscaled:
        full_scale = '32768' if peak <= 1 << 15 else '2147483648'
        raise Rejection(
            f'samples as large as {peak:g}, where full scale is 1: probably integers; divide '
            f'them by {full_scale}'
        )


def mix_channels(samples: np.ndarray, channel: int | None = None) -> np.ndarray:
    """Returns one channel of samples, or their mean; raises a Rejection if the channels cancel."""
    channels = samples.shape[1]
    if channel is not None:
        if not 1 <= channel <= channels:
            raise Rejection(f'channel {channel} was chosen, of {channels} in the file')
        return np.ascontiguousarray(samples[:, channel - 1])
    if channels == 1:
        return samples[:, 0]
    wave = samples.mean(axis=1)
    power = np.mean([channel_samples.var() for channel_samples in samples.T])
    is_silent = np.ptp(samples, axis=0).max() < 2 * SILENCE_AMPLITUDE
    if not is_silent and wave.var() < CANCELLED_POWER * power:
        raise Rejection(
            f'its {channels} channels cancel, as where one is inverted: choose one (--channel, or '
            'the column channel)'
        )
    return wave


def check_sound(wave: np.ndarray) -> None:
    """Raises a Rejection for a wave without sound."""
    if np.ptp(wave) >= 2 * SILENCE_AMPLITUDE:
        return
    if abs(wave[0]) > SILENCE_AMPLITUDE:
        raise Rejection(f'silent: nothing but the sample value {wave[0]:.4g}')
    raise Rejection('silent: nothing above -80 dBFS')


def read_samples(utterance: Utterance) -> tuple[np.ndarray, int]:
    """Returns the samples in the file, float32 of shape (time, channels), and their rate in Hz.

    Raises a Rejection if the file is missing, damaged, or does not contain the segment.
    """
    check_file(utterance.path)
    try:
        with open_content(utterance.path) as content:
            return read_content(utterance, content)
    except Rejection:
        raise
    except MemoryError:
        raise Rejection('too long for the memory, or its header is wrong') from None
    except Exception as error:  # a decoder may raise anything for a damaged file
        raise Rejection(f'unreadable: {error_text(error)}') from None


@contextlib.contextmanager
def open_content(path: Path) -> Iterator[Content]:
    """Context of a file's content, which is read only where it is looked at."""
    with open(path, 'rb') as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:  # a file system that cannot
            yield file.read()
            return
        with content:
            yield content


def read_content(utterance: Utterance, content: Content) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance and their rate, by the decoder for its file."""
    head = content[: file_kinds.HEAD_BYTES]
    kind = file_kinds.recognise(head)
    if kind is not None:
        raise Rejection(f'unreadable: {file_kinds.describe(kind)}')
    if head[:2] == MIDI_DUMP_MAGIC:
        raise Rejection('unreadable: it is a MIDI sample dump: convert it to WAV')
    demuxer = soundtracks.find_demuxer(content)
    if demuxer:
        samples, rate = soundtracks.read_soundtrack(utterance.path, content, demuxer)
        return cut_segment(utterance, samples, rate)
    pieces = containers.split_joined(content)
    if len(pieces) > 1:
        samples, rate = read_joined(content, pieces)
        return cut_segment(utterance, samples, rate)
    kind = file_kinds.recognise_text(head)
    if kind is not None and not head.startswith(b'NIST'):
        raise Rejection(f'unreadable: {file_kinds.describe(kind)}')
    with open_verified(content, utterance.path) as file:
        if file.format == 'MP3':
            return read_mpeg(utterance, content, file)
        return read_audio_segment(utterance, file)


def looks_like_audio(content: Content) -> bool:
    """Returns whether the first bytes are those of a sound file, whatever its name says."""
    head = content[: file_kinds.HEAD_BYTES]
    if file_kinds.recognise(head) is not None:
        return False
    if containers.has_audio_magic(head) or soundtracks.find_demuxer(content):
        return True
    return mpeg.parse_header(head[:4]) is not None or head[:3] == b'ID3'


def expected_values(path: Path) -> int:
    """Returns about how many samples of all channels a file holds, by its header or its size."""
    import soundfile

    try:
        info = soundfile.info(os.fsencode(path))
    except Exception:  # a decoder may raise anything for a damaged file
        try:
            return COMPRESSED_VALUES * path.stat().st_size
        except (OSError, ValueError):
            return 0
    return info.frames * info.channels


def cut_segment(utterance: Utterance, samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance, from those of its whole file, and their rate."""
    start, stop = segment_bounds(utterance, len(samples), rate)
    return samples[start:stop], rate


def check_file(path: Path) -> int:
    """Returns the size of a file in bytes; raises a Rejection if it is no file or is empty."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise Rejection('missing') from None
    except (OSError, ValueError) as error:
        raise Rejection(f'unreadable: {error_text(error)}') from None
    if not stat.S_ISREG(status.st_mode):
        raise Rejection('unreadable: not a file')
    if not status.st_size:
        raise Rejection('empty: 0 bytes')
    return status.st_size


def read_audio_segment(utterance: Utterance, file: 'SequentialFile') -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance and their rate, as soundfile reads them."""
    if not file.frames:
        raise Rejection('empty: a header without samples')
    rate = file.samplerate
    if not file.has_length:
        return cut_segment(utterance, read_to_end(file), rate)
    start, stop = segment_bounds(utterance, file.frames, rate)
    file.skip(start)
    samples = file.read_blocks(stop - start)
    if len(samples) == stop - start:
        return samples, rate
    if not file.is_estimate:
        raise Rejection(f'truncated: {stop - start} samples expected, {len(samples)} in the file')
    segment_bounds(utterance, start + len(samples), rate)
    return samples, rate


def read_to_end(file: 'SequentialFile') -> np.ndarray:
    """Returns all samples of a file; raises a Rejection if there are none."""
    samples = file.read_blocks(None)
    if not len(samples):
        raise Rejection('empty: a header without samples')
    return samples


def read_joined(content: Content, pieces: list[tuple[int, int]]) -> tuple[np.ndarray, int]:
    """Returns all samples of files that were joined into one, and their rate."""
    parts = []
    formats = set()
    for start, stop in pieces:
        with open_verified(content[start:stop]) as file:
            parts.append(read_to_end(file))
            formats.add((file.samplerate, file.channels))
    if len(formats) > 1:
        raise Rejection(MIXED_FORMATS)
    return np.concatenate(parts), formats.pop()[0]


def read_mpeg(
    utterance: Utterance, content: Content, file: 'SequentialFile'
) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance in an MP3 or MP2 file, and their rate.

    All frames are decoded, whatever length the file states.
    """
    from data_pipelines.features import sound_files

    stream = mpeg.scan(content)
    if len(stream.formats) > 1:
        raise Rejection(MIXED_FORMATS)
    if mpeg.states_its_length(stream):
        return read_audio_segment(utterance, file)
    if file.frames >= stream.samples and len(stream.tags) < 2:
        return cut_segment(utterance, read_to_end(file), file.samplerate)
    samples, rate = sound_files.read_from_pipe(mpeg.without_tags(content, stream))
    return cut_segment(utterance, samples, rate)


def error_text(error: Exception) -> str:
    """Returns the message of the system or of libsndfile, without the path."""
    return str(getattr(error, 'strerror', None) or getattr(error, 'error_string', None) or error)


def segment_bounds(utterance: Utterance, frames: int, rate: int) -> tuple[int, int]:
    """Returns the first sample of an utterance and the one after its last.

    `frames` is the number of samples per channel in the file. Raises a Rejection if the segment is
    outside the file.
    """
    start = round(utterance.start * rate)
    stop = frames if utterance.end is None else round(utterance.end * rate)
    # A list of segments may round its times, here up to 0.01 s.
    if not 0 <= start < min(stop, frames) or stop > frames + 0.01 * rate:
        raise Rejection(
            f'outside the file: {start / rate:g} to {stop / rate:g} s of {frames / rate:g} s'
        )
    return start, min(stop, frames)


def open_verified(content: Content, path: Path | None = None) -> 'SequentialFile':
    """Opens a file by soundfile; raises a Rejection if it is shorter than its header says.

    libsndfile reads a truncated file without an error. `path` is the file with this content; None
    if only a part of a file is opened.
    """
    from data_pipelines.features.sound_files import SequentialFile

    missing = containers.missing_bytes(content)
    if missing:
        raise Rejection(
            f'truncated: {missing[0]} bytes of samples expected, {missing[1]} in the file'
        )
    repaired = verify_wav(content) or containers.repair_caf(content)
    if repaired is not None or path is None:
        return SequentialFile(io.BytesIO(content if repaired is None else repaired))
    return SequentialFile(os.fsencode(path))  # soundfile cannot encode every str that is a path


def verify_wav(content: Content) -> bytes | None:
    """Raises a Rejection for a truncated WAV file; returns a repaired copy if one is needed.

    A program that writes WAV into a pipe does not know the length and leaves 0 or about 2^31 or
    2^32 in the header. The audio is complete, but libsndfile would read no samples if the length
    is 0: the copy has the right one.
    """
    if content[:4] != b'RIFF' or content[8:12] != b'WAVE':
        return None
    size = len(content)
    data = containers.find_chunk(content, b'data')
    if data is None:
        raise Rejection('truncated: a WAV header without samples')
    start, length = data
    riff_end = int.from_bytes(content[4:8], 'little') + 8
    if length == 0 and start < size and not start < riff_end <= size:
        length_bytes = (size - start).to_bytes(4, 'little')
        return content[: start - 4] + length_bytes + content[start:]
    # Some writers count the header as data, so a length up to the size of the file is accepted.
    if size < length < MAX_STATED_LENGTH:
        raise Rejection(
            f'truncated: {length} bytes of samples expected, {size - start} in the file'
        )
    return None

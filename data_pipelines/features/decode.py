"""Reads the audio of an utterance, and rejects what is damaged, silent or too short."""

import contextlib
import dataclasses
import io
import math
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
from data_pipelines.features import containers, mpeg, repairs, soundtracks
from data_pipelines.features.containers import Content
from data_pipelines.features.rejection import MISSING_FILE, Rejection

if TYPE_CHECKING:
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.features.sound_files import SequentialFile

MIN_SECONDS = 0.1
SILENCE_AMPLITUDE = 1e-4  # -80 dB of full scale
# Full scale is 1. Float samples above this are probably integers that were not scaled, and so are
# whole numbers above the second limit.
UNSCALED_INTEGER_AMPLITUDE = 100.0
WHOLE_NUMBER_AMPLITUDE = 2.0
# The mean of K unrelated channels has 1/K of the mean power of a channel, and so has that of one
# channel and K - 1 silent ones. The channels cancel if it has less than this share of 1/K.
CANCELLED_POWER = 0.02
MIDI_DUMP_MAGIC = b'\xf0\x7e'  # libsndfile prints on standard output if such a file is damaged
COMPRESSED_VALUES = 8  # samples per byte of speech that PyAV decodes
UNREADABLE_ADVICE = '(copy it again or convert it to WAV)'
# What libsndfile says of files in which it finds no sound.
UNCLEAR_ERRORS = ('Internal error', 'Unspecified internal', 'File does not exist')
MAX_FLAC_FRAMES = (1 << 36) - 2  # one more stands for a length that is not known
IRREGULAR_CODEC = 'irregular'  # of a file that soundfile does not open as it is
MIXED_FORMATS = 'files with different rates or channels, joined into one: cut them apart'
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

    Of a film or compressed speech the names are those of FFmpeg, as in 'mov aac'. A file that is
    decoded only after its header has been repaired is 'irregular': that, too, may differ between
    emotions.
    """
    import soundfile

    try:
        with open_content(path) as content:
            demuxer = soundtracks.find_demuxer(content)
        if demuxer:
            return f'{demuxer} {soundtracks.name_codec(path, demuxer)}'
        info = soundfile.info(os.fsencode(path))
    except Exception:  # a decoder may raise anything for a damaged file
        return IRREGULAR_CODEC
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
    length = math.ceil(len(wave) * (spec.rate / rate))
    if length < max(MIN_SECONDS * spec.rate, spec.fft_length):
        raise Rejection(f'too short: {math.floor(1000 * length / spec.rate) / 1000:.3f} s')
    check_sound(wave)
    if rate != spec.rate:
        wave = librosa.resample(wave, orig_sr=rate, target_sr=spec.rate)
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
        full_scale = '2147483648 (32 bits)'
        if peak <= 1 << 23:
            full_scale = '32768 (16 bits)' if peak <= 1 << 15 else '8388608 (24 bits)'
        raise Rejection(
            f'samples as large as {peak:g}, where full scale is 1: probably integers; divide '
            f'them by {full_scale}'
        )


def mix_channels(samples: np.ndarray, channel: int | None = None) -> np.ndarray:
    """Returns one channel (time,) of samples (time, channels), or the mean of all.

    Raises a Rejection if there is no such channel, or if the channels cancel.
    """
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
    if not is_silent and wave.var() < CANCELLED_POWER * power / channels:
        raise Rejection(
            f'its {channels} channels cancel, as where one is inverted: choose one (--channel, or '
            'the column channel)'
        )
    return wave


def check_sound(wave: np.ndarray) -> None:
    """Raises a Rejection for a wave (time,) that is silent but for a constant."""
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
        raise Rejection(f'unreadable: {error_text(error)} {UNREADABLE_ADVICE}') from None


@contextlib.contextmanager
def open_content(path: Path) -> Iterator[Content]:
    """Context of a file's content; only the bytes that are looked at are read from the disk."""
    with open(path, 'rb') as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:  # a file system that cannot
            yield file.read()
            return
        with content:
            yield content


def read_content(utterance: Utterance, content: Content) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance and their rate, as `read_samples` does.

    The first bytes of the file, not its name, say by which decoder.
    """
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
        samples, rate = read_joined(utterance, content, pieces)
        return cut_segment(utterance, samples, rate)
    kind = file_kinds.recognise_text(head)
    if kind is not None and not head.startswith(b'NIST'):
        if kind is file_kinds.TEXT:
            raise Rejection(f'not audio: {kind.name}: {kind.advice}')
        raise Rejection(f'unreadable: {file_kinds.describe(kind)}')
    return read_single(utterance, content, utterance.path)


def looks_like_audio(content: Content) -> bool:
    """Returns whether the first bytes are those of a sound file, whatever its name says."""
    head = content[: file_kinds.HEAD_BYTES]
    if file_kinds.recognise(head) is not None:
        return False
    if containers.has_audio_magic(head) or soundtracks.find_demuxer(content):
        return True
    return mpeg.parse_header(head[:4]) is not None or head[:3] == b'ID3'


def expected_values(path: Path) -> int:
    """Returns about how many samples of all channels a file has, by its header or its size.

    0 if it is not a regular file: to open a named pipe would wait for ever.
    """
    import soundfile

    try:
        status = path.stat()
    except (OSError, ValueError):
        return 0
    if not stat.S_ISREG(status.st_mode):
        return 0
    try:
        with open_content(path) as content:
            if soundtracks.find_demuxer(content):  # libsndfile would print what it does not like
                return COMPRESSED_VALUES * status.st_size
        info = soundfile.info(os.fsencode(path))
    except Exception:  # a decoder may raise anything for a damaged file
        return COMPRESSED_VALUES * status.st_size
    return info.frames * info.channels


def cut_segment(utterance: Utterance, samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance, from those of its whole file, and their rate.

    Samples are float32 of shape (time, channels); the rate is in Hz.
    """
    start, stop = segment_bounds(utterance, len(samples), rate)
    return samples[start:stop], rate


def check_file(path: Path) -> int:
    """Returns the size of a file in bytes; raises a Rejection if it is no file or is empty."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise Rejection(MISSING_FILE) from None
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


def read_single(
    utterance: Utterance, content: Content, path: Path | None = None
) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance in a file that soundfile reads, and their rate.

    `path` is the file with this content; None if it is one of several joined files.
    """
    mpeg_content = repairs.mpeg_in_wav(content)
    if mpeg_content is not None:
        containers.check_complete(content)
        with open_verified(mpeg_content) as file:
            return read_mpeg(utterance, mpeg_content, file)
    with open_verified(content, path) as file:
        if file.format == 'MP3':
            return read_mpeg(utterance, content, file)
        if file.format == 'FLAC' and file.has_length:
            return read_flac(utterance, content, file)
        return read_audio_segment(utterance, file)


def read_joined(
    utterance: Utterance, content: Content, pieces: list[tuple[int, int]]
) -> tuple[np.ndarray, int]:
    """Returns all samples of the files that were joined into an utterance's file, and their rate.

    `pieces` has the (start, stop) in bytes of each joined file.
    """
    from data_pipelines.features.sample_blocks import SampleBlocks

    whole = dataclasses.replace(utterance, start=0.0, end=None)
    blocks = SampleBlocks()
    formats = set()
    for start, stop in pieces:
        samples, rate = read_single(whole, content[start:stop])
        formats.add((rate, samples.shape[1]))
        if len(formats) > 1:
            raise Rejection(MIXED_FORMATS)
        blocks.add(samples, rate)
    return blocks.join(), rate


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


def read_flac(
    utterance: Utterance, content: Content, file: 'SequentialFile'
) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance in a FLAC file that states its length, and their rate.

    libsndfile stops at that length, which may be too small.
    """
    import soundfile

    from data_pipelines.features.sample_blocks import SampleBlocks

    end = utterance.end
    is_within = end is not None and round(end * file.samplerate) <= file.frames
    whole = None if is_within else repairs.without_flac_length(content[mpeg.skip_id3(content, 0) :])
    if whole is None:
        return read_audio_segment(utterance, file)
    if file.frames <= MAX_FLAC_FRAMES:
        SampleBlocks().check_room(file.frames, file.channels, file.samplerate)
    try:
        with open_verified(whole) as endless_file:
            samples = endless_file.read_blocks(None)
    except soundfile.LibsndfileError:  # such as tags at the end
        return read_audio_segment(utterance, file)
    if len(samples) < file.frames <= MAX_FLAC_FRAMES:
        raise Rejection(f'truncated: {file.frames} samples expected, {len(samples)} in the file')
    return cut_segment(utterance, samples, file.samplerate)


def error_text(error: Exception) -> str:
    """Returns the message of the system or of libsndfile, without the path."""
    text = getattr(error, 'strerror', None) or getattr(error, 'error_string', None) or error
    return 'no sound was found' if str(text).startswith(UNCLEAR_ERRORS) else str(text)


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

    `path` is the file with this content; None if only a part of a file is opened.
    """
    from data_pipelines.features.sound_files import SequentialFile

    repaired = repairs.repair_header(content)
    containers.check_complete(content if repaired is None else repaired)
    if repaired is not None or path is None:
        return SequentialFile(io.BytesIO(content if repaired is None else repaired))
    return SequentialFile(os.fsencode(path))  # soundfile cannot encode every str that is a path

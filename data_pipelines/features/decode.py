"""Reads the audio of an utterance, and rejects what is damaged, silent or too short."""

import importlib.util
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError

if TYPE_CHECKING:
    from data_pipelines.features.log_mel import LogMel

MIN_SECONDS = 0.1
SILENCE_AMPLITUDE = 1e-4  # -80 dB of full scale
# The power of larger samples may overflow float32. Integers stored as floats are far below this.
OVERFLOW_AMPLITUDE = 1e12
VIDEO_SUFFIXES = ('.avi',)  # decoded by PyAV; all other files are decoded by soundfile
# In Hz. A rate outside this range is from a damaged header, and resampling from it could fill the
# memory.
SAMPLE_RATE_RANGE = (4_000, 768_000)
# Programs that write into a pipe leave about 2^31 or 2^32 as the length in a header.
MAX_STATED_LENGTH = 0x7FFF_0000


class Rejection(Exception):
    """An utterance without features; the message is the short reason in `rejected.csv`."""


def check_video_support(utterances: list[Utterance]) -> None:
    """Raises a UserError if there are films and PyAV, which decodes them, is not installed."""
    if importlib.util.find_spec('av') is not None:
        return
    for utterance in utterances:
        if utterance.path.suffix.lower() in VIDEO_SUFFIXES:
            raise UserError(
                f'{utterance.path} is a film, and films are decoded by PyAV, which is not '
                "installed. In the checkout of jaxser, run: pip install -e '.[video]'"
            )


def decode(utterance: Utterance, spec: 'LogMel') -> np.ndarray:
    """Returns the samples of an utterance, float32, mono, at `spec.rate` Hz.

    At `utterance.speed` 2 the audio has half its duration and twice its frequencies. Raises a
    Rejection if the samples cannot be used.
    """
    samples, rate = read_samples(utterance)
    if utterance.speed != 1:
        rate *= utterance.speed
    return to_mono(samples, rate, spec)


def to_mono(samples: np.ndarray, rate: float, spec: 'LogMel') -> np.ndarray:
    """Returns the mean of the channels, resampled to `spec.rate` Hz.

    Args:
      samples: Float32 of shape (time, channels).
      rate: Their sampling rate in Hz.
      spec: The features that will be computed.

    Raises:
      Rejection: The samples are not finite, too large, silent or too few.
    """
    import librosa

    peak = np.abs(samples).max()
    if not np.isfinite(peak):
        raise Rejection('NaN or infinite samples')
    if peak > OVERFLOW_AMPLITUDE:
        raise Rejection(f'samples as large as {peak:g}, where full scale is 1')
    wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if np.ptp(wave) < 2 * SILENCE_AMPLITUDE:
        raise Rejection('silent: nothing above -80 dBFS')
    if rate != spec.rate:
        wave = librosa.resample(wave, orig_sr=rate, target_sr=spec.rate)
    if len(wave) < max(MIN_SECONDS * spec.rate, spec.fft_length):
        raise Rejection(f'too short: {len(wave) / spec.rate:.3f} s')
    return wave


def read_samples(utterance: Utterance) -> tuple[np.ndarray, int]:
    """Returns the samples in the file, float32 of shape (time, channels), and their rate in Hz.

    Raises a Rejection if the file is missing, damaged, or does not contain the segment.
    """
    path = utterance.path
    size = check_file(path)
    try:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            samples, rate = read_soundtrack(path, size)
            start, stop = segment_bounds(utterance, len(samples), rate)
            return samples[start:stop], rate
        return read_audio_segment(utterance, size)
    except Rejection:
        raise
    except MemoryError:
        raise Rejection('too long for the memory, or its header is wrong') from None
    except Exception as error:  # a decoder may raise anything for a damaged file
        raise Rejection(f'unreadable: {error_text(error)}') from None


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


def read_audio_segment(utterance: Utterance, size: int) -> tuple[np.ndarray, int]:
    """Returns the samples of an utterance and their rate, as soundfile reads them."""
    import soundfile

    with soundfile.SoundFile(open_verified_wav(utterance.path, size)) as file:
        check_sample_rate(file.samplerate)
        if not file.frames:
            raise Rejection('empty: a header without samples')
        start, stop = segment_bounds(utterance, file.frames, file.samplerate)
        file.seek(start)
        samples = file.read(stop - start, dtype=np.float32, always_2d=True)
        if len(samples) < stop - start:
            raise Rejection(
                f'truncated: {stop - start} samples expected, {len(samples)} in the file'
            )
        return samples, file.samplerate


def error_text(error: Exception) -> str:
    """Returns the message of the system or of libsndfile, without the path."""
    return str(getattr(error, 'strerror', None) or getattr(error, 'error_string', None) or error)


def check_sample_rate(rate: int) -> None:
    """Raises a Rejection for a sampling rate that only a damaged header states."""
    if not SAMPLE_RATE_RANGE[0] <= rate <= SAMPLE_RATE_RANGE[1]:
        raise Rejection(f'unreadable: a sampling rate of {rate} Hz')


def read_soundtrack(path: Path, size: int) -> tuple[np.ndarray, int]:
    """Returns a film's first sound track, float32 of shape (time, channels), and its rate in Hz.

    FFmpeg reads a truncated file without an error, so the length in its header is checked here.
    """
    import av

    with open(path, 'rb') as file:
        header = file.read(12)
        length = int.from_bytes(header[4:8], 'little')
        if header[:4] == b'RIFF' and size < length < MAX_STATED_LENGTH:
            raise Rejection(f'truncated: {length} bytes expected, {size} in the file')
        file.seek(0)
        with av.open(file) as film:
            if not film.streams.audio:
                raise Rejection('unreadable: a film without sound')
            track = film.streams.audio[0]
            check_sample_rate(track.rate)
            # Converts the sample format only: to float32 of shape (channels, time).
            resampler = av.AudioResampler(format='fltp')
            blocks = []
            for frame in film.decode(track):
                for block in resampler.resample(frame):
                    blocks.append(block.to_ndarray())
            if not blocks:
                raise Rejection('empty: a film without samples')
            return np.concatenate(blocks, axis=1).T, track.rate


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


class DataChunk(NamedTuple):
    """The chunk of a WAV file that holds the samples."""

    start: int  # byte of the file
    length: int  # bytes that its header states


def find_data_chunk(file: io.BufferedReader) -> DataChunk:
    """Returns the data chunk of a WAV file that is read up to its first chunk."""
    header = file.read(8)
    while len(header) == 8:
        length = int.from_bytes(header[4:], 'little')
        if header[:4] == b'data':
            return DataChunk(file.tell(), length)
        file.seek(length + length % 2, io.SEEK_CUR)
        header = file.read(8)
    raise Rejection('truncated: a WAV header without samples')


def open_verified_wav(path: Path, size: int) -> bytes | io.BytesIO:
    """Returns what soundfile should open: the path as bytes, or a repaired copy in memory.

    libsndfile reads a truncated WAV file without an error, so the length in its header is checked
    here, and a Rejection is raised if the file is shorter. A program that writes WAV into a pipe
    does not know the length and leaves 0 or about 2^31 or 2^32 in the header. The audio is
    complete, but libsndfile would read no samples if the length is 0: the copy has the right one.
    """
    path_bytes = os.fsencode(path)  # soundfile cannot encode every str that is a path
    with open(path, 'rb') as file:
        riff = file.read(12)
        if riff[:4] != b'RIFF' or riff[8:] != b'WAVE':
            return path_bytes
        data = find_data_chunk(file)
        riff_end = int.from_bytes(riff[4:8], 'little') + 8
        if data.length == 0 and data.start < size and not data.start < riff_end <= size:
            file.seek(0)
            content = file.read()
            length_bytes = (size - data.start).to_bytes(4, 'little')
            return io.BytesIO(content[: data.start - 4] + length_bytes + content[data.start :])
    # Some writers count the header as data, so a length up to the size of the file is accepted.
    if size < data.length < MAX_STATED_LENGTH:
        raise Rejection(
            f'truncated: {data.length} bytes of samples expected, {size - data.start} in the file'
        )
    return path_bytes

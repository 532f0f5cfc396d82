"""TODO: data_pipelines.features.decode."""

import importlib.metadata
import importlib.util
import io
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError

if TYPE_CHECKING:
    from data_pipelines.features.log_mel import LogMel

MIN_SECONDS = 0.1  # seconds

SILENCE_AMPLITUDE = 1e-4  # -80 dBFS

MAX_AMPLITUDE = (
    1e12  # its power still is a float32; integers that were stored as floats stay far below
)

VIDEO_SUFFIXES = ('.avi',)  # decoded by PyAV; everything else is soundfile's

SAMPLE_RATE_RANGE = (
    4_000,
    768_000,
)  # Hz: beyond them a header is damaged, and resampling what it says would fill the memory


class Rejection(Exception):
    """Why an utterance has no features: a few words for `rejected.csv`."""


def check_video_support(utterances: list[Utterance]) -> None:
    """Refuses films where PyAV is not installed, rather than rejecting them one by one."""
    if importlib.util.find_spec('av') is None:
        for u in utterances:
            if u.path.suffix.lower() in VIDEO_SUFFIXES:
                raise UserError(
                    f"{u.path} is a film; decoding it needs PyAV. First: pip install -e '.[video]' in the checkout of jaxser."
                )


def decode(utterance: Utterance, spec: 'LogMel') -> np.ndarray:
    """The utterance's samples, float32, mono at `spec.rate`; raises `Rejected` for whatever is wrong with the file."""
    return to_mono(*read_samples(utterance), spec)


def to_mono(samples: np.ndarray, rate: int, spec: 'LogMel') -> np.ndarray:
    """Samples of shape (time, channels) as one channel at `spec.rate`; raises `Rejected` for what is no sound."""
    import librosa

    peak = np.abs(samples).max()
    if not np.isfinite(peak):
        raise Rejection('NaN or infinite samples')
    if peak > MAX_AMPLITUDE:
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
    """The samples as they lie in the file, float32 of shape (time, channels), and their rate in Hz."""
    import soundfile

    path = utterance.path
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise Rejection('missing') from None
    except (OSError, ValueError) as e:
        raise Rejection(f'unreadable: {error_text(e)}') from None
    if not stat.S_ISREG(facts.st_mode):
        raise Rejection('unreadable: not a file')
    if not facts.st_size:
        raise Rejection('empty: 0 bytes')
    try:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            samples, rate = read_soundtrack(path, facts.st_size)
            start, stop = segment_bounds(utterance, len(samples), rate)
            return samples[start:stop], rate
        with soundfile.SoundFile(open_verified_wav(path, facts.st_size)) as file:
            check_sample_rate(file.samplerate)
            if not file.frames:
                raise Rejection('empty: a header without samples')
            start, stop = segment_bounds(utterance, file.frames, file.samplerate)
            file.seek(start)
            samples = file.read(stop - start, dtype=np.float32, always_2d=True)
            if len(samples) < stop - start:
                raise Rejection(f'truncated: {stop - start} samples promised, {len(samples)} there')
            return samples, file.samplerate
    except Rejection:
        raise
    except Exception as e:  # whatever a decoder makes of a damaged file
        raise Rejection(f'unreadable: {error_text(e)}') from None


def error_text(e: Exception) -> str:
    """What the system or libsndfile says, without the path, which stands beside the reason."""
    return str(getattr(e, 'strerror', None) or getattr(e, 'error_string', None) or e)


def check_sample_rate(rate: int) -> None:
    """Rejects a sampling rate that only a damaged header states."""
    if not SAMPLE_RATE_RANGE[0] <= rate <= SAMPLE_RATE_RANGE[1]:
        raise Rejection(f'unreadable: a sampling rate of {rate} Hz')


def read_soundtrack(path: Path, size: int) -> tuple[np.ndarray, int]:
    """All samples of a film's first sound track, float32 of shape (time, channels), and their rate in Hz.

    FFmpeg, like libsndfile, quietly shortens what was cut off, so the size that the header states is compared here.
    """
    import av

    with open(path, 'rb') as file:
        head = file.read(12)
        length = int.from_bytes(head[4:8], 'little')
        if head[:4] == b'RIFF' and size < length < 0x7FFF_0000:
            raise Rejection(f'truncated: {length} bytes promised, {size} there')
        file.seek(0)
        with av.open(file) as film:
            if not film.streams.audio:
                raise Rejection('unreadable: a film without sound')
            track = film.streams.audio[0]
            check_sample_rate(track.rate)
            planar = av.AudioResampler(
                format='fltp'
            )  # the samples as they are, as float32 of shape (channels, time)
            blocks = [
                block.to_ndarray()
                for frame in film.decode(track)
                for block in planar.resample(frame)
            ]
            if not blocks:
                raise Rejection('empty: a film without samples')
            return np.concatenate(blocks, axis=1).T, track.rate


def segment_bounds(utterance: Utterance, frames: int, rate: int) -> tuple[int, int]:
    """First sample and the one after the last of the utterance within a file of `frames` samples."""
    start, stop = (
        round(utterance.start * rate),
        frames if utterance.end is None else round(utterance.end * rate),
    )
    if not 0 <= start < min(stop, frames) or stop > frames + 0.01 * rate:  # a list rounds its times
        raise Rejection(
            f'outside the file: {start / rate:g} to {stop / rate:g} s of {frames / rate:g} s'
        )
    return start, min(stop, frames)


def open_verified_wav(path: Path, size: int) -> bytes | io.BytesIO:
    """What soundfile is to open: the file, once its data chunk is all there if it is a WAV; `Rejected` otherwise.

    libsndfile quietly shortens a WAV that was cut off. A program that writes WAV into a pipe cannot know the length and leaves 0
    or about 2^31 or 2^32 in the header: that is no damage, but libsndfile takes 0 at its word, so 0 is mended in a copy.
    """
    name = os.fsencode(path)  # soundfile cannot encode every str that is a path
    with open(path, 'rb') as file:
        head = file.read(12)
        if head[:4] != b'RIFF' or head[8:] != b'WAVE':
            return name
        while len(chunk := file.read(8)) == 8:
            length, start = int.from_bytes(chunk[4:], 'little'), file.tell()
            if chunk[:4] == b'data':
                break
            file.seek(length + length % 2, io.SEEK_CUR)
        else:
            raise Rejection('truncated: a WAV header without samples')
        if (
            length == 0
            and start < size
            and not start < int.from_bytes(head[4:8], 'little') + 8 <= size
        ):
            file.seek(0)
            content = file.read()
            return io.BytesIO(
                content[: start - 4] + (size - start).to_bytes(4, 'little') + content[start:]
            )
        # Some writers count the header as data, so only more than the whole file is too much.
        if size < length < 0x7FFF_0000:
            raise Rejection(f'truncated: {length} bytes of samples promised, {size - start} there')
        return name

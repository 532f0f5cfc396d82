"""From an utterance to its log-mel frames, or to the reason why it has none."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import stat
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError

if TYPE_CHECKING:
    import numpy as np

FORMAT_VERSION = 3  # raise it whenever the same fields would give other numbers
MIN_SECONDS = 0.1  # seconds
SILENCE_AMPLITUDE = 1e-4  # -80 dBFS
MAX_AMPLITUDE = 1e12  # its power still is a float32; integers that were stored as floats stay far below
SIGNATURE_GRID = (32, 16)  # of a signature: slices of time, groups of bands
SIGNATURE_SIZE = 1 + SIGNATURE_GRID[0] * SIGNATURE_GRID[1]
VIDEO_SUFFIXES = ('.avi',)  # decoded by PyAV; everything else is soundfile's
SAMPLE_RATE_RANGE = (4_000, 768_000)  # Hz: beyond them a header is damaged, and resampling what it says would fill the memory


@dataclasses.dataclass(frozen=True)
class LogMel:
    """What the features are, which is their identity: other values make another data set beside the first."""

    rate: int = 16_000  # Hz, to which all audio is resampled
    window: float = 0.025  # seconds
    hop: float = 0.010  # seconds
    bands: int = 64
    low: float = 20.0  # Hz
    high: float = 8_000.0  # Hz
    floor: float = 1e-10  # power: what is below it has its logarithm

    def __post_init__(self):
        if not (SAMPLE_RATE_RANGE[0] <= self.rate <= SAMPLE_RATE_RANGE[1] and self.bands > 0 and self.floor > 0):
            raise UserError(f'{self}: expected a rate of {SAMPLE_RATE_RANGE[0]} to {SAMPLE_RATE_RANGE[1]} Hz, and bands and floor above 0.')
        if not all(1 <= seconds * self.rate <= self.rate for seconds in (self.window, self.hop)):
            raise UserError(f'{self}: expected window and hop to be seconds, at least a sample and at most 1 s.')
        if not 0 <= self.low < self.high <= self.rate / 2:
            raise UserError(f'The bands go from {self.low:g} to {self.high:g} Hz; expected 0 <= low < high <= {self.rate / 2:g}.')

    @property
    def name(self) -> str:
        """`logmel64-` and eight digits that change with any field, with the format and with librosa's version."""
        return self._name(FORMAT_VERSION, importlib.metadata.version('librosa'), dataclasses.astuple(self))

    @property
    def npz_name(self) -> str:
        """Of an .npz: likewise, but known where librosa is not installed."""
        return self._name(FORMAT_VERSION, dataclasses.astuple(self)) + '.npz'

    def _name(self, *identity) -> str:
        return f'logmel{self.bands}-{hashlib.sha256(repr(identity).encode()).hexdigest()[:8]}'

    def record_fields(self) -> dict:
        """What prepared.json says of them."""
        return {'log_mel': dataclasses.asdict(self)}

    def process_utterance(self, utterance: Utterance) -> 'dict | Rejection':
        """What a worker makes of an utterance: all that is stored of its sound."""
        return compute_features(utterance, self)

    def finish(self, results: Iterable) -> Iterable:
        """What is left to do with what the workers make, utterance by utterance: nothing."""
        return results

    @property
    def window_length(self) -> int:
        """Samples in a window."""
        return round(self.window * self.rate)

    @property
    def hop_length(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop * self.rate)

    @property
    def fft_length(self) -> int:
        """The power of two that holds a window."""
        return 1 << (self.window_length - 1).bit_length()


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


def decode(utterance: Utterance, spec: LogMel) -> 'np.ndarray':
    """The utterance's samples, float32, mono at `spec.rate`; raises `Rejected` for whatever is wrong with the file."""
    return to_mono(*read_samples(utterance), spec)


def to_mono(samples: 'np.ndarray', rate: int, spec: LogMel) -> 'np.ndarray':
    """Samples of shape (time, channels) as one channel at `spec.rate`; raises `Rejected` for what is no sound."""
    import librosa
    import numpy as np

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


def read_samples(utterance: Utterance) -> tuple['np.ndarray', int]:
    """The samples as they lie in the file, float32 of shape (time, channels), and their rate in Hz."""
    import numpy as np
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


def read_soundtrack(path: Path, size: int) -> tuple['np.ndarray', int]:
    """All samples of a film's first sound track, float32 of shape (time, channels), and their rate in Hz.

    FFmpeg, like libsndfile, quietly shortens what was cut off, so the size that the header states is compared here.
    """
    import av
    import numpy as np

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
            planar = av.AudioResampler(format='fltp')  # the samples as they are, as float32 of shape (channels, time)
            blocks = [block.to_ndarray() for frame in film.decode(track) for block in planar.resample(frame)]
            if not blocks:
                raise Rejection('empty: a film without samples')
            return np.concatenate(blocks, axis=1).T, track.rate


def segment_bounds(utterance: Utterance, frames: int, rate: int) -> tuple[int, int]:
    """First sample and the one after the last of the utterance within a file of `frames` samples."""
    start, stop = round(utterance.start * rate), frames if utterance.end is None else round(utterance.end * rate)
    if not 0 <= start < min(stop, frames) or stop > frames + 0.01 * rate:  # a list rounds its times
        raise Rejection(f'outside the file: {start / rate:g} to {stop / rate:g} s of {frames / rate:g} s')
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
        if length == 0 and start < size and not start < int.from_bytes(head[4:8], 'little') + 8 <= size:
            file.seek(0)
            content = file.read()
            return io.BytesIO(content[: start - 4] + (size - start).to_bytes(4, 'little') + content[start:])
        # Some writers count the header as data, so only more than the whole file is too much.
        if size < length < 0x7FFF_0000:
            raise Rejection(f'truncated: {length} bytes of samples promised, {size - start} there')
        return name


def compute_log_mel(wave: 'np.ndarray', spec: LogMel) -> 'np.ndarray':
    """mel_TxM: natural logarithms of the mel bands' power, float16 of shape (1 + samples // hop, bands).

    What `librosa.feature.melspectrogram` does, to the bit, but for computing window and filters anew each time.
    """
    import librosa
    import numpy as np

    window, filter_MxF = make_filters(spec)
    lengths = {'n_fft': spec.fft_length, 'win_length': spec.window_length, 'hop_length': spec.hop_length}
    power_FxT = np.abs(librosa.stft(wave, window=window, **lengths)) ** 2.0
    power_MxT = np.einsum('...ft,mf->...mt', power_FxT, filter_MxF, optimize=True)
    return np.log(np.maximum(power_MxT.T, spec.floor)).astype(np.float16)


@functools.cache
def make_filters(spec: LogMel) -> tuple['np.ndarray', 'np.ndarray']:
    """The window and filter_MxF, the mel bands; refuses bands so narrow that no bin of the spectrum falls into some of them."""
    import librosa

    window = librosa.filters.get_window('hann', spec.window_length)

    with warnings.catch_warnings():
        warnings.filterwarnings('error', 'Empty filters')
        try:
            bands = {'n_mels': spec.bands, 'fmin': spec.low, 'fmax': spec.high}
            return window, librosa.filters.mel(sr=spec.rate, n_fft=spec.fft_length, **bands)
        except UserWarning:
            raise UserError(
                f'Some of {spec.bands} mel bands would be empty with a window of {spec.window:g} s. '
                'Ask for fewer --bands or a longer --window.'
            ) from None


def moments(mel_TxM: 'np.ndarray') -> tuple['np.ndarray', 'np.ndarray']:
    """mean_M and variance_M over frames, float32."""
    import numpy as np

    exact_TxM = mel_TxM.astype(np.float64)
    return exact_TxM.mean(axis=0).astype(np.float32), exact_TxM.var(axis=0).astype(np.float32)


def compute_signature(mel_TxM: 'np.ndarray') -> 'np.ndarray':
    """signature_S: float16, nearly the same for copies that differ by level, codec, rate, faint noise or silence at their ends.

    First the frames over which the energy extends, then a grid of unit norm: amplitude in 32 slices of that time and 16 groups of
    bands, less each group's mean. The time is +-1.8 standard deviations about the energy's centre: where a recording is quiet it
    weighs nothing, so that neither silence nor noise there moves it, as they would move a threshold. The lower three eighths of
    the bands have twelve of the groups: voices that say the same differ in pitch. data_pipelines/audit.py has what this achieves.
    """
    import numpy as np

    power_TxM = np.exp(mel_TxM.astype(np.float32, copy=False) - np.float32(mel_TxM.max()))
    power_T, at_T, (slices, groups) = power_TxM.sum(axis=1, dtype=float), np.arange(len(mel_TxM)) + 0.5, SIGNATURE_GRID
    centre = np.average(at_T, weights=power_T)
    spread = 1.8 * max(np.sqrt(np.average((at_T - centre) ** 2, weights=power_T)), 1.0)
    low = 3 * groups // 4
    share = np.concatenate([np.linspace(0, 3 / 8, low, endpoint=False), np.linspace(3 / 8, 1, groups - low + 1)])
    edges = np.unique((share * mel_TxM.shape[1]).astype(int))  # fewer groups where there are few bands
    amplitude_TxG = np.sqrt(np.add.reduceat(power_TxM, edges[:-1], axis=1) / np.diff(edges))
    passed_TxG = np.concatenate([np.zeros((1, len(edges) - 1)), np.cumsum(amplitude_TxG, axis=0, dtype=float)])
    cuts = np.clip(np.linspace(centre - spread, centre + spread, slices + 1), 0, len(amplitude_TxG))
    before = np.minimum(cuts.astype(int), len(amplitude_TxG) - 1)
    grid = np.diff(passed_TxG[before] + (cuts - before)[:, None] * amplitude_TxG[before], axis=0)
    flat_S = np.zeros(SIGNATURE_SIZE)
    flat_S[1 : 1 + grid.size] = (grid - grid.mean(axis=0)).ravel()
    flat_S /= max(np.linalg.norm(flat_S), 1e-9)
    flat_S[0] = min(2 * spread, 65_000)  # float16 ends soon after
    return flat_S.astype(np.float16)


def compute_features(utterance: Utterance, spec: LogMel) -> dict | Rejection:
    """All that is stored of an utterance's sound; mean_M and variance_M are float32, over frames, taken in float64."""
    try:
        wave = decode(utterance, spec)
        mel_TxM = compute_log_mel(wave, spec)
    except Rejection as reason:
        return reason
    return feature_columns(mel_TxM) | audio_columns(wave, mel_TxM, spec)


def feature_columns(features_TxM: 'np.ndarray') -> dict:
    """Features of float16 and their moments, as they are stored."""
    mean_M, variance_M = moments(features_TxM)
    return {'mel_TxM': features_TxM, 'frames': len(features_TxM), 'mean_M': mean_M, 'variance_M': variance_M}


def audio_columns(wave: 'np.ndarray', mel_TxM: 'np.ndarray', spec: LogMel) -> dict:
    """What is stored of a sound beside its features, by which it is known."""
    import numpy as np

    sha256 = hashlib.sha256(np.ascontiguousarray(wave, '<f4')).hexdigest()
    return {'seconds': len(wave) / spec.rate, 'signature_S': compute_signature(mel_TxM), 'sha256': sha256}

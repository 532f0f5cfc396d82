"""Computes the log-mel features of an utterance, and what is stored with them."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import warnings
from typing import TYPE_CHECKING

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.decode import Rejection, Sound, decode_sound
from data_pipelines.features.levels import measure_leading_silence, measure_level
from data_pipelines.features.rejection import SAMPLE_RATE_RANGE
from data_pipelines.features.signature import compute_signature

if TYPE_CHECKING:
    import numpy as np

MAX_BANDS = 1024  # the filters of a million bands would fill the memory

FORMAT_VERSION = 3  # increase it whenever the same fields would give other numbers


@dataclasses.dataclass(frozen=True)
class LogMel:
    """The parameters of log-mel features, which identify a prepared data set."""

    rate: int = 16_000  # Hz, to which all audio is resampled
    window: float = 0.025  # seconds
    hop: float = 0.010  # seconds
    bands: int = 64
    low: float = 20.0  # Hz
    high: float = 8_000.0  # Hz
    floor: float = 1e-10  # the smallest power of which a logarithm is taken

    def __post_init__(self):
        lowest_rate, highest_rate = SAMPLE_RATE_RANGE
        if not lowest_rate <= self.rate <= highest_rate:
            raise UserError(
                f'The rate of the features is {self.rate} Hz; '
                f'expected {lowest_rate} to {highest_rate} Hz.'
            )
        for name, value, highest in (('bands', self.bands, MAX_BANDS), ('floor', self.floor, 1)):
            if not 0 < value <= highest:
                raise UserError(
                    f'The {name} of the features is {value}; '
                    f'expected more than 0, and at most {highest}.'
                )
        for name, seconds in (('window', self.window), ('hop', self.hop)):
            if not 1 <= seconds * self.rate <= self.rate:
                raise UserError(
                    f'The {name} of the features is {seconds} s; '
                    'expected at least one sample and at most 1 s.'
                )
        if not 0 <= self.low < self.high <= self.rate / 2:
            raise UserError(
                f'The mel bands go from {self.low:g} to {self.high:g} Hz; '
                f'expected 0 <= low < high <= {self.rate / 2:g}.'
            )

    @property
    def name(self) -> str:
        """The name of these features as shards: `logmel64-` and eight digits.

        The digits change with any field, with the format, and with the version of librosa.
        """
        librosa_version = importlib.metadata.version('librosa')
        return self._make_name(FORMAT_VERSION, librosa_version, dataclasses.astuple(self))

    @property
    def npz_name(self) -> str:
        """The name of these features as an .npz file.

        It does not depend on librosa, which need not be installed where such a file is read.
        """
        return self._make_name(FORMAT_VERSION, dataclasses.astuple(self)) + '.npz'

    def _make_name(self, *identity) -> str:
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()
        return f'logmel{self.bands}-{digest[:8]}'

    def record_fields(self) -> dict:
        """Returns what prepared.json says of the features."""
        return {'log_mel': dataclasses.asdict(self)}

    def process_utterance(self, utterance: Utterance) -> 'dict | Rejection':
        """Returns what is stored for an utterance, or why it is rejected."""
        return compute_features(utterance, self)

    @property
    def window_length(self) -> int:
        """The number of samples in a window."""
        return round(self.window * self.rate)

    @property
    def hop_length(self) -> int:
        """The number of samples from one frame to the next."""
        return round(self.hop * self.rate)

    @property
    def fft_length(self) -> int:
        """The smallest power of two that is at least the length of a window."""
        return 1 << (self.window_length - 1).bit_length()


def compute_log_mel(wave: 'np.ndarray', spec: LogMel) -> 'np.ndarray':
    """Returns mel_TxM, the natural logarithms of the power in each frame and mel band.

    It is float16 of shape (1 + samples // hop, bands), and equal to the bit to the logarithm of
    `librosa.feature.melspectrogram`, which would compute window and filters again each time.
    """
    import librosa
    import numpy as np

    window, filter_MxF = make_filters(spec)
    spectrum_FxT = librosa.stft(
        wave,
        n_fft=spec.fft_length,
        win_length=spec.window_length,
        hop_length=spec.hop_length,
        window=window,
    )
    power_FxT = np.abs(spectrum_FxT) ** 2.0
    power_MxT = np.einsum('...ft,mf->...mt', power_FxT, filter_MxF, optimize=True)
    return np.log(np.maximum(power_MxT.T, spec.floor)).astype(np.float16)


@functools.cache
def make_filters(spec: LogMel) -> tuple['np.ndarray', 'np.ndarray']:
    """Returns the window and filter_MxF, the filters of the mel bands.

    Raises a UserError if bands are so narrow that they contain no bin of the spectrum.
    """
    import librosa

    window = librosa.filters.get_window('hann', spec.window_length)
    with warnings.catch_warnings():
        warnings.filterwarnings('error', 'Empty filters')
        try:
            filter_MxF = librosa.filters.mel(
                sr=spec.rate,
                n_fft=spec.fft_length,
                n_mels=spec.bands,
                fmin=spec.low,
                fmax=spec.high,
            )
        except UserWarning:
            raise UserError(
                f'Some of {spec.bands} mel bands would be empty with a window of '
                f'{spec.window:g} s. Choose fewer --bands or a longer --window.'
            ) from None
    return window, filter_MxF


def compute_moments(mel_TxM: 'np.ndarray') -> tuple['np.ndarray', 'np.ndarray']:
    """Returns mean_M and variance_M over the frames, float32, computed in float64."""
    import numpy as np

    exact_TxM = mel_TxM.astype(np.float64)
    return exact_TxM.mean(axis=0).astype(np.float32), exact_TxM.var(axis=0).astype(np.float32)


def compute_features(utterance: Utterance, spec: LogMel) -> dict | Rejection:
    """Returns all columns that are stored for an utterance, or why it is rejected."""
    try:
        sound = decode_sound(utterance, spec)
        mel_TxM = compute_log_mel(sound.wave, spec)
    except Rejection as rejection:
        return rejection
    return feature_columns(mel_TxM) | audio_columns(sound, mel_TxM, spec)


def feature_columns(features_TxM: 'np.ndarray') -> dict:
    """Returns float16 features, their number of frames and their moments, as they are stored."""
    mean_M, variance_M = compute_moments(features_TxM)
    return {
        'mel_TxM': features_TxM,
        'frames': len(features_TxM),
        'mean_M': mean_M,
        'variance_M': variance_M,
    }


def audio_columns(sound: Sound, mel_TxM: 'np.ndarray', spec: LogMel) -> dict:
    """Returns what is stored with the features: signature, hash of the samples, audio facts."""
    import numpy as np

    sha256 = hashlib.sha256(np.ascontiguousarray(sound.wave, '<f4')).hexdigest()
    return {
        'seconds': len(sound.wave) / spec.rate,
        'source_rate': sound.source_rate,
        'source_codec': sound.source_codec,
        'level_db': measure_level(sound.wave),
        'leading_silence': measure_leading_silence(sound.wave, spec.rate),
        'signature_S': compute_signature(mel_TxM),
        'sha256': sha256,
    }

"""From an utterance to its log-mel frames, or to the reason why it has none."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import warnings
from typing import TYPE_CHECKING

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.decode import SAMPLE_RATE_RANGE, Rejection, decode
from data_pipelines.features.signature import compute_signature

if TYPE_CHECKING:
    import numpy as np

FORMAT_VERSION = 3  # raise it whenever the same fields would give other numbers


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
        if not (
            SAMPLE_RATE_RANGE[0] <= self.rate <= SAMPLE_RATE_RANGE[1]
            and self.bands > 0
            and self.floor > 0
        ):
            raise UserError(
                f'{self}: expected a rate of {SAMPLE_RATE_RANGE[0]} to {SAMPLE_RATE_RANGE[1]} Hz, and bands and floor above 0.'
            )
        if not all(1 <= seconds * self.rate <= self.rate for seconds in (self.window, self.hop)):
            raise UserError(
                f'{self}: expected window and hop to be seconds, at least a sample and at most 1 s.'
            )
        if not 0 <= self.low < self.high <= self.rate / 2:
            raise UserError(
                f'The bands go from {self.low:g} to {self.high:g} Hz; expected 0 <= low < high <= {self.rate / 2:g}.'
            )

    @property
    def name(self) -> str:
        """`logmel64-` and eight digits that change with any field, with the format and with librosa's version."""
        return self._name(
            FORMAT_VERSION, importlib.metadata.version('librosa'), dataclasses.astuple(self)
        )

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


def compute_log_mel(wave: 'np.ndarray', spec: LogMel) -> 'np.ndarray':
    """mel_TxM: natural logarithms of the mel bands' power, float16 of shape (1 + samples // hop, bands).

    What `librosa.feature.melspectrogram` does, to the bit, but for computing window and filters anew each time.
    """
    import librosa
    import numpy as np

    window, filter_MxF = make_filters(spec)
    lengths = {
        'n_fft': spec.fft_length,
        'win_length': spec.window_length,
        'hop_length': spec.hop_length,
    }
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
    return {
        'mel_TxM': features_TxM,
        'frames': len(features_TxM),
        'mean_M': mean_M,
        'variance_M': variance_M,
    }


def audio_columns(wave: 'np.ndarray', mel_TxM: 'np.ndarray', spec: LogMel) -> dict:
    """What is stored of a sound beside its features, by which it is known."""
    import numpy as np

    sha256 = hashlib.sha256(np.ascontiguousarray(wave, '<f4')).hexdigest()
    return {
        'seconds': len(wave) / spec.rate,
        'signature_S': compute_signature(mel_TxM),
        'sha256': sha256,
    }

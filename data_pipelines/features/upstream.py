"""What a pretrained speech encoder makes of sound as features, or what it hears: what they are called, how sound becomes them.

The encoders themselves are in jaxser/pretrained, which computes the states; nothing here needs JAX.
"""

import dataclasses
import hashlib
import re

import numpy as np

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.decode import Rejection, decode
from data_pipelines.features.log_mel import LogMel, audio_columns, compute_log_mel, feature_columns

FORMAT_VERSION = 1  # raise it whenever the same encoder would give other numbers

STATE_KINDS = (
    'pooled',
    'all',
)  # of an utterance: mean and standard deviation over its frames, as one frame; or every frame

INPUT_KIND = 'heard'  # kept instead: what the encoder hears, for training that goes through it

MODEL_TYPES = ('wav2vec2', 'hubert', 'wavlm', 'whisper')

STATES_NAME_PATTERN = re.compile(
    rf'({"|".join(MODEL_TYPES)})-(\d+)x(\d+)-({"|".join(STATE_KINDS)})-([0-9a-f]{{8}})'
)

INPUT_NAME_PATTERN = re.compile(rf'(wave|whisper)-(\d+)-{INPUT_KIND}-([0-9a-f]{{8}})')

HOP_SAMPLES = 160  # samples: 10 ms

AUDIO_SPEC = LogMel()  # of 16 kHz, as every upstream hears; its log-mel is what the audit compares


@dataclasses.dataclass(frozen=True)
class EncoderStates:
    """Which states of which encoder, which is their identity, and their name tells all of it."""

    model: str  # model_type of the folder's config.json
    layers: int  # the input's state, and one a layer
    width: int  # of a state
    kept: str  # one of KEPT
    digest: str  # eight digits that change with the weights, with what is done with them, and with the format
    sha256: str = dataclasses.field(
        default='', compare=False
    )  # of the weights, where the encoder has been read
    folder: str = dataclasses.field(
        default='', compare=False
    )  # where the encoder is, for whoever computes states

    @classmethod
    def from_encoder(cls, encoder, state_kind: str) -> 'EncoderStates':
        """Returns the states of a `jaxser.pretrained.encoder.PretrainedEncoder`."""
        digest = hashlib.sha256(
            repr((FORMAT_VERSION, encoder.sha256, encoder.hashed_settings)).encode()
        ).hexdigest()[:8]
        return cls(
            encoder.config['model_type'],
            encoder.state_count,
            encoder.width,
            state_kind,
            digest,
            encoder.sha256,
        )

    @classmethod
    def from_name(cls, name: str) -> 'EncoderStates':
        """Those of that name."""
        if not (m := STATES_NAME_PATTERN.fullmatch(name)):
            raise UserError(
                f'{name!r} names no states of an upstream; expected as in whisper-5x384-pooled-0123abcd.'
            )
        return cls(m[1], int(m[2]), int(m[3]), m[4], m[5])

    @property
    def name(self) -> str:
        """As in `whisper-5x384-pooled-0123abcd`."""
        return f'{self.model}-{self.layers}x{self.width}-{self.kept}-{self.digest}'

    @property
    def npz_name(self) -> str:
        """Of an .npz."""
        return f'{self.name}.npz'

    @property
    def is_pooled(self) -> bool:
        """Whether an utterance is one frame."""
        return self.kept == 'pooled'

    @property
    def bands(self) -> int:
        """Numbers in a frame: layer after layer, of each its state, or the mean of its states and then their deviation."""
        return self.layers * self.width * (1 + self.is_pooled)

    def record_fields(self) -> dict:
        """What prepared.json says of them."""
        return {
            'upstream': {'name': self.name, **dataclasses.asdict(self), 'format': FORMAT_VERSION}
        }

    def process_utterance(self, utterance: Utterance) -> 'dict | Rejection':
        """What a worker makes of an utterance: its samples, and what is stored beside its states."""
        try:
            wave = decode(utterance, AUDIO_SPEC)
            mel_TxM = compute_log_mel(wave, AUDIO_SPEC)
        except Rejection as reason:
            return reason
        return {'wave': wave} | audio_columns(wave, mel_TxM, AUDIO_SPEC)


@dataclasses.dataclass(frozen=True)
class EncoderInput:
    """What an encoder hears, a frame every 10 ms: its 160 samples as they are, or Whisper's log-mel; whatever its weights."""

    what: str  # 'wave' or 'whisper'
    bands: int

    @classmethod
    def from_encoder(cls, encoder) -> 'EncoderInput':
        """Returns the input of a `jaxser.pretrained.encoder.PretrainedEncoder`."""
        if encoder.input_kind == 'wave':
            return cls('wave', HOP_SAMPLES)
        return cls('whisper', encoder.config['num_mel_bins'])

    @property
    def name(self) -> str:
        """As in `wave-160-heard-` and eight digits that change with the format."""
        digest = hashlib.sha256(repr((FORMAT_VERSION, self.what, self.bands)).encode()).hexdigest()[
            :8
        ]
        return f'{self.what}-{self.bands}-{INPUT_KIND}-{digest}'

    @property
    def npz_name(self) -> str:
        """Of an .npz."""
        return f'{self.name}.npz'

    def record_fields(self) -> dict:
        """What prepared.json says of them."""
        return {INPUT_KIND: dataclasses.asdict(self)}

    def process_utterance(self, utterance: Utterance) -> 'dict | Rejection':
        """What a worker makes of an utterance: all that is stored of its sound."""
        try:
            wave = decode(utterance, AUDIO_SPEC)
            return feature_columns(self.compute_frames(wave)) | audio_columns(
                wave, compute_log_mel(wave, AUDIO_SPEC), AUDIO_SPEC
            )
        except Rejection as reason:
            return reason

    def compute_frames(self, wave: np.ndarray) -> np.ndarray:
        """frames_TxM in float16 of samples at 16 kHz; the last ones that fill no 10 ms are left out."""
        if self.what == 'whisper':
            return whisper_log_mel(wave, self.bands).astype(np.float16)
        if (peak := np.abs(wave).max()) > np.finfo(np.float16).max:
            raise Rejection(f'samples as large as {peak:g}, where full scale is 1')
        return (
            wave[: len(wave) // HOP_SAMPLES * HOP_SAMPLES]
            .reshape(-1, HOP_SAMPLES)
            .astype(np.float16)
        )


FeatureSpec = LogMel | EncoderStates | EncoderInput


def spec_from_name(name: str) -> EncoderStates | EncoderInput:
    """The features of that name."""
    if (m := INPUT_NAME_PATTERN.fullmatch(name)) and (
        heard := EncoderInput(m[1], int(m[2]))
    ).name == name:
        return heard
    return EncoderStates.from_name(name)


def whisper_log_mel(wave: np.ndarray, bands: int) -> np.ndarray:
    """mel_TxM of samples at 16 kHz as Whisper hears it: a frame every 10 ms, the loudest 80 dB, about -1 to 1."""
    import librosa

    power_FxT = (
        np.abs(librosa.stft(wave, n_fft=400, hop_length=160, pad_mode='reflect')[:, :-1]) ** 2
    )
    log_MxT = np.log10(
        np.maximum(librosa.filters.mel(sr=16_000, n_fft=400, n_mels=bands) @ power_FxT, 1e-10)
    )
    return ((np.maximum(log_MxT, log_MxT.max() - 8) + 4) / 4).T.astype(np.float32)

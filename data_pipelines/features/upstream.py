"""Features from a pretrained speech encoder: its hidden states, or the input that it expects.

This module has their names and what a worker process stores, and does not need JAX. The encoders
are in jaxser/pretrained, which computes the states.
"""

import dataclasses
import hashlib
import re

import numpy as np

from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features.decode import Rejection, decode_sound
from data_pipelines.features.log_mel import LogMel, audio_columns, compute_log_mel, feature_columns

IDENTITY = 'tensors'  # what the SHA-256 of an encoder is computed from

FORMAT_VERSION = 1  # increase it whenever the same encoder would give other numbers

# 'pooled': mean and standard deviation over an utterance's frames, stored as one frame.
# 'all': every frame.
STATE_KINDS = ('pooled', 'all')

# Stored instead of states: the encoder's input, for training that fine-tunes it.
# The value is part of file names and of the option --states.
INPUT_KIND = 'heard'

MODEL_TYPES = ('wav2vec2', 'hubert', 'wavlm', 'whisper')

STATES_NAME_PATTERN = re.compile(
    rf'({"|".join(MODEL_TYPES)})-(\d+)x(\d+)-({"|".join(STATE_KINDS)})-([0-9a-f]{{8}})'
)

INPUT_NAME_PATTERN = re.compile(rf'(wave|whisper)-(\d+)-{INPUT_KIND}-([0-9a-f]{{8}})')

HOP_SAMPLES = 160  # samples of a 10 ms frame at 16 kHz

MAX_FLOAT16 = float(np.finfo(np.float16).max)

# Every encoder takes audio at this rate. This log-mel also gives the signatures of the audit.
AUDIO_SPEC = LogMel()


def _short_digest(*values) -> str:
    """Returns eight hexadecimal digits that change with any of the values."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:8]


@dataclasses.dataclass(frozen=True)
class EncoderStates:
    """Hidden states of a frozen encoder, stored as features.

    The fields are the keys of `upstream` in prepared.json. The first five are the name.
    """

    model: str  # model_type in the encoder's config.json
    layers: int  # number of states: the input of the first layer, and the output of each layer
    width: int  # size of a state
    kept: str  # one of STATE_KINDS
    digest: str  # changes with the weights, with the settings that matter and with the format
    # SHA-256 of the tensors; empty where the encoder has not been read.
    sha256: str = dataclasses.field(default='', compare=False)
    # Folder of the encoder; needed only to compute states.
    folder: str = dataclasses.field(default='', compare=False)
    # Of an encoder that was named, and not a folder: its name on the Hugging Face Hub, its commit.
    hub_name: str = dataclasses.field(default='', compare=False)
    revision: str = dataclasses.field(default='', compare=False)

    @classmethod
    def from_encoder(cls, encoder, state_kind: str) -> 'EncoderStates':
        """Returns the states of a `jaxser.pretrained.encoder.PretrainedEncoder`."""
        return cls(
            model=encoder.config['model_type'],
            layers=encoder.state_count,
            width=encoder.width,
            kept=state_kind,
            digest=_short_digest(FORMAT_VERSION, IDENTITY, encoder.sha256, encoder.hashed_settings),
            sha256=encoder.sha256,
        )

    def with_earlier_identity(self, encoder, files_sha256: str) -> 'EncoderStates':
        """Returns the same states under their name in earlier versions.

        These identified an encoder by its files, not by its tensors.
        """
        digest = _short_digest(FORMAT_VERSION, files_sha256, encoder.hashed_settings)
        return dataclasses.replace(self, digest=digest, sha256=files_sha256)

    @classmethod
    def from_name(cls, name: str) -> 'EncoderStates':
        """Returns the states of that name; UserError if it is not a name of states."""
        match = STATES_NAME_PATTERN.fullmatch(name)
        if match is None:
            raise UserError(
                f'{name!r} is not a name of encoder states; '
                'expected one such as whisper-5x384-pooled-0123abcd.'
            )
        model, layers, width, kept, digest = match.groups()
        return cls(model, int(layers), int(width), kept, digest)

    @property
    def name(self) -> str:
        """The name of the data set's folder, such as `whisper-5x384-pooled-0123abcd`."""
        return f'{self.model}-{self.layers}x{self.width}-{self.kept}-{self.digest}'

    @property
    def npz_name(self) -> str:
        """The name of the .npz file."""
        return f'{self.name}.npz'

    @property
    def is_pooled(self) -> bool:
        """Whether an utterance is one frame."""
        return self.kept == 'pooled'

    @property
    def bands(self) -> int:
        """Number of values in a frame: the state of every layer, or if pooled its two moments."""
        moments = 2 if self.is_pooled else 1
        return self.layers * self.width * moments

    def record_fields(self) -> dict:
        """Returns what prepared.json says about the states."""
        fields = dataclasses.asdict(self)
        return {'upstream': {'name': self.name, **fields, 'format': FORMAT_VERSION}}

    def process_utterance(self, utterance: Utterance) -> 'dict | Rejection':
        """Returns an utterance's samples (`wave`) and the columns stored with its states.

        Runs in a worker process. The samples are replaced by states later, where JAX runs.
        """
        try:
            sound = decode_sound(utterance, AUDIO_SPEC)
            mel_TxM = compute_log_mel(sound.wave, AUDIO_SPEC)
        except Rejection as reason:
            return reason
        return {'wave': sound.wave} | audio_columns(sound, mel_TxM, AUDIO_SPEC)


@dataclasses.dataclass(frozen=True)
class EncoderInput:
    """The input of an encoder, stored as features, for training that fine-tunes it.

    A frame is 10 ms: its 160 samples, or Whisper's log-mel. It does not depend on the weights. The
    fields are the keys of `heard` in prepared.json.
    """

    what: str  # 'wave' or 'whisper'
    bands: int  # numbers in a frame

    @classmethod
    def from_encoder(cls, encoder) -> 'EncoderInput':
        """Returns the input of a `jaxser.pretrained.encoder.PretrainedEncoder`."""
        if encoder.input_kind == 'wave':
            return cls('wave', HOP_SAMPLES)
        return cls('whisper', encoder.config['num_mel_bins'])

    @property
    def name(self) -> str:
        """The name of the data set's folder: `wave-160-heard-` and eight digits of the format."""
        digest = _short_digest(FORMAT_VERSION, self.what, self.bands)
        return f'{self.what}-{self.bands}-{INPUT_KIND}-{digest}'

    @property
    def npz_name(self) -> str:
        """The name of the .npz file."""
        return f'{self.name}.npz'

    def record_fields(self) -> dict:
        """Returns what prepared.json says about the input."""
        return {INPUT_KIND: dataclasses.asdict(self)}

    def process_utterance(self, utterance: Utterance) -> 'dict | Rejection':
        """Returns all columns computed from an utterance's audio; runs in a worker process."""
        try:
            sound = decode_sound(utterance, AUDIO_SPEC)
            features = feature_columns(self.compute_frames(sound.wave))
            mel_TxM = compute_log_mel(sound.wave, AUDIO_SPEC)
        except Rejection as reason:
            return reason
        return features | audio_columns(sound, mel_TxM, AUDIO_SPEC)

    def compute_frames(self, wave: np.ndarray) -> np.ndarray:
        """Returns frames_TxM in float16 of samples at 16 kHz, without an incomplete last frame."""
        if self.what == 'whisper':
            return whisper_log_mel(wave, self.bands).astype(np.float16)
        peak = np.abs(wave).max()
        if peak > MAX_FLOAT16:
            raise Rejection(f'samples as large as {peak:g}, where full scale is 1')
        frame_count = len(wave) // HOP_SAMPLES
        frames_TxM = wave[: frame_count * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)
        return frames_TxM.astype(np.float16)


FeatureSpec = LogMel | EncoderStates | EncoderInput


def spec_from_name(name: str) -> EncoderStates | EncoderInput:
    """Returns the encoder features of that name; UserError if there are none."""
    match = INPUT_NAME_PATTERN.fullmatch(name)
    if match is not None:
        encoder_input = EncoderInput(what=match[1], bands=int(match[2]))
        if encoder_input.name == name:
            return encoder_input
    return EncoderStates.from_name(name)


def whisper_log_mel(wave: np.ndarray, bands: int) -> np.ndarray:
    """Returns Whisper's own log-mel, mel_TxM in float32, of samples at 16 kHz.

    A frame is 10 ms. Only the loudest 80 dB are kept; the values are about -1 to 1 (Radford et al.,
    2022, "Robust Speech Recognition via Large-Scale Weak Supervision").
    """
    import librosa

    spectrum_FxT = librosa.stft(wave, n_fft=400, hop_length=160, pad_mode='reflect')
    power_FxT = np.abs(spectrum_FxT[:, :-1]) ** 2
    filter_MxF = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=bands)
    log_MxT = np.log10(np.maximum(filter_MxF @ power_FxT, 1e-10))
    clipped_MxT = np.maximum(log_MxT, log_MxT.max() - 8)
    return ((clipped_MxT + 4) / 4).T.astype(np.float32)

"""The section of the model card on running the model, with code for each way to run it."""

from typing import NamedTuple

from data_pipelines.features import decode, log_mel
from data_pipelines.features.upstream import HOP_SAMPLES, EncoderStates
from jaxser.pretrained.encoder import SAMPLE_RATE, PretrainedEncoder
from jaxser.serving.markdown import render
from jaxser.serving.model import is_fine_tuned

PROGRAM_FILE = 'posterior.stablehlo'
SAVED_MODEL_FOLDER = 'saved_model'


class InputDescription(NamedTuple):
    """The input of the exported program, in words and in code."""

    kind: str
    dtype: str
    extraction_code: str  # makes `variable` from audio
    variable_shape: str
    array_name: str = 'mel_BxTxM'
    lengths_name: str = 'frames_B'
    variable: str = 'mel_TxM'  # one utterance of the array
    length_limits: str = ''


def has_program(metadata: dict, encoder: PretrainedEncoder | None) -> bool:
    """Whether the model can be exported as a program; a fine-tuned model needs its encoder."""
    return encoder is not None or not is_fine_tuned(metadata)


def encoder_states(metadata: dict) -> EncoderStates | None:
    """Returns the states of the model's pretrained encoder, or None for a model on log-mel."""
    if 'upstream' not in metadata:
        return None
    return EncoderStates.from_name(metadata['upstream']['name'])


def training_languages(metadata: dict) -> list[str]:
    """Returns the languages of the corpora on which the model was trained."""
    languages = set()
    for corpus in metadata['data'].values():
        if corpus['trained']:
            languages.update(corpus['languages'])
    return sorted(languages)


def describe_input(metadata: dict, encoder: PretrainedEncoder | None) -> InputDescription:
    """Returns the input of the program; `encoder` is the pretrained encoder if it is included."""
    if encoder and encoder.input_kind == 'wave':
        return _frames_of_samples() if is_fine_tuned(metadata) else _samples()
    if encoder:
        return _whisper_log_mel(encoder, 16 if is_fine_tuned(metadata) else 32)
    states = encoder_states(metadata)
    if states:
        return _states(states)
    return _log_mel(log_mel.LogMel(**metadata['config']['data']['features']))


def _frames_of_samples() -> InputDescription:
    code = f"""\
wave, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})
frames = len(wave) // {HOP_SAMPLES}
mel_TxM = wave[: frames * {HOP_SAMPLES}].reshape(frames, {HOP_SAMPLES}).astype(np.float16)"""
    return InputDescription(
        'samples of 16 kHz, a frame every 10 ms',
        'float16',
        code,
        f'(frames, {HOP_SAMPLES})',
        length_limits=f', from {decode.MIN_SECONDS:g} s up',
    )


def _samples() -> InputDescription:
    return InputDescription(
        'samples of 16 kHz',
        'float32',
        f"wave_L, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})",
        '(samples,)',
        array_name='wave_BxL',
        lengths_name='samples_B',
        variable='wave_L',
        length_limits=f', from {decode.MIN_SECONDS:g} s up',
    )


def _whisper_log_mel(encoder: PretrainedEncoder, bits: int) -> InputDescription:
    bands = encoder.config['num_mel_bins']
    code = f"""\
wave, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})
spectrum_FxT = librosa.stft(wave, n_fft=400, hop_length=160, pad_mode='reflect')[:, :-1]
power_FxT = np.abs(spectrum_FxT) ** 2
power_MxT = librosa.filters.mel(sr={SAMPLE_RATE}, n_fft=400, n_mels={bands}) @ power_FxT
log_MxT = np.log10(np.maximum(power_MxT, 1e-10))
mel_TxM = ((np.maximum(log_MxT, log_MxT.max() - 8) + 4) / 4).T.astype(np.float{bits})"""
    max_frames = f'{100 * encoder.max_seconds:.0f} frames'
    return InputDescription(
        "Whisper's log-mel",
        f'float{bits}',
        code,
        f'(frames, {bands})',
        length_limits=f', up to {max_frames} ({encoder.max_seconds:g} s)',
    )


def _states(states: EncoderStates) -> InputDescription:
    code = f"""\
wave, _ = librosa.load('speech.wav', sr={SAMPLE_RATE})
extractor = StateExtractor(read_encoder('FOLDER'), pooled={states.is_pooled})
(mel_TxM,) = extractor([wave])"""
    return InputDescription("the encoder's states", 'float16', code, f'(frames, {states.bands})')


def _log_mel(spec: log_mel.LogMel) -> InputDescription:
    lengths = (
        f'n_fft={spec.fft_length}, win_length={spec.window_length}, hop_length={spec.hop_length}'
    )
    bands = f'n_mels={spec.bands}, fmin={spec.low}, fmax={spec.high}'
    code = f"""\
wave, _ = librosa.load('speech.wav', sr={spec.rate})
power_MxT = librosa.feature.melspectrogram(
    y=wave, sr={spec.rate}, {lengths}, {bands}
)
mel_TxM = np.log(np.maximum(power_MxT.T, {spec.floor})).astype(np.float16)"""
    return InputDescription('log-mel features', 'float16', code, f'(frames, {spec.bands})')


def features_file(description: InputDescription) -> str:
    """Returns the name of the file in which the code saves the input of the program."""
    return f'{description.variable.partition("_")[0]}.npy'


def usage_section(
    metadata: dict,
    saved_model: bool,
    encoder: PretrainedEncoder | None = None,
    offset_shape: tuple[int, int] | None = None,
) -> str:
    """Returns the ways to run the model, each with complete code.

    `offset_shape` is that of the program's third input, if speakers can be enrolled.
    """
    description = describe_input(metadata, encoder)
    return render(
        'usage',
        needs_folder=encoder_states(metadata) is not None and not encoder,
        has_program=has_program(metadata, encoder),
        saved_model=saved_model,
        input=description,
        file=features_file(description),
        offset=f'np.zeros({offset_shape}, np.float32)' if offset_shape else '',
        classes=list(metadata['classes']),
        program_file=PROGRAM_FILE,
        saved_model_folder=SAVED_MODEL_FOLDER,
    )

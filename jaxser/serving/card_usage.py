"""The section of the model card on running the model, with code for each way to run it."""

from typing import NamedTuple

from data_pipelines.features import decode, log_mel
from data_pipelines.features.upstream import HOP_SAMPLES, EncoderStates
from jaxser.pretrained.encoder import SAMPLE_RATE, PretrainedEncoder
from jaxser.serving.markdown import escape_code, render
from jaxser.serving.model import is_fine_tuned
from jaxser.serving.output_names import POSTERIOR, RATINGS, OutputNames

PROGRAM_FILE = 'posterior.stablehlo'  # of a model of classes, which returns the posterior alone
NAMED_PROGRAM_FILE = 'outputs.stablehlo'  # of a model of ratings, which returns them by name
SAVED_MODEL_FOLDER = 'saved_model'
READ_SPEECH = "*soundfile.read('speech.wav', dtype='float32')"


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


def program_file(metadata: dict) -> str:
    """Returns the name of the file of the exported program."""
    has_ratings = bool(OutputNames.from_metadata(metadata).ratings)
    return NAMED_PROGRAM_FILE if has_ratings else PROGRAM_FILE


def call_code(names: OutputNames, call: str) -> str:
    """Returns the code that prints what a program returns for one utterance; `call` calls it."""
    if not names.ratings:
        return f'(posterior_C,) = {call}\n{_print_code("posterior_C", names.classes)}'
    return f'outputs = {call}\n{print_outputs_code(names)}'


def print_outputs_code(names: OutputNames, method: str = '') -> str:
    """Returns the code that prints the arrays `outputs` of one utterance, by name.

    `method` is called on each of them, such as '.numpy()'.
    """
    arrays = []
    if names.classes:
        arrays.append(('posterior_C', POSTERIOR, names.classes))
    if names.ratings:
        arrays.append(('rating_A', RATINGS, names.ratings))
    lines = []
    for variable, name, labels in arrays:
        lines += [f"({variable},) = outputs['{name}']{method}", _print_code(variable, labels)]
    return '\n'.join(lines)


def _print_code(variable: str, labels: tuple[str, ...]) -> str:
    return f'print(dict(zip({escape_code(list(labels))}, {variable}.tolist())))'


def describe_outputs(names: OutputNames) -> str:
    """Returns the arrays that a program returns by name, in words; '' for a posterior alone."""
    if not names.ratings:
        return ''
    arrays = [f'{RATINGS} (from -1 to 1)']
    if names.classes:
        arrays.insert(0, f'{POSTERIOR} (probabilities)')
    return ' and '.join(arrays)


def predict_code(names: OutputNames, call: str) -> str:
    """Returns the code that prints what `Predictor.predict` returns; `call` calls it."""
    if not names.ratings:
        return f"print({call}['posterior'])"
    lines = [f'prediction = {call}']
    if names.classes:
        lines.append("print(prediction['posterior'])")
    lines.append('print({name: prediction[name] for name in model.ratings})')
    return '\n'.join(lines)


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


def program_arguments(description: InputDescription, offset: str) -> str:
    """Returns the arguments of a program in code; `offset` is that of the speaker, '' if none."""
    variable = description.variable
    arguments = f'{variable}[None], np.array([len({variable})], np.int32)'
    return f'{arguments}, {offset}' if offset else arguments


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
    names = OutputNames.from_metadata(metadata)
    offset = f'np.zeros({offset_shape}, np.float32)' if offset_shape else ''
    arguments = program_arguments(description, offset)
    return render(
        'usage',
        needs_folder=encoder_states(metadata) is not None and not encoder,
        has_program=has_program(metadata, encoder),
        saved_model=saved_model,
        input=description,
        file=features_file(description),
        offset=offset,
        predict_code=predict_code(names, f'model.predict({READ_SPEECH})'),
        call_code=call_code(names, f'program.call({arguments})'),
        print_code=print_outputs_code(names, '.numpy()'),
        returned=describe_outputs(names),
        program_file=program_file(metadata),
        saved_model_folder=SAVED_MODEL_FOLDER,
    )

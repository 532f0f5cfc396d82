"""Checks config.json of a pretrained encoder, and reads how its input is prepared.

transformers saves the settings of the input as preprocessor_config.json, or, since version 5, as
a part of processor_config.json. Its own programs prefer the latter.
"""

from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.errors import UserError
from jaxser.pretrained import whisper
from jaxser.pretrained.checkpoint import (
    CONFIG_FILE,
    DAMAGED_ADVICE,
    PREPROCESSOR_FILE,
    PROCESSOR_FILE,
    read_json,
)
from jaxser.schemas import Number, find_violation

SAMPLE_RATE = 16_000  # Hz, of the sound that every encoder takes

# Keys of config.json: the width is divided among the heads.
WIDTHS_AND_HEADS = (
    ('hidden_size', 'num_attention_heads'),
    ('d_model', 'encoder_attention_heads'),
)
NESTED_KEYS = ('feature_extractor', 'audio_processor')  # in processor_config.json

SETTING_KEYS = ('do_normalize', 'sampling_rate')
SETTING_SCHEMA = {'do_normalize?': bool, 'sampling_rate?': Number(low=0)}

# Settings of Whisper's log-mel of which one value is supported.
WHISPER_VALUES = {'hop_length': 160, 'n_fft': 400, 'do_normalize': False, 'dither': 0}

ADVICE = f'Copy {PREPROCESSOR_FILE} of the original model into the folder.'


class InputSettings(NamedTuple):
    """How the input of an encoder is prepared."""

    normalises: bool  # whether each wave is normalised by its own mean and standard deviation
    guesses: tuple[str, ...]  # sentences about what the folder does not say, or says twice


def check_sizes(config: dict[str, Any], schema: dict, folder: Path) -> None:
    """Raises UserError unless the sizes of config.json have the types and ranges of `schema`."""
    sizes = {}
    for key in schema:
        value = config[key]
        sizes[key] = list(value) if isinstance(value, tuple) else value
    violation = find_violation(sizes, schema)
    if violation:
        raise UserError(
            f'{folder / CONFIG_FILE} does not describe an encoder: {violation}. {DAMAGED_ADVICE}'
        )
    for width, heads in WIDTHS_AND_HEADS:
        if width in sizes and heads in sizes and sizes[width] % sizes[heads]:
            raise UserError(
                f'{folder / CONFIG_FILE} does not describe an encoder: {width} is {sizes[width]}, '
                f'which is no multiple of {heads}, {sizes[heads]}. {DAMAGED_ADVICE}'
            )


def read_input_settings(folder: Path, config: dict[str, Any]) -> InputSettings:
    """Returns how the input is prepared, with what had to be guessed.

    Raises UserError if a file is damaged, or if it describes an input that is not supported.
    """
    plain = _read_settings(folder / PREPROCESSOR_FILE)
    nested = _read_settings(folder / PROCESSOR_FILE)
    settings = plain | nested
    sample_rate = settings.get('sampling_rate', SAMPLE_RATE)
    if sample_rate != SAMPLE_RATE:
        file = PROCESSOR_FILE if 'sampling_rate' in nested else PREPROCESSOR_FILE
        raise UserError(
            f'{folder / file} has a sampling_rate of {sample_rate} Hz; expected {SAMPLE_RATE}.'
        )
    if config['model_type'] in whisper.MODEL_TYPES:
        _check_whisper_settings(folder, settings, config)
        return InputSettings(False, ())
    guesses = []
    contradicted = [k for k in SETTING_KEYS if k in plain and k in nested and plain[k] != nested[k]]
    if contradicted:
        key = contradicted[0]
        guesses.append(
            f'{folder}: {key} is {plain[key]} in {PREPROCESSOR_FILE} and {nested[key]} in '
            f'{PROCESSOR_FILE}. The latter is used, as transformers does; remove the wrong file.'
        )
    missing = [key for key in SETTING_KEYS if key not in settings]
    if missing:
        guesses.append(_describe_guess(folder, missing))
    return InputSettings(settings.get('do_normalize', True), tuple(guesses))


def _read_settings(path: Path) -> dict[str, Any]:
    """Returns the settings of the input in a file or in a part of it, without null ones."""
    if not path.exists() and not path.is_symlink():
        return {}
    settings = read_json(path, '')
    parts = [settings[key] for key in NESTED_KEYS if settings.get(key) is not None]
    settings = parts[0] if parts else settings
    violation = find_violation(settings, SETTING_SCHEMA)
    if violation:
        raise UserError(f'{path} is damaged: {violation}. {DAMAGED_ADVICE}')
    return {key: value for key, value in settings.items() if value is not None}


def _check_whisper_settings(folder: Path, settings: dict, config: dict) -> None:
    """Raises UserError for settings of a log-mel that is not the one that is computed."""
    supported = WHISPER_VALUES | {'feature_size': config['num_mel_bins']}
    for key, value in supported.items():
        if settings.get(key, value) != value:
            raise UserError(
                f"{folder}: the settings of Whisper's log-mel have {key} {settings[key]!r}; only "
                f'{value!r} is supported.'
            )


def _describe_guess(folder: Path, missing: list[str]) -> str:
    """Returns the sentences about settings that the folder lacks."""
    assumed = {
        'do_normalize': 'each wave is normalised by its own mean and standard deviation',
        'sampling_rate': f'it is taken at {SAMPLE_RATE} Hz',
    }
    guesses = ' and '.join(assumed[key] for key in missing)
    return (
        f"{folder} does not say how the encoder's input is prepared (no {' and no '.join(missing)} "
        f'in {PREPROCESSOR_FILE} or {PROCESSOR_FILE}). This is a guess: {guesses}. {ADVICE}'
    )

"""TODO: jaxser.serving.model."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import safetensors.numpy
from etils import epath
from flax import traverse_util

from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.features.upstream import FORMAT_VERSION, EncoderStates
from jaxser.pretrained.checkpoint import CONFIG_FILE, PREPROCESSOR_FILE
from jaxser.pretrained.encoder import PretrainedEncoder, cached_encoder

MODEL_FILES = ('model.json', 'model.safetensors')

ENCODER_FOLDER = 'upstream'  # the folder of an encoder beside them

MODEL_FORMAT = 1  # raise it whenever what is written means something else

REQUIRED_KEYS = (
    'config',
    'classes',
    'sizes',
    'normalisation',
    'calibration',
    'synthetic',
    'versions',
)  # by prediction


class Model(NamedTuple):
    """What is read back: model.json, and nested arrays."""

    metadata: dict
    arrays: dict  # params, batch_stats (unless the network has none), and perhaps mean, scale


def serialize_arrays(arrays: dict) -> bytes:
    """Nested arrays as safetensors, by names such as params/emotion/layers_0/kernel."""
    return safetensors.numpy.save(traverse_util.flatten_dict(arrays, sep='/'))


def deserialize_arrays(weights: bytes) -> dict:
    """What was packed; dictionaries without any array are gone."""
    return traverse_util.unflatten_dict(safetensors.numpy.load(weights), sep='/')


def model_folder(folder):
    """The folder that holds the files of a model: of a workdir, or the folder itself."""
    folder = epath.Path(folder)
    return folder if (folder / 'model.json').exists() else folder / 'model'


def is_fine_tuned(metadata: dict) -> bool:
    """Whether the model changes the weights of its pretrained encoder, and so is nothing without them."""
    return metadata['config']['model']['name'] == 'fine_tuned'


def find_encoder(folder, metadata: dict, encoder_folder=None) -> PretrainedEncoder | None:
    """The pretrained encoder by which the model of `folder` hears; None for a model of log-mel.

    It is in the folder `encoder_folder`, else beside the model, else where it was in preparing, or in training. Refuses none, and another.
    """
    named, place = metadata.get('upstream'), model_folder(folder)
    if not named:
        if encoder_folder:
            raise UserError(
                f'The model of {place} hears log-mel features, and no upstream: leave {encoder_folder} out.'
            )
        return None
    beside, kind = Path(place) / ENCODER_FOLDER, EncoderStates.from_name(named['name']).model
    were = [p for p in (beside, Path(named.get('folder') or beside)) if (p / CONFIG_FILE).exists()]
    if not encoder_folder and not were:
        was = f', nor any longer in {named["folder"]}' * bool(named.get('folder'))
        raise UserError(
            f'The model of {place} hears by a {kind} whose weights have the sha256 {named["sha256"]} ({named["name"]}), and '
            f'that is not in {beside}{was}: name its Hugging Face folder with --upstream FOLDER.'
        )
    found = cached_encoder(encoder_folder or were[0])
    name = EncoderStates.from_encoder(found, EncoderStates.from_name(named['name']).kept).name
    if (name, found.sha256) != (named['name'], named['sha256']):
        other = f'the sha256 {found.sha256}'
        if found.sha256 == named['sha256']:
            other = f'these, but another {CONFIG_FILE} or {PREPROCESSOR_FILE}'
        raise UserError(
            f'The model of {place} hears by {named["name"]}, weights of the sha256 {named["sha256"]}; {found.folder} holds '
            f'{name}, {other}. Name the folder of the first with --upstream FOLDER.'
        )
    return found


def read_model(folder) -> Model:
    """The model of a workdir, or of a folder that holds model.json; refuses what is not there, damaged or of another version."""
    folder, place = epath.Path(folder), model_folder(folder)
    facts_file, weights_file = (place / name for name in MODEL_FILES)
    if not facts_file.exists():
        if (folder / 'config.json').exists():
            raise UserError(
                f'{folder} has no model yet ({facts_file}). Make it: python -m jaxser.bundle --workdir {folder}'
            )
        raise UserError(
            f'{folder} holds no model (no {facts_file}); expected a workdir of jaxser.main, e.g. runs/dann_demo.'
        )
    anew = f'Copy {place} anew; or, beside its sweep, remove it and run python -m jaxser.bundle --workdir WORKDIR'
    try:
        facts = json.loads(facts_file.read_text())
        of, sha256 = facts['format'], facts['sha256']
    except (ValueError, KeyError, TypeError) as e:
        raise UserError(f'{facts_file} is damaged ({type(e).__name__}: {e}). {anew}') from None
    if (of, facts.get('log_mel')) != (MODEL_FORMAT, log_mel.FORMAT_VERSION):
        raise UserError(
            f'{place} is of format {of} with features of format {facts.get("log_mel")}; this jaxser reads {MODEL_FORMAT} and makes '
            f'{log_mel.FORMAT_VERSION}. Use the jaxser that trained it, {(facts.get("versions") or {}).get("jaxser")}, or train anew.'
        )
    named = facts.get('upstream')
    if named and named['format'] != FORMAT_VERSION:
        raise UserError(
            f'{place} hears by states of an upstream of format {named["format"]}; this jaxser makes {FORMAT_VERSION}. Use the '
            f'jaxser that trained it, {(facts.get("versions") or {}).get("jaxser")}, or train anew.'
        )
    over = (facts.get('config') or {}).get('data', {}).get('upstream')
    if lacks := [k for k in (*REQUIRED_KEYS, *['upstream'] * bool(over)) if k not in facts]:
        raise UserError(f'{facts_file} is damaged: it lacks {lacks[0]}. {anew}')
    if not weights_file.exists():
        raise UserError(f'{weights_file} is missing. {anew}')
    weights = weights_file.read_bytes()
    if hashlib.sha256(weights).hexdigest() != sha256:
        raise UserError(
            f'{weights_file} is damaged, or of another model: its checksum is not the one in model.json. {anew}'
        )
    return Model(facts, deserialize_arrays(weights))

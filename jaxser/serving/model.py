"""Reads and writes the files of a model, and finds the pretrained encoder that it needs.

jaxser/bundle.py describes the files.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import NamedTuple

import jax
import jinja2
import safetensors.numpy
from etils import epath
from flax import traverse_util

from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.features.upstream import FORMAT_VERSION, EncoderStates
from jaxser.pretrained.checkpoint import CONFIG_FILE, PREPROCESSOR_FILE
from jaxser.pretrained.encoder import PretrainedEncoder, cached_encoder
from jaxser.pretrained.extractor import recorded_states
from jaxser.pretrained.identity import hash_files
from jaxser.serving import model_checks
from jaxser.workdir_files import memory_bytes, parse_json, read_regular

METADATA_FILE = 'model.json'
WEIGHTS_FILE = 'model.safetensors'
MODEL_FILES = (METADATA_FILE, WEIGHTS_FILE)
ENCODER_FOLDER = 'upstream'  # the folder of a pretrained encoder, in the same folder

MAX_METADATA_BYTES = 64 * 2**20
MODEL_FORMAT = 1  # raise it whenever what is written changes its meaning

# Keys of model.json that prediction reads.
REQUIRED_KEYS = (
    'config',
    'classes',
    'sizes',
    'normalisation',
    'synthetic',
    'versions',
)


class Model(NamedTuple):
    """The contents of a model's files.

    `arrays` is nested: params, batch_stats (unless the network has none) and, under the
    normalisations `global` and `speaker_enrolled`, mean and scale. With `speaker_enrolled` there is
    also prior, the fields of a SpeakerPrior, from which speakers are enrolled. The first axis of
    all arrays is that of the runs.
    """

    metadata: dict  # model.json
    arrays: dict

    @property
    def run_arrays(self) -> dict:
        """The arrays that the posterior depends on; batch_stats are {} if there are none."""
        needed = {name: value for name, value in self.arrays.items() if name != 'prior'}
        return {'batch_stats': {}, **needed}


def serialize_arrays(arrays: dict) -> bytes:
    """Returns nested arrays as safetensors, with names such as params/emotion/layers_0/kernel."""
    return safetensors.numpy.save(traverse_util.flatten_dict(arrays, sep='/'))


def deserialize_arrays(weights: bytes) -> dict:
    """Returns the arrays of `serialize_arrays`, without dictionaries that contained no array."""
    return traverse_util.unflatten_dict(safetensors.numpy.load(weights), sep='/')


def model_folder(folder):
    """Returns the folder with the model's files: `folder` itself, or its subfolder model/."""
    folder = epath.Path(folder)
    return folder if (folder / METADATA_FILE).exists() else folder / 'model'


def is_fine_tuned(metadata: dict) -> bool:
    """Whether the model contains only changes to a pretrained encoder, which it then needs."""
    return metadata['config']['model']['name'] == 'fine_tuned'


def read_model(folder) -> Model:
    """Returns the model of a workdir, or of a folder that contains model.json.

    UserError if there is no model, if it is damaged, or if another version of jaxser wrote it.
    """
    path = model_folder(folder)
    if not (path / METADATA_FILE).exists():
        raise _missing_model(epath.Path(folder), path / METADATA_FILE)
    metadata = _read_metadata(path)
    _check_versions(path, metadata)
    _check_keys(path, metadata)
    with _refuse_damage(path, METADATA_FILE):
        model_checks.check_checksum(metadata)
        model_checks.check_facts(metadata)
    weights = _read_weights(path, metadata['sha256'])
    with _refuse_damage(path, WEIGHTS_FILE):
        try:
            arrays = deserialize_arrays(weights)
        except Exception as error:  # anybody may have written the file
            reason = f'{type(error).__name__}: {error}'
            raise model_checks.Damage(f'its arrays cannot be read ({reason})') from error
        model_checks.check_numbers(metadata, arrays)
    if metadata['normalisation'] == 'speaker_enrolled' and 'prior' not in arrays:
        raise UserError(
            f'{path / WEIGHTS_FILE} lacks prior, by which speakers are enrolled. '
            f'{_repair_advice(path)}'
        )
    return Model(metadata, arrays)


def check_network(folder, model: Model, encoder: PretrainedEncoder | None = None) -> None:
    """Raises UserError unless the arrays of the model are those of the network of its facts.

    `encoder` is the pretrained encoder of the model. Without it, the arrays of a model that
    fine-tunes it are compared with those that the facts list.
    """
    path = model_folder(folder)
    if is_fine_tuned(model.metadata) and not encoder:
        with _refuse_damage(path, WEIGHTS_FILE):
            model_checks.check_recorded_arrays(model.metadata, model.arrays)
        return
    runs = len(jax.tree.leaves(model.arrays)[0])
    with _refuse_damage(path, METADATA_FILE):
        expected = model_checks.expected_arrays(model.metadata, runs, encoder)
    with _refuse_damage(path, WEIGHTS_FILE):
        model_checks.check_arrays(model.metadata, model.arrays, expected)


@contextlib.contextmanager
def refuse_damaged_facts(folder):
    """Turns an error in the use of model.json into a UserError that names the file."""
    try:
        yield
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        jinja2.TemplateError,
    ) as error:
        path = model_folder(folder)
        reason = f'its facts cannot be used ({type(error).__name__}: {error})'
        advice = _repair_advice(path)
        raise UserError(f'{path / METADATA_FILE} is damaged: {reason}. {advice}') from error


@contextlib.contextmanager
def _refuse_damage(path, name: str):
    """Turns Damage into a UserError that names the file `name` of the folder `path`."""
    try:
        yield
    except model_checks.Damage as damage:
        raise UserError(f'{path / name} is damaged: {damage}. {_repair_advice(path)}') from None


def _missing_model(folder, metadata_file) -> UserError:
    if (folder / 'config.json').exists():
        return UserError(
            f'{folder} has no model yet (no {metadata_file}). Make it: '
            f'python -m jaxser.bundle --workdir {folder}'
        )
    return UserError(
        f'{folder} contains no model (no {metadata_file}); expected a workdir of jaxser.main, '
        'e.g. runs/dann_demo.'
    )


def _repair_advice(path) -> str:
    return (
        f'Copy {path} again; or, in the workdir of its sweep, remove it and run '
        'python -m jaxser.bundle --workdir WORKDIR.'
    )


def _read_metadata(path) -> dict:
    file = path / METADATA_FILE
    advice = _repair_advice(path)
    content = read_regular(file, advice, MAX_METADATA_BYTES).decode(errors='replace')
    schema = {'format': int, 'sha256': str, 'versions?': dict, 'upstream?': {'format': int}}
    schema['config?'] = {'data': dict}
    return parse_json(file, content, schema, advice)


def _check_versions(path, metadata: dict) -> None:
    """Raises UserError if the format, log-mel features or encoder states are of another version."""
    version = (metadata.get('versions') or {}).get('jaxser')
    advice = f'Use jaxser {version}, which trained it, or train again.'
    model_format, features_format = metadata['format'], metadata.get('log_mel')
    if (model_format, features_format) != (MODEL_FORMAT, log_mel.FORMAT_VERSION):
        raise UserError(
            f'{path} is a model of format {model_format} on features of format {features_format}; '
            f'this version of jaxser reads format {MODEL_FORMAT} and computes features of format '
            f'{log_mel.FORMAT_VERSION}. {advice}'
        )
    encoder = metadata.get('upstream')
    if encoder and encoder['format'] != FORMAT_VERSION:
        raise UserError(
            f'{path} is a model on encoder states of format {encoder["format"]}; this version of '
            f'jaxser computes format {FORMAT_VERSION}. {advice}'
        )


def _check_keys(path, metadata: dict) -> None:
    required = list(REQUIRED_KEYS)
    if (metadata.get('config') or {}).get('data', {}).get('upstream'):
        required.append('upstream')
    for key in required:
        if key not in metadata:
            file = path / METADATA_FILE
            raise UserError(f'{file} is damaged: it lacks {key}. {_repair_advice(path)}')


def _read_weights(path, expected_sha256: str) -> bytes:
    file = path / WEIGHTS_FILE
    if not file.exists():
        raise UserError(f'{file} is missing. {_repair_advice(path)}')
    weights = read_regular(file, _repair_advice(path), max_bytes=memory_bytes())
    if hashlib.sha256(weights).hexdigest() != expected_sha256:
        raise UserError(
            f'{file} is damaged or belongs to another model: its checksum is not the one in '
            f'{METADATA_FILE}. {_repair_advice(path)}'
        )
    return weights


def find_encoder(folder, metadata: dict, encoder_folder=None) -> PretrainedEncoder | None:
    """Returns the pretrained encoder of the model in `folder`; None for a model on log-mel.

    It is looked for in `encoder_folder`, if that is given; otherwise in the model's folder, and
    then where it was during preparation or training. UserError if it is not found, or if it is not
    the encoder of the model.
    """
    path = model_folder(folder)
    record = metadata.get('upstream')
    if not record:
        if encoder_folder:
            raise UserError(
                f'The model of {path} takes log-mel features and no pretrained encoder: '
                f'leave out {encoder_folder}.'
            )
        return None
    if not encoder_folder:
        encoder_folder = _recorded_folder(path, record)
    encoder = cached_encoder(encoder_folder)
    _check_is_recorded(path, record, encoder)
    return encoder


def _recorded_folder(path, record: dict) -> Path:
    """Returns the folder of the encoder: in the model's folder, or where it was in training."""
    folders = [Path(path) / ENCODER_FOLDER]
    if record.get('folder'):
        folders.append(Path(record['folder']))
    for folder in folders:
        if (folder / CONFIG_FILE).exists():
            return folder
    searched = ' nor in '.join(map(str, folders))
    model_type = EncoderStates.from_name(record['name']).model
    raise UserError(
        f'The model of {path} needs a pretrained {model_type} whose weights have the sha256 '
        f'{record["sha256"]} ({record["name"]}). It is not in {searched}: name its Hugging Face '
        'folder with --upstream FOLDER.'
    )


def _check_is_recorded(path, record: dict, encoder: PretrainedEncoder) -> None:
    """Raises UserError for an encoder whose weights or configuration are not the recorded ones."""
    if recorded_states(encoder, record, path):
        return
    state_kind = EncoderStates.from_name(record['name']).kept
    name = EncoderStates.from_encoder(encoder, state_kind).name
    difference = f'weights with the sha256 {encoder.sha256}'
    if record['sha256'] in (encoder.sha256, hash_files(encoder.folder)):
        difference = f'the same weights, but another {CONFIG_FILE} or {PREPROCESSOR_FILE}'
    raise UserError(
        f'The model of {path} needs {record["name"]}, weights with the sha256 {record["sha256"]}; '
        f'{encoder.folder} contains {name}, {difference}. Name the right folder with '
        '--upstream FOLDER.'
    )

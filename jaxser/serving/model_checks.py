"""Checks of a model's files, which anybody may have written: model.json, and the arrays.

Nothing of a model is used before its facts have the right types and ranges, and its arrays are
exactly those of the network that the facts describe.
"""

import hashlib
import json

import jax
import numpy as np
from flax import traverse_util

from data_pipelines import labels
from data_pipelines.batching.table import NORMALISATIONS
from data_pipelines.errors import UserError
from data_pipelines.features.speaker_offset import SpeakerPrior
from data_pipelines.storage import dataset
from jaxser import plugins
from jaxser.analysis.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE
from jaxser.configuration.serialization import config_from_dict
from jaxser.interfaces import Sizes
from jaxser.nn.encoder import LARGEST_SIZE
from jaxser.pretrained.checkpoint import printable
from jaxser.schemas import Number, find_violation
from jaxser.serving.ensemble import required_arrays
from jaxser.training import step

CHECKSUM_KEY = 'facts_sha256'
MAX_CLASSES = 1000
MAX_RATINGS = 100
MAX_WHOLE_NUMBER = 2**63  # seeds may be large
MAX_LAYERS = 64  # in a list of layers
MAX_BANDS = 65_536  # of encoder states; log-mel has far fewer
MIN_HOP_SECONDS = 1e-3  # of log-mel: a smaller one makes a recording too long

COUNT = Number(low=0, high=1e12, is_whole=True)
SCHEMA = {
    'format': int,
    'sha256': str,
    'log_mel': int,
    'task?': str,  # 'emotion' in models of earlier versions, which lack it
    'ratings?': [str],
    'config': {
        'method': str,
        'task?': str,
        'data': {
            'normalise?': str,
            'upstream?': str,
            'features?': dict,
            'corpora?': [str],
            'only?': str,
            'ratings?': [str],
        },
        'model': {'name': str, 'batch_norm?': str, 'upstream?': str},
        'train': dict,
        'protocol?': {'name': str, 'adapt?': str},
    },
    'classes': [str],
    'sizes': {
        'bands': Number(low=1, high=MAX_BANDS, is_whole=True),
        'emotions': Number(low=1, high=MAX_CLASSES, is_whole=True),
        'domains': {str: Number(low=0, high=1e6, is_whole=True)},
        'ratings?': Number(low=0, high=MAX_RATINGS, is_whole=True),
        'votes?': COUNT,
        'steps': COUNT,
    },
    'normalisation': str,
    # The bounds of its fit, and a little more.
    'calibration?': {'temperature': Number(low=MIN_TEMPERATURE / 2, high=2 * MAX_TEMPERATURE)},
    'synthetic': bool,
    'versions': {str: (str, type(None))},
    'upstream?': {'name': str, 'format': int, 'sha256': str, 'folder?': str},
    'arrays?': {str: [(str, int)]},  # `describe_arrays`
    'chosen_by?': str,  # 'user' if it is not the setting with the best dev UAR
    'runs?': [{'seed?': COUNT, 'fold?': COUNT}],
    'row?': {
        'seeds?': COUNT,
        'tested_speakers?': COUNT,
        'dev_uar?': (int, float),
        'uar?': (int, float),
        'uar_ci95?': [(int, float)],
        'uar_folds?': (int, float),
        'wa?': (int, float),
        'f1?': (int, float),
        'dev_ccc?': (int, float),
        'ccc?': (int, float),
        'ccc_ci95?': [(int, float)],
        'ccc_folds?': (int, float),
        'pearson?': (int, float),
        'rmse?': (int, float),
        'ratings?': {str: dict},
    },
    'protocol?': str,
    'protocol_folds?': COUNT,
    'training_speakers?': {'trained': COUNT, 'all': COUNT},
    'corpora?': [str],
    'labels?': str,
    'split_sha256?': str,
    'speakers?': {str: {str: str}},
    'enrolment?': [
        {
            'enrol_from': str,
            'enrol': (int, str),
            'utterances?': (int, float),
            'uar?': (int, float),
            'uar_ci95?': [(int, float)],
            'ccc?': (int, float),
            'ccc_ci95?': [(int, float)],
            'delta_uar?': (int, float),
            'delta_ccc?': (int, float),
            'delta_ci95?': [(int, float)],
        }
    ],
    'data?': {
        str: {
            'utterances': COUNT,
            'trained': COUNT,
            'speakers': COUNT,
            'languages': [str],
            'sexes': [str],
            'styles': [str],
        }
    },
}


class Damage(Exception):
    """What is wrong with a model's file, as a clause."""


def with_checksum(metadata: dict) -> dict:
    """Returns the facts of model.json with their SHA-256, which covers that of the weights."""
    facts = {key: value for key, value in metadata.items() if key != CHECKSUM_KEY}
    return facts | {CHECKSUM_KEY: _hash_facts(facts)}


def _hash_facts(facts: dict) -> str:
    facts = json.loads(json.dumps(facts))  # as they are read: tuples are lists
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check_checksum(metadata: dict) -> None:
    """Raises Damage if the facts are not those of their SHA-256; earlier models have none."""
    if CHECKSUM_KEY in metadata and with_checksum(metadata) != metadata:
        raise Damage(f'its {CHECKSUM_KEY} is not that of its other keys')


def check_facts(metadata: dict) -> None:
    """Raises Damage unless types and ranges are right, and the facts agree with each other."""
    violation = find_violation(metadata, SCHEMA)
    if violation:
        raise Damage(violation)
    _check_whole_numbers(metadata, '')
    _check_outputs(metadata)
    if metadata['normalisation'] not in NORMALISATIONS:
        raise Damage(f'normalisation is {metadata["normalisation"]!r}')
    if metadata['config']['model']['name'] == 'fine_tuned' and 'upstream' not in metadata:
        raise Damage('it lacks upstream, the record of the pretrained encoder that was fine-tuned')
    _check_sizes(metadata['config']['model'], 'config.model')
    _check_features(metadata)


def _check_outputs(metadata: dict) -> None:
    """Raises Damage unless the classes and ratings are those of the task and of the network."""
    classes, sizes = metadata['classes'], metadata['sizes']
    ratings = metadata.get('ratings') or []
    task = metadata.get('task', 'emotion')
    config_task = metadata['config'].get('task', 'emotion')
    if task not in labels.TASKS or task != config_task:
        raise Damage(f'its task is {task!r}, and config.task is {config_task!r}')
    for names in (classes, ratings):
        if len(set(names)) < len(names):
            raise Damage(f'a name is repeated in {names}')
    if labels.has_classes(task):
        if len(classes) != sizes['emotions']:
            raise Damage(
                f'it has {len(classes)} classes, and sizes.emotions is {sizes["emotions"]}'
            )
        if 'calibration' not in metadata:
            raise Damage('it lacks calibration')
    elif classes:
        raise Damage(f'its task is ratings, and it has the classes {classes}')
    expected = metadata['config']['data'].get('ratings') if labels.has_ratings(task) else []
    count = sizes.get('ratings') or 0
    if ratings != expected or len(ratings) != count:
        raise Damage(
            f'its ratings are {ratings}; expected {expected} by its task, and {count} of them by '
            'sizes.ratings'
        )


def _check_whole_numbers(value, name: str) -> None:
    """Raises Damage for a whole number that cannot be a float."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_whole_numbers(part, f'{name}.{key}')
    elif isinstance(value, list):
        for n, part in enumerate(value):
            _check_whole_numbers(part, f'{name}[{n}]')
    elif isinstance(value, int) and abs(value) > MAX_WHOLE_NUMBER:
        raise Damage(f'{name.removeprefix(".")} has {len(str(value))} digits')


def _check_sizes(value, name: str) -> None:
    """Raises Damage for numbers and lists that no network has: they would take all memory."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_sizes(part, f'{name}.{key}')
    elif isinstance(value, list):
        if len(value) > MAX_LAYERS:
            raise Damage(f'{name} has {len(value)} entries')
        for n, part in enumerate(value):
            _check_sizes(part, f'{name}[{n}]')
    elif isinstance(value, (int, float)) and not 0 <= value <= LARGEST_SIZE:
        raise Damage(f'{name} is {value}')


def _check_features(metadata: dict) -> None:
    features = metadata['config']['data'].get('features')
    if metadata['config']['data'].get('upstream') or not features:
        return
    schema = {
        'bands': Number(low=1, high=MAX_BANDS, is_whole=True),
        'rate': Number(low=1, high=1e6, is_whole=True),
        'hop': Number(low=MIN_HOP_SECONDS, high=1),
        'window': Number(above=0, high=1),
        'low': Number(low=0),
        'high': Number(above=0),
        'floor': Number(above=0),
    }
    violation = find_violation(features, schema, 'config.data.features')
    if violation:
        raise Damage(violation)
    if features['bands'] != metadata['sizes']['bands']:
        raise Damage(
            f'config.data.features.bands is {features["bands"]}, and sizes.bands is '
            f'{metadata["sizes"]["bands"]}'
        )


def check_numbers(metadata: dict, arrays: dict) -> None:
    """Raises Damage if an array is not of numbers, not finite, or not of as many runs."""
    flat = traverse_util.flatten_dict(arrays, sep='/')
    if not flat:
        raise Damage('it has no arrays')
    runs = {array.shape[0] if array.ndim else 0 for array in flat.values()}
    if len(runs) > 1 or 0 in runs:
        raise Damage(f'its arrays are of {" and ".join(map(str, sorted(runs)))} runs')
    count = runs.pop()
    recorded = metadata.get('runs')
    if recorded is not None and len(recorded) != count:
        raise Damage(f'its arrays are of {count} runs; the model has {len(recorded)}')
    for name, array in flat.items():
        is_number = array.dtype.kind in 'fiub' or array.dtype.name == 'bfloat16'
        if not is_number or not np.isfinite(array).all():
            raise Damage(f'{printable(name)} has values that are not finite numbers')


def expected_arrays(metadata: dict, runs: int, pretrained=None) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and types by name of the arrays of the network that the facts describe.

    Their first axis is that of the runs. The prior of speakers is not among them. `pretrained` is
    the encoder that the model fine-tunes. Raises Damage if there is no such network.
    """
    try:
        return _expected_arrays(metadata, runs, pretrained)
    except Exception as error:  # the facts are of anybody's making
        name = '' if isinstance(error, UserError) else f'{type(error).__name__}: '
        reason = ' '.join(str(error).split())[:300].removesuffix('.')
        raise Damage(f'there is no such network: {name}{reason}') from error


def describe_arrays(arrays: dict) -> dict[str, list]:
    """Returns the type and the shape of every array by name, as JSON: ['float32', 2, 64]."""
    flat = traverse_util.flatten_dict(arrays, sep='/')
    return {name: [array.dtype.name, *array.shape] for name, array in flat.items()}


def check_recorded_arrays(metadata: dict, arrays: dict) -> None:
    """Raises Damage unless the arrays are those that the model had when it was made.

    For a model that fine-tunes an encoder, without which its network is not known. Models of
    earlier versions have no such record.
    """
    recorded = metadata.get('arrays')
    described = describe_arrays(arrays)
    if recorded is None or recorded == described:
        return
    names = sorted(recorded.keys() | described.keys())
    name = next(name for name in names if recorded.get(name) != described.get(name))
    raise Damage(
        f'{printable(name)} is {described.get(name, "missing")}; the model that was made has '
        f'{recorded.get(name, "no such array")}'
    )


def check_arrays(metadata: dict, arrays: dict, expected: dict[str, jax.ShapeDtypeStruct]) -> None:
    """Raises Damage unless the arrays are exactly the expected ones, and a prior that is needed."""
    flat = traverse_util.flatten_dict(arrays, sep='/')
    if metadata['normalisation'] == 'speaker_enrolled':
        expected = expected | _expected_prior(flat, metadata)
    missing, unknown = sorted(expected.keys() - flat), sorted(flat.keys() - expected)
    if missing:
        raise Damage(f'it lacks {missing[0]} ({len(missing)} of {len(expected)} arrays)')
    if unknown:
        raise Damage(f'the network has no {printable(unknown[0])} ({len(unknown)} unknown arrays)')
    for name, shape in expected.items():
        array = flat[name]
        if array.shape != shape.shape or array.dtype != shape.dtype:
            raise Damage(
                f'{name} is {array.dtype} of shape {array.shape}; the network has {shape.dtype} '
                f'of shape {shape.shape}'
            )


def _expected_arrays(metadata: dict, runs: int, pretrained) -> dict[str, jax.ShapeDtypeStruct]:
    config = config_from_dict(metadata['config'])
    if pretrained and config.model.name == 'fine_tuned':
        config.model.upstream = str(pretrained.folder)
    dataset.feature_spec(config.data)
    sizes = Sizes(**metadata['sizes'])
    encoder, method = plugins.make_method(config, sizes)
    run_step = step.make_step(encoder, method, sizes, config.train)
    zero = np.zeros(runs)
    hyper = {'seed': zero.astype(int), 'fold': zero.astype(int), 'lr': zero, 'weight_decay': zero}
    state = jax.eval_shape(jax.vmap(run_step.init), hyper)
    arrays = {'params': state.params, 'batch_stats': state.batch_stats}
    if metadata['normalisation'] in ('global', 'speaker_enrolled'):
        statistics = jax.ShapeDtypeStruct((runs, sizes.bands), np.float32)
        arrays |= {'mean': statistics, 'scale': statistics}
    required = required_arrays(run_step.predict, arrays, sizes.bands, encoder.frozen)
    return traverse_util.flatten_dict(required, sep='/')


def _expected_prior(flat: dict, metadata: dict) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the arrays of the prior, whose axes C, P and D it decides itself."""
    emotions, directions = flat.get('prior/emotion_CxP'), flat.get('prior/direction_PxD')
    if emotions is None or directions is None or (emotions.ndim, directions.ndim) != (3, 3):
        raise Damage('it lacks prior, by which speakers are enrolled')
    R, C, P = emotions.shape
    D = directions.shape[-1]
    if P not in (metadata['sizes']['bands'], 2 * metadata['sizes']['bands']) or D > P:
        raise Damage(f'prior/emotion_CxP has the shape {emotions.shape}')
    axes = {'C': C, 'P': P, 'D': D}
    shapes = {}
    for field in SpeakerPrior._fields:
        letters = field.rpartition('_')[2].split('x') if '_' in field else []
        name = f'prior/{field}'
        dtype = flat[name].dtype if name in flat else np.float32
        shapes[name] = jax.ShapeDtypeStruct((R, *map(axes.__getitem__, letters)), dtype)
    return shapes

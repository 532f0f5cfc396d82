"""A model's folder is not trusted: whatever is in it, the answer is right or a sentence."""

import copy
import hashlib
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from helpers import models

from data_pipelines.errors import UserError
from data_pipelines.features.upstream import FORMAT_VERSION
from jaxser.serving.model import Model, check_network, read_model
from jaxser.serving.model_checks import CHECKSUM_KEY, describe_arrays, with_checksum


@pytest.fixture(scope='module')
def model() -> Model:
    return models.make_random_model()[1]


@pytest.fixture(scope='module')
def enrolment_model() -> Model:
    return models.make_enrolment_model()


def required(model: Model) -> Model:
    """Returns the model with the arrays that bundling keeps: not the heads of domains."""
    params = {key: model.arrays['params'][key] for key in ('encoder', 'emotion')}
    return model._replace(arrays=model.arrays | {'params': params})


def read(folder: Path) -> Model:
    """Reads a model as the commands do."""
    model = read_model(folder)
    check_network(folder, model)
    return model


def refusal(tmp_path: Path, model: Model) -> str:
    """Returns the message for a forged model, whose checksums are right."""
    tmp_path.mkdir(exist_ok=True)
    folder = models.write_model(tmp_path / 'forged', model)
    file = folder / 'model.json'
    file.write_text(json.dumps(with_checksum(json.loads(file.read_text()))))
    with pytest.raises(UserError) as caught:
        read(folder)
    return str(caught.value)


def test_the_models_of_these_tests_are_read(model, enrolment_model, tmp_path):
    for n, each in enumerate((model, enrolment_model)):
        read(models.write_model(tmp_path / str(n), required(each)))


def changed(model: Model, path: str, value) -> Model:
    """Returns the model with another value at a.b.c of model.json."""
    metadata = copy.deepcopy(model.metadata)
    *parents, key = path.split('.')
    inner = metadata
    for parent in parents:
        inner = inner[parent]
    inner[key] = value
    return model._replace(metadata=metadata)


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ('calibration.temperature', -0.4),
        ('calibration.temperature', 0),
        ('calibration.temperature', float('nan')),
        ('calibration.temperature', 1e300),
        ('calibration.temperature', '1'),
        ('calibration', {}),
        ('classes', ['angry', 'angry']),
        ('classes', ['angry']),
        ('classes', 'ab'),
        ('classes', []),
        ('sizes.bands', 10**9),
        ('sizes.bands', 32),
        ('sizes.emotions', 3),
        ('sizes.emotions', True),
        ('sizes.domains', None),
        ('sizes', []),
        ('normalisation', 'speaker_enrolled'),
        ('normalisation', 'global'),
        ('normalisation', 'other'),
        ('synthetic', 'yes'),
        ('versions', {'jax': 3}),
        ('config', {}),
        ('config.method', 'no_such_method'),
        ('config.method', '../main'),
        ('config.model.name', 'no_such_model'),
        ('config.model.channels', [3] * 1000),
        ('config.model.channels', [10**9]),
        ('config.model.dim', -1),
        ('config.model.dim', 10**9),
        ('config.model.dim', 'wide'),
        ('config.model.tdnn', [[5, 1, 0]]),
        ('config.model.tdnn', [[5]]),
        ('config.model.batch_norm', 'other'),
        ('config.data.features', {'bands': 64}),
        ('config.data.features.hop', 1e-9),
        ('config.data.features.rate', 10**9),
        ('config.data.upstream', 'whisper'),
        ('calibration.nll', 10**400),
        ('runs', [{'seed': 0, 'fold': 0}]),
        ('upstream', {'name': 'x'}),
        ('data', {'emodb': 3}),
    ],
)
def test_facts_of_no_model_are_refused(model, tmp_path, path, value):
    message = refusal(tmp_path, changed(required(model), path, value))
    assert ' is damaged: ' in message or 'lacks prior' in message
    assert len(message) < 900


def map_array(function, arrays: dict, name: str) -> dict:
    """Returns the arrays with another one under a.b.c."""
    key, _, rest = name.partition('/')
    value = map_array(function, arrays[key], rest) if rest else function(arrays[key])
    return arrays | {key: value}


def set_nan(array):
    array = array.copy()
    array.flat[-1] = np.nan
    return array


@pytest.mark.parametrize(
    'change',
    [
        set_nan,
        lambda array: array[..., :-1],
        lambda array: array[:1],
        lambda array: array.astype(np.float16),
        lambda array: array.astype(np.int32),
        lambda array: np.array(1, np.float32),
        lambda array: array[:0],
    ],
    ids=['nan', 'shape', 'runs', 'half', 'int', 'scalar', 'empty'],
)
def test_arrays_of_another_network_are_refused(model, tmp_path, change):
    arrays = required(model).arrays
    name = first_name(arrays['params']['emotion'], 'params/emotion')
    forged = map_array(change, arrays, name)
    assert 'model.safetensors is damaged' in refusal(tmp_path, model._replace(arrays=forged))


def first_name(arrays, prefix: str) -> str:
    """Returns the name of the first array of a tree."""
    if not isinstance(arrays, dict):
        return prefix
    key = sorted(arrays)[0]
    return first_name(arrays[key], f'{prefix}/{key}')


def test_missing_and_additional_arrays_are_refused(model, tmp_path):
    arrays = required(model).arrays
    missing = arrays | {'params': {'encoder': arrays['params']['encoder']}}
    assert 'it lacks params/emotion' in refusal(tmp_path / '1', model._replace(arrays=missing))
    more = arrays | {'extra': np.ones((models.RUNS, 2), np.float32)}
    assert 'the network has no extra' in refusal(tmp_path / '2', model._replace(arrays=more))
    assert 'the network has no params/' in refusal(tmp_path / '3', model)  # heads of domains


def test_the_prior_of_enrolment_is_checked(enrolment_model, tmp_path):
    arrays = required(enrolment_model).arrays
    for n, name in enumerate(arrays['prior']):
        without = {key: value for key, value in arrays['prior'].items() if key != name}
        forged = enrolment_model._replace(arrays=arrays | {'prior': without})
        assert 'prior' in refusal(tmp_path / f'a{n}', forged)
    for n, name in enumerate(('prior/mean_P', 'prior/within_DxD')):
        shorter = map_array(lambda array: array[:, :-1], arrays, name)
        assert name in refusal(tmp_path / f'b{n}', enrolment_model._replace(arrays=shorter))


def test_every_flipped_bit_of_the_facts_is_found(model, tmp_path):
    """Also one by which a class or a temperature would be another."""
    folder = models.write_model(tmp_path / 'm', required(model))
    file = folder / 'model.json'
    content = json.dumps(with_checksum(json.loads(file.read_text())), sort_keys=True).encode()
    assert CHECKSUM_KEY in content.decode()
    random = np.random.default_rng(0)
    expected = json.loads(content)
    for bit in random.integers(8 * len(content), size=300):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            metadata = read_model(folder).metadata
        except UserError:
            continue
        # A blank between values, or the name of the checksum.
        assert sorted(map(str, metadata.values())) == sorted(map(str, expected.values()))
        assert {*expected} - {*metadata} <= {CHECKSUM_KEY}


def test_a_model_of_an_earlier_version_has_no_checksum_of_its_facts(model, tmp_path):
    folder = models.write_model(tmp_path / 'm', required(model))
    assert CHECKSUM_KEY not in read(folder).metadata


def test_weights_that_are_no_safetensors_are_refused(model, tmp_path):
    header = safetensors.numpy.save({'a': np.ones((2, 2)), 'a/b': np.ones((2, 2))})
    for n, weights in enumerate((b'', b'\xff' * 8, header, b'PK\3\4' + bytes(100))):
        folder = models.write_model(tmp_path / str(n), required(model))
        (folder / 'model.safetensors').write_bytes(weights)
        metadata = json.loads((folder / 'model.json').read_text())
        metadata['sha256'] = hashlib.sha256(weights).hexdigest()
        (folder / 'model.json').write_text(json.dumps(metadata))
        with pytest.raises(UserError, match=r'model\.safetensors is damaged'):
            read(folder)


@pytest.mark.parametrize('name', ['model.json', 'model.safetensors'])
def test_files_that_would_hang_are_refused(model, tmp_path, name):
    folder = models.write_model(tmp_path / 'm', required(model))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match='not a regular file'):
        read(folder)


def fine_tuned(model: Model) -> Model:
    """Returns the facts of a model that fine-tunes an encoder, which is not there."""
    record = {'name': 'x', 'format': FORMAT_VERSION, 'sha256': '5' * 64, 'folder': ''}
    model = changed(required(model), 'config.model.name', 'fine_tuned')
    facts = {'upstream': record, 'arrays': describe_arrays(model.arrays)}
    return model._replace(metadata=model.metadata | facts)


def test_arrays_of_a_fine_tuned_model_are_checked_without_its_encoder(model, tmp_path):
    """As for its export: names, types and shapes are those with which it was made."""
    whole = fine_tuned(model)
    read(models.write_model(tmp_path / 'whole', whole))
    emotion = whole.arrays['params']['emotion']
    forged = whole._replace(arrays=whole.arrays | {'params': {'emotion': emotion}})
    assert 'is missing; the model that was made has' in refusal(tmp_path / 'a', forged)
    smaller = jax.tree.map(lambda array: array[..., :1], whole.arrays)
    assert '; the model that was made has' in refusal(
        tmp_path / 'b', whole._replace(arrays=smaller)
    )


def test_a_fine_tuned_model_needs_the_record_of_its_encoder(model, tmp_path):
    """Otherwise it would take any encoder for its own."""
    whole = fine_tuned(model)
    del whole.metadata['upstream']
    assert 'lacks upstream' in refusal(tmp_path, whole)

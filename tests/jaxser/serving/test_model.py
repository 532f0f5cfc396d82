"""Reading a model's files, and what is refused."""

import json
import shutil
from collections.abc import Callable

import jax
import numpy as np
import pytest
from helpers import models, tiny_config
from helpers.predictions import RATE, make_tone

from data_pipelines.errors import UserError
from jaxser import plugins
from jaxser.serving.model import Model, deserialize_arrays, read_model, serialize_arrays
from jaxser.serving.predictor import Predictor
from jaxser.training import step


def with_keys(**keys) -> Callable[[bytes], bytes]:
    """Returns the change that sets keys of model.json."""
    return lambda content: json.dumps(json.loads(content) | keys).encode()


def flip_last_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def cut_off(size: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:size]


def replace_by(content: bytes) -> Callable[[bytes], bytes]:
    return lambda _: content


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('model.safetensors', flip_last_bit, 'model.safetensors is damaged.*checksum'),
        ('model.safetensors', cut_off(100), 'model.safetensors is damaged'),
        ('model.safetensors', None, 'model.safetensors is missing'),
        ('model.json', cut_off(200), 'model.json is damaged'),
        ('model.json', replace_by(b'[]'), 'model.json is damaged'),
        (
            'model.json',
            replace_by(b'{"format": 1, "sha256": "", "log_mel": 3}'),
            'model.json is damaged.*lacks config',
        ),
        ('model.json', with_keys(format=99), 'format 99'),
        ('model.json', with_keys(log_mel=2), 'features of format 2'),
        ('model.json', None, 'contains no model'),
    ],
)
def test_a_damaged_model_is_refused_with_the_name_of_the_file(
    swept, tmp_path, name, change, message
):
    """Never a wrong answer or a stack trace."""
    shutil.copytree(swept / 'model', tmp_path / 'model')
    file = tmp_path / 'model' / name
    if change:
        file.write_bytes(change(file.read_bytes()))
    else:
        file.unlink()
    with pytest.raises(UserError, match=message):
        read_model(tmp_path)


def test_the_message_for_a_sweep_without_a_model_has_the_command_that_makes_it(swept, tmp_path):
    shutil.copy(swept / 'config.json', tmp_path)
    with pytest.raises(UserError, match=r'python -m jaxser\.bundle --workdir'):
        read_model(tmp_path)


@pytest.mark.parametrize(
    'keys',
    [
        {'method': 'leace'},
        {'method': 'speaker_norm', 'speaker_norm': 'snp'},
        {'method': 'cdann', 'domain': 'speaker+language', 'model.batch_norm': 'none'},
        pytest.param({'method': 'crossgrad', 'model.name': 'cnn'}, marks=pytest.mark.slow),
        {'method': 'dann', 'model.batch_norm': 'domain'},
    ],
    ids=lambda keys: keys['method'],
)
def test_every_kind_of_parameters_is_read_as_it_was_written(keys):
    """Heads, layers and erasers by their names, with and without batch statistics, to the bit."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict(keys)
    encoder, method = plugins.make_method(config, models.SIZES)
    run_step = step.make_step(encoder, method, models.SIZES, config.train)
    state = jax.vmap(run_step.init)(models.make_hyper())
    arrays = {'params': state.params, 'batch_stats': state.batch_stats}
    weights = serialize_arrays(jax.tree.map(np.asarray, arrays))
    arrays_read = deserialize_arrays(weights)
    jax.tree.map(np.testing.assert_array_equal, {'batch_stats': {}} | arrays_read, arrays)
    predictor = Predictor(Model(models.make_metadata(config), arrays_read))
    posterior = predictor.predict(make_tone(0.5), RATE)['posterior']
    assert sum(posterior.values()) == pytest.approx(1)

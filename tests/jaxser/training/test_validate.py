"""Tests of the checks of a configuration before any data is read."""

import math

import pytest
from helpers import tiny_config

from data_pipelines.errors import UserError
from jaxser.training import validate

OUT_OF_RANGE = [
    ('train.epochs', 0, 'a number from 1 to 1000000'),
    ('train.epochs', 10**9, 'a number from 1 to 1000000'),
    ('data.frames', 10**9, 'a number from 1 to 1000000'),
    ('data.batch', 10**12, 'a number from 1 to 1000000'),
    ('data.eval_batch', 10**9, 'a number from 1 to 1000000'),
    ('domain_hidden', -1, 'a number from 0 to 65536'),
    ('model.lora', 10**9, 'a number from 0 to 65536'),
    ('train.select_from', 1.5, 'a number from 0 to 1'),
    ('train.select_from', -0.1, 'a number from 0 to 1'),
    ('train.select_from', math.nan, 'a number from 0 to 1'),
    ('train.clip', -5.0, 'a number above 0'),
    ('train.clip', 0.0, 'a number above 0'),
    ('train.clip', math.inf, 'a number above 0'),
    ('train.clip', math.nan, 'a number above 0'),
    ('train.warmup', 2.0, 'a number from 0 to below 1'),
    ('train.warmup', 1.0, 'a number from 0 to below 1'),
    ('train.warmup', -0.1, 'a number from 0 to below 1'),
    ('train.warmup', math.nan, 'a number from 0 to below 1'),
    ('train.warmup', math.inf, 'a number from 0 to below 1'),
    ('train.checkpoint_seconds', -1.0, '0 or more'),
    ('train.checkpoint_seconds', math.nan, '0 or more'),
    ('data.order_seed', -1, 'a number from 0 to 2147483647'),
    ('data.order_seed', 2**31, 'a number from 0 to 2147483647'),
    ('model.upstream_rate', 0.0, 'a number above 0'),
    ('model.upstream_rate', math.nan, 'a number above 0'),
    ('model.layer_decay', 0.0, 'a number above 0, up to 1'),
    ('model.layer_decay', 1.5, 'a number above 0, up to 1'),
]


@pytest.mark.parametrize(('key', 'value', 'expected'), OUT_OF_RANGE)
def test_a_number_out_of_range_raises_a_user_error(key, value, expected):
    """Its message has the key, the value and the range."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError) as error:
        validate.plan_programs(config)
    assert str(error.value) == f'config.{key} is {value}; expected {expected}.'


IN_RANGE = [
    ('train.select_from', 0.0),
    ('train.select_from', 1.0),
    ('train.clip', 1e9),
    ('train.warmup', 0.0),
    ('train.warmup', 0.99),
    ('train.checkpoint_seconds', 0.0),
    ('data.order_seed', 2**31 - 1),
    ('model.layer_decay', 1.0),
]


@pytest.mark.parametrize(('key', 'value'), IN_RANGE)
def test_the_ends_of_a_range_are_allowed(key, value):
    """These are the smallest and the largest possible values."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({key: value})
    assert validate.plan_programs(config)

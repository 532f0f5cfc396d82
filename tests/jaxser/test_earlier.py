"""Tests that a sweep of an earlier version keeps what that version computed."""

import json

import pytest

from configs import base
from data_pipelines.errors import UserError
from jaxser import earlier, plugins
from jaxser.configuration.serialization import config_from_dict, config_to_dict
from jaxser.training import step, validate
from jaxser.workdir import Workdir, continue_earlier_sweep


def earlier_values(**sweep) -> dict:
    """Returns the JSON of a configuration as an earlier version wrote it."""
    config = base.get_config()
    config.sweep.update(sweep)
    values = config_to_dict(config)
    del values['similarity'], values['protocol']['withhold']
    del values['sweep']['similarity'], values['sweep']['head_rate']
    return values


@pytest.fixture
def workdir(tmp_path):
    """The function that writes an earlier workdir with values of config.sweep."""

    def write(**sweep):
        text = json.dumps({'config': earlier_values(**sweep), 'data': {}})
        (tmp_path / 'config.json').write_text(text)
        return tmp_path

    return write


def variants(config) -> list[dict]:
    """Returns the runs of all programs."""
    listed = []
    for program in validate.plan_programs(config):
        listed += program.variants
    return listed


@pytest.mark.parametrize(('lam', 'expected'), [((), [0.3]), ((0.0, 0.5), [0.0, 0.5])])
@pytest.mark.parametrize('method', ['dann', 'cdann'])
def test_an_earlier_adversary_has_its_coefficient_and_no_head_rate(method, lam, expected, workdir):
    """The runs are those of its results.json, and no update of a head is multiplied."""
    config = Workdir.open(workdir(method=(method,), lam=lam)).config
    runs = variants(config)
    assert [run['lam'] for run in runs] == expected
    assert not any('head_rate' in run for run in runs)
    _, made = plugins.make_method(config, plugins.DUMMY_SIZES)
    assert step.branch_rates(made, runs[0]) == {}


def test_other_methods_keep_their_default_beside_an_earlier_adversary(workdir):
    """mmd's default coefficient is its own."""
    sweep = {'method': ('dann', 'mmd', 'erm')}
    config = Workdir.open(workdir(**sweep)).config
    default = plugins.make_method(with_method('mmd'), plugins.DUMMY_SIZES)[1].hyper['lam']
    assert [run.get('lam') for run in variants(config)] == [0.3, default, None]


def with_method(name: str):
    """Returns the default configuration with a method."""
    config = base.get_config()
    config.method = name
    return config


@pytest.mark.parametrize('lam', [(), (0.0, 0.5)])
def test_an_earlier_sweep_is_continued_with_its_defaults(lam, workdir):
    """The same command gives the runs that the earlier version had; also after a second stop."""
    folder = workdir(lam=lam)
    config = base.get_config()
    config.sweep.lam = lam
    continued = continue_earlier_sweep(folder, config)
    assert variants(continued) == variants(Workdir.open(folder).config)
    stored = {'config': config_to_dict(Workdir(folder, continued).config), 'data': {}}
    (folder / 'config.json').write_text(json.dumps(stored))
    assert variants(continue_earlier_sweep(folder, config)) == variants(continued)
    assert earlier.uses_earlier_defaults(continued)
    assert not earlier.uses_earlier_defaults(config)


@pytest.mark.parametrize('change', [{'head_rate': (3.0,)}, {'lam': (0.1,)}])
def test_another_sweep_does_not_continue_an_earlier_one(change, workdir):
    """It keeps the defaults of this version, and its keys are named."""
    folder = workdir(lam=(0.0,))
    config = base.get_config()
    config.sweep.lam = (0.0,)
    config.sweep.update(change)
    assert continue_earlier_sweep(folder, config) is config
    (key,) = change
    value = ','.join(map(str, change[key]))
    named = f'contains another sweep .sweep.{key} was .*, is {value}[;)]'
    with pytest.raises(UserError, match=named):
        Workdir(folder, config)


def test_sweeps_of_this_version_have_the_defaults_of_this_version(tmp_path):
    """Nothing is completed in their configuration, even without the keys of config.sweep."""
    config = base.get_config()
    values = config_to_dict(config)
    assert earlier.complete(values) == values
    del values['sweep']['head_rate']
    opened = config_from_dict(earlier.complete(values))
    assert not earlier.uses_earlier_defaults(opened)
    assert variants(opened)[0]['head_rate'] == 10.0
    assert continue_earlier_sweep(tmp_path / 'none', config) is config


def test_a_sweep_without_the_keys_of_ratings_predicts_emotions(workdir):
    """It is continued by the same command, and its configuration has all keys."""
    folder = workdir()
    stored = json.loads((folder / 'config.json').read_text())
    values = stored['config']
    del values['task'], values['data']['ratings'], values['train']['rating_loss']
    del values['train']['rating_weight'], values['train']['soft_labels']
    del values['train']['annotator_dropout']
    (folder / 'config.json').write_text(json.dumps(stored))
    config = Workdir.open(folder).config
    assert config.task == 'emotion'
    assert not config.train.soft_labels
    assert earlier.uses_earlier_defaults(continue_earlier_sweep(folder, base.get_config()))
    rated = base.get_config()
    rated.task = 'ratings'
    with pytest.raises(UserError, match=r'contains another sweep .*task was emotion, is ratings'):
        Workdir(folder, rated)

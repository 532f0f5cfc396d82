"""Tests that the stages of a command share the data of their sweep, and reuse its audit."""

import json
import shutil

import pytest
from helpers import tiny_config

from data_pipelines.protocols import audit, split
from jaxser import distributed
from jaxser.configuration import resolve
from jaxser.configuration.serialization import config_to_dict
from jaxser.training.shared_task import load_task, share_task
from jaxser.training.validate import plan_programs
from jaxser.workdir import Workdir


@pytest.fixture
def config(data):
    """The configuration of the sweep in `swept`, as its training had it."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict({'data.dir': str(data), 'train.epochs': 2})
    return resolve.resolve_config(config, distributed.log)


@pytest.fixture
def splits_made(monkeypatch) -> list:
    """A list that grows by one whenever a split is made."""
    calls = []
    make_split = split.make_split

    def make_counted_split(config, data):
        calls.append(config)
        return make_split(config, data)

    monkeypatch.setattr(split, 'make_split', make_counted_split)
    return calls


def load(config):
    return load_task(config, plan_programs(config))


def test_stages_share_one_task(config, swept, splits_made):
    """A stage has the configuration from the workdir, which is that of training."""
    with share_task():
        task = load(config)
        opened = Workdir.open(swept)
        assert config_to_dict(opened.config) == config_to_dict(config)
        assert load(opened.config) is task
        assert load(config).mel_RxM is task.mel_RxM
    assert len(splits_made) == 1
    assert load(config) is not task
    assert load(config) is not load(config)


@pytest.mark.parametrize('key', ['configuration', 'data'])
def test_a_task_of_something_else_is_not_shared(config, splits_made, key, monkeypatch):
    with share_task():
        task = load(config)
        if key == 'configuration':
            config.data.order_seed += 1
        else:
            changed = task.data._replace(fingerprints={'tones': 'other'})
            monkeypatch.setattr(task, 'data', changed)
        assert load(config) is not task
    assert len(splits_made) == 2


def test_the_audit_in_a_workdir_is_that_of_its_split_data_and_version(config, swept, tmp_path):
    task = load(config)
    assert Workdir.open(swept).load_audit(task) == json.loads(json.dumps(task.audit))
    for key in ('split_sha256', 'data', 'git_commit', 'versions'):
        copy = shutil.copytree(swept, tmp_path / key)
        file = copy / 'config.json'
        description = json.loads(file.read_text())
        description[key] = {'jaxser': 'other'} if key in ('data', 'versions') else 'other'
        file.write_text(json.dumps(description))
        (copy / 'checksums.json').unlink(missing_ok=True)
        if key != 'data':  # the workdir of other data is not opened
            assert Workdir.open(copy).load_audit(task) is None
    workdir = Workdir.open(swept)
    task.data = task.data._replace(fingerprints={'folder': 'other'})
    assert workdir.load_audit(task) is None


def test_only_training_audits(config, swept, monkeypatch):
    """A stage after training, which found the audit in order, does not repeat it."""
    monkeypatch.setattr(audit, 'inspect_folds', lambda *_: pytest.fail('it was audited'))
    load(config)

"""Protects what a tracker is told, and that its failures do not end training."""

import importlib.machinery
import json
from types import SimpleNamespace

import pytest
from etils import epath
from helpers import tiny_config

from data_pipelines.errors import UserError
from jaxser.training import tracked_runs, validate
from jaxser.training.outputs import MetricsLog

HYPERS = [{'lam': lam, 'seed': 0, 'fold': fold} for lam in (0.0, 0.5) for fold in (0, 1)]
LABELS = [f'lam={hyper["lam"]:g} seed=0' for hyper in HYPERS]


class FakeRun:
    def __init__(self, description):
        self.description = description
        self.calls = []

    def log(self, *arguments):
        self.calls.append(('log', *arguments))

    def finish(self, *arguments):
        self.calls.append(('finish', *arguments))

    def close(self):
        self.calls.append(('close',))


@pytest.fixture
def config():
    config = tiny_config.get_config()
    config.track = 'wandb'
    return config


@pytest.fixture
def opened(monkeypatch) -> list[FakeRun]:
    """The runs that a stand-in for the tracker has opened, in their order."""
    runs = []

    def open_run(description):
        runs.append(FakeRun(description))
        return runs[-1]

    tracker = SimpleNamespace(open_run=open_run)
    monkeypatch.setattr(tracked_runs, 'load_plugin', lambda package, name: tracker)
    return runs


def make_log(path, config) -> MetricsLog:
    workdir = SimpleNamespace(path=epath.Path(path), config=config, read_lines=lambda name: [])
    return MetricsLog(workdir, 0, 0, HYPERS, LABELS)


def test_each_label_is_a_run_and_its_metrics_are_means_over_folds(opened, config, tmp_path):
    """With the settings of the run; a sweep that is resumed has the same identities."""
    rows = []
    for number, hyper in enumerate(HYPERS):
        rows.append(hyper | {'epoch': 1, 'loss': float(number), 'dev_uar': None})
    for _ in range(2):
        log = make_log(tmp_path, config)
        log.add(1, rows)
        log.close()
    first, second, again, _ = opened
    assert first.calls == [('log', 1, {'loss': 0.5}), ('close',)]
    assert second.calls == [('log', 1, {'loss': 2.5}), ('close',)]
    assert first.description.label == 'lam=0 seed=0'
    assert first.description.sweep == tmp_path.name
    assert second.description.settings['lam'] == 0.5
    assert second.description.settings['train.epochs'] == config.train.epochs
    assert 'fold' not in second.description.settings
    assert first.description.identity == again.description.identity
    assert first.description.identity != second.description.identity


def test_results_are_means_over_folds_with_the_report(opened, config, tmp_path):
    """Test results, leakage, the files of the report that exist, and the resolved settings."""
    (tmp_path / 'report.html').write_text('')
    resolved = config.to_dict() | {'protocol': {'name': 'leave_one_speaker_out'}, 'track': ''}
    (tmp_path / 'config.json').write_text(json.dumps({'config': resolved}))
    config.protocol.name = 'auto'
    runs = []
    for number, hyper in enumerate(HYPERS):
        part = {'uar': number / 10, 'wa': 0.5, 'f1': 0.5, 'n': 4}
        probe = {'speaker': {'strongest': number / 10, 'attacker': 'mlp', 'chance': 0.25}}
        runs.append({'hyper': hyper, 'status': 'ok', 'dev': part, 'test': part, 'probe': probe})
    tracked_runs.track_results(tmp_path, config, {'runs': runs, 'folds': ['a', 'b']})
    finish, close = opened[1].calls
    assert finish[1]['test_uar'] == pytest.approx(0.25)
    assert finish[1]['speaker_strongest'] == pytest.approx(0.25)
    assert finish[1]['speaker_chance'] == 0.25
    assert [file.name for file in finish[2]] == ['report.html']
    assert close == ('close',)
    assert opened[1].description.settings['protocol.name'] == 'leave_one_speaker_out'


def test_a_tracker_that_fails_is_said_once_and_training_goes_on(opened, config, tmp_path, capsys):
    log = make_log(tmp_path, config)

    def fail(*_):
        raise ConnectionError('no route to the server')

    for run in opened:
        run.log = fail
    for epoch in (1, 2):
        log.add(epoch, [hyper | {'epoch': epoch, 'loss': 1.0} for hyper in HYPERS])
    log.close()
    said = capsys.readouterr().out
    assert said.count('config.track=wandb failed (ConnectionError: no route to the server)') == 1
    assert len(log.lines) == 2 * len(HYPERS)


def test_without_a_tracker_nothing_is_opened(opened, config, tmp_path):
    config.track = ''
    make_log(tmp_path, config).close()
    tracked_runs.track_results(tmp_path, config, {})
    assert opened == []


@pytest.mark.parametrize(
    ('name', 'words'),
    [('mlflo', "There is no 'mlflo' in jaxser/trackers.*mlflow"), ('wandb', 'pip install wandb')],
)
def test_a_tracker_that_is_not_there_is_refused_before_training(name, words, config, monkeypatch):
    config.track = name
    monkeypatch.setattr(validate.importlib.util, 'find_spec', lambda package: None)
    with pytest.raises(UserError, match=words):
        validate.plan_programs(config)


def test_a_folder_of_the_name_of_the_package_is_not_the_package(config, monkeypatch):
    """Offline, wandb writes to a folder wandb/, which Python would import as an empty package."""
    folder = importlib.machinery.ModuleSpec('wandb', None, is_package=True)
    monkeypatch.setattr(validate.importlib.util, 'find_spec', lambda package: folder)
    with pytest.raises(UserError, match='pip install wandb'):
        validate.plan_programs(config)

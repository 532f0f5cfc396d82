"""Protects the trackers, without a network; each is tested where its package is installed."""

import os

import pytest

from jaxser.plugins import load_plugin, plugin_names
from jaxser.trackers import RunDescription


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """Everything is written below a folder."""
    monkeypatch.setenv('MLFLOW_TRACKING_URI', f'file:{tmp_path}/mlruns')
    monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    for name in ('MLFLOW_EXPERIMENT_NAME', 'WANDB_PROJECT'):
        monkeypatch.delenv(name, raising=False)


def track(name: str, workdir, epoch: int) -> None:
    """Opens two runs side by side, and logs to both."""
    tracker = load_plugin('trackers', name)
    runs = []
    for label in ('lam=0', 'lam=0.5'):
        settings = {'train.epochs': 3, 'sweep.lam': (0.0, 0.5), 'text': 'x' * 9000}
        identity = {'lam=0': 'firstrun', 'lam=0.5': 'secondrun'}[label]
        description = RunDescription('demo', str(workdir), label, identity, settings)
        runs.append(tracker.open_run(description))
    for number, run in enumerate(runs):
        run.log(epoch, {'dev_uar': 0.5 + number / 10})
    for run in runs:
        run.finish({'test_uar': 0.4}, [workdir / 'report.html'])
        run.close()


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', plugin_names('trackers'))
def test_runs_are_written_without_a_network(name, tmp_path):
    """Two runs of a sweep at once; they go on when the sweep is resumed."""
    pytest.importorskip(load_plugin('trackers', name).PACKAGE)
    (tmp_path / 'report.html').write_text('<p>')
    for epoch in (1, 2):
        track(name, tmp_path, epoch)
    CHECKS[name](tmp_path)


def check_mlflow(folder) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name('demo')
    runs = client.search_runs([experiment.experiment_id], order_by=['tags.mlflow.runName'])
    assert [run.info.run_name for run in runs] == ['lam=0', 'lam=0.5']
    for run in runs:
        assert run.info.status == 'FINISHED'
        assert run.data.params['train.epochs'] == '3'
        assert run.data.metrics['test_uar'] == 0.4
        history = client.get_metric_history(run.info.run_id, 'dev_uar')
        assert [metric.step for metric in history] == [1, 2]
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ['report.html']


def check_wandb(folder) -> None:
    names = [name for name in os.listdir(folder / 'wandb') if name.startswith('offline-run')]
    for identity in ('firstrun', 'secondrun'):
        assert sum(identity in name for name in names) == 2  # one each time
    for name in names:
        assert (folder / 'wandb' / name / 'files' / 'report.html').exists()
        assert list((folder / 'wandb' / name).glob('*.wandb'))


CHECKS = {'mlflow': check_mlflow, 'wandb': check_wandb}

"""MLflow. MLFLOW_TRACKING_URI says where, and MLFLOW_EXPERIMENT_NAME the experiment.

By default the experiment has the name of the workdir.
"""

import os
import time
from pathlib import Path

from jaxser.trackers import RunDescription

PACKAGE = 'mlflow'
IDENTITY_TAG = 'jaxser.identity'
MAX_PARAMETERS = 100  # that MLflow takes at once
MAX_CHARACTERS = 500  # of a parameter's value


class MlflowRun:
    """A run of an MLflow server, database or folder."""

    def __init__(self, client, run_id: str):
        self.client = client
        self.run_id = run_id

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Adds numbers of an epoch."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, epoch) for key, value in values.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def finish(self, values: dict[str, float], files: list[Path]) -> None:
        """Adds the final numbers, and files as artifacts."""
        self.log(0, values)
        for file in files:
            self.client.log_artifact(self.run_id, str(file))

    def close(self) -> None:
        """Ends the run."""
        self.client.set_terminated(self.run_id)


def open_run(description: RunDescription) -> MlflowRun:
    """Starts the run of this identity, or continues it."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = _find_experiment(client, description)
    query = f"tags.`{IDENTITY_TAG}` = '{description.identity}'"
    for run in client.search_runs([experiment], query):
        client.update_run(run.info.run_id, status='RUNNING')
        return MlflowRun(client, run.info.run_id)
    tags = {
        IDENTITY_TAG: description.identity,
        'jaxser.sweep': description.sweep,
        'jaxser.workdir': description.workdir,
    }
    run = client.create_run(experiment, tags=tags, run_name=description.label)
    _log_settings(client, run.info.run_id, description.settings)
    return MlflowRun(client, run.info.run_id)


def _find_experiment(client, description: RunDescription) -> str:
    """Returns the id of the experiment, which is created if it does not exist."""
    name = os.environ.get('MLFLOW_EXPERIMENT_NAME') or description.sweep
    experiment = client.get_experiment_by_name(name)
    return experiment.experiment_id if experiment else client.create_experiment(name)


def _log_settings(client, run_id: str, settings: dict) -> None:
    from mlflow.entities import Param

    parameters = [Param(key, str(value)[:MAX_CHARACTERS]) for key, value in settings.items()]
    for start in range(0, len(parameters), MAX_PARAMETERS):
        client.log_batch(run_id, params=parameters[start : start + MAX_PARAMETERS])

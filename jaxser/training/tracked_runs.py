"""Shows the runs of a sweep in the tracker that `config.track` names (jaxser/trackers).

If a tracker fails, for example because its server is down, training goes on without it, and that
is printed once.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator

import numpy as np
from etils import epath

from jaxser import distributed
from jaxser.analysis import frames
from jaxser.configuration.serialization import config_from_dict
from jaxser.plugins import load_plugin
from jaxser.runs import flatten, run_label, varying_keys
from jaxser.trackers import RunDescription
from jaxser.workdir_files import CONFIG, WorkdirFiles

# The files of the workdir that every tracked run gets.
FILES = ('report.html', 'summary.csv')

LEAKAGE_ENDINGS = tuple(f'_{figure}' for figure in frames.ANSWER_FIGURES)


class TrackedRuns:
    """The runs of a sweep by their labels; none if `config.track` is empty."""

    def __init__(self, path, config, runs_by_label: dict[str, dict]):
        """Opens the runs; `runs_by_label` has the hyper-parameters of a run for each label."""
        self.name = config.get('track', '')
        self.runs: dict[str, object] = {}
        self.hyper_by_label = runs_by_label
        if not self.name:
            return
        is_local = '://' not in str(path)
        self.path = epath.Path(os.path.abspath(path) if is_local else path)
        settings = flatten(config.to_dict())
        with self._tolerating_failure():
            tracker = load_plugin('trackers', self.name)
            for label, hyper in runs_by_label.items():
                self.runs[label] = tracker.open_run(self._describe(label, settings, hyper))

    def _describe(self, label: str, settings: dict, hyper: dict) -> RunDescription:
        own = {key: value for key, value in hyper.items() if key != 'fold'}
        identity = hashlib.sha256(f'{self.path} {label}'.encode()).hexdigest()[:16]
        name = os.path.basename(str(self.path))
        return RunDescription(name, str(self.path), label, identity, settings | own)

    def log(self, label: str, epoch: int, values: dict[str, float]) -> None:
        """Adds numbers of an epoch to a run; its hyper-parameters are settings, not numbers."""
        with self._tolerating_failure():
            if label in self.runs:
                hyper = self.hyper_by_label[label]
                numbers = {key: value for key, value in values.items() if key not in hyper}
                self.runs[label].log(epoch, numbers)

    def finish(self, label: str, values: dict[str, float]) -> None:
        """Adds the final numbers of a run, and the report."""
        with self._tolerating_failure():
            if label in self.runs:
                files = [self.path / name for name in FILES if (self.path / name).exists()]
                self.runs[label].finish(values, files)

    def close(self) -> None:
        """Ends the runs."""
        with self._tolerating_failure():
            for run in self.runs.values():
                run.close()
        self.runs = {}

    @contextlib.contextmanager
    def _tolerating_failure(self) -> Iterator[None]:
        """Context in which a failure is printed and ends the tracking, but not the training."""
        try:
            yield
        except Exception as error:  # packages and servers fail in many ways
            self.runs = {}
            reason = ' '.join(str(error).split())[:200]
            distributed.log(
                f'config.track={self.name} failed ({type(error).__name__}: {reason}). Training '
                'goes on without it; metrics.jsonl and results.json have all numbers.'
            )


def track_results(path, config, results: dict) -> None:
    """Adds the test results and the leakage to the tracked runs: means over the folds.

    The settings of a run are those of config.json, where names such as the protocol `auto` are
    resolved, so that they are the same as during training.
    """
    if not config.get('track', ''):
        return
    stored = WorkdirFiles(epath.Path(path)).read_json('config.json', CONFIG)['config']
    resolved_config = config_from_dict(stored)
    resolved_config.track = config.track
    hypers = [run['hyper'] for run in results['runs']]
    keys = varying_keys(hypers)
    rows_by_label: dict[str, list[dict]] = {}
    for run in results['runs']:
        row = frames.run_row(run, results['folds'])
        rows_by_label.setdefault(run_label(run['hyper'], keys), []).append(row)
    hyper_by_label = {run_label(hyper, keys): hyper for hyper in hypers}
    tracked = TrackedRuns(path, resolved_config, hyper_by_label)
    for label, rows in rows_by_label.items():
        tracked.finish(label, _mean_results(rows))
    tracked.close()


def _mean_results(rows: list[dict]) -> dict[str, float]:
    """Returns the means of the results that all rows have as numbers, such as test_uar, dev_uar."""
    means = {}
    for key in rows[0]:
        values = [row.get(key) for row in rows]
        is_of_test = key in (*frames.CLASSIFICATION_FIGURES, *frames.RATING_FIGURES)
        is_result = is_of_test or key.startswith('dev_') or key.endswith(LEAKAGE_ENDINGS)
        if is_result and all(isinstance(value, float) for value in values):
            means[f'test_{key}' if is_of_test else key] = float(np.mean(values))
    return means

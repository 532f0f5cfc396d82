"""TODO: jaxser.analysis.finished."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from jaxser import runs as runs_module
from jaxser.analysis import summary
from jaxser.analysis.predictions import PredictionsByRun, open_predictions, read_predictions
from jaxser.runs import method_name, run_label, varying_keys


class FinishedSweep(NamedTuple):
    """What a sweep has left in its workdir."""

    path: Path
    metadata: dict  # config.json
    results: dict
    predictions: PredictionsByRun
    run_seconds: list[float]  # of training, of every run: its share of its group's


def read_finished_sweep(path: Path) -> FinishedSweep:
    """Refuses a folder without results."""
    if not path.is_dir():
        raise UserError(
            f'There is no folder {path}; expected the workdir of a finished sweep, e.g. runs/dann_demo.'
        )
    if not (path / 'results.json').exists():
        raise UserError(
            f'{path} holds no finished sweep (no results.json). The command that began it goes on with it.'
        )
    results = json.loads((path / 'results.json').read_text())
    predicted = read_predictions(open_predictions(path), results['classes'])
    seconds = [g['seconds'] / g['runs'] for g in results['groups'] for _ in range(g['runs'])]
    return FinishedSweep(
        path, json.loads((path / 'config.json').read_text()), results, predicted, seconds
    )


class SweepAnalysis:
    """A finished sweep, and of it the setting that dev chooses (`best`) beside plain training (`plain`).

    Each of the two is a row of the summary, or None. Their counts are count_ZxSxCxC, of the speakers in `names`, who
    were tested.
    """

    def __init__(self, finished_sweep: FinishedSweep):
        self.path, self.metadata, self.config, self.predictions = (
            finished_sweep.path,
            finished_sweep.metadata,
            finished_sweep.metadata['config'],
            finished_sweep.predictions,
        )
        self.runs, self.classes = finished_sweep.results['runs'], finished_sweep.results['classes']
        self.rows = summary.summary_rows(
            self.runs, finished_sweep.predictions, self.config, len(self.classes)
        )
        named = {k: self.config.get(k) for k in ('method', 'speaker_norm')}
        self.results = (
            {'method': method_name(named)} | finished_sweep.results | {'summary': self.rows}
        )
        self.varying_keys = varying_keys([r['hyper'] for r in self.runs])
        self.setting_keys = [k for k in self.varying_keys if k != 'seed']
        done = [r for r in self.rows if r['uar'] is not None]
        self.compared_rows = [r for r in done if r['delta_uar'] is not None]
        self.best_row = max(self.compared_rows or done, key=lambda r: r['dev_uar'], default=None)
        self.plain_row = None
        if self.compared_rows:
            keys = [{k: r[k] for k in self.setting_keys} for r in self.rows]
            self.plain_row = self.rows[
                summary.find_plain_reference(
                    {k: self.best_row[k] for k in self.setting_keys}, keys, self.config
                )
            ]
        there = (
            [c for c, row in enumerate(self.best_row['confusion']) if sum(row)]
            if self.best_row
            else self.classes
        )
        self.chance = 1 / len(there)  # UAR leaves out who is absent from the truth
        runs = (
            self.complete_runs(self.best_row)
            if self.best_row
            else [r for r in self.runs if r['status'] == 'ok']
        )
        tested = [
            finished_sweep.predictions[run_label(r['hyper'], self.varying_keys), r['hyper']['fold']]
            for r in runs
        ]
        self.tested_speakers = sorted({s for speaker_N, *_ in tested for s in speaker_N.tolist()})

    def setting_label(self, row: dict) -> str:
        """What a setting is called."""
        return run_label(row, self.setting_keys) or method_name(self.config)

    def setting_title(self, row: dict) -> str:
        """A setting as a reader knows it."""
        return runs_module.setting_title(
            {k: self.config.get(k) for k in ('method', 'speaker_norm')} | row,
            ['method', *self.setting_keys],
        )

    def complete_runs(self, row: dict) -> list[dict]:
        """The runs of a setting, of the seeds of which no fold diverged."""
        return summary.complete_seeds(
            [r for r in self.runs if all(r['hyper'].get(k) == row[k] for k in self.setting_keys)]
        )

    def confusion_counts(self, row: dict) -> np.ndarray:
        """count_ZxSxCxC of a setting."""
        return summary.run_confusions(
            self.predictions, self.complete_runs(row), self.varying_keys, len(self.classes)
        )

    def speaker_groups(self, kind: str) -> dict[str, np.ndarray]:
        """Which of the tested speakers (S,) belong to every corpus, language or sex, or are a `speaker`; the unknown nowhere."""
        people = self.results.get('speakers', {})
        group_S = np.array(
            self.tested_speakers
            if kind == 'speaker'
            else [people.get(s, {}).get(kind, '') for s in self.tested_speakers]
        )
        return {g: group_S == g for g in np.unique(group_S).tolist() if g}

    @property
    def plain_titles(self) -> set[str]:
        """The titles of the settings that are plain training."""
        known = {k: self.config.get(k) for k in ('method', 'speaker_norm')}
        return {
            self.setting_title(r)
            for r in self.rows
            if method_name(known | r) in summary.PLAIN_METHODS
        }

    @property
    def compared_pair(self) -> dict[str, dict]:
        """The rows that are shown side by side, by their titles: the best and plain training, as far as there are."""
        return {self.setting_title(r): r for r in (self.best_row, self.plain_row) if r}

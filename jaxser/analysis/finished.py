"""A finished sweep, read from its workdir, and what a report on it needs."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from jaxser.analysis import summary
from jaxser.analysis.measure import Measure, main_measure
from jaxser.analysis.predictions import (
    PredictionsByRun,
    RunPredictions,
    check_predictions,
    open_predictions,
    read_predictions,
)
from jaxser.analysis.statistics import Statistics
from jaxser.runs import (
    USUAL_VARIANTS,
    method_name,
    run_label,
    setting_title,
    varying_keys,
    with_run_values,
)
from jaxser.workdir_files import CONFIG, RESULTS, WorkdirFiles, check_runs, damaged


class FinishedSweep(NamedTuple):
    """The contents of the workdir of a finished sweep."""

    path: Path
    metadata: dict  # config.json; its method and domain are those of the runs
    results: dict  # results.json
    predictions: PredictionsByRun
    run_seconds: list[float]  # training time of every run: an equal share of its group's


def check_finished(path: Path) -> None:
    """Raises UserError if `path` is not the workdir of a finished sweep."""
    if not path.is_dir():
        raise UserError(
            f'There is no folder {path}; expected the workdir of a finished sweep, '
            'e.g. runs/dann_demo.'
        )
    if not WorkdirFiles(path).exists('results.json'):
        raise UserError(
            f'{path} contains no finished sweep (no results.json). Repeat the command that started '
            'it: training continues where it stopped.'
        )


def read_finished_sweep(path: Path) -> FinishedSweep:
    """Reads the workdir of a finished sweep; raises UserError where there is none."""
    check_finished(path)
    files = WorkdirFiles(path)
    with files.refuse_other_contents('results.json'):
        metadata = files.read_json('config.json', CONFIG)
        results = files.read_json('results.json', RESULTS)
        _check_results(path / 'results.json', results)
        predictions = read_predictions(
            open_predictions(path), results['classes'], results.get('ratings') or []
        )
        finished = [run['hyper'] for run in results['runs'] if run['status'] == 'ok']
        hypers = summary.collect(results['runs'], 'hyper')
        metadata = metadata | {'config': with_run_values(metadata['config'], hypers)}
        label_keys = varying_keys(hypers)
        keys = [(run_label(hyper, label_keys), hyper['fold']) for hyper in finished]
        check_predictions(predictions, keys, path / 'predictions.csv')
        run_seconds = []
        for group in results['groups']:
            run_seconds += [group['seconds'] / group['runs']] * group['runs']
    return FinishedSweep(path, metadata, results, predictions, run_seconds)


def _check_results(file, results: dict) -> None:
    """Raises UserError if numbers in results.json contradict each other."""
    runs = len(results['runs'])
    in_groups = sum(group['runs'] for group in results['groups'])
    classes, ratings = results['classes'], results.get('ratings') or []
    if runs == 0 or in_groups != runs:
        raise damaged(file, f'it has {runs} runs, and its groups have {in_groups}')
    names = [*classes, *ratings]
    if not names or len(set(names)) < len(names):
        raise damaged(file, f'its classes are {classes}, and its ratings {ratings}')
    check_runs(file, results['runs'])


class SweepAnalysis:
    """A finished sweep, its best setting on dev, and the plain training to compare it with.

    Attributes:
      path, metadata, config, predictions, runs, classes: as in the workdir.
      ratings: the names of the predicted ratings; [] without any.
      measure: the measure by which settings are compared.
      rows: the summary, computed again from the predictions.
      results: results.json with these rows and the name of the method.
      varying_keys: the keys of the runs' labels; `setting_keys` are these without the seed.
      compared_rows: the rows with a difference to plain training.
      candidate_rows: the compared rows, or all rows with figures if none is compared; without those
        of a negative coefficient, unless there are no others. Of numbers of enrolled utterances,
        only the largest.
      best_row: the candidate with the best main measure on dev; None where no setting has a
        complete seed.
      plain_row: the plain training that `best_row` is compared with, or None.
      model_row: the row of the setting that training saves as the model.
      chance: the value of the main measure that guessing reaches.
      tested_speakers: the names of the tested speakers, in alphabetical order.
    """

    def __init__(self, finished_sweep: FinishedSweep):
        self.path = finished_sweep.path
        self.metadata = finished_sweep.metadata
        self.config = finished_sweep.metadata['config']
        self.predictions = finished_sweep.predictions
        self.runs = finished_sweep.results['runs']
        self.classes = finished_sweep.results['classes']
        self.ratings = finished_sweep.results.get('ratings') or []
        self.measure = main_measure(self.config)
        self.rows = summary.summary_rows(
            self.runs, self.predictions, self.config, len(self.classes), self.ratings
        )
        self._method_keys = {key: self.config.get(key) for key in ('method', *USUAL_VARIANTS)}
        method = {'method': method_name(self._method_keys)}
        self.results = method | finished_sweep.results | {'summary': self.rows}
        self.varying_keys = varying_keys(summary.collect(self.runs, 'hyper'))
        self.setting_keys = list(self.varying_keys)
        self.setting_keys.remove('seed')
        self.compared_rows = self._rows_with(f'delta_{self.measure.key}')
        rows = without_negative_lam(self.compared_rows or self._rows_with(self.measure.key))
        self.candidate_rows = with_most_enrolled(rows)
        self.best_row = self._find_best_row()
        self.plain_row = self._find_plain_row()
        self.model_row = choose_model_row(self.rows, self.runs, self.measure)
        self.chance = self._chance()
        self.tested_speakers = self._find_tested_speakers()

    def _rows_with(self, key: str) -> list[dict]:
        return [row for row in self.rows if row[key] is not None]

    def _find_best_row(self) -> dict | None:
        """Returns the candidate with the best main measure on dev, the first of equals."""
        best_row = None
        dev_key = f'dev_{self.measure.key}'
        for row in self.candidate_rows:
            if best_row is None or row[dev_key] > best_row[dev_key]:
                best_row = row
        return best_row

    def _find_plain_row(self) -> dict | None:
        if not self.compared_rows:
            return None
        settings = list(map(self._setting, self.rows))
        best_setting = self._setting(self.best_row)
        return self.rows[summary.find_plain_reference_index(best_setting, settings, self.config)]

    def _setting(self, row: dict) -> dict:
        """Returns the values of the swept keys in a row, or in the hyper-parameters of a run."""
        return {key: row.get(key) for key in self.setting_keys}

    def _chance(self) -> float:
        """Returns the value that guessing reaches; UAR leaves out classes that were not tested."""
        if self.measure.chance is not None:
            return self.measure.chance
        if self.best_row is None:
            return 1 / len(self.classes)
        return 1 / int(np.any(self.best_row['confusion'], axis=1).sum())

    def _find_tested_speakers(self) -> list[str]:
        runs = self.runs
        if self.best_row:
            runs = self.complete_runs(self.best_row)
        speakers = set()
        for run in runs:
            if run['status'] == 'ok':
                speakers.update(self.run_predictions(run).speaker_N.tolist())
        return sorted(speakers)

    def run_predictions(self, run: dict) -> RunPredictions:
        """Returns the test predictions of a run."""
        return self.predictions[run_label(run['hyper'], self.varying_keys), run['hyper']['fold']]

    def setting_label(self, row: dict) -> str:
        """Returns the label of a setting in files, e.g. 'lam=0.3'."""
        return run_label(row, self.setting_keys) or method_name(self.config)

    def setting_title(self, row: dict) -> str:
        """Returns the title of a setting for people, e.g. 'dann, lam = 0.3'."""
        return setting_title(self._method_keys | row, ['method', *self.setting_keys])

    def complete_runs(self, row: dict) -> list[dict]:
        """Returns the runs of a setting, without the seeds of which a fold diverged."""
        setting = self._setting(row)
        runs = []
        for run in self.runs:
            if self._setting(run['hyper']) == setting:
                runs.append(run)
        return summary.complete_seeds(runs)

    def confusion_counts(self, row: dict) -> np.ndarray:
        """Returns count_ZxSxCxC of a setting; the speakers are `tested_speakers`."""
        pooled = self.pooled_predictions(row)
        return summary.recall_statistics(pooled, len(self.classes)).count_ZxSxCxC

    def statistics(self, row: dict, measure: Measure | None = None) -> Statistics:
        """Returns what the `tested_speakers` contribute to a measure of a setting.

        Without `measure` it is the main measure.
        """
        pooled = self.pooled_predictions(row)
        return summary.measure_statistics(pooled, measure or self.measure, len(self.classes))

    def pooled_predictions(self, row: dict) -> list[RunPredictions]:
        """Returns the test predictions of each seed of a setting, the folds pooled."""
        return summary.pool_folds(self.predictions, self.complete_runs(row), self.varying_keys)

    def speaker_groups(self, kind: str) -> dict[str, np.ndarray]:
        """Returns {group: a mask of shape (S,) of the tested speakers that belong to it}.

        `kind` is corpus, language or sex; with 'speaker' each speaker is a group. Speakers whose
        corpus, language or sex is unknown are in no group.
        """
        attributes = self.results.get('speakers', {})
        group_by_speaker = []
        for speaker in self.tested_speakers:
            if kind == 'speaker':
                group_by_speaker.append(speaker)
            else:
                group_by_speaker.append(attributes.get(speaker, {}).get(kind, ''))
        group_S = np.array(group_by_speaker)
        masks = {}
        for group in np.unique(group_S).tolist():
            if group:
                masks[group] = group_S == group
        return masks

    def enrolled(self, row: dict) -> int | str | None:
        """Returns the number of enrolled utterances of a speaker, or 'all'.

        Returns None where speakers are not enrolled.
        """
        if self.config.get('data', {}).get('normalise') != 'speaker_enrolled':
            return None
        enrol = row.get('enrol')
        return self.config['protocol']['enrol'] if enrol is None else enrol

    @property
    def is_all_plain(self) -> bool:
        """Whether every setting is plain training."""
        return self.plain_titles == set(map(self.setting_title, self.rows))

    @property
    def plain_titles(self) -> set[str]:
        """The titles of the settings that are plain training."""
        titles = set()
        for row in self.rows:
            if method_name(self._method_keys | row) in summary.PLAIN_METHODS:
                titles.add(self.setting_title(row))
        return titles

    @property
    def compared_pair(self) -> dict[str, dict]:
        """The best row and the row of plain training by title, without those that do not exist."""
        pair = {}
        for row in (self.best_row, self.plain_row):
            if row:
                pair[self.setting_title(row)] = row
        return pair


def choose_model_row(rows: list[dict], runs: list[dict], measure: Measure) -> dict:
    """Returns the row of the setting that becomes the model: the one that is best on dev.

    It has the best mean of the main measure. Of settings with the same mean, or without one, it is
    the setting with most runs that did not diverge. A setting with a negative lam, which keeps the
    domain, is chosen only if all others diverged. Of numbers of enrolled utterances, with which
    training is the same, it is the largest.
    """
    dev_key = f'dev_{measure.key}'
    with_dev = [row for row in rows if row[dev_key] is not None]
    candidates = with_most_enrolled(without_negative_lam(with_dev or rows))
    preferences = []
    for row in candidates:
        preferences.append((row[dev_key] or 0.0, len(finished_runs(runs, row))))
    return candidates[preferences.index(max(preferences))]


def finished_runs(runs: list[dict], row: dict) -> list[dict]:
    """Returns the hyper-parameters of a setting's runs that did not diverge."""
    setting_keys = summary.swept_keys(row)
    finished = []
    for run in runs:
        hyper = run['hyper']
        has_setting = all(hyper.get(key) == row[key] for key in setting_keys)
        if run['status'] == 'ok' and has_setting:
            finished.append(hyper)
    return finished


def without_negative_lam(rows: list[dict]) -> list[dict]:
    """Returns the rows without those of a negative lam; all of them if there are no others.

    A negative coefficient trains the encoder to keep the domain: a control that is not chosen.
    """
    return [row for row in rows if (row.get('lam') or 0) >= 0] or rows


def with_most_enrolled(rows: list[dict]) -> list[dict]:
    """Returns, of rows that differ only in `enrol`, those with the most enrolled utterances.

    The number is a condition of the test that is not chosen: training is the same.
    """
    most: dict[tuple, float] = {}
    for row in rows:
        setting = _setting_without_enrol(row)
        most[setting] = max(_enrolled_limit(row), most.get(setting, 0))
    return [row for row in rows if _enrolled_limit(row) == most[_setting_without_enrol(row)]]


def _setting_without_enrol(row: dict) -> tuple:
    return tuple(row[key] for key in summary.swept_keys(row) if key != 'enrol')


def _enrolled_limit(row: dict) -> float:
    """Returns the number of enrolled utterances of a row; infinity for all."""
    enrol = row.get('enrol', 'all')
    return np.inf if enrol in ('all', None) else enrol

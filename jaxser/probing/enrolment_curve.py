"""Measures UAR or CCC, and leakage, by the number of enrolled utterances of each tested speaker.

The parameters of a run are the same for all numbers of enrolled utterances: only the offsets of the
tested speakers differ. The rows of the result are described in jaxser/analysis/enrolment.py.
"""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.enrolment import choose_enrolled, redraw_enrolment
from data_pipelines.protocols.folds import Fold
from jaxser import distributed, plugins
from jaxser.analysis import bootstrap, concordance, enrolment, summary
from jaxser.analysis.enrolment import ENROLLED, SOURCES
from jaxser.analysis.measure import CCC, main_measure
from jaxser.analysis.statistics import ConcordanceStatistics
from jaxser.configuration.serialization import config_to_dict
from jaxser.nn.output_head import split_outputs
from jaxser.probing.answers import make_answer
from jaxser.probing.jobs import Job, ShapeTable, fit_jobs
from jaxser.probing.questions import Question, make_questions
from jaxser.runs import varying_keys
from jaxser.training import restore
from jaxser.training.task import Task
from jaxser.workdir import Workdir

DRAWS = 10  # of the utterances that are set aside

# Leakage is measured in the first draw, with any emotion enrolled.
PROBED_SOURCE = 'any'
PROBED_DRAW = 0

Key = tuple[str, int | str]  # (enrol_from, enrol), as in `enrolment.curve_rows`


class Condition(NamedTuple):
    """What is enrolled in a draw, and the folds with these enrolled utterances."""

    draw: int
    source: str  # enrol_from
    enrol: int | str
    folds: list[Fold]  # in the order of Task.subset_folds

    @property
    def key(self) -> Key:
        """Returns the condition without its draw."""
        return self.source, self.enrol

    def enrolled_rows(self) -> tuple:
        """Returns the draw and the enrolled rows: if they are equal, so are the predictions."""
        return self.draw, *(np.sort(fold.enrolled).tobytes() for fold in self.folds)


class Prediction(NamedTuple):
    """The results of a group's runs under a condition, by the position of the run."""

    sums: dict[int, np.ndarray]  # those of `Curve._sum_speakers`
    answers: dict[int, dict]  # to the question `unseen_speaker`; {} if leakage is not measured


class RunRecord(NamedTuple):
    """What was measured of one run."""

    sums: dict[Key, list[np.ndarray]]  # those of `Curve._sum_speakers`, of every draw
    answers: dict[Key, dict]  # to the question `unseen_speaker`


def run_curve(
    path, data: str | None = None, upstream: str | None = None, draws: int = DRAWS
) -> dict:
    """Measures the enrolment curve of the finished sweep in `path`, unless it is measured already.

    Leakage is measured too if the sweep was probed. Adds the curve to results.json. Returns the
    contents of results.json in the main process, and {} in the others.

    Args:
      path: the workdir.
      data: where the shards are now, if they have been moved since training.
      upstream: where the fine-tuned pretrained encoder is now, if it has been moved.
      draws: the number of random choices of what is enrolled.

    Raises:
      UserError: the sweep is not finished, or does not enrol speakers.
    """
    workdir = Workdir.open(path, data, upstream)
    results = workdir.load_results()
    if results is None:
        raise UserError(
            f'{path} contains no finished sweep (no results.json). Repeat the command that started '
            'it: training continues where it stopped.'
        )
    normalisation = workdir.config.data.normalise
    if normalisation != 'speaker_enrolled':
        raise UserError(
            f'The sweep in {path} enrols no speakers: it was trained with '
            f'config.data.normalise={normalisation}. Train one with '
            '--config.data.normalise=speaker_enrolled --config.protocol.enrol=all.'
        )
    with_leakage = _is_probed(results['runs'])
    if _is_measured(results.get('enrolment', {}), draws, with_leakage):
        return results
    rows = _measure(workdir, results['runs'], draws, with_leakage)
    if not distributed.is_main_process():
        return {}
    results['enrolment'] = {'draws': draws, 'probed': with_leakage, 'rows': rows}
    workdir.save_results(results)
    return results


def list_sources(classes: list[str]) -> list[str]:
    """Returns what may be enrolled, by the classes that are predicted.

    For ratings it is any utterance: they have no emotion.
    """
    if not classes:
        return ['any']
    return [source for source in SOURCES if source != 'neutral' or 'neutral' in classes]


def _is_measured(curve: dict, draws: int, with_leakage: bool) -> bool:
    """Whether a curve of results.json has as many draws or more, and leakage if it is wanted."""
    has_leakage = curve.get('probed') or not with_leakage
    return curve.get('draws', 0) >= draws and has_leakage


def _measure(workdir: Workdir, runs: list[dict], draws: int, with_leakage: bool) -> list[dict]:
    """Returns the rows of the curve."""
    config = workdir.config
    measured = choose_runs(runs)
    hypers = summary.collect(measured, 'hyper')

    def is_measured(hyper: dict) -> bool:
        return hyper in hypers

    curve = None
    records: list[RunRecord] = []
    with (
        plugins.matmul_precision_context(config),
        distributed.progress_bar(1, 'prediction') as bar,
    ):
        bar.set_description('Measuring enrolment')
        for trainer, group, variables in restore.restored_groups(workdir, is_measured):
            if curve is None:
                curve = Curve(trainer.task, config, draws, with_leakage)
                bar.total = curve.count_steps() * len(measured)
                bar.refresh()
            positions = [n for n, hyper in enumerate(group.runs) if is_measured(hyper)]
            records += curve.measure(trainer, group, variables, positions, bar.update)
    return curve.make_rows(measured, records)


def _is_probed(runs: list[dict]) -> bool:
    """Whether leakage was measured for any run; then it is measured here too."""
    return any(run.get('probe') for run in runs)


def choose_runs(runs: list[dict]) -> list[dict]:
    """Returns the runs to measure.

    Of runs that differ only in `enrol` it is the one with the most enrolled utterances. Training is
    the same; what may differ is the epoch that was selected on dev, and what a method fits to the
    trained representations (Method.fit).
    """
    chosen: dict[tuple, dict] = {}
    for run in runs:
        key = tuple(item for item in run['hyper'].items() if item[0] != 'enrol')
        if key not in chosen or _enrolled_limit(run) > _enrolled_limit(chosen[key]):
            chosen[key] = run
    return [run for run in runs if run in chosen.values()]


def _enrolled_limit(run: dict) -> float:
    """Returns the number of enrolled utterances of a run; infinity for all."""
    enrol = run['hyper'].get('enrol', 'all')
    return np.inf if enrol == 'all' else enrol


class Curve:
    """Measures runs under all conditions."""

    def __init__(self, task: Task, config, draws: int, with_leakage: bool):
        self.task = task
        self.seed = config.data.order_seed
        self.draws = draws
        self.with_leakage = with_leakage
        self.speakers, self.speaker_N = np.unique(
            task.utterances.text['speaker'], return_inverse=True
        )
        self.main_measure = main_measure(config_to_dict(config))
        self.sources = list_sources(task.classes)
        # Mean numbers of enrolled utterances of a tested speaker, of each draw and group.
        self.utterances: dict[Key, list[float]] = {}

    def count_steps(self) -> int:
        """Returns the number of steps of the progress bar for each run."""
        return self.draws * len(self.sources) * len(ENROLLED)

    def conditions(self) -> Iterator[Condition]:
        """Yields all conditions, draw by draw."""
        utterances = self.task.utterances
        for draw in range(self.draws):
            for source in self.sources:
                folds = []
                for fold in self.task.subset_folds:
                    # In training the last number of the seed was 0 (reserve_enrolment).
                    seed = (self.seed, fold.number, 1 + draw)
                    folds.append(redraw_enrolment(utterances, fold, source, 'all', seed))
                for enrol in ENROLLED:
                    enrolled = [choose_enrolled(utterances, fold, enrol) for fold in folds]
                    yield Condition(draw, source, enrol, enrolled)

    def measure(
        self, trainer, group, variables: tuple, positions: list[int], on_progress
    ) -> list[RunRecord]:
        """Returns the records of the runs at these positions of a group.

        `variables` are (params, batch_stats) of the runs of the group. `on_progress` is called with
        a number of finished steps.
        """
        records = [RunRecord({}, {}) for _ in positions]
        predictions: dict[tuple, Prediction] = {}
        for condition in self.conditions():
            enrolled_rows = condition.enrolled_rows()
            if enrolled_rows not in predictions:
                predictions[enrolled_rows] = self._predict(
                    trainer, group, variables, positions, condition
                )
            prediction = predictions[enrolled_rows]
            self.utterances.setdefault(condition.key, []).append(self._mean_enrolled(condition))
            for index, n in enumerate(positions):
                sums = records[index].sums.setdefault(condition.key, [])
                sums.append(prediction.sums[n])
                if condition.source == PROBED_SOURCE and n in prediction.answers:
                    records[index].answers[condition.key] = prediction.answers[n]
            on_progress(len(positions))
        return records

    def _predict(
        self, trainer, group, variables: tuple, positions: list[int], condition: Condition
    ) -> Prediction:
        """Returns the predictions of the runs at these positions of a group."""
        trainer, group = _with_folds(trainer, group, condition.folds)
        test, outputs = restore.predict_part(trainer, group, variables, 'test')
        sums = {n: self._sum_speakers(*outputs.get_run(n)) for n in positions}
        is_probed = condition.source == PROBED_SOURCE and condition.draw == PROBED_DRAW
        if not (self.with_leakage and is_probed):
            return Prediction(sums, {})
        dev, _ = restore.predict_part(trainer, group, variables, 'dev')
        jobs = {}
        for n in positions:
            question = self._unseen_question(condition.folds[group.subset_fold_N[n]])
            rows, z_NxD = map(np.concatenate, zip(dev.get_run(n), test.get_run(n)))
            if question is not None and np.isfinite(z_NxD).all():
                order = np.argsort(rows)
                jobs[n] = Job(question, rows[order], z_NxD[order])
        return Prediction(sums, _attack(jobs))

    def _sum_speakers(self, rows: np.ndarray, output_NxO: np.ndarray) -> np.ndarray:
        """Returns what every speaker contributes to the measure, from the outputs of the rows.

        For UAR it is count_SxCx2, the numbers of all utterances and of those classified correctly;
        for CCC moment_SxAx6. The first of the last axis is a number of utterances in both.
        """
        p_NxC, rating_NxA = split_outputs(output_NxO, len(self.task.classes))
        if self.main_measure == CCC:
            return self._sum_ratings(rows, rating_NxA)
        truth_N = self.task.table.emotion_N[rows]
        count_SxCx2 = np.zeros((len(self.speakers), p_NxC.shape[1], 2), np.int32)
        np.add.at(count_SxCx2[..., 0], (self.speaker_N[rows], truth_N), 1)
        is_correct_N = p_NxC.argmax(1) == truth_N
        np.add.at(count_SxCx2[..., 1], (self.speaker_N[rows], truth_N), is_correct_N)
        return count_SxCx2

    def _sum_ratings(self, rows: np.ndarray, rating_NxA: np.ndarray) -> np.ndarray:
        """Returns moment_SxAx6 of all speakers; it is 0 for those who are not tested."""
        moment_SxAx6 = np.zeros((len(self.speakers), rating_NxA.shape[1], concordance.MOMENTS))
        moment_SxAx6[np.unique(self.speaker_N[rows])] = concordance.speaker_moments(
            self.speaker_N[rows], self.task.table.rating_NxA[rows], rating_NxA
        )
        return moment_SxAx6

    def _unseen_question(self, fold: Fold) -> Question | None:
        """Returns the question `unseen_speaker` of a fold; None if the fold has none."""
        for question in make_questions(self.task.table, fold, self.seed):
            if question.name == 'unseen_speaker':
                return question
        return None

    def _mean_enrolled(self, condition: Condition) -> float:
        """Returns the mean number of enrolled utterances of a tested speaker, over the folds."""
        enrolled = tested = 0
        for fold in condition.folds:
            speakers = np.unique(self.speaker_N[fold.test])
            tested += np.count_nonzero(self.speakers[speakers] != '')
            enrolled += np.isin(self.speaker_N[fold.enrolled], speakers).sum()
        return float(enrolled / max(tested, 1))

    def make_rows(self, runs: list[dict], records: list[RunRecord]) -> list[dict]:
        """Returns the rows of the curve, from the records of the runs."""
        hypers = summary.collect(runs, 'hyper')
        keys = [key for key in varying_keys(hypers) if key not in ('seed', 'enrol')]
        by_setting: dict[tuple, list[int]] = {}
        for n, hyper in enumerate(hypers):
            by_setting.setdefault(tuple(map(hyper.get, keys)), []).append(n)
        rows = []
        for values, indices in by_setting.items():
            complete = summary.complete_seeds([runs[n] for n in indices])
            indices = [n for n in indices if runs[n] in complete]
            if indices:
                measured = self._pool_runs(
                    [hypers[n] for n in indices], [records[n] for n in indices]
                )
                rows += enrolment.curve_rows(dict(zip(keys, values)), measured)
        return rows

    def _pool_runs(
        self, hypers: list[dict], records: list[RunRecord]
    ) -> dict[Key, enrolment.Measured]:
        """Returns what was measured of the runs of a setting, the folds of each seed pooled."""
        measured = {}
        for key, values in self.utterances.items():
            sums_by_seed: dict[int, np.ndarray] = {}
            for hyper, record in zip(hypers, records):
                sums = sums_by_seed.get(hyper['seed'], 0) + np.stack(record.sums[key])
                sums_by_seed[hyper['seed']] = sums
            sums = np.stack(list(sums_by_seed.values()), axis=1)  # draws, seeds, speakers, ...
            is_tested_S = sums[:, 0, ..., 0].any((0, 2))
            by_draw = list(map(self._make_statistics, sums[:, :, is_tested_S]))
            answers = [record.answers[key] for record in records if key in record.answers]
            measured[key] = enrolment.Measured(
                enrolment.DrawStatistics(by_draw), float(np.mean(values)), answers
            )
        return measured

    def _make_statistics(self, sums: np.ndarray) -> bootstrap.Statistics:
        """Returns the statistics of a draw; the first axis of the sums is that of the seeds."""
        if self.main_measure == CCC:
            return ConcordanceStatistics(sums)
        total_ZxSxC, correct_ZxSxC = np.moveaxis(sums, -1, 0)
        return enrolment.RecallCounts(correct_ZxSxC, total_ZxSxC[0])


def _attack(jobs: dict[int, Job]) -> dict[int, dict]:
    """Returns the answers to the questions of the jobs."""
    shapes = ShapeTable([job.question for job in jobs.values()])
    for job in jobs.values():
        shapes.add_width(job.x_NxD.shape[1])
    answers = {}
    positions = list(jobs)
    for number, outcome in fit_jobs(list(jobs.values()), shapes):
        n = positions[number]
        answers[n] = make_answer(jobs[n].question, [outcome])
    return {n: answers[n] for n in positions}


def _with_folds(trainer, group, folds: list[Fold]) -> tuple:
    """Returns a trainer and a group that predict other folds with the same functions."""
    task = copy.copy(trainer.task)
    task.subset_folds = folds
    task.table = task.table.with_enrolment(folds)
    trainer, group = copy.copy(trainer), copy.copy(group)
    trainer.task = group.task = task
    return trainer, group

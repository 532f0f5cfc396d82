"""Probes runs: fits attackers on their representations, and measures what they recognise.

A question is a classification task, such as recognising the speaker; an answer is its result. The
keys of an answer are described in jaxser/probing/answers.py.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from jaxser import distributed, plugins
from jaxser.analysis import adversary, predictions, summary
from jaxser.configuration import sweep
from jaxser.nn.output_head import split_outputs
from jaxser.probing import adversary_heads
from jaxser.probing.answers import make_answer, part_of_answer
from jaxser.probing.input_statistics import input_statistics, principal_components
from jaxser.probing.jobs import Job, ShapeTable, fit_jobs, run_in_threads
from jaxser.probing.questions import SCORED_QUESTIONS, Question, make_questions
from jaxser.probing.sampler import RepresentationSampler
from jaxser.probing.verification import verification_error
from jaxser.training import restore, tracking, validate
from jaxser.workdir import Workdir

MIN_POSTERIOR = 1e-7  # lower ones are raised to it before the logarithm


class Representation(NamedTuple):
    """The array to probe: x_NxD of the utterances `rows` (ascending) that a fold uses."""

    fold_index: int
    rows: np.ndarray
    x_NxD: np.ndarray
    # What the network predicts: log-posteriors, and then ratings; None for the input.
    output_NxO: np.ndarray | None = None

    def is_finite(self) -> bool:
        """Whether all values are finite; those of a diverged run are not."""
        return bool(np.isfinite(self.x_NxD).all())


class PlannedJob(NamedTuple):
    """A job, and where its result belongs."""

    index: int  # of the representation
    of_outputs: bool  # the attackers have the outputs instead of the representation
    question: Question
    turn: int  # of the question
    job: Job


class Prober:
    """Probes the runs of a task. Their input, the reference, is the same and is probed once."""

    def __init__(self, task, seed: int):
        self.task = task
        self.seed = seed
        has_classes = len(task.classes) > 0
        self.questions = []
        for fold in task.subset_folds:
            self.questions.append(make_questions(task.table, fold, seed, has_classes))
        all_turns = []
        for question in itertools.chain.from_iterable(self.questions):
            all_turns += question.turns()
        self.shapes = ShapeTable(all_turns)
        self.input_answers: list | None = None

    def count_jobs(self, fold_index: int) -> int:
        """Returns the number of steps of the progress bar for a run, and for a fold's input."""
        return len(self.questions[fold_index]) + 1  # verification

    def probe_group(
        self,
        group,
        representations: tracking.Collected,
        outputs: tracking.Collected,
        on_progress: Callable[[int], object] = lambda count: None,
    ) -> list[dict | None]:
        """Returns the answers of a group's runs; None for a representation that is not finite.

        The answers of a run are {question: answer}; where speakers can be verified, 'verification'
        has {'eer', 'lda_eer', 'speakers', 'input'}. `outputs` are posteriors, and then ratings.
        `on_progress` is called with a number of finished jobs.
        """
        probed = []
        for n, fold_index in enumerate(group.subset_fold_N):
            rows, z_NxD = representations.get_run(n)
            _, output_NxO = outputs.get_run(n)
            p_NxC, rating_NxA = split_outputs(output_NxO, len(self.task.classes))
            log_p_NxC = np.log(np.maximum(p_NxC, MIN_POSTERIOR))
            output_NxO = np.concatenate([log_p_NxC, rating_NxA], 1)
            probed.append(Representation(int(fold_index), rows, z_NxD, output_NxO))
        inputs = self._inputs() if self.input_answers is None else []
        answers = self._probe(inputs + probed, on_progress)
        if self.input_answers is None:
            self.input_answers = answers[: len(inputs)]
        answers = answers[len(inputs) :]
        for representation, run_answers in zip(probed, answers):
            reference = self.input_answers[representation.fold_index]
            for name in run_answers or ():
                run_answers[name]['input'] = part_of_answer(reference.get(name))
        return answers

    def _inputs(self) -> list[Representation]:
        """Returns the input statistics of every fold."""

        def make_input(fold_index: int) -> Representation:
            rows = self.task.subset_folds[fold_index].used_rows
            x_NxM = input_statistics(self.task, fold_index, rows)
            is_fitted_N = np.isin(rows, self.task.subset_folds[fold_index].fit_rows)
            return Representation(fold_index, rows, principal_components(x_NxM, is_fitted_N))

        inputs = dict(run_in_threads(make_input, list(range(len(self.task.subset_folds)))))
        return [inputs[fold_index] for fold_index in sorted(inputs)]

    def _probe(
        self, representations: list[Representation], on_progress: Callable[[int], object]
    ) -> list[dict | None]:
        """Returns the answers about each representation; None for one that is not finite."""
        answers = [{} if r.is_finite() else None for r in representations]
        planned = []
        for index, representation in enumerate(representations):
            self.shapes.add_width(representation.x_NxD.shape[1])
            if answers[index] is None:
                on_progress(self.count_jobs(representation.fold_index))
            else:
                planned += self._plan_jobs(index, representation)
        output_answers = {}
        outcomes: dict[tuple, dict] = {}
        for number, outcome in fit_jobs([plan.job for plan in planned], self.shapes):
            index, of_outputs, question, turn, _ = planned[number]
            key = index, of_outputs, question.name
            outcome_by_turn = outcomes.setdefault(key, {})
            outcome_by_turn[turn] = outcome
            if len(outcome_by_turn) < len(question.turns()):
                continue
            del outcomes[key]
            answer = make_answer(question, [outcome_by_turn[n] for n in sorted(outcome_by_turn)])
            if of_outputs:
                output_answers[index, question.name] = part_of_answer(answer)
            else:
                answers[index][question.name] = answer
                on_progress(1)
        for (index, name), answer in output_answers.items():
            answers[index][name]['scores'] = answer
        self._verify(representations, answers, on_progress)
        return [self._in_order(answer, r) for answer, r in zip(answers, representations)]

    def _plan_jobs(self, index: int, representation: Representation) -> list[PlannedJob]:
        """Returns the jobs of a representation."""
        fold_index, rows, x_NxD, output_NxO = representation
        has_outputs = output_NxO is not None
        if has_outputs:
            self.shapes.add_width(output_NxO.shape[1])
        planned = []
        for question in self.questions[fold_index]:
            for turn, asked in enumerate(question.turns()):
                job = Job(asked, rows, x_NxD)
                planned.append(PlannedJob(index, False, question, turn, job))
                if has_outputs and question.name in SCORED_QUESTIONS:
                    job = Job(asked, rows, output_NxO)
                    planned.append(PlannedJob(index, True, question, turn, job))
        return planned

    def _in_order(self, answers: dict | None, representation: Representation) -> dict | None:
        """Returns the answers in the order of the questions, not in that of their completion."""
        if answers is None:
            return None
        names = [question.name for question in self.questions[representation.fold_index]]
        return {name: answers[name] for name in [*names, 'verification'] if name in answers}

    def _verify(
        self,
        representations: list[Representation],
        answers: list[dict | None],
        on_progress: Callable[[int], object],
    ) -> None:
        """Adds the equal error rates of speaker verification to the answers."""
        speaker_N = self.task.utterances.text['speaker']
        finite = [n for n, run_answers in enumerate(answers) if run_answers is not None]

        def verify(n: int) -> dict | None:
            fold_index, rows, x_NxD, _ = representations[n]
            fold = self.task.subset_folds[fold_index]
            return verification_error(x_NxD, rows, fold, speaker_N, self.seed)

        for position, verification in run_in_threads(verify, finite):
            if verification:
                answers[finite[position]]['verification'] = verification
            on_progress(1)


def probe_sweep(path, data: str | None = None, upstream: str | None = None) -> dict:
    """Probes every run of the finished sweep in `path`, unless they are probed already.

    Adds the measurements to results.json, and writes representations.npz. Returns the contents of
    results.json in the main process, and {} in the others.

    Args:
      path: the workdir.
      data: where the shards are now, if they have been moved since training.
      upstream: where the fine-tuned pretrained encoder is now, if it has been moved.

    Raises:
      UserError: the sweep is not finished, or `upstream` is not its encoder.
    """
    workdir = Workdir.open(path, data, upstream)
    if upstream:
        _check_encoder(workdir, upstream)
    results = workdir.load_results()
    if results is None:
        raise UserError(
            f'{path} contains no finished sweep (no results.json). Repeat the command that started '
            'it: training continues where it stopped.'
        )
    if _is_probed(workdir, results):
        return results
    sampler = RepresentationSampler(summary.collect(results['runs'], 'hyper'))
    text = _probe_runs(workdir, results['runs'], sampler)
    _judge_adversaries(results['runs'], workdir.config.to_dict())
    if not distributed.is_main_process():
        return {}
    workdir.save_representations(sampler.to_arrays(text))
    results['summary'] = _summarise(workdir, results)
    workdir.save_results(results)
    return results


def _check_encoder(workdir: Workdir, upstream: str) -> None:
    if workdir.config.model.name != 'fine_tuned':
        raise UserError(
            f'The sweep in {workdir.path} trains no pretrained encoder: leave out '
            f'--upstream {upstream}.'
        )
    validate.plan_programs(workdir.config)  # only for its check of the encoder's weights


def _is_probed(workdir: Workdir, results: dict) -> bool:
    """Whether the runs were measured with all attackers; earlier versions had fewer."""
    for run in results['runs']:
        if 'probe' not in run:
            return False
        answers = (run['probe'] or {}).values()
        if any('linear' in answer and 'strongest' not in answer for answer in answers):
            return False
    return (workdir.path / 'representations.npz').exists()


def _probe_runs(
    workdir: Workdir, runs: list[dict], sampler: RepresentationSampler
) -> dict[str, np.ndarray]:
    """Adds 'probe' and 'refit' to the runs, and representations to the sampler.

    Returns the text columns of the utterances.
    """
    config = workdir.config
    prober = None
    answers, refits = [], []
    with (
        plugins.matmul_precision_context(config),
        distributed.progress_bar(1, 'answer') as bar,
    ):
        bar.set_description('Measuring leakage')
        for trainer, group, selected in restore.restored_groups(workdir):
            if prober is None:
                prober = Prober(trainer.task, config.data.order_seed)
                bar.total = _count_all_jobs(prober, runs)
                bar.refresh()
            found, outputs = restore.predict_part(trainer, group, selected, 'used_rows')
            params, _ = selected
            answers += prober.probe_group(group, found, outputs, bar.update)
            refits += adversary_heads.refit_heads(trainer, group, params, found)
            sampler.add(group, found, trainer.task.subset_folds)
    for run, run_answers, refit in zip(runs, answers, refits, strict=True):
        is_ok = run['status'] == 'ok'
        run['probe'] = run_answers if is_ok else None
        run['refit'] = refit if is_ok else None
    return prober.task.utterances.text


def _count_all_jobs(prober: Prober, runs: list[dict]) -> int:
    """Returns the number of steps of the progress bar: for all runs, and for the folds' inputs."""
    task = prober.task
    fold_indices = list(range(len(task.subset_folds)))
    for run in runs:
        key = (run['hyper']['fold'], sweep.run_subset(run['hyper']))
        fold_indices.append(task.subset_fold_index[key])
    return sum(prober.count_jobs(fold_index) for fold_index in fold_indices)


def _judge_adversaries(runs: list[dict], config: dict) -> None:
    """Adds 'adversary', the verdict on their adversary, to the runs."""
    verdicts = adversary.adversary_verdicts(runs, config)
    for run, verdict in zip(runs, verdicts, strict=True):
        run['adversary'] = verdict


def _summarise(workdir: Workdir, results: dict) -> list[dict]:
    """Returns the summary of the runs, now with leakage and verdicts."""
    runs, classes, ratings = results['runs'], results['classes'], results.get('ratings', [])
    blocks = predictions.read_blocks(workdir.path / 'predictions.csv', runs)
    predicted = predictions.read_predictions(blocks, classes, ratings)
    config = workdir.config.to_dict()
    return summary.summary_rows(runs, predicted, config, len(classes), ratings)

"""Probes runs: fits new classifiers on their representations and measures their recall.

A question is a classification task, such as recognising the speaker; an answer is its result.
"""

from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from jaxser import distributed, plugins
from jaxser.analysis import adversary, metrics, predictions, summary
from jaxser.probing import adversary_heads, classifiers
from jaxser.probing.input_statistics import (
    MAX_INPUT_COMPONENTS,
    input_statistics,
    principal_components,
)
from jaxser.probing.questions import Question, make_questions
from jaxser.probing.sampler import RepresentationSampler
from jaxser.probing.verification import verification_error
from jaxser.training import restore, tracking, validate
from jaxser.workdir import Workdir

MEASURE_KEYS = ('linear', 'mlp', 'eer')  # figures of an answer that are also measured on the input
CLASSIFIERS_PER_DISPATCH = 16


class Representation(NamedTuple):
    """The array to probe: x_NxD of the utterances `rows` (ascending) that a fold uses."""

    fold_index: int
    rows: np.ndarray
    x_NxD: np.ndarray

    def is_finite(self) -> bool:
        """Whether all values are finite; those of a diverged run are not."""
        return bool(np.isfinite(self.x_NxD).all())


class Job(NamedTuple):
    """A question about the representation with this index in a list."""

    index: int
    question: Question


class Prober:
    """Probes the runs of a task. Their input, the reference, is the same and is probed once."""

    def __init__(self, task, seed: int):
        self.task = task
        self.seed = seed
        self.questions = [make_questions(task.table, fold, seed) for fold in task.subset_folds]
        self.class_count = 0
        for fold_questions in self.questions:
            for question in fold_questions:
                highest_label = int(question.label_N[question.fit_rows].max())
                self.class_count = max(self.class_count, highest_label + 1)
        self.input_answers: list | None = None

    def probe_group(self, group, representations: tracking.Collected) -> list[dict | None]:
        """Returns the answers of a group's runs; None for a representation that is not finite.

        The answers of a run are {question: {'linear', 'mlp', 'chance', 'input', ...}}; where
        speakers can be verified, 'verification' has {'eer', 'speakers', 'input'}.
        """
        if self.input_answers is None:
            self.input_answers = self._probe_inputs()
        probed = []
        for n, fold_index in enumerate(group.subset_fold_N):
            probed.append(Representation(int(fold_index), *representations.get_run(n)))
        answers = self._probe(probed)
        for representation, run_answers in zip(probed, answers):
            reference = self.input_answers[representation.fold_index]
            for name in run_answers or ():
                run_answers[name]['input'] = _select_measures(reference[name])
        return answers

    def _probe_inputs(self) -> list[dict | None]:
        """Returns the answers about the input statistics, for every fold."""
        inputs = []
        for fold_index, fold in enumerate(self.task.subset_folds):
            x_NxM = input_statistics(self.task, fold_index, fold.used_rows)
            x_NxD = principal_components(x_NxM, np.isin(fold.used_rows, fold.train_and_adapt))
            inputs.append(Representation(fold_index, fold.used_rows, x_NxD))
        return self._probe(inputs)

    def _probe(self, representations: list[Representation]) -> list[dict | None]:
        """Returns the answers about each representation; None for one that is not finite."""
        answers: list[dict | None] = []
        jobs = []
        for index, representation in enumerate(representations):
            if not representation.is_finite():
                answers.append(None)
                continue
            answers.append({})
            for question in self.questions[representation.fold_index]:
                jobs.append(Job(index, question))
        self._classify(representations, jobs, answers)
        self._verify(representations, answers)
        return answers

    def _classify(
        self, representations: list[Representation], jobs: list[Job], answers: list[dict | None]
    ) -> None:
        """Fits the classifiers of all jobs and adds what they measure to the answers."""
        N = max(len(r.rows) for r in representations)
        D = max(r.x_NxD.shape[1] for r in representations)
        # One compiled program for representations and inputs, unless the inputs are very wide.
        if 2 * self.task.utterances.bands <= MAX_INPUT_COMPONENTS:
            D = max(D, 2 * self.task.utterances.bands)
        for start in range(0, len(jobs), CLASSIFIERS_PER_DISPATCH):
            dispatched = jobs[start : start + CLASSIFIERS_PER_DISPATCH]
            arrays = []
            for index, question in dispatched:
                arrays.append(_classifier_arrays(representations[index], question, N, D))
            # The last job fills an incomplete dispatch, so that all have one shape.
            arrays += [arrays[-1]] * (CLASSIFIERS_PER_DISPATCH - len(dispatched))
            stacked = [np.stack(column) for column in zip(*arrays)]
            scores, _ = classifiers.fit_classifiers(*stacked, self.class_count)
            for j, (index, question) in enumerate(dispatched):
                rows = representations[index].rows
                answers[index][question.name] = self._measure(rows, question, scores, j)

    def _verify(self, representations: list[Representation], answers: list[dict | None]) -> None:
        """Adds the equal error rates of speaker verification to the answers."""
        speaker_N = self.task.table.domain_N['speaker']
        for (fold_index, rows, x_NxD), run_answers in zip(representations, answers):
            if run_answers is None:
                continue
            fold = self.task.subset_folds[fold_index]
            verification = verification_error(x_NxD, rows, fold, speaker_N, self.seed)
            if verification:
                run_answers['verification'] = verification

    def _measure(
        self, rows: np.ndarray, question: Question, scores: dict[str, np.ndarray], j: int
    ) -> dict:
        """Returns the answer of job j: mean recall of each classifier on the test rows; chance."""
        test_positions = np.searchsorted(rows, question.test_rows)
        true_N = question.label_N[question.test_rows]
        answer, confusions = {}, {}
        for kind, scores_JxNxK in scores.items():
            predicted_N = scores_JxNxK[j, test_positions].argmax(1)
            confusions[kind] = metrics.confusion_matrix(true_N, predicted_N, self.class_count)
            answer[kind] = metrics.classification_metrics(confusions[kind])['uar']
        class_count = len(np.unique(question.label_N[question.fit_rows]))
        answer |= {
            'classes': class_count,
            'chance': 1 / class_count,
            'n': len(question.test_rows),
            'strangers': question.unseen_speakers,
        }
        if question.name == 'speaker':
            names_K = self.task.table.domains['speaker']
            answer['recall'] = {}
            for kind, confusion_KxK in confusions.items():
                answer['recall'][kind] = _recalls(names_K, confusion_KxK)
        return answer


def _select_measures(answer: dict | None) -> dict:
    return {key: value for key, value in (answer or {}).items() if key in MEASURE_KEYS}


def _classifier_arrays(
    representation: Representation, question: Question, N: int, D: int
) -> tuple[np.ndarray, ...]:
    """Returns a job's x_NxD, y_N, fit_N, validation_N, padded to N examples and D dimensions."""
    _, rows, x_NxD = representation
    padded_NxD = np.zeros((N, D), np.float32)
    padded_NxD[: len(rows), : x_NxD.shape[1]] = x_NxD
    y_N = np.full(N, -1, np.int32)
    y_N[: len(rows)] = question.label_N[rows]
    fit_N = np.zeros(N, np.float32)
    fit_N[np.searchsorted(rows, question.fit_rows)] = 1
    validation_N = np.zeros(N, np.float32)
    validation_N[np.searchsorted(rows, question.validation_rows)] = 1
    return padded_NxD, y_N, fit_N, validation_N


def _recalls(names_K: np.ndarray, confusion_KxK: np.ndarray) -> dict[str, float]:
    """Returns {name: recall} of every class with test examples."""
    count_K = confusion_KxK.sum(1)
    tested = np.flatnonzero(count_K)
    recall = np.diag(confusion_KxK)[tested] / count_K[tested]
    return dict(zip(names_K[tested].tolist(), recall.tolist()))


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
    has_answers = all('probe' in run for run in results['runs'])
    return has_answers and (workdir.path / 'representations.npz').exists()


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
        distributed.progress_bar(len(runs), 'run') as bar,
    ):
        bar.set_description('Measuring leakage')
        for trainer, group, selected in restore.restored_groups(workdir):
            prober = prober or Prober(trainer.task, config.data.order_seed)
            representations, _ = restore.predict_part(trainer, group, selected, 'used_rows')
            params, _ = selected
            answers += prober.probe_group(group, representations)
            refits += adversary_heads.refit_heads(trainer, group, params, representations)
            sampler.add(group, representations, trainer.task.subset_folds)
            bar.update(len(group.runs))
    for run, run_answers, refit in zip(runs, answers, refits, strict=True):
        is_ok = run['status'] == 'ok'
        run['probe'] = run_answers if is_ok else None
        run['refit'] = refit if is_ok else None
    return prober.task.utterances.text


def _judge_adversaries(runs: list[dict], config: dict) -> None:
    """Adds 'adversary', the verdict on their adversary, to the runs."""
    verdicts = adversary.adversary_verdicts(runs, config)
    for run, verdict in zip(runs, verdicts, strict=True):
        run['adversary'] = verdict


def _summarise(workdir: Workdir, results: dict) -> list[dict]:
    """Returns the summary of the runs, now with leakage and verdicts."""
    runs, classes = results['runs'], results['classes']
    rows = predictions.read_prediction_rows(workdir.path / 'predictions.csv', runs)
    predicted = predictions.read_predictions(rows, classes)
    return summary.summary_rows(runs, predicted, workdir.config.to_dict(), len(classes))

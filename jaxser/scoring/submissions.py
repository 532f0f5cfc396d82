"""Submissions to the leaderboard: folders of scored systems, all of whose figures are checked.

A submission is a folder TASK/SYSTEM with three files:

  system.json       the card (jaxser/scoring/card.py)
  predictions.csv   the predictions of the tested utterances
  results.json      what jaxser.score made of them, for this system alone

The figures of the leaderboard are computed again, from the statistics in results.json (what each
speaker contributes). Where the split file is given, the statistics are computed again from
predictions.csv, too. Leakage cannot be computed again, as submissions have no representations.

Shapes: Z seeds, S speakers, C classes, A ratings.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.tasks import BenchmarkTask, load_task
from data_pipelines.wording import join_first, pluralize
from jaxser.analysis import bootstrap, concordance
from jaxser.analysis.bootstrap import Statistics
from jaxser.analysis.leakage import HEADLINE_QUESTIONS, is_biased_low
from jaxser.analysis.measure import CCC, Measure
from jaxser.schemas import Number, find_violation
from jaxser.scoring.card import GUIDE, SystemCard, parse_card
from jaxser.scoring.evidence import MEASURES, make_evidence, make_statistics, make_task
from jaxser.scoring.predictions_file import read_predictions
from jaxser.scoring.systems import CARD, PREDICTIONS, SystemFiles, read_card
from jaxser.scoring.truth import Truth, read_truth
from jaxser.workdir_files import damaged, parse_json, read_regular

RESULTS = 'results.json'
NAME_PATTERN = re.compile('[A-Za-z0-9][A-Za-z0-9_.-]{0,59}')  # of a folder
MAX_RESULTS_BYTES = 20 * 2**20
MAX_PREDICTIONS_BYTES = 200 * 2**20
MAX_CELLS = 10**7  # of the statistics of a system
TOLERANCE = 1e-9  # between a figure and the same one computed again
SCORE_AGAIN = (
    'Score it again, and do not change what is written: python -m jaxser.score FOLDER --split '
    'split.csv --task TASK --out FOLDER'
)

MAX_NUMBER = 1e15
CLASS_KEYS = ('uar', 'wa', 'f1')  # figures of classes that are compared with the statistics
# The key of a figure by the measure of a task.
MEASURE_KEYS = {'uar': 'uar', 'macro-F1': 'f1', 'ccc': 'ccc'}
SHARE = Number(low=0, high=1)
LEAKAGE_SCHEMA = {'strongest': SHARE, 'chance?': SHARE, 'attacker?': str}
SYSTEM_SCHEMA = {
    'predictions_sha256': str,
    'seeds': list,
    'leakage?': dict,
    'statistics': {'speakers': [str], 'counts?': list, 'moments?': list},
}
SCHEMA = {
    'kind': str,
    'task': str,
    'split_sha256': str,
    'measure': str,
    'classes': [str],
    'ratings': [str],
    'systems': [SYSTEM_SCHEMA],
}


class Submission(NamedTuple):
    """A checked submission."""

    folder: Path
    task: BenchmarkTask
    card: SystemCard
    measure: Measure
    classes: tuple[str, ...]
    ratings: tuple[str, ...]
    seeds: int
    speakers: tuple[str, ...]
    split_sha256: str
    count_ZxSxCxC: np.ndarray | None
    moment_ZxSxAx6: np.ndarray | None
    leakage: dict[str, dict]  # by question: strongest, attacker, chance, seen; {}: not measured
    is_recomputed: bool  # whether the statistics were computed again from the predictions

    @property
    def name(self) -> str:
        """The name of the system."""
        return self.card.name

    @property
    def statistics(self) -> Statistics:
        """What the tested speakers contribute to the measure of the task."""
        return make_statistics(self.measure, self.count_ZxSxCxC, self.moment_ZxSxAx6)


def read_submissions(root: Path, splits: Mapping[str, Path]) -> dict[str, list[Submission]]:
    """Reads and checks all submissions below a folder.

    Args:
      root: The folder, which has TASK/SYSTEM/ for each of them.
      splits: Split files by the name of the task; the predictions of these tasks are scored again.

    Returns:
      The submissions by task, both in alphabetical order.

    Raises:
      UserError: A submission is not valid. The message lists the problems of all submissions.
    """
    folders = find_folders(root)
    unused = sorted(set(splits) - set(folders))
    if unused:
        raise UserError(
            f'--split names the task {unused[0]}, of which {root} has no submission; it has '
            f'{", ".join(folders)}.'
        )
    submissions: dict[str, list[Submission]] = {}
    problems = []
    for name, task_folders in folders.items():
        try:
            task = load_task(name)
            truth = read_truth(splits[name]) if name in splits else None
        except UserError as error:
            problems.append(str(error))
            continue
        for folder in task_folders:
            try:
                submission = read_submission(folder, task, truth)
            except UserError as error:
                problems.append(str(error))
            else:
                submissions.setdefault(name, []).append(submission)
    for same_task in submissions.values():
        problems += find_contradictions(same_task)
    if problems:
        raise UserError('\n'.join(problems))
    return submissions


def find_folders(root: Path) -> dict[str, list[Path]]:
    """Returns the folders of the submissions by the name of the task, in alphabetical order.

    Files beside them, such as a README, are ignored. UserError if there is no submission, or for a
    name that is not allowed.
    """
    if not root.is_dir():
        raise UserError(f'There is no folder {root}; expected one with TASK/SYSTEM/{CARD}.')
    folders: dict[str, list[Path]] = {}
    for task_folder in _list_folders(root):
        for folder in _list_folders(task_folder):
            folders.setdefault(task_folder.name, []).append(folder)
    if not folders:
        raise UserError(
            f'{root} has no submissions; expected TASK/SYSTEM/{CARD}, {PREDICTIONS} and {RESULTS}. '
            'TASK is a name that python -m data_pipelines.tasks lists.'
        )
    return folders


def _list_folders(parent: Path) -> list[Path]:
    """Returns the folders inside a folder; UserError for a link, or a name that is not allowed."""
    folders = []
    for path in sorted(parent.iterdir()):
        if path.name.startswith('.') or not (path.is_dir() or path.is_symlink()):
            continue
        if path.is_symlink():
            raise UserError(f'{path} is a link; expected a folder. Copy the files instead.')
        if not NAME_PATTERN.fullmatch(path.name):
            raise UserError(
                f'{parent} has the folder {path.name!r}; its name may have up to 60 letters, '
                'digits, _, . and -. Rename it: the name on the leaderboard is in the card.'
            )
        folders.append(path)
    return folders


def read_submission(folder: Path, task: BenchmarkTask, truth: Truth | None) -> Submission:
    """Reads a submission and checks it; with the truth, its predictions are scored again.

    Raises a UserError that names the file and what is wrong.
    """
    for name in (CARD, PREDICTIONS, RESULTS):
        if (folder / name).is_symlink():
            raise UserError(f'{folder / name} is a link; expected a file. Copy it instead.')
    card = parse_card(read_card(folder / CARD, f'Correct it. {GUIDE}'), folder / CARD)
    content = read_regular(folder / PREDICTIONS, SCORE_AGAIN, MAX_PREDICTIONS_BYTES)
    results = _read_results(folder / RESULTS)
    _check_task(folder / RESULTS, results, task)
    (system,) = results['systems']
    if system['predictions_sha256'] != hashlib.sha256(content).hexdigest():
        raise UserError(
            f'{folder / RESULTS} was made from other predictions: the SHA-256 of '
            f'{folder / PREDICTIONS} is not the one in it. {SCORE_AGAIN}'
        )
    counts, moments = _read_statistics(folder / RESULTS, results, system)
    submission = Submission(
        folder,
        task,
        card,
        MEASURES[MEASURE_KEYS[task.measure]],
        tuple(results['classes']),
        tuple(results['ratings']),
        len(system['seeds']),
        tuple(system['statistics']['speakers']),
        results['split_sha256'],
        counts,
        moments,
        _read_leakage(folder / RESULTS, system.get('leakage') or {}),
        is_recomputed=truth is not None,
    )
    _check_figures(submission, system)
    if truth is not None:
        _check_predictions(submission, truth)
    return submission


def _read_results(file: Path) -> dict:
    """Returns the content of results.json; UserError unless it has the form of a score."""
    content = read_regular(file, SCORE_AGAIN, MAX_RESULTS_BYTES)
    results = parse_json(file, content.decode(errors='replace'), SCHEMA, SCORE_AGAIN)
    if results['kind'] != 'score':
        raise damaged(file, f'its kind is {results["kind"][:40]!r}; expected score', SCORE_AGAIN)
    if len(results['systems']) != 1:
        raise UserError(
            f'{file} has {pluralize(len(results["systems"]), "system")}; expected this one alone. '
            f'{SCORE_AGAIN}'
        )
    return results


def _check_task(file: Path, results: dict, task: BenchmarkTask) -> None:
    """Raises UserError unless the results are of the task, its measure and its split."""
    if results['task'] != task.name:
        raise UserError(
            f'{file} is of the task {results["task"][:60]!r}, but its folder is that of '
            f'{task.name}. Move it, or score it with --task {task.name}.'
        )
    if task.split_sha256 and results['split_sha256'] != task.split_sha256:
        raise UserError(
            f'{file} is of the split {results["split_sha256"][:16]!r}...; that of the task '
            f'{task.name} is {task.split_sha256[:16]}... Write the split of the official release '
            f'(python -m data_pipelines.tasks {task.name}), train on it and score again.'
        )
    if results['measure'] != MEASURE_KEYS[task.measure]:
        raise UserError(
            f'{file} compares by {results["measure"][:40]!r}; the task {task.name} by '
            f'{task.measure}. {SCORE_AGAIN}'
        )


def _read_statistics(
    file: Path, results: dict, system: dict
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns count_ZxSxCxC and moment_ZxSxAx6; UserError if they are impossible."""
    statistics = system['statistics']
    seeds, speakers = len(system['seeds']), len(statistics['speakers'])
    classes, ratings = len(results['classes']), len(results['ratings'])
    counts = moments = None
    if classes:
        counts = _read_array(file, statistics, 'counts', (seeds, speakers, classes, classes))
        is_whole = (counts >= 0).all() and (counts == np.floor(counts)).all()
        truth_ZxSxC = counts.sum(-1)
        if not is_whole or (truth_ZxSxC != truth_ZxSxC[0]).any():
            raise damaged(file, 'its counts are no counts of the same utterances', SCORE_AGAIN)
        counts = counts.astype(np.int64)
    if ratings:
        shape = (seeds, speakers, ratings, concordance.MOMENTS)
        moments = _read_array(file, statistics, 'moments', shape)
        n, x, y, xx, yy, _ = np.moveaxis(moments, -1, 0)
        is_possible = (n >= 0).all() and (n * xx >= x**2 - TOLERANCE).all()
        if not (is_possible and (n * yy >= y**2 - TOLERANCE).all()):
            raise damaged(file, 'its moments are impossible', SCORE_AGAIN)
    return counts, moments


def _read_array(file: Path, statistics: dict, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns an array of finite numbers; UserError if it has not this shape, or is too large."""
    if not 0 < math.prod(shape) <= MAX_CELLS:
        reason = f'its {key} would have {math.prod(shape)} numbers; expected 1 to {MAX_CELLS}'
        raise damaged(file, reason, SCORE_AGAIN)
    try:
        array = np.array(statistics.get(key), np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.zeros(0)
    if array.shape != shape or not np.isfinite(array).all() or np.abs(array).max() > MAX_NUMBER:
        expected = ' x '.join(map(str, shape))
        raise damaged(file, f'its {key} are not {expected} numbers', SCORE_AGAIN)
    return array


def _read_leakage(file: Path, leakage: dict) -> dict[str, dict]:
    """Returns what is shown of the leakage, by question; UserError if it is impossible."""
    shown = {}
    for question in HEADLINE_QUESTIONS:
        answer = leakage.get(question)
        if answer is None:
            continue
        violation = find_violation(answer, LEAKAGE_SCHEMA, f'leakage.{question}')
        if violation:
            raise damaged(file, violation, SCORE_AGAIN)
        shown[question] = {key: answer.get(key) for key in ('strongest', 'attacker', 'chance')}
        shown[question]['seen'] = is_biased_low(answer)
    return shown


def _check_figures(submission: Submission, system: dict) -> None:
    """Raises UserError if figures are not those of the statistics."""
    keys = []
    keys += CLASS_KEYS if submission.count_ZxSxCxC is not None else ()
    keys += (CCC.key,) if submission.moment_ZxSxAx6 is not None else ()
    differing = []
    for key in keys:
        statistics = make_statistics(
            MEASURES[key], submission.count_ZxSxCxC, submission.moment_ZxSxAx6
        )
        estimate = bootstrap.measure_estimate(statistics)
        computed = [estimate.value, *(estimate.ci95 or ())]
        written = [system.get(key), *(system.get(f'{key}_ci95') or ())]
        if not _is_close(computed, written):
            value = f'{estimate.value:.6f}'
            differing.append(f'{key} is {str(written)[:60]}, and its statistics give {value}')
    if differing:
        raise UserError(
            f'{submission.folder / RESULTS} contradicts itself: {join_first(differing, 3)}. '
            f'{SCORE_AGAIN}'
        )


def _is_close(computed: Sequence[float], written: Sequence) -> bool:
    """Returns whether numbers are equal, apart from rounding."""
    if len(computed) != len(written):
        return False
    is_number = all(isinstance(value, int | float) for value in written)
    return is_number and np.allclose(computed, written, rtol=0, atol=TOLERANCE)


def _check_predictions(submission: Submission, truth: Truth) -> None:
    """Raises UserError if the predictions do not give the statistics."""
    files = SystemFiles(submission.name, submission.folder / PREDICTIONS)
    if truth.split_sha256 != submission.split_sha256:
        raise UserError(
            f'The split file {truth.rows.path} is not that of {submission.folder}: its hash is '
            f'{str(truth.split_sha256)[:16]}..., and that of the submission '
            f'{submission.split_sha256[:16]}...'
        )
    predictions = read_predictions(files, truth)
    task = make_task(truth, [predictions], submission.task.name, submission.measure.key)
    evidence = make_evidence(task, predictions)
    pairs = (
        (evidence.count_ZxSxCxC, submission.count_ZxSxCxC),
        (evidence.moment_ZxSxAx6, submission.moment_ZxSxAx6),
    )
    for computed, written in pairs:
        if not _are_same(computed, written):
            raise UserError(
                f'The predictions in {submission.folder} do not give the statistics in '
                f'{RESULTS}. {SCORE_AGAIN}'
            )


def _are_same(computed: np.ndarray | None, written: np.ndarray | None) -> bool:
    """Returns whether two arrays are equal, apart from rounding, or both missing."""
    if computed is None or written is None:
        return computed is written
    if computed.shape != written.shape:
        return False
    return bool(np.allclose(computed, written, rtol=TOLERANCE, atol=TOLERANCE))


def find_contradictions(submissions: Sequence[Submission]) -> list[str]:
    """Returns a sentence for each submission to a task that has other utterances than the first.

    Two systems of one name are a contradiction, too.
    """
    problems = []
    names: dict[str, Submission] = {}
    first = submissions[0]
    for submission in submissions:
        other = names.setdefault(submission.name, submission)
        if other is not submission:
            problems.append(
                f'{other.folder} and {submission.folder} have one name, {submission.name!r}. '
                'Change one of them in system.json.'
            )
        if not _have_same_truth(first, submission):
            problems.append(
                f'{submission.folder} was tested on other utterances than {first.folder}, or with '
                f'other labels. {SCORE_AGAIN}'
            )
    return problems


def _have_same_truth(first: Submission, other: Submission) -> bool:
    """Returns whether two submissions have the same split, classes, speakers and truth."""
    for key in ('split_sha256', 'classes', 'ratings', 'speakers'):
        if getattr(first, key) != getattr(other, key):
            return False
    return _are_same(first.statistics.truth_SxK, other.statistics.truth_SxK)

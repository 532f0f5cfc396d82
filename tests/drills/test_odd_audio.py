"""400 odd audio files through prepare and predict: each is accepted or rejected, and counted."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from drills.drill import Difference, Drill
from drills.odd_audio import write_odd_file

from data_pipelines import csv_files

pytestmark = [pytest.mark.drill, pytest.mark.filterwarnings('default')]
BATCH = 50  # files of one call of prepare
SECONDS_PER_BATCH = 120
TOLERANCE = 0.15  # seconds: a frame of MP3 is 0.144 s long at 8 kHz


class OddFile(NamedTuple):
    """A file, what it is, and its length if it must be accepted."""

    path: Path
    case: str
    seconds: float | None


def write_files(drill: Drill, folder: Path, count: int) -> list[OddFile]:
    """Writes the files of a drill."""
    folder.mkdir()
    files = []
    for number, random in drill.cases(count):
        path, case, seconds = write_odd_file(folder, number, random)
        files.append(OddFile(path, f'case {number}: {case}', seconds))
    return files


def prepare(files: list[OddFile], folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Prepares files; returns the length by path of the accepted, and the reasons of the others."""
    from data_pipelines.features.log_mel import LogMel
    from data_pipelines.storage import dataset, shards
    from data_pipelines.storage.preparation import prepare_corpus

    folder.mkdir()
    rows = [{'path': str(file.path), 'speaker': 's', 'emotion': 'sad'} for file in files]
    csv_files.write_rows(folder / 'list.csv', rows)
    prepared = prepare_corpus('folder', folder / 'list.csv', folder / 'data', LogMel(), workers=2)
    with open(prepared / 'utterances.csv', newline='') as stream:
        accepted = {row['path']: float(row['seconds']) for row in csv.DictReader(stream)}
    with open(prepared / 'rejected.csv', newline='') as stream:
        rejected = {row['path']: row['reason'] for row in csv.DictReader(stream)}
    if not np.isfinite(dataset.read_all_features(shards.read_columns(prepared))).all():
        raise Difference('features are not finite')
    return accepted, rejected


def check_listed(file: OddFile, accepted: dict[str, float], rejected: dict[str, str]) -> None:
    """Raises Difference unless the file is accepted or rejected, as it should be."""
    path = str(file.path)
    if (path in accepted) == (path in rejected):
        raise Difference('the file is not exactly one of accepted and rejected')
    if path in rejected and not 3 < len(rejected[path]) < 300:
        raise Difference(f'the reason is {rejected[path]!r}')
    if file.seconds is None:
        return
    if path in rejected:
        raise Difference(f'a whole file is rejected: {rejected[path]}')
    if abs(accepted[path] - file.seconds) > TOLERANCE:
        raise Difference(f'{accepted[path]} s of {file.seconds:.3f} s')


def test_prepare_accepts_or_rejects_every_file(tmp_path):
    drill = Drill('odd audio, prepare')
    files = write_files(drill, tmp_path / 'audio', 400)
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        lists = []

        def run(batch=batch, lists=lists, start=start):
            lists.extend(prepare(batch, tmp_path / f'batch{start}'))

        drill.attempt(f'batch from {batch[0].case}', run, SECONDS_PER_BATCH)
        for file in batch if lists else ():
            drill.attempt(file.case, lambda file=file, lists=lists: check_listed(file, *lists))
    drill.fail_if_any()


def test_predict_answers_or_names_every_file(swept, tmp_path):
    import jaxser

    predictor = jaxser.load(swept / 'model')
    drill = Drill('odd audio, predict')
    for file in write_files(drill, tmp_path / 'audio', 400):

        def run(file=file):
            answers = list(predictor.predict_files([file.path]))
            if len(answers) != 1:
                raise Difference(f'{len(answers)} answers')
            check_answer(file, answers[0])

        drill.attempt(file.case, run)
    drill.fail_if_any()


def check_answer(file: OddFile, answer: dict) -> None:
    """Raises Difference unless there is a posterior or a reason, as it should be."""
    if 'error' in answer:
        if file.seconds is not None:
            raise Difference(f'a whole file is not predicted: {answer["error"]}')
        if not 3 < len(answer['error']) < 1_000:
            raise Difference(f'the reason is {answer["error"]!r}')
        return
    values = np.array(list(answer['posterior'].values()), float)
    if not np.isfinite(values).all() or abs(values.sum() - 1) > 1e-3:
        raise Difference(f'no posterior: {answer}')

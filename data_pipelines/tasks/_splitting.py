"""Makes the split of a task from the files of its corpora, and compares it with the official one.

No audio is decoded. The utterances are those that `prepare` would store, in the same order, so that
the split is that of a sweep on prepared data.
"""

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines import corpora, speaker_names
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.protocols.split import Split, divide, select_from
from data_pipelines.storage import schema
from data_pipelines.storage.listing import complete_listing
from data_pipelines.storage.preparation import walk_corpus
from data_pipelines.storage.schema import Utterances
from data_pipelines.tasks import BenchmarkTask
from data_pipelines.terminal import print_text
from data_pipelines.wording import join_first, pluralize

MAX_LISTED = 3  # files that a message names


class TaskSplit(NamedTuple):
    """The split of a task, made from the user's files."""

    split: Split
    # The audio file of each utterance of the split, relative to the folder of its corpus.
    audio_paths: list[str]


def make_task_split(config, task: BenchmarkTask, sources: Mapping[str, Path]) -> TaskSplit:
    """Returns the split of a task.

    Args:
      config: The configuration of the task (configs/task.py).
      task: The task.
      sources: The folder of each corpus of the task.

    Raises:
      UserError: A folder has no utterances of its corpus, or they do not suffice for the protocol.
    """
    datasets = []
    paths = []
    for name in task.corpora:
        listed = list_corpus(task, name, sources[name])
        datasets.append(tabulate(listed))
        paths += [relative_path(utterance.path, sources[name]) for utterance in listed]
    utterances = schema.concatenate_datasets(datasets)
    path_by_name = dict(zip(utterances.text['utterance'].tolist(), paths))
    try:
        split = divide(config, *select_from(config, utterances))
    except UserError as error:
        raise UserError(
            f'These files do not suffice for the protocol of {task.name}, which is fixed. '
            f'Use the complete release of {" and of ".join(task.corpora)}. Details: {error}'
        ) from None
    names = split.utterances.text['utterance'].tolist()
    return TaskSplit(split, [path_by_name[name] for name in names])


def list_corpus(task: BenchmarkTask, name: str, source: Path) -> list[Utterance]:
    """Returns the utterances of a corpus that have usable audio, and prints what is missing."""
    corpus = corpora.load_corpus(name)
    print_text(f'{corpus.title}: listing the files in {source} ...', flush=True)
    listed = []
    missing = []
    for utterance in complete_listing(walk_corpus(corpus, source)):
        if utterance.name in task.excluded:
            continue
        if utterance.path.is_file():
            listed.append(utterance)
        else:
            missing.append(str(utterance.path))
    if missing:
        print_text(
            f'{pluralize(len(missing), "file")} missing that the lists of the corpus name: '
            f'{join_first(missing, MAX_LISTED)}'
        )
    return listed


def relative_path(path: Path, source: Path) -> str:
    """Returns the path of a file relative to the corpus's folder, with / between folders."""
    return path.relative_to(source).as_posix() if path.is_relative_to(source) else path.as_posix()


def tabulate(listed: list[Utterance]) -> Utterances:
    """Returns utterances as the columns that a prepared data set has, without those of audio."""
    rows = [schema.label_columns(utterance) for utterance in listed]
    text = {}
    for column in (*schema.TEXT_COLUMNS, *schema.LATER_TEXT_COLUMNS, 'sha256'):
        text[column] = np.array([row.get(column, '') for row in rows], dtype=str)
    text['speaker'] = speaker_names.clear_unknown(text['speaker'])
    ratings = [[row[column] for column in schema.RATING_COLUMNS] for row in rows]
    count = len(rows)
    return Utterances(
        text,
        rating_NxA=np.array(ratings, np.float32).reshape(count, len(schema.RATING_COLUMNS)),
        frames_N=np.zeros(count, np.int32),
        mean_NxM=np.zeros((count, 0), np.float32),
        variance_NxM=np.zeros((count, 0), np.float32),
        signature_NxS=np.zeros((count, 0), np.float16),
        file_N=np.zeros(count, int),
        offset_N=np.zeros(count, np.int64),
        length_N=np.zeros(count, np.int64),
        files=[],
    )


def find_differences(task: BenchmarkTask, split: Split) -> list[str]:
    """Returns what differs between a split and the official one; [] if nothing does."""
    differences = []
    for name, expected in (task.counts or {}).items():
        differences += _count_differences(expected, name, split.utterances)
    if not differences and task.split_sha256 not in (None, split.sha256):
        counted = 'the numbers of utterances are right, but ' if task.counts else ''
        differences.append(
            f'{counted}the SHA-256 of the split is {split.sha256}, and that of the task is '
            f'{task.split_sha256}: names, labels, speakers, their sexes or the order of the files '
            'are not those of the official release'
        )
    return differences


def _count_differences(expected: dict[str, int], name: str, utterances: Utterances) -> list[str]:
    """Returns how the numbers of utterances of a corpus differ from the official ones."""
    is_own = utterances.text['corpus'] == name
    counts = collections.Counter(utterances.text['emotion'][is_own].tolist())
    differences = []
    for emotion in sorted({*expected, *counts}):
        if counts[emotion] != expected.get(emotion, 0):
            found = f'{name}, {emotion}: expected {expected.get(emotion, 0)} utterances'
            differences.append(f'{found}, found {counts[emotion]}')
    return differences

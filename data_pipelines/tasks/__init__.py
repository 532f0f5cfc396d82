"""Benchmark tasks, one module each: corpora, classes, protocol, measure, and the split's SHA-256.

A module of this package whose name does not begin with an underscore is a task. It defines `TASK`,
and it is found by its name: to add a task, add a file. `python -m data_pipelines.tasks` lists the
tasks and writes their splits; `configs/task.py:NAME` trains on one.
"""

import dataclasses
import importlib
import itertools
import pkgutil

from data_pipelines.errors import UserError
from data_pipelines.wording import similar_name_hint

# What each measure is, for messages and tables.
MEASURE_TITLES = {'uar': 'UAR', 'macro-F1': 'macro-F1', 'ccc': 'CCC'}

# What may be used in training, unless a task says otherwise.
ALLOWED_IN_TRAINING = (
    'The training part, with its labels, and the dev part to choose settings. Other speech and '
    'pretrained encoders may be used: the card of a system names them.'
)

# The same, for tasks that train on one corpus and test on another.
ALLOWED_FROM_SOURCE = (
    'The training and dev parts, which are of the source. No speech of the target, not even '
    'without its labels. Other speech and pretrained encoders may be used: the card of a system '
    'names them.'
)


@dataclasses.dataclass(frozen=True)
class BenchmarkTask:
    """A benchmark task. Results with its `split_sha256` are of the same utterances and labels."""

    name: str  # the name of its module
    title: str
    corpora: tuple[str, ...]  # in the order in which they are read
    changes: dict[str, object]  # keys of configs/base.py with their values, e.g. data.labels
    unseen: str  # what training has not seen of the tested speech: speakers, sentences, corpus ...
    # The official numbers of utterances after the label map, by corpus and class; None if unknown.
    counts: dict[str, dict[str, int]] | None
    split_sha256: str | None  # of the split of the official release; None if it is not known yet
    task: str = 'emotion'  # what is predicted, as config.task: emotion | ratings
    ratings: tuple[str, ...] = ()  # what the task `ratings` predicts
    measure: str = 'uar'  # by which systems are ranked: a key of MEASURE_TITLES
    allowed_in_training: str = ALLOWED_IN_TRAINING
    # Utterances of the release without usable audio, which `prepare` rejects too.
    excluded: tuple[str, ...] = ()
    notes: str = ''  # what to know of the release

    @property
    def utterances(self) -> int | None:
        """Returns the official number of utterances; None if it is unknown."""
        if self.counts is None:
            return None
        return sum(sum(counts.values()) for counts in self.counts.values())


def task_names() -> list[str]:
    """Returns the names of the tasks, in alphabetical order."""
    names = []
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith('_'):
            names.append(module.name)
    return sorted(names)


def load_task(name: str) -> BenchmarkTask:
    """Returns the task of that name; UserError if there is none."""
    names = task_names()
    if name not in names:
        beginning = ''.join(itertools.takewhile(str.isalpha, name.lower()))
        alike = [known for known in names if beginning and known.startswith(beginning)]
        expected = f'those that begin with {beginning} are' if alike else 'expected one of'
        raise UserError(
            f'There is no task {name!r}; {expected} {", ".join(alike or names)}.'
            f'{similar_name_hint(name, names)} python -m data_pipelines.tasks lists all tasks.'
        )
    return importlib.import_module(f'{__name__}.{name}').TASK

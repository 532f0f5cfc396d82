"""The corpora that can be prepared, one module each, and the names of the user's own corpora.

A module of this package whose name does not begin with an underscore is a corpus. It defines
`CORPUS`, and it is found by its name: to add a corpus, add a file. A corpus of the user's own has
the name that `prepare folder --name NAME` gave it; it is known where it is prepared.
"""

import collections
import dataclasses
import functools
import importlib
import pkgutil
import re
from collections.abc import Callable, Collection
from pathlib import Path

from data_pipelines import labels, speed_copies
from data_pipelines.errors import UserError
from data_pipelines.wording import similar_name_hint

OWN_NAME_PATTERN = re.compile('[a-z][a-z0-9_]{0,39}')
RESERVED_NAMES = ('sources', 'all', 'none', 'auto')  # that have a meaning elsewhere


@dataclasses.dataclass(frozen=True)
class Utterance:
    """A segment of speech by one speaker, with the labels from its corpus."""

    name: str  # the official utterance id, unique within the corpus
    path: Path
    speaker: str  # unique within the corpus; '' if the corpus does not name the speaker
    emotion: str  # one of labels.EMOTIONS, or a class of the corpus's own
    language: str  # ISO 639-1
    corpus: str
    sex: str = ''  # female | male; '' if unknown
    session: str = ''
    sentence: str = ''  # an id of the words: equal strings mean equal words
    style: str = ''  # acted | improvised | scripted | natural
    # The part in the release's own split: train | dev | test | test2 ...; '' if it has none.
    split: str = ''
    # Listeners' mean ratings from -1 to 1, where 0 is the middle of their scale; None if not rated.
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None
    start: float = 0.0  # seconds into the file
    end: float | None = None  # seconds into the file; None is the end of the file
    speed: float = 1.0  # at which the audio is played: see speed_copies.py
    channel: int = 0  # of the file, from 1; 0 is the mean of all channels
    # Stands for the file; '' where no utterance of the corpus is a segment (storage/listing.py).
    file: str = ''
    # How many listeners chose which emotion word; None where no single choices are known.
    votes: dict[str, int] | None = None

    @property
    def is_segment(self) -> bool:
        """Returns whether the utterance is a part of its file, by its list."""
        return self.start != 0 or self.end is not None

    @property
    def location(self) -> str:
        """Where it is: the path of its file, and `#start-end` in seconds for a segment."""
        if not self.is_segment:
            return str(self.path)
        end = '' if self.end is None else f'{self.end:g}'
        return f'{self.path}#{self.start:g}-{end}'


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus: its published facts, and `walk`, the function that lists its utterances."""

    name: str  # the name of its module
    title: str
    languages: tuple[str, ...]
    speakers: int | None  # None accepts any number
    # The counts per emotion of each complete release; () accepts any counts.
    expected_counts: tuple[dict[str, int], ...]
    licence: str
    homepage: str  # where to get it
    walk: Callable[[Path], list[Utterance]]  # lists the utterances below a folder in a fixed order
    # Writes a corpus that is synthesised, not downloaded, into a folder.
    synthesise: Callable[[Path], None] | None = None
    source_hint: str = ''  # says what --source is, where it is no folder of a release
    # The numbers of utterances of releases that are newer than those known here, with their names.
    newer_releases: tuple[tuple[int, str], ...] = ()
    # Whether it is read from a list of the user's own, by `folder.ListOptions`.
    is_own_list: bool = False

    def is_complete(self, utterances: list[Utterance]) -> bool:
        """Returns whether the counts per emotion are those of a release, or any are accepted."""
        if not self.expected_counts:
            return True
        counts = count_emotions(utterances)
        return any(counts == collections.Counter(expected) for expected in self.expected_counts)

    def check_counts(self, utterances: list[Utterance], allow_partial: bool = False) -> None:
        """Raises a UserError if the corpus is not complete, unless `allow_partial`."""
        if allow_partial or self.is_complete(utterances):
            return
        counts = count_emotions(utterances)
        nearest = min(self.expected_counts, key=functools.partial(count_distance, counts))
        differences = []
        for emotion in sorted({*nearest, *counts}):
            expected = nearest.get(emotion, 0)
            if counts[emotion] != expected:
                differences.append(f'{emotion}: expected {expected}, found {counts[emotion]}')
        raise UserError(
            f'{self.title} has {sum(nearest.values())} utterances, but {len(utterances)} were '
            f'found; {"; ".join(differences)}. {self._advise_on_count(len(utterances))}'
        )

    def _advise_on_count(self, count: int) -> str:
        """Returns what to do about a number of utterances that is not that of a known release."""
        for newer_count, release in self.newer_releases:
            if count == newer_count:
                return (
                    f'This is {release}, which is newer than the release whose counts are known '
                    'here: add --allow_partial to use it, and name it with your results.'
                )
        if count > max(sum(expected.values()) for expected in self.expected_counts):
            return (
                'There are more than in any release known here: remove files that are not of the '
                'corpus, or, if this is a newer release, add --allow_partial to use it.'
            )
        return 'Complete the corpus, or add --allow_partial to use it as it is.'


def count_emotions(utterances: list[Utterance]) -> collections.Counter:
    """Returns the number of utterances of each emotion."""
    return collections.Counter(utterance.emotion for utterance in utterances)


def count_distance(counts: collections.Counter, expected: dict[str, int]) -> int:
    """Returns the sum over emotions of the absolute difference between two counts."""
    total = 0
    for emotion in {*counts, *expected}:
        total += abs(counts[emotion] - expected.get(emotion, 0))
    return total


def scale_rating(text: str, low: float, high: float) -> float | None:
    """Maps a mean rating on a scale from `low` to `high` to a number from -1 to 1.

    Returns None for an empty text, NaN, and a number that is off the scale. Raises a ValueError for
    any other text that is no number.
    """
    rating = float(text or 'nan')
    if not low <= rating <= high:
        return None
    return (2 * rating - low - high) / (high - low)


def corpus_names() -> list[str]:
    """Returns the names of the corpora that can be prepared, in alphabetical order."""
    names = []
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith('_'):
            names.append(module.name)
    return sorted(names)


def own_names(data_dir: str | Path) -> list[str]:
    """Returns the names of the user's own corpora that are prepared in a folder, sorted."""
    names = []
    for folder in sorted(Path(data_dir).glob('*')):
        name = folder.name
        if not OWN_NAME_PATTERN.fullmatch(name) or name in corpus_names():
            continue
        is_prepared = any(folder.glob('*/*/prepared.json')) or any(folder.glob('*.npz'))
        if is_prepared and speed_copies.source_corpus(name) is None:
            names.append(name)
    return names


def check_own_name(name: str) -> None:
    """Raises a UserError if a corpus of the user's own cannot have this name."""
    if not OWN_NAME_PATTERN.fullmatch(name):
        raise UserError(
            f'--name is {name!r}; expected a lower-case letter, and then at most 39 lower-case '
            'letters, digits and _, such as turev or my_corpus.'
        )
    if name in corpus_names():
        raise UserError(
            f'--name {name} is the name of a corpus that jaxser knows: choose another, such as '
            f'my_{name}.'
        )
    if speed_copies.source_corpus(name) is not None:
        raise UserError(
            f'--name {name} ends with {speed_copies.SUFFIX}, as copies at other speeds do: choose '
            f'another, such as {name.removesuffix(speed_copies.SUFFIX)}.'
        )
    if name in (*labels.LABEL_SPACES, *labels.RATING_SPACES, *RESERVED_NAMES):
        raise UserError(
            f'--name {name} has another meaning in configurations: choose another, such as '
            f'my_{name}.'
        )


def own_corpus(name: str) -> Corpus:
    """Returns what is known of a corpus of the user's own."""
    return dataclasses.replace(load_corpus('folder'), name=name, title=f'{name} (your own corpus)')


def data_set_name(corpus: str, own: Collection[str] = ()) -> str:
    """Returns the data set that has a corpus: its own, or `folder` for one named in that CSV.

    Copies at other speeds are in the data set of the copies, such as `folder_speed`.

    Args:
      corpus: The name of a corpus.
      own: The names of the user's own corpora (`own_names`).
    """
    source = speed_copies.source_corpus(corpus)
    if source is not None:
        return speed_copies.copies_name(data_set_name(source, own))
    return corpus if corpus in own or corpus in corpus_names() else 'folder'


def load_corpus(name: str, own: Collection[str] = ()) -> Corpus:
    """Returns the corpus of that name; raises a UserError if there is none.

    The copies of a corpus at other speeds are a corpus too, for example emodb_speed. `own` are the
    names of the user's own corpora.
    """
    names = corpus_names()
    source = speed_copies.source_corpus(name)
    if source in names or source in own:
        return speed_copies.corpus_of_copies(load_corpus(source, own))
    if name in own:
        return own_corpus(name)
    if name not in names:
        listed = ', '.join([*names, *own])
        raise UserError(
            f'There is no corpus {name!r}; expected one of {listed}.'
            f'{similar_name_hint(name, [*names, *own])}{_own_corpus_hint(name)}'
        )
    return importlib.import_module(f'{__name__}.{name}').CORPUS


def _own_corpus_hint(name: str) -> str:
    """Returns how a corpus of the user's own gets this name; '' if it cannot have it."""
    if not OWN_NAME_PATTERN.fullmatch(name) or speed_copies.source_corpus(name) is not None:
        return ''
    return (
        ' If it is a corpus of your own, list it in a CSV file and run: '
        f'python -m data_pipelines.prepare {prepare_arguments(name)} --source {name}.csv'
    )


def prepare_arguments(name: str) -> str:
    """Returns the first arguments of the command that prepares a data set, for messages."""
    source = speed_copies.source_corpus(name)
    corpus = name if source is None else source
    arguments = corpus if corpus in corpus_names() else f'folder --name {corpus}'
    return arguments if source is None else f'{arguments} --speed {speed_copies.USUAL_SPEEDS}'

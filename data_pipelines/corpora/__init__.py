"""The corpora that can be prepared, one module each.

A module of this package whose name does not begin with an underscore is a corpus. It defines
`CORPUS`, and it is found by its name: to add a corpus, add a file.
"""

import collections
import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

from data_pipelines import speed_copies
from data_pipelines.errors import UserError
from data_pipelines.wording import similar_name_hint


@dataclasses.dataclass(frozen=True)
class Utterance:
    """A segment of speech by one speaker, with the labels from its corpus."""

    name: str  # the official utterance id, unique within the corpus
    path: Path
    speaker: str  # unique within the corpus; '' if the corpus does not name the speaker
    emotion: str  # one of labels.EMOTIONS
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


def data_set_name(corpus: str) -> str:
    """Returns the data set that has a corpus: its own, or `folder` for one of the user's CSV.

    Copies at other speeds are in the data set of the copies, such as `folder_speed`.
    """
    source = speed_copies.source_corpus(corpus)
    if source is not None:
        return speed_copies.copies_name(data_set_name(source))
    return corpus if corpus in corpus_names() else 'folder'


def load_corpus(name: str) -> Corpus:
    """Returns the corpus of that name; raises a UserError if there is none.

    The copies of a corpus at other speeds are a corpus too, for example emodb_speed.
    """
    names = corpus_names()
    source = speed_copies.source_corpus(name)
    if source in names:
        return speed_copies.corpus_of_copies(load_corpus(source))
    if name not in names:
        raise UserError(
            f'There is no corpus {name!r}; expected one of {", ".join(names)}.'
            f'{similar_name_hint(name, names)}'
        )
    return importlib.import_module(f'{__name__}.{name}').CORPUS

"""What a corpus file says: how the release is walked, how names are parsed, which counts are expected.

A corpus is one module here with a `CORPUS`; it is found by its name, so adding one edits nothing else.
"""

import collections
import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

from data_pipelines.errors import UserError


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One stretch of speech by one speaker, as the corpus labels it."""

    name: str  # unique within the corpus: the official utterance id
    path: Path
    speaker: str  # unique within the corpus; '' where the corpus does not know
    emotion: str  # a word of data_pipelines/labels.py
    language: str  # ISO 639-1
    corpus: str
    sex: str = ''  # female | male, '' where unknown
    session: str = ''
    sentence: str = ''  # what is said: equal strings, equal words
    style: str = ''  # acted | improvised | scripted | natural
    split: str = (
        ''  # of the release's own partition: train | dev | test | test2 ...; '' where it has none
    )
    arousal: float | None = (
        None  # listeners' mean rating from -1 to 1, 0 the middle of their scale; None where there is none
    )
    valence: float | None = None
    dominance: float | None = None
    start: float = 0.0  # seconds into the file
    end: float | None = None  # seconds; None is the end of the file


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus's facts, and `walk`, which lists the utterances found below a root, in a fixed order."""

    name: str
    title: str
    languages: tuple[str, ...]
    speakers: int | None  # None: whatever is found
    expected_counts: tuple[
        dict[str, int], ...
    ]  # counts per emotion of each release that is right; () accepts any
    licence: str
    homepage: str  # where to get it
    walk: Callable[[Path], list[Utterance]]
    synthesise: Callable[[Path], None] | None = (
        None  # for a corpus that is synthesised rather than downloaded
    )

    def is_complete(self, utterances: list[Utterance]) -> bool:
        """Whether the counts per emotion are those of a release, where that is known."""
        found = collections.Counter(u.emotion for u in utterances)
        return not self.expected_counts or any(
            found == collections.Counter(e) for e in self.expected_counts
        )

    def check_counts(self, utterances: list[Utterance], allow_partial: bool = False) -> None:
        """Refuses a walk whose counts per emotion are those of no release, unless `allow_partial`."""
        if allow_partial or self.is_complete(utterances):
            return
        found = collections.Counter(u.emotion for u in utterances)
        nearest = min(
            self.expected_counts,
            key=lambda e: sum(abs(e.get(k, 0) - found[k]) for k in {*e, *found}),
        )
        differ = [
            f'{k}: expected {nearest.get(k, 0)}, found {found[k]}'
            for k in sorted({*nearest, *found})
            if nearest.get(k, 0) != found[k]
        ]
        raise UserError(
            f'{self.title} has {sum(nearest.values())} utterances, {found.total()} were found; {"; ".join(differ)}. '
            'Complete the corpus, or accept it as it is with --allow_partial.'
        )


def scale_rating(text: str, low: float, high: float) -> float | None:
    """A mean rating as -1 to 1, where its scale went from `low` to `high`; None where there is none, or one off the scale.

    Raises ValueError for what is no number.
    """
    value = float(text or 'nan')
    return (2 * value - low - high) / (high - low) if low <= value <= high else None


def corpus_names() -> list[str]:
    """The corpora that can be prepared, alphabetically."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith('_'))


def load_corpus(name: str) -> Corpus:
    """The corpus of that name."""
    if name not in corpus_names():
        raise UserError(f'There is no corpus {name!r}; known are {", ".join(corpus_names())}.')
    return importlib.import_module(f'{__name__}.{name}').CORPUS

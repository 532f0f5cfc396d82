"""Speed-perturbed copies of utterances, whose speakers are new identities.

A copy is its source played faster or slower, so that duration, pitch and formants change. Such
copies are a data set of their own, `NAME_speed`, which fills identity batches and nothing else
(config.protocol.identity). Utterance `u` of speaker `s` becomes `u@0.86` of speaker `s@0.86`.
"""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from data_pipelines.errors import UserError

if TYPE_CHECKING:
    from data_pipelines.corpora import Corpus, Utterance

SUFFIX = '_speed'  # of the name of a data set, and of its corpora

LOWEST_SPEED = 0.5
HIGHEST_SPEED = 2.0
USUAL_SPEEDS = '0.86,0.93,1.08,1.16'  # of the command in messages


def parse_speeds(text: str) -> tuple[float, ...]:
    """Returns the speeds in a comma-separated list; UserError if it is not of different speeds."""
    speeds = []
    for word in text.split(','):
        try:
            speed = float(word)
        except ValueError:
            speed = 0.0  # refused below
        if not LOWEST_SPEED <= speed <= HIGHEST_SPEED or format_speed(speed) == '1':
            raise UserError(
                f'--speed contains {word.strip()!r}; expected numbers from {LOWEST_SPEED:g} to '
                f'{HIGHEST_SPEED:g} except 1, such as --speed {USUAL_SPEEDS}.'
            )
        speeds.append(speed)
    words = [format_speed(speed) for speed in speeds]
    for word in words:
        if words.count(word) > 1:
            raise UserError(f'--speed contains {word} twice. Remove one of the two.')
    return tuple(speeds)


def format_speed(speed: float) -> str:
    """Returns the speed as it is written in names."""
    return f'{speed:g}'


def copies_name(name: str) -> str:
    """Returns the name of the copies of a corpus."""
    return name + SUFFIX


def source_corpus(name: str) -> str | None:
    """Returns the corpus of which `name` has the copies; None if it has no copies."""
    return name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else None


def source_utterance(name: str, corpus: str) -> str:
    """Returns the name of the utterance of which `name`, an utterance of `corpus`, is a copy.

    Where several data sets are read, names begin with 'CORPUS/', and so does the result.
    """
    source = name.rpartition('@')[0]
    if source.startswith(f'{corpus}/'):
        return corpus.removesuffix(SUFFIX) + source.removeprefix(corpus)
    return source


def make_copies(utterances: list['Utterance'], speeds: tuple[float, ...]) -> list['Utterance']:
    """Returns a copy of every utterance at every speed; the copies of an utterance are adjacent."""
    copies = []
    for utterance in utterances:
        for speed in speeds:
            mark = f'@{format_speed(speed)}'
            copy = dataclasses.replace(
                utterance,
                name=utterance.name + mark,
                speaker=utterance.speaker and utterance.speaker + mark,
                corpus=copies_name(utterance.corpus),
                speed=speed,
            )
            copies.append(copy)
    return copies


def corpus_of_copies(corpus: 'Corpus') -> 'Corpus':
    """Returns what is known of the data set of a corpus's copies."""
    return dataclasses.replace(
        corpus,
        name=copies_name(corpus.name),
        title=f'{corpus.title} at other speeds',
        speakers=None,
        expected_counts=(),
        synthesise=None,
    )


def check_no_copies(names: Iterable[str], key: str) -> None:
    """Raises a UserError for copies in a configuration key other than protocol.identity."""
    for name in names:
        source = source_corpus(name)
        if source is not None:
            raise UserError(
                f'config.{key} names {name}, the copies of {source} at other speeds. As copies of '
                'test utterances they would leak into training: name them in '
                'config.protocol.identity instead, where each fold uses only the copies of its '
                f'training utterances. (A corpus of another kind must not end with {SUFFIX}.)'
            )

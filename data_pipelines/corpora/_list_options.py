"""What the options of `prepare folder` say about a list of the user's own."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from data_pipelines.errors import UserError
from data_pipelines.wording import similar_name_hint

VOTES = 'votes'  # of --columns: it names several columns of a list, a class each
AS_IS = 'as_is'  # of --labels: all words are classes of their own


class Scale(NamedTuple):
    """The lowest and the highest rating of a list."""

    low: float
    high: float


OUR_SCALE = Scale(-1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """How a list is read; the defaults are those of a command line without options."""

    name: str = ''  # of the corpus; '' is `folder`, or what the list's column `corpus` says
    # The class of each of the list's own words, folded; '' leaves its utterances out of training.
    class_by_word: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # The first line of the file with these classes, if it was taken as a word; '' if a header.
    first_line: str = dataclasses.field(default='', compare=False)
    keeps_words: bool = False  # whether words that are not in the map are classes of their own
    column_names: Mapping[str, str] = dataclasses.field(default_factory=dict)  # ours: the list's
    # The list's columns with the numbers of raters who chose an emotion, which is their name.
    vote_columns: tuple[str, ...] = ()
    scale: Scale = OUR_SCALE  # of the ratings
    arguments: tuple[str, ...] = ()  # of the command line that say so, without the name
    # Where an importer writes audio that is inside a data set (`_list_import.py`).
    audio_folder: Path | None = dataclasses.field(default=None, compare=False)


def split_vote_columns(columns: dict[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Returns `parse_columns` without the votes, and the names of the columns of votes.

    UserError if one of them is empty, named twice, or has another meaning.
    """
    others = {column: name for column, name in columns.items() if column != VOTES}
    if VOTES not in columns:
        return others, ()
    names = tuple(name.strip() for name in columns[VOTES].split('+'))
    if not all(names) or len(set(names)) < len(names) or set(names) & set(others.values()):
        raise UserError(
            f'--columns has {VOTES}={columns[VOTES]}; expected the names of the columns with '
            f'numbers of votes, each once, separated by +, such as {VOTES}=angry+happy+sad.'
        )
    return others, names


def parse_columns(text: str, known_columns: tuple[str, ...]) -> dict[str, str]:
    """Returns the list's name of each column: 'path=file,speaker=spk'.

    That of `votes` may be several, 'votes=angry+happy' (`split_vote_columns`). UserError if a
    column is unknown, or named twice.
    """
    known_columns = (*known_columns, VOTES)
    names: dict[str, str] = {}
    for pair in text.split(','):
        column, equals, name = pair.partition('=')
        column = column.strip().casefold()
        name = ' '.join(name.casefold().split())
        if not (equals and name) or column not in known_columns:
            raise UserError(
                f'--columns has {pair.strip()!r}; expected COLUMN=NAME, separated by commas, where '
                f'NAME is that in your list and COLUMN is one of {", ".join(known_columns)}.'
                f'{similar_name_hint(column, known_columns)}'
            )
        if names.setdefault(column, name) != name:
            raise UserError(f'--columns has two names for {column}. Remove one of them.')
    for name in names.values():
        if list(names.values()).count(name) > 1:
            raise UserError(f'--columns uses the column {name!r} twice. Remove one of the two.')
    return names


def parse_scale(low: float, high: float) -> Scale:
    """Returns the scale of ratings; UserError if it is none."""
    if not -1e6 <= low < high <= 1e6:
        raise UserError(
            f'--scale is {low:g} {high:g}; expected the lowest and the highest rating of your '
            'scale, such as --scale 1 5 or --scale 1 7.'
        )
    return Scale(low, high)

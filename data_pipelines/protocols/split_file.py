"""Writes and reads split files: CSV files that say which utterance is in which part of which fold.

A split file has a row for each utterance of each part of each fold, in the order of the split's
SHA-256, which can therefore be computed again from the rows. Any framework can train and test on
them; `python -m data_pipelines.tasks NAME --out split.csv` writes one.

| column | content |
|---|---|
| fold, fold_name | number of the fold, from 0, and its name |
| part | train, dev, test; or adapt, identity, withheld, reserved (`folds.Fold` explains them) |
| utterance | name of the utterance |
| path | the audio file, relative to the folder of the corpus; '' if unknown |
| corpus, speaker, sex, language, session, sentence | facts; '' if unknown |
| emotion | the class; where only ratings are predicted, the third of the first rating's scale |
| arousal, valence, dominance | only those that the task predicts, from -1 to 1; '' if not rated |
| votes | the raters' votes, where the task uses them: 'angry=2;neutral=1' |
"""

import dataclasses
import functools
import hashlib
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import (
    ALL_PARTS,
    HASHED_COLUMNS,
    PARTS,
    Fold,
    format_rating,
    hash_rows,
)
from data_pipelines.storage.schema import RATING_COLUMNS, VOTES_COLUMN, Utterances
from data_pipelines.wording import join_first, pluralize

FACT_COLUMNS = ('corpus', 'speaker', 'emotion', 'sex', 'language', 'session', 'sentence')
TEXT_COLUMNS = ('fold_name', 'part', 'utterance', 'path', *FACT_COLUMNS)
REQUIRED_COLUMNS = ('fold', 'fold_name', 'part', *HASHED_COLUMNS)
# Parts of a fold that may share no utterance.
DISJOINT_PARTS = (*PARTS, 'withheld')
MAX_LISTED = 3  # utterances that a message names


@dataclasses.dataclass(frozen=True)
class SplitFile:
    """The rows of a split file, in the order of the file."""

    path: Path
    text: dict[str, np.ndarray]  # text_R of TEXT_COLUMNS, and of 'votes' if the file has it
    fold_R: np.ndarray  # number of the fold
    ratings: tuple[str, ...]  # the ratings that the file has, in their order
    rating_RxA: np.ndarray  # float32, from -1 to 1; NaN where there is none
    sha256: str  # of the split, computed from the rows
    file_sha256: str  # of the bytes of the file

    def __len__(self) -> int:
        return len(self.fold_R)

    @functools.cached_property
    def fold_names(self) -> dict[int, str]:
        """Returns the name of each fold by its number, in the order of the file."""
        return dict(zip(self.fold_R.tolist(), self.text['fold_name'].tolist()))

    @property
    def has_votes(self) -> bool:
        """Returns whether the file has the raters' votes."""
        return VOTES_COLUMN in self.text

    def rows(self, fold: int, part: str) -> np.ndarray:
        """Returns the rows of a part of a fold, in the order of the file."""
        return np.flatnonzero((self.fold_R == fold) & (self.text['part'] == part))


def write_split_file(
    path: str | Path,
    utterances: Utterances,
    folds: list[Fold],
    ratings: tuple[str, ...] = (),
    with_votes: bool = False,
    audio_paths: Sequence[str] | None = None,
) -> None:
    """Writes the parts of the folds as a split file.

    Args:
      path: The file, which is replaced if it exists.
      utterances: The utterances.
      folds: Their folds.
      ratings: The ratings that the task predicts: names of `schema.RATING_COLUMNS`.
      with_votes: Whether the task uses the raters' votes.
      audio_paths: The audio file of each utterance; by default unknown.
    """
    columns = {'utterance': utterances.text['utterance'].tolist()}
    columns['path'] = list(audio_paths or [''] * len(utterances))
    for column in FACT_COLUMNS:
        columns[column] = utterances.text[column].tolist()
    for name in ratings:
        rating_N = utterances.rating_NxA[:, RATING_COLUMNS.index(name)]
        columns[name] = [_rating_text(rating) for rating in rating_N.tolist()]
    if with_votes:
        columns[VOTES_COLUMN] = utterances.text[VOTES_COLUMN].tolist()
    rows = []
    for fold, part in itertools.product(folds, ALL_PARTS):
        place = {'fold': fold.number, 'fold_name': fold.name, 'part': part}
        for row in getattr(fold, part).tolist():
            rows.append(place | {name: values[row] for name, values in columns.items()})
    # A path that is not UTF-8 is written with escapes.
    csv_files.write_rows(path, rows, ('fold', 'fold_name', 'part', *columns), 'backslashreplace')


def _rating_text(rating: float) -> str:
    """Returns a rating of float32 without loss; '' if there is none."""
    return '' if math.isnan(rating) else f'{rating:.9g}'


def read_split_file(path: str | Path) -> SplitFile:
    """Reads a split file and checks it.

    Raises:
      UserError: There is no such file, it lacks columns, or a row is no utterance of a part. An
        utterance is in a part twice, or in two of train, dev, test and withheld of one fold. A fold
        lacks training or test rows. An utterance has two speakers or emotions.
    """
    path = Path(path)
    content = _read_bytes(path)
    columns = _read_columns(path, content)
    text = {}
    for column in TEXT_COLUMNS:
        text[column] = np.array(columns.get(column) or [''] * len(columns['fold']), dtype=str)
    if VOTES_COLUMN in columns:
        text[VOTES_COLUMN] = np.array(columns[VOTES_COLUMN], dtype=str)
    fold_R = np.array(_parse_numbers(path, columns['fold']), int)
    ratings = tuple(name for name in columns if name in RATING_COLUMNS and any(columns[name]))
    rating_RxA = np.zeros((len(fold_R), len(ratings)), np.float32)
    for a, name in enumerate(ratings):
        rating_RxA[:, a] = _parse_ratings(path, name, columns[name])
    split = SplitFile(
        path,
        text,
        fold_R,
        ratings,
        rating_RxA,
        sha256=_hash_split(text, rating_RxA),
        file_sha256=hashlib.sha256(content).hexdigest(),
    )
    _check_parts(split)
    _check_facts(split)
    return split


def _read_bytes(path: Path) -> bytes:
    """Returns the content of a file; UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f'The split file {path} cannot be read ({error.strerror}). Write it with: '
            'python -m data_pipelines.tasks NAME --source PATH --out split.csv'
        ) from None


def _read_columns(path: Path, content: bytes) -> dict[str, list[str]]:
    """Returns the columns of a split file; UserError if some are missing or rows are incomplete."""
    try:
        reader = csv_files.read_rows(content.decode('utf-8-sig'))
        names = list(reader.fieldnames or ())
        rows = list(reader)
    except (UnicodeDecodeError, csv_files.Error) as error:
        raise UserError(
            f'{path} is not a CSV file in UTF-8 ({error}). Write it again with: '
            'python -m data_pipelines.tasks NAME --source PATH --out split.csv'
        ) from None
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    if missing:
        raise UserError(
            f'{path} lacks the {"column" if len(missing) == 1 else "columns"} '
            f'{", ".join(missing)}; it has {", ".join(names) or "none"}. A split file has '
            f'{", ".join(REQUIRED_COLUMNS)}: python -m data_pipelines.tasks writes one.'
        )
    if not rows:
        raise UserError(f'{path} has no rows. Write it again: python -m data_pipelines.tasks')
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise UserError(
                f'{path}, row {number} below the header, does not have the {len(names)} fields '
                'of the header. The file is cut off or damaged: write it again.'
            )
    return {name: [row[name] for row in rows] for name in names}


def _parse_numbers(path: Path, texts: list[str]) -> list[int]:
    """Returns the numbers of the folds; UserError for one that is no whole number from 0."""
    for row, text in enumerate(texts, 1):
        if not (text.isascii() and text.isdigit()):
            raise UserError(
                f'{path}, row {row} below the header, has the fold {text!r}; expected a whole '
                'number from 0. The name of a fold belongs in the column fold_name.'
            )
    return [int(text) for text in texts]


def _parse_ratings(path: Path, name: str, texts: list[str]) -> list[float]:
    """Returns a column of ratings, NaN for ''; UserError for one that is not from -1 to 1."""
    ratings = []
    for row, text in enumerate(texts, 1):
        try:
            rating = float(text) if text else math.nan
        except ValueError:
            rating = math.inf
        if abs(rating) > 1 or (text and math.isnan(rating)):
            raise UserError(
                f'{path}, row {row} below the header, has the {name} {text!r}; expected a number '
                'from -1 to 1, where 0 is the middle of the scale, or nothing if it is not rated.'
            )
        ratings.append(rating)
    return ratings


def _hash_split(text: dict[str, np.ndarray], rating_RxA: np.ndarray) -> str:
    """Returns the SHA-256 of a split from the columns of its file, as `folds.hash_folds` does."""
    columns = [text[name].tolist() for name in ('fold_name', 'part', *HASHED_COLUMNS)]
    for rating_R in rating_RxA.T:
        columns.append([format_rating(rating) for rating in rating_R.tolist()])
    if VOTES_COLUMN in text:
        columns.append(text[VOTES_COLUMN].tolist())
    return hash_rows(zip(*columns))


def _check_parts(split: SplitFile) -> None:
    """Raises a UserError for parts that are unknown, empty, overlap or have an utterance twice."""
    unknown = sorted(set(split.text['part'].tolist()) - set(ALL_PARTS))
    if unknown:
        raise UserError(
            f'{split.path} has the part {unknown[0]!r}; expected one of {", ".join(ALL_PARTS)}.'
        )
    names = set(zip(split.fold_R.tolist(), split.text['fold_name'].tolist()))
    if len(names) > len(split.fold_names):
        raise UserError(
            f'{split.path} gives one fold several names: {sorted(names)[:MAX_LISTED]}. Each number '
            'of a fold has one fold_name.'
        )
    for fold, name in split.fold_names.items():
        _check_fold(split, fold, name)


def _check_fold(split: SplitFile, fold: int, name: str) -> None:
    """Raises a UserError for a fold whose parts are empty, overlap or have an utterance twice."""
    utterances_by_part = {}
    for part in ALL_PARTS:
        utterances = split.text['utterance'][split.rows(fold, part)]
        own, counts = np.unique(utterances, return_counts=True)
        doubled = own[counts > 1].tolist()
        if doubled:
            raise UserError(
                f'{split.path} has {pluralize(len(doubled), "utterance")} twice in the part '
                f'{part} of fold {fold} ({name}): {join_first(doubled, MAX_LISTED)}. '
                'Remove the doubled rows, or write the file again.'
            )
        utterances_by_part[part] = set(own.tolist())
    for part in ('train', 'test'):
        if not utterances_by_part[part]:
            raise UserError(
                f'{split.path} has no rows of the part {part} in fold {fold} ({name}). '
                'The file is incomplete: write it again.'
            )
    for first, second in itertools.combinations(DISJOINT_PARTS, 2):
        shared = sorted(utterances_by_part[first] & utterances_by_part[second])
        if shared:
            raise UserError(
                f'{split.path} has {pluralize(len(shared), "utterance")} both in {first} and in '
                f'{second} of fold {fold} ({name}): {join_first(shared, MAX_LISTED)}. '
                'A result on such a split says nothing about unseen speech: write the file again.'
            )


def _check_facts(split: SplitFile) -> None:
    """Raises a UserError if two rows of an utterance disagree about what it is."""
    fact_columns = [split.text[name].tolist() for name in ('corpus', 'speaker', 'emotion')]
    facts_R = list(zip(*fact_columns, *split.rating_RxA.T.astype(str).tolist()))
    facts_by_utterance: dict[str, tuple] = {}
    for utterance, facts in zip(split.text['utterance'].tolist(), facts_R):
        first = facts_by_utterance.setdefault(utterance, facts)
        if facts != first:
            raise UserError(
                f'{split.path} says two things of the utterance {utterance}: '
                f'{", ".join(first)}, and {", ".join(facts)} (corpus, speaker, emotion, ratings). '
                'If these are two utterances, give them different names, such as CORPUS/NAME.'
            )

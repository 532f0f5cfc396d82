"""What systems are scored against: a split file, or a truth file of the user's own.

A truth file of the user's own is a CSV file with a row for each utterance: its name, its speaker,
and its emotion, its ratings, or a column with the number of votes for each class. Its columns may
have the other names that `prepare folder` understands. Without the column `part` all utterances are
tested, and without the column `fold` there is one fold.

Shapes: R rows of a file, N tested rows (an utterance in a fold), C classes, A ratings.
"""

import collections
import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines import labels
from data_pipelines.corpora._list_columns import COLUMN_BY_NAME, possible_names
from data_pipelines.corpora._list_table import Table, read_table
from data_pipelines.corpora._list_votes import NO_WINNER, choose_winner
from data_pipelines.corpora.folder import SEX_WORDS, SPLIT_WORDS
from data_pipelines.emotion_words import find_emotion
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import ALL_PARTS
from data_pipelines.protocols.split_file import (
    FACT_COLUMNS,
    REQUIRED_COLUMNS,
    TEXT_COLUMNS,
    SplitFile,
    read_split_file,
)
from data_pipelines.storage.schema import RATING_COLUMNS
from data_pipelines.terminal import print_text
from data_pipelines.wording import join_first, pluralize
from jaxser.workdir_files import read_regular

# Names of the column that has the name of an utterance, besides those of a path.
UTTERANCE_NAMES = (
    'utterance', 'utterance_id', 'utt', 'utt_id', 'uttid', 'id', 'segment', 'segment_id', 'key',
)  # fmt: skip
VOTES_COLUMN = 'votes'
OWN_SPACE = 'own'  # a label space whose classes are the words themselves
MAX_LISTED = 3  # utterances that a message names
COPY_AGAIN = 'Copy it again, or name the right file with --split.'


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """The tested utterances of a task, with their labels, in the order of the file.

    An utterance that is tested in several folds has a row for each of them.
    """

    rows: SplitFile  # all rows of the file; without a split's hash where it is no split file
    test_N: np.ndarray  # the tested ones among them
    classes: tuple[str, ...]  # in alphabetical order; () where only ratings are known
    is_split: bool  # whether the file is a split file, whose hash is known
    label_space: str = OWN_SPACE  # that maps the words of votes to the classes
    # Rows of the part test that are not scored: they have no class, such as without a majority.
    left_out_N: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))

    def __len__(self) -> int:
        return len(self.test_N)

    def column(self, name: str) -> np.ndarray:
        """Returns a text column of the tested rows."""
        return self.rows.text[name][self.test_N]

    @property
    def split_sha256(self) -> str | None:
        """The hash of the split; None for a truth file of the user's own."""
        return self.rows.sha256 if self.is_split else None

    @property
    def fold_numbers(self) -> list[int]:
        """The numbers of the folds, in the order of the file."""
        return list(self.rows.fold_names)

    @functools.cached_property
    def fold_N(self) -> np.ndarray:
        """The number of each tested row's fold."""
        return self.rows.fold_R[self.test_N]

    @property
    def ratings(self) -> tuple[str, ...]:
        """The ratings that are known, of RATING_COLUMNS."""
        return self.rows.ratings

    @functools.cached_property
    def class_N(self) -> np.ndarray:
        """The index of each tested row's class; -1 where it has none."""
        index = {name: n for n, name in enumerate(self.classes)}
        return np.array([index.get(name, -1) for name in self.column('emotion').tolist()], int)

    def rating_NxA(self, ratings: Sequence[str]) -> np.ndarray:
        """Returns these ratings of the tested rows, as float64; NaN where there is none."""
        columns = [self.ratings.index(name) for name in ratings]
        return self.rows.rating_RxA[self.test_N][:, columns].astype(np.float64)

    @functools.cached_property
    def votes_NxC(self) -> np.ndarray | None:
        """The number of votes for each class; None where no tested utterance has votes."""
        if not self.rows.has_votes or not self.classes:
            return None
        own_classes = self.classes if self.label_space == OWN_SPACE else None
        votes_NxC = labels.map_votes(
            self.label_space, self.column(VOTES_COLUMN), own_classes, self.classes
        )
        return votes_NxC if votes_NxC.any() else None


def read_truth(path: Path, label_space: str | None = None) -> Truth:
    """Reads a split file or a truth file of the user's own.

    Args:
      path: The file.
      label_space: The label space of the task, for votes; by default, the words of votes are the
        classes.

    Raises:
      UserError: The file cannot be used; the message says why.
    """
    content = read_regular(path, COPY_AGAIN)
    header = content[:65_536].decode('utf-8-sig', errors='replace').partition('\n')[0]
    if set(REQUIRED_COLUMNS) <= set(header.strip().split(',')):
        rows = read_split_file(path)
        return _make_truth(_as_written(rows), True, label_space or OWN_SPACE)
    rows = _read_own(path, hashlib.sha256(content).hexdigest())
    return _make_truth(rows, False, OWN_SPACE)


def _as_written(rows: SplitFile) -> SplitFile:
    """Returns a split file with its ratings as the numbers of their texts, as sweeps read them."""
    texts = [f'{rating:.9g}' for rating in rows.rating_RxA.ravel().tolist()]
    rating_RxA = np.array(list(map(float, texts))).reshape(rows.rating_RxA.shape)
    return dataclasses.replace(rows, rating_RxA=rating_RxA)


def _make_truth(rows: SplitFile, is_split: bool, label_space: str) -> Truth:
    test_N = np.flatnonzero(rows.text['part'] == 'test')
    classes = sorted(set(rows.text['emotion'].tolist()) - {''})
    left_out_N = np.zeros(0, int)
    if classes:
        has_class_N = rows.text['emotion'][test_N] != ''
        test_N, left_out_N = test_N[has_class_N], test_N[~has_class_N]
    if len(left_out_N):
        names = rows.text['utterance'][left_out_N].tolist()
        print_text(
            f'{rows.path}: {pluralize(len(names), "utterance")} of the part test without an '
            f'emotion, or without a majority of votes, not scored: {join_first(names, MAX_LISTED)}.'
        )
    return Truth(rows, test_N, tuple(classes), is_split, label_space, left_out_N)


def _read_own(path: Path, file_sha256: str) -> SplitFile:
    """Returns the rows of a truth file of the user's own."""
    own_columns = ('path', 'split', *FACT_COLUMNS, *RATING_COLUMNS)
    known = {*UTTERANCE_NAMES, 'part', 'fold', 'fold_name', VOTES_COLUMN}
    table = read_table(path, known | possible_names(own_columns, {}), RATING_COLUMNS)
    if not table.numbered_rows:
        raise UserError(
            f'{path} has no rows that can be used as the truth; its columns are '
            f'{", ".join(table.columns) or "none"}. Expected utterance, speaker, and emotion, '
            f'ratings ({", ".join(RATING_COLUMNS)}) or a column of votes for each class.'
        )
    check_lengths(path, table)
    columns = _own_columns(path, table)
    number = len(table.numbered_rows)
    text = {}
    for name in TEXT_COLUMNS:
        text[name] = columns.get(name) or [''] * number
    if VOTES_COLUMN in columns:
        text[VOTES_COLUMN] = columns[VOTES_COLUMN]
    text['part'] = _parse_parts(path, text['part'])
    text['sex'] = [SEX_WORDS.get(word.lower(), word.lower()) for word in text['sex']]
    fold_R, text['fold_name'] = _number_folds(columns.get('fold') or ['0'] * number)
    ratings = tuple(name for name in RATING_COLUMNS if any(columns.get(name, ())))
    rating_RxA = np.full((number, len(ratings)), math.nan)
    for a, name in enumerate(ratings):
        rating_RxA[:, a] = _parse_ratings(path, name, columns[name])
    text_arrays = {name: np.array(values, dtype=str) for name, values in text.items()}
    rows = SplitFile(path, text_arrays, fold_R, ratings, rating_RxA, '', file_sha256)
    _check_own(rows)
    return rows


def check_lengths(path: Path, table: Table) -> None:
    """Raises a UserError if a row has more or fewer cells than the header."""
    for line, row in table.numbered_rows:
        if None in row or None in row.values():
            raise UserError(
                f'{path}, line {line}, has not {pluralize(len(table.columns), "cell")} as the '
                'header has. Write a cell that contains a comma in quotation marks.'
            )


def _own_columns(path: Path, table: Table) -> dict[str, list[str]]:
    """Returns the columns of a truth file under our names, 'votes' among them if it has any."""
    doubled = [name for name, count in collections.Counter(table.columns).items() if count > 1]
    if doubled:
        raise UserError(f'{path} has the column {doubled[0]!r} twice. Rename one of them.')
    renamed: dict[str, str] = {}
    others = []
    for name in table.columns:
        ours = _our_name(name)
        if ours is None:
            others.append(name)
        elif ours in renamed:
            raise UserError(
                f'{path} has two columns that may be {ours}: {renamed[ours]!r} and {name!r}. '
                'Rename or remove one of them.'
            )
        else:
            renamed[ours] = name
    columns = {}
    for ours, name in renamed.items():
        columns[ours] = [row.get(name) or '' for _, row in table.numbered_rows]
    columns.setdefault('utterance', columns.get('path', []))
    votes = _votes_columns(table, others, columns.get('emotion', []))
    if votes and VOTES_COLUMN not in columns:
        columns[VOTES_COLUMN] = _join_votes(path, table, votes)
    if not columns.get('emotion') and VOTES_COLUMN in columns:
        columns['emotion'] = [_majority(text) for text in columns[VOTES_COLUMN]]
    ignored = [name for name in others if name not in votes]
    if ignored:
        print_text(f'Columns of {path} that are not used: {join_first(ignored, 10)}.')
    _check_columns(path, table, columns)
    return columns


def _check_columns(path: Path, table: Table, columns: dict[str, list[str]]) -> None:
    """Raises a UserError if the utterances, the speakers or the truth are missing."""
    missing = [name for name in ('utterance', 'speaker') if not columns.get(name)]
    if missing:
        raise UserError(
            f'{path} has no column {missing[0]}; it has {", ".join(table.columns)}. Intervals and '
            'leakage need the speakers. If they are not known, add a column speaker without text: '
            'then there are no intervals.'
        )
    if not any(columns.get(name) for name in ('emotion', *RATING_COLUMNS)):
        raise UserError(
            f'{path} has no truth: neither a column emotion, nor {", ".join(RATING_COLUMNS)}, nor '
            f'a column of votes for each class. Its columns are {", ".join(table.columns)}.'
        )


def _our_name(name: str) -> str | None:
    """Returns our name of a column; None if it is not known."""
    plain = name.replace(' ', '_').replace('-', '_')
    if plain in UTTERANCE_NAMES:
        return 'utterance'
    if plain in ('fold', 'part', VOTES_COLUMN):
        return plain
    ours = plain if plain in ('path', *FACT_COLUMNS, *RATING_COLUMNS) else None
    ours = ours or COLUMN_BY_NAME.get(plain)
    if ours == 'split' or plain == 'split':
        return 'part'
    return ours if ours in ('path', *FACT_COLUMNS, *RATING_COLUMNS) else None


def _votes_columns(table: Table, others: list[str], emotions: list[str]) -> dict[str, str]:
    """Returns the class of each column of votes, by the column's name.

    It is a column of whole numbers whose name is an emotion.
    """
    class_by_word = {labels.fold_word(word): word for word in emotions if word}
    classes = {}
    for name in others:
        word = class_by_word.get(name) or find_emotion(name) or name
        is_emotion = name in class_by_word or word in labels.EMOTIONS
        cells = {row.get(name) or '0' for _, row in table.numbered_rows}
        if is_emotion and all(cell.removesuffix('.0').isdecimal() for cell in cells):
            classes[name] = class_by_word.get(word, word)
    return classes


def _join_votes(path: Path, table: Table, classes: dict[str, str]) -> list[str]:
    """Returns the votes of each row as one text, as `labels.format_votes` writes them."""
    print_text(f'Columns of {path} read as votes: {", ".join(classes)}.')
    texts = []
    for _, row in table.numbered_rows:
        votes = {word: int((row.get(name) or '0').split('.')[0]) for name, word in classes.items()}
        texts.append(labels.format_votes(votes))
    return texts


def _majority(text: str) -> str:
    """Returns the class with most votes; '' if there is none, or if several have as many."""
    votes = labels.parse_votes(text)
    winner = choose_winner(votes) if votes else NO_WINNER
    return '' if winner == NO_WINNER else winner


def _parse_parts(path: Path, words: list[str]) -> list[str]:
    """Returns the part of each row, 'test' where the file names none."""
    if not any(words):
        return ['test'] * len(words)
    parts = [SPLIT_WORDS.get(word.lower(), word.lower()) for word in words]
    unknown = sorted(set(parts) - set(ALL_PARTS))
    if unknown:
        raise UserError(
            f'{path} has the part {unknown[0]!r}; expected one of {", ".join(ALL_PARTS)}. Rows of '
            'the part test are scored.'
        )
    if 'test' not in parts:
        raise UserError(
            f'{path} has no row of the part test; it has {", ".join(sorted(set(parts)))}. '
            'Name the tested rows test, or leave the column part out.'
        )
    return parts


def _number_folds(words: list[str]) -> tuple[np.ndarray, list[str]]:
    """Returns the number of each row's fold, and its name; folds are numbered if they are not."""
    names = sorted(set(words))
    if all(name.isdecimal() for name in names):
        return np.array(list(map(int, words)), int), words
    index = {name: n for n, name in enumerate(names)}
    return np.array([index[word] for word in words], int), words


def _parse_ratings(path: Path, name: str, texts: list[str]) -> list[float]:
    """Returns a column of ratings, NaN for ''; UserError for what is no number."""
    ratings = []
    for row, text in enumerate(texts, 1):
        try:
            rating = float(text) if text else math.nan
        except ValueError:
            rating = math.inf
        if math.isinf(rating) or (text and math.isnan(rating)):
            raise UserError(
                f'{path}, row {row} below the header, has the {name} {text!r}; expected a number.'
            )
        ratings.append(rating)
    return ratings


def _check_own(rows: SplitFile) -> None:
    """Raises a UserError for utterances without a name, doubled ones, and those of two parts."""
    utterance_R = rows.text['utterance']
    nameless = int((utterance_R == '').sum())
    if nameless:
        raise UserError(
            f'{rows.path} has {pluralize(nameless, "row")} without the name of an utterance. '
            'Give each a name, by which predictions refer to it.'
        )
    keys = list(zip(rows.fold_R.tolist(), utterance_R.tolist()))
    doubled = [key for key, count in collections.Counter(keys).items() if count > 1]
    if doubled:
        utterances = [utterance for _, utterance in doubled]
        parts = {part for key, part in zip(keys, rows.text['part'].tolist()) if key == doubled[0]}
        raise UserError(
            f'{rows.path} has {pluralize(len(doubled), "utterance")} more than once in a fold: '
            f'{join_first(utterances, MAX_LISTED)} (the first one in {" and ".join(sorted(parts))})'
            '. An utterance is in one part of a fold, once. Remove the other rows, or number the '
            'folds in a column fold.'
        )

"""Reads the votes of several raters in a list of the user's own: a column for each emotion."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from data_pipelines import labels
from data_pipelines.corpora._list_options import VOTES, ListOptions
from data_pipelines.corpora._list_problems import Problem
from data_pipelines.corpora._list_words import LEFT_OUT, check_class_name, classify_word
from data_pipelines.errors import UserError
from data_pipelines.speaker_names import is_unknown
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize, similar_name_hint

NO_WINNER = 'undecided'  # the emotion of a row in which two words have the most votes
MIN_HINT_COLUMNS = 2  # emotion words among the names of columns from which votes are likely


def find_vote_columns(source: Path, columns: list[str], options: ListOptions) -> dict[str, str]:
    """Returns the emotion word of each column of votes that the options name.

    The name of a column means an emotion as a word of the list does. UserError if the list lacks a
    column, or the name means no emotion.
    """
    word_by_column = {}
    for column in options.vote_columns:
        if column not in columns:
            raise UserError(
                f'--columns {VOTES}={"+".join(options.vote_columns)}: {source} has no column '
                f'{column!r}; it has {", ".join(columns)}.{similar_name_hint(column, columns)}'
            )
        word_class = classify_word(column, options)
        if word_class is None:
            raise UserError(
                f'--columns {VOTES}={"+".join(options.vote_columns)}: {column!r} is no emotion '
                f'that is known. Say for which emotion its votes are: --emotions "{column}=angry", '
                f'with one of {", ".join(labels.EMOTIONS)}; or --labels MAP.csv.'
            )
        if word_class.how == 'same' and column not in labels.EMOTIONS:
            check_class_name(column, f'{source}, --columns {VOTES}')
        word_by_column[column] = word_class.name or LEFT_OUT
    return word_by_column


def count_votes(row: Mapping[str, str], word_by_column: Mapping[str, str]) -> dict[str, int]:
    """Returns the numbers of votes of a row by emotion word, without those that are 0.

    Empty cells, and those that stand for no value, are 0. Several columns of one word are added.
    ValueError if a cell has something else than a whole number.
    """
    votes: dict[str, int] = {}
    for column, word in word_by_column.items():
        count = parse_count(row.get(column) or '')
        if count:
            votes[word] = votes.get(word, 0) + count
    return votes


def parse_count(text: str) -> int:
    """Returns the whole number in a cell: 2 for '2' and '2.0', 0 for '' and 'nan'.

    ValueError for another text.
    """
    folded = labels.fold_word(text)
    if not folded or is_unknown(folded):
        return 0
    if not folded.isdecimal():
        raise ValueError(text)
    return int(folded)


def find_vote_problem(row: Mapping[str, str], word_by_column: Mapping[str, str]) -> Problem | None:
    """Returns what is wrong with a row's votes, or None."""
    for column in word_by_column:
        try:
            parse_count(row[column])
        except ValueError:
            form = f'{{}} votes for {column}, which is not a whole number from 0'
            return Problem(form, repr(row[column]))
    return None


def fill_emotions(
    source: Path, numbered_rows: list[tuple[int, dict]], word_by_column: Mapping[str, str]
) -> None:
    """Writes the word with the most votes where a row has votes and no emotion, and prints it.

    Without one winner it is `undecided`. Rows with wrong votes stay as they are.
    """
    filled = 0
    undecided = 0
    for _, row in numbered_rows:
        row.setdefault('emotion', '')
        if row['emotion']:
            continue
        try:
            votes = count_votes(row, word_by_column)
        except ValueError:
            continue
        if votes:
            row['emotion'] = choose_winner(votes)
            filled += 1
            undecided += row['emotion'] == NO_WINNER
    if filled:
        print_text(
            f'{pluralize(filled, "row")} of {source} without an emotion: it is the one with the '
            f'most votes, and {NO_WINNER} without one winner ({pluralize(undecided, "row")}).'
        )


def choose_winner(votes: Mapping[str, int]) -> str:
    """Returns the word with the most votes, or 'undecided' if several have as many."""
    most = max(votes.values())
    winners = [word for word, count in votes.items() if count == most]
    return winners[0] if len(winners) == 1 else NO_WINNER


def suggest_vote_columns(
    columns: Iterable[str], numbered_rows: list[tuple[int, dict]], options: ListOptions
) -> str:
    """Returns a hint on unknown columns that are probably votes; '' if there are none.

    These are at least two columns with the name of an emotion, in which all cells are whole
    numbers.
    """
    likely = []
    for column in columns:
        word_class = classify_word(column, options)
        is_own = word_class is not None and word_class.how == 'same'
        if word_class is None or column.isdecimal() or (is_own and column not in labels.EMOTIONS):
            continue
        try:
            counts = [parse_count(row.get(column) or '') for _, row in numbered_rows]
        except ValueError:
            continue
        if any(counts):
            likely.append(column)
    if len(likely) < MIN_HINT_COLUMNS:
        return ''
    return (
        ' If they hold the number of raters who chose each emotion, say so: '
        f'--columns {VOTES}={"+".join(likely)}.'
    )

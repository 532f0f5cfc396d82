"""Your own corpus, listed in a CSV file with one utterance per row.

The columns path, speaker and emotion are required; `OPTIONAL_COLUMNS` are optional. Columns may
have other common names (`_list_columns.py`), and emotions other common words (`_list_words.py`).
The votes of several raters are in columns of their own, one for each emotion (`_list_votes.py`).
In a list with votes or ratings (`_list_ratings.py`), the emotion is optional too.
"""

import collections
import difflib
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import labels, speaker_names
from data_pipelines.corpora import Corpus, Utterance, scale_rating
from data_pipelines.corpora._list_columns import find_columns, possible_names, rename_columns
from data_pipelines.corpora._list_options import (
    AS_IS,
    ListOptions,
    Scale,
    parse_columns,
    parse_scale,
    split_vote_columns,
)
from data_pipelines.corpora._list_paths import PathFinder, print_unlisted_files
from data_pipelines.corpora._list_problems import (
    CELLS,
    ENCODING_HINT,
    NOT_UTF_8,
    UNKNOWN_EMOTION,
    Problem,
    describe_further,
    describe_problems,
)
from data_pipelines.corpora._list_ratings import (
    RATING_COLUMNS,
    fill_undecided,
    find_rating_problems,
    print_ratings,
)
from data_pipelines.corpora._list_table import Table, read_table
from data_pipelines.corpora._list_votes import (
    count_votes,
    fill_emotions,
    find_vote_columns,
    find_vote_problem,
    suggest_vote_columns,
)
from data_pipelines.corpora._list_words import (
    own_classes,
    read_label_map,
    read_words,
)
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

REQUIRED_COLUMNS = ('path', 'speaker', 'emotion')
OPTIONAL_TEXT_COLUMNS = ('sex', 'session', 'sentence', 'style', 'split')
OPTIONAL_COLUMNS = (
    'start',
    'end',
    'channel',
    'language',
    'corpus',
    *OPTIONAL_TEXT_COLUMNS,
    *RATING_COLUMNS,
)
KNOWN_COLUMNS = REQUIRED_COLUMNS + OPTIONAL_COLUMNS
NUMBER_COLUMNS = ('start', 'end', *RATING_COLUMNS)
# Words of a list that are read as those of the project.
SEX_WORDS = {
    'f': 'female', 'fem': 'female', 'woman': 'female', 'girl': 'female', 'w': 'female',
    'weiblich': 'female', 'femme': 'female', 'mujer': 'female', 'donna': 'female',
    'feminine': 'female', '\u5973': 'female', '\u5973\u6027': 'female',
    'm': 'male', 'masc': 'male', 'man': 'male', 'boy': 'male', 'm\u00e4nnlich': 'male',
    'homme': 'male', 'hombre': 'male', 'uomo': 'male', 'masculine': 'male', '\u7537': 'male',
    '\u7537\u6027': 'male',
}  # fmt: skip
SPLIT_WORDS = {
    'training': 'train', 'val': 'dev', 'valid': 'dev', 'validation': 'dev', 'development': 'dev',
    'testing': 'test',
}  # fmt: skip
LANGUAGE_CODE_PATTERN = re.compile('[A-Za-z]{2,3}')
SPEAKER_HINT = ' If the speakers are not known, add a column speaker without text.'
SURROGATES = re.compile('[\ud800-\udfff]')  # what surrogateescape makes of other bytes
MISSPELLING_RATIO = 0.8  # of difflib; from here on a name is taken for a misspelled one
MAX_COLUMNS = 20  # names of columns in one message
MAX_NAME = 40  # characters of such a name
MAX_REPEATED = 3  # utterances on several lines that are named

SOURCE_HINT = f'--source of `folder` is a CSV file with the columns {", ".join(REQUIRED_COLUMNS)}.'


def walk(source: Path, options: ListOptions = ListOptions()) -> list[Utterance]:  # noqa: B008
    """Returns the utterances that the CSV file `source` lists, in its order.

    Paths are relative to the folder of the file. Start and end are in seconds; ratings are from -1
    to 1, or on the scale of the options. Raises a UserError that lists what is wrong with the file.
    """
    if not source.is_file():
        raise UserError(f'{source} is not a file. {SOURCE_HINT}')
    recognised = possible_names(KNOWN_COLUMNS, options.column_names) | set(options.vote_columns)
    numbers = possible_names(NUMBER_COLUMNS, options.column_names)
    utterances = utterances_of_table(source, read_table(source, recognised, numbers), options)
    print_unlisted_files(source, [utterance.path for utterance in utterances])
    return utterances


def make_options(
    name: str = '',
    emotions: str | None = None,
    label_map: str | os.PathLike | None = None,
    columns: str | None = None,
    scale: Sequence[float] | None = None,
) -> ListOptions:
    """Returns what the options of `prepare folder` say; UserError for a wrong one.

    Args:
      name: The name of the corpus (--name).
      emotions: The emotions of words: 'anger=angry,0=neutral' (--emotions).
      label_map: A file with the classes of words, or 'as_is' (--labels).
      columns: The list's names of columns: 'path=file,speaker=spk,votes=angry+happy' (--columns).
      scale: The lowest and the highest rating (--scale).
    """
    class_by_word: dict[str, str] = {}
    settings: dict[str, Any] = {}
    arguments: list[str] = []
    if label_map is not None and label_map != AS_IS:
        class_by_word, settings['first_line'] = read_label_map(Path(label_map))
        arguments += ['--labels', os.path.abspath(label_map)]
    elif label_map is not None:
        settings['keeps_words'] = True
        arguments += ['--labels', AS_IS]
    if emotions is not None:
        class_by_word = class_by_word | labels.parse_emotion_map(emotions)
        arguments += ['--emotions', emotions]
    if columns is not None:
        chosen = parse_columns(columns, KNOWN_COLUMNS)
        settings['column_names'], settings['vote_columns'] = split_vote_columns(chosen)
        arguments += ['--columns', columns]
    if scale is not None:
        settings['scale'] = parse_scale(*scale)
        arguments += ['--scale', *[f'{value:g}' for value in scale]]
    return ListOptions(name, class_by_word, arguments=tuple(arguments), **settings)


def utterances_of_table(
    source: Path, table: Table, options: ListOptions, folder: Path | None = None
) -> list[Utterance]:
    """Returns the utterances that the table of a list names, in its order.

    An utterance is named by its path, by `#start-end` if it is a segment, and by `@channel` if a
    channel is chosen. Paths are relative to `folder`, by default that of the list. Raises a
    UserError that lists what is wrong with the table.
    """
    folder = source.parent if folder is None else folder
    if SURROGATES.search(''.join(table.columns)):
        raise UserError(f'The first line of {source} has {NOT_UTF_8}.{ENCODING_HINT}')
    renamed = find_columns(source, table.columns, options.column_names)
    columns = rename_columns(table.columns, table.numbered_rows, renamed)
    word_by_column = find_vote_columns(source, columns, options)
    check_columns(source, columns, options)
    remove_unknown(source, columns, table.numbered_rows, options)
    written_words: dict[str, str] = {}
    for _, row in table.numbered_rows:
        written = row.get('emotion') or ''
        fold_words(row)
        written_words.setdefault(row.get('emotion') or '', written)
    read_words(source, table.numbered_rows, options)
    if word_by_column:
        fill_emotions(source, table.numbered_rows, word_by_column)
    fill_undecided(source, table.numbered_rows)
    finder = PathFinder(folder)
    for _, row in table.numbered_rows:
        if row.get('path'):
            row['path'] = finder.find(row['path'])
    check_rows(source, table.numbered_rows, options, written_words, finder.missing, word_by_column)
    print_ratings(table.numbered_rows, options.scale)
    finder.check_folder()
    finder.print_changes()
    utterances = []
    lines_by_name = collections.defaultdict(list)
    for number, row in table.numbered_rows:
        utterance = make_utterance(folder, row, options, word_by_column)
        utterances.append(utterance)
        lines_by_name[utterance.name].append(str(number))
    check_unique(source, lines_by_name)
    if options.name and any(row.get('corpus') for _, row in table.numbered_rows):
        print_text(
            f'The column corpus of {source} is ignored: all utterances are of the corpus '
            f'{options.name} (--name). To keep corpora apart, prepare a list of each.'
        )
    return utterances


def fold_words(row: dict) -> None:
    """Changes the words of a row to those of the project, in lower case.

    Cells that stand for no value, such as NA and nan, become empty, but not the codes of languages:
    na is Nauruan, and nan is Min Nan Chinese.
    """
    for column in OPTIONAL_COLUMNS:
        if column == 'language' and LANGUAGE_CODE_PATTERN.fullmatch(row.get(column) or ''):
            continue
        if row.get(column) and speaker_names.is_unknown(row[column]):
            row[column] = ''
    for column in ('emotion', 'sex', 'split', 'channel'):
        if row.get(column):
            row[column] = labels.fold_word(row[column])
    for column, meanings in (('sex', SEX_WORDS), ('split', SPLIT_WORDS)):
        if row.get(column):
            word = row[column].rstrip('.')
            row[column] = meanings.get(word, row[column])


def check_columns(source: Path, columns: list[str], options: ListOptions) -> None:
    """Raises a UserError if known columns are missing, repeated, or probably misnamed.

    With votes or ratings, the emotion may be missing.
    """
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    has_others = bool(options.vote_columns or set(RATING_COLUMNS) & set(columns))
    if has_others and 'emotion' in missing:
        missing.remove('emotion')
    known_columns = (*KNOWN_COLUMNS, *options.vote_columns)
    unknown = [column for column in columns if column not in known_columns]
    known = [column for column in columns if column in known_columns]
    renamed = find_misnamed(columns, unknown)
    if missing or renamed or len(set(known)) < len(known):
        raise UserError(
            f'{source} has the columns {describe_columns(columns)}; '
            f'missing: {", ".join(missing) or "none"}, '
            f'unknown: {describe_columns(unknown, "none")}. '
            f'{advise_on_columns(missing, renamed)}'
            f'Expected {", ".join(REQUIRED_COLUMNS)} (emotion may be missing if the list has '
            f'{", ".join(RATING_COLUMNS)} or columns of votes), and optionally '
            f'{", ".join(OPTIONAL_COLUMNS)}, each once and separated by commas, semicolons or tabs.'
            ' If a column has another name, say so: --columns path=NAME,speaker=NAME,emotion=NAME.'
            f'{SPEAKER_HINT if "speaker" in missing else ""}'
        )


def find_misnamed(columns: list[str], unknown: list[str]) -> dict[str, str]:
    """Returns, for unknown columns, the known column that each probably is.

    The name is another word for it or a misspelling, and the list lacks the known column.
    """
    renamed = {}
    absent = [column for column in KNOWN_COLUMNS if column not in columns]
    for column in unknown:
        similar = difflib.get_close_matches(column, absent, 1, MISSPELLING_RATIO)
        if similar:
            renamed[column] = similar[0]
    return renamed


def remove_unknown(
    source: Path, columns: list[str], numbered_rows: list[tuple[int, dict]], options: ListOptions
) -> None:
    """Removes unknown columns from the rows, and prints their names."""
    known_columns = (*KNOWN_COLUMNS, *options.vote_columns)
    unknown = [column for column in columns if column not in known_columns]
    if not unknown:
        return
    columns = 'an unknown column, which is' if len(unknown) == 1 else 'unknown columns, which are'
    print_text(
        f'{source} has {columns} ignored: {describe_columns(unknown)}. '
        f'Known are {", ".join(KNOWN_COLUMNS)}.'
        f'{suggest_vote_columns(unknown, numbered_rows, options)}'
    )
    for _, row in numbered_rows:
        for column in unknown:
            if row.get(column) is not None:  # None shows that the row has too few cells
                row.pop(column, None)


def describe_columns(columns: list[str], nothing: str = '(none)') -> str:
    """Returns the names of columns, the first ones if there are many, in a form to be printed."""
    listed = [column[:MAX_NAME] for column in columns[:MAX_COLUMNS]]
    listed += ['...'] if len(columns) > MAX_COLUMNS else []
    return ', '.join(listed) or nothing


def advise_on_columns(missing: list[str], renamed: dict[str, str]) -> str:
    """Returns a sentence on what to do about missing and misnamed columns."""
    if len(missing) == len(REQUIRED_COLUMNS) and not renamed:
        return 'The first line must have the names of the columns. '
    names = [f'{column} to {name}' for column, name in renamed.items()]
    return f'Probably rename {", ".join(names)}; otherwise remove them. ' if names else ''


def check_rows(
    source: Path,
    numbered_rows: list[tuple[int, dict]],
    options: ListOptions,
    written_words: Mapping[str, str],
    missing_paths: list[str],
    word_by_column: Mapping[str, str],
) -> None:
    """Raises a UserError if there is no row, or rows have problems.

    The message has all that has to be corrected, also what would be no reason to refuse the list.
    `written_words` has each emotion word as the list has it, by its folded form; `word_by_column`
    the emotion of each column of votes.
    """
    lines_by_problem = collections.defaultdict(list)
    names = {row.get('emotion') or '' for _, row in numbered_rows}
    classes = {*labels.EMOTIONS, *own_classes(options, names)}
    for number, row in numbered_rows:
        for problem in find_problems(row, classes, options.scale, word_by_column):
            if problem.word:
                word = written_words[problem.word]
                problem = problem._replace(value=repr(word), word=word)
            lines_by_problem[problem].append(number)
    if lines_by_problem:
        speakers = [row.get('speaker') or '' for _, row in numbered_rows]
        further = describe_further(speakers, missing_paths)
        raise UserError(f'{source} has {describe_problems(lines_by_problem)}{further}')
    if not numbered_rows:
        raise UserError(f'{source} has a header, but no utterances. Add a line for each utterance.')


def check_unique(source: Path, lines_by_name: dict[str, list[str]]) -> None:
    """Raises a UserError if an utterance is on more than one line."""
    repeated = []
    for name, lines in lines_by_name.items():
        if len(lines) > 1:
            repeated.append(f'{name} on lines {", ".join(lines)}')
    if repeated:
        more = len(repeated) - MAX_REPEATED
        listed = '; '.join(repeated[:MAX_REPEATED]) + (f'; and {more} more' if more > 0 else '')
        raise UserError(
            f'{source} lists {pluralize(len(repeated), "utterance")} more than once. '
            f'Keep one line of each: {listed}.'
        )


def find_problems(
    row: dict, classes: set[str], scale: Scale, word_by_column: Mapping[str, str]
) -> list[Problem]:
    """Returns what is wrong with a row; `classes` are the emotions that it may have.

    Of a row with wrong texts, votes, times or channel, only the first of these is returned; of
    wrong ratings, all are.
    """
    if None in row or None in row.values():
        return [Problem(CELLS)]
    problem = (
        find_vote_problem(row, word_by_column)
        or find_text_problem(row, classes)
        or find_time_problem(row)
        or find_channel_problem(row)
    )
    problems = [problem] if problem else []
    return problems + find_rating_problems(row, scale)


def find_text_problem(row: dict[str, str], classes: set[str]) -> Problem | None:
    """Returns what is wrong with a row's texts, or None."""
    texts = [text for column, text in row.items() if column != 'path']
    if SURROGATES.search(''.join(texts)):
        return Problem(NOT_UTF_8)
    # Without a speaker, the speaker is unknown.
    empty = [column for column in ('path', 'emotion') if not row[column].strip()]
    if empty:
        return Problem(f'no {" and no ".join(empty)}')
    if row['emotion'] not in classes:
        return Problem(UNKNOWN_EMOTION, repr(row['emotion']), row['emotion'])
    if not re.fullmatch(r'(train|dev|test\w*)?', row.get('split', '')):
        return Problem(
            'split {} is neither train nor dev nor test (or test2, ...)', repr(row['split'])
        )
    if row.get('sex', '') not in ('', 'female', 'male'):
        form = 'sex {} is neither female nor male (f, m; empty if it is unknown or another)'
        return Problem(form, repr(row['sex']))
    return None


def find_time_problem(row: dict[str, str]) -> Problem | None:
    """Returns what is wrong with a row's start and end, or None."""
    try:
        start = float(row.get('start') or 0)
        end = float(row.get('end') or math.inf)
    except ValueError:
        times = f'start {row.get("start")!r} or end {row.get("end")!r}'
        return Problem('{} is not a number of seconds', times)
    if start < 0:
        return Problem('start {} is before the beginning of the file', f'{start:g}')
    if not start < end:  # also if one of them is NaN
        return Problem('the segment {} has no length', f'from {start:g} to {end:g} s')
    if row.get('end') and math.isinf(end):
        return Problem('end {} is not a number of seconds', repr(row['end']))
    return None


def find_channel_problem(row: dict[str, str]) -> Problem | None:
    """Returns what is wrong with a row's channel, or None."""
    channel = row.get('channel', '')
    if re.fullmatch(r'([1-9][0-9]{0,2})?', channel):
        return None
    form = 'channel {} is not a number from 1 (empty is the mean of all channels)'
    return Problem(form, repr(channel))


def make_utterance(
    folder: Path, row: dict[str, str], options: ListOptions, word_by_column: Mapping[str, str]
) -> Utterance:
    """Returns the utterance of a row that has no problem."""
    start = row.get('start', '')
    end = row.get('end', '')
    name = row['path']
    if start or end:
        name += f'#{start}-{end}'
    if row.get('channel'):
        name += f'@{row["channel"]}'
    texts = {column: row.get(column, '') for column in OPTIONAL_TEXT_COLUMNS}
    ratings = {}
    for column in RATING_COLUMNS:
        ratings[column] = scale_rating(row.get(column, ''), *options.scale)
    return Utterance(
        name=name.encode(errors='surrogateescape').decode(errors='backslashreplace'),
        path=folder / row['path'],
        speaker=row['speaker'],
        emotion=row['emotion'],
        language=row.get('language', ''),
        corpus=options.name or row.get('corpus') or 'folder',
        start=float(start or 0),
        end=float(end) if end else None,
        channel=int(row.get('channel') or 0),
        votes=count_votes(row, word_by_column) or None,
        **texts,
        **ratings,
    )


CORPUS = Corpus(
    name='folder',
    title='your own folder',
    languages=(),
    speakers=None,
    expected_counts=(),
    licence='your own',
    homepage='your own disk',
    walk=walk,
    source_hint=SOURCE_HINT,
    is_own_list=True,
)

"""Your own corpus, listed in a CSV file with one utterance per row.

The columns path, speaker and emotion are required; `OPTIONAL_COLUMNS` are optional.
"""

import ast
import collections
import difflib
import math
import re
from pathlib import Path
from typing import NamedTuple

from data_pipelines import labels, speaker_names
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.corpora._list_paths import PathFinder
from data_pipelines.corpora._list_table import Table, read_table
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

REQUIRED_COLUMNS = ('path', 'speaker', 'emotion')
OPTIONAL_TEXT_COLUMNS = ('sex', 'session', 'sentence', 'style', 'split')
RATING_COLUMNS = ('arousal', 'valence', 'dominance')
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
CELLS = 'more or fewer cells than the header has columns'
# Names of columns that are often used for those here. They are refused with the name to write.
SIMILAR_COLUMNS = {
    'file': 'path', 'filename': 'path', 'file_name': 'path', 'file name': 'path',
    'filepath': 'path', 'file_path': 'path', 'audio': 'path', 'wav': 'path', 'wav_path': 'path',
    'audio_path': 'path', 'audio_file': 'path', 'pfad': 'path', 'datei': 'path',
    'speaker_id': 'speaker', 'speaker id': 'speaker', 'speakerid': 'speaker', 'spk': 'speaker',
    'spk_id': 'speaker', 'spkid': 'speaker', 'actor': 'speaker', 'sprecher': 'speaker',
    'label': 'emotion', 'labels': 'emotion', 'class': 'emotion', 'target': 'emotion',
    'emo': 'emotion', 'gender': 'sex', 'begin': 'start', 'start_time': 'start', 'onset': 'start',
    'end_time': 'end', 'stop': 'end', 'offset': 'end', 'lang': 'language', 'partition': 'split',
}  # fmt: skip
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
UNKNOWN_EMOTION = 'unknown emotion {}'
MISSPELLING_RATIO = 0.8  # of difflib; from here on a name is taken for a misspelled one
MAX_COLUMNS = 20  # names of columns in one message
MAX_NAME = 40  # characters of such a name
MAX_REPORTED = 10  # problems in one message
MAX_VALUES = 3  # values of one kind of problem that are reported one by one
MAX_LINES = 3  # line numbers of one problem

SOURCE_HINT = f'--source of `folder` is a CSV file with the columns {", ".join(REQUIRED_COLUMNS)}.'


def walk(source: Path, emotion_map: dict[str, str] | None = None) -> list[Utterance]:
    """Returns the utterances that the CSV file `source` lists, in its order.

    Paths are relative to the folder of the file. Start and end are in seconds; ratings are from -1
    to 1. An utterance is named by its path, by `#start-end` if it is a segment, and by `@channel`
    if a channel is chosen. `emotion_map` has the emotions that the list's own words and codes mean
    (`labels.parse_emotion_map`). Raises a UserError that lists what is wrong with the file.
    """
    if not source.is_file():
        raise UserError(f'{source} is not a file. {SOURCE_HINT}')
    table = read_table(source, KNOWN_COLUMNS, NUMBER_COLUMNS)
    check_columns(source, table.columns)
    remove_unknown(source, table)
    for _, row in table.numbered_rows:
        fold_words(row, emotion_map or {})
    check_rows(source, table.numbered_rows)
    finder = PathFinder(source.parent)
    for _, row in table.numbered_rows:
        row['path'] = finder.find(row['path'])
    finder.check_folder()
    finder.print_changes()
    utterances = []
    lines_by_name = collections.defaultdict(list)
    for number, row in table.numbered_rows:
        utterance = make_utterance(source.parent, row)
        utterances.append(utterance)
        lines_by_name[utterance.name].append(str(number))
    check_unique(source, lines_by_name)
    return utterances


def fold_words(row: dict, emotion_map: dict[str, str]) -> None:
    """Changes the words of a row to those of the project, in lower case.

    Cells that stand for no value, such as NA and nan, become empty. `emotion_map` is as in `walk`.
    """
    for column in OPTIONAL_COLUMNS:
        if row.get(column) and speaker_names.is_unknown(row[column]):
            row[column] = ''
    for column in ('emotion', 'sex', 'split', 'channel'):
        if row.get(column):
            row[column] = labels.fold_word(row[column])
    for column, meanings in (('sex', SEX_WORDS), ('split', SPLIT_WORDS)):
        if row.get(column):
            word = row[column].rstrip('.')
            row[column] = meanings.get(word, row[column])
    emotion = row.get('emotion')
    if emotion in emotion_map:
        row['emotion'] = emotion_map[emotion]
    elif emotion and speaker_names.is_unknown(emotion):
        row['emotion'] = ''


def check_columns(source: Path, columns: list[str]) -> None:
    """Raises a UserError if known columns are missing, repeated, or probably misnamed."""
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    unknown = [column for column in columns if column not in KNOWN_COLUMNS]
    known = [column for column in columns if column in KNOWN_COLUMNS]
    renamed = find_misnamed(columns, unknown)
    if missing or renamed or len(set(known)) < len(known):
        raise UserError(
            f'{source} has the columns {describe_columns(columns)}; '
            f'missing: {", ".join(missing) or "none"}, '
            f'unknown: {describe_columns(unknown, "none")}. '
            f'{advise_on_columns(missing, renamed)}'
            f'Expected {", ".join(REQUIRED_COLUMNS)}, and optionally '
            f'{", ".join(OPTIONAL_COLUMNS)}, each once and separated by commas, semicolons or tabs.'
        )


def find_misnamed(columns: list[str], unknown: list[str]) -> dict[str, str]:
    """Returns, for unknown columns, the known column that each probably is.

    The name is another word for it or a misspelling, and the list lacks the known column.
    """
    renamed = {}
    absent = [column for column in KNOWN_COLUMNS if column not in columns]
    for column in unknown:
        similar = difflib.get_close_matches(column, absent, 1, MISSPELLING_RATIO)
        name = SIMILAR_COLUMNS.get(column) or (similar[0] if similar else '')
        if name in absent:
            renamed[column] = name
    return renamed


def remove_unknown(source: Path, table: Table) -> None:
    """Removes unknown columns from the rows, and prints their names."""
    unknown = [column for column in table.columns if column not in KNOWN_COLUMNS]
    if not unknown:
        return
    columns = 'an unknown column, which is' if len(unknown) == 1 else 'unknown columns, which are'
    print_text(
        f'{source} has {columns} ignored: {describe_columns(unknown)}. '
        f'Known are {", ".join(KNOWN_COLUMNS)}.'
    )
    for _, row in table.numbered_rows:
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


class Problem(NamedTuple):
    """What is wrong with a row: a sentence with {} for the value that it has."""

    form: str
    value: str = ''

    def __str__(self) -> str:
        return self.form.format(self.value)


def check_rows(source: Path, numbered_rows: list[tuple[int, dict]]) -> None:
    """Raises a UserError if there is no row, or rows have problems."""
    lines_by_problem = collections.defaultdict(list)
    for number, row in numbered_rows:
        problem = find_problem(row)
        if problem:
            lines_by_problem[problem].append(number)
    if lines_by_problem:
        raise UserError(f'{source} has {describe_problems(lines_by_problem)}')
    if not numbered_rows:
        raise UserError(f'{source} has a header, but no utterances. Add a line for each utterance.')


def describe_problems(lines_by_problem: dict[Problem, list[int]]) -> str:
    """Returns a message with each problem once, how many rows have it, and the first of them."""
    values_by_form = collections.defaultdict(list)
    for problem in lines_by_problem:
        values_by_form[problem.form].append(problem.value)
    descriptions = {}
    for problem, lines in lines_by_problem.items():
        values = values_by_form[problem.form]
        if len(values) <= MAX_VALUES:
            descriptions[problem] = describe_lines(str(problem), lines)
            continue
        all_lines = []
        for value in values:
            all_lines += lines_by_problem[Problem(problem.form, value)]
        examples = f'({", ".join(values[:MAX_VALUES])}, ...)'
        description = describe_lines(problem.form.format(examples), sorted(all_lines))
        descriptions[Problem(problem.form)] = description
    count = sum(len(lines) for lines in lines_by_problem.values())
    message = f'{pluralize(count, "row")} that cannot be used. Correct or remove them: '
    message += '; '.join(list(descriptions.values())[:MAX_REPORTED])
    if len(descriptions) > MAX_REPORTED:
        message += f'; and {pluralize(len(descriptions) - MAX_REPORTED, "other problem")}'
    message += '.'
    if CELLS in values_by_form:
        message += (
            ' A text with a separator needs quotation marks; and names of rows, as R writes them, '
            'need a name in the header, or leave them out (row.names = FALSE).'
        )
    if UNKNOWN_EMOTION in values_by_form:
        words = [problem.value for problem in lines_by_problem if problem.form == UNKNOWN_EMOTION]
        message += f' Expected emotions: {", ".join(labels.EMOTIONS)}. {suggest_map(words)}'
    return message


def describe_lines(problem: str, lines: list[int]) -> str:
    """Returns a problem with the number of its rows, and the first of their lines."""
    if len(lines) == 1:
        return f'line {lines[0]}: {problem}'
    listed = [str(line) for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        listed.append('...')
    return f'{problem} in {len(lines)} rows (lines {", ".join(listed)})'


def suggest_map(quoted_words: list[str]) -> str:
    """Returns the option that says what the list's own words and codes mean."""
    pairs = []
    for quoted in quoted_words:
        word = ast.literal_eval(quoted)
        if word in labels.SIMILAR_WORDS:
            pairs.append(f'{word}={labels.SIMILAR_WORDS[word]}')
    if len(pairs) < len(quoted_words):
        pairs.append('WORD=EMOTION')
    return (
        f'If these are words or codes of your own, say what they mean: --emotions {",".join(pairs)}'
    )


def check_unique(source: Path, lines_by_name: dict[str, list[str]]) -> None:
    """Raises a UserError if an utterance is on more than one line."""
    repeated = []
    for name, lines in lines_by_name.items():
        if len(lines) > 1:
            repeated.append(f'{name} on lines {", ".join(lines)}')
    if repeated:
        more = len(repeated) - MAX_VALUES
        listed = '; '.join(repeated[:MAX_VALUES]) + (f'; and {more} more' if more > 0 else '')
        raise UserError(
            f'{source} lists {pluralize(len(repeated), "utterance")} more than once. '
            f'Keep one line of each: {listed}.'
        )


def find_problem(row: dict) -> Problem | None:
    """Returns what is wrong with a row, or None."""
    if None in row or None in row.values():
        return Problem(CELLS)
    return (
        find_text_problem(row)
        or find_rating_problem(row)
        or find_time_problem(row)
        or find_channel_problem(row)
    )


def find_text_problem(row: dict[str, str]) -> Problem | None:
    """Returns what is wrong with a row's texts, or None."""
    texts = [text for column, text in row.items() if column != 'path']
    if re.search('[\ud800-\udfff]', ''.join(texts)):  # what surrogateescape makes of other bytes
        return Problem('text that is not UTF-8')
    # Without a speaker, the speaker is unknown.
    empty = [column for column in ('path', 'emotion') if not row[column].strip()]
    if empty:
        return Problem(f'no {" and no ".join(empty)}')
    if row['emotion'] not in labels.EMOTIONS:
        return Problem(UNKNOWN_EMOTION, repr(row['emotion']))
    if not re.fullmatch(r'(train|dev|test\w*)?', row.get('split', '')):
        return Problem(
            'split {} is neither train nor dev nor test (or test2, ...)', repr(row['split'])
        )
    if row.get('sex', '') not in ('', 'female', 'male'):
        form = 'sex {} is neither female nor male (f, m; empty if it is unknown or another)'
        return Problem(form, repr(row['sex']))
    return None


def find_rating_problem(row: dict[str, str]) -> Problem | None:
    """Returns what is wrong with a row's ratings, or None."""
    for column in RATING_COLUMNS:
        if row.get(column) and not is_rating(row[column]):
            return Problem(f'{column} {{}} is not a number from -1 to 1', repr(row[column]))
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


def is_rating(text: str) -> bool:
    """Returns whether a cell is a number from -1 to 1."""
    try:
        return -1 <= float(text) <= 1
    except ValueError:
        return False


def make_utterance(folder: Path, row: dict[str, str]) -> Utterance:
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
        ratings[column] = float(row[column]) if row.get(column) else None
    return Utterance(
        name=name.encode(errors='surrogateescape').decode(errors='backslashreplace'),
        path=folder / row['path'],
        speaker=row['speaker'],
        emotion=row['emotion'],
        language=row.get('language', ''),
        corpus=row.get('corpus') or 'folder',
        start=float(start or 0),
        end=float(end) if end else None,
        channel=int(row.get('channel') or 0),
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
)

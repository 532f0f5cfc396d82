"""What is wrong with a list of the user's own, in one message."""

import collections
from collections.abc import Iterable
from typing import NamedTuple

from data_pipelines import speaker_names
from data_pipelines.corpora._list_words import suggest_options
from data_pipelines.wording import join_first, pluralize

CELLS = 'more or fewer cells than the header has columns'
UNKNOWN_EMOTION = 'unknown emotion {}'
NO_EMOTION = 'no emotion'
NOT_UTF_8 = 'text that is not UTF-8'
ENCODING_HINT = (
    ' Save the list as UTF-8 (spreadsheets call it CSV UTF-8), or convert it, such as by '
    'iconv -f cp1252 -t utf-8 LIST.csv > NEW.csv'
)
NOT_ON_SCALE = 'is not a number from'
MAX_REPORTED = 10  # problems in one message
MAX_VALUES = 3  # values of one kind of problem that are reported one by one
MAX_WORDS = 20  # unknown emotions that are named
MAX_LINES = 3  # line numbers of one problem
MAX_NAMES = 5  # speakers and files that are named


class Problem(NamedTuple):
    """What is wrong with a row: a sentence with {} for the value that it has."""

    form: str
    value: str = ''  # as it is printed
    word: str = ''  # of an unknown emotion

    def __str__(self) -> str:
        return self.form.format(self.value)


def describe_problems(lines_by_problem: dict[Problem, list[int]]) -> str:
    """Returns a message with each problem once, how many rows have it, and the first of them."""
    problems_by_form = collections.defaultdict(list)
    for problem in lines_by_problem:
        problems_by_form[problem.form].append(problem)
    descriptions = []
    for form, problems in problems_by_form.items():
        lines_by_value = {problem: lines_by_problem[problem] for problem in problems}
        if len(problems) > MAX_VALUES:
            descriptions.append(describe_values(form, lines_by_value))
        else:
            for problem, lines in lines_by_value.items():
                descriptions.append(describe_lines(str(problem), lines))
    wrong_lines = set().union(*lines_by_problem.values())
    message = f'{pluralize(len(wrong_lines), "row")} that cannot be used. Correct or remove them: '
    message += '; '.join(descriptions[:MAX_REPORTED])
    if len(descriptions) > MAX_REPORTED:
        message += f'; and {pluralize(len(descriptions) - MAX_REPORTED, "other problem")}'
    return f'{message}.{advise(list(lines_by_problem))}'


def advise(problems: list[Problem]) -> str:
    """Returns sentences on what to do about the problems, each after a blank."""
    forms = {problem.form for problem in problems}
    advice = ''
    if CELLS in forms:
        advice += (
            ' A text with a separator needs quotation marks; and names of rows, as R writes them, '
            'need a name in the header, or leave them out (row.names = FALSE).'
        )
    if NO_EMOTION in forms:
        advice += (
            ' To keep an utterance whose emotion is not known, without training on it, write '
            'other as its emotion.'
        )
    words = [problem.word for problem in problems if problem.form == UNKNOWN_EMOTION]
    if words:
        advice += f' {suggest_options(words)}'
    if NOT_UTF_8 in forms:
        advice += ENCODING_HINT
    if any(NOT_ON_SCALE in form for form in forms):
        advice += (
            ' If your ratings have another scale, name your scale, such as --scale 1 5 or '
            '--scale 1 7.'
        )
    return advice


def describe_values(form: str, lines_by_problem: dict[Problem, list[int]]) -> str:
    """Returns one description of many problems that differ in their value only.

    Of unknown emotions the most frequent are named, with their counts.
    """
    all_lines = []
    for lines in lines_by_problem.values():
        all_lines += lines
    values = []
    if form == UNKNOWN_EMOTION:
        counts = {problem.value: len(lines) for problem, lines in lines_by_problem.items()}
        for value, count in collections.Counter(counts).most_common(MAX_WORDS):
            values.append(f'{value}: {pluralize(count, "row")}')
    else:
        values += [problem.value for problem in lines_by_problem][:MAX_VALUES]
    more = len(lines_by_problem) - len(values)
    values += [f'and {more} more'] if more > 0 else []
    return describe_lines(form.format(f'({", ".join(values)})'), sorted(all_lines))


def describe_lines(problem: str, lines: list[int]) -> str:
    """Returns a problem with the number of its rows, and the first of their lines."""
    if len(lines) == 1:
        return f'line {lines[0]}: {problem}'
    listed = [str(line) for line in lines[:MAX_LINES]]
    if len(lines) > MAX_LINES:
        listed.append('...')
    return f'{problem} in {len(lines)} rows (lines {", ".join(listed)})'


def describe_further(speakers: Iterable[str], missing_paths: list[str]) -> str:
    """Returns what else a list that is refused has to be corrected in; '' for nothing.

    Args:
      speakers: The names of speakers. Several spellings of one are named.
      missing_paths: The paths under which there is no file.
    """
    known = [name for name in speakers if not speaker_names.is_unknown(name)]
    groups = []
    for names in speaker_names.group_spellings(known).values():
        if len(names) > 1:
            groups.append(' = '.join([speaker_names.visible(name) for name in names]))
    sentences = ''
    if groups:
        sentences += (
            f'\nAlso, {pluralize(len(groups), "speaker")} with several spellings of the name: '
            f'{join_first(groups, MAX_NAMES)}. Write each name in one way, or add --allow_names.'
        )
    if missing_paths:
        paths = [speaker_names.visible(path) for path in dict.fromkeys(missing_paths)]
        sentences += (
            f'\nAlso, {pluralize(len(paths), "path")} without a file: '
            f'{join_first(paths, MAX_NAMES)}. Correct the paths; utterances without a file are '
            'left out.'
        )
    return sentences

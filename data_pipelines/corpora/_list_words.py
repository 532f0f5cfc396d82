"""Reads the emotion words of a list of the user's own: as ours, as other words, or as classes."""

import collections
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from data_pipelines import csv_files, emotion_words, file_kinds, labels
from data_pipelines.corpora._list_options import AS_IS, ListOptions
from data_pipelines.errors import UserError
from data_pipelines.speaker_names import has_hidden_form, is_unknown, visible
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize

LEFT_OUT = 'other'  # the emotion of utterances that the user's map leaves out of training
MAP_HEADERS = ('word', 'label', 'code')  # a first cell of a map that is no word of the list
EXPECTED_MAP = (
    'Expected two columns, the word of your list and its emotion, separated by a comma, a '
    'semicolon or a tab, such as wut,angry'
)
MAX_NAME_LENGTH = 40  # of a class of the user's own
MAX_LISTED = 20
SAFE_WORD_PATTERN = re.compile(r'[\w .:+-]+')  # a shell takes it as it is between quotes
SIMILARITY = 0.75  # of a misspelt word to the word that was meant


class LabelMap(NamedTuple):
    """What a file with the classes of words says."""

    class_by_word: dict[str, str]  # of folded words; '' leaves utterances out of training
    first_line: str  # as written, if it was taken as a word; '' if it is a header or empty


def read_label_map(path: Path) -> LabelMap:
    """Returns the class of each word in a map: a CSV file of two columns, word and emotion.

    A first line 'word,emotion' is skipped. The class is one of our emotions, a name of the user's
    own, or '' for words that are left out of training. UserError if it is no such file.
    """
    text = _read_map_text(path)
    class_by_word: dict[str, str] = {}
    first_line = ''
    for number, cells in enumerate(csv_files.split_rows(text), start=1):
        cells = [labels.fold_word(cell) for cell in cells]
        if not any(cells) or (number == 1 and cells[0] in MAP_HEADERS):
            continue
        if len(cells) != 2 or not cells[0]:
            raise UserError(f'--labels {path}, line {number}: {",".join(cells)!r}. {EXPECTED_MAP}.')
        word, name = cells
        if number == 1:
            first_line = text.splitlines()[0].strip()
        if name:
            check_class_name(name, f'--labels {path}, line {number}')
        if class_by_word.setdefault(word, name) != name:
            raise UserError(f'--labels {path} has two emotions for {word!r}. Remove one of them.')
    if not class_by_word:
        raise UserError(f'--labels {path} has no words. {EXPECTED_MAP}.')
    return LabelMap(class_by_word, first_line)


def _read_map_text(path: Path) -> str:
    """Returns the text of a map; UserError if there is none, or it is not CSV in UTF-8."""
    if not path.is_file():
        raise UserError(
            f'--labels {path} is not a file. {EXPECTED_MAP}; or --labels {AS_IS}, which makes '
            'every word a class of its own.'
        )
    with open(path, 'rb') as file:
        kind = file_kinds.recognise(file.read(file_kinds.HEAD_BYTES))
    if kind is not None:
        raise UserError(f'--labels {path} is not CSV: {file_kinds.describe(kind)}.')
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError:
        raise UserError(f'--labels {path} is not UTF-8. Save it as CSV in UTF-8.') from None


def check_class_name(name: str, place: str) -> None:
    """Raises a UserError if a class of the user's own cannot have this name."""
    if len(name) > MAX_NAME_LENGTH or has_hidden_form(name) or set(name) & set(',;"\'=|/\\'):
        raise UserError(
            f'{place}: {visible(name)} cannot be the name of a class. Expected at most '
            f'{MAX_NAME_LENGTH} characters, without commas, quotation marks, =, | and slashes. '
            'Give it another name in --labels MAP.csv.'
        )


class WordClass(NamedTuple):
    """The class of a word, and whether it is one by the word itself or said by the user."""

    name: str  # '' is no class
    how: str  # same | said | translated


def classify_word(word: str, options: ListOptions) -> WordClass | None:
    """Returns the class of a folded word, or None if it is unknown."""
    if word in options.class_by_word:
        return WordClass(options.class_by_word[word], 'said')
    if word in labels.EMOTIONS or options.keeps_words:
        return WordClass(word, 'same')
    emotion = emotion_words.find_emotion(word)
    return WordClass(emotion, 'translated') if emotion else None


def read_words(source: Path, numbered_rows: list[tuple[int, dict]], options: ListOptions) -> None:
    """Writes the class of each row in place of its folded word, and prints what was read how.

    Unknown words stay: `folder.find_problems` reports them. What stands for no value, such as NA,
    is an empty cell, unless the options give it a class.
    """
    for _, row in numbered_rows:
        word = row.get('emotion')
        if word and word not in options.class_by_word and is_unknown(word):
            row['emotion'] = ''
    counts = collections.Counter(row['emotion'] for _, row in numbered_rows if row.get('emotion'))
    classes: dict[str, WordClass] = {}
    for word in counts:
        word_class = classify_word(word, options)
        if word_class is not None:
            classes[word] = word_class
            if word_class.how == 'same' and word not in labels.EMOTIONS:
                check_class_name(word, f'{source}, --labels {AS_IS}')
    _print_unused_words(options, counts)
    _print_classes(source, classes, counts)
    for _, row in numbered_rows:
        word_class = classes.get(row.get('emotion') or '')
        if word_class is not None:
            row['emotion'] = word_class.name or LEFT_OUT


def own_classes(options: ListOptions, names: set[str]) -> set[str]:
    """Returns which of the names are classes of the user's own, by the options."""
    own = names - set(labels.EMOTIONS)
    return own if options.keeps_words else own & set(options.class_by_word.values())


def _print_unused_words(options: ListOptions, counts: collections.Counter) -> None:
    """Prints which words of the user's map are not in the list.

    Probably they are misspelt; the one of the first line may be the header.
    """
    used = {*counts, *options.vote_columns}
    unused = [word for word in options.class_by_word if word not in used]
    first_word = next(iter(options.class_by_word), None)
    if options.first_line and first_word in unused:
        unused.remove(first_word)
        print_text(
            f'Line 1 of --labels ({options.first_line}) was taken as a word, which no row has. If '
            'it is a header, write word,emotion.'
        )
    if unused:
        words = _join([visible(word) for word in unused])
        print_text(f'No row has the word {words}, which --labels or --emotions names.')


def _print_classes(
    source: Path, classes: dict[str, WordClass], counts: collections.Counter
) -> None:
    """Prints which words were translated, left out or made classes, with their counts."""
    translated = []
    left_out = []
    words_by_class = collections.defaultdict(list)
    for word, (name, how) in sorted(classes.items()):
        rows = pluralize(counts[word], 'row')
        words_by_class[name].append(word)
        if how == 'translated':
            translated.append(f'{word} -> {name}: {rows}')
        if not name:
            left_out.append(f'{word}: {rows}')
    if translated:
        print_text(
            f'Words of {source} read as emotions: {_join(translated)}. If one of them means '
            f'something else, say so: --labels MAP.csv, or --labels {AS_IS} to keep your words.'
        )
    if left_out:
        print_text(f'Left out of training, by --labels: {_join(left_out)}.')
    for name, words in words_by_class.items():
        is_said = all(classes[word].how == 'said' for word in words)
        if name and len(words) > 1 and not is_said:
            print_text(
                f'Warning: {len(words)} words of this list count as {name}: {_join(words)}. If '
                'they are different emotions, keep them apart with --labels MAP.csv.'
            )
    _print_own_classes(words_by_class)


def _print_own_classes(names: Mapping[str, list[str]]) -> None:
    """Prints the classes of the user's own, and those that resemble an emotion of ours."""
    own = sorted(set(names) - set(labels.EMOTIONS) - {''})
    if not own:
        return
    print_text(f'Classes of your own: {_join(own)}.')
    similar = []
    for name in own:
        emotion = find_similar(name)
        if emotion:
            similar.append(f'{name} ({emotion})')
    if similar:
        print_text(
            f'Some of them may be what other corpora call by the word in brackets: '
            f'{_join(similar)}. If so, write that word in --labels MAP.csv.'
        )


def find_similar(word: str) -> str | None:
    """Returns the emotion of the known word that a word equals or resembles most, or None."""
    emotion = emotion_words.find_emotion(word)
    if emotion:
        return emotion
    known = dict.fromkeys(labels.EMOTIONS) | dict.fromkeys(emotion_words.EMOTION_BY_WORD)
    similar = difflib.get_close_matches(emotion_words.fold_accents(word), known, 1, SIMILARITY)
    if not similar:
        return None
    return emotion_words.find_emotion(similar[0]) or similar[0]


def suggest_options(words: list[str]) -> str:
    """Returns what to do about unknown words of a list: a correction, or the options for them.

    The option can be pasted: it has only words that resemble a known one. What those words mean
    is likely, and of others it is not known.
    """
    pairs = []
    hints = []
    other_words = []
    for word in words:
        emotion = find_similar(word)
        if emotion:
            hints.append(f'{emotion!r} for {word!r}')
        if emotion and SAFE_WORD_PATTERN.fullmatch(word):
            pairs.append(f'{word}={emotion}')
        else:
            other_words.append(repr(word))
    hint = f' Did you mean {_join(hints)}?' if hints else ''
    option = '--emotions with WORD=EMOTION for each, separated by commas'
    if pairs:
        option = f'--emotions "{",".join(pairs)}"'
        if other_words:
            option += f', and after a comma, in the same way, {_join(other_words)} with an emotion'
    return (
        f'Expected emotions: {", ".join(labels.EMOTIONS)}, or a common word for one of them in '
        f'many languages.{hint} Say what the words of your list mean: '
        f'{option}; or --labels MAP.csv, a file with a line word,emotion for each, '
        'where the emotion may also be any name of your own, or empty to leave it out; or '
        f'--labels {AS_IS}, which makes every word a class of its own.'
    )


def _join(texts: list[str]) -> str:
    more = len(texts) - MAX_LISTED
    return ', '.join(texts[:MAX_LISTED]) + (f', and {more} more' if more > 0 else '')

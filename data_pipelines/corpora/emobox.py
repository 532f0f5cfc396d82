"""A list of EmoBox: one JSON object per line, such as `data/emodb/emodb.jsonl`.

A line has at least `wav`, the path of the audio, and `emo`. Paths such as `downloads/emodb/...` are
relative to the folder of EmoBox, which is looked for upwards from the list. The speakers are not in
the list, but in `data.seg.wrd.stm` beside it (or above, for the list of a fold). `label_map.json`
beside it says what the codes of emotions mean. Of `channel` the meaning differs between corpora: it
is ignored.

Source: Z. Ma et al. (2024), EmoBox: Multilingual Multi-corpus Speech Emotion Recognition Toolkit
and Benchmark, Interspeech; https://github.com/emo-box/EmoBox.
"""

import dataclasses
import json
from pathlib import Path

from data_pipelines import emotion_words, labels
from data_pipelines.corpora import Corpus, Utterance
from data_pipelines.corpora._list_import import make_utterances, to_text
from data_pipelines.corpora._list_options import ListOptions
from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text

SOURCE_HINT = (
    '--source of `emobox` is a JSONL file with the keys wav and emo, such as data/emodb/emodb.jsonl'
)
COLUMN_BY_KEY = {'emo': 'emotion', 'wav': 'path', 'start_time': 'start', 'end_time': 'end'}
IGNORED_KEYS = ('channel', 'dataset', 'key', 'length', 'num_frame', 'sample_rate', 'task', 'type')
SPEAKER_FILE = 'data.seg.wrd.stm'
LABEL_FILE = 'label_map.json'


def walk(source: Path, options: ListOptions = ListOptions()) -> list[Utterance]:  # noqa: B008
    """Returns the utterances of a list, in its order; UserError if it is none."""
    entries = read_entries(source)
    speakers = read_speakers(source)
    columns = ['path', 'emotion']
    if speakers:
        columns.append('speaker')
    for key in dict.fromkeys(key for entry in entries for key in entry):
        column = COLUMN_BY_KEY.get(key, key)
        if key not in IGNORED_KEYS and column not in columns:
            columns.append(column)
    records = []
    for entry in entries:
        record = {'speaker': speakers.get(to_text(entry.get('key')), '')}
        for key, value in entry.items():
            record[COLUMN_BY_KEY.get(key, key)] = to_text(value)
        records.append(record)
    root = find_root(source, records)
    words = {labels.fold_word(record['emotion']) for record in records}
    options = with_label_map(source, options, words)
    return make_utterances(source, columns, records, options, root)


def read_entries(source: Path) -> list[dict]:
    """Returns the objects of the lines; UserError if one is none, or lacks a key."""
    if not source.is_file():
        raise UserError(f'{source} is not a file. {SOURCE_HINT}.')
    entries = []
    try:
        text = source.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError:
        raise UserError(f'{source} is not UTF-8. {SOURCE_HINT}.') from None
    for number, line in enumerate(text.split('\n'), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or not {'wav', 'emo'} <= set(entry):
            raise UserError(
                f'{source}, line {number}, is {line[:80]!r}; expected a JSON object with the keys '
                f'wav and emo. {SOURCE_HINT}.'
            )
        if entry.get('type', 'raw') != 'raw':
            raise UserError(
                f'{source}, line {number}, names features ({entry["wav"]}), not audio. Use the '
                'list of the corpus itself.'
            )
        entries.append(entry)
    return entries


def read_speakers(source: Path) -> dict[str, str]:
    """Returns the speaker by key; nothing if there is no list of them."""
    for folder in (source.parent, source.parent.parent):
        path = folder / SPEAKER_FILE
        if not path.is_file():
            continue
        speakers = {}
        for line in path.read_text(encoding='utf-8', errors='replace').split('\n'):
            cells = line.split()  # key, channel, speaker, start, end, ...
            if len(cells) > 2:
                speakers[cells[0]] = cells[2]
        print_text(f'Speakers read from {path}.')
        return speakers
    return {}


def with_label_map(source: Path, options: ListOptions, used: set[str]) -> ListOptions:
    """Returns the options with what label_map.json says of the used words.

    The options themselves say more than that file.
    """
    for folder in (source.parent, source.parent.parent):
        path = folder / LABEL_FILE
        if path.is_file():
            break
    else:
        return options
    try:
        names = json.loads(path.read_text(encoding='utf-8'))
        words = {labels.fold_word(word): labels.fold_word(name) for word, name in names.items()}
    except (ValueError, AttributeError, TypeError):
        raise UserError(f'{path} is not a JSON object of words. Correct or remove it.') from None
    class_by_word = {}
    for word, name in words.items():
        emotion = name if name in labels.EMOTIONS else emotion_words.find_emotion(name)
        if emotion and word in used and word not in labels.EMOTIONS:
            class_by_word[word] = emotion
    print_text(f'Meanings of words read from {path}.')
    return dataclasses.replace(options, class_by_word=class_by_word | dict(options.class_by_word))


def find_root(source: Path, records: list[dict]) -> Path:
    """Returns the folder above the list from which a path leads to a file; else that of the list.

    Any of the first paths will do: some files may be missing.
    """
    for folder in source.absolute().parents:
        for record in records[:100]:
            if record['path'] and (folder / record['path']).exists():
                return folder
    return source.parent


CORPUS = Corpus(
    name='emobox',
    title='a list of EmoBox',
    languages=(),
    speakers=None,
    expected_counts=(),
    licence='your own',
    homepage='https://github.com/emo-box/EmoBox',
    walk=walk,
    source_hint=f'{SOURCE_HINT}.',
    is_own_list=True,
)

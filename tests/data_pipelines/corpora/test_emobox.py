"""Tests how a list of EmoBox is read, with its speakers and the meanings of its codes."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import jaxser
from data_pipelines.corpora import emobox
from data_pipelines.corpora.folder import make_options
from data_pipelines.errors import UserError
from data_pipelines.storage import preparation, prepared

LINE = {
    'key': 'own-1',
    'dataset': 'own',
    'wav': 'downloads/own/a.wav',
    'type': 'raw',
    'sample_rate': 16000,
    'num_frame': 16000.0,
    'task': 'category',
    'length': 1.0,
    'emo': 'W',
    'channel': 3,
}


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Returns the folder of EmoBox with one corpus of two utterances."""
    folder = tmp_path / 'data/own'
    folder.mkdir(parents=True)
    second = LINE | {'key': 'own-2', 'wav': 'downloads/own/b.wav', 'emo': 'sad'}
    second |= {'start_time': 0.5, 'end_time': 1.25}
    (folder / 'own.jsonl').write_text(f'{json.dumps(LINE)}\n{json.dumps(second)}\n')
    (folder / 'label_map.json').write_text('{"W": "Angry", "T": "Sad", "x": "Odd"}')
    (folder / 'data.seg.wrd.stm').write_text(
        'own-1 1 anna 0 1.0 <id=own-1,lang=en,spk=anna,emotion=W> W\n'
        'own-2 1 bob 0 1.0 <id=own-2,lang=en,spk=bob,emotion=sad> sad\n'
    )
    audio = tmp_path / 'downloads/own'
    audio.mkdir(parents=True)
    (audio / 'a.wav').touch()
    (audio / 'b.wav').touch()
    return tmp_path


def test_lines_give_audio_emotion_speaker_and_times(checkout, capsys):
    first, second = emobox.walk(checkout / 'data/own/own.jsonl', make_options('mine'))
    assert (first.path, first.name) == (checkout / LINE['wav'], LINE['wav'])
    assert (first.emotion, first.speaker, first.corpus) == ('angry', 'anna', 'mine')
    assert (second.emotion, second.speaker) == ('sad', 'bob')
    assert (second.start, second.end, second.channel) == (0.5, 1.25, 0)
    said = capsys.readouterr().out
    assert 'label_map.json' in said
    assert 'No row has the word' not in said


def test_the_list_of_a_fold_has_its_speakers_above(checkout):
    fold = checkout / 'data/own/fold_1'
    fold.mkdir()
    path = (checkout / 'data/own/own.jsonl').rename(fold / 'own_train_fold_1.jsonl')
    assert [u.speaker for u in emobox.walk(path, make_options('mine'))] == ['anna', 'bob']


def test_without_a_list_of_speakers_they_are_unknown_which_is_said(checkout, capsys):
    (checkout / 'data/own/data.seg.wrd.stm').unlink()
    utterances = emobox.walk(checkout / 'data/own/own.jsonl', make_options('mine'))
    assert {u.speaker for u in utterances} == {''}
    assert 'has no column for the speaker' in capsys.readouterr().out


def test_an_option_says_more_than_the_map_of_labels(checkout):
    options = make_options('mine', emotions='W=fear')
    assert emobox.walk(checkout / 'data/own/own.jsonl', options)[0].emotion == 'fear'


def test_words_are_checked_as_those_of_a_csv(checkout):
    (checkout / 'data/own/label_map.json').unlink()
    with pytest.raises(UserError, match=r"unknown emotion 'W'.*--labels"):
        emobox.walk(checkout / 'data/own/own.jsonl', make_options('mine'))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[]\n', r'line 1, is .*keys wav and emo'),
        ('{"wav": "a.wav"}\n', r'line 1, is .*keys wav and emo'),
        (json.dumps(LINE) + '\nnothing\n', "line 2, is 'nothing'"),
        (json.dumps(LINE | {'type': 'feature'}), 'names features'),
    ],
)
def test_another_file_is_refused(text, message, checkout):
    path = checkout / 'data/own/own.jsonl'
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        emobox.walk(path, make_options('mine'))


@pytest.mark.filterwarnings('default')  # TensorFlow and TFDS have deprecations of their own
def test_an_imported_list_is_prepared_under_its_name_and_its_command_is_recorded(checkout):
    """A later message says how to prepare it, by the importer."""
    for number, name in enumerate(('a', 'b'), start=1):
        wave = np.random.default_rng(number).normal(0, 0.1, 12_000)
        soundfile.write(checkout / f'downloads/own/{name}.wav', wave, 8_000)
    source = checkout / 'data/own/own.jsonl'
    out = checkout / 'prepared'
    with pytest.raises(UserError, match=r'--name NAME is missing.*prepare emobox --name mine'):
        preparation.prepare_corpus('emobox', source, out, workers=1)
    folder = jaxser.prepare(source, 'mine', out, importer='emobox', workers=1)
    assert folder.parts[-3] == 'mine'
    arguments = prepared.prepare_arguments(out, 'mine')
    assert arguments == f'emobox --name mine --source {source}'

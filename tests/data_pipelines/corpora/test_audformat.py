"""Tests how a database in audformat is imported."""

import os
import pickle
import sys
from pathlib import Path

import pytest

from data_pipelines.corpora import audformat as importer
from data_pipelines.corpora.folder import make_options
from data_pipelines.errors import UserError

# The library uses what pandas deprecates.
pytestmark = pytest.mark.filterwarnings('default')

FILES = ['wav/a.wav', 'wav/b.wav', 'wav/c.wav']


@pytest.fixture
def database(tmp_path):
    """Returns a database of three files, of which the last has no emotion."""
    audformat = pytest.importorskip('audformat')
    made = audformat.Database('mini', languages=['de'])
    made.schemes['emotion'] = audformat.Scheme(labels=['anger', 'sadness', 'happiness'])
    speakers = {'3': {'gender': 'male', 'age': 31}, '4': {'gender': 'female', 'age': 20}}
    made.schemes['speaker'] = audformat.Scheme(labels=speakers)
    made.schemes['arousal'] = audformat.Scheme('float', minimum=1, maximum=5)
    add_table(made, 'emotion', FILES, 'emotion', ['anger', 'sadness', None])
    add_table(made, 'files', FILES, 'speaker', ['3', '4', '4'])
    add_table(made, 'ratings', FILES, 'arousal', [5.0, 3.0, 1.0])
    for file in FILES:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    return made


def add_table(database, name: str, files, column: str, values: list, split: str | None = None):
    """Adds a table with one column; `files` are names, or an index of segments."""
    import audformat

    if split and split not in database.splits:
        database.splits[split] = audformat.Split(split)
    index = audformat.filewise_index(files) if isinstance(files, list) else files
    database[name] = audformat.Table(index, split_id=split)
    database[name][column] = audformat.Column(scheme_id=column)
    database[name][column].set(values)


def read(database, tmp_path: Path, **settings):
    database.save(tmp_path)
    return importer.walk(tmp_path, make_options('mine', **settings))


def test_emotion_speaker_sex_rating_and_language_come_from_their_tables(database, tmp_path, capsys):
    first, second = read(database, tmp_path)
    assert (first.name, first.path) == ('wav/a.wav', tmp_path / 'wav/a.wav')
    assert (first.emotion, first.speaker, first.sex) == ('angry', '3', 'male')
    assert (second.emotion, second.speaker, second.sex) == ('sad', '4', 'female')
    assert (first.arousal, second.arousal) == (1.0, 0.0)
    assert (first.language, first.start, first.end, first.split) == ('de', 0.0, None, '')
    assert '1 row of' in capsys.readouterr().out  # without an emotion


def test_segments_have_their_times_and_the_speaker_of_the_file(database, tmp_path):
    import audformat

    index = audformat.segmented_index(['wav/a.wav', 'wav/a.wav'], ['0s', '0.5s'], ['0.5s', '2s'])
    del database.tables['emotion']
    add_table(database, 'segments', index, 'emotion', ['anger', 'happiness'])
    utterances = read(database, tmp_path)
    assert [(u.start, u.end, u.emotion, u.speaker) for u in utterances] == [
        (0.0, 0.5, 'angry', '3'),
        (0.5, 2.0, 'happy', '3'),
    ]


def test_the_splits_of_tables_are_the_split(database, tmp_path):
    del database.tables['emotion']
    add_table(database, 'emotion.train', FILES[:2], 'emotion', ['anger', 'sadness'], 'train')
    add_table(database, 'emotion.test', FILES[2:], 'emotion', ['anger'], 'test')
    assert {u.name: u.split for u in read(database, tmp_path)} == {
        'wav/a.wav': 'train',
        'wav/b.wav': 'train',
        'wav/c.wav': 'test',
    }


def test_combined_votes_are_preferred_and_others_can_be_named(database, tmp_path):
    add_table(database, 'emotion.gold_standard', FILES, 'emotion', ['happiness'] * 3)
    assert {u.emotion for u in read(database, tmp_path)} == {'happy'}
    utterances = read(database, tmp_path, columns='emotion=emotion.emotion')
    assert [u.emotion for u in utterances] == ['angry', 'sad']


def test_two_emotions_of_one_file_are_refused_with_what_to_say(database, tmp_path):
    add_table(database, 'second', FILES, 'emotion', ['anger', 'happiness', 'anger'])
    with pytest.raises(UserError, match=r'several emotions for wav/b\.wav.*--columns emotion=sec'):
        read(database, tmp_path)


def test_a_missing_column_is_refused_with_those_that_there_are(database, tmp_path):
    with pytest.raises(UserError, match=r'no table has that column.*files\.speaker'):
        read(database, tmp_path, columns='emotion=mood')
    del database.tables['emotion']
    with pytest.raises(UserError, match=r'no column for the emotion .*files\.speaker'):
        read(database, tmp_path)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'has no db\.yaml'):
        importer.walk(tmp_path, make_options('mine'))


def test_without_the_library_its_installation_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'audformat', None)
    (tmp_path / 'db.yaml').touch()
    with pytest.raises(UserError, match=r"pip install 'jaxser\[audformat\]'"):
        importer.walk(tmp_path, make_options('mine'))


class Program:
    """Makes a folder when it is read from a pickle."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (os.fspath(self.folder),)


def test_programs_in_a_database_are_not_run(database, tmp_path):
    """Neither those of a pickled table nor those of db.yaml; audformat alone would run both."""
    database.save(tmp_path, storage_format='csv')
    trace = tmp_path / 'trace'
    pickled = tmp_path / 'db.emotion.pkl'
    pickled.write_bytes(pickle.dumps(Program(trace)))
    assert len(importer.walk(tmp_path, make_options('mine'))) == 2
    (tmp_path / 'db.emotion.csv').unlink()
    with pytest.raises(UserError, match=r"db\.emotion\.pkl is a pickle.*storage_format='csv'"):
        importer.walk(tmp_path, make_options('mine'))
    pickled.unlink()
    header = (tmp_path / 'db.yaml').read_text()
    program = f'!!python/object/apply:os.mkdir ["{trace}"]'
    (tmp_path / 'db.yaml').write_text(f'{header}\ndescription: {program}\n')
    with pytest.raises(UserError, match='cannot be read by audformat'):
        importer.walk(tmp_path, make_options('mine'))
    assert not trace.exists()


def test_a_missing_table_is_refused(database, tmp_path):
    database.save(tmp_path, storage_format='csv')
    (tmp_path / 'db.files.csv').unlink()
    with pytest.raises(UserError, match=r'cannot be read by audformat .*Compare its'):
        importer.walk(tmp_path, make_options('mine'))


def test_a_damaged_database_is_refused(tmp_path):
    pytest.importorskip('audformat')
    (tmp_path / 'db.yaml').write_text('{')
    with pytest.raises(UserError, match='cannot be read by audformat'):
        importer.walk(tmp_path, make_options('mine'))

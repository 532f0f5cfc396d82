"""Tests how data sets of the library `datasets` are imported; an audiofolder needs no library."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines import prepare
from data_pipelines.corpora import huggingface
from data_pipelines.corpora.folder import make_options
from data_pipelines.errors import UserError

# The library and pandas have deprecations of their own.
pytestmark = pytest.mark.filterwarnings('default')

RATE = 8_000


def options(folder: Path, **settings):
    """Returns the options that `prepare --name mine` gives."""
    import dataclasses

    return dataclasses.replace(make_options('mine', **settings), audio_folder=folder / 'audio')


def write_tones(folder: Path, names: list[str]) -> list[Path]:
    paths = [folder / name for name in names]
    for number, path in enumerate(paths, start=1):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(RATE // 4, 0.1 * number), RATE)
    return paths


@pytest.fixture
def tones(tmp_path) -> list[Path]:
    return write_tones(tmp_path, ['a.wav', 'b.wav'])


def make_dataset(tones: list[Path]):
    """Returns a data set whose audio is inside it, with classes as numbers."""
    datasets = pytest.importorskip('datasets')
    columns = {
        'audio': [{'bytes': path.read_bytes(), 'path': path.name} for path in tones],
        'label': [0, 1],
        'speaker_id': [3, 4],
        'gender': ['F', 'other'],
        'age': [30.0, None],
        'words': [['a'], ['b']],
    }
    features = datasets.Features(
        {
            'audio': {'bytes': datasets.Value('binary'), 'path': datasets.Value('string')},
            'label': datasets.ClassLabel(names=['anger', 'sadness']),
            'speaker_id': datasets.Value('int64'),
            'gender': datasets.Value('string'),
            'age': datasets.Value('float64'),
            'words': datasets.List(datasets.Value('string')),
        }
    )
    made = datasets.Dataset.from_dict(columns, features=features)
    return made.cast_column('audio', datasets.Audio())


def facts(utterances) -> list[tuple]:
    return [(u.name, u.emotion, u.speaker, u.sex, u.split) for u in utterances]


def test_a_saved_data_set_is_read_and_its_audio_written_once(tones, tmp_path, capsys):
    make_dataset(tones).save_to_disk(tmp_path / 'saved')
    before = sorted((tmp_path / 'saved').iterdir())
    utterances = huggingface.walk(tmp_path / 'saved', options(tmp_path))
    assert facts(utterances) == [
        ('000000_a.wav', 'angry', '3', 'female', ''),
        ('000001_b.wav', 'sad', '4', '', ''),
    ]
    assert [u.path.read_bytes() for u in utterances] == [path.read_bytes() for path in tones]
    said = capsys.readouterr().out
    assert "'other': 1" in said
    assert 'ignored: age' in said
    assert sorted((tmp_path / 'saved').iterdir()) == before  # nothing is written there
    times = [u.path.stat().st_mtime_ns for u in utterances]
    again = huggingface.walk(tmp_path / 'saved', options(tmp_path))
    assert again == utterances
    assert [u.path.stat().st_mtime_ns for u in again] == times


def test_the_parts_of_a_data_set_are_its_split(tones, tmp_path):
    datasets = pytest.importorskip('datasets')
    made = make_dataset(tones)
    parts = datasets.DatasetDict({'train': made, 'validation': made})
    parts.save_to_disk(tmp_path / 'saved')
    utterances = huggingface.walk(tmp_path / 'saved', options(tmp_path))
    assert [u.split for u in utterances] == ['train', 'train', 'dev', 'dev']
    assert len({u.path for u in utterances}) == 4


@pytest.mark.parametrize('is_folder', [False, True])
def test_parquet_with_audio_is_read(is_folder, tones, tmp_path):
    """A file, or the folder of a repository, whose files of one part are one."""
    made = make_dataset(tones)
    path = tmp_path / 'hub/data/train-00000-of-00002.parquet'
    path.parent.mkdir(parents=True)
    made.with_format('arrow').to_parquet(path)
    if is_folder:
        made.with_format('arrow').to_parquet(path.with_name('train-00001-of-00002.parquet'))
    source = tmp_path / 'hub' if is_folder else path
    utterances = huggingface.walk(source, options(tmp_path))
    assert [u.emotion for u in utterances] == ['angry', 'sad'] * (1 + is_folder)
    assert {u.split for u in utterances} == {''}
    assert utterances[1].path.read_bytes() == tones[1].read_bytes()


def test_a_folder_named_as_parquet_contains_the_parts(tones, tmp_path):
    path = tmp_path / 'hub/x.parquet/part-00000.parquet'
    path.parent.mkdir(parents=True)
    make_dataset(tones).with_format('arrow').to_parquet(path)
    assert len(huggingface.walk(tmp_path / 'hub', options(tmp_path))) == 2


def test_a_damaged_parquet_is_refused(tmp_path):
    pytest.importorskip('datasets')
    (tmp_path / 'x.parquet').write_bytes(b'version https://git-lfs.github.com/spec/v1')
    with pytest.raises(UserError, match=r'x\.parquet is not a readable'):
        huggingface.walk(tmp_path / 'x.parquet', options(tmp_path))


def test_a_parquet_damaged_after_its_header_is_refused(tones, tmp_path):
    """Arrow finds that while the rows are read."""
    path = tmp_path / 'x.parquet'
    make_dataset(tones).with_format('arrow').to_parquet(path)
    content = bytearray(path.read_bytes())
    content[20 : len(content) // 4] = bytes(len(content) // 4 - 20)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'x\.parquet is damaged: .*Get it again'):
        huggingface.walk(path, options(tmp_path))


def test_a_column_of_paths_beside_the_audio_is_not_used(tones, tmp_path, capsys):
    """As in Common Voice, where they lead nowhere."""
    made = make_dataset(tones).add_column('Path', ['x/a.mp3', 'x/b.mp3'])
    made.save_to_disk(tmp_path / 'saved')
    utterances = huggingface.walk(tmp_path / 'saved', options(tmp_path))
    assert [u.path.read_bytes() for u in utterances] == [path.read_bytes() for path in tones]


def test_columns_are_named_by_the_option(tones, tmp_path):
    """Also the one with the audio, of two."""
    made = make_dataset(tones).rename_columns({'audio': 'near', 'speaker_id': 'who'})
    made = made.add_column('mood', ['fear', 'joy'])
    datasets = pytest.importorskip('datasets')
    far = [{'bytes': b'', 'path': None}] * 2
    made = made.add_column('far', far).cast_column('far', datasets.Audio())
    made.save_to_disk(tmp_path / 'saved')
    with pytest.raises(
        UserError, match=r'audio in several columns: near, far.*--columns path=near'
    ):
        huggingface.walk(tmp_path / 'saved', options(tmp_path))
    chosen = options(tmp_path, columns='path=near,speaker=who,emotion=mood')
    utterances = huggingface.walk(tmp_path / 'saved', chosen)
    assert [(u.emotion, u.speaker) for u in utterances] == [('fear', '3'), ('happy', '4')]


def test_an_audiofolder_with_metadata_is_read_without_the_library(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    source = tmp_path / 'own'
    write_tones(source, ['train/a.wav', 'test/b.wav', 'test/extra.wav'])
    (source / 'train/metadata.csv').write_text('file_name,emotion,speaker\na.wav,anger,3\n')
    (source / 'test/metadata.jsonl').write_text(
        '{"file_name": "b.wav", "emotion": "sad", "speaker": 4, "tags": ["x"]}\n'
    )
    utterances = huggingface.walk(source, options(tmp_path))
    assert facts(utterances) == [
        ('train/a.wav', 'angry', '3', '', 'train'),
        ('test/b.wav', 'sad', '4', '', 'test'),
    ]
    assert utterances[0].path == source / 'train/a.wav'
    assert '1 audio file left out, since the metadata does not name them' in capsys.readouterr().out


def test_metadata_may_name_files_elsewhere(tmp_path):
    """By an absolute path; a column `path` does not replace file_name."""
    (path,) = write_tones(tmp_path / 'elsewhere', ['a.wav'])
    source = tmp_path / 'own'
    source.mkdir()
    (source / 'metadata.csv').write_text(
        f'file_name,emotion,speaker,path\n{path},sad,3,missing.wav\n'
    )
    (utterance,) = huggingface.walk(source, options(tmp_path))
    assert utterance.path.resolve() == path.resolve()


def test_folders_of_an_audiofolder_name_the_emotion(tmp_path):
    source = tmp_path / 'own'
    write_tones(source, ['train/anger/a.wav', 'train/sadness/b.wav', 'test/anger/c.wav'])
    utterances = huggingface.walk(source, options(tmp_path))
    assert [(u.emotion, u.split) for u in utterances] == [
        ('angry', 'test'),
        ('angry', 'train'),
        ('sad', 'train'),
    ]


@pytest.mark.parametrize('name', ['metadata.csv', 'metadata.jsonl'])
def test_metadata_without_file_names_are_refused(name, tmp_path):
    (tmp_path / name).write_text('{"emotion": "sad"}' if name.endswith('l') else 'emotion\nsad\n')
    with pytest.raises(UserError, match=f'{name}, row 1, has no file_name'):
        huggingface.walk(tmp_path, options(tmp_path))


def test_without_the_library_its_installation_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    (tmp_path / 'state.json').touch()
    with pytest.raises(UserError, match=r"pip install 'jaxser\[datasets\]'"):
        huggingface.walk(tmp_path, options(tmp_path))


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(UserError, match='has neither metadata nor audio'):
        huggingface.walk(tmp_path, options(tmp_path))
    message = 'hf download amu-cai/nEMO --repo-type dataset --local-dir FOLDER'
    with pytest.raises(UserError, match=message):
        huggingface.walk(Path('amu-cai/nEMO'), options(tmp_path))


def test_an_interrupted_import_says_where_its_audio_is():
    """Other corpora leave nothing."""
    words = ['--source', 'x', '--name', 'mine', '--out', 'own']
    parser = prepare.make_parser()
    remains = prepare.describe_remains(parser.parse_args(['huggingface', *words]))
    assert str(Path('own/sources/mine')) in remains
    remains = prepare.describe_remains(parser.parse_args(['folder', *words]))
    assert remains == 'No files were left behind.'

"""Tests that corpora of the user's own are prepared, packed, joined and named by their names."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from configs import base
from data_pipelines import pack
from data_pipelines.corpora import Utterance, own_corpus
from data_pipelines.corpora import __main__ as corpora_command
from data_pipelines.corpora.folder import make_options
from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.protocols.split import make_split, select_utterances
from data_pipelines.storage import dataset, prepared
from data_pipelines.storage.preparation import prepare_corpus, print_next_command
from jaxser.configuration import resolve
from jaxser.training import validate

SPEC = LogMel()


def write_corpus(folder: Path, speakers: tuple[str, ...], words: tuple[str, ...]) -> Path:
    """Writes a list with a recording for each speaker and word, and returns its path."""
    folder.mkdir()
    random = np.random.default_rng(len(speakers))
    lines = ['path,speaker,emotion']
    for speaker in speakers:
        for number, word in enumerate(words):
            name = f'{speaker}_{number}.wav'
            soundfile.write(folder / name, random.normal(0, 0.1, 4_000), 8_000)
            lines.append(f'{name},{speaker},{word}')
    (folder / 'list.csv').write_text('\n'.join(lines))
    return folder / 'list.csv'


@pytest.fixture(scope='module')
def own(tmp_path_factory) -> Path:
    """Returns the data folder of two corpora: `first` has a class of its own, `second` has not."""
    root = tmp_path_factory.mktemp('own')
    (root / 'map.csv').write_text('buoyant,buoyant\nweird,\n')
    first = write_corpus(root / 'a', ('x', 'y', 'z', 'v'), ('buoyant', 'sad', 'weird'))
    options = make_options('first', label_map=root / 'map.csv')
    prepare_corpus('folder', first, root / 'data', SPEC, workers=1, list_options=options)
    second = write_corpus(root / 'b', ('x',), ('angry', 'sad'))
    options = make_options('second')
    prepare_corpus('folder', second, root / 'data', SPEC, workers=1, list_options=options)
    return root / 'data'


def resolved(own: Path, **changes):
    """Returns the base configuration on the data folder with some keys changed, resolved."""
    config = base.get_config()
    config.data.dir = str(own)
    config.update_from_flattened_dict({'data.corpora': ('first',), **changes})
    return resolve.resolve_config(config)


def select_classes(config) -> tuple[list[str], dict[str, int]]:
    """Returns the classes of a configuration, and the counts of what it leaves out."""
    data = dataset.find_prepared_data(config.data)
    utterances, left_out = select_utterances(config, data)
    return sorted(set(utterances.text['emotion'].tolist())), left_out


def test_a_class_of_the_users_own_is_in_native_and_in_its_own_label_space(own):
    for label_space in ('native', 'first'):
        config = resolved(own, **{'data.labels': label_space})
        validate.plan_programs(config)
        assert select_classes(config) == (['buoyant', 'sad'], {'other': 4})
    with pytest.raises(UserError, match=r"no label space 'thrid'.*prepared in .*first, second"):
        validate.plan_programs(resolved(own, **{'data.labels': 'thrid'}))


def test_corpora_are_joined_if_their_classes_agree(own):
    """A class that only one corpus has would reveal the corpus."""
    both = {'data.corpora': ('first,second',)}
    with pytest.raises(
        UserError, match=r'first has .* second does not have: buoyant.*labels=first'
    ):
        select_classes(resolved(own, **both))
    config = resolved(own, **both, **{'data.labels': 'first'})
    assert select_classes(config) == (['buoyant', 'sad'], {'angry': 1, 'other': 4})
    config = resolved(own, **both, **{'data.labels': 'four'})
    assert select_classes(config)[0] == ['angry', 'sad']


def test_own_corpora_are_source_target_and_identity(own):
    pair = {
        'protocol.name': 'source_target',
        'protocol.source': ('first',),
        'protocol.target': ('second',),
        'data.labels': 'four',
    }
    config = resolved(own, **pair)
    assert config.data.corpora == ('first', 'second')
    config = resolved(own, **{'protocol.identity': ('second',)})
    assert config.data.corpora == ('first', 'second')
    utterances, _ = select_utterances(config, dataset.find_prepared_data(config.data))
    assert set(utterances.text['corpus'].tolist()) == {'first', 'second'}
    with pytest.raises(UserError, match="no corpus 'thrid'"):
        resolved(own, **pair | {'protocol.source': ('thrid',)})


def test_the_automatic_protocol_is_resolved_and_said(own, capsys):
    """Each speaker has two utterances only, so that they are no parts of their own."""
    config = resolved(own, **{'protocol.name': 'auto'})
    assert (config.protocol.name, config.protocol.folds) == ('speaker_folds', 4)
    assert 'speaker_folds. 4 known speakers: 4 parts' in capsys.readouterr().out
    assert len(make_split(config, dataset.find_prepared_data(config.data)).folds) == 4
    with pytest.raises(UserError, match='belong to the protocol source_target'):
        resolved(own, **{'protocol.name': 'auto', 'protocol.source': ('second',)})


def test_the_record_says_how_the_list_was_read(own):
    """Also the packed one, and the command that prepares other features."""
    record = prepared.read_record(prepared.find_dataset(own, 'first', SPEC))
    assert record['own']['classes'] == ['buoyant', 'sad']
    assert record['own']['speakers'] == 4
    labels_file = own.parent / 'map.csv'
    source = own.parent / 'a' / 'list.csv'
    command = f'folder --name first --source {source} --labels {labels_file} --out'
    with pytest.raises(UserError, match=command):
        prepared.resolve_feature_name(own, ['first'], 'any')
    folder = prepared.find_dataset(own, 'second', SPEC)
    file = own / 'second' / SPEC.npz_name
    pack.write_npz(folder, file)
    config = resolved(own)
    config.data.dir = str(own.parent / 'copied')
    copied = own.parent / 'copied' / 'second'
    copied.mkdir(parents=True)
    file.rename(copied / file.name)
    assert dataset.read_own_classes(config.data, 'second') == ('angry', 'sad')


def test_another_list_or_other_words_under_one_name_are_refused(own):
    options = make_options('first', emotions='buoyant=happy,weird=sad')
    arguments = ('folder', own.parent / 'a' / 'list.csv', own, SPEC)
    with pytest.raises(UserError, match=r'its words are read otherwise.*--name NAME'):
        prepare_corpus(*arguments, workers=1, list_options=options)
    with pytest.raises(UserError, match=r'--name emodb is the name of a corpus'):
        prepare_corpus(*arguments, workers=1, list_options=make_options('emodb'))


def test_the_table_of_corpora_has_them(own):
    assert corpora_command.make_own_row('first', own) == ['first', '', '4', '12', '2', 'shards']


@pytest.mark.parametrize(
    ('labels', 'expected'),
    [
        ({'emotion': 'sad'}, ['own.py:mine']),
        (
            {'emotion': 'undecided', 'arousal': 0.5},
            ['--config.task=ratings --config.data.ratings=arousal'],
        ),
        (
            {'emotion': 'other', 'arousal': 0.5, 'valence': 0, 'dominance': 1},
            ['--config.task=ratings'],
        ),
        (
            {'emotion': 'sad', 'valence': 0.5, 'votes': {'sad': 2}},
            ['own.py:mine', '--config.data.ratings=valence', '--config.train.soft_labels=True'],
        ),
    ],
)
def test_the_next_command_trains_on_what_the_corpus_has(labels, expected, capsys):
    """On the ratings if there is no emotion; otherwise ratings and votes are named in addition."""
    utterance = Utterance('a', Path('a.wav'), '1', language='', corpus='mine', **labels)
    print_next_command(own_corpus('mine'), [utterance], SPEC, Path('data'), ())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('Train on it: python -m jaxser.main --config=configs/own.py:mine')
    for line, end in zip(lines, expected, strict=True):
        assert line.endswith(end)

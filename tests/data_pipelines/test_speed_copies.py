"""Tests of the names of speed-perturbed copies, and of the refusals about them."""

from pathlib import Path

import pytest

from data_pipelines import corpora, speed_copies
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.protocols.protocol import Protocol


def test_a_copy_is_a_new_utterance_of_a_new_speaker_of_a_new_corpus():
    """Each speed is a new speaker, unless the speaker is unknown. The rest is as in the source."""
    facts = {'path': Path('a.wav'), 'emotion': 'sad', 'language': 'de', 'sentence': 'a01'}
    known = Utterance(name='u', speaker='03', corpus='emodb', **facts)
    unknown = Utterance(name='v', speaker='', corpus='emodb', **facts)
    copies = speed_copies.make_copies([known, unknown], (0.86, 1.1))
    named = [(copy.name, copy.speaker, copy.corpus, copy.speed) for copy in copies]
    assert named == [
        ('u@0.86', '03@0.86', 'emodb_speed', 0.86),
        ('u@1.1', '03@1.1', 'emodb_speed', 1.1),
        ('v@0.86', '', 'emodb_speed', 0.86),
        ('v@1.1', '', 'emodb_speed', 1.1),
    ]
    for copy in copies:
        assert {key: getattr(copy, key) for key in facts} == facts


@pytest.mark.parametrize(
    ('name', 'source'),
    [
        ('u@0.86', 'u'),
        ('a@b.wav#0-1@1.1', 'a@b.wav#0-1'),
        ('emodb_speed/u@0.86', 'emodb/u'),  # of several data sets
    ],
)
def test_the_source_of_a_copy_follows_from_its_name(name, source):
    assert speed_copies.source_utterance(name, 'emodb_speed') == source
    assert speed_copies.source_corpus('emodb_speed') == 'emodb'
    assert speed_copies.source_corpus('emodb') is None


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', "contains ''; expected numbers from 0.5 to 2 except 1"),
        ('0.9,fast', "contains 'fast'"),
        ('0.9, 1.0', "contains '1.0'"),
        ('1.0000001', "contains '1.0000001'"),  # it would be named 1
        ('0.4', "contains '0.4'"),
        ('2.1', "contains '2.1'"),
        ('nan', "contains 'nan'"),
        ('0.9,1.1,0.90', 'contains 0.9 twice'),
    ],
)
def test_speeds_out_of_range_or_named_twice_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        speed_copies.parse_speeds(text)


def test_speeds_are_read_from_a_list():
    assert speed_copies.parse_speeds('0.5, 0.86,2') == (0.5, 0.86, 2.0)


def test_the_copies_of_a_corpus_are_a_corpus_of_any_counts():
    corpus = corpora.load_corpus('emodb_speed')
    assert (corpus.name, corpus.title) == ('emodb_speed', 'EMO-DB at other speeds')
    assert corpus.is_complete([])
    assert 'emodb_speed' not in corpora.corpus_names()
    with pytest.raises(UserError, match="no corpus 'emo_speed'"):
        corpora.load_corpus('emo_speed')


def test_copies_of_a_corpus_of_a_csv_are_in_the_data_set_of_its_copies():
    names = {'emodb': 'emodb', 'mine': 'folder', 'emodb_speed': 'emodb_speed'}
    names['mine_speed'] = 'folder_speed'
    for corpus, data_set in names.items():
        assert corpora.data_set_name(corpus) == data_set


@pytest.mark.parametrize('key', ['source', 'target'])
def test_copies_are_refused_as_source_and_target(key):
    pair = {'source': ('emodb',), 'target': ('ravdess',), key: ('urdu_speed',)}
    message = rf'protocol\.{key} names urdu_speed, the copies of urdu .* config\.protocol\.identity'
    with pytest.raises(UserError, match=message):
        Protocol('source_target', **pair)

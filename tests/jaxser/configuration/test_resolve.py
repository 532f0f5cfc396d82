"""Tests of what a resolved configuration names."""

import pytest

from configs import base
from data_pipelines.errors import UserError
from data_pipelines.protocols import split
from data_pipelines.protocols.choice import ProtocolChoice
from data_pipelines.storage import dataset
from jaxser.configuration import resolve


def resolved(**changes):
    """Returns the base configuration with some keys changed, resolved; no data are prepared."""
    config = base.get_config()
    config.data.dir = 'nowhere'
    config.update_from_flattened_dict(changes)
    return resolve.resolve_config(config)


def test_names_may_come_from_a_shell_with_commas():
    """'a,b' is two names wherever names are listed; the corpora of the protocol are read."""
    assert resolved(**{'data.corpora': ('emodb,urdu',)}).data.corpora == ('emodb', 'urdu')
    pair = {
        'protocol.name': 'source_target',
        'protocol.source': ('emodb, ravdess',),
        'protocol.target': ('urdu',),
    }
    config = resolved(**pair)
    assert config.data.corpora == ('emodb', 'ravdess', 'urdu')
    assert config.protocol.source == ('emodb', 'ravdess')


def test_a_corpus_named_twice_is_refused():
    """Otherwise every utterance would be used twice."""
    with pytest.raises(UserError, match='names emodb twice'):
        resolved(**{'data.corpora': ('emodb', 'emodb')})


def test_corpora_of_identity_batches_are_read_in_addition_to_the_others():
    """They must not be corpora that are trained and tested on."""
    identity = {'protocol.identity': ('ravdess,urdu',)}
    config = resolved(**identity, **{'data.corpora': ('emodb',)})
    assert config.data.corpora == ('emodb', 'ravdess', 'urdu')
    assert config.protocol.identity == ('ravdess', 'urdu')
    pair = {
        'protocol.name': 'source_target',
        'protocol.source': ('emodb',),
        'protocol.target': ('savee',),
    }
    assert resolved(**identity, **pair).data.corpora == ('emodb', 'savee', 'ravdess', 'urdu')
    with pytest.raises(
        UserError, match=r'urdu fills the identity batches .* name it in one of the two'
    ):
        resolved(**identity, **{'data.corpora': ('emodb', 'urdu')})


def test_copies_at_other_speeds_are_read_for_identity_batches_only():
    """Anywhere else they would leak, whether they are prepared or not."""
    config = resolved(**{'data.corpora': ('emodb',), 'protocol.identity': ('emodb_speed',)})
    assert config.data.corpora == ('emodb', 'emodb_speed')
    with pytest.raises(UserError, match=r'data\.corpora names emodb_speed, the copies of emodb'):
        resolved(**{'data.corpora': ('emodb', 'emodb_speed')})


def test_a_csv_is_not_trained_on_only_because_it_has_the_identity_corpus(monkeypatch):
    """Its other corpora would be trained on without being named."""
    monkeypatch.setattr(dataset, 'read_existing_fingerprints', lambda config: {'folder': 'there'})
    with pytest.raises(UserError, match=r'add folder to config\.data\.corpora'):
        resolved(**{'data.corpora': ('emodb',), 'protocol.identity': ('mine',)})
    config = resolved(**{'data.corpora': ('emodb', 'folder'), 'protocol.identity': ('mine',)})
    assert config.data.corpora == ('emodb', 'folder')


def test_a_misspelt_normalisation_is_named_before_what_it_does_not_use():
    with pytest.raises(UserError, match=r"'speaker_enrol'; expected one of .*enrolled"):
        resolved(**{'data.normalise': 'speaker_enrol', 'protocol.enrol': 4})


@pytest.mark.parametrize(
    ('label_space', 'selection', 'can_select'),
    [
        ('native', '', True),
        ('native', 'emotion=sad,angry', True),
        ('native', 'style=acted', False),  # it would be lost
        ('four', '', False),  # happy is also excited
    ],
)
def test_classes_can_be_selected_where_they_are_words(
    label_space, selection, can_select, monkeypatch
):
    """The advice on rare classes sets config.data.only, which selects words, to their names."""
    seen = []

    def choose(utterances, can_select_classes, **what_is_predicted):
        seen.append(can_select_classes)
        return ProtocolChoice('speaker_folds', 5, 'many speakers')

    monkeypatch.setattr(resolve, 'choose_protocol', choose)
    monkeypatch.setattr(dataset, 'find_prepared_data', lambda config: None)
    monkeypatch.setattr(split, 'select_utterances', lambda config, data: (None, {}))
    resolved(**{'protocol.name': 'auto', 'data.labels': label_space, 'data.only': selection})
    assert seen == [can_select]


def test_the_task_with_both_may_be_written_in_either_order():
    assert resolved(task='ratings+emotion').task == 'emotion+ratings'
    with pytest.raises(UserError, match='expected one of emotion, ratings, emotion'):
        resolved(task='rating')

"""What a resolved configuration names."""

import pytest

from configs import base
from data_pipelines.errors import UserError
from data_pipelines.storage import dataset
from jaxser.configuration import resolve


def resolved(**changes):
    """Returns the base configuration with some keys changed, resolved; no data are prepared."""
    config = base.get_config()
    config.data.dir = 'nowhere'
    config.update_from_flattened_dict(changes)
    return resolve.resolve_config(config)


def test_names_may_come_from_a_shell_with_commas():
    """'a,b' is two names, wherever names are listed; what the protocol names is what is read."""
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
    """Every utterance would be there twice."""
    with pytest.raises(UserError, match='names emodb twice'):
        resolved(**{'data.corpora': ('emodb', 'emodb')})


def test_corpora_of_identity_batches_are_read_beside_the_others():
    """Never one that is trained and tested on."""
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


def test_a_csv_is_not_trained_on_because_one_of_its_corpora_fills_identity_batches(monkeypatch):
    """One of its corpora is named; the others would train."""
    monkeypatch.setattr(dataset, 'read_existing_fingerprints', lambda config: {'folder': 'there'})
    with pytest.raises(UserError, match='name folder in config'):
        resolved(**{'data.corpora': ('emodb',), 'protocol.identity': ('mine',)})
    config = resolved(**{'data.corpora': ('emodb', 'folder'), 'protocol.identity': ('mine',)})
    assert config.data.corpora == ('emodb', 'folder')

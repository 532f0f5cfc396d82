"""Tests that speed-perturbed copies of dev, test and withheld utterances never train."""

import dataclasses

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from data_pipelines.batching.table import NORMALISATIONS, ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.protocols import audit, audit_report, split
from data_pipelines.protocols.copies import find_sources, keep_copies_of_training
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.subsets import Subset, take_subset
from data_pipelines.storage import schema

SPEEDS = ('0.86', '1.16')
PROTOCOL = Protocol(folds=3, identity=('x_speed',), withhold=0.2)


def copies_of(utterances):
    """Returns the copies of all utterances at two speeds, as `prepare` names them."""
    random = np.random.default_rng(0)
    copies = []
    for speed in SPEEDS:
        copy = utterances[np.arange(len(utterances))]
        for key in ('utterance', 'speaker'):
            copy.text[key] = np.char.add(copy.text[key], f'@{speed}')
        copy.text['corpus'] = np.full(len(copy), 'x_speed')
        copy.signature_NxS = random.normal(size=copy.signature_NxS.shape).astype(np.float16)
        copy.signature_NxS[:, 1:] /= np.linalg.norm(copy.signature_NxS[:, 1:], axis=1)[:, None]
        copies.append(copy)
    both = {key: np.concatenate([copy.text[key] for copy in copies]) for key in copies[0].text}
    arrays = {}
    for name in schema.ARRAY_COLUMNS:
        arrays[name] = np.concatenate([getattr(copy, name) for copy in copies])
    return schema.Utterances(both, files=[], **arrays)


def make_with_copies(copies_first: bool = False):
    """Returns six speakers' utterances and their copies, as two data sets are read."""
    own = make_utterances(per_class=10)
    datasets = [own, copies_of(own)]
    return schema.concatenate_datasets(datasets[::-1] if copies_first else datasets)


def split_with_copies(monkeypatch, utterances, protocol: Protocol = PROTOCOL) -> split.Split:
    """Returns the split of a configuration of which these are all utterances."""
    monkeypatch.setattr(split, 'read_utterances', lambda data: utterances)
    data = {'only': '', 'labels': 'four', 'order_seed': 0}
    config = ConfigDict({'task': 'emotion', 'data': data, 'train': {'soft_labels': False}})
    config.protocol = ConfigDict(dataclasses.asdict(protocol))
    return split.make_split(config, None)


def source_names(utterances, rows) -> list[str]:
    """Returns the names of copies without the speeds and the data sets."""
    names = []
    for name in utterances.text['utterance'][rows].tolist():
        data_set, _, name = name.partition('/')
        assert data_set == 'x_speed'
        names.append(name.rpartition('@')[0])
    return names


def own_names(utterances, rows) -> list[str]:
    """Returns the names of utterances without the data set."""
    return [name.partition('/')[2] for name in utterances.text['utterance'][rows].tolist()]


@pytest.mark.parametrize('copies_first', [False, True])
def test_the_copies_in_a_fold_are_those_of_its_training_utterances(monkeypatch, copies_first):
    """At each speed; not those of withheld, dev and test utterances."""
    made = split_with_copies(monkeypatch, make_with_copies(copies_first))
    for fold in made.folds:
        assert len(fold.withheld) > 0
        expected = own_names(made.utterances, fold.train)
        copied = source_names(made.utterances, fold.identity)
        assert sorted(copied) == sorted(expected * len(SPEEDS))
        elsewhere = np.concatenate([fold.withheld, fold.dev, fold.test])
        assert not set(copied) & set(own_names(made.utterances, elsewhere))
    # Each speaker trains in one fold: the copies of what it withholds are in none.
    assert made.unused == len(SPEEDS) * sum(len(fold.withheld) for fold in made.folds)


def test_a_smaller_training_part_has_fewer_copies(monkeypatch):
    made = split_with_copies(monkeypatch, make_with_copies())
    for subset in (Subset(speakers=1), Subset(per_class=3), Subset(confounded=0.5)):
        for fold in made.folds:
            smaller = take_subset(made.utterances, fold, subset, 0)
            assert len(smaller.train) < len(fold.train)
            expected = own_names(made.utterances, smaller.train)
            copied = source_names(made.utterances, smaller.identity)
            assert sorted(copied) == sorted(expected * len(SPEEDS))


def test_other_identity_corpora_stay_beside_the_copies():
    """Only copies are chosen."""
    utterances = make_with_copies()
    other = make_utterances(speakers=2)
    other.text['corpus'] = np.full(len(other), 'y')
    utterances = schema.concatenate_datasets(
        [make_utterances(), copies_of(make_utterances()), other]
    )
    fold = make_folds(utterances, Protocol(folds=3, identity=('x_speed', 'y')))[0]
    kept = keep_copies_of_training(utterances, fold).identity
    corpora, counts = np.unique(utterances.text['corpus'][kept], return_counts=True)
    assert dict(zip(corpora.tolist(), counts.tolist())) == {
        'x_speed': len(SPEEDS) * len(fold.train),
        'y': len(other),
    }


def test_copies_of_a_corpus_that_is_not_trained_on_are_refused():
    """They would leave the identity batches empty."""
    own = make_utterances()
    copies = copies_of(own)
    own.text['corpus'] = np.full(len(own), 'y')
    utterances = schema.concatenate_datasets([own, copies])
    fold = make_folds(utterances, Protocol(folds=3, identity=('x_speed',)))[0]
    with pytest.raises(UserError, match='x_speed contains no copy of a training utterance'):
        keep_copies_of_training(utterances, fold)


@pytest.mark.parametrize('identity', [(), ('y',)])
def test_copies_are_refused_outside_identity_batches(identity):
    """As own utterances they would be in train and in test."""
    other = make_utterances(speakers=2)
    other.text['corpus'] = np.full(len(other), 'y')
    utterances = schema.concatenate_datasets([make_with_copies(), other])
    message = r'data\.corpora names x_speed, the copies of x .* config\.protocol\.identity instead'
    with pytest.raises(UserError, match=message):
        make_folds(utterances, Protocol(folds=3, identity=identity))


def test_the_audit_counts_the_copies_of_a_fold(monkeypatch):
    """Without copies it has nothing to say of them."""
    made = split_with_copies(monkeypatch, make_with_copies())
    findings = audit.audit_folds(made.utterances, made.folds, PROTOCOL)
    assert findings['copies'] == {'utterances': [64, 64, 64], 'leaked': 0, 'examples': []}
    described = dict(audit_report.describe_findings(findings))['copies']
    expected = '64 copies of training utterances at other speeds in each fold, as new speakers'
    assert described == expected
    plain = make_utterances()
    folds = make_folds(plain, Protocol(folds=3))
    assert 'copies' not in audit.audit_folds(plain, folds, Protocol(folds=3))


@pytest.mark.parametrize('part', ['dev', 'test', 'withheld'])
@pytest.mark.parametrize('training_part', ['train', 'identity'])
def test_the_audit_refuses_a_copy_whose_source_is_not_in_training(monkeypatch, part, training_part):
    """No --allow_leak permits it."""
    made = split_with_copies(monkeypatch, make_with_copies())
    source_N = find_sources(made.utterances)
    fold = made.folds[1]
    row = np.flatnonzero(source_N == getattr(fold, part)[0])[:1]
    rows = np.append(getattr(fold, training_part), row)
    leaking = dataclasses.replace(fold, **{training_part: rows})
    folds = [made.folds[0], leaking]
    protocol = dataclasses.replace(PROTOCOL, allow_leak='speaker,audio')
    name = made.utterances.text['utterance'][row[0]]
    message = f'in fold {fold.name!r} training uses {name}, a copy of an utterance of {part}'
    with pytest.raises(UserError, match=message):
        audit.audit_folds(made.utterances, folds, protocol)
    findings = audit.inspect_folds(made.utterances, folds, protocol)
    described = dict(audit_report.describe_findings(findings))['copies']
    assert described.startswith('LEAK: 1 are of dev, test or withheld utterances')


@pytest.mark.parametrize('normalisation', NORMALISATIONS)
def test_unused_copies_influence_no_training_example(monkeypatch, normalisation):
    """Poisoned moments of copies of dev, test and withheld utterances change no other's."""
    made = split_with_copies(monkeypatch, make_with_copies())
    for fold in made.folds:
        copies = np.flatnonzero(made.utterances.text['corpus'] == 'x_speed')
        unused = np.setdiff1d(copies, fold.identity)
        poisoned = dataclasses.replace(
            made.utterances,
            mean_NxM=made.utterances.mean_NxM.copy(),
            variance_NxM=made.utterances.variance_NxM.copy(),
        )
        poisoned.mean_NxM[unused] = np.nan
        poisoned.variance_NxM[unused] = np.nan
        clean_table = ExampleTable(made.utterances, [fold], normalisation, balanced=True)
        table = ExampleTable(poisoned, [fold], normalisation, balanced=True)
        used = np.concatenate([fold.used_rows, fold.identity])
        index = table.moments_index_FxN[0, used]
        clean_index = clean_table.moments_index_FxN[0, used]
        np.testing.assert_array_equal(table.mean[index], clean_table.mean[clean_index])
        np.testing.assert_array_equal(table.scale[index], clean_table.scale[clean_index])

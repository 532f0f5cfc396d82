"""Tests that utterances without one class train by their votes, and are in no other part."""

import dataclasses

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from data_pipelines.batching.table import ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.protocols import audit, folds, split
from data_pipelines.protocols.folds import identity_mask
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.subsets import Subset, take_subset
from data_pipelines.storage.schema import Utterances

PARTS = ('dev', 'test', 'attacker_test', 'reserved')


def make_voted(undecided_every: int = 4, **settings) -> Utterances:
    """Returns utterances of which every fourth has no class, and all have three votes."""
    utterances = make_utterances(per_class=8, **settings)
    text = utterances.text
    text['votes'] = np.char.add(text['emotion'], '=2;happy=1').astype('<U30')
    emotion_N = text['emotion'].astype('<U10')
    emotion_N[::undecided_every] = 'undecided'
    text['votes'][::undecided_every] = 'angry=1;other=4;sad=1'
    text['emotion'] = emotion_N
    text['sha256'] = np.array([f'h{row}' for row in range(len(utterances))])
    return utterances


def make_config(protocol: Protocol, soft_labels: bool = True, **data) -> ConfigDict:
    settings = {'only': '', 'labels': 'native', 'order_seed': 0} | data
    config = ConfigDict({'task': 'emotion', 'data': settings})
    config.train = ConfigDict({'soft_labels': soft_labels})
    config.protocol = ConfigDict(dataclasses.asdict(protocol))
    return config


def divide(utterances: Utterances, protocol: Protocol, soft_labels: bool = True) -> split.Split:
    config = make_config(protocol, soft_labels)
    return split.divide(config, *split.select_from(config, utterances))


def names(made: split.Split, rows: np.ndarray) -> list[str]:
    return sorted(made.utterances.text['utterance'][rows].tolist())


def is_undecided(made: split.Split) -> np.ndarray:
    return made.utterances.text['emotion'] == ''


@pytest.mark.parametrize(
    'protocol',
    [
        Protocol(folds=3),
        Protocol(name='leave_one_speaker_out', withhold=0.25),
        Protocol(name='leave_one_session_out', enrol=2),
        Protocol(name='speaker_dependent', folds=4),
    ],
)
def test_they_are_added_to_training_and_change_no_other_part(protocol):
    utterances = make_voted(sessions=3)
    hard = divide(utterances, protocol, soft_labels=False)
    soft = divide(utterances, protocol)
    assert len(hard.folds) == len(soft.folds)
    for before, after in zip(hard.folds, soft.folds):
        for part in PARTS:
            assert names(hard, getattr(before, part)) == names(soft, getattr(after, part))
        has_class = ~is_undecided(soft)[after.train]
        assert names(hard, before.train) == names(soft, after.train[has_class])
        assert not has_class.all()
    assert soft.undecided == is_undecided(soft).sum() > 0


def test_no_speaker_of_dev_or_test_trains_by_votes():
    made = divide(make_voted(), Protocol(folds=3))
    speaker_N = made.utterances.text['speaker']
    for fold in made.folds:
        held_out = speaker_N[np.concatenate([fold.dev, fold.test])]
        assert not set(speaker_N[fold.train]) & set(held_out)
        assert set(speaker_N[fold.train]) | set(held_out) == set(speaker_N)


def test_of_an_official_split_only_the_training_part_trains_by_votes():
    utterances = make_voted()
    parts = {'s00': 'dev', 's01': 'dev', 's02': 'test', 's03': 'test'}
    speakers = utterances.text['speaker'].tolist()
    split_N = np.array([parts.get(speaker, 'train') for speaker in speakers], '<U6')
    split_N[-4] = 'test2'  # an undecided one of a training speaker
    utterances.text['split'] = split_N
    made = divide(utterances, Protocol(name='official'))
    (fold,) = made.folds
    own = fold.train[is_undecided(made)[fold.train]]
    assert len(own)
    assert set(made.utterances.text['split'][own]) == {'train'}
    assert made.undecided == len(own)
    assert made.unused == is_undecided(made).sum() - len(own)


def test_of_a_target_none_trains_by_votes():
    utterances = make_voted(speakers=10)
    is_target_N = np.isin(utterances.text['speaker'], ['s00', 's01', 's02', 's03'])
    utterances.text['corpus'] = np.where(is_target_N, 'b', 'a')
    utterances.text['speaker'][0] = ''  # an undecided one of the target
    made = divide(utterances, Protocol(name='source_target', source=('a',), target=('b',)))
    (fold,) = made.folds
    own = fold.train[is_undecided(made)[fold.train]]
    assert len(own)
    assert set(made.utterances.text['corpus'][own]) == {'a'}


def test_by_sentence_none_with_a_sentence_of_dev_or_test_trains_by_votes():
    utterances = make_voted()
    count = len(utterances)
    utterances.text['sentence'] = np.array([f'w{row % 7}' for row in range(count)])
    made = divide(utterances, Protocol(name='sentence_folds', folds=3))
    sentence_N = made.utterances.text['sentence']
    for fold in made.folds:
        held_out = sentence_N[np.concatenate([fold.dev, fold.test])]
        assert not set(sentence_N[fold.train]) & set(held_out)
        assert is_undecided(made)[fold.train].any()


def test_a_copy_of_a_recording_of_dev_or_test_does_not_train():
    utterances = make_voted()
    protocol = Protocol(name='speaker_dependent', folds=3)
    hash_N = utterances.text['sha256']
    hash_N[0] = hash_N[1]  # row 0 is undecided
    made = divide(utterances, protocol)
    copy = len(made.utterances) - int(is_undecided(made).sum())  # the first undecided one
    original = 0
    assert made.utterances.text['sha256'][copy] == made.utterances.text['sha256'][original]
    for fold in made.folds:
        assert (copy in fold.train) == (original in fold.train)


def test_utterances_of_identity_corpora_are_not_undecided():
    utterances = make_voted()
    utterances.text['corpus'] = np.where(utterances.text['speaker'] == 's05', 'b', 'a')
    made = divide(utterances, Protocol(folds=3, identity=('b',)))
    identity_N = identity_mask(made.utterances, ('b',))
    assert identity_N.sum() == 16
    assert made.undecided == (is_undecided(made) & ~identity_N).sum()
    for fold in made.folds:
        assert not identity_N[fold.train].any()


def test_votes_change_the_hash_only_with_soft_labels():
    protocol = Protocol(folds=3)
    utterances = make_voted()
    hashes = {soft: divide(utterances, protocol, soft).sha256 for soft in (False, True)}
    assert hashes[False] != hashes[True]
    utterances.text['votes'][1] = 'angry=3;happy=1'
    assert divide(utterances, protocol, soft_labels=False).sha256 == hashes[False]
    assert divide(utterances, protocol).sha256 != hashes[True]


def test_what_trains_by_votes_is_counted_and_the_rest_is_left_out():
    """Of the undecided ones, those with votes for other emotions only are left out."""
    utterances = make_voted()
    utterances.text['votes'][[0, 4]] = 'other=5'
    made = divide(utterances, Protocol(folds=3))
    assert made.left_out == {'undecided': 2}
    lines = made.describe_left_out('native')
    assert lines[0] == (
        "Used in training only, by the votes of raters: 22 without one class in 'native'. "
        'Tested: 72 with one class.'
    )
    assert lines[1] == "Left out, no class in 'native': 2 undecided."
    hard = divide(utterances, Protocol(folds=3), soft_labels=False)
    assert hard.left_out == {'undecided': 24}
    assert hard.describe_left_out('native') == ["Left out, no class in 'native': 24 undecided."]


def test_soft_labels_without_votes_are_refused():
    utterances = make_voted()
    utterances.text['votes'][:] = 'other=3'
    with pytest.raises(UserError, match=r'none of 96 utterances has votes .* prepare it again'):
        divide(utterances, Protocol(folds=3))


def test_votes_are_counted_for_the_classes_of_the_split():
    config = make_config(Protocol(folds=3), labels='four')
    utterances, _ = split.select_from(config, make_voted())
    votes_NxC = split.count_votes(config, utterances, np.array(['angry', 'sad']))
    assert votes_NxC[:2].tolist() == [[1, 1], [2, 0]]
    config.train.soft_labels = False
    assert split.count_votes(config, utterances, np.array(['angry', 'sad'])) is None


@pytest.mark.parametrize(
    ('subset', 'has_undecided'),
    [
        (Subset(speakers=1), True),
        (Subset(per_class=2), False),
        (Subset(confounded=0.5), False),
    ],
)
def test_subsets_of_utterances_with_a_class_are_those_of_training_on_classes(subset, has_undecided):
    protocol = Protocol(folds=3)
    hard = divide(make_voted(), protocol, soft_labels=False)
    soft = divide(make_voted(), protocol)
    for before, after in zip(hard.folds, soft.folds):
        before = take_subset(hard.utterances, before, subset, order_seed=0)
        after = take_subset(soft.utterances, after, subset, order_seed=0)
        has_class = ~is_undecided(soft)[after.train]
        assert names(hard, before.train) == names(soft, after.train[has_class])
        assert has_class.all() != has_undecided
        speakers = soft.utterances.text['speaker'][after.train]
        assert set(speakers) == set(hard.utterances.text['speaker'][before.train])


def test_the_audit_measures_classes_on_utterances_that_have_one():
    """No part lacks the class '', and what gives the emotion away is as without soft labels."""
    protocol = Protocol(folds=3)
    findings = []
    for soft_labels in (False, True):
        made = divide(make_voted(), protocol, soft_labels)
        findings.append(audit.audit_folds(made.utterances, made.folds, protocol))
    hard, soft = findings
    changed = {key for key, found in hard.items() if soft[key] != found}
    assert changed <= {'utterances', 'duplicates', 'sentence', 'audio', 'session'}
    assert {'missing', 'tells'} <= set(hard)


def test_few_utterances_without_a_class_are_not_warned_of_as_a_rare_class():
    made = divide(make_voted(undecided_every=90), Protocol(folds=3))
    assert 1 <= made.undecided <= 2
    assert folds.describe_poor_parts(made.utterances, made.folds) == []


def test_enrolment_learns_from_utterances_with_a_class():
    """The prior of speakers is that of training on classes."""
    protocol = Protocol(folds=3, enrol=2)
    priors = []
    for soft_labels in (False, True):
        made = divide(make_voted(), protocol, soft_labels)
        table = ExampleTable(made.utterances, made.folds, 'speaker_enrolled', balanced=False)
        priors.append(table.priors[0])
    for hard, soft in zip(*priors):
        np.testing.assert_allclose(hard, soft, rtol=1e-6)

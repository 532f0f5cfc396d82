"""Folds are what their protocol says, and what a corpus cannot serve is refused."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols import folds
from data_pipelines.protocols.folds import Protocol
from data_pipelines.storage import schema

PARTS = ('train', 'dev', 'test', 'adapt')


def speakers(u, rows) -> set:
    return set(u.text['speaker'][rows])


def corpora(*sizes: int, **others):
    """Several made-up corpora, a, b, ..., of so many speakers, in the languages la, lb, ..."""
    some = []
    for name, size in zip('abc', sizes):
        u = make_utterances(speakers=size, **others)
        u.text |= {'corpus': np.full(len(u), name), 'language': np.full(len(u), f'l{name}')}
        some.append(u)
    return schema.concatenate_datasets(some)


@pytest.mark.parametrize(
    ('protocol', 'count'),
    [('speaker_folds', 4), ('leave_one_speaker_out', 8), ('leave_one_session_out', 4)],
)
def test_parts_of_a_fold_share_no_speaker_and_every_utterance_is_tested_once(protocol, count):
    """The three parts are disjoint by speaker; the test parts cover the corpus; dev is the next fold's test part."""
    u = make_utterances(speakers=8, sessions=1)
    made = folds.make_folds(u, Protocol(protocol, 4))
    assert [f.number for f in made] == list(range(count))
    for f in made:
        for a, b in itertools.combinations((f.train, f.dev, f.test), 2):
            assert not speakers(u, a) & speakers(u, b)
        assert len(f.train) + len(f.dev) + len(f.test) == len(u)
        assert not len(f.adapt)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([f.test for f in made])), np.arange(len(u))
    )
    for f, after in zip(made, made[1:] + made[:1]):
        np.testing.assert_array_equal(f.dev, after.test)


def test_speaker_folds_balance_the_sexes():
    """Women and men are dealt out in turn."""
    u = make_utterances(speakers=8)
    for f in folds.make_folds(u, Protocol(folds=4)):
        assert set(u.text['sex'][f.test]) == {'female', 'male'}


def test_a_speaker_of_whom_the_list_says_two_sexes_stays_in_one_part():
    """A slip in a list must not put a person on both sides."""
    u = make_utterances(speakers=6)
    u.text['sex'][np.flatnonzero(u.text['speaker'] == 's02')[::2]] = 'female'
    for f in folds.make_folds(u, Protocol(folds=3)):
        assert sum('s02' in speakers(u, getattr(f, part)) for part in PARTS) == 1


@pytest.mark.parametrize('name', ['leave_one_corpus_out', 'leave_one_language_out'])
def test_what_is_left_out_is_tested_whole_and_heard_by_nobody(name):
    """Dev are speakers of the source, some of every corpus of it, and other ones in another fold."""
    u = corpora(6, 4, 5)
    made = folds.make_folds(u, Protocol(name))
    assert [f.name for f in made] == (
        ['a', 'b', 'c'] if name == 'leave_one_corpus_out' else ['la', 'lb', 'lc']
    )
    for f in made:
        own = u.text['corpus'] == f.name[-1]
        np.testing.assert_array_equal(f.test, np.flatnonzero(own))
        np.testing.assert_array_equal(
            np.sort(np.concatenate([f.train, f.dev])), np.flatnonzero(~own)
        )
        assert not speakers(u, f.train) & speakers(u, f.dev)
        assert (
            set(u.text['corpus'][f.dev])
            == set('abc') - {f.name[-1]}
            == set(u.text['corpus'][f.train])
        )
    assert speakers(u, made[0].dev) & speakers(u, made[1].dev) == set()


def test_a_pair_trains_on_its_source_and_tests_its_target():
    """A third corpus has no part in it."""
    u = corpora(6, 4, 5)
    (f,) = folds.make_folds(u, Protocol('source_target', source=('a',), target=('c',)))
    assert f.name == 'c'
    assert set(u.text['corpus'][np.concatenate([f.train, f.dev])]) == {'a'}
    np.testing.assert_array_equal(f.test, np.flatnonzero(u.text['corpus'] == 'c'))
    assert not len(f.adapt)


def test_adapting_to_others_hears_every_speaker_of_the_target_but_the_tested():
    """Disjoint by speaker, and every target utterance is tested in one fold."""
    u = corpora(6, 5)
    made = folds.make_folds(u, Protocol('source_target', 2, ('a',), ('b',), 'others'))
    target = np.flatnonzero(u.text['corpus'] == 'b')
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in made])), target)
    for f in made:
        np.testing.assert_array_equal(np.sort(np.concatenate([f.test, f.adapt])), target)
        assert not speakers(u, f.test) & speakers(u, f.adapt)
    assert (
        'adapts to other speakers' in Protocol('source_target', 2, ('a',), ('b',), 'others').title
    )


@pytest.mark.parametrize(
    'protocol',
    [
        Protocol(folds=3),
        Protocol('leave_one_corpus_out'),
        Protocol('source_target', source=('a',), target=('b',)),
    ],
)
def test_only_what_is_called_transductive_hears_the_test_part(protocol):
    """And then all of it; the name stands in the title that every result carries."""
    u = corpora(6, 5)
    transductive = dataclasses.replace(protocol, adapt='transductive')
    assert 'transductive' in transductive.title
    assert 'transductive' not in protocol.title
    for f, plain in zip(
        folds.make_folds(u, transductive), folds.make_folds(u, protocol), strict=True
    ):
        np.testing.assert_array_equal(f.adapt, f.test)
        for part in ('train', 'dev', 'test'):
            np.testing.assert_array_equal(getattr(f, part), getattr(plain, part))


def test_the_official_split_is_the_release_s():
    """Whatever its speakers; which test part is a key, and stands in the title."""
    u = make_utterances(speakers=6)
    u.text['split'] = np.array(['train', 'dev', 'test', 'test2', 'train', 'train'])[
        np.arange(len(u)) // 8
    ]
    for part, who in (('test', 's02'), ('test2', 's03')):
        (f,) = folds.make_folds(u, Protocol('official', test=part))
        assert [speakers(u, rows) for rows in (f.train, f.dev, f.test)] == [
            {'s00', 's04', 's05'},
            {'s01'},
            {who},
        ]
    assert 'test2' in Protocol('official', test='test2').title
    with pytest.raises(UserError, match=r'needs utterances of train, dev and test3.* 24 train'):
        folds.make_folds(u, Protocol('official', test='test3'))


def test_speaker_dependent_is_named_so_and_keeps_copies_of_a_recording_together():
    """Random utterances, each tested once, the same the next time."""
    u = make_utterances(speakers=3, per_class=20)
    u.text['sha256'] = np.array(
        [f'{n // 2}' for n in range(len(u))]
    )  # every two are the same audio
    protocol = Protocol('speaker_dependent', 4)
    made = folds.make_folds(u, protocol)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([f.test for f in made])), np.arange(len(u))
    )
    for f in made:
        assert speakers(u, f.test) == speakers(u, f.train) == {'s00', 's01', 's02'}
        for a, b in itertools.combinations((f.train, f.dev, f.test), 2):
            assert not set(u.text['sha256'][a]) & set(u.text['sha256'][b])
    assert folds.hash_folds(u, made) == folds.hash_folds(u, folds.make_folds(u, protocol))
    assert 'speakers are shared' in protocol.title


def test_an_unknown_speaker_is_in_no_part_that_is_made_by_speaker():
    """They may be anybody; a target is tested whole, whoever speaks."""
    u = corpora(6, 5)
    u.text['speaker'][[0, 60]] = ''
    for f in folds.make_folds(u, Protocol('speaker_folds', 3)):
        assert all('' not in speakers(u, getattr(f, part)) for part in PARTS)
    (f,) = folds.make_folds(u, Protocol('source_target', source=('a',), target=('b',)))
    assert '' in speakers(u, f.test)
    assert '' not in speakers(u, np.concatenate([f.train, f.dev]))


def test_a_class_missing_from_training_is_refused():
    """A class that only tested and dev speakers show cannot be learnt."""
    u = make_utterances(speakers=3, classes=('angry', 'sad'))
    u.text['emotion'][u.text['speaker'] == 's00'] = 'happy'
    with pytest.raises(UserError, match='no utterance of the class happy'):
        folds.make_folds(u, Protocol('leave_one_speaker_out'))


@pytest.mark.parametrize(('count', 'k'), [(2, 3), (6, 7), (6, 2)])
def test_too_few_speakers_or_parts_are_refused(count, k):
    """Train, dev and test need a speaker each."""
    with pytest.raises(UserError, match='3 or more'):
        folds.make_folds(make_utterances(speakers=count), Protocol(folds=k))


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        ({'name': 'loso'}, "no protocol 'loso'; known are speaker_folds"),
        ({'adapt': 'yes'}, 'expected one of none, others, transductive'),
        ({'adapt': 'others'}, 'needs a target that is separate from the source'),
        ({'name': 'source_target', 'source': ('a',)}, 'needs a source and a target'),
        ({'target': ('a',)}, 'belong to the protocol source_target'),
        (
            {'name': 'source_target', 'source': ('a', 'b'), 'target': ('b',)},
            'b is both source and target',
        ),
        (
            {'name': 'source_target', 'source': ('a',), 'target': ('z',)},
            'no utterance .*corpus z; found: a, b',
        ),
        (
            {
                'name': 'source_target',
                'source': ('a',),
                'target': ('b',),
                'adapt': 'others',
                'folds': 6,
            },
            'from 2 to 5',
        ),
        ({'name': 'speaker_dependent', 'folds': 2}, 'need 3 or more'),
        ({'name': 'leave_one_session_out'}, 'have no session'),
        ({'name': 'official'}, 'official split needs'),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, said):
    """With what was expected instead."""
    u = corpora(6, 5)
    with pytest.raises(UserError, match=said):
        folds.make_folds(u, Protocol(**wrong))


def test_one_corpus_or_language_cannot_be_left_out():
    """Nothing would be left to train on."""
    with pytest.raises(UserError, match='one language out there must be two'):
        folds.make_folds(make_utterances(), Protocol('leave_one_language_out'))


def test_a_source_of_one_speaker_has_nobody_to_choose_the_epoch():
    """The target's speakers must not."""
    with pytest.raises(UserError, match='The dev part of fold .* is empty'):
        folds.make_folds(corpora(1, 4), Protocol('source_target', source=('a',), target=('b',)))


def test_the_hash_changes_with_label_speaker_and_part():
    """Equal hashes mean equal splits: any change of any utterance's place in it shows."""
    u = make_utterances()
    made = folds.make_folds(u, Protocol(folds=3))
    others = [Protocol('leave_one_speaker_out'), Protocol(folds=3, adapt='transductive')]
    seen = {
        folds.hash_folds(u, made),
        *(folds.hash_folds(u, folds.make_folds(u, p)) for p in others),
        folds.hash_folds(u, made[:2]),
    }
    for column in ('emotion', 'speaker', 'utterance'):
        other = u[np.arange(len(u))]
        other.text[column] = other.text[column].copy()
        other.text[column][3] = 'zz'
        seen.add(folds.hash_folds(other, made))
    first, *rest = made
    moved = dataclasses.replace(first, dev=np.append(first.dev, first.test[0]), test=first.test[1:])
    seen.add(
        folds.hash_folds(u, [moved, *rest])
    )  # the same utterances in the same order, one of them in another part
    assert len(seen) == 8
    assert folds.hash_folds(u, folds.make_folds(u, Protocol(folds=3))) in seen, (
        'and it is the same the next time'
    )


@pytest.mark.parametrize('name', ['speaker_folds', 'leave_one_corpus_out', 'speaker_dependent'])
def test_corpora_of_identity_batches_have_no_other_part(name):
    """The folds are those that there would be without them; whose speaker nobody knows is not heard."""
    u, without = corpora(6, 6, 4), corpora(6, 6)
    unknown = np.flatnonzero(u.text['corpus'] == 'c')[0]
    u.text['speaker'][unknown] = ''
    made = folds.make_folds(u, Protocol(name, 3, identity=('c',)))
    for fold, as_ever in zip(made, folds.make_folds(without, Protocol(name, 3)), strict=True):
        for part in PARTS:
            named = without.text['utterance'][getattr(as_ever, part)]
            np.testing.assert_array_equal(u.text['utterance'][getattr(fold, part)], named)
        np.testing.assert_array_equal(fold.identity, np.flatnonzero(u.text['corpus'] == 'c')[1:])
        np.testing.assert_array_equal(fold.domain_rows, fold.identity)
        np.testing.assert_array_equal(as_ever.domain_rows, as_ever.train)


def test_rows_are_the_data_s_own_wherever_the_corpora_of_identity_batches_lie():
    """The corpus that is read first fills them: parts hold rows of all utterances."""
    u = corpora(4, 6)
    for fold in folds.make_folds(u, Protocol(folds=3, identity=('a',))):
        rows = np.concatenate([fold.train, fold.dev, fold.test])
        np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(u.text['corpus'] == 'b'))


def test_results_and_hash_name_the_corpora_of_identity_batches():
    """The title says it, and the hash changes with them."""
    u = corpora(6, 4)
    protocol = Protocol(folds=3, identity=('b',))
    made = folds.make_folds(u, protocol)
    assert protocol.title == 'speaker_folds, identity batches from b'
    fewer = [dataclasses.replace(f, identity=f.identity[1:]) for f in made]
    assert folds.hash_folds(u, made) != folds.hash_folds(u, fewer)


def test_identity_batches_from_nobody_or_from_an_end_are_refused():
    """A corpus that is not there, one without any speaker, and one that trains or is tested."""
    u = corpora(6, 4)
    with pytest.raises(
        UserError, match=r'no utterance of the corpus c, which config\.protocol\.identity'
    ):
        folds.make_folds(u, Protocol(folds=3, identity=('c',)))
    u.text['speaker'][u.text['corpus'] == 'b'] = ''
    with pytest.raises(UserError, match='All speakers of b are unknown'):
        folds.make_folds(u, Protocol(folds=3, identity=('b',)))
    with pytest.raises(
        UserError, match='b is source or target, and cannot fill the identity batches'
    ):
        Protocol('source_target', source=('a',), target=('b',), identity=('b',))

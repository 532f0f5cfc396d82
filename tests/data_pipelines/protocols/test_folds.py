"""Tests that folds follow their protocol, and that a corpus too small for it is refused."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols import folds as folds_module
from data_pipelines.protocols.folds import describe_poor_parts, hash_folds, make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.storage import schema

PARTS = ('train', 'dev', 'test', 'adapt')
PAIR = Protocol('source_target', source=('a',), target=('b',))
ADAPTING_PAIR = Protocol('source_target', 2, ('a',), ('b',), 'others')


def speakers(utterances, rows) -> set:
    """Returns the speakers of some rows."""
    return set(utterances.text['speaker'][rows])


def make_corpora(*sizes: int):
    """Returns corpora a, b, ... with so many speakers, in the languages la, lb, ..."""
    corpora = []
    for name, size in zip('abc', sizes):
        utterances = make_utterances(speakers=size)
        utterances.text['corpus'] = np.full(len(utterances), name)
        utterances.text['language'] = np.full(len(utterances), f'l{name}')
        corpora.append(utterances)
    return schema.concatenate_datasets(corpora)


def rows_of_corpus(utterances, corpus: str) -> np.ndarray:
    """Returns the rows of a corpus."""
    return np.flatnonzero(utterances.text['corpus'] == corpus)


def all_tested(folds) -> np.ndarray:
    """Returns the rows of all test parts, sorted."""
    return np.sort(np.concatenate([fold.test for fold in folds]))


@pytest.mark.parametrize(
    ('protocol', 'count'),
    [('speaker_folds', 4), ('leave_one_speaker_out', 8), ('leave_one_session_out', 4)],
)
def test_parts_of_a_fold_share_no_speaker_and_every_utterance_is_tested_once(protocol, count):
    """dev is the test part of the next fold."""
    utterances = make_utterances(speakers=8, sessions=1)
    folds = make_folds(utterances, Protocol(protocol, 4))
    assert [fold.number for fold in folds] == list(range(count))
    for fold in folds:
        for a, b in itertools.combinations((fold.train, fold.dev, fold.test), 2):
            assert not speakers(utterances, a) & speakers(utterances, b)
        assert len(fold.train) + len(fold.dev) + len(fold.test) == len(utterances)
        assert not len(fold.adapt)
    np.testing.assert_array_equal(all_tested(folds), np.arange(len(utterances)))
    for fold, following in zip(folds, folds[1:] + folds[:1]):
        np.testing.assert_array_equal(fold.dev, following.test)


def test_speaker_folds_balance_the_sexes():
    """Women and men are assigned to folds in turn."""
    utterances = make_utterances(speakers=8)
    for fold in make_folds(utterances, Protocol(folds=4)):
        assert set(utterances.text['sex'][fold.test]) == {'female', 'male'}


def test_a_speaker_with_two_sexes_in_the_list_is_in_one_part():
    """A mistake in a list must not put a person both in training and in test."""
    utterances = make_utterances(speakers=6)
    rows = np.flatnonzero(utterances.text['speaker'] == 's02')
    utterances.text['sex'][rows[::2]] = 'female'
    for fold in make_folds(utterances, Protocol(folds=3)):
        parts = [part for part in PARTS if 's02' in speakers(utterances, getattr(fold, part))]
        assert len(parts) == 1


@pytest.mark.parametrize(
    ('name', 'fold_names'),
    [('leave_one_corpus_out', ['a', 'b', 'c']), ('leave_one_language_out', ['la', 'lb', 'lc'])],
)
def test_a_corpus_or_language_left_out_is_tested_whole_and_not_seen(name, fold_names):
    """dev has speakers of every source corpus, and other ones in another fold."""
    utterances = make_corpora(6, 4, 5)
    folds = make_folds(utterances, Protocol(name))
    assert [fold.name for fold in folds] == fold_names
    for fold in folds:
        is_target = utterances.text['corpus'] == fold.name[-1]
        source = np.sort(np.concatenate([fold.train, fold.dev]))
        np.testing.assert_array_equal(fold.test, np.flatnonzero(is_target))
        np.testing.assert_array_equal(source, np.flatnonzero(~is_target))
        assert not speakers(utterances, fold.train) & speakers(utterances, fold.dev)
        others = set('abc') - {fold.name[-1]}
        assert set(utterances.text['corpus'][fold.dev]) == others
        assert set(utterances.text['corpus'][fold.train]) == others
    assert not speakers(utterances, folds[0].dev) & speakers(utterances, folds[1].dev)


def test_a_pair_trains_on_its_source_and_tests_its_target():
    """A third corpus is in no part."""
    utterances = make_corpora(6, 4, 5)
    protocol = Protocol('source_target', source=('a',), target=('c',))
    (fold,) = make_folds(utterances, protocol)
    assert fold.name == 'c'
    assert set(utterances.text['corpus'][np.concatenate([fold.train, fold.dev])]) == {'a'}
    np.testing.assert_array_equal(fold.test, rows_of_corpus(utterances, 'c'))
    assert not len(fold.adapt)


def test_training_adapts_to_every_speaker_of_the_target_that_is_not_tested():
    """Every target utterance is tested in one fold."""
    utterances = make_corpora(6, 5)
    folds = make_folds(utterances, ADAPTING_PAIR)
    target = rows_of_corpus(utterances, 'b')
    np.testing.assert_array_equal(all_tested(folds), target)
    for fold in folds:
        both = np.sort(np.concatenate([fold.test, fold.adapt]))
        np.testing.assert_array_equal(both, target)
        assert not speakers(utterances, fold.test) & speakers(utterances, fold.adapt)
    assert 'adapts to other speakers' in ADAPTING_PAIR.title


@pytest.mark.parametrize('protocol', [Protocol(folds=3), Protocol('leave_one_corpus_out'), PAIR])
def test_only_a_transductive_protocol_adapts_to_the_test_part(protocol):
    """It adapts to all of it, and the title in all results says so."""
    utterances = make_corpora(6, 5)
    transductive = dataclasses.replace(protocol, adapt='transductive')
    assert 'transductive' in transductive.title
    assert 'transductive' not in protocol.title
    folds = make_folds(utterances, transductive)
    for fold, plain in zip(folds, make_folds(utterances, protocol), strict=True):
        np.testing.assert_array_equal(fold.adapt, fold.test)
        for part in ('train', 'dev', 'test'):
            np.testing.assert_array_equal(getattr(fold, part), getattr(plain, part))


def test_the_official_fold_is_the_partition_of_the_release():
    """Whatever its speakers are. A key selects the tested part, and the title names it."""
    utterances = make_utterances(speakers=6)
    split_of_speaker = np.array(['train', 'dev', 'test', 'test2', 'train', 'train'])
    utterances.text['split'] = split_of_speaker[np.arange(len(utterances)) // 8]
    for part, speaker in (('test', 's02'), ('test2', 's03')):
        (fold,) = make_folds(utterances, Protocol('official', test=part))
        assert speakers(utterances, fold.train) == {'s00', 's04', 's05'}
        assert speakers(utterances, fold.dev) == {'s01'}
        assert speakers(utterances, fold.test) == {speaker}
    assert 'test2' in Protocol('official', test='test2').title
    with pytest.raises(UserError, match=r'needs utterances of train, dev and test3.* 24 train'):
        make_folds(utterances, Protocol('official', test='test3'))


def test_unknown_speakers_of_the_official_dev_and_test_parts_are_left_out():
    """They may be training speakers. With --allow_leak=speaker they are used."""
    utterances = make_utterances(speakers=6)
    split_of_speaker = np.array(['train', 'dev', 'test', 'test2', 'train', 'train'])
    utterances.text['split'] = split_of_speaker[np.arange(len(utterances)) // 8]
    utterances.text['speaker'][[0, 8, 16, *range(24, 32)]] = ''
    (fold,) = make_folds(utterances, Protocol('official'))
    assert 0 in fold.train
    assert fold.dev.tolist() == list(range(9, 16))
    assert fold.test.tolist() == list(range(17, 24))
    with pytest.raises(UserError, match=r'All 8 utterances of the part test2 .* unknown speakers'):
        make_folds(utterances, Protocol('official', test='test2'))
    (fold,) = make_folds(utterances, Protocol('official', test='test2', allow_leak='speaker'))
    assert fold.dev.tolist() == list(range(8, 16))
    assert fold.test.tolist() == list(range(24, 32))


def test_speaker_dependent_folds_keep_copies_of_a_recording_together():
    """Utterances are random but reproducible, each tested once; the title says what is shared."""
    utterances = make_utterances(speakers=3, per_class=20)
    utterances.text['sha256'] = np.array([f'{n // 2}' for n in range(len(utterances))])
    protocol = Protocol('speaker_dependent', 4)
    folds = make_folds(utterances, protocol)
    np.testing.assert_array_equal(all_tested(folds), np.arange(len(utterances)))
    for fold in folds:
        assert speakers(utterances, fold.test) == {'s00', 's01', 's02'}
        assert speakers(utterances, fold.train) == {'s00', 's01', 's02'}
        for a, b in itertools.combinations((fold.train, fold.dev, fold.test), 2):
            assert not set(utterances.text['sha256'][a]) & set(utterances.text['sha256'][b])
    again = make_folds(utterances, protocol)
    assert hash_folds(utterances, folds) == hash_folds(utterances, again)
    assert 'speakers are shared' in protocol.title


@pytest.mark.parametrize('name', ['speaker_folds', 'leave_one_speaker_out'])
def test_unknown_speakers_are_in_training_alone_where_parts_are_divided_by_speaker(name):
    """They may be any speaker. A target is tested as a whole, with unknown speakers."""
    utterances = make_corpora(6, 5)
    utterances.text['speaker'][[0, 60]] = ''
    for fold in make_folds(utterances, Protocol(name, 3)):
        assert {0, 60} <= set(fold.train)
        assert '' not in speakers(utterances, np.concatenate([fold.dev, fold.test]))
    (fold,) = make_folds(utterances, PAIR)
    assert '' in speakers(utterances, fold.test)
    assert 0 in fold.train
    assert '' not in speakers(utterances, fold.dev)


def test_unknown_speakers_of_a_session_train_where_it_is_neither_dev_nor_test():
    utterances = make_utterances(sessions=3)
    utterances.text['speaker'][0] = ''
    folds = make_folds(utterances, Protocol('leave_one_session_out'))
    assert [0 in fold.train for fold in folds] == [False, True, False]
    for fold in folds:
        assert 0 not in np.concatenate([fold.dev, fold.test])


def test_speaker_dependent_folds_keep_overlapping_windows_together():
    utterances = make_utterances(speakers=3, per_class=20)
    count = len(utterances)
    windows = [f'f{n // 10} {n % 10 + n % 2 / 2} {n % 10 + 1.0}' for n in range(count)]
    utterances.text['window'] = np.array(windows)  # only 0.0 to 1.0, 2.0 to 3.0, ... and 1.5, ...
    for n in range(0, count, 10):
        utterances.text['window'][n] = f'f{n // 10} 0.0 10.0'
    folds = make_folds(utterances, Protocol('speaker_dependent', 3))
    for fold in folds:
        files = [set(np.array(part) // 10) for part in (fold.train, fold.dev, fold.test)]
        assert not files[0] & files[1]
        assert not files[0] & files[2]
        assert not files[1] & files[2]


def test_a_class_missing_from_training_is_refused():
    """A class that only dev and test speakers have cannot be learned."""
    utterances = make_utterances(speakers=3, classes=('angry', 'sad'))
    utterances.text['emotion'][utterances.text['speaker'] == 's00'] = 'happy'
    with pytest.raises(UserError, match='no utterance of the class happy'):
        make_folds(utterances, Protocol('leave_one_speaker_out'))


@pytest.mark.parametrize('protocol', ['speaker_folds', 'speaker_dependent'])
def test_many_classes_of_an_utterance_each_are_refused_in_few_words(protocol):
    utterances = make_utterances(speakers=6, per_class=1, classes=('sad',) * 200)
    utterances.text['emotion'] = np.array([f'class {n:04}' for n in range(1_200)])
    with pytest.raises(UserError, match=r'of the class class .* and \d{3} more\.') as info:
        make_folds(utterances, Protocol(protocol, 5))
    assert len(str(info.value)) < 500


@pytest.mark.parametrize('protocol', ['speaker_folds', 'speaker_dependent'])
def test_training_with_a_single_class_is_refused(protocol):
    """Any model would have a UAR of 1."""
    with pytest.raises(UserError, match=r'one class only \(sad\), so that any model'):
        make_folds(make_utterances(classes=('sad',)), Protocol(protocol))


def test_test_parts_of_one_class_and_a_single_speaker_are_named():
    utterances = make_utterances(speakers=3)
    folds = make_folds(utterances, Protocol('leave_one_speaker_out'))
    assert describe_poor_parts(utterances, folds) == []
    utterances.text['emotion'][utterances.text['speaker'] == 's01'] = 'sad'
    (warning,) = describe_poor_parts(utterances, folds)
    assert "fold 's01' has one class only" in warning
    alone = make_utterances(speakers=1, per_class=20)
    (warning,) = describe_poor_parts(alone, make_folds(alone, Protocol('speaker_dependent')))
    assert 'only one known speaker' in warning


def test_classes_with_one_or_two_training_utterances_are_named():
    utterances = make_utterances(speakers=3, per_class=6)
    utterances.text['emotion'][[4, 16, 28]] = 'bored'  # one of each speaker
    folds = make_folds(utterances, Protocol('leave_one_speaker_out'))
    (warning,) = describe_poor_parts(utterances, folds)
    assert 'a fold has fewer than 3 training utterances of bored, which' in warning


def test_more_parts_than_utterances_are_refused_at_once():
    with pytest.raises(UserError, match='folds is 1000000000, but there are only 48'):
        make_folds(make_utterances(), Protocol('speaker_dependent', folds=10**9))


@pytest.mark.parametrize(('speaker_count', 'parts'), [(2, 3), (6, 7), (6, 2)])
def test_too_few_speakers_or_parts_are_refused(speaker_count, parts):
    """Train, dev and test each need a speaker."""
    with pytest.raises(UserError, match='3 or more'):
        make_folds(make_utterances(speakers=speaker_count), Protocol(folds=parts))


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'name': 'loso'}, "no protocol 'loso'; expected one of speaker_folds"),
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
        (dataclasses.asdict(ADAPTING_PAIR) | {'folds': 6}, 'from 2 to 5'),
        ({'name': 'speaker_dependent', 'folds': 2}, 'need 3 or more'),
        ({'name': 'leave_one_session_out'}, 'have no session'),
        ({'name': 'official'}, 'official split needs'),
    ],
)
def test_an_impossible_protocol_is_refused(fields, message):
    """The message says what was expected."""
    utterances = make_corpora(6, 5)
    with pytest.raises(UserError, match=message):
        make_folds(utterances, Protocol(**fields))


def test_a_single_corpus_or_language_cannot_be_left_out():
    """There would be no training data."""
    with pytest.raises(UserError, match='Leaving one language out needs two or more'):
        make_folds(make_utterances(), Protocol('leave_one_language_out'))


def test_a_source_of_one_speaker_is_refused_as_it_has_no_dev():
    """The epoch must not be selected on the target's speakers."""
    with pytest.raises(UserError, match=r'The dev part of fold .* is empty'):
        make_folds(make_corpora(1, 4), PAIR)


def test_the_hash_changes_with_label_speaker_and_part():
    """Equal hashes mean equal splits."""
    utterances = make_utterances()
    protocol = Protocol(folds=3)
    folds = make_folds(utterances, protocol)
    by_speaker = make_folds(utterances, Protocol('leave_one_speaker_out'))
    transductive = make_folds(utterances, dataclasses.replace(protocol, adapt='transductive'))
    first, *others = folds
    # The same utterances in the same order, one of them in another part.
    longer_dev = np.append(first.dev, first.test[0])
    moved = dataclasses.replace(first, dev=longer_dev, test=first.test[1:])
    hashes = {
        hash_folds(utterances, folds),
        hash_folds(utterances, by_speaker),
        hash_folds(utterances, transductive),
        hash_folds(utterances, folds[:2]),
        hash_folds(utterances, [moved, *others]),
    }
    for column in ('emotion', 'speaker', 'utterance'):
        changed = utterances[np.arange(len(utterances))]
        changed.text[column] = changed.text[column].copy()
        changed.text[column][3] = 'zz'
        hashes.add(hash_folds(changed, folds))
    assert len(hashes) == 8
    again = hash_folds(utterances, make_folds(utterances, protocol))
    assert again == hash_folds(utterances, folds)


@pytest.mark.parametrize('name', ['speaker_folds', 'leave_one_corpus_out', 'speaker_dependent'])
def test_corpora_of_identity_batches_are_in_no_other_part(name):
    """The other parts are as without them; utterances of unknown speakers are not used."""
    utterances = make_corpora(6, 6, 4)
    without = make_corpora(6, 6)
    identity_rows = rows_of_corpus(utterances, 'c')
    utterances.text['speaker'][identity_rows[0]] = ''
    folds = make_folds(utterances, Protocol(name, 3, identity=('c',)))
    for fold, plain in zip(folds, make_folds(without, Protocol(name, 3)), strict=True):
        for part in PARTS:
            expected = without.text['utterance'][getattr(plain, part)]
            names = utterances.text['utterance'][getattr(fold, part)]
            np.testing.assert_array_equal(names, expected)
        np.testing.assert_array_equal(fold.identity, identity_rows[1:])
        np.testing.assert_array_equal(fold.domain_rows, fold.identity)
        np.testing.assert_array_equal(plain.domain_rows, plain.train)


def test_rows_of_parts_count_all_utterances_even_if_identity_corpora_come_first():
    """They do not count the rows of the other corpora only."""
    utterances = make_corpora(4, 6)
    for fold in make_folds(utterances, Protocol(folds=3, identity=('a',))):
        rows = np.sort(np.concatenate([fold.train, fold.dev, fold.test]))
        np.testing.assert_array_equal(rows, rows_of_corpus(utterances, 'b'))


def test_title_and_hash_name_the_corpora_of_identity_batches():
    """The hash changes with their utterances."""
    utterances = make_corpora(6, 4)
    protocol = Protocol(folds=3, identity=('b',))
    folds = make_folds(utterances, protocol)
    assert protocol.title == 'speaker_folds, identity batches from b'
    fewer = [dataclasses.replace(fold, identity=fold.identity[1:]) for fold in folds]
    assert hash_folds(utterances, folds) != hash_folds(utterances, fewer)


def test_a_corpus_that_cannot_fill_identity_batches_is_refused():
    """It is missing, has no known speakers, or is source or target."""
    utterances = make_corpora(6, 4)
    message = r'no utterance of the corpus c, which config\.protocol\.identity'
    with pytest.raises(UserError, match=message):
        make_folds(utterances, Protocol(folds=3, identity=('c',)))
    utterances.text['speaker'][utterances.text['corpus'] == 'b'] = ''
    with pytest.raises(UserError, match='All speakers of b are unknown'):
        make_folds(utterances, Protocol(folds=3, identity=('b',)))
    message = 'b is source or target, and cannot fill the identity batches'
    with pytest.raises(UserError, match=message):
        dataclasses.replace(PAIR, identity=('b',))


def make_spoken_sentences(speakers: int, sentences: int, per_class: int = 1):
    """Returns `per_class` utterances of every sentence, class and speaker."""
    utterances = make_utterances(speakers, per_class=sentences * per_class)
    numbers = [int(name.split('_')[2]) % sentences for name in utterances.text['utterance']]
    utterances.text['sentence'] = np.array([f't{number:02}' for number in numbers])
    return utterances


def values(utterances, column: str, rows) -> set:
    """Returns the values of a column in some rows."""
    return set(utterances.text[column][rows].tolist())


def test_parts_of_sentence_folds_share_no_sentence_and_share_the_speakers():
    """Every utterance is tested once; dev is the test part of the next fold."""
    utterances = make_spoken_sentences(speakers=4, sentences=8)
    folds = make_folds(utterances, Protocol('sentence_folds', 4))
    assert len(folds) == 4
    for fold, following in zip(folds, folds[1:] + folds[:1]):
        parts = [values(utterances, 'sentence', getattr(fold, part)) for part in PARTS[:3]]
        assert [len(part) for part in parts] == [4, 2, 2]
        assert len(set.union(*parts)) == 8
        assert values(utterances, 'speaker', fold.test) == values(utterances, 'speaker', fold.train)
        np.testing.assert_array_equal(fold.dev, following.test)
    np.testing.assert_array_equal(all_tested(folds), np.arange(len(utterances)))


def test_sentence_folds_keep_utterances_of_unknown_speakers():
    """Who speaks does not matter where test speakers are training speakers."""
    utterances = make_spoken_sentences(speakers=4, sentences=3)
    utterances.text['speaker'][:] = ''
    folds = make_folds(utterances, Protocol('sentence_folds', 3))
    np.testing.assert_array_equal(all_tested(folds), np.arange(len(utterances)))


@pytest.mark.parametrize('folds', [3, 4, 5])
@pytest.mark.parametrize('sentences', [2, 3, 5, 7])
def test_speaker_sentence_folds_test_unseen_speakers_with_unseen_sentences(folds, sentences):
    """Every speaker is tested; dev shares neither a speaker nor a sentence with test."""
    utterances = make_spoken_sentences(speakers=10, sentences=sentences)
    made = make_folds(utterances, Protocol('speaker_sentence_folds', folds))
    assert len(made) == folds
    for fold in made:
        for column, first, second in itertools.product(
            ('speaker', 'sentence'), ('train', 'dev'), ('dev', 'test')
        ):
            # Two sentences are too few for three parts: dev has the one of training.
            if first == second or (sentences == 2 and (column, second) == ('sentence', 'dev')):
                continue
            shared = values(utterances, column, getattr(fold, first))
            shared &= values(utterances, column, getattr(fold, second))
            assert not shared, (column, first, second)
        tested = speakers(utterances, fold.test)
        others = np.setdiff1d(np.arange(len(utterances)), np.concatenate([fold.dev, fold.test]))
        may_train = ~np.isin(utterances.text['speaker'][others], [*tested])
        may_train &= ~np.isin(utterances.text['speaker'][others], [*speakers(utterances, fold.dev)])
        for part in ('test', 'dev') if sentences > 2 else ('test',):
            sentences_of_part = [*values(utterances, 'sentence', getattr(fold, part))]
            may_train &= ~np.isin(utterances.text['sentence'][others], sentences_of_part)
        np.testing.assert_array_equal(fold.train, others[may_train])
    assert speakers(utterances, all_tested(made)) == set(utterances.text['speaker'].tolist())


def test_unknown_speakers_train_on_untested_sentences_only():
    """They may be the tested speakers, whose tested sentences must not be in training."""
    utterances = make_spoken_sentences(speakers=6, sentences=3)
    unknown = np.flatnonzero(utterances.text['speaker'] == 's05')
    utterances.text['speaker'][unknown] = ''
    for fold in make_folds(utterances, Protocol('speaker_sentence_folds', 3)):
        assert not np.isin(unknown, np.concatenate([fold.dev, fold.test])).any()
        training = values(utterances, 'sentence', fold.train)
        is_trained = np.isin(utterances.text['sentence'][unknown], [*training])
        np.testing.assert_array_equal(np.isin(unknown, fold.train), is_trained)


@pytest.mark.parametrize('name', ['sentence_folds', 'speaker_sentence_folds'])
def test_an_utterance_without_a_sentence_is_refused_with_the_count(name):
    utterances = make_spoken_sentences(speakers=4, sentences=5)
    utterances.text['sentence'][[3, 8]] = ''
    with pytest.raises(UserError, match='2 of 40 utterances have no sentence'):
        make_folds(utterances, Protocol(name, 3))


@pytest.mark.parametrize(
    ('name', 'sentences', 'folds', 'message'),
    [
        ('sentence_folds', 2, 3, 'finds 2 sentences; .* need 3 or more'),
        (
            'sentence_folds',
            4,
            5,
            'cannot be made of 4 sentences.*folds from 3 to 4',
        ),
        ('sentence_folds', 4, 2, 'folds from 3 to 4'),
        ('speaker_sentence_folds', 1, 3, 'finds only one sentence'),
        ('speaker_sentence_folds', 4, 9, 'folds from 3 to 4'),
    ],
)
def test_too_few_sentences_are_refused_with_what_to_choose(name, sentences, folds, message):
    utterances = make_spoken_sentences(speakers=4, sentences=sentences)
    with pytest.raises(UserError, match=message):
        make_folds(utterances, Protocol(name, folds))


def test_titles_say_what_folds_by_sentence_share():
    title = Protocol('sentence_folds').title
    assert 'test sentences are not in training, speakers are shared' in title
    title = Protocol('speaker_sentence_folds').title
    assert title == 'speaker_sentence_folds, test sentences are not in training'


def test_the_hash_is_that_of_its_rows_one_by_one(monkeypatch):
    utterances = make_utterances()
    monkeypatch.setattr(folds_module, 'HASHED_AT_ONCE', 7)
    folds = make_folds(utterances, Protocol())
    rows = []
    for fold, part in itertools.product(folds, folds_module.ALL_PARTS):
        for row in getattr(fold, part):
            columns = [utterances.text[name][row] for name in folds_module.HASHED_COLUMNS]
            rows.append([fold.name, part, *columns])
    assert len(rows) > 7
    assert hash_folds(utterances, folds) == folds_module.hash_rows(rows)

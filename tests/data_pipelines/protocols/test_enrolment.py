"""Tests of which utterances are set aside for enrolment, and which of them are enrolled."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols.enrolment import (
    TRAINING_DRAWS,
    choose_enrolled,
    describe_shortages,
    draw_training_sets,
    redraw_enrolment,
    reserve_enrolment,
)
from data_pipelines.protocols.folds import Fold, hash_folds, make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.subsets import Subset, take_subset
from data_pipelines.protocols.withholding import reserve_attacker_test
from data_pipelines.storage import schema

CLASSES = ('angry', 'neutral', 'sad')
COUNTS = (0, 1, 2, 4, 8, 15, 'all')
PARTS = ('train', 'dev', 'test', 'adapt', 'identity', 'attacker_test')
ENROLMENT = ('reserved', 'enrolment', 'enrolled')

# Protocols of two corpora of six speakers; those that adapt, too.
PROTOCOLS = {
    'speaker_folds': Protocol(folds=3),
    'transductive': Protocol(folds=3, adapt='transductive'),
    'speaker_dependent': Protocol('speaker_dependent', 3),
    'speaker_dependent, transductive': Protocol('speaker_dependent', 3, adapt='transductive'),
    'source_target': Protocol('source_target', 2, ('a',), ('b',)),
    'source_target, others': Protocol('source_target', 2, ('a',), ('b',), 'others'),
    'source_target, transductive': Protocol('source_target', 2, ('a',), ('b',), 'transductive'),
    'identity': Protocol(folds=3, identity=('b',)),
    'sentence_folds': Protocol('sentence_folds', 3),
    'speaker_sentence_folds': Protocol('speaker_sentence_folds', 3),
}


@pytest.fixture
def utterances():
    """Six speakers with ten utterances of each of three classes."""
    return make_utterances(speakers=6, per_class=10, classes=CLASSES)


@pytest.fixture
def fold(utterances) -> Fold:
    """A fold in which two speakers train; attackers are tested on withheld utterances of them."""
    return reserve_attacker_test(utterances, make_folds(utterances, Protocol(folds=3))[0], 0.2, 0)


def two_corpora():
    """Corpora a and b of six speakers each, with six utterances of each class."""
    corpora = []
    for name in 'ab':
        corpus = make_utterances(speakers=6, per_class=6, classes=CLASSES)
        corpus.text['corpus'] = np.full(len(corpus), name)
        corpus.text['speaker'] = np.char.add(name, corpus.text['speaker'])
        corpus.text['sentence'] = np.array([f't{n % 3}' for n in range(len(corpus))])
        corpora.append(corpus)
    return schema.concatenate_datasets(corpora)


def reserve(utterances, fold: Fold, enrol='all', enrol_from='any', order_seed=0) -> Fold:
    """Returns the fold with utterances set aside and enrolled."""
    protocol = Protocol(enrol=enrol, enrol_from=enrol_from)
    return reserve_enrolment(utterances, fold, protocol, order_seed)


def rows_by_speaker(utterances, rows: np.ndarray) -> dict[str, list[int]]:
    """Returns the rows of each speaker, in their order."""
    own_rows = collections.defaultdict(list)
    for row in rows.tolist():
        own_rows[str(utterances.text['speaker'][row])].append(row)
    return own_rows


def assert_equal_rows(fold: Fold, other: Fold, names=(*PARTS, *ENROLMENT)) -> None:
    """Asserts that these rows of two folds are the same, in the same order."""
    for name in names:
        np.testing.assert_array_equal(getattr(fold, name), getattr(other, name), err_msg=name)


def test_half_of_each_speaker_is_set_aside_in_every_part(utterances, fold):
    """It is in no score and not given to attackers; it remains in the training part."""
    reserved = reserve(utterances, fold)
    for part in ('train', 'dev', 'test'):
        for rows in rows_by_speaker(utterances, getattr(fold, part)).values():
            candidates = set(rows) - set(fold.attacker_test)
            assert len(candidates & set(reserved.reserved)) == len(candidates) // 2
    for part in ('dev', 'test'):
        scored = set(getattr(fold, part)) - set(reserved.reserved)
        assert set(getattr(reserved, part)) == scored
    assert_equal_rows(reserved, fold, ('train', 'adapt', 'identity', 'attacker_test'))
    assert not set(reserved.reserved) & {*reserved.fit_rows, *reserved.used_rows}
    assert set(reserved.fit_rows) == set(fold.fit_rows) - set(reserved.reserved)
    assert set(reserved.enrolment) == set(reserved.reserved)
    assert len(set(reserved.enrolment)) == len(reserved.enrolment)


@pytest.mark.parametrize('share', [0.0, 0.2])
def test_what_attackers_are_tested_on_is_never_set_aside(utterances, share):
    """Whether it is withheld from training or not."""
    fold = make_folds(utterances, Protocol(folds=3))[0]
    fold = reserve_attacker_test(utterances, fold, share, 0)
    for seed in range(5):
        reserved = reserve(utterances, fold, order_seed=seed)
        assert not set(reserved.reserved) & set(fold.attacker_test)
        assert set(fold.attacker_test) <= set(reserved.used_rows)


def test_without_enrolment_the_fold_and_the_hash_of_the_split_are_unchanged(utterances, fold):
    """So workdirs of earlier versions can still be used. What is set aside changes the hash."""
    without = reserve(utterances, fold, enrol='none')
    assert without is fold
    assert not len(without.reserved)
    hashes = [hash_folds(utterances, [reserve(utterances, fold, k)]) for k in ('none', 0, 4, 'all')]
    assert hashes[0] == hash_folds(utterances, [fold])
    assert len(set(hashes[1:])) == 1, 'all numbers are scored on the same utterances'
    assert hashes[0] != hashes[1]


def test_the_choice_depends_on_order_seed_and_fold_number_only(utterances, fold):
    """The features, the name of the fold and which part is which do not matter."""
    reserved = reserve(utterances, fold, 4)
    changed = dataclasses.replace(
        utterances, mean_NxM=utterances.mean_NxM + 1, frames_N=utterances.frames_N + 1
    )
    other_parts = dataclasses.replace(fold, name='z', dev=fold.test, test=fold.dev)
    assert_equal_rows(reserve(changed, other_parts, 4), reserved, ('reserved', 'enrolment'))
    assert set(reserve(changed, other_parts, 4).enrolled) == set(reserved.enrolled)
    others = (
        reserve(utterances, fold, order_seed=1),
        reserve(utterances, dataclasses.replace(fold, number=1)),
    )
    for other in others:
        assert set(other.reserved) != set(reserved.reserved)


def test_no_label_is_read(utterances, fold):
    """With other emotions of all utterances, the same ones are set aside, in the same order."""
    reserved = reserve(utterances, fold, 4)
    utterances.text['emotion'] = np.random.default_rng(0).permutation(utterances.text['emotion'])
    assert_equal_rows(reserve(utterances, fold, 4), reserved)


def test_a_larger_number_enrols_the_same_utterances_and_more(utterances, fold):
    """Exactly so many of each speaker, the first of those that may be enrolled."""
    reserved = reserve(utterances, fold, 0)
    folds = [choose_enrolled(utterances, reserved, enrol) for enrol in COUNTS]
    for enrol, chosen in zip(COUNTS, folds):
        assert_equal_rows(chosen, reserve(utterances, fold, enrol))
        assert_equal_rows(chosen, reserved, (*PARTS, 'reserved', 'enrolment'))
        enrolled = rows_by_speaker(utterances, chosen.enrolled)
        for speaker, rows in rows_by_speaker(utterances, reserved.enrolment).items():
            limit = len(rows) if enrol == 'all' else enrol
            assert enrolled[speaker] == rows[:limit]
    for smaller, larger in itertools.pairwise(folds):
        assert set(smaller.enrolled) <= set(larger.enrolled)
        assert len(smaller.enrolled) < len(larger.enrolled) or larger is folds[-1]
    assert set(folds[-1].enrolled) == set(reserved.reserved)


def test_copies_of_a_recording_stay_together(utterances, fold):
    """They are set aside together or not at all, and count as one recording."""
    own = fold.test[utterances.text['speaker'][fold.test] == 's00']
    groups = own.reshape(10, 3)
    hashes = np.array([f'recording {n}' for n in range(len(utterances))])
    hashes[groups] = hashes[groups[:, :1]]
    utterances.text['sha256'] = hashes
    for seed in range(5):
        rows = set(reserve(utterances, fold, order_seed=seed).reserved.tolist())
        assert all(set(group) & rows in (set(), set(group)) for group in groups.tolist())
        assert len(rows & set(own.tolist())) == 5 * 3


def test_unknown_speakers_are_never_set_aside(utterances, fold):
    """Their utterances are scored, and they are enrolled for nobody."""
    unknown = np.concatenate([fold.train[:10], fold.dev[:10], fold.test[:10]])
    utterances.text['speaker'][unknown] = ''
    reserved = reserve(utterances, fold)
    assert not set(unknown) & {*reserved.reserved, *reserved.enrolled}
    assert set(unknown[10:]) <= {*reserved.dev, *reserved.test}
    assert len(reserved.reserved)


def test_a_speaker_with_one_recording_is_scored(utterances, fold):
    """No part becomes empty."""
    one = dataclasses.replace(fold, test=fold.test[:1])
    reserved = reserve(utterances, one)
    np.testing.assert_array_equal(reserved.test, one.test)


def test_one_enrols_a_single_emotion_of_each_speaker(utterances, fold):
    """It is that of the speaker's first utterance, so that not all have the same.

    The same are set aside as with any.
    """
    everything = reserve(utterances, fold)
    reserved = reserve(utterances, fold, enrol_from='one')
    assert_equal_rows(reserved, everything, (*PARTS, 'reserved'))
    emotion_N = utterances.text['emotion']
    own_rows = rows_by_speaker(utterances, reserved.enrolled)
    chosen = set()
    for speaker, rows in rows_by_speaker(utterances, everything.enrolment).items():
        expected = [row for row in rows if emotion_N[row] == emotion_N[rows[0]]]
        assert own_rows[speaker] == expected
        chosen.add(emotion_N[rows[0]])
    assert len(chosen) > 1


def test_neutral_enrols_neutral_utterances(utterances, fold):
    """In the same order as with any; the same are set aside."""
    everything = reserve(utterances, fold)
    reserved = reserve(utterances, fold, enrol_from='neutral')
    assert_equal_rows(reserved, everything, (*PARTS, 'reserved'))
    is_neutral = utterances.text['emotion'][everything.enrolment] == 'neutral'
    np.testing.assert_array_equal(reserved.enrolment, everything.enrolment[is_neutral])
    assert len(reserved.enrolled)


def test_neutral_needs_a_class_neutral(fold):
    """The message lists the classes that exist, and what to set."""
    utterances = make_utterances(speakers=6, per_class=10, classes=('angry', 'bored', 'sad'))
    with pytest.raises(UserError, match=r'found: angry, bored, sad.*enrol_from=any or one'):
        reserve(utterances, fold, enrol_from='neutral')


def test_redrawing_sets_aside_others_of_the_tested_speakers(utterances, fold):
    """Training is unchanged; set aside and scored together are the same utterances as before."""
    reserved = reserve(utterances, fold)
    redrawn = redraw_enrolment(utterances, reserved, 'any', 4, (0, 0, 1))
    assert_equal_rows(redrawn, reserved, ('train', 'adapt', 'identity', 'attacker_test'))
    np.testing.assert_array_equal(redrawn.fit_rows, reserved.fit_rows)
    speaker_N = utterances.text['speaker']
    for part in ('dev', 'test'):
        whole = getattr(fold, part)
        own = redrawn.reserved[np.isin(speaker_N[redrawn.reserved], speaker_N[whole])]
        assert len(own) == len(whole) // 2
        np.testing.assert_array_equal(np.union1d(own, getattr(redrawn, part)), whole)
        assert not set(own) & set(getattr(redrawn, part))
        assert set(own) != set(reserved.reserved) & set(whole)
    assert len(redrawn.reserved) == len(reserved.reserved)
    enrolled = rows_by_speaker(utterances, redrawn.enrolled)
    assert {speaker: len(rows) for speaker, rows in enrolled.items()} == dict.fromkeys(
        np.unique(speaker_N[np.concatenate([fold.dev, fold.test])]).tolist(), 4
    )


def test_a_redraw_depends_on_its_seed_only(utterances, fold):
    """Not on what was set aside before; the number of enrolled utterances changes no score."""
    seeds = [
        redraw_enrolment(utterances, reserve(utterances, fold), 'any', 4, (n,)) for n in (1, 2)
    ]
    assert set(seeds[0].test) != set(seeds[1].test)
    for before in (seeds[1], reserve(utterances, fold, 0, 'neutral')):
        assert_equal_rows(redraw_enrolment(utterances, before, 'any', 4, (1,)), seeds[0])
    for source, enrol in (('any', 0), ('any', 'all'), ('one', 4), ('neutral', 4)):
        other = redraw_enrolment(utterances, seeds[1], source, enrol, (1,))
        assert_equal_rows(other, seeds[0], (*PARTS, 'reserved'))
        is_allowed = np.isin(seeds[0].enrolment, other.enrolment)
        np.testing.assert_array_equal(seeds[0].enrolment[is_allowed], other.enrolment)


@pytest.mark.parametrize('name', PROTOCOLS)
def test_every_protocol_sets_half_aside(name):
    """Also where training adapts to the tested speakers, or has them in its training part."""
    utterances = two_corpora()
    protocol = PROTOCOLS[name]
    if protocol.identity:
        utterances.text['emotion'][utterances.text['corpus'] == 'b'] = ''
    own = utterances
    if not (protocol.source or protocol.identity):
        own = utterances[np.flatnonzero(utterances.text['corpus'] == 'a')]
    for fold in make_folds(own, protocol):
        fold = reserve_attacker_test(own, fold, 0.2, 0)
        reserved = reserve(own, fold)
        assert not set(reserved.reserved) & {*fold.attacker_test, *fold.identity}
        check_scored_part(own, fold, reserved)
        for draw in range(3):
            redrawn = redraw_enrolment(own, reserved, 'any', 2, (draw,))
            assert not set(redrawn.test) & set(redrawn.dev)
            if not protocol.shares_speakers:
                check_scored_part(own, fold, redrawn)
            assert_equal_rows(redrawn, reserved, ('train', 'adapt', 'identity', 'attacker_test'))
            evaluated = {*redrawn.dev, *redrawn.test, *redrawn.reserved} - set(fold.train)
            assert evaluated >= {*fold.dev, *fold.test} - set(fold.train)
            assert set(redrawn.reserved) & set(fold.train) == set(reserved.reserved) & set(
                fold.train
            )
            tested = set(own.text['speaker'][redrawn.test])
            assert tested <= set(rows_by_speaker(own, redrawn.enrolled))
            assert not set(redrawn.enrolled) & {*redrawn.dev, *redrawn.test}


def check_scored_part(utterances, fold: Fold, reserved: Fold) -> None:
    """Asserts that half of each tested speaker's utterances are left in dev and test."""
    for part in ('dev', 'test'):
        scored = getattr(reserved, part)
        assert not set(scored) & set(reserved.reserved)
        assert {*scored, *reserved.reserved} >= set(getattr(fold, part))
        for speaker, rows in rows_by_speaker(utterances, getattr(fold, part)).items():
            candidates = set(rows) - set(fold.attacker_test)
            own = candidates & set(reserved.reserved)
            assert len(own) == len(candidates) // 2, (part, speaker)


def test_a_subset_of_speakers_keeps_their_utterances_set_aside(utterances):
    """Those of speakers who left training are neither set aside nor enrolled."""
    fold = make_folds(utterances, Protocol(folds=6))[0]
    reserved = reserve(utterances, fold, 4)
    cut = take_subset(utterances, reserved, Subset(speakers=2), 0)
    lost = np.setdiff1d(fold.train, cut.train)
    assert len(lost)
    for name in ENROLMENT:
        rows = getattr(reserved, name)
        np.testing.assert_array_equal(getattr(cut, name), rows[~np.isin(rows, lost)])
    assert len(np.intersect1d(cut.reserved, cut.train)) == len(cut.train) // 2
    assert_equal_rows(cut, reserved, ('dev', 'test'))


@pytest.mark.parametrize('enrol', COUNTS)
def test_a_subset_can_name_the_number_of_enrolled_utterances(utterances, fold, enrol):
    """It equals the protocol with that number, and cuts nothing."""
    reserved = reserve(utterances, fold, 'all')
    chosen = take_subset(utterances, reserved, Subset(enrol=enrol), 0)
    assert_equal_rows(chosen, reserve(utterances, fold, enrol))
    cut = take_subset(utterances, reserved, Subset(speakers=1, per_class=9, enrol=enrol), 0)
    expected = reserve(utterances, fold, enrol)
    expected = take_subset(utterances, expected, Subset(speakers=1, per_class=9), 0)
    assert_equal_rows(cut, expected)


@pytest.fixture
def identity_fold():
    """Utterances of two corpora, and a fold with identity rows of the second one."""
    utterances = two_corpora()
    utterances.text['emotion'][utterances.text['corpus'] == 'b'] = ''
    fold = make_folds(utterances, PROTOCOLS['identity'])[1]
    return utterances, reserve(utterances, fold, 2)


def test_every_training_utterance_is_in_one_set_of_each_draw(identity_fold):
    """Those of identity batches too; an utterance is never enrolled for itself."""
    utterances, fold = identity_fold
    speaker_N = utterances.text['speaker']
    rows_of_draw = collections.defaultdict(list)
    counts = collections.Counter()
    for draw, rows, enrolled in draw_training_sets(utterances, fold, 0):
        rows_of_draw[draw] += rows.tolist()
        assert len(set(speaker_N[[*rows, *enrolled]])) == 1
        assert not set(rows) & set(enrolled)
        counts[len(enrolled)] += 1
    expected = sorted([*fold.train, *fold.identity])
    assert sorted(rows_of_draw) == list(range(TRAINING_DRAWS))
    assert all(sorted(rows) == expected for rows in rows_of_draw.values())
    # Half of a speaker's 18 utterances are at most 9.
    assert {0, 1, 2, 4, 8, 9} <= set(counts)
    assert max(counts) == 9


def test_training_sets_read_no_label_of_identity_rows_or_of_rows_to_adapt_to():
    """Those of training rows are read: a third of the sets is of one emotion."""
    utterances = two_corpora()
    fold = make_folds(utterances, PROTOCOLS['source_target, transductive'])[0]
    half = len(fold.adapt) // 2
    fold = dataclasses.replace(fold, adapt=fold.adapt[:half], identity=fold.adapt[half:])
    sets = draw_training_sets(utterances, fold, 0)
    others = np.setdiff1d(np.arange(len(utterances)), fold.train)
    utterances.text['emotion'][others] = utterances.text['emotion'][others][::-1]
    utterances.text['emotion'][others[::2]] = 'happy'
    for one, other in zip(sets, draw_training_sets(utterances, fold, 0), strict=True):
        assert one.draw == other.draw
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.enrolled, other.enrolled)
    trained = [s for s in sets if len(s.enrolled) > 3 and s.enrolled[0] in fold.train]
    share = np.mean([len(set(utterances.text['emotion'][s.enrolled])) == 1 for s in trained])
    assert 0.1 < share < 0.5


def test_training_sets_do_not_depend_on_what_is_enrolled(utterances, fold):
    """Only on the training data, the order seed and the fold."""

    def flat_sets(reserved: Fold, seed: int = 0) -> list:
        sets = draw_training_sets(utterances, reserved, seed)
        return [(s.draw, s.rows.tolist(), s.enrolled.tolist()) for s in sets]

    expected = flat_sets(reserve(utterances, fold, 0))
    assert flat_sets(reserve(utterances, fold, 'all')) == expected
    assert flat_sets(reserve(utterances, fold, 4, 'one')) == expected
    assert flat_sets(fold) == expected
    assert flat_sets(fold, seed=1) != expected
    assert flat_sets(dataclasses.replace(fold, number=1)) != expected


def test_a_training_speaker_with_one_utterance_has_nothing_enrolled(utterances):
    """The utterance is in a set of each draw all the same."""
    fold = Fold(0, 'a', train=np.array([0]), dev=np.arange(30), test=np.arange(30, 60))
    sets = draw_training_sets(utterances, fold, 0)
    assert sum(len(s.rows) for s in sets if not len(s.enrolled)) == TRAINING_DRAWS


def test_a_number_that_some_speakers_do_not_have_is_reported(utterances, fold):
    """With the range over the tested speakers; there is no message if all have enough."""
    reserved = reserve(utterances, fold)
    shorter = reserve(utterances, dataclasses.replace(fold, test=fold.test[:44]))  # 30 and 14
    folds = [reserved, shorter]
    assert describe_shortages(utterances, folds, {0, 2, 7, 'all', 'none'}) == []
    assert describe_shortages(utterances, [fold], {'none'}) == []
    assert describe_shortages(utterances, folds, {16, 0, 8, 'all'}) == [
        f'enrol={count}: the tested speakers have 7 to 15 utterances that can be enrolled. Of a '
        'speaker with fewer, all are enrolled.'
        for count in (8, 16)
    ]


def test_the_title_says_that_half_is_set_aside():
    """And of which emotions; without enrolment the title is as before."""
    aside = 'speaker_folds, half of the utterances of each speaker are set aside for enrolment'
    assert Protocol(enrol=4).title == aside
    assert Protocol(enrol=0, enrol_from='one').title == f'{aside} (of one emotion)'
    assert Protocol(enrol='all', enrol_from='neutral').title == f'{aside} (neutral ones)'
    assert Protocol().title == 'speaker_folds'


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        ({'enrol': -1}, 'config.protocol.enrol is -1; expected a number'),
        ({'enrol': 'some'}, "config.protocol.enrol is 'some'; expected a number"),
        ({'enrol': True}, 'config.protocol.enrol is True; expected a number'),
        ({'enrol': 1.5}, 'config.protocol.enrol is 1.5; expected a number'),
        ({'enrol_from': 'happy'}, 'config.protocol.enrol_from is .happy.*any, one, neutral'),
    ],
)
def test_what_cannot_be_enrolled_is_refused(keys, message):
    """The message says what is expected."""
    with pytest.raises(UserError, match=message):
        Protocol(**keys)

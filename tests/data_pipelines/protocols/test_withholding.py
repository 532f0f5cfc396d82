"""Tests of which utterances are reserved for testing attackers, and what is left for training."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.protocols.folds import Fold, hash_folds, make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.withholding import (
    ATTACKER_TEST_SHARE,
    WITHHOLDING_STREAM,
    reserve_attacker_test,
)

CLASSES = ('angry', 'happy', 'sad')
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.89)


@pytest.fixture
def utterances():
    """Six speakers with ten utterances of each of three classes."""
    return make_utterances(speakers=6, per_class=10, classes=CLASSES)


@pytest.fixture
def fold(utterances) -> Fold:
    """A fold in which two speakers train."""
    return make_folds(utterances, Protocol(folds=3))[0]


def withheld(utterances, fold: Fold, share: float, order_seed: int = 0) -> set[int]:
    """Returns the rows that are withheld."""
    return set(reserve_attacker_test(utterances, fold, share, order_seed).withheld.tolist())


def copy_recordings(utterances, *groups: list[int]) -> None:
    """Makes the rows of each group copies of one recording."""
    hashes = [f'own {n}' for n in range(len(utterances))]
    for number, rows in enumerate(groups):
        for row in rows:
            hashes[row] = f'shared {number}'
    utterances.text['sha256'] = np.array(hashes)


@pytest.mark.parametrize('share', [0.1, 0.2, 0.5])
def test_the_share_of_each_speaker_is_withheld_in_proportion_to_the_emotions(
    utterances, fold, share
):
    """The number of each speaker is exact, that of each emotion to within one."""
    reserved = reserve_attacker_test(utterances, fold, share, 0)
    np.testing.assert_array_equal(reserved.withheld, reserved.attacker_test)
    both = np.sort(np.concatenate([reserved.train, reserved.withheld]))
    np.testing.assert_array_equal(both, fold.train)
    speaker_N = utterances.text['speaker'][reserved.withheld]
    emotion_N = utterances.text['emotion'][reserved.withheld]
    assert collections.Counter(speaker_N.tolist()) == {'s04': 30 * share, 's05': 30 * share}
    for speaker, emotion in itertools.product(('s04', 's05'), CLASSES):
        count = ((speaker_N == speaker) & (emotion_N == emotion)).sum()
        assert abs(count - 10 * share) <= 1
    np.testing.assert_array_equal(reserved.fit_rows, reserved.train)
    assert set(reserved.withheld) <= set(reserved.used_rows)
    for part in ('dev', 'test', 'adapt', 'identity'):
        np.testing.assert_array_equal(getattr(reserved, part), getattr(fold, part))


def test_a_larger_share_contains_a_smaller_one(utterances, fold):
    """Also where copies, rare classes and small speakers restrict what can be withheld."""
    chain = [withheld(utterances, fold, share) for share in SHARES]
    utterances.text['emotion'][fold.train[:28]] = 'angry'
    utterances.text['emotion'][fold.train[28:30]] = 'happy'
    utterances.text['emotion'][fold.train[30:]] = 'sad'
    copy_recordings(utterances, fold.train[:7].tolist(), fold.train[29:32].tolist())
    restricted = [withheld(utterances, fold, share) for share in SHARES]
    for sets in (chain, restricted):
        for smaller, larger in itertools.pairwise(sets):
            assert smaller < larger


def test_the_choice_depends_on_order_seed_and_fold_number_only(utterances, fold):
    """The features, the name of the fold and its other parts do not matter."""
    rows = withheld(utterances, fold, 0.3)
    changed = dataclasses.replace(
        utterances, mean_NxM=utterances.mean_NxM + 1, frames_N=utterances.frames_N + 1
    )
    other_parts = dataclasses.replace(fold, name='z', dev=fold.test, test=fold.dev)
    assert withheld(changed, other_parts, 0.3) == rows
    assert withheld(utterances, fold, 0.3, order_seed=1) != rows
    assert withheld(utterances, dataclasses.replace(fold, number=1), 0.3) != rows


def test_copies_of_a_recording_are_withheld_together(utterances, fold):
    """Whatever their emotions; they count as one recording of the speaker."""
    own = fold.train[utterances.text['speaker'][fold.train] == 's04'].tolist()
    triples = [own[n::10] for n in range(10)]  # of all three emotions
    copy_recordings(utterances, *triples)
    rows = withheld(utterances, fold, 0.3)
    assert [set(triple) & rows in (set(), set(triple)) for triple in triples] == [True] * 10
    assert len(rows & set(own)) == 3 * 3


@pytest.mark.parametrize('part', ['adapt', 'identity', 'train'])
def test_a_recording_that_training_uses_elsewhere_is_never_withheld(utterances, fold, part):
    """Not as adaptation or identity example, nor under another speaker's name."""
    others = make_folds(utterances, Protocol(folds=3))[1].train[:1]
    if part == 'train':
        others = fold.train[utterances.text['speaker'][fold.train] == 's05'][:1]
    else:
        fold = dataclasses.replace(fold, **{part: others, 'test': others, 'dev': others})
    copy_recordings(utterances, [int(fold.train[0]), int(others[0])])
    rows = set()
    for seed in range(5):
        rows |= withheld(utterances, fold, 0.89, seed)
    assert int(fold.train[0]) not in rows
    assert int(fold.train[1]) in rows


def test_every_speaker_and_every_class_stays_in_training(utterances, fold):
    """However large the share is, and however few utterances there are."""
    utterances.text['emotion'][fold.train] = 'angry'
    utterances.text['emotion'][fold.train[-1]] = 'happy'
    few = np.concatenate([fold.train[:2], fold.train[-2:]])
    copy_recordings(utterances, few[:2].tolist())
    fold = dataclasses.replace(fold, train=few)
    for seed in range(10):
        reserved = reserve_attacker_test(utterances, fold, 0.89, seed)
        assert set(utterances.text['speaker'][reserved.train]) == {'s04', 's05'}
        assert set(utterances.text['emotion'][reserved.train]) == {'angry', 'happy'}
        assert set(reserved.withheld) == {few[2]}


def test_without_withholding_a_fifth_is_tested_and_stays_in_training(utterances, fold):
    """They are those that withhold=0.2 takes out of training; what is fitted does not see them."""
    seen = reserve_attacker_test(utterances, fold, 0, 0)
    np.testing.assert_array_equal(seen.train, fold.train)
    assert set(seen.attacker_test) == withheld(utterances, fold, 0.2)
    assert not len(seen.withheld)
    assert set(seen.fit_rows) == set(fold.train) - set(seen.attacker_test)
    np.testing.assert_array_equal(seen.used_rows, fold.used_rows)


@pytest.mark.parametrize('share', [0, 0.5])
def test_a_fifth_of_the_rows_to_adapt_to_is_tested_without_regard_to_the_emotion(share):
    """They stay in `adapt`; their unknown speakers count as one."""
    utterances = make_utterances(speakers=6, per_class=10, classes=CLASSES)
    utterances.text['speaker'][:60] = ''
    fold = Fold(
        0, 'a', train=np.arange(90, 180), dev=np.arange(0), test=np.arange(90), adapt=np.arange(90)
    )
    reserved = reserve_attacker_test(utterances, fold, share, 0)
    np.testing.assert_array_equal(reserved.adapt, fold.adapt)
    tested = reserved.attacker_test[reserved.attacker_test < 90]
    speakers = collections.Counter(utterances.text['speaker'][tested].tolist())
    assert speakers == {'': 12, 's02': 6}
    assert not set(tested) & {*reserved.withheld, *reserved.fit_rows}
    utterances.text['emotion'][:90] = np.roll(utterances.text['emotion'][:90], 5)
    again = reserve_attacker_test(utterances, fold, share, 0)
    np.testing.assert_array_equal(again.attacker_test, reserved.attacker_test)


def test_unknown_speakers_are_never_withheld_from_training(utterances, fold):
    """A fifth of their utterances is tested all the same."""
    is_unknown = utterances.text['speaker'][fold.train] == 's04'
    unknown = set(fold.train[is_unknown].tolist())
    utterances.text['speaker'][list(unknown)] = ''
    reserved = reserve_attacker_test(utterances, fold, 0.5, 0)
    assert unknown <= set(reserved.train)
    assert len(reserved.withheld) == 15
    assert len(unknown & set(reserved.attacker_test)) == 6


def test_the_hash_of_a_split_without_withholding_is_that_of_earlier_versions():
    """So workdirs of earlier versions can still be used. Withheld utterances change it."""
    utterances = make_utterances(speakers=6, per_class=5, classes=CLASSES)
    hashes = []
    for adapt, share in (('none', 0.0), ('transductive', 0.0), ('none', 0.2), ('none', 0.4)):
        folds = make_folds(utterances, Protocol(folds=3, adapt=adapt))
        folds = [reserve_attacker_test(utterances, fold, share, 0) for fold in folds]
        hashes.append(hash_folds(utterances, folds))
    assert hashes[0] == '9b630b98eb98a1e100701c3445fd3203cdba67349bb9eda5cc5f37902810894a'
    assert hashes[1] == 'df592496b931f937149532a940b2a44ba32411de76a2fe16ab9e48a8b72c047f'
    assert len(set(hashes)) == 4


def test_the_title_names_the_withheld_share():
    """All results state it; without withholding the title is as before."""
    title = Protocol(withhold=0.2).title
    assert title == 'speaker_folds, attackers are tested on 20 % withheld utterances'
    assert Protocol().title == 'speaker_folds'


def straightforward_choice(utterances, rows: list[int], others: list[int], draw_2xN) -> dict:
    """Returns the smallest share with which each row is chosen, by one loop after another."""
    text = {name: utterances.text[name].tolist() for name in ('speaker', 'emotion', 'sha256')}
    copies = collections.defaultdict(list)
    for row in rows:
        copies[text['sha256'][row] or row].append(row)
    entries = {}
    for speaker in sorted({text['speaker'][own[0]] for own in copies.values()}):
        first_rows = sorted(own[0] for own in copies.values() if text['speaker'][own[0]] == speaker)
        positions = {}
        for emotion in {text['emotion'][row] for row in first_rows}:
            same = [row for row in first_rows if text['emotion'][row] == emotion]
            for j, row in enumerate(sorted(same, key=draw_2xN[0].__getitem__)):
                positions[row] = (j + draw_2xN[1, same[0]]) / len(same)
        for k, row in enumerate(sorted(first_rows, key=positions.get)):
            entries[row] = (k + 0.5) / len(first_rows)
    speakers_left = collections.Counter(text['speaker'][row] for row in rows)
    emotions_left = collections.Counter(text['emotion'][row] for row in rows)
    other_hashes = {text['sha256'][row] for row in others} - {''}
    shares = dict.fromkeys(rows, np.inf)
    for first in sorted(entries, key=entries.get):
        own = copies[text['sha256'][first] or first]
        speakers = collections.Counter(text['speaker'][row] for row in own)
        emotions = collections.Counter(text['emotion'][row] for row in own)
        leaves_some = speakers < speakers_left and emotions < emotions_left
        leaves_some &= all(speakers_left[name] > n for name, n in speakers.items())
        leaves_some &= all(emotions_left[name] > n for name, n in emotions.items())
        if leaves_some and len(speakers) == 1 and text['sha256'][first] not in other_hashes:
            speakers_left -= speakers
            emotions_left -= emotions
            shares |= dict.fromkeys(own, entries[first])
    return shares


@pytest.mark.parametrize('seed', range(20))
def test_the_choice_is_that_of_a_straightforward_computation(seed):
    random = np.random.default_rng(seed)
    utterances = make_utterances(speakers=5, per_class=8)
    N = len(utterances)
    utterances.text['speaker'] = random.choice(['', 'a', 'b', 'c'], N)
    hash_N = random.choice(['', *map(str, range(1 + seed))], N)
    is_own_N = (hash_N != '') & (random.random(N) < 0.9)  # no copy of another speaker's recording
    utterances.text['sha256'] = np.char.add(
        np.where(is_own_N, utterances.text['speaker'], ''), hash_N
    )
    utterances.text['emotion'] = random.choice(['x', 'y', 'z'], N, p=[0.6, 0.35, 0.05])
    train, other_rows = np.split(random.permutation(N), [N - 6])
    fold = Fold(seed, 'fold', np.sort(train), other_rows, other_rows, identity=other_rows)
    share = (0, 0.3, 0.99)[seed % 3]
    draw_2xN = np.random.default_rng((7, seed, 0, WITHHOLDING_STREAM)).random((2, N))
    shares = straightforward_choice(utterances, fold.train.tolist(), fold.identity, draw_2xN)
    expected = []
    for row, own_share in shares.items():
        is_known = utterances.text['speaker'][row] != ''
        if own_share <= (share if share and is_known else ATTACKER_TEST_SHARE):
            expected.append(row)
    reserved = reserve_attacker_test(utterances, fold, share, 7)
    np.testing.assert_array_equal(reserved.attacker_test, expected)

"""Which part of a training part is trained on."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.batching import table
from data_pipelines.errors import UserError
from data_pipelines.protocols import folds, subsets
from data_pipelines.protocols.subsets import Subset

CLASSES = ('angry', 'happy', 'neutral', 'sad')


@pytest.fixture(scope='module')
def u():
    """Twelve speakers who alternate in sex, with 5 utterances of each of four classes."""
    return make_utterances(speakers=12, per_class=5, classes=CLASSES)


@pytest.fixture(scope='module')
def fold(u):
    """Eight speakers, four of each sex, train."""
    return folds.make_folds(u, folds.Protocol(folds=6))[1]


def kept(u, fold, *subset, seed: int = 0) -> set[int]:
    return set(subsets.take_subset(u, fold, Subset(*subset), seed).train.tolist())


def speakers(u, rows) -> set[str]:
    return set(u.text['speaker'][list(rows)].tolist())


def test_nothing_asked_for_is_the_training_part_itself(u, fold):
    """The default trains on the very fold, and so does more than there is, in the same order."""
    assert subsets.take_subset(u, fold, Subset(), 0) is fold
    for everything in (
        Subset(speakers=99),
        Subset(confounded=0.0),
        Subset(per_class=999),
        Subset(99, 0, 999),
    ):
        np.testing.assert_array_equal(subsets.take_subset(u, fold, everything, 0).train, fold.train)


def test_only_the_training_part_is_cut(u):
    """dev, test, number and what is adapted to are those of the fold."""
    fold = folds.make_folds(u, folds.Protocol(folds=6, adapt='transductive'))[2]
    cut = subsets.take_subset(u, fold, Subset(4, 0.5, 3), 0)
    assert (cut.number, cut.name) == (fold.number, fold.name)
    for part in ('dev', 'test', 'adapt'):
        np.testing.assert_array_equal(getattr(cut, part), getattr(fold, part))
    assert set(cut.train) < set(fold.train)


@pytest.mark.parametrize('n', [2, 4, 6])
def test_speakers_are_kept_whole_and_alike_in_sex(u, fold, n):
    """So many speakers, half of them women, with all that they say."""
    rows = kept(u, fold, n)
    chosen = speakers(u, rows)
    sex = dict(zip(u.text['speaker'].tolist(), u.text['sex'].tolist()))
    assert collections.Counter(sex[s] for s in chosen) == {'female': n // 2, 'male': n // 2}
    assert rows == {r for r in fold.train if u.text['speaker'][r] in chosen}


def test_one_sex_goes_on_where_the_other_has_no_more(u, fold):
    """Of one woman and seven men, three are the woman and two men."""
    one = dataclasses.replace(
        u,
        text=u.text
        | {'sex': np.where(u.text['speaker'] == u.text['speaker'][fold.train[0]], 'f', 'm')},
    )
    chosen = speakers(one, kept(one, fold, 3))
    assert len(chosen) == 3
    assert u.text['speaker'][fold.train[0]] in chosen


@pytest.mark.parametrize('c', [0.0, 0.4, 0.9, 1.0])
def test_of_every_speaker_one_class_is_kept_whole(u, fold, c):
    """All of his own class and the share 1 - c of the others; the classes are shared out evenly, and to both sexes."""
    rows, own = kept(u, fold, None, c), collections.Counter()
    for speaker in speakers(u, fold.train):
        count = collections.Counter(
            u.text['emotion'][[r for r in rows if u.text['speaker'][r] == speaker]].tolist()
        )
        assert sum(count.values()) == 5 + round(15 * (1 - c))
        if c == 1:
            ((emotion, n),) = count.items()
            own[emotion, u.text['sex'][u.text['speaker'] == speaker][0]] += n
        else:
            assert max(count.values()) == 5
    assert c < 1 or own == {(e, sex): 5 for e in CLASSES for sex in ('female', 'male')}


def test_of_a_class_so_many_are_kept(u, fold):
    """At most n, of every class alike."""
    rows = kept(u, fold, None, None, 7)
    assert collections.Counter(u.text['emotion'][list(rows)].tolist()) == dict.fromkeys(CLASSES, 7)


def test_they_apply_in_the_order_of_the_fields(u, fold):
    """Of four speakers, confounded, so many of a class: each step takes from what the one before has left."""
    four, half, three = (kept(u, fold, *some) for some in ((4,), (4, 0.5), (4, 0.5, 3)))
    assert three < half < four
    assert four & kept(u, fold, None, 0.5) == half, (
        'who has which class does not depend on how many speakers there are'
    )
    assert collections.Counter(u.text['emotion'][list(three)].tolist()) == dict.fromkeys(CLASSES, 3)


@pytest.mark.parametrize('seed', [0, 1])
def test_less_is_part_of_more(u, fold, seed):
    """Nested in the last field that is given."""
    for chain in (
        [(n,) for n in (1, 2, 3, 5, 8)],
        [(4, c) for c in (0.9, 0.5, 0.3, 0.0)],
        [(None, None, n) for n in (1, 4, 9, 40)],
        [(6, 0.5, n) for n in (1, 4, 9, 40)],
    ):
        parts = [kept(u, fold, *some, seed=seed) for some in chain]
        assert all(a < b for a, b in itertools.pairwise(parts))


def test_it_is_a_function_of_order_seed_and_fold(u, fold):
    """The same two give the same part, another of either gives another."""
    for some in ((4,), (None, 0.5), (None, None, 5)):
        assert kept(u, fold, *some) == kept(u, fold, *some)
        assert kept(u, fold, *some) != kept(u, fold, *some, seed=1)
        assert kept(u, fold, *some) != kept(
            u, dataclasses.replace(fold, number=fold.number + 1), *some
        )


def test_whose_speaker_nobody_knows_is_no_speaker(u, fold):
    """Such utterances are left out where speakers are chosen or given a class, and kept where they are not."""
    nobody = u.text['speaker'][fold.train[0]]
    other = dataclasses.replace(
        u, text=u.text | {'speaker': np.where(u.text['speaker'] == nobody, '', u.text['speaker'])}
    )
    assert '' not in speakers(other, kept(other, fold, 99)) | speakers(
        other, kept(other, fold, None, 0.5)
    )
    assert '' in speakers(other, kept(other, fold, None, None, 30))


def test_a_class_that_is_lost_is_refused(u, fold):
    """Two speakers, wholly confounded, have two classes; and where nobody is known, nobody is left."""
    with pytest.raises(
        UserError,
        match=r"With speakers=2, confounded=1 the training part of fold 'part 2 of 6' "
        r'has no utterance of the class \w+ or \w+\.',
    ):
        kept(u, fold, 2, 1)
    unknown = dataclasses.replace(u, text=u.text | {'speaker': np.full(len(u), '')})
    for some in ((4,), (None, 0.5), (4, None, 3)):
        with pytest.raises(UserError, match='angry or happy or neutral or sad'):
            kept(unknown, fold, *some)


def test_more_than_there_is_is_said_once(u, fold):
    """With the counts, over all folds; nothing is said of what is there."""
    made = [fold, dataclasses.replace(fold, number=2, train=fold.train[:-20])]
    assert (
        subsets.describe_shortages(
            u, made, [Subset(), Subset(7), Subset(None, 0.9), Subset(None, None, 35)], 0
        )
        == []
    )
    said = subsets.describe_shortages(
        u, made, [Subset(8), Subset(8, 0.5), Subset(None, None, 37), Subset(4, None, 37)], 0
    )
    assert said == [
        'config.sweep.speakers=8: training has only 7 to 8 speakers, all of which are used.',
        'config.sweep.per_class=37: training has only 20 to 37 angry, 20 to 37 happy, '
        '20 to 37 neutral, 20 to 37 sad, all of which are used.',
    ]


@pytest.mark.parametrize('how', ['global', 'speaker'])
def test_normalisation_and_weights_are_those_of_what_is_trained_on(u, fold, how):
    """Moments, class weights and the speakers who are seen say nothing of utterances that are left out."""
    cut = subsets.take_subset(u, fold, Subset(speakers=6, confounded=0.5), 0)
    other = dataclasses.replace(u, mean_NxM=u.mean_NxM.copy())
    out = np.setdiff1d(fold.train, cut.train)
    other.mean_NxM[out] += 100
    tables = [table.ExampleTable(some, [fold, cut], how, balanced=True) for some in (u, other)]
    mean, changed = (t.mean[t.moments_index_FxN] for t in tables)
    np.testing.assert_array_equal(mean[1, cut.train], changed[1, cut.train])
    assert (mean[0, cut.train] != changed[0, cut.train]).any()
    assert {
        str(s) for s in tables[0].domains['speaker'][tables[0].seen['speaker'][1] > 0]
    } == speakers(u, cut.train)
    count = collections.Counter(u.text['emotion'][cut.train].tolist())
    np.testing.assert_allclose(
        tables[0].weight_FxC[1], [len(cut.train) / 4 / count[c] for c in CLASSES], rtol=1e-6
    )

"""Tests of subsets of a training part: their speakers, utterances and confounding."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.batching.table import ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.subsets import Subset, describe_shortages, take_subset
from data_pipelines.protocols.withholding import reserve_attacker_test

CLASSES = ('angry', 'happy', 'neutral', 'sad')


@pytest.fixture(scope='module')
def utterances():
    """Twelve speakers who alternate in sex, with 5 utterances of each of four classes."""
    return make_utterances(speakers=12, per_class=5, classes=CLASSES)


@pytest.fixture(scope='module')
def fold(utterances):
    """A fold in which eight speakers train, four of each sex."""
    return make_folds(utterances, Protocol(folds=6))[1]


def train_rows(utterances, fold, *subset, seed: int = 0) -> set[int]:
    """Returns the rows of the training part that a subset takes."""
    return set(take_subset(utterances, fold, Subset(*subset), seed).train.tolist())


def speakers(utterances, rows) -> set[str]:
    """Returns the speakers of some rows."""
    return set(utterances.text['speaker'][list(rows)].tolist())


def count_classes(utterances, rows) -> collections.Counter:
    """Returns the counts of the classes of some rows."""
    return collections.Counter(utterances.text['emotion'][list(rows)].tolist())


def with_column(utterances, column: str, values: np.ndarray):
    """Returns the utterances with other values in a column of text."""
    return dataclasses.replace(utterances, text=utterances.text | {column: values})


def test_without_a_subset_the_fold_is_not_changed(utterances, fold):
    """Neither the default nor a request for more than there is changes it."""
    assert take_subset(utterances, fold, Subset(), 0) is fold
    for subset in (
        Subset(speakers=99),
        Subset(confounded=0.0),
        Subset(per_class=999),
        Subset(99, 0, 999),
    ):
        train = take_subset(utterances, fold, subset, 0).train
        np.testing.assert_array_equal(train, fold.train)


def test_only_the_training_part_is_cut(utterances):
    """dev, test, number and what is adapted to are those of the fold."""
    fold = make_folds(utterances, Protocol(folds=6, adapt='transductive'))[2]
    cut = take_subset(utterances, fold, Subset(4, 0.5, 3), 0)
    assert (cut.number, cut.name) == (fold.number, fold.name)
    for part in ('dev', 'test', 'adapt'):
        np.testing.assert_array_equal(getattr(cut, part), getattr(fold, part))
    assert set(cut.train) < set(fold.train)


@pytest.mark.parametrize('n', [2, 4, 6])
def test_chosen_speakers_keep_all_utterances_and_are_balanced_in_sex(utterances, fold, n):
    """Half of them are women."""
    rows = train_rows(utterances, fold, n)
    chosen = speakers(utterances, rows)
    sex_of = dict(zip(utterances.text['speaker'].tolist(), utterances.text['sex'].tolist()))
    sexes = collections.Counter([sex_of[speaker] for speaker in chosen])
    assert sexes == {'female': n // 2, 'male': n // 2}
    assert rows == {row for row in fold.train if utterances.text['speaker'][row] in chosen}


def test_if_one_sex_has_no_more_speakers_the_other_fills_up(utterances, fold):
    """Of one woman and seven men, three speakers are the woman and two men."""
    speaker_N = utterances.text['speaker']
    woman = speaker_N[fold.train[0]]
    changed = with_column(utterances, 'sex', np.where(speaker_N == woman, 'f', 'm'))
    chosen = speakers(changed, train_rows(changed, fold, 3))
    assert len(chosen) == 3
    assert woman in chosen


@pytest.mark.parametrize('confounded', [0.0, 0.4, 0.9, 1.0])
def test_a_confounded_speaker_keeps_one_class_whole(utterances, fold, confounded):
    """Of the other classes the speaker keeps the share 1 - confounded."""
    rows = train_rows(utterances, fold, None, confounded)
    for speaker in speakers(utterances, fold.train):
        own_rows = [row for row in rows if utterances.text['speaker'][row] == speaker]
        counts = count_classes(utterances, own_rows)
        assert counts.total() == 5 + round(15 * (1 - confounded))
        assert max(counts.values()) == 5


def test_classes_are_dealt_to_confounded_speakers_evenly_over_both_sexes(utterances, fold):
    """Wholly confounded, each class is that of one woman and one man."""
    rows = train_rows(utterances, fold, None, 1.0)
    counts = collections.Counter()
    for row in rows:
        counts[utterances.text['emotion'][row], utterances.text['sex'][row]] += 1
    assert counts == dict.fromkeys(itertools.product(CLASSES, ('female', 'male')), 5)
    for speaker in speakers(utterances, fold.train):
        own_rows = [row for row in rows if utterances.text['speaker'][row] == speaker]
        assert len(count_classes(utterances, own_rows)) == 1


def test_at_most_so_many_utterances_of_each_class_are_kept(utterances, fold):
    """As many of every class."""
    rows = train_rows(utterances, fold, None, None, 7)
    assert count_classes(utterances, rows) == dict.fromkeys(CLASSES, 7)


def test_subsets_apply_in_the_order_of_the_fields(utterances, fold):
    """Each step takes from what the one before has left."""
    four = train_rows(utterances, fold, 4)
    half = train_rows(utterances, fold, 4, 0.5)
    three = train_rows(utterances, fold, 4, 0.5, 3)
    assert three < half < four
    all_half = train_rows(utterances, fold, None, 0.5)
    assert four & all_half == half, 'a speaker has the same class among fewer speakers'
    assert count_classes(utterances, three) == dict.fromkeys(CLASSES, 3)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize(
    'chain',
    [
        [(n,) for n in (1, 2, 3, 5, 8)],
        [(4, confounded) for confounded in (0.9, 0.5, 0.3, 0.0)],
        [(None, None, n) for n in (1, 4, 9, 40)],
        [(6, 0.5, n) for n in (1, 4, 9, 40)],
    ],
)
def test_subsets_are_nested_in_the_last_field(utterances, fold, chain, seed):
    """A smaller one lies within a larger one."""
    subsets = [train_rows(utterances, fold, *fields, seed=seed) for fields in chain]
    for smaller, larger in itertools.pairwise(subsets):
        assert smaller < larger


@pytest.mark.parametrize('fields', [(4,), (None, 0.5), (None, None, 5)])
def test_a_subset_is_a_function_of_order_seed_and_fold(utterances, fold, fields):
    """The same two give the same subset, another of either gives another."""
    rows = train_rows(utterances, fold, *fields)
    next_fold = dataclasses.replace(fold, number=fold.number + 1)
    assert rows == train_rows(utterances, fold, *fields)
    assert rows != train_rows(utterances, fold, *fields, seed=1)
    assert rows != train_rows(utterances, next_fold, *fields)


def test_utterances_of_unknown_speakers_are_left_out_where_speakers_are_chosen(utterances, fold):
    """The same holds where speakers are confounded; otherwise they are kept."""
    speaker_N = utterances.text['speaker']
    is_unknown_N = speaker_N == speaker_N[fold.train[0]]
    changed = with_column(utterances, 'speaker', np.where(is_unknown_N, '', speaker_N))
    assert '' not in speakers(changed, train_rows(changed, fold, 99))
    assert '' not in speakers(changed, train_rows(changed, fold, None, 0.5))
    assert '' in speakers(changed, train_rows(changed, fold, None, None, 30))


def test_a_subset_that_loses_a_class_is_refused(utterances, fold):
    """Two wholly confounded speakers have two classes; without known speakers nothing is left."""
    message = (
        r"With speakers=2, confounded=1 the training part of fold 'part 2 of 6' "
        r'has no utterance of the class \w+ or \w+\.'
    )
    with pytest.raises(UserError, match=message):
        train_rows(utterances, fold, 2, 1)
    unknown = with_column(utterances, 'speaker', np.full(len(utterances), ''))
    for fields in ((4,), (None, 0.5), (4, None, 3)):
        with pytest.raises(UserError, match='angry or happy or neutral or sad'):
            train_rows(unknown, fold, *fields)


@pytest.mark.parametrize('fields', [(4,), (4, 0.5), (None, None, 2)])
def test_withheld_utterances_of_speakers_who_leave_training_are_dropped(utterances, fold, fields):
    """Those of the other speakers remain: no smaller training part lets training see them."""
    reserved = reserve_attacker_test(utterances, fold, 0.2, 0)
    cut = take_subset(utterances, reserved, Subset(*fields), 0)
    chosen = speakers(utterances, cut.train)
    assert chosen < speakers(utterances, fold.train)
    expected = [row for row in reserved.withheld if utterances.text['speaker'][row] in chosen]
    np.testing.assert_array_equal(cut.attacker_test, expected)
    np.testing.assert_array_equal(cut.withheld, expected)
    np.testing.assert_array_equal(cut.fit_rows, cut.train)


def test_tested_utterances_that_leave_training_are_dropped_if_none_are_withheld(utterances, fold):
    """Of every speaker in training an utterance is left to fit on."""
    reserved = reserve_attacker_test(utterances, fold, 0, 0)
    cut = take_subset(utterances, reserved, Subset(4), 0)
    expected = np.intersect1d(reserved.attacker_test, cut.train)
    np.testing.assert_array_equal(cut.attacker_test, expected)
    for seed in range(20):
        cut = take_subset(utterances, reserved, Subset(per_class=1), seed)
        assert set(cut.attacker_test) <= set(cut.train)
        assert speakers(utterances, cut.fit_rows) == speakers(utterances, cut.train)


def test_rows_to_adapt_to_are_tested_whatever_the_subset(utterances):
    """They are not cut."""
    fold = make_folds(utterances, Protocol(folds=6, adapt='transductive'))[1]
    for share in (0, 0.2):
        reserved = reserve_attacker_test(utterances, fold, share, 0)
        cut = take_subset(utterances, reserved, Subset(4), 0)
        tested = np.intersect1d(reserved.attacker_test, fold.adapt)
        assert len(tested) == 8
        assert set(tested) <= set(cut.attacker_test)


def test_a_shortage_is_described_once(utterances, fold):
    """It has the range of counts over all folds; there is no message if there is enough."""
    shorter = dataclasses.replace(fold, number=2, train=fold.train[:-20])
    folds = [fold, shorter]
    enough = [Subset(), Subset(7), Subset(None, 0.9), Subset(None, None, 35)]
    assert describe_shortages(utterances, folds, enough, 0) == []
    short = [Subset(8), Subset(8, 0.5), Subset(None, None, 37), Subset(4, None, 37)]
    assert describe_shortages(utterances, folds, short, 0) == [
        'config.sweep.speakers=8: training has only 7 to 8 speakers, all of which are used.',
        'config.sweep.per_class=37: training has only 20 to 37 angry, 20 to 37 happy, '
        '20 to 37 neutral, 20 to 37 sad, all of which are used.',
    ]


@pytest.mark.parametrize('normalisation', ['global', 'speaker'])
def test_utterances_that_are_left_out_do_not_influence_a_batch(utterances, fold, normalisation):
    """They change neither normalisation, nor class weights, nor the domains to be removed."""
    cut = take_subset(utterances, fold, Subset(speakers=6, confounded=0.5), 0)
    changed = dataclasses.replace(utterances, mean_NxM=utterances.mean_NxM.copy())
    changed.mean_NxM[np.setdiff1d(fold.train, cut.train)] += 100
    table = ExampleTable(utterances, [fold, cut], normalisation, balanced=True)
    changed_table = ExampleTable(changed, [fold, cut], normalisation, balanced=True)
    mean = table.mean[table.moments_index_FxN]
    changed_mean = changed_table.mean[changed_table.moments_index_FxN]
    np.testing.assert_array_equal(mean[1, cut.train], changed_mean[1, cut.train])
    assert (mean[0, cut.train] != changed_mean[0, cut.train]).any()
    seen = table.domains['speaker'][table.seen['speaker'][1] > 0]
    assert set(seen.tolist()) == speakers(utterances, cut.train)
    counts = count_classes(utterances, cut.train)
    weights = [len(cut.train) / 4 / counts[name] for name in CLASSES]
    np.testing.assert_allclose(table.weight_FxC[1], weights, rtol=1e-6)

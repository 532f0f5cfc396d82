"""Tests of the moments by which utterances of enrolled speakers are normalised."""

import dataclasses

import chex
import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from data_pipelines.batching import plan
from data_pipelines.batching.table import ExampleTable
from data_pipelines.errors import UserError
from data_pipelines.features import speaker_offset
from data_pipelines.protocols.enrolment import (
    TRAINING_DRAWS,
    choose_enrolled,
    draw_training_sets,
    redraw_enrolment,
    reserve_enrolment,
)
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.withholding import reserve_attacker_test

CLASSES = ('angry', 'neutral', 'sad')
CONFIG = ConfigDict({'batch': 5, 'order_seed': 0, 'frames': 40})
STEPS = 7
EPOCHS = 3
# The folds of each device: one device with all three, and two devices.
ONE_DEVICE = np.array([[0, 1, 2]])
TWO_DEVICES = np.array([[0, 1], [2, 2]])


def make_corpus():
    """Returns six speakers with twelve utterances of each class; speakers and emotions differ."""
    utterances = make_utterances(speakers=6, per_class=12, classes=CLASSES)
    random = np.random.default_rng(1)
    for column, size in (('speaker', 6), ('emotion', 3)):
        _, index_N = np.unique(utterances.text[column], return_inverse=True)
        utterances.mean_NxM += 2 * random.normal(size=(size, 3)).astype(np.float32)[index_N]
        ratio = np.exp(random.normal(size=(size, 3))).astype(np.float32)
        utterances.variance_NxM *= ratio[index_N]
    return utterances


@pytest.fixture
def utterances():
    """Six speakers who differ, with twelve utterances of each of three classes."""
    return make_corpus()


def make_enrolled_folds(utterances, enrol='all', enrol_from='any'):
    """Returns three folds with withheld utterances and with enrolled ones."""
    folds = []
    protocol = Protocol(folds=3, enrol=enrol, enrol_from=enrol_from)
    for fold in make_folds(utterances, protocol):
        fold = reserve_attacker_test(utterances, fold, 0.2, 0)
        folds.append(reserve_enrolment(utterances, fold, protocol, 0))
    return folds


def make_table(utterances, folds, normalisation='speaker_enrolled') -> ExampleTable:
    """Returns the table of the folds."""
    return ExampleTable(utterances, folds, normalisation, balanced=True)


def training_batches(table: ExampleTable, fold_DxF=ONE_DEVICE, chunk=STEPS, identity=False):
    """Yields each chunk of the first epochs with its batch."""
    for epoch in range(EPOCHS):
        for item in plan.training_items(
            table.folds, fold_DxF, table.utterances, epoch, STEPS, chunk, CONFIG, identity
        ):
            yield item, table.make_batch(item)


def expected_moments(utterances, table: ExampleTable, f: int, rows) -> tuple:
    """Returns mean_M and scale_M of a speaker of whom these rows are enrolled, by the formula."""
    fold = table.folds[f]
    is_pooled = utterances.frames_N.max() == 1
    y_NxP = utterances.mean_NxM
    if not is_pooled:
        y_NxP = np.concatenate([y_NxP, 0.5 * np.log(utterances.variance_NxM)], 1)
    train = fold.train
    text = utterances.text
    prior = speaker_offset.fit_speaker_prior(
        y_NxP[train], text['speaker'][train], text['emotion'][train]
    )
    nobody = speaker_offset.no_enrolment(prior)
    enrolment = speaker_offset.enrol(prior, nobody, y_NxP[rows])
    offset_P = np.asarray(speaker_offset.estimate_offset(prior, enrolment))
    log_deviation_M = np.zeros(3) if is_pooled else offset_P[3:]
    mean_M, scale_M = table.global_moments(f)
    return mean_M + offset_P[:3], scale_M * np.exp(-log_deviation_M)


@pytest.mark.parametrize('enrol', [1, 3, 'all'])
@pytest.mark.parametrize('is_pooled', [False, True])
def test_a_speaker_is_moved_by_the_offset_of_the_enrolled_utterances(utterances, enrol, is_pooled):
    """By hand; in every part that is evaluated, and in every fold by its own prior."""
    if is_pooled:
        utterances = dataclasses.replace(utterances, frames_N=np.ones_like(utterances.frames_N))
    table = make_table(utterances, make_enrolled_folds(utterances, enrol))
    plain = make_table(utterances, table.folds, 'global')
    speaker_N = utterances.text['speaker']
    moved = 0
    for part in ('dev', 'test', 'used_rows'):
        (item,) = plan.evaluation_items(table.folds, ONE_DEVICE, utterances, part, 0, 999)
        batch = table.make_batch(item)
        plain_batch = plain.make_batch(item)
        for f, fold in enumerate(table.folds):
            for speaker in np.unique(speaker_N):
                own = fold.enrolled[speaker_N[fold.enrolled] == speaker]
                mean_M, scale_M = expected_moments(utterances, table, f, own)
                is_own = (item.row[0, f] >= 0) & (speaker_N[item.row[0, f]] == speaker)
                for key, expected in (('mean_BxM', mean_M), ('scale_BxM', scale_M)):
                    values = batch[key][0, f, is_own]
                    expected = np.broadcast_to(expected, values.shape)
                    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
                    moved += (values != plain_batch[key][0, f, is_own]).sum()
    assert moved


def test_without_enrolled_utterances_evaluation_is_that_of_global(utterances):
    """To the bit. So the reference, global with enrol=0, is scored like enrol=0."""
    folds = make_enrolled_folds(utterances, 0)
    table = make_table(utterances, folds)
    plain = make_table(utterances, folds, 'global')
    for part in ('dev', 'test', 'fit_rows', 'used_rows'):
        for item in plan.evaluation_items(folds, TWO_DEVICES, utterances, part, 0, 16):
            chex.assert_trees_all_equal(table.make_batch(item), plain.make_batch(item))


def test_a_training_utterance_is_moved_by_other_utterances_of_its_speaker(utterances):
    """By hand: by the set of one of the draws, and mostly of another one in each epoch."""
    table = make_table(utterances, make_enrolled_folds(utterances))
    f = 1
    sets_of_row = {}
    for training_set in draw_training_sets(utterances, table.folds[f], 0):
        moments = expected_moments(utterances, table, f, training_set.enrolled)
        for row in training_set.rows.tolist():
            sets_of_row.setdefault(row, []).append(np.float32(moments))
    means_of_row = {}
    for item, batch in training_batches(table):
        for row, mean_M, scale_M in zip(
            item.row[0, :, f].ravel().tolist(),
            batch['mean_BxM'][0, :, f].reshape(-1, 3),
            batch['scale_BxM'][0, :, f].reshape(-1, 3),
        ):
            distance = np.abs(np.array(sets_of_row[row]) - [mean_M, scale_M]).max((1, 2))
            assert len(distance) == TRAINING_DRAWS
            assert distance.min() < 1e-5
            means_of_row.setdefault(row, set()).add(tuple(mean_M.tolist()))
    counts = [len(means) for means in means_of_row.values()]
    assert np.mean(counts) > 1.5


def test_training_does_not_depend_on_what_is_enrolled(utterances):
    """Neither on the number nor on the emotions that are enrolled; the priors are the same."""
    folds = make_enrolled_folds(utterances, 0)
    table = make_table(utterances, folds)
    for other_folds in (
        make_enrolled_folds(utterances, 4),
        make_enrolled_folds(utterances, 'all', 'one'),
    ):
        other = make_table(utterances, other_folds)
        assert_equal_training(table, other)
        assert (other.moments_index_FxN != table.moments_index_FxN).any()


def assert_equal_training(table: ExampleTable, other: ExampleTable) -> None:
    """Asserts that two tables have the same priors and training batches, to the bit."""
    chex.assert_trees_all_equal(table.priors, other.priors)
    pairs = zip(training_batches(table), training_batches(other), strict=True)
    for (item, batch), (other_item, other_batch) in pairs:
        np.testing.assert_array_equal(item.row, other_item.row)
        chex.assert_trees_all_equal(batch, other_batch)


def test_folds_that_differ_in_what_is_enrolled_share_their_training(utterances):
    """The subset folds of a sweep over enrol: equal priors, and the same groups of utterances."""
    fold = make_enrolled_folds(utterances, 0)[0]
    folds = [choose_enrolled(utterances, fold, enrol) for enrol in (0, 2, 'all')]
    table = make_table(utterances, folds)
    assert table.priors[0] is table.priors[1] is table.priors[2]
    for _, batch in training_batches(table):
        for key in ('mean_BxM', 'scale_BxM'):
            values = batch[key][0]
            np.testing.assert_array_equal(values[:, 0], values[:, 1])
            np.testing.assert_array_equal(values[:, 0], values[:, 2])
    training = table.enrolled.training(0)
    np.testing.assert_array_equal(training.index_FxN[0], training.index_FxN[2])


@pytest.mark.parametrize('part', ['dev', 'test', 'withheld'])
def test_what_is_not_in_training_changes_neither_prior_nor_training(utterances, part):
    """Its features and emotions are replaced, those of enrolled utterances included."""
    folds = make_enrolled_folds(utterances)[:1]
    table = make_table(utterances, folds)
    rows = getattr(folds[0], part)
    if part != 'withheld':
        speaker_N = utterances.text['speaker']
        rows = np.flatnonzero(np.isin(speaker_N, speaker_N[rows]))
    poisoned = make_corpus()
    poisoned.mean_NxM[rows] = 50
    poisoned.variance_NxM[rows] = 90
    poisoned.text['emotion'][rows] = np.roll(poisoned.text['emotion'][rows], 5)
    other = make_table(poisoned, folds)
    chex.assert_trees_all_equal(table.priors, other.priors)
    fold_DxF = np.array([[0]])
    pairs = zip(training_batches(table, fold_DxF), training_batches(other, fold_DxF), strict=True)
    for (_, batch), (_, other_batch) in pairs:
        chex.assert_trees_all_equal(batch, other_batch)


def test_the_emotions_of_enrolled_utterances_are_not_read(utterances):
    """They change no moment in evaluation; their features change those of their speaker alone."""
    folds = make_enrolled_folds(utterances, 4)[:1]
    table = make_table(utterances, folds)
    rows = np.setdiff1d(folds[0].enrolled, folds[0].train)
    assert len(rows) == 4 * 4
    poisoned = make_corpus()
    poisoned.text['emotion'][rows] = np.roll(poisoned.text['emotion'][rows], 3)
    assert (poisoned.text['emotion'] != utterances.text['emotion']).any()
    other = make_table(poisoned, folds)
    for name in ('mean', 'scale', 'moments_index_FxN'):
        np.testing.assert_array_equal(getattr(table, name), getattr(other, name))
    poisoned.mean_NxM[rows[0]] += 5
    other = make_table(poisoned, folds)
    index_N = table.moments_index_FxN[0]
    is_changed = (table.mean[index_N] != other.mean[index_N]).any(1)
    speaker_N = utterances.text['speaker']
    np.testing.assert_array_equal(is_changed, speaker_N == speaker_N[rows[0]])


def test_utterances_that_are_set_aside_and_not_enrolled_are_not_read(utterances):
    """Their features change no moment in evaluation."""
    folds = make_enrolled_folds(utterances, 4)[:1]
    table = make_table(utterances, folds)
    others = np.setdiff1d(folds[0].reserved, [*folds[0].enrolled, *folds[0].train])
    assert len(others)
    poisoned = make_corpus()
    poisoned.mean_NxM[others] += 5
    other = make_table(poisoned, folds)
    index_N = table.moments_index_FxN[0]
    np.testing.assert_array_equal(table.mean[index_N], other.mean[index_N])


@pytest.mark.parametrize('chunk', [2, STEPS])
def test_the_moments_do_not_depend_on_devices_and_chunks(utterances, chunk):
    """An example of a fold and an epoch has the same mean and scale in every layout."""
    table = make_table(utterances, make_enrolled_folds(utterances, 4))
    fresh = make_table(utterances, table.folds)
    expected = moments_of_examples(training_batches(table, identity=True))
    found = moments_of_examples(training_batches(fresh, TWO_DEVICES, chunk, identity=True))
    assert found == expected
    expected = moments_of_examples(evaluation_batches(table, ONE_DEVICE, 64))
    assert moments_of_examples(evaluation_batches(fresh, TWO_DEVICES, 5)) == expected


def evaluation_batches(table: ExampleTable, fold_DxF: np.ndarray, size: int):
    """Yields each item of the test part with its batch."""
    for item in plan.evaluation_items(table.folds, fold_DxF, table.utterances, 'test', 0, size):
        yield item, table.make_batch(item)


def moments_of_examples(batches) -> dict[tuple, tuple]:
    """Returns the mean and scale of every example, in bytes, by (epoch, fold, row)."""
    moments = {}
    for item, batch in batches:
        fold = np.broadcast_to(item.subset_fold[..., None], item.row.shape)
        for index in np.ndindex(item.row.shape):
            key = (item.epoch, int(fold[index]), int(item.row[index]))
            if key[-1] >= 0:
                value = (batch['mean_BxM'][index].tobytes(), batch['scale_BxM'][index].tobytes())
                assert moments.setdefault(key, value) == value
    return moments


def test_training_and_evaluation_alternate(utterances):
    """A table that has evaluated, or has been in a later epoch, trains as before."""
    table = make_table(utterances, make_enrolled_folds(utterances, 4))
    expected = list(training_batches(table))
    evaluation = next(plan.evaluation_items(table.folds, ONE_DEVICE, utterances, 'dev', 1, 8))
    dev_batch = table.make_batch(evaluation)
    for item, batch in reversed(expected):
        chex.assert_trees_all_equal(table.make_batch(item), batch)
        chex.assert_trees_all_equal(table.make_batch(evaluation), dev_batch)


def test_a_table_with_other_enrolled_utterances_is_one_of_these_folds(utterances):
    """For the curve: in evaluation it equals a new table; the first one is unchanged."""
    folds = make_enrolled_folds(utterances)
    table = make_table(utterances, folds)
    before = table.enrolled.evaluation
    drawn = [redraw_enrolment(utterances, fold, 'one', 2, (7,)) for fold in folds]
    redrawn = table.with_enrolment(drawn)
    fresh = make_table(utterances, drawn)
    for part in ('dev', 'test', 'used_rows'):
        for item in plan.evaluation_items(drawn, ONE_DEVICE, utterances, part, 0, 16):
            chex.assert_trees_all_equal(redrawn.make_batch(item), fresh.make_batch(item))
    assert redrawn.priors is table.priors
    assert table.folds is table.enrolled.folds is folds
    assert table.enrolled.evaluation is before
    assert table.moments_index_FxN is before.index_FxN


def test_unknown_speakers_have_the_moments_of_global(utterances):
    """In training and in evaluation; they are not in the prior."""
    unknown = np.flatnonzero(np.arange(len(utterances)) % 3 == 0)
    folds = make_folds(utterances, Protocol(folds=3))
    utterances.text['speaker'][unknown] = ''
    folds = [reserve_enrolment(utterances, fold, Protocol(enrol='all'), 0) for fold in folds]
    table = make_table(utterances, folds)
    for f in range(3):
        mean_M, scale_M = table.global_moments(f)
        for moments in (table.enrolled.evaluation, table.enrolled.training(0)):
            group_N = moments.index_FxN[f, unknown]
            np.testing.assert_array_equal(moments.mean_GxM[group_N], [mean_M] * len(unknown))
            np.testing.assert_array_equal(moments.scale_GxM[group_N], [scale_M] * len(unknown))
    changed = make_corpus()
    changed.text['speaker'][unknown] = ''
    changed.mean_NxM[unknown] += 100
    chex.assert_trees_all_equal(make_table(changed, folds).priors, table.priors)


def test_training_without_known_speakers_is_refused(utterances):
    """The message says what to do."""
    folds = make_folds(utterances, Protocol(folds=3))
    utterances.text['speaker'][folds[2].train] = ''
    with pytest.raises(UserError, match=r"fold 'part 3 of 3' are unknown.*normalise=global"):
        make_table(utterances, folds)


def test_the_global_moments_are_those_of_the_training_part(utterances):
    """To the bit those with normalise=global, in each fold."""
    folds = make_enrolled_folds(utterances, 4)
    table = make_table(utterances, folds)
    plain = make_table(utterances, folds, 'global')
    for f in range(3):
        index = plain.moments_index_FxN[f, 0]
        mean_M, scale_M = table.global_moments(f)
        np.testing.assert_array_equal(mean_M, plain.mean[index])
        np.testing.assert_array_equal(scale_M, plain.scale[index])

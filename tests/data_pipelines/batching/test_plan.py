"""Tests of which utterances are in which batch."""

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from data_pipelines.batching import plan
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.split import keep_labelled
from data_pipelines.storage import schema

CONFIG = ConfigDict({'batch': 5, 'order_seed': 0, 'frames': 40})
THREE_FOLDS = Protocol(folds=3)
# The folds of each device: one device with all three, and two devices.
ONE_DEVICE = np.array([[0, 1, 2]])
TWO_DEVICES = np.array([[0, 1], [2, 2]])


@pytest.fixture(scope='module')
def utterances():
    return make_utterances(speakers=6, per_class=4)


@pytest.fixture(scope='module')
def folds(utterances):
    return make_folds(utterances, THREE_FOLDS)


def test_an_epoch_sees_every_training_utterance_and_no_other(folds):
    """Every training utterance is seen before any is seen again."""
    for fold in folds:
        steps = plan.steps_per_epoch(folds, 5)
        rows, crop = plan.epoch_order(fold, 0, steps, 5, 0)
        assert set(rows.ravel()) == set(fold.train)
        assert len(set(rows.ravel()[: len(fold.train)])) == len(fold.train)
        assert ((crop >= 0) & (crop < 1)).all()


def test_the_order_is_a_function_of_seed_fold_and_epoch(folds):
    """The same three give the same order; another value of one of them gives another order."""

    def order(fold, epoch, seed):
        rows, _ = plan.epoch_order(fold, epoch, 4, 5, seed)
        return rows.tolist()

    assert order(folds[0], 1, 2) == order(folds[0], 1, 2)
    assert order(folds[0], 1, 2) != order(folds[0], 2, 2)
    assert order(folds[0], 1, 2) != order(folds[0], 1, 3)
    assert order(folds[0], 1, 2) != order(folds[1], 1, 2)


@pytest.mark.parametrize('fold_DxF', [ONE_DEVICE, TWO_DEVICES])
def test_a_device_trains_on_the_batches_of_its_folds(utterances, folds, fold_DxF):
    """The axes are device, step, fold, example; the order is that of `epoch_order`."""
    (item,) = plan.training_items(folds, fold_DxF, utterances, 3, 7, 7, CONFIG)
    assert item.row.shape == (len(fold_DxF), 7, fold_DxF.shape[1], 5)
    for d, f in np.ndindex(fold_DxF.shape):
        row_SxB, crop_SxB = plan.epoch_order(folds[fold_DxF[d, f]], 3, 7, 5, 0)
        start_SxB = plan.crop_starts(utterances.frames_N[row_SxB], crop_SxB, 40)
        np.testing.assert_array_equal(item.row[d, :, f], row_SxB)
        np.testing.assert_array_equal(item.start_frame[d, :, f], start_SxB)
        assert (item.subset_fold[d, :, f] == fold_DxF[d, f]).all()
    assert (item.part, item.epoch, item.steps, item.frames) == ('train', 3, 7, 40)
    assert item.is_last


@pytest.mark.parametrize('fold_DxF', [ONE_DEVICE, TWO_DEVICES])
def test_chunks_of_any_length_have_the_same_steps(utterances, folds, fold_DxF):
    """Rows and cuts do not depend on the chunk length; padded steps are not counted as steps."""
    whole, *_ = plan.training_items(folds, fold_DxF, utterances, 0, 7, 7, CONFIG)
    chunks = list(plan.training_items(folds, fold_DxF, utterances, 0, 7, 3, CONFIG))
    assert [chunk.row.shape[1] for chunk in chunks] == [3, 3, 3]
    assert [chunk.steps for chunk in chunks] == [3, 3, 1]
    assert [chunk.is_last for chunk in chunks] == [False, False, True]
    for name in ('row', 'start_frame', 'subset_fold'):
        pieces = [getattr(chunk, name)[:, : chunk.steps] for chunk in chunks]
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1), getattr(whole, name))


def test_a_cut_lies_within_the_utterance(utterances, folds):
    """A shorter utterance begins at its first frame."""
    item, *_ = plan.training_items(folds, ONE_DEVICE, utterances, 0, 7, 7, CONFIG)
    frames = utterances.frames_N[item.row]
    assert (item.start_frame[frames <= 40] == 0).all()
    assert (item.start_frame + 40 <= np.maximum(frames, 40)).all()
    assert item.start_frame.max() > 0


@pytest.mark.parametrize('fold_DxF', [ONE_DEVICE, TWO_DEVICES])
@pytest.mark.parametrize('size', [3, 64])
def test_evaluation_reads_every_utterance_of_the_part_whole_and_once(
    utterances, folds, fold_DxF, size
):
    """This holds for any batch size; `global_row` has the folds of other processes too."""
    items = list(plan.evaluation_items(folds, fold_DxF, utterances, 'test', 0, size))
    assert [item.is_last for item in items] == [False] * (len(items) - 1) + [True]
    for f, fold in enumerate(folds):
        rows = np.concatenate([item.global_row[f] for item in items])
        np.testing.assert_array_equal(np.sort(rows[rows >= 0]), fold.test)
    for item in items:
        assert item.row.shape == (*fold_DxF.shape, size)
        np.testing.assert_array_equal(item.row, item.global_row[fold_DxF])
        np.testing.assert_array_equal(item.subset_fold, fold_DxF)
        assert (utterances.frames_N[item.row[item.row >= 0]] <= item.frames).all()
        assert item.start_frame.shape == item.row.shape
        assert not item.start_frame.any()


@pytest.mark.parametrize(
    ('frames', 'padded'),
    [(1, 1), (2, 100), (100, 100), (101, 150), (151, 200), (201, 300), (3000, 3200)],
)
def test_whole_utterances_are_padded_to_few_lengths(frames, padded):
    """They are 100 frames times a power of two, and halfway between; one frame is not padded."""
    assert plan.padded_length(frames) == padded


def two_corpora():
    """Corpus x of six speakers and two emotions, and corpus y of four for identity batches."""
    own = make_utterances(speakers=6)
    other = make_utterances(speakers=4, classes=('bored', 'sad'))
    other.text['corpus'] = np.full(len(other), 'y')
    labelled, _ = keep_labelled(schema.concatenate_datasets([own, other]), 'native', ('y',))
    return labelled


@pytest.mark.parametrize(
    'protocol',
    [
        THREE_FOLDS,
        Protocol(folds=3, identity=('y',)),
        Protocol(folds=3, adapt='transductive'),
    ],
)
def test_identity_examples_follow_the_others_and_do_not_change_them(protocol):
    """They are equally many, in an order of their own, from the rows whose domain is removed."""
    utterances = two_corpora() if protocol.identity else make_utterances(speakers=6)
    folds = make_folds(utterances, protocol)
    (plain,) = plan.training_items(folds, ONE_DEVICE, utterances, 3, 9, 9, CONFIG)
    (item,) = plan.training_items(folds, ONE_DEVICE, utterances, 3, 9, 9, CONFIG, True)
    assert (plain.identity_count, item.identity_count, item.row.shape) == (0, 5, (1, 9, 3, 10))
    np.testing.assert_array_equal(item.row[..., :5], plain.row)
    np.testing.assert_array_equal(item.start_frame[..., :5], plain.start_frame)
    frames = utterances.frames_N[item.row[..., 5:]]
    assert (item.start_frame[..., 5:] + 40 <= np.maximum(frames, 40)).all()
    for f, fold in enumerate(folds):
        rows = item.row[0, :, f, 5:].ravel()
        count = len(fold.domain_rows)
        assert set(rows) <= set(fold.domain_rows)
        assert len(set(rows[:count])) == min(count, len(rows))
        assert rows.tolist() != item.row[0, :, f, :5].ravel().tolist()
    (again,) = plan.training_items(folds, ONE_DEVICE, utterances, 4, 9, 9, CONFIG, True)
    assert again.row[..., 5:].tolist() != item.row[..., 5:].tolist()

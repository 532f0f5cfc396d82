"""Tests of the votes and weights in batches of soft labels."""

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from data_pipelines.batching import plan
from data_pipelines.batching.table import ExampleTable
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol

CONFIG = ConfigDict({'batch': 5, 'order_seed': 0, 'frames': 40})
ONE_DEVICE = np.array([[0, 1, 2]])


@pytest.fixture(scope='module')
def utterances():
    return make_utterances(speakers=6, per_class=4)


@pytest.fixture(scope='module')
def folds(utterances):
    return make_folds(utterances, Protocol(folds=3))


def own_votes(utterances) -> np.ndarray:
    """Returns one vote for the class of every utterance."""
    is_sad_N = utterances.text['emotion'] == 'sad'
    return np.stack([~is_sad_N, is_sad_N], axis=1).astype(np.float32)


def first_batch(table, folds, utterances, part: str = 'train') -> dict:
    if part == 'train':
        item = next(plan.training_items(folds, ONE_DEVICE, utterances, 0, 7, 7, CONFIG))
    else:
        item = next(plan.evaluation_items(folds, ONE_DEVICE, utterances, part, 0, 64))
    return table.make_batch(item) | {'row': item.row}


@pytest.mark.parametrize('balanced', [False, True])
def test_one_vote_for_the_class_has_the_weights_of_training_without_votes(
    utterances, folds, balanced
):
    """To the bit. So have utterances without votes, which count as one vote for their class."""
    hard = ExampleTable(utterances, folds, 'global', balanced)
    expected = first_batch(hard, folds, utterances)
    assert 'votes_BxC' not in expected
    assert hard.most_votes == 0
    for votes_NxC in (own_votes(utterances), np.zeros((len(utterances), 2))):
        soft = ExampleTable(utterances, folds, 'global', balanced, votes_NxC=votes_NxC)
        batch = first_batch(soft, folds, utterances)
        np.testing.assert_array_equal(batch['labelled_B'], expected['labelled_B'])
        assert batch['labelled_B'].dtype == expected['labelled_B'].dtype
        np.testing.assert_array_equal(soft.weight_FxC, hard.weight_FxC)
        assert batch['votes_BxC'].dtype == np.float32
        np.testing.assert_array_equal(batch['votes_BxC'].argmax(-1), expected['emotion_B'])
        assert (batch['votes_BxC'].sum(-1) == 1).all()
        assert soft.most_votes == 1


def test_the_weight_of_an_example_is_the_mean_of_those_of_its_classes_by_shares(utterances, folds):
    votes_NxC = own_votes(utterances)
    votes_NxC[::3] = [3, 1]
    table = ExampleTable(utterances, folds, 'global', balanced=True, votes_NxC=votes_NxC)
    share_NxC = votes_NxC / votes_NxC.sum(1, keepdims=True)
    for f, fold in enumerate(folds):
        count_C = share_NxC[fold.train].sum(0)
        np.testing.assert_allclose(table.weight_FxC[f], count_C.sum() / (2 * count_C), rtol=1e-6)
    batch = first_batch(table, folds, utterances)
    assert table.most_votes == 3
    for d, step, f, b in np.ndindex(batch['row'].shape):
        row = batch['row'][d, step, f, b]
        np.testing.assert_array_equal(batch['votes_BxC'][d, step, f, b], votes_NxC[row])
        expected = share_NxC[row] @ table.weight_FxC[f]
        assert batch['labelled_B'][d, step, f, b] == pytest.approx(expected, rel=1e-6)


def test_an_utterance_without_a_class_trains_by_its_votes(utterances, folds):
    undecided = utterances[np.arange(len(utterances))]
    emotion_N = utterances.text['emotion'].copy()
    emotion_N[folds[0].train[:8]] = ''
    undecided.text['emotion'] = emotion_N
    votes_NxC = np.tile([1, 3], (len(utterances), 1))
    table = ExampleTable(undecided, folds, 'global', balanced=True, votes_NxC=votes_NxC)
    assert table.classes.tolist() == ['angry', 'sad']
    batch = first_batch(table, folds, undecided)
    is_undecided = np.isin(batch['row'], folds[0].train[:8])
    assert is_undecided.any()
    assert (batch['emotion_B'][is_undecided] == -1).all()
    assert (batch['labelled_B'] > 0).all()
    assert (batch['votes_BxC'] == [1, 3]).all()


def test_padding_and_unlabelled_examples_have_no_votes():
    utterances = make_utterances(speakers=6)
    protocol = Protocol(folds=3, adapt='transductive')
    folds = make_folds(utterances, protocol)
    table = ExampleTable(
        utterances, folds, 'global', balanced=True, votes_NxC=own_votes(utterances)
    )
    batch = first_batch(table, folds, utterances)
    is_target = batch['target_B'] > 0
    assert is_target.any()
    assert (batch['votes_BxC'][is_target] == 0).all()
    assert (batch['labelled_B'][is_target] == 0).all()
    batch = first_batch(table, folds, utterances, 'test')
    padding = batch['row'] < 0
    assert padding.any()
    assert (batch['votes_BxC'][padding] == 0).all()

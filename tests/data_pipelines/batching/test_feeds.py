"""Tests of batches with features on the device; tests/data_pipelines/test_pack.py streams them."""

import numpy as np
from helpers.synthetic_utterances import make_utterances
from ml_collections import ConfigDict

from data_pipelines.batching import feeds, plan
from data_pipelines.batching.table import ExampleTable
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol

CONFIG = ConfigDict({'batch': 5, 'order_seed': 0, 'frames': 40})
CONFIG_OF_SIX = ConfigDict({'batch': 6, 'order_seed': 0, 'frames': 40})
TWO_DEVICES = np.array([[0, 1], [2, 2]])  # folds of each device


def test_a_resident_example_begins_at_the_frames_of_its_utterance():
    """It begins after the frames of all earlier utterances and those that are cut off."""
    utterances = make_utterances(speakers=6, per_class=4)
    folds = make_folds(utterances, Protocol(folds=3))
    table = ExampleTable(utterances, folds, 'global', balanced=True)
    items = [
        *plan.training_items(folds, TWO_DEVICES, utterances, 0, 7, 3, CONFIG),
        *plan.evaluation_items(folds, TWO_DEVICES, utterances, 'test', 0, 64),
    ]
    frames_N = utterances.frames_N
    frames_before = [int(frames_N[:n].sum()) for n in range(len(utterances))]
    for (item, batch), expected in zip(feeds.resident_feed(table, items), items, strict=True):
        assert item is expected
        assert batch['first_B'].dtype == np.int32
        for index in np.ndindex(item.row.shape):
            row = item.row[index]
            first = batch['first_B'][index]
            frames = batch['frames_B'][index]
            assert first == (frames_before[row] + item.start_frame[index] if row >= 0 else 0)
            assert first + frames <= frames_before[row] + frames_N[row] or row < 0
        for name, array in table.make_batch(item).items():
            np.testing.assert_array_equal(batch[name], array)


def test_shares_of_a_batch_are_the_whole_batch_together():
    """Halves follow one another; arrays without an axis of examples are in both."""
    utterances = make_utterances(speakers=6, per_class=4)
    folds = make_folds(utterances, Protocol(folds=3))
    table = ExampleTable(utterances, folds, 'global', balanced=True)
    items = [
        *plan.training_items(folds, TWO_DEVICES, utterances, 0, 7, 3, CONFIG_OF_SIX),
        *plan.evaluation_items(folds, TWO_DEVICES, utterances, 'test', 0, 64),
    ]
    halves = [feeds.BatchShare(start, start + 1, 2) for start in (0, 1)]
    half_feeds = [feeds.resident_feed(table, items, half) for half in halves]
    whole_feed = feeds.resident_feed(table, items)
    for (item, whole), (_, first), (_, second) in zip(whole_feed, *half_feeds, strict=True):
        for name, array in whole.items():
            if name.endswith('_seen_K'):
                np.testing.assert_array_equal(first[name], array)
                np.testing.assert_array_equal(second[name], array)
            else:
                both = np.concatenate([first[name], second[name]], item.row.ndim - 1)
                np.testing.assert_array_equal(both, array)

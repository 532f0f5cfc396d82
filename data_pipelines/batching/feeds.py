"""Feeds planned batches to the devices: with resident features, or streamed from the shards."""

import collections
import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.batching.plan import Item
from data_pipelines.batching.table import ExampleTable
from data_pipelines.storage import shards


class BatchShare(NamedTuple):
    """The share of each batch that a process reads, as a range of equal parts."""

    start: int = 0  # the first part
    stop: int = 1  # after the last one
    count: int = 1  # of the parts of a batch

    def take(self, array: np.ndarray, axis: int) -> np.ndarray:
        """Returns the share of an array along the axis of the examples."""
        if self.stop - self.start == self.count:
            return array
        size = array.shape[axis] // self.count
        return np.take(array, range(self.start * size, self.stop * size), axis)

    def take_batch(self, batch: dict[str, np.ndarray], axis: int) -> dict[str, np.ndarray]:
        """Returns the share of the arrays that have an axis of examples, and the others whole."""
        shares = {}
        for name, array in batch.items():
            shares[name] = self.take(array, axis) if has_examples(name) else array
        return shares


def has_examples(name: str) -> bool:
    """Returns whether an array of a batch has an axis of examples, as its name says."""
    return name.rpartition('_')[2].startswith('B')


WHOLE_BATCH = BatchShare()


def resident_feed(
    table: ExampleTable, items: Iterable[Item], share: BatchShare = WHOLE_BATCH
) -> Iterator[tuple[Item, dict[str, np.ndarray]]]:
    """Yields each item with the share of its batch, for features that are on the device.

    There the frames of all utterances follow one another; `first_B` is the first of an example.
    """
    frames_N = table.utterances.frames_N
    first_N = np.cumsum(frames_N) - frames_N
    for item in items:
        batch = table.make_batch(item)
        first = np.where(item.row >= 0, first_N[item.row] + item.start_frame, 0)
        batch['first_B'] = first.astype(np.int32)
        yield item, share.take_batch(batch, item.row.ndim - 1)


def streaming_feed(
    table: ExampleTable, items: Iterable[Item], share: BatchShare = WHOLE_BATCH
) -> Iterator[tuple[Item, dict[str, np.ndarray]]]:
    """Yields each item with the share of its batch and its features.

    Features are read ahead from the shards; those of other shares are not read.
    """
    requested: collections.deque[Item] = collections.deque()

    def requests():
        for item in items:
            requested.append(item)
            axis = item.row.ndim - 1
            yield share.take(item.row, axis), share.take(item.start_frame, axis), item.frames

    with contextlib.closing(shards.stream_features(table.utterances, requests())) as features:
        for mel in features:
            item = requested.popleft()
            batch = share.take_batch(table.make_batch(item), item.row.ndim - 1)
            batch['mel_BxTxM'] = mel
            yield item, batch

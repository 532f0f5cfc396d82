"""Feeds planned batches to the devices: with resident features, or streamed from the shards."""

import collections
import contextlib
from collections.abc import Iterable, Iterator

import numpy as np

from data_pipelines.batching.plan import Item
from data_pipelines.batching.table import ExampleTable
from data_pipelines.storage import shards


def resident_feed(
    table: ExampleTable, items: Iterable[Item]
) -> Iterator[tuple[Item, dict[str, np.ndarray]]]:
    """Yields each item with its batch, for features that are on the device.

    There the frames of all utterances follow one another; `first_B` is the first of an example.
    """
    frames_N = table.utterances.frames_N
    first_N = np.cumsum(frames_N) - frames_N
    for item in items:
        batch = table.make_batch(item)
        first = np.where(item.row >= 0, first_N[item.row] + item.start_frame, 0)
        batch['first_B'] = first.astype(np.int32)
        yield item, batch


def streaming_feed(
    table: ExampleTable, items: Iterable[Item]
) -> Iterator[tuple[Item, dict[str, np.ndarray]]]:
    """Yields each item with its batch and its features, which are read ahead from the shards."""
    requested: collections.deque[Item] = collections.deque()

    def requests():
        for item in items:
            requested.append(item)
            yield item.row, item.start_frame, item.frames

    with contextlib.closing(shards.stream_features(table.utterances, requests())) as features:
        for mel in features:
            item = requested.popleft()
            batch = table.make_batch(item)
            batch['mel_BxTxM'] = mel
            yield item, batch

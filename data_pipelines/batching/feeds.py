"""TODO: data_pipelines.batching.feeds."""

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
    """Each item with its batch, for features that are on the device: `first_B` says where there those of an example begin."""
    frames_N = table.utterances.frames_N
    first_N = np.cumsum(frames_N) - frames_N
    for item in items:
        first = np.where(item.row >= 0, first_N[item.row] + item.start, 0)
        yield item, table.make_batch(item) | {'first_B': first.astype(np.int32)}


def streaming_feed(
    table: ExampleTable, items: Iterable[Item]
) -> Iterator[tuple[Item, dict[str, np.ndarray]]]:
    """Each item with its batch and its features, read ahead from the shards."""
    announced: collections.deque[Item] = collections.deque()

    def requests():
        for item in items:
            announced.append(item)
            yield item.row, item.start, item.frames

    with contextlib.closing(shards.stream_features(table.utterances, requests())) as features:
        for mel in features:
            item = announced.popleft()
            yield item, table.make_batch(item) | {'mel_BxTxM': mel}

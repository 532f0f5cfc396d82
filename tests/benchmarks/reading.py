"""Writes the stand-in of MSP-Podcast as shards, and measures how fast batches are read from them.

  python tests/benchmarks/reading.py shards PACKED_DIR DATA_DIR     from stand_in.py's .npz
  python tests/benchmarks/reading.py formats DATA_DIR               other readers beside ours

`formats` reads the same batches in the same random order, as often as --repeats says:

  stream_features   ours: tf.data, records of the TFRecord shards at their offsets
  threads           the same records by two Python threads, without TensorFlow
  array_record      the same examples in one ArrayRecord file, a batch at once
  grain             that file through grain's MapDataset with two threads (pip install grain)

The first turn of each warms the caches of files, and does not count.
"""

import argparse
import collections
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from stand_in import CORPUS

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from data_pipelines import corpora  # noqa: E402
from data_pipelines.features.log_mel import LogMel  # noqa: E402
from data_pipelines.storage import (  # noqa: E402
    builder,
    dataset,
    npz,
    prepared,
    schema,
    shards,
    tfrecord,
)

THREADS = 2
PREFETCH = 4  # batches


def read_examples(packed: Path) -> Iterator[dict]:
    """Yields the examples of a packed corpus, as `builder.write_shards` takes them."""
    utterances = npz.read_columns(packed)
    mel_RxM = dataset.read_all_features(utterances)
    for n in range(len(utterances)):
        example = {key: str(column[n]) for key, column in utterances.text.items()}
        for key, rating in zip(schema.RATING_COLUMNS, utterances.rating_NxA[n]):
            example[key] = rating
        for key, fact in zip(schema.AUDIO_FACTS, utterances.audio_facts_NxF[n]):
            example[key] = fact
        start, frames = utterances.offset_N[n], utterances.frames_N[n]
        yield example | {
            'mel_TxM': mel_RxM[start : start + frames],
            'frames': frames,
            'mean_M': utterances.mean_NxM[n],
            'variance_M': utterances.variance_NxM[n],
            'signature_S': utterances.signature_NxS[n],
        }


def write_sharded(options) -> dict:
    """Writes the packed stand-in as shards; returns their folder."""
    packed = npz.npz_path(options.folder, CORPUS, LogMel())
    corpus = corpora.load_corpus(CORPUS)
    folder = builder.write_shards(corpus, LogMel(), read_examples(packed), options.out)
    shards.write_columns(folder)
    record = npz.read_record(packed) | {'corpus': CORPUS, 'source': str(packed)}
    (folder / prepared.RECORD_FILE).write_text(json.dumps(record))
    return {'folder': str(folder)}


class Batches:
    """Rows of random batches of a data set, and how to make features of their records."""

    def __init__(self, folder: Path, options):
        self.utterances = shards.read_columns(folder)
        self.frames = options.frames
        random = np.random.default_rng(0)
        size = options.batches * options.batch
        rows = random.permutation(len(self.utterances))
        rows = np.resize(rows, size)
        self.row_SxB = rows.reshape(options.batches, options.batch)

    def decode(self, records: list[bytes]) -> np.ndarray:
        """Returns mel_BxTxM of the first frames of the examples."""
        bands = self.utterances.bands
        mel_BxTxM = np.zeros((len(records), self.frames, bands), np.float16)
        for b, record in enumerate(records):
            (content,) = tfrecord.parse_example(record)[shards.FEATURES_KEY].bytes_list.value
            mel_TxM = shards.decode_features(content, bands)[: self.frames]
            mel_BxTxM[b, : len(mel_TxM)] = mel_TxM
        return mel_BxTxM


def read_with_tf_data(batches: Batches) -> Iterator[np.ndarray]:
    """Yields the batches by `shards.stream_features`."""
    requests = [(row_B, np.zeros_like(row_B), batches.frames) for row_B in batches.row_SxB]
    yield from shards.stream_features(batches.utterances, requests)


def read_ahead(read: Callable[[int], np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Yields read(0), read(1), ..., which threads compute ahead."""
    pending: collections.deque = collections.deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for index in range(count):
            pending.append(pool.submit(read, index))
            if len(pending) > PREFETCH:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def read_with_threads(batches: Batches) -> Iterator[np.ndarray]:
    """Yields the batches, read from the TFRecord shards without TensorFlow."""
    utterances = batches.utterances
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(file, 'rb')) for file in utterances.files]

        def read(index: int) -> np.ndarray:
            records = []
            for row in batches.row_SxB[index]:
                file = files[utterances.file_N[row]].fileno()
                offset, length = int(utterances.offset_N[row]), int(utterances.length_N[row])
                records.append(tfrecord.read_record(file, offset, length))
            return batches.decode(records)

        yield from read_ahead(read, len(batches.row_SxB))


def write_array_record(utterances, file: Path) -> None:
    """Writes the records of all shards, in their order, into an ArrayRecord file."""
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(file), 'group_size:1,uncompressed')
    for shard in utterances.files:
        for _, data in tfrecord.read_records(shard):
            writer.write(data)
    writer.close()


def read_with_array_record(batches: Batches, file: Path) -> Iterator[np.ndarray]:
    """Yields the batches from the ArrayRecord file, by its reader's threads."""
    from array_record.python import array_record_module

    reader = array_record_module.ArrayRecordReader(str(file), 'readahead_buffer_size:0')

    def read(index: int) -> np.ndarray:
        return batches.decode(reader.read(batches.row_SxB[index].tolist()))

    yield from read_ahead(read, len(batches.row_SxB))
    reader.close()


def read_with_grain(batches: Batches, file: Path) -> Iterator[np.ndarray]:
    """Yields the batches from the ArrayRecord file through grain's MapDataset."""
    import grain.python as grain
    from array_record.python import array_record_module

    reader = array_record_module.ArrayRecordReader(str(file), 'readahead_buffer_size:0')

    def read(row_B: np.ndarray) -> np.ndarray:
        return batches.decode(reader.read(row_B.tolist()))

    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=PREFETCH)
    yield from grain.MapDataset.source(batches.row_SxB).map(read).to_iter_dataset(options)
    reader.close()


def measure_formats(options) -> dict:
    """Returns the examples per second of each reader; medians."""
    folder = prepared.find_dataset(options.folder, CORPUS, LogMel())
    batches = Batches(folder, options)
    schema.import_tensorflow()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / 'examples.array_record'
        write_array_record(batches.utterances, file)
        readers = {
            'stream_features': lambda: read_with_tf_data(batches),
            'threads': lambda: read_with_threads(batches),
            'array_record': lambda: read_with_array_record(batches, file),
        }
        if importlib.util.find_spec('grain'):
            readers['grain'] = lambda: read_with_grain(batches, file)
        digests = set()
        for _ in range(options.repeats + 1):
            for name, read in readers.items():
                began = time.perf_counter()
                digest = 0
                for mel_BxTxM in read():
                    digest = zlib.crc32(mel_BxTxM, digest)
                seconds.setdefault(name, []).append(time.perf_counter() - began)
                digests.add(digest)
        assert len(digests) == 1, 'a reader has other features'
        sizes = {
            'tfrecord_mib': sum(os.path.getsize(shard) for shard in batches.utterances.files),
            'array_record_mib': file.stat().st_size,
        }
    rates = {}
    for name, values in seconds.items():
        rates[name] = round(batches.row_SxB.size / statistics.median(values[1:]))
    versions = {}
    for name in ('array_record', 'grain', 'tensorflow-cpu'):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        'machine': f'{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs',
        'versions': {'python': platform.python_version()} | versions,
        'utterances': len(batches.utterances),
        'examples_per_second': rates,
        'beside_ours': {k: round(v / rates['stream_features'], 2) for k, v in rates.items()},
        'size': {name: round(size / 2**20) for name, size in sizes.items()},
    }


def main() -> None:
    """Parses the command line and prints one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='what', required=True)
    sharded = commands.add_parser('shards')
    sharded.add_argument('folder', type=Path)
    sharded.add_argument('out', type=Path)
    formats = commands.add_parser('formats')
    formats.add_argument('folder', type=Path)
    formats.add_argument('--batches', type=int, default=300)
    formats.add_argument('--batch', type=int, default=64)
    formats.add_argument('--frames', type=int, default=20)
    formats.add_argument('--repeats', type=int, default=3)
    options = parser.parse_args()
    measure = write_sharded if options.what == 'shards' else measure_formats
    print(json.dumps(measure(options)))


if __name__ == '__main__':
    main()

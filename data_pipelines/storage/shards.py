"""Reads TFRecord shards: the columns of all utterances at once, and features in any order."""

import collections
import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.storage.schema import (
    AUDIO_FACTS,
    LATER_TEXT_COLUMNS,
    RATING_COLUMNS,
    TEXT_COLUMNS,
    TFDS_SPLIT,
    Utterances,
    import_tensorflow,
    import_tfds,
)

FEATURES_KEY = 'mel_TxM'

# Columns computed from the audio that are read into memory; the features are not.
AUDIO_COLUMNS = ('frames', 'mean_M', 'variance_M', 'sha256', 'signature_S')

LOADED_COLUMNS = (*TEXT_COLUMNS, *RATING_COLUMNS, *AUDIO_COLUMNS)

DESCRIPTION_FILES = ('dataset_info.json', 'features.json')

# A TFRecord is the length of its data and a checksum, the data, and their checksum.
TFRECORD_HEADER_BYTES = 12
TFRECORD_FOOTER_BYTES = 4

FLOAT16_BYTES = 2

MAX_ERROR_CHARACTERS = 200

PARALLEL_CALLS = 2  # of tf.data's maps

COLUMN_BATCH_SIZE = 256  # records read at once


def _read_dataset_info(folder: Path):
    """Returns TFDS's description of the data set; UserError if it is missing or damaged."""
    tfds = import_tfds()

    for name in DESCRIPTION_FILES:
        try:
            json.loads((folder / name).read_text())
        except (OSError, ValueError) as error:
            raise _damaged_file_error(folder / name, error) from None
    files = f'{folder}/{" or ".join(DESCRIPTION_FILES)}'
    try:
        info = tfds.builder_from_directory(folder).info
        is_empty = not info.splits[TFDS_SPLIT].filepaths or not info.splits[TFDS_SPLIT].num_examples
        missing_columns = {FEATURES_KEY, *LOADED_COLUMNS} - set(info.features)
    except Exception as error:  # TFDS fails in many ways where the JSON describes something else
        raise _damaged_file_error(files, error) from None
    if is_empty or missing_columns:
        raise _damaged_file_error(files, ValueError('not written by data_pipelines.prepare'))
    return info


def _damaged_file_error(file: str | Path, error: Exception) -> UserError:
    message = str(error).rpartition('}} ')[2]  # TensorFlow begins with the names of its nodes
    lines = f'{type(error).__name__}: {message}'.splitlines()
    cause = lines[0][:MAX_ERROR_CHARACTERS]
    return UserError(
        f'{file} is damaged or missing ({cause}). '
        f'Remove {Path(file).parent} and prepare the corpus again.'
    )


def read_columns(folder: Path) -> Utterances:
    """Reads the columns of the data set in `folder`, and checks every record's checksum.

    UserError with the name of the first file that is damaged or missing.
    """
    info = _read_dataset_info(folder)
    expected_count = info.splits[TFDS_SPLIT].num_examples
    files = [str(path) for path in info.splits[TFDS_SPLIT].filepaths]
    shards = [_read_shard(file, index, info.features) for index, file in enumerate(files)]
    columns = _concatenate_columns(shards)
    count = len(columns['frames'])
    if count != expected_count:
        raise UserError(
            f'{folder} contains {count} utterances, but its dataset_info.json says '
            f'{expected_count}. Remove it and prepare the corpus again.'
        )
    text = {}
    for key in (*TEXT_COLUMNS, *LATER_TEXT_COLUMNS, 'sha256'):
        text[key] = np.char.decode(columns[key].astype(bytes), 'utf-8')
    return Utterances(
        text,
        rating_NxA=np.stack([columns[key] for key in RATING_COLUMNS], axis=1),
        frames_N=columns['frames'].astype(np.int32),
        mean_NxM=columns['mean_M'],
        variance_NxM=columns['variance_M'],
        signature_NxS=columns['signature_S'],
        file_N=columns['file'],
        offset_N=columns['offset'].astype(np.int64),
        length_N=columns['length'].astype(np.int64),
        files=files,
        audio_facts_NxF=np.stack([columns[key] for key in AUDIO_FACTS], axis=1).astype(float),
    )


def _read_shard(file: str, index: int, features) -> dict[str, np.ndarray]:
    """Returns the columns of one shard, with the position of each record: file, offset, length."""
    tf = import_tensorflow()

    def parse(record):
        example = features.deserialize_example(record)
        row = {key: example[key] for key in LOADED_COLUMNS}
        # Data sets of earlier versions lack some of these.
        for key in LATER_TEXT_COLUMNS:
            row[key] = example.get(key, '')
        for key in AUDIO_FACTS:
            row[key] = example.get(key, math.nan)
        row['length'] = tf.strings.length(record)
        return row

    try:
        records = tf.data.TFRecordDataset(file).map(parse, num_parallel_calls=PARALLEL_CALLS)
        batches = list(records.batch(COLUMN_BATCH_SIZE).as_numpy_iterator())
    except tf.errors.OpError as error:
        raise _damaged_file_error(file, error) from None
    if not batches:
        raise _damaged_file_error(file, EOFError('it contains no utterance'))
    columns = _concatenate_columns(batches)
    record_sizes = columns['length'] + TFRECORD_HEADER_BYTES + TFRECORD_FOOTER_BYTES
    record_ends = np.cumsum(record_sizes)
    record_starts = np.concatenate([[0], record_ends[:-1]])
    columns['offset'] = record_starts + TFRECORD_HEADER_BYTES
    columns['file'] = np.full(len(record_ends), index)
    return columns


def _concatenate_columns(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    columns = {}
    for key in parts[0]:
        columns[key] = np.concatenate([part[key] for part in parts])
    return columns


def read_feature_bytes(utterances: Utterances, rows: np.ndarray, file: str) -> Iterator[bytes]:
    """Yields the bytes of the features of some utterances of one shard.

    UserError if the shard has changed since its columns were read.
    """
    from google.protobuf.message import DecodeError

    tf = import_tensorflow()
    size_N = FLOAT16_BYTES * utterances.bands * utterances.frames_N
    try:
        with open(file, 'rb') as shard:
            for row in rows:
                offset, length = utterances.offset_N[row], utterances.length_N[row]
                record = _read_tfrecord(shard.fileno(), offset, length)
                example = tf.train.Example.FromString(record)
                (content,) = example.features.feature[FEATURES_KEY].bytes_list.value
                if len(content) != size_N[row]:
                    raise ValueError(f'{len(content)} bytes of features, expected {size_N[row]}')
                yield content
    except (OSError, ValueError, DecodeError) as error:
        raise _damaged_file_error(file, error) from None


def _read_tfrecord(shard: int, offset: int, length: int) -> bytes:
    """Returns the data of one record of an open shard; ValueError if it has another length.

    `shard` is a file descriptor; `offset` and `length` are those of the data.
    """
    record = os.pread(shard, length + TFRECORD_HEADER_BYTES, offset - TFRECORD_HEADER_BYTES)
    stored_length = int.from_bytes(record[:8], 'little')
    if len(record) < length + TFRECORD_HEADER_BYTES or stored_length != length:
        raise ValueError('it has changed since its columns were read')
    return record[TFRECORD_HEADER_BYTES:]


def decode_features(content: bytes, bands: int) -> np.ndarray:
    """Returns features_TxM in float16 from their bytes."""
    return np.frombuffer(content, np.float16).reshape(-1, bands)


def stream_features(
    utterances: Utterances, batches: Iterable[tuple[np.ndarray, np.ndarray, int]], prefetch: int = 2
) -> Iterator[np.ndarray]:
    """Yields mel_...xTxM in float16 for each batch, read by tf.data while the device computes.

    A batch is (row_..., start_..., T): which utterances, from which frame, and how many frames,
    padded with zeros; row -1 is all padding. UserError with the name of a shard that was damaged
    since its columns were read. A bit that flips within the features is noticed only when the
    columns are read again.
    """
    tf = import_tensorflow()
    frame_bytes = FLOAT16_BYTES * utterances.bands
    # row_... and T of the batches that tf.data has taken and not yet returned.
    pending: collections.deque[tuple[np.ndarray, int]] = collections.deque()

    def flat_batches():
        for row, start, T in batches:
            pending.append((row, T))
            size = np.where(row < 0, 0, frame_bytes * utterances.frames_N[row])
            yield row.ravel(), start.ravel(), size.ravel(), T

    int_B = tf.TensorSpec((None,), tf.int32)
    signature = (int_B, int_B, int_B, tf.TensorSpec((), tf.int32))
    with _open_files(utterances.files) as descriptors:
        data = tf.data.Dataset.from_generator(flat_batches, output_signature=signature)
        load = _make_batch_loader(utterances, descriptors)
        data = data.map(load, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
        try:
            for mel_BxL in data.prefetch(prefetch).as_numpy_iterator():
                row, T = pending.popleft()
                yield mel_BxL.view(np.float16).reshape(*row.shape, T, utterances.bands)
        except Exception:  # TensorFlow fails in many ways, and names no file
            for row, _ in tuple(pending):
                _check_records(utterances, row.ravel())
            raise


@contextlib.contextmanager
def _open_files(files: list[str]) -> Iterator[list[int]]:
    """Context of file descriptors for reading; UserError for a file that cannot be opened."""
    with contextlib.ExitStack() as stack:
        descriptors = []
        for file in files:
            try:
                descriptor = os.open(file, os.O_RDONLY)
            except OSError as error:
                raise _damaged_file_error(file, error) from None
            stack.callback(os.close, descriptor)
            descriptors.append(descriptor)
        yield descriptors


def _make_batch_loader(utterances: Utterances, descriptors: list[int]):
    """Returns tf.data's function from (row_B, start_B, size_B, T) to the features of a batch.

    They are mel_BxL, the bits of T frames of float16 as int16, because TensorFlow cannot pad
    float16. `size_B` is the number of bytes that an utterance's features must have.
    """
    tf = import_tensorflow()
    frame_bytes = FLOAT16_BYTES * utterances.bands
    parser = {FEATURES_KEY: tf.io.FixedLenFeature((), tf.string, '')}

    def read_record(row: int) -> bytes:
        if row < 0:
            return b''
        shard = descriptors[utterances.file_N[row]]
        try:
            return _read_tfrecord(shard, utterances.offset_N[row], utterances.length_N[row])
        except (OSError, ValueError):
            # An exception here would make TensorFlow print a stack trace. The check of sizes below
            # finds an empty record.
            return b''

    def read_records(row_B):
        return np.array([read_record(row) for row in row_B], object)

    def load(row_B, start_B, size_B, T):
        record_B = tf.numpy_function(read_records, [row_B], tf.string, stateful=False)
        mel_B = tf.io.parse_example(record_B, parser)[FEATURES_KEY]
        # A record that cannot be read, or has no features, would otherwise become zeros.
        with tf.control_dependencies([tf.debugging.assert_equal(tf.strings.length(mel_B), size_B)]):
            start_B = tf.minimum(start_B * frame_bytes, size_B)
        length_B = tf.fill(tf.shape(start_B), T * frame_bytes)
        mel_B = tf.strings.substr(mel_B, start_B, length_B)
        return tf.io.decode_raw(mel_B, tf.int16, fixed_length=T * frame_bytes)

    return load


def _check_records(utterances: Utterances, row_B: np.ndarray) -> None:
    """UserError with the name of the first shard in which one of these utterances is damaged."""
    rows = row_B[row_B >= 0]
    for index in np.unique(utterances.file_N[rows]):
        file_rows = rows[utterances.file_N[rows] == index]
        for _ in read_feature_bytes(utterances, file_rows, utterances.files[index]):
            pass

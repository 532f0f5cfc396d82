"""Reads TFRecord shards: the columns of all utterances at once, and features in any order.

TensorFlow is imported only where features are streamed.
"""

import collections
import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.storage import npz, tfrecord
from data_pipelines.storage.schema import (
    ARRAY_COLUMNS,
    AUDIO_FACTS,
    LATER_TEXT_COLUMNS,
    RATING_COLUMNS,
    TEXT_COLUMNS,
    TFDS_SPLIT,
    Utterances,
    import_tensorflow,
)

FEATURES_KEY = 'mel_TxM'

LOADED_TEXTS = (*TEXT_COLUMNS, *LATER_TEXT_COLUMNS, 'sha256')
LOADED_NUMBERS = (*RATING_COLUMNS, *AUDIO_FACTS)
LOADED_VECTORS = ('mean_M', 'variance_M')

# Columns that data sets of earlier versions lack.
LATER_COLUMNS = {*LATER_TEXT_COLUMNS, *AUDIO_FACTS}

ALL_COLUMNS = {*LOADED_TEXTS, *LOADED_NUMBERS, *LOADED_VECTORS, 'frames', 'signature_S'}

INFO_FILE = 'dataset_info.json'
FEATURES_FILE = 'features.json'

# The columns of all records, so that training need not read every shard to begin. `prepare` writes
# it; data sets of earlier versions lack it.
COLUMNS_FILE = 'columns.npz'
SIZES_KEY = 'file_sizes'  # in it: the bytes of each shard

FLOAT16_BYTES = 2

MAX_ERROR_CHARACTERS = 200

PARALLEL_CALLS = 2  # of tf.data's maps


class Description(NamedTuple):
    """What TFDS has written about a data set."""

    files: list[str]
    count: int  # of utterances
    columns: set[str]


def _read_description(folder: Path) -> Description:
    """Returns TFDS's description of the data set; UserError if it is missing or damaged."""
    contents = {}
    for name in (INFO_FILE, FEATURES_FILE):
        try:
            contents[name] = json.loads((folder / name).read_text())
        except (OSError, ValueError) as error:
            raise _damaged_file_error(folder / name, error) from None
    try:
        columns = set(contents[FEATURES_FILE]['featuresDict']['features'])
        description = _parse_info(folder, contents[INFO_FILE], columns)
        missing = {FEATURES_KEY, *ALL_COLUMNS} - LATER_COLUMNS - columns
        if missing or not description.count:
            raise ValueError('not written by data_pipelines.prepare')
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        files = f'{folder}/{INFO_FILE} or {FEATURES_FILE}'
        raise _damaged_file_error(files, error) from None
    return description


def _parse_info(folder: Path, info: dict, columns: set[str]) -> Description:
    """Returns the description in dataset_info.json, whose content is `info`."""
    split_by_name = {split['name']: split for split in info['splits']}
    split = split_by_name[TFDS_SPLIT]
    counts = [int(count) for count in split['shardLengths']]
    files = []
    for index in range(len(counts)):
        name = split['filepathTemplate'].format(
            DATASET=info['name'],
            SPLIT=TFDS_SPLIT,
            FILEFORMAT=info['fileFormat'],
            SHARD_X_OF_Y=f'{index:05}-of-{len(counts):05}',
        )
        files.append(str(folder / name))
    return Description(files, sum(counts), columns)


def _damaged_file_error(file: str | Path, error: Exception) -> UserError:
    lines = f'{type(error).__name__}: {error}'.splitlines()
    cause = lines[0][:MAX_ERROR_CHARACTERS]
    return UserError(
        f'{file} is damaged or missing ({cause}). '
        f'Remove {Path(file).parent} and prepare the corpus again.'
    )


def read_columns(folder: Path) -> Utterances:
    """Reads the columns of the data set in `folder`.

    They are in one file beside the shards. In data sets of earlier versions, they are read from the
    shards. UserError with the name of the first file that is damaged or missing.
    """
    file = folder / COLUMNS_FILE
    if not file.exists():
        return scan_columns(folder)
    description = _read_description(folder)
    try:
        with open(file, 'rb') as stream, np.load(stream, allow_pickle=False) as content:
            sizes = content[SIZES_KEY].tolist()
            text = {key: content[npz.TEXT_PREFIX + key] for key in LOADED_TEXTS}
            arrays = {key: content[key] for key in ARRAY_COLUMNS}
            utterances = Utterances(text, files=description.files, **arrays)
        if len(utterances) != description.count or len(sizes) != len(description.files):
            raise ValueError(f'it is not of the data set that {INFO_FILE} describes')
    except npz.READ_ERRORS as error:
        raise UserError(
            f'{file} is damaged ({type(error).__name__}: {error}). Remove this file: the columns '
            'are then read from the shards.'
        ) from None
    for shard, size in zip(description.files, sizes):
        _check_size(shard, size)
    return utterances


def _check_size(shard: str, size: int) -> None:
    """Raises UserError if a shard is missing, or has not the stored size."""
    try:
        found = os.stat(shard).st_size
        if found != size:
            raise ValueError(f'it has {found} bytes, expected {size}')
    except (OSError, ValueError) as error:
        raise _damaged_file_error(shard, error) from None


def write_columns(folder: Path) -> None:
    """Writes the columns of the data set in `folder` into one file beside the shards."""
    utterances = scan_columns(folder)
    arrays = {npz.TEXT_PREFIX + key: column for key, column in utterances.text.items()}
    for key in ARRAY_COLUMNS:
        arrays[key] = getattr(utterances, key)
    arrays[SIZES_KEY] = np.array([os.stat(file).st_size for file in utterances.files])
    np.savez(folder / COLUMNS_FILE, **arrays)


def scan_columns(folder: Path) -> Utterances:
    """Reads the columns from the shards of the data set in `folder`; checks all checksums.

    UserError with the name of the first file that is damaged or missing.
    """
    description = _read_description(folder)
    files = description.files
    parts = [_read_shard(file, n, description.columns) for n, file in enumerate(files)]
    columns = {}
    for key in parts[0]:
        columns[key] = np.concatenate([part[key] for part in parts])
    count = len(columns['frames'])
    if count != description.count:
        raise UserError(
            f'{folder} contains {count} utterances, but its {INFO_FILE} says '
            f'{description.count}. Remove it and prepare the corpus again.'
        )
    ratings = [columns[key].astype(np.float32) for key in RATING_COLUMNS]
    return Utterances(
        {key: columns[key] for key in LOADED_TEXTS},
        rating_NxA=np.stack(ratings, axis=1),
        frames_N=columns['frames'].astype(np.int32),
        mean_NxM=columns['mean_M'],
        variance_NxM=columns['variance_M'],
        signature_NxS=columns['signature_S'],
        file_N=columns['file'],
        offset_N=columns['offset'],
        length_N=columns['length'],
        files=files,
        audio_facts_NxF=np.stack([columns[key] for key in AUDIO_FACTS], axis=1),
    )


def _read_shard(file: str, index: int, columns: set[str]) -> dict[str, np.ndarray]:
    """Returns the columns of one shard, with the position of each record: file, offset, length."""
    rows = []
    try:
        for offset, data in tfrecord.read_records(file):
            row = _read_row(tfrecord.parse_example(data), columns)
            rows.append(row | {'file': index, 'offset': offset, 'length': len(data)})
        if not rows:
            raise EOFError('it contains no utterance')
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}
    except (OSError, EOFError, ValueError) as error:
        raise _damaged_file_error(file, error) from None


def _read_row(example, columns: set[str]) -> dict:
    """Returns the columns of one utterance; what an earlier version has not stored is '' or NaN."""
    row = {}
    for key in LOADED_TEXTS:
        row[key] = _single_value(example[key].bytes_list, key).decode() if key in columns else ''
    for key in LOADED_NUMBERS:
        row[key] = _single_value(example[key].float_list, key) if key in columns else math.nan
    for key in LOADED_VECTORS:
        row[key] = np.array(example[key].float_list.value, np.float32)
    row['frames'] = _single_value(example['frames'].int64_list, 'frames')
    signature = _single_value(example['signature_S'].bytes_list, 'signature_S')
    row['signature_S'] = np.frombuffer(signature, np.float16)
    return row


def _single_value(values, key: str):
    """Returns the only value of a list of an example; ValueError if it has not one value."""
    if len(values.value) != 1:
        raise ValueError(f'a record has no {key}, or several')
    return values.value[0]


def read_feature_bytes(utterances: Utterances, rows: np.ndarray, file: str) -> Iterator[bytes]:
    """Yields the bytes of the features of some utterances of one shard.

    UserError if the shard is damaged, or has changed since its columns were read.
    """
    size_N = FLOAT16_BYTES * utterances.bands * utterances.frames_N
    try:
        with open(file, 'rb') as shard:
            for row in rows:
                offset, length = utterances.offset_N[row], utterances.length_N[row]
                record = tfrecord.read_record(shard.fileno(), offset, length)
                example = tfrecord.parse_example(record)
                content = _single_value(example[FEATURES_KEY].bytes_list, FEATURES_KEY)
                if len(content) != size_N[row]:
                    raise ValueError(f'{len(content)} bytes of features, expected {size_N[row]}')
                yield content
    except (OSError, ValueError) as error:
        raise _damaged_file_error(file, error) from None


def decode_features(content: bytes, bands: int) -> np.ndarray:
    """Returns features_TxM in float16 from their bytes."""
    return np.frombuffer(content, np.float16).reshape(-1, bands)


def stream_features(
    utterances: Utterances, batches: Iterable[tuple[np.ndarray, np.ndarray, int]], prefetch: int = 2
) -> Iterator[np.ndarray]:
    """Yields mel_...xTxM in float16 for each batch, read by tf.data while the device computes.

    A batch is (row_..., start_..., T): which utterances, from which frame, and how many frames,
    padded with zeros; row -1 is all padding. UserError with the name of a shard that was damaged
    since its columns were read: the checksum of every record is compared.
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
            return tfrecord.read_record(shard, utterances.offset_N[row], utterances.length_N[row])
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

"""Log-mel shards as training reads them: their columns at once, their features by position in any order."""

import collections
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.storage.schema import (
    RATING_COLUMNS,
    TEXT_COLUMNS,
    TFDS_SPLIT,
    Utterances,
    import_tensorflow,
)

STORED_COLUMNS = (
    'frames',
    'mean_M',
    'variance_M',
    'sha256',
    'signature_S',
)  # of what is stored of the sound, all but the features

TFRECORD_HEADER_BYTES, TFRECORD_FOOTER_BYTES = (
    12,
    4,
)  # bytes around a TFRecord's data: its length and the length's checksum; the data's checksum


def _read_dataset_info(folder: Path):
    """What TFDS knows of the data set; refuses one that does not describe itself."""
    import tensorflow_datasets as tfds

    for name in ('dataset_info.json', 'features.json'):
        try:
            json.loads((folder / name).read_text())
        except (OSError, ValueError) as e:
            raise _damaged_file_error(folder / name, e) from None
    try:
        info = tfds.builder_from_directory(folder).info
        if info.splits[TFDS_SPLIT].num_examples and {
            *TEXT_COLUMNS,
            *RATING_COLUMNS,
            *STORED_COLUMNS,
            'mel_TxM',
        } <= {*info.features}:
            return info
    except Exception as e:  # whatever TFDS makes of JSON that says something else
        raise _damaged_file_error(f'{folder}/dataset_info.json or features.json', e) from None
    raise _damaged_file_error(
        f'{folder}/dataset_info.json or features.json', ValueError('none of ours')
    )


def _damaged_file_error(file: str | Path, e: Exception) -> UserError:
    said = str(e).rpartition('}} ')[2]  # TensorFlow puts the names of its nodes before it
    what = f'{type(e).__name__}: {said}'.splitlines()[0][:200]
    return UserError(
        f'{file} is damaged or missing ({what}). Remove {Path(file).parent} and prepare the corpus again.'
    )


def read_columns(folder: Path) -> Utterances:
    """Reads the columns of the data set in `folder`, checking every record's checksum on the way.

    A damaged or missing file is refused by name.
    """
    tf, info = import_tensorflow(), _read_dataset_info(folder)

    def row(record):
        example = info.features.deserialize_example(record)
        kept = {k: example[k] for k in (*TEXT_COLUMNS, *RATING_COLUMNS, *STORED_COLUMNS)}
        return kept | {'length': tf.strings.length(record)}

    columns: dict[str, list] = {}
    files = [str(path) for path in info.splits[TFDS_SPLIT].filepaths]
    for n, path in enumerate(files):
        try:
            rows = tf.data.TFRecordDataset(path).map(row, num_parallel_calls=2).batch(256)
            parts = list(rows.as_numpy_iterator())
        except tf.errors.OpError as e:
            raise _damaged_file_error(path, e) from None
        if not parts:
            raise _damaged_file_error(path, EOFError('no utterance in it'))
        part = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        start = np.cumsum(part['length'] + TFRECORD_HEADER_BYTES + TFRECORD_FOOTER_BYTES)
        part['offset'] = np.concatenate([[0], start[:-1]]) + TFRECORD_HEADER_BYTES
        part['file'] = np.full(len(start), n)
        for k, v in part.items():
            columns.setdefault(k, []).append(v)
    column = {k: np.concatenate(v) for k, v in columns.items()}
    if len(column['frames']) != info.splits[TFDS_SPLIT].num_examples:
        raise UserError(
            f'{folder} holds {len(column["frames"])} utterances, but its dataset_info.json says '
            f'{info.splits[TFDS_SPLIT].num_examples}. Remove it and prepare the corpus again.'
        )
    return Utterances(
        {k: np.char.decode(column[k].astype(bytes), 'utf-8') for k in (*TEXT_COLUMNS, 'sha256')},
        rating_NxA=np.stack([column[k] for k in RATING_COLUMNS], axis=1),
        frames_N=column['frames'].astype(np.int32),
        mean_NxM=column['mean_M'],
        variance_NxM=column['variance_M'],
        signature_NxS=column['signature_S'],
        file_N=column['file'],
        offset_N=column['offset'].astype(np.int64),
        length_N=column['length'].astype(np.int64),
        files=files,
    )


def _read_feature_bytes(utterances: Utterances, rows: np.ndarray, file: str) -> Iterator[bytes]:
    """The features' bytes of some utterances of one shard, which may have changed since its columns were read."""
    from google.protobuf.message import DecodeError

    tf = import_tensorflow()
    size_N = 2 * utterances.bands * utterances.frames_N
    try:
        with open(file, 'rb') as shard:
            for row in rows:
                record = _read_tfrecord(
                    shard.fileno(), utterances.offset_N[row], utterances.length_N[row]
                )
                (content,) = (
                    tf.train.Example.FromString(record).features.feature['mel_TxM'].bytes_list.value
                )
                if len(content) != size_N[row]:
                    raise ValueError(f'{len(content)} bytes of features, expected {size_N[row]}')
                yield content
    except (OSError, ValueError, DecodeError) as e:
        raise _damaged_file_error(file, e) from None


def _check_records(utterances: Utterances, row_B: np.ndarray) -> None:
    """Refuses by name the first shard in which one of these utterances is damaged."""
    for f in np.unique(utterances.file_N[row_B[row_B >= 0]]):
        rows = row_B[(row_B >= 0) & (utterances.file_N[row_B] == f)]
        for _ in _read_feature_bytes(utterances, rows, utterances.files[f]):
            pass


def _read_tfrecord(shard: int, offset: int, length: int) -> bytes:
    """The bytes of one record of an open shard; ValueError where there is none of that length."""
    record = os.pread(shard, length + TFRECORD_HEADER_BYTES, offset - TFRECORD_HEADER_BYTES)
    if (
        len(record) < length + TFRECORD_HEADER_BYTES
        or int.from_bytes(record[:8], 'little') != length
    ):
        raise ValueError('it has changed since its columns were read')
    return record[TFRECORD_HEADER_BYTES:]


def _decode_features(record: bytes, bands: int) -> np.ndarray:
    return np.frombuffer(record, np.float16).reshape(-1, bands)


def stream_features(
    utterances: Utterances, batches: Iterable[tuple[np.ndarray, np.ndarray, int]], prefetch: int = 2
) -> Iterator[np.ndarray]:
    """The features of batch after batch, mel_...xTxM in float16, read from the shards by tf.data while the device computes.

    A batch is (row_..., start_..., T): which utterances, from which frame, and how many frames, padded with zeros; row -1 is
    all padding. A shard that has been damaged since its columns were read is refused by name; a
    bit that flips within the features is not noticed here, but when the columns are next read.
    """
    tf = import_tensorflow()
    files: list[int] = []
    pending: collections.deque = collections.deque()  # row_... and T of the batches under way
    frame = 2 * utterances.bands  # bytes

    def flat():
        for row, start, T in batches:
            pending.append((row, T))
            size = np.where(row < 0, 0, frame * utterances.frames_N[row])
            yield row.ravel(), start.ravel(), size.ravel(), T

    def record_or_empty(row):
        shard = files[utterances.file_N[row]]
        try:
            return _read_tfrecord(shard, utterances.offset_N[row], utterances.length_N[row])
        except (OSError, ValueError):  # raised in here, TensorFlow would print it with its stack
            return b''  # which the check of sizes finds

    def pread(row_B):
        return np.array([record_or_empty(row) if row >= 0 else b'' for row in row_B], object)

    def load(row_B, start_B, size_B, T):
        record_B = tf.numpy_function(pread, [row_B], tf.string, stateful=False)
        mel_B = tf.io.parse_example(
            record_B, {'mel_TxM': tf.io.FixedLenFeature((), tf.string, '')}
        )['mel_TxM']
        # A record that cannot be read, or has no features, would otherwise become zeros.
        with tf.control_dependencies([tf.debugging.assert_equal(tf.strings.length(mel_B), size_B)]):
            start_B = tf.minimum(start_B * frame, size_B)
        mel_B = tf.strings.substr(mel_B, start_B, tf.fill(tf.shape(start_B), T * frame))
        return tf.io.decode_raw(
            mel_B, tf.int16, fixed_length=T * frame
        )  # TensorFlow pads no float16

    row = tf.TensorSpec((None,), tf.int32)
    signature = (row, row, row, tf.TensorSpec((), tf.int32))
    data = tf.data.Dataset.from_generator(flat, output_signature=signature)
    data = data.map(load, num_parallel_calls=2, deterministic=True).prefetch(prefetch)
    try:
        for f in utterances.files:
            try:
                files.append(os.open(f, os.O_RDONLY))
            except OSError as e:
                raise _damaged_file_error(f, e) from None
        try:
            for mel in data.as_numpy_iterator():
                row, T = pending.popleft()
                yield mel.view(np.float16).reshape(*row.shape, T, utterances.bands)
        except Exception:  # TensorFlow fails in many ways, and names no file
            for row, _ in tuple(pending):
                _check_records(utterances, row.ravel())
            raise
    finally:
        for f in files:
            os.close(f)

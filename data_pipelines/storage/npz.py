"""Reads an .npz, which contains a whole prepared data set and needs no TensorFlow."""

import contextlib
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.features.upstream import FeatureSpec
from data_pipelines.storage.schema import LATER_TEXT_COLUMNS, Utterances

# Columns that an .npz contains under their own names; it also contains the text columns, `facts`
# and `mel_RxM`.
NUMBER_COLUMNS = ('frames_N', 'rating_NxA', 'mean_NxM', 'variance_NxM', 'signature_NxS')

# As these, but files that were packed by an earlier version lack it.
FACTS_COLUMN = 'audio_facts_NxF'

TEXT_PREFIX = 'text_'

BUFFER_BYTES = 1 << 20  # that are read at once

READ_ERRORS = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def npz_path(data_dir: str | Path, name: str, spec: FeatureSpec) -> Path:
    """Returns the path of a corpus's .npz, whether it exists or not."""
    return Path(data_dir) / name / spec.npz_name


@contextlib.contextmanager
def open_npz(file: str | Path):
    """Context of an .npz's content; UserError with its name if it cannot be read."""
    try:
        with open(file, 'rb') as stream, np.load(stream, allow_pickle=False) as content:
            yield content
    except READ_ERRORS as error:
        raise UserError(
            f'{file} is damaged, or was not written by data_pipelines.pack '
            f'({type(error).__name__}: {error}). Remove it, and pack '
            'the corpus or copy the file again.'
        ) from None


def read_fingerprint(file: Path) -> str | None:
    """Returns the fingerprint of the data set in an .npz; None if there is no such file."""
    return read_record(file)['fingerprint'] if file.exists() else None


def read_record(file: Path) -> dict:
    """Returns the record in an .npz: `fingerprint`, and `upstream` for encoder features."""
    with open_npz(file) as content:
        record = json.loads(str(content['facts']))
        if not isinstance(record['fingerprint'], str):
            raise ValueError('no fingerprint')
        return record


def read_columns(file: Path) -> Utterances:
    """Returns the columns of an .npz; `offset_N` is an utterance's first row in `mel_RxM`."""
    with open_npz(file) as content:
        text = {}
        for key in content.files:
            if key.startswith(TEXT_PREFIX):
                text[key.removeprefix(TEXT_PREFIX)] = content[key]
        for key in LATER_TEXT_COLUMNS:
            if key not in text:  # packed by an earlier version
                text[key] = np.full(len(text['utterance']), '')
        numbers = {key: content[key] for key in NUMBER_COLUMNS}
        frames_N = numbers['frames_N']
        return Utterances(
            text,
            **numbers,
            file_N=np.zeros(len(frames_N), int),
            offset_N=np.cumsum(frames_N, dtype=np.int64) - frames_N,
            length_N=frames_N.astype(np.int64),
            files=[str(file)],
            audio_facts_NxF=content.get(FACTS_COLUMN),
        )


def read_features(
    file: str, mel_RxM: np.ndarray, start_N: np.ndarray, offset_N: np.ndarray, length_N: np.ndarray
) -> None:
    """Reads the features of utterances into mel_RxM, without another copy in memory.

    Args:
      file: The .npz.
      mel_RxM: Where they are written, in float16.
      start_N: The first row of each utterance in mel_RxM.
      offset_N: The first row in the file; no utterance may be among them twice.
      length_N: The number of rows.
    """
    order = np.argsort(offset_N, kind='stable')
    start_N, offset_N, length_N = start_N[order], offset_N[order], length_N[order]
    # What follows one another in the file and in mel_RxM is read at once.
    follows_N = np.diff(offset_N) == length_N[:-1]
    follows_N &= np.diff(start_N) == length_N[:-1]
    first_G = np.flatnonzero(np.concatenate([[True], ~follows_N]))
    rows_G = np.add.reduceat(length_N, first_G)
    with open_npz(file) as content, content.zip.open('mel_RxM.npy') as member:
        row_bytes = _read_feature_header(member, mel_RxM.shape[1])
        stream = io.BufferedReader(member, BUFFER_BYTES)
        row = 0
        for start, offset, rows in zip(start_N[first_G], offset_N[first_G], rows_G):
            _skip(stream, int(offset - row) * row_bytes)
            count = stream.readinto(mel_RxM[start : start + rows])
            if count != rows * row_bytes:
                raise EOFError('it lacks features')
            row = offset + rows
        while stream.read(BUFFER_BYTES):  # the checksum is compared at the end
            pass


def _skip(stream: IO[bytes], size: int) -> None:
    """Reads so many bytes and forgets them.

    Unlike `seek`, this keeps the checksum of an .npz, and never has more than BUFFER_BYTES.
    """
    while size > 0:
        skipped = len(stream.read(min(size, BUFFER_BYTES)))
        if not skipped:
            raise EOFError('it lacks features')
        size -= skipped


def _read_feature_header(member: IO[bytes], bands: int) -> int:
    """Reads the header of mel_RxM.npy and returns the bytes of a row.

    ValueError if the features are not `bands` numbers in float16.
    """
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError('another format of the features')
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(member)
    if is_fortran or dtype != np.float16 or shape[1:] != (bands,):
        raise ValueError(f'features of the shape {shape} and the type {dtype}')
    return bands * dtype.itemsize

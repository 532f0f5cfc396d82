"""Reads an .npz, which contains a whole prepared data set and needs no TensorFlow."""

import contextlib
import json
import zipfile
import zlib
from pathlib import Path

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
            f'({type(error).__name__}: {error}). Remove it and pack the corpus again.'
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


def read_features(file: str) -> np.ndarray:
    """Returns mel_RxM: the features of all utterances, one after another."""
    with open_npz(file) as content:
        return content['mel_RxM']

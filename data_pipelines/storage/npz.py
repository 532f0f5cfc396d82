"""TODO: data_pipelines.storage.npz."""

import contextlib
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import EncoderInput, EncoderStates
from data_pipelines.storage.schema import Utterances


def npz_path(data_dir: str | Path, name: str, spec: LogMel | EncoderStates | EncoderInput) -> Path:
    """Where the .npz of a corpus is, if it is."""
    return Path(data_dir) / name / spec.npz_name


@contextlib.contextmanager
def open_npz(file: str | Path):
    """The content of an .npz; whatever is wrong with it ends in a sentence that names it."""
    try:
        with open(file, 'rb') as stream, np.load(stream, allow_pickle=False) as content:
            yield content
    except (
        ValueError,
        KeyError,
        EOFError,
        OSError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as e:
        raise UserError(
            f'{file} is damaged or none of ours ({type(e).__name__}: {e}). Remove it and pack the corpus again.'
        ) from None


def read_fingerprint(file: Path) -> str | None:
    """Which data set the .npz holds; None where there is no such file."""
    return read_record(file)['fingerprint'] if file.exists() else None


def read_record(file: Path) -> dict:
    """What the .npz has of the record of its data set: its fingerprint and, of the states of an upstream, whose they are."""
    with open_npz(file) as content:
        found = json.loads(str(content['facts']))
        if not isinstance(found['fingerprint'], str):
            raise ValueError('no fingerprint')
        return found


def read_columns(file: Path) -> Utterances:
    """The columns of an .npz; `offset_N` is the first row of an utterance in its features."""
    with open_npz(file) as content:
        text = {k.removeprefix('text_'): content[k] for k in content.files if k.startswith('text_')}
        frames = content['frames_N']
        return Utterances(
            text,
            frames_N=frames,
            **{k: content[k] for k in ('rating_NxA', 'mean_NxM', 'variance_NxM', 'signature_NxS')},
            file_N=np.zeros(len(frames), int),
            offset_N=np.cumsum(frames, dtype=np.int64) - frames,
            length_N=frames.astype(np.int64),
            files=[str(file)],
        )


def read_features(file: str) -> np.ndarray:
    """mel_RxM of all utterances, one after another."""
    with open_npz(file) as content:
        return content['mel_RxM']

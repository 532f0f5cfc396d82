"""Reads raw PCM audio from a pipe, and brings samples to full scale 1."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from data_pipelines.errors import UserError

PCM_ENCODINGS = {'s16le': np.dtype('<i2'), 'f32le': np.dtype('<f4')}
FULL_SCALE = {'s16le': 1 << 15, 'f32le': 1.0}
MAX_CHANNELS = 64


def read_seconds(file: BinaryIO, rate: int, encoding: str, channels: int) -> Iterator[np.ndarray]:
    """Yields every second of interleaved PCM as (samples, channels), float32 of full scale 1.

    The last array may be shorter; an incomplete sample at the end is dropped.
    """
    dtype = PCM_ENCODINGS[encoding]
    sample_bytes = channels * dtype.itemsize
    while block := read_exactly(file, rate * sample_bytes):
        count = len(block) // sample_bytes
        if not count:
            return
        samples = np.frombuffer(block[: count * sample_bytes], dtype).reshape(-1, channels)
        yield samples.astype(np.float32) / np.float32(FULL_SCALE[encoding])


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Returns `size` bytes, even if a pipe delivers them in pieces; fewer at the end of file."""
    parts = []
    while size:
        part = file.read(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b''.join(parts)


def to_float_samples(samples: np.ndarray) -> np.ndarray:
    """Returns samples_LxK of K channels, float32 of full scale 1; UserError if it is no audio.

    Floats are returned as they are: `decode.check_levels` finds those of another full scale.
    """
    is_wave = samples.ndim in (1, 2) and samples.size > 0
    if not is_wave or samples.reshape(len(samples), -1).shape[1] > MAX_CHANNELS:
        raise UserError(
            f'The wave has the shape {samples.shape}; expected (time,) or (time, channels).'
        )
    if samples.dtype.kind not in 'if':
        raise UserError(
            f'The wave has the dtype {samples.dtype}; expected floats of full scale 1, or signed '
            'integers.'
        )
    if samples.dtype.kind == 'i':
        samples = samples / -float(np.iinfo(samples.dtype).min)
    return samples.reshape(len(samples), -1).astype(np.float32)

"""Reads the files of a checkpoint: JSON, and tensors in the safetensors format.

Pickled files are never opened.
"""

import contextlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors

from data_pipelines.errors import UserError

WEIGHTS_FILE = 'model.safetensors'
INDEX_FILE = 'model.safetensors.index.json'
CONFIG_FILE = 'config.json'
PREPROCESSOR_FILE = 'preprocessor_config.json'

# In the header of a file that holds only an encoder: the sha256 of the checkpoint from which it was
# copied, and the sha256 of its own data.
SOURCE_SHA256_KEY = 'jaxser.of_sha256'
DATA_SHA256_KEY = 'jaxser.data_sha256'

BLOCK_BYTES = 1 << 24  # copied at once

DAMAGED_ADVICE = 'Download the folder again.'


class Header(NamedTuple):
    """The header of a safetensors file."""

    tensors: dict[str, dict]  # {name: {'dtype', 'shape', 'data_offsets': [start, stop]}}
    metadata: dict[str, str]
    data_start: int  # position in the file, in bytes, to which data_offsets are relative


def read_json(path: Path, missing_message: str) -> dict:
    """Returns the JSON object in a file.

    Raises UserError with `missing_message` if there is no such file, and another if it is damaged.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(missing_message) from None
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read: {error}. {DAMAGED_ADVICE}') from None
    if not isinstance(value, dict):
        raise UserError(f'{path} is not a JSON object. {DAMAGED_ADVICE}')
    return value


def weight_files(folder: Path) -> list[Path]:
    """Returns the files of the weights; raises UserError if there are none or one is missing."""
    if (folder / WEIGHTS_FILE).exists():
        return [folder / WEIGHTS_FILE]
    index = folder / INDEX_FILE
    if not index.exists():
        pickled = ', '.join(sorted(path.name for path in folder.glob('*.bin')))
        advice = ''
        if pickled:
            advice = f' ({pickled}: pickled, which is never opened; convert it to safetensors)'
        raise UserError(
            f'{folder} has no weights: neither {WEIGHTS_FILE} nor {INDEX_FILE}{advice}.'
        )
    weight_map = read_json(index, '').get('weight_map', {})
    if not isinstance(weight_map, dict):
        raise UserError(
            f'{index} has no weight_map, which says where each tensor is. {DAMAGED_ADVICE}'
        )
    names = sorted(set(map(str, weight_map.values())))
    for name in names:
        if Path(name).name != name:
            raise UserError(f'{index} names {name!r}, which is not a file of that folder.')
        if not (folder / name).exists():
            raise UserError(
                f'{folder} lacks {name}, one of {len(names)} files that {INDEX_FILE} names. '
                f'{DAMAGED_ADVICE}'
            )
    return [folder / name for name in names]


def read_header(file: Path) -> Header:
    """Returns the header of a safetensors file.

    Raises UserError if the file is cut off, with the first tensor that is incomplete.
    """
    size = file.stat().st_size
    with open(file, 'rb') as stream:
        prefix = stream.read(8)
        length = struct.unpack('<Q', prefix)[0] if size >= 8 else size
        data_start = 8 + length
        try:
            header = json.loads(stream.read(length)) if data_start <= size else None
        except ValueError:
            header = None
    if not isinstance(header, dict):
        raise UserError(
            f'{file} is not a safetensors file, or is cut off before its first tensor. '
            f'{DAMAGED_ADVICE}'
        )
    metadata = header.pop('__metadata__', {})
    for name, entry in header.items():
        if not _has_offsets(entry):
            raise UserError(f'{file} does not say where the tensor {name} is. {DAMAGED_ADVICE}')
    for name, entry in sorted(header.items(), key=_end_offset):
        if data_start + entry['data_offsets'][1] > size:
            raise UserError(f'{file} is cut off within the tensor {name}. {DAMAGED_ADVICE}')
    return Header(header, metadata, data_start)


def _has_offsets(entry) -> bool:
    """Returns whether the entry of a tensor has two whole numbers as its data_offsets."""
    offsets = entry.get('data_offsets') if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2:
        return False
    return all(isinstance(offset, int) for offset in offsets)


def _end_offset(item: tuple[str, dict]) -> int:
    """Returns where the data of a tensor end, in bytes from the start of the data."""
    _, entry = item
    return entry['data_offsets'][1]


class TensorReader(contextlib.ExitStack):
    """Reads tensors of a checkpoint's files, each of which is opened once.

    Attributes:
        names: names of all tensors, in the order of the files.
    """

    def __init__(self, files: Iterable[Path]):
        super().__init__()
        self._file_of: dict[str, Path] = {}
        self._has_bfloat16: set[Path] = set()
        self._handles: dict[Path, safetensors.safe_open] = {}
        for file in files:
            for name, entry in read_header(file).tensors.items():
                self._file_of[name] = file
                if entry.get('dtype') == 'BF16':
                    self._has_bfloat16.add(file)
        self.names = self._file_of.keys()

    def read(self, name: str) -> np.ndarray:
        """Returns a tensor in float32; raises UserError if it is damaged or not finite."""
        file = self._file_of[name]
        try:
            array = np.asarray(self._open(file).get_tensor(name)).astype(np.float32)
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise UserError(
                f'{file}: the tensor {name} cannot be read ({error}). {DAMAGED_ADVICE}'
            ) from None
        if not np.isfinite(array).all():
            raise UserError(f'{file}: the tensor {name} is not finite. {DAMAGED_ADVICE}')
        return array

    def _open(self, file: Path):
        if file not in self._handles:
            framework = 'flax' if file in self._has_bfloat16 else 'np'  # NumPy has no bfloat16
            self._handles[file] = self.enter_context(safetensors.safe_open(file, framework))
        return self._handles[file]

"""Reads the files of a checkpoint: JSON, and tensors in the safetensors format.

Pickled files are never opened, nor is anything but a regular file of a plausible size.
"""

import contextlib
import json
import shlex
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors

from data_pipelines import file_kinds
from data_pipelines.errors import UserError
from data_pipelines.terminal import escape_control_characters

WEIGHTS_FILE = 'model.safetensors'
INDEX_FILE = 'model.safetensors.index.json'
CONFIG_FILE = 'config.json'
PREPROCESSOR_FILE = 'preprocessor_config.json'
PROCESSOR_FILE = 'processor_config.json'

# The largest files that are read.
MAX_JSON_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 100_000_000  # as the safetensors library
MAX_WEIGHTS_BYTES = 64 * 2**30

DTYPES = ('F32', 'F16', 'BF16', 'F64')  # of tensors; others, such as I8, are not plain numbers

# Weights of TensorFlow, Flax, ONNX and llama.cpp, and files that are being downloaded
OTHER_SUFFIXES = ('.h5', '.msgpack', '.onnx', '.gguf', '.tflite', '.part', '.incomplete')
PICKLED_SUFFIXES = ('.bin', '.pt', '.pth', '.ckpt')
MAX_LISTED_FILES = 3  # names of files that a message lists
MAX_NAME_LENGTH = 100  # characters of a tensor's name in a message

BLOCK_BYTES = 1 << 24  # copied at once

DAMAGED_ADVICE = 'Download the folder again.'

# A program in double quotes for the shell; it is run in the folder.
CONVERT_PROGRAM = (
    'import glob, torch; from safetensors.torch import save_file; t = {}; '
    "[t.update(torch.load(f, 'cpu', weights_only=True)) for f in glob.glob('PATTERN')]; "
    "save_file({k: v.contiguous().clone() for k, v in t.items()}, 'model.safetensors')"
)


class Header(NamedTuple):
    """The header of a safetensors file."""

    tensors: dict[str, dict]  # {name: {'dtype', 'shape', 'data_offsets': [start, stop]}}
    metadata: dict[str, str]
    data_start: int  # position in the file, in bytes, to which data_offsets are relative


def printable(name: str) -> str:
    """Returns a name from a file as it may be printed: shortened, without control characters."""
    if len(name) > MAX_NAME_LENGTH:
        name = f'{name[:MAX_NAME_LENGTH]}...'
    return escape_control_characters(name)


def check_file(path: Path, max_bytes: int) -> None:
    """Raises UserError unless `path` is a regular file of at most `max_bytes`.

    To open a named pipe would wait for ever.
    """
    information = path.stat()
    if not stat.S_ISREG(information.st_mode):
        raise UserError(f'{path} is not a regular file. {DAMAGED_ADVICE}')
    if information.st_size > max_bytes:
        raise UserError(
            f'{path} has {information.st_size} bytes; such a file of an encoder has at most '
            f'{max_bytes}. {DAMAGED_ADVICE}'
        )


def read_json(path: Path, missing_message: str) -> dict:
    """Returns the JSON object in a file.

    Raises UserError with `missing_message` if there is no such file, and another if it is damaged.
    """
    try:
        check_file(path, MAX_JSON_BYTES)
        value = json.loads(path.read_text('utf-8-sig'))
    except FileNotFoundError:
        if path.is_symlink():
            raise _broken_link_error(path) from None
        raise UserError(missing_message) from None
    except RecursionError:
        raise UserError(f'{path} cannot be read: too deeply nested. {DAMAGED_ADVICE}') from None
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error}. {DAMAGED_ADVICE}') from None
    except ValueError as error:
        _refuse_other_kind(path, file_kinds.JSON)
        raise UserError(f'{path} cannot be read: {error}. {DAMAGED_ADVICE}') from None
    if not isinstance(value, dict):
        raise UserError(f'{path} is not a JSON object. {DAMAGED_ADVICE}')
    return value


def _refuse_other_kind(path: Path, expected: file_kinds.FileKind | None = None) -> None:
    """Raises UserError if a file is of another kind than `expected`, such as a Git LFS pointer."""
    with open(path, 'rb') as stream:
        head = stream.read(file_kinds.HEAD_BYTES)
    kind = file_kinds.recognise(head)
    is_pickled = kind is file_kinds.PICKLE or (kind is file_kinds.ZIP and b'data.pkl' in head)
    if is_pickled:
        raise UserError(
            f'{path} is a pickled file of PyTorch under a wrong name, which is never opened. Name '
            f'it pytorch_model.bin; then the same command says how to convert it.'
        )
    if kind is not None and kind is not expected:
        raise UserError(f'{path} cannot be read: {file_kinds.describe(kind)}.')


def _broken_link_error(path: Path) -> UserError:
    return UserError(f'{path} is a link to a file that does not exist. {DAMAGED_ADVICE}')


def weight_files(folder: Path) -> list[Path]:
    """Returns the files of the weights; raises UserError if there are none or one is missing."""
    single, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    for file in (single, index):
        if file.is_symlink() and not file.exists():
            raise _broken_link_error(file)
    if single.exists():
        return [single]
    if not index.exists():
        raise UserError(
            f'{folder} has no weights: neither {WEIGHTS_FILE} nor {INDEX_FILE}'
            f'{_other_weights_advice(folder)}'
        )
    weight_map = read_json(index, '').get('weight_map')
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(
            f'{index} has no weight_map, which says where each tensor is. {DAMAGED_ADVICE}'
        )
    names = sorted(set(map(str, weight_map.values())))
    for name in names:
        if Path(name).name != name:
            raise UserError(
                f'{index} names {printable(name)!r}, which is not a file of that folder.'
            )
        if not (folder / name).exists():
            raise UserError(
                f'{folder} lacks {printable(name)}, one of {len(names)} files that {INDEX_FILE} '
                f'names. {DAMAGED_ADVICE}'
            )
    return [folder / name for name in names]


def _other_weights_advice(folder: Path) -> str:
    """Returns the end of the message about missing weights: what to do with other files."""
    names = sorted(path.name for path in folder.iterdir())
    home = shlex.quote(str(folder))
    for expected, start, end in (
        (INDEX_FILE, 'model.safetensors.index.', '.json'),
        (WEIGHTS_FILE, 'model.', '.safetensors'),
    ):
        variants = [name for name in names if name.startswith(start) and name.endswith(end)]
        if variants:
            return (
                f', but a variant, {printable(variants[0])}, whose values may be rounded '
                f'differently. To use it, run:\n  cd {home}\n'
                f'  cp {printable(shlex.quote(variants[0]))} {expected}'
            )
    if any(name.endswith('.safetensors') for name in names):
        listed = [printable(name) for name in names if name.endswith('.safetensors')]
        return f' (it has {_join_names(listed)}). {DAMAGED_ADVICE}'
    pickled = [printable(name) for name in names if name.endswith(PICKLED_SUFFIXES)]
    if not pickled:
        others = [printable(name) for name in names if name.lower().endswith(OTHER_SUFFIXES)]
        if others:
            return (
                f' ({_join_names(others)}: of another program, or not complete). Download a '
                f'version of the model that has {WEIGHTS_FILE}.'
            )
        return f'. {DAMAGED_ADVICE}'
    pattern = f'*{Path(pickled[0]).suffix}'
    if any(name.startswith('pytorch_model') and name.endswith('.bin') for name in pickled):
        pattern = 'pytorch_model*.bin'  # others, such as training_args.bin, have no weights
    program = CONVERT_PROGRAM.replace('PATTERN', pattern)
    return (
        f' ({_join_names(pickled)}: pickled, which is never opened; convert it to safetensors). '
        f'Run:\n  cd {home} && pip install torch safetensors\n  python -c "{program}"'
    )


def _join_names(names: list[str]) -> str:
    """Returns the first names, joined by commas."""
    listed = ', '.join(names[:MAX_LISTED_FILES])
    return f'{listed}, ...' if len(names) > MAX_LISTED_FILES else listed


def read_header(file: Path) -> Header:
    """Returns the header of a safetensors file.

    Raises UserError if the file is cut off, with the first tensor that is incomplete.
    """
    check_file(file, MAX_WEIGHTS_BYTES)
    size = file.stat().st_size
    with open(file, 'rb') as stream:
        prefix = stream.read(8)
        length = struct.unpack('<Q', prefix)[0] if size >= 8 else size
        data_start = 8 + length
        is_plausible = data_start <= size and length <= MAX_HEADER_BYTES
        try:
            header = json.loads(stream.read(length)) if is_plausible else None
        except (ValueError, RecursionError):
            header = None
    if not isinstance(header, dict):
        _refuse_other_kind(file)
        raise UserError(
            f'{file} is not a safetensors file, or is cut off before its first tensor. '
            f'{DAMAGED_ADVICE}'
        )
    metadata = header.pop('__metadata__', {})
    for name, entry in header.items():
        if not _has_offsets(entry):
            raise UserError(
                f'{file} does not say where the tensor {printable(name)} is. {DAMAGED_ADVICE}'
            )
    for name, entry in sorted(header.items(), key=_end_offset):
        if data_start + entry['data_offsets'][1] > size:
            raise UserError(
                f'{file} is cut off within the tensor {printable(name)}. {DAMAGED_ADVICE}'
            )
    return Header(header, metadata if isinstance(metadata, dict) else {}, data_start)


def _has_offsets(entry) -> bool:
    """Returns whether the entry of a tensor has its type, its shape and its data_offsets."""
    if not isinstance(entry, dict) or not isinstance(entry.get('dtype'), str):
        return False
    shape, offsets = entry.get('shape'), entry.get('data_offsets')
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        return False
    if any(type(number) is not int or number < 0 for number in (*shape, *offsets)):
        return False
    return offsets[0] <= offsets[1]


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
        self._entries: dict[str, dict] = {}
        self._has_bfloat16: set[Path] = set()
        self._handles: dict[Path, safetensors.safe_open] = {}
        for file in files:
            for name, entry in read_header(file).tensors.items():
                if name in self._file_of:
                    raise UserError(
                        f'{file} and {self._file_of[name].name} both have the tensor '
                        f'{printable(name)}. {DAMAGED_ADVICE}'
                    )
                self._file_of[name] = file
                self._entries[name] = entry
                if entry['dtype'] == 'BF16':
                    self._has_bfloat16.add(file)
        self.names = self._file_of.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of a tensor, which is not read."""
        return tuple(self._entries[name]['shape'])

    def read(self, name: str) -> np.ndarray:
        """Returns a tensor in float32; raises UserError if it is damaged or not finite."""
        file = self._file_of[name]
        dtype = self._entries[name]['dtype']
        if dtype not in DTYPES:
            raise UserError(
                f'{file}: the tensor {printable(name)} has the type {printable(dtype)}; supported '
                f'are {", ".join(DTYPES)}. Use a checkpoint that is not quantised.'
            )
        try:
            array = np.asarray(self._open(file).get_tensor(name))
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise UserError(
                f'{file}: the tensor {printable(name)} cannot be read '
                f'({printable(str(error))}). {DAMAGED_ADVICE}'
            ) from None
        with np.errstate(over='ignore'):  # float64 beyond float32 becomes infinite
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise UserError(f'{file}: the tensor {printable(name)} is not finite. {DAMAGED_ADVICE}')
        return array

    def _open(self, file: Path):
        if file not in self._handles:
            framework = 'flax' if file in self._has_bfloat16 else 'np'  # NumPy has no bfloat16
            self._handles[file] = self.enter_context(safetensors.safe_open(file, framework))
        return self._handles[file]

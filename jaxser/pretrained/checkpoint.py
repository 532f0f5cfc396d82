"""TODO: jaxser.pretrained.checkpoint."""

import json
import struct
from pathlib import Path

import numpy as np
import safetensors

from data_pipelines.errors import UserError

WEIGHTS_FILE, INDEX_FILE = 'model.safetensors', 'model.safetensors.index.json'

CONFIG_FILE, PREPROCESSOR_FILE = 'config.json', 'preprocessor_config.json'

SOURCE_SHA256_KEY, DATA_SHA256_KEY = (
    'jaxser.of_sha256',
    'jaxser.data_sha256',
)  # in the head of an encoder alone: of which checkpoint, and its own data's

BLOCK_BYTES = 1 << 24  # bytes that are copied at once

DAMAGED_ADVICE = 'Get the folder anew.'


def read_json(path: Path, missing_message: str) -> dict:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(missing_message) from None
    except (OSError, ValueError) as e:
        raise UserError(f'{path} cannot be read: {e}. {DAMAGED_ADVICE}') from None
    if not isinstance(found, dict):
        raise UserError(f'{path} is no JSON object. {DAMAGED_ADVICE}')
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights."""
    if (folder / WEIGHTS_FILE).exists():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).exists():
        others = sorted(p.name for p in folder.glob('*.bin'))
        why = (
            f' ({", ".join(others)}: pickled, which is never opened; convert it to safetensors)'
            if others
            else ''
        )
        raise UserError(f'{folder} holds no weights: neither {WEIGHTS_FILE} nor {INDEX_FILE}{why}.')
    of = read_json(folder / INDEX_FILE, '').get('weight_map', {})
    if not isinstance(of, dict):
        raise UserError(
            f'{folder / INDEX_FILE} has no weight_map, which says where each tensor is. {DAMAGED_ADVICE}'
        )
    shards = sorted(set(map(str, of.values())))
    for name in shards:
        if Path(name).name != name:
            raise UserError(
                f'{folder / INDEX_FILE} names {name!r}, which is not a file of that folder.'
            )
        if not (folder / name).exists():
            raise UserError(
                f'{folder} lacks {name}, one of {len(shards)} that {INDEX_FILE} names. {DAMAGED_ADVICE}'
            )
    return [folder / name for name in shards]


def tensor_names(file: Path) -> list[str]:
    """The names of a file's tensors."""
    return [name for name in read_header(file)[0] if name != '__metadata__']


def read_header(file: Path) -> tuple[dict, int]:
    """A file's header, and where its data begin; refuses one that is cut off, naming the first tensor that is not whole."""
    with open(file, 'rb') as opened:
        size = file.stat().st_size
        length = struct.unpack('<Q', opened.read(8))[0] if size >= 8 else size
        try:
            header = json.loads(opened.read(length)) if 8 + length <= size else None
        except ValueError:
            header = None
    if not isinstance(header, dict):
        raise UserError(
            f'{file} is no safetensors file, or is cut off before its first tensor. {DAMAGED_ADVICE}'
        )
    entries = {k: v for k, v in header.items() if k != '__metadata__'}
    for name, facts in entries.items():
        ends = facts.get('data_offsets') if isinstance(facts, dict) else None
        if not (
            isinstance(ends, list) and len(ends) == 2 and all(isinstance(n, int) for n in ends)
        ):
            raise UserError(f'{file} does not say where the tensor {name} is. {DAMAGED_ADVICE}')
    for name, facts in sorted(entries.items(), key=lambda item: item[1]['data_offsets'][1]):
        if 8 + length + facts['data_offsets'][1] > size:
            raise UserError(f'{file} is cut off within the tensor {name}. {DAMAGED_ADVICE}')
    return header, 8 + length


def read_tensor(file: Path, name: str) -> np.ndarray:
    """As float32."""
    try:
        with safetensors.safe_open(file, 'flax' if is_bfloat16(file, name) else 'np') as opened:
            array = np.asarray(opened.get_tensor(name)).astype(np.float32)
    except (OSError, ValueError, safetensors.SafetensorError) as e:
        raise UserError(
            f'{file}: the tensor {name} cannot be read ({e}). {DAMAGED_ADVICE}'
        ) from None
    if not np.isfinite(array).all():
        raise UserError(f'{file}: the tensor {name} is not finite. {DAMAGED_ADVICE}')
    return array


def is_bfloat16(file: Path, name: str) -> bool:
    with safetensors.safe_open(file, 'np') as opened:
        return opened.get_slice(name).get_dtype() == 'BF16'

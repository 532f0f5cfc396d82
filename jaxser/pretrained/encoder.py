"""TODO: jaxser.pretrained.encoder."""

import functools
import hashlib
import json
import math
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.wording import pluralize
from jaxser.pretrained import wav2vec2, whisper
from jaxser.pretrained.checkpoint import (
    BLOCK_BYTES,
    CONFIG_FILE,
    DAMAGED_ADVICE,
    DATA_SHA256_KEY,
    PREPROCESSOR_FILE,
    SOURCE_SHA256_KEY,
    WEIGHTS_FILE,
    read_header,
    read_json,
    read_tensor,
    tensor_names,
    weight_files,
)

SAMPLE_RATE = 16_000  # Hz, of what every one of them hears

LICENCE_PATTERNS = (
    'LICEN[CS]E*',
    'NOTICE*',
    'README.md',
)  # of a checkpoint, which go where its weights go

MAX_LISTED = 5  # names that a sentence lists


class PretrainedEncoder(NamedTuple):
    """An encoder: states, frames_B = module.apply({'params': params}, x, length_B), of samples or of Whisper's log-mel."""

    config: dict[str, Any]
    module: Any
    params: dict
    unused_tensors: tuple[str, ...]  # tensors of the checkpoint that are not the encoder's
    sha256: str  # of the checkpoint's weights
    folder: Path  # from which it was read

    @property
    def input_kind(self) -> str:
        """'wave' or 'mel'."""
        return 'mel' if self.config['model_type'] in whisper.MODEL_TYPES else 'wave'

    @property
    def max_seconds(self) -> float:
        """Seconds of a sound that it hears."""
        return self.config['max_source_positions'] / 50 if self.input_kind == 'mel' else math.inf

    @property
    def normalises_input(self) -> bool:
        """Whether each wave is taken by its own mean and deviation."""
        return self.input_kind == 'wave' and self.module.normalises_input

    @property
    def hashed_settings(self) -> tuple:
        """What its states depend on beside the weights: of config.json and preprocessor_config.json, what is understood."""
        family = whisper if self.input_kind == 'mel' else wav2vec2
        return (
            self.config['model_type'],
            self.normalises_input,
            *(self.config[key] for key in sorted(family.CONFIG_DEFAULTS)),
        )

    @property
    def state_count(self) -> int:
        """How many states there are: the input's, and one a layer."""
        return (
            1 + self.config['encoder_layers' if self.input_kind == 'mel' else 'num_hidden_layers']
        )

    @property
    def width(self) -> int:
        """Of a state."""
        return self.config['d_model' if self.input_kind == 'mel' else 'hidden_size']


def read_encoder(folder) -> PretrainedEncoder:
    """The encoder in a folder; refuses one that is damaged, or no such encoder's, naming the tensor."""
    folder = Path(folder)
    wanted = f'a Hugging Face folder on this disk, with {CONFIG_FILE} and {WEIGHTS_FILE}'
    if not folder.is_dir():
        hub = f' `hf download {folder} --local-dir FOLDER` may get it.' * (
            len(folder.parts) == 2 and not folder.is_absolute()
        )
        raise UserError(f'{folder} is no folder; expected {wanted}.{hub}')
    config = read_json(
        folder / CONFIG_FILE, f'{folder} holds no upstream (no {CONFIG_FILE}); expected {wanted}.'
    )
    family = next(
        (f for f in (wav2vec2, whisper) if config.get('model_type') in f.MODEL_TYPES), None
    )
    if family is None:
        known = ', '.join((*wav2vec2.MODEL_TYPES, *whisper.MODEL_TYPES))
        raise UserError(
            f'{folder}/config.json has model_type {config.get("model_type")!r}; understood are {known}.'
        )
    config = family.CONFIG_DEFAULTS | {
        k: tuple(v) if isinstance(v, list) else v for k, v in config.items()
    }
    family.check_config(config)
    module, shapes = build_module(family, config, folder)
    files = weight_files(folder)
    names = {name: file for file in files for name in tensor_names(file)}
    wanted = {path: _tensor_name(path) for path in shapes}
    prefix = max(family.TENSOR_PREFIXES, key=lambda p: sum(p + n in names for n in wanted.values()))
    if missing := [n for n in wanted.values() if not _source_tensors(prefix + n, names)]:
        raise UserError(
            f'{folder} lacks {pluralize(len(missing), "tensor")} of {len(wanted)} of its {config["model_type"]} encoder: '
            f'{", ".join(prefix + n for n in missing[:MAX_LISTED])}{", ..." if len(missing) > MAX_LISTED else ""}. {DAMAGED_ADVICE}'
        )
    params, used = {}, set()
    for path, name in wanted.items():
        sources = _source_tensors(prefix + name, names)
        used |= set(sources)
        params[path] = _convert_tensor(
            [read_tensor(names[s], s) for s in sources], sources[-1], path, shapes[path].shape
        )
    unused = tuple(sorted(set(names) - used))
    return PretrainedEncoder(
        config,
        module,
        flax.traverse_util.unflatten_dict(params),
        unused,
        _checkpoint_sha256(files),
        folder,
    )


def _checkpoint_sha256(files: list[Path]) -> str:
    """Of a checkpoint's files; of an encoder alone, that of the checkpoint out of which it was cut."""
    header, start = read_header(files[0])
    if of := header.get('__metadata__', {}).get(SOURCE_SHA256_KEY):
        with open(files[0], 'rb') as opened:
            opened.seek(start)
            if hashlib.file_digest(opened, 'sha256').hexdigest() != header['__metadata__'].get(
                DATA_SHA256_KEY
            ):
                raise UserError(
                    f'{files[0]} is damaged: its data have not the checksum in its head. {DAMAGED_ADVICE}'
                )
        return of
    digest = hashlib.sha256()
    for file in files:
        with open(file, 'rb') as opened:
            digest.update(hashlib.file_digest(opened, 'sha256').digest())
    return digest.hexdigest()


def write_encoder(encoder: PretrainedEncoder, folder: Path) -> None:
    """Writes an encoder from the folder where it was read, and no other tensor, into the folder `folder`, byte for byte.

    It is known by the same sha256 as the folder that it came from, and takes its licence along if that is there.
    """
    header, parts, end = {}, [], 0
    for file in weight_files(encoder.folder):
        entries, start = read_header(file)
        kept = {
            k: facts
            for k, facts in entries.items()
            if k != '__metadata__' and k not in encoder.unused_tensors
        }
        for name, facts in sorted(kept.items(), key=lambda item: item[1]['data_offsets']):
            at, stop = facts['data_offsets']
            header[name] = facts | {'data_offsets': [end, end + stop - at]}
            parts.append((file, start + at, stop - at))
            end += stop - at
    digest = hashlib.sha256()
    for block in _read_blocks(parts):
        digest.update(block)
    header['__metadata__'] = {
        'format': 'pt',
        SOURCE_SHA256_KEY: encoder.sha256,
        DATA_SHA256_KEY: digest.hexdigest(),
    }
    head = json.dumps(header, separators=(',', ':')).encode()
    head += b' ' * (-len(head) % 8)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / WEIGHTS_FILE, 'wb') as file:
        file.write(struct.pack('<Q', len(head)) + head)
        file.writelines(_read_blocks(parts))
    terms = (p for pattern in LICENCE_PATTERNS for p in sorted(encoder.folder.glob(pattern)))
    beside = [encoder.folder / CONFIG_FILE, encoder.folder / PREPROCESSOR_FILE, *terms]
    for file in filter(Path.is_file, beside):
        shutil.copyfile(file, folder / file.name)


def _read_blocks(parts: list[tuple[Path, int, int]]) -> Iterator[bytes]:
    """The bytes of parts of files: (file, first byte, bytes)."""
    for path, at, size in parts:
        with open(path, 'rb') as file:
            file.seek(at)
            while size > 0 and (block := file.read(min(size, BLOCK_BYTES))):
                size -= len(block)
                yield block


def cached_encoder(folder) -> PretrainedEncoder:
    """As `read`, from the disk once while its files stay as they are: a command reads one encoder, and asks for it often."""
    facts = [
        (p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(Path(folder).glob('*'))
    ]
    return _cached_encoder(str(Path(folder)), tuple(facts))


@functools.lru_cache(maxsize=1)
def _cached_encoder(folder: str, file_stats: tuple) -> PretrainedEncoder:
    return read_encoder(folder)


def build_module(family, config: dict, folder: Path) -> tuple[Any, dict]:
    """The Flax module, and the shape of every parameter by its path."""
    frozen, hears = flax.core.freeze(config), folder / PREPROCESSOR_FILE
    said = read_json(hears, '') if hears.exists() else {}
    if said.get('sampling_rate', SAMPLE_RATE) != SAMPLE_RATE:
        raise UserError(
            f'{hears} says {said["sampling_rate"]} Hz; only {SAMPLE_RATE} is understood.'
        )
    if family is whisper:
        module, x = whisper.Whisper(frozen), jnp.zeros((1, 8, config['num_mel_bins']))
    else:
        module, x = (
            wav2vec2.Wav2Vec2(frozen, said.get('do_normalize', True)),
            jnp.zeros((1, SAMPLE_RATE)),
        )
    try:
        shapes = jax.eval_shape(module.init, jax.random.key(0), x, jnp.full(1, x.shape[1]))[
            'params'
        ]
    except (
        AssertionError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as e:  # sizes that do not go together
        why = str(e).partition('\n')[0] or 'its sizes do not go together.'
        raise UserError(
            f'{folder / CONFIG_FILE} describes no encoder: {why} {DAMAGED_ADVICE}'
        ) from None
    return module, flax.traverse_util.flatten_dict(shapes)


def _tensor_name(path: tuple[str, ...]) -> str:
    """What a parameter is called in the checkpoint."""
    *modules, leaf = path
    modules = [re.sub(r'^((?:conv_)?layers)_(\d+)$', r'\1.\2', m) for m in modules]
    return '.'.join(
        [*modules, {'kernel': 'weight', 'scale': 'weight', 'embedding': 'weight'}.get(leaf, leaf)]
    )


def _source_tensors(name: str, names) -> list[str]:
    """The tensors that make a parameter: itself, or by weight norm its length and its direction, in either spelling."""
    stem = name.removesuffix('weight')
    pairs = (
        [f'{stem}weight_g', f'{stem}weight_v'],
        [f'{stem}parametrizations.weight.original{n}' for n in (0, 1)],
    )
    return next((found for found in ([name], *pairs) if all(n in names for n in found)), [])


def _convert_tensor(
    arrays: list[np.ndarray], name: str, path: tuple[str, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """The parameter as Flax has it, of one tensor or of two by weight norm (over all but the filter's places)."""
    array = arrays[-1]
    if len(arrays) == 2:
        length, direction = arrays
        norm = np.sqrt((direction.astype(np.float64) ** 2).sum((0, 1), keepdims=True))
        array = (direction * (length / norm)).astype(np.float32)
    if path[-1] == 'kernel':
        array = array.transpose()  # torch has outputs first, and of a filter its places last
    if array.shape != shape:
        found, expected = (
            tuple(reversed(s)) if path[-1] == 'kernel' else s for s in (array.shape, shape)
        )
        raise UserError(
            f'The tensor {name} has the shape {found}; by config.json it is {expected}. {DAMAGED_ADVICE}'
        )
    return np.ascontiguousarray(array)

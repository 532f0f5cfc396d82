"""Reads and writes pretrained speech encoders, as folders in the format of Hugging Face.

A folder has `config.json`, `model.safetensors` or its shards, and often `preprocessor_config.json`.
An encoder is identified by the sha256 of its own tensors (identity.py). `write_encoder` copies the
encoder without other tensors into a folder of its own.
"""

import functools
import hashlib
import json
import math
import os
import re
import shutil
import struct
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.terminal import print_text
from data_pipelines.wording import pluralize
from jaxser.pretrained import wav2vec2, whisper
from jaxser.pretrained.checkpoint import (
    BLOCK_BYTES,
    CONFIG_FILE,
    DAMAGED_ADVICE,
    PREPROCESSOR_FILE,
    PROCESSOR_FILE,
    WEIGHTS_FILE,
    TensorReader,
    printable,
    read_header,
    read_json,
    weight_files,
)
from jaxser.pretrained.identity import (
    DATA_SHA256_KEY,
    SOURCE_SHA256_KEY,
    check_data,
    claimed_sha256,
    combine_hashes,
    hash_files,
    hash_tensor,
)
from jaxser.pretrained.settings import SAMPLE_RATE, check_sizes, read_input_settings

FAMILIES = (wav2vec2, whisper)

MAX_PARAMETERS = 4_000_000_000

LICENCE_PATTERNS = ('LICEN[CS]E*', 'NOTICE*', 'README.md')  # files that are copied with the weights
MAX_LICENCE_BYTES = 2**20  # a larger file is none

MAX_PREFIXES = 100  # that are tried


MAX_LISTED = 5  # names of tensors that a message lists

FOLDER_FORMAT = f'a Hugging Face folder on this disk, with {CONFIG_FILE} and {WEIGHTS_FILE}'

ParamPath = tuple[str, ...]
"""Names of modules and parameter, as ('encoder', 'layers_0', 'attention', 'q_proj', 'kernel')."""


class PretrainedEncoder(NamedTuple):
    """An encoder: states, frames_B = module.apply({'params': params}, x, length_B).

    x are samples or Whisper's log-mel.

    Attributes:
        config: config.json, with the defaults of the family.
        module: the Flax module.
        params: its parameters.
        unused_tensors: names of the checkpoint's tensors that are not the encoder's.
        sha256: sha256 of the encoder's own tensors.
        folder: the folder from which the encoder was read.
        guesses: sentences about settings of the input that the folder does not have.
    """

    config: dict[str, Any]
    module: Any
    params: dict
    unused_tensors: tuple[str, ...]
    sha256: str
    folder: Path
    guesses: tuple[str, ...] = ()

    @property
    def input_kind(self) -> str:
        """'wave' or 'mel'."""
        return 'mel' if self.config['model_type'] in whisper.MODEL_TYPES else 'wave'

    @property
    def max_seconds(self) -> float:
        """Duration of the part of a sound that the encoder takes, in seconds."""
        return self.config['max_source_positions'] / 50 if self.input_kind == 'mel' else math.inf

    @property
    def normalises_input(self) -> bool:
        """Whether each wave is normalised by its own mean and standard deviation."""
        return self.input_kind == 'wave' and self.module.normalises_input

    @property
    def norm_is_last(self) -> bool:
        """Whether the layer norm outside the layers comes after the last one."""
        return self.input_kind == 'mel' or self.config['do_stable_layer_norm']

    @property
    def hashed_settings(self) -> tuple:
        """The settings of the two JSON files on which its states depend."""
        family = whisper if self.input_kind == 'mel' else wav2vec2
        settings = [self.config[key] for key in sorted(family.CONFIG_DEFAULTS)]
        return (self.config['model_type'], self.normalises_input, *settings)

    @property
    def state_count(self) -> int:
        """Number of states: that of the input, and one for each layer."""
        key = 'encoder_layers' if self.input_kind == 'mel' else 'num_hidden_layers'
        return 1 + self.config[key]

    @property
    def heads(self) -> int:
        """Number of attention heads of a layer."""
        key = 'encoder_attention_heads' if self.input_kind == 'mel' else 'num_attention_heads'
        return self.config[key]

    @property
    def width(self) -> int:
        """Width of a state."""
        return self.config['d_model' if self.input_kind == 'mel' else 'hidden_size']


def read_encoder(folder: str | Path) -> PretrainedEncoder:
    """Returns the encoder in a folder. Prints to stderr what had to be guessed.

    Raises UserError if the folder is damaged, naming the tensor, or has no supported encoder.
    """
    folder = Path(folder)
    family, config = _read_config(folder)
    guesses = read_input_settings(folder, config).guesses
    module, shapes = build_module(family, config, folder)
    files = weight_files(folder)
    with TensorReader(files) as reader:
        prefix = _find_prefix(family, shapes, reader.names, folder)
        sources = _find_sources(shapes, prefix, reader.names)
        missing = [prefix + _tensor_name(path) for path in shapes if not sources[path]]
        if missing:
            raise UserError(
                f'{folder} lacks {pluralize(len(missing), "tensor")} of {len(shapes)} of its '
                f'{config["model_type"]} encoder: {list_tensors(missing)}. {DAMAGED_ADVICE}'
            )
        for path, names in sources.items():
            _check_shapes([reader.shape(name) for name in names], names, path, shapes[path].shape)
        params, sha256 = _read_params(reader, sources)
    check_data(files)
    for guess in guesses:
        print_text(guess, file=sys.stderr)
    unused = set(reader.names).difference(*sources.values())
    return PretrainedEncoder(
        config,
        module,
        flax.traverse_util.unflatten_dict(params),
        tuple(sorted(unused)),
        sha256,
        folder,
        guesses,
    )


def _read_params(
    reader: TensorReader, sources: dict[ParamPath, list[str]]
) -> tuple[dict[ParamPath, np.ndarray], str]:
    """Returns the parameters in Flax's layout, and the sha256 of the tensors."""
    params = {}
    lines = []
    for path, names in sources.items():
        arrays = [reader.read(name) for name in names]
        for n, array in enumerate(arrays):
            lines.append(hash_tensor(f'{_tensor_name(path)}[{n - len(arrays)}]', array))
        params[path] = _convert_tensor(arrays, names[-1], path)
    return params, combine_hashes(lines)


def list_tensors(names: Collection[str]) -> str:
    """Returns the first names, joined by commas."""
    listed = ', '.join(printable(name) for name in list(names)[:MAX_LISTED])
    return f'{listed}, ...' if len(names) > MAX_LISTED else listed


def _read_config(folder: Path) -> tuple[ModuleType, dict]:
    """Returns the module of the encoder's family, and config.json with that family's defaults."""
    if not folder.is_dir():
        advice = ', or a name on the Hugging Face Hub such as openai/whisper-small.'
        if folder.parent.joinpath(CONFIG_FILE).is_file():
            advice = f'. Name its folder, {folder.parent}.'
        raise UserError(f'{folder} is not a folder; expected {FOLDER_FORMAT}{advice}')
    values = read_json(
        folder / CONFIG_FILE,
        f'{folder} has no pretrained encoder (no {CONFIG_FILE}); expected {FOLDER_FORMAT}.'
        f'{_advise_on_subfolder(folder)}',
    )
    family = _find_family(values.get('model_type'), folder)
    config = dict(family.CONFIG_DEFAULTS)
    for key, value in values.items():
        config[key] = tuple(value) if isinstance(value, list) else value
    check_sizes(config, family.CONFIG_SCHEMA, folder)
    family.check_config(config)
    return family, config


def _advise_on_subfolder(folder: Path) -> str:
    """Returns a sentence that names a subfolder with an encoder, as in Hugging Face's cache.

    '' if there is none.
    """
    for pattern in ('*', 'snapshots/*'):
        for file in sorted(folder.glob(f'{pattern}/{CONFIG_FILE}')):
            return f' There is one in {printable(str(file.parent))}: name that.'
    return ''


def _find_family(model_type, folder: Path) -> ModuleType:
    """Returns the module that supports this `model_type`; raises UserError if none does."""
    for family in FAMILIES:
        if model_type in family.MODEL_TYPES:
            return family
    supported = ', '.join((*wav2vec2.MODEL_TYPES, *whisper.MODEL_TYPES))
    raise UserError(
        f'{folder}/{CONFIG_FILE} has model_type {printable(repr(model_type))}; supported are '
        f'{supported}.'
    )


def _find_prefix(
    family: ModuleType, shapes: dict, tensor_names: Collection[str], folder: Path
) -> str:
    """Returns the prefix under which the checkpoint has most of the encoder's tensors.

    It is a known one, or any other, such as `module.` of a model that was trained on several GPUs.
    Raises UserError if there are several whole encoders under other prefixes.
    """
    expected = [_tensor_name(path) for path in shapes]

    def count(prefix: str) -> int:
        return sum(prefix + name in tensor_names for name in expected)

    known = max(family.TENSOR_PREFIXES, key=count)
    others = {}
    for prefix in _candidate_prefixes(expected, tensor_names):
        others[prefix] = count(prefix)
    most = max(others.values(), default=0)
    if most <= count(known):
        return known
    best = sorted(prefix for prefix in others if others[prefix] == most)
    if len(best) > 1:
        raise UserError(
            f'{folder} has {len(best)} encoders, whose tensors begin with {list_tensors(best)}. '
            'Save the one you need in a folder of its own.'
        )
    return best[0]


def _candidate_prefixes(expected: list[str], tensor_names: Collection[str]) -> set[str]:
    """Returns what comes before the names of the first, a middle and the last tensor."""
    prefixes = set()
    for ending in {expected[0], expected[len(expected) // 2], expected[-1]}:
        for name in tensor_names:
            if name.endswith(f'.{ending}'):
                prefixes.add(name.removesuffix(ending))
    return set(sorted(prefixes)[:MAX_PREFIXES])


def _find_sources(
    shapes: dict, prefix: str, tensor_names: Collection[str]
) -> dict[ParamPath, list[str]]:
    """Returns, for each parameter, the names of the tensors it is made of; none if missing."""
    sources = {}
    for path in shapes:
        sources[path] = _source_tensors(prefix + _tensor_name(path), tensor_names)
    return sources


class FilePart(NamedTuple):
    """Some bytes of a file."""

    file: Path
    start: int
    size: int


def write_encoder(encoder: PretrainedEncoder, folder: Path) -> None:
    """Copies an encoder, byte for byte and without other tensors, from its folder into another.

    The copy has the same sha256 as the encoder. Licence files are copied too.
    """
    header, parts = _plan_copy(encoder)
    digest = hashlib.sha256()
    for block in _read_blocks(parts):
        digest.update(block)
    header['__metadata__'] = {
        'format': 'pt',
        # For models of earlier versions, which know their encoder by it.
        SOURCE_SHA256_KEY: claimed_sha256(encoder.folder) or hash_files(encoder.folder),
        DATA_SHA256_KEY: digest.hexdigest(),
    }
    header_bytes = json.dumps(header, separators=(',', ':')).encode()
    header_bytes += b' ' * (-len(header_bytes) % 8)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / WEIGHTS_FILE, 'wb') as stream:
        stream.write(struct.pack('<Q', len(header_bytes)) + header_bytes)
        stream.writelines(_read_blocks(parts))
    for name in (CONFIG_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE):
        if (encoder.folder / name).is_file():
            shutil.copyfile(encoder.folder / name, folder / name)
    for file in _list_licences(encoder.folder):
        shutil.copyfile(file, folder / file.name)


def _list_licences(folder: Path) -> list[Path]:
    """Returns the licence files of a folder. Prints to stderr which of them are left out.

    A link is followed within the folder, and into the store of files that Hugging Face's downloads
    are links to. Another one may lead to a private file, which a copy would publish.
    """
    home = Path(os.path.realpath(folder))
    blobs = home.parent.parent / 'blobs'  # of models--NAME/snapshots/COMMIT
    licences = []
    for pattern in LICENCE_PATTERNS:
        for file in sorted(folder.glob(pattern)):
            target = Path(os.path.realpath(file))  # resolve raises an error for a loop of links
            is_inside = target.is_relative_to(home) or target.parent == blobs
            if is_inside and file.is_file() and file.stat().st_size <= MAX_LICENCE_BYTES:
                licences.append(file)
            else:
                print_text(
                    f'{file} is not copied: it is a link to another folder, no regular file or '
                    f'larger than {MAX_LICENCE_BYTES} bytes.',
                    file=sys.stderr,
                )
    return licences


def _plan_copy(encoder: PretrainedEncoder) -> tuple[dict[str, dict], list[FilePart]]:
    """Returns the header of a file with the encoder's tensors only, and where their data are."""
    header = {}
    parts = []
    end = 0
    for file in weight_files(encoder.folder):
        tensors, _, data_start = read_header(file)
        for name in sorted(tensors, key=lambda name: tensors[name]['data_offsets']):
            if name in encoder.unused_tensors:
                continue
            start, stop = tensors[name]['data_offsets']
            size = stop - start
            header[name] = tensors[name] | {'data_offsets': [end, end + size]}
            parts.append(FilePart(file, data_start + start, size))
            end += size
    return header, parts


def _read_blocks(parts: list[FilePart]) -> Iterator[bytes]:
    """Yields the bytes of the parts, in blocks."""
    for part in parts:
        remaining = part.size
        with open(part.file, 'rb') as stream:
            stream.seek(part.start)
            while remaining > 0:
                block = stream.read(min(remaining, BLOCK_BYTES))
                if not block:
                    break
                remaining -= len(block)
                yield block


def cached_encoder(folder: str | Path) -> PretrainedEncoder:
    """Returns `read_encoder(folder)`, read again only if a file of the folder has changed.

    A command needs one encoder in several places.
    """
    file_stats = []
    for path in sorted(Path(folder).glob('*')):
        if path.exists():  # not a link to nothing
            file_stats.append((path.name, path.stat().st_mtime_ns, path.stat().st_size))
    return _cached_encoder(str(Path(folder)), tuple(file_stats))


@functools.lru_cache(maxsize=1)
def _cached_encoder(folder: str, file_stats: tuple) -> PretrainedEncoder:
    return read_encoder(folder)


def build_module(family: ModuleType, config: dict, folder: Path) -> tuple[Any, dict]:
    """Returns the Flax module, and {path: shape} of its parameters.

    Raises UserError if the two JSON files do not describe an encoder, or have another sample rate.
    """
    normalises = read_input_settings(folder, config).normalises
    keys = ('model_type', *family.CONFIG_DEFAULTS)
    frozen_config = flax.core.freeze({key: config[key] for key in keys})
    if family is whisper:
        module = whisper.Whisper(frozen_config)
        x = jnp.zeros((1, 8, config['num_mel_bins']))
    else:
        module = wav2vec2.Wav2Vec2(frozen_config, normalises)
        x = jnp.zeros((1, SAMPLE_RATE))
    try:
        variables = jax.eval_shape(module.init, jax.random.key(0), x, jnp.full(1, x.shape[1]))
    except (AssertionError, TypeError, ValueError, ZeroDivisionError) as error:
        # The sizes do not fit together.
        reason = str(error).partition('\n')[0] or 'its sizes do not fit together.'
        raise UserError(
            f'{folder / CONFIG_FILE} does not describe an encoder: {reason} {DAMAGED_ADVICE}'
        ) from None
    shapes = flax.traverse_util.flatten_dict(variables['params'])
    count = sum(math.prod(parameter.shape) for parameter in shapes.values())
    if count > MAX_PARAMETERS:
        raise UserError(
            f'{folder / CONFIG_FILE} describes an encoder of {count / 1e9:.1f} billion parameters; '
            f'at most {MAX_PARAMETERS / 1e9:g} are supported. {DAMAGED_ADVICE}'
        )
    return module, shapes


def _tensor_name(path: ParamPath) -> str:
    """Returns the name of a parameter in the checkpoint."""
    *modules, leaf = path
    modules = [re.sub(r'^((?:conv_)?layers)_(\d+)$', r'\1.\2', module) for module in modules]
    if leaf in ('kernel', 'scale', 'embedding'):
        leaf = 'weight'
    return '.'.join([*modules, leaf])


def _source_tensors(name: str, tensor_names: Collection[str]) -> list[str]:
    """Returns the tensors that make a parameter; none if the checkpoint lacks them.

    It is the tensor of that name; or with weight norm its length and direction, in old or new
    spelling.
    """
    stem = name.removesuffix('weight')
    spellings = (
        [name],
        [f'{stem}weight_g', f'{stem}weight_v'],
        [f'{stem}parametrizations.weight.original0', f'{stem}parametrizations.weight.original1'],
    )
    for spelling in spellings:
        if all(tensor in tensor_names for tensor in spelling):
            return spelling
    return []


def _check_shapes(
    actual: list[tuple[int, ...]], names: list[str], path: ParamPath, expected: tuple[int, ...]
) -> None:
    """Raises UserError if a parameter's tensors have other shapes than config.json implies.

    PyTorch has the outputs first, and the taps of a filter last. Of two tensors, the first has the
    norms of the second, over all axes but that of the taps.
    """
    if path[-1] == 'kernel':
        expected = expected[::-1]
    shapes = [expected]
    if len(names) == 2:
        shapes = [(1, 1, expected[-1]), expected]
    for name, actual_shape, expected_shape in zip(names, actual, shapes, strict=True):
        if actual_shape != expected_shape:
            raise UserError(
                f'The tensor {printable(name)} has the shape {actual_shape}; config.json implies '
                f'{expected_shape}. {DAMAGED_ADVICE}'
            )


def _convert_tensor(arrays: list[np.ndarray], name: str, path: ParamPath) -> np.ndarray:
    """Returns a parameter in Flax's layout, from one tensor or from two with weight norm.

    Raises UserError if it is not finite.
    """
    array = arrays[-1]
    if len(arrays) == 2:
        length, direction = arrays
        with np.errstate(all='ignore'):
            norm = np.sqrt((direction.astype(np.float64) ** 2).sum((0, 1), keepdims=True))
            array = (direction * (length / norm)).astype(np.float32)
        if not np.isfinite(array).all():
            raise UserError(f'The tensor {printable(name)} has a norm of 0. {DAMAGED_ADVICE}')
    if path[-1] == 'kernel':
        array = array.transpose()
    return np.ascontiguousarray(array)

"""A pretrained speech encoder from its Hugging Face folder: wav2vec 2.0, HuBERT, WavLM, Whisper's encoder.

  python -m jaxser.upstream FOLDER

says what a folder holds: the model, its size, which of its tensors are not the encoder's. It is read with safetensors alone
(`config.json`, `model.safetensors` or its shards, `preprocessor_config.json` where there is one); pickled files are never opened.

An encoder is known by the sha256 of the checkpoint that it came from. `cut` copies the encoder alone into a folder of its own,
whose file says in its head of which checkpoint it is, and by a second checksum that it is whole.
"""

import argparse
import functools
import hashlib
import json
import math
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import safetensors

from data_pipelines.batching import plan
from data_pipelines.errors import UserError, exit_on_user_error
from data_pipelines.features import upstream
from data_pipelines.features.upstream import HOP_SAMPLES, STATE_KINDS, EncoderStates
from jaxser import features
from jaxser.models import wav2vec2, whisper
from jaxser.runs import pluralize

SAMPLE_RATE = 16_000  # Hz, of what every one of them hears
MAX_BATCH_HOPS = 6400  # hops of sound that go through an encoder together
WEIGHTS_FILE, INDEX_FILE = 'model.safetensors', 'model.safetensors.index.json'
CONFIG_FILE, PREPROCESSOR_FILE = 'config.json', 'preprocessor_config.json'
LICENCE_PATTERNS = ('LICEN[CS]E*', 'NOTICE*', 'README.md')  # of a checkpoint, which go where its weights go
SOURCE_SHA256_KEY, DATA_SHA256_KEY = 'jaxser.of_sha256', 'jaxser.data_sha256'  # in the head of an encoder alone: of which checkpoint, and its own data's
BLOCK_BYTES = 1 << 24  # bytes that are copied at once
MAX_LISTED = 5  # names that a sentence lists
DAMAGED_ADVICE = 'Get the folder anew.'


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
        return self.config['model_type'], self.normalises_input, *(self.config[key] for key in sorted(family.DEFAULTS))

    @property
    def state_count(self) -> int:
        """How many states there are: the input's, and one a layer."""
        return 1 + self.config['encoder_layers' if self.input_kind == 'mel' else 'num_hidden_layers']

    @property
    def width(self) -> int:
        """Of a state."""
        return self.config['d_model' if self.input_kind == 'mel' else 'hidden_size']


def read_encoder(folder) -> PretrainedEncoder:
    """The encoder in a folder; refuses one that is damaged, or no such encoder's, naming the tensor."""
    folder = Path(folder)
    wanted = f'a Hugging Face folder on this disk, with {CONFIG_FILE} and {WEIGHTS_FILE}'
    if not folder.is_dir():
        hub = f' `hf download {folder} --local-dir FOLDER` may get it.' * (len(folder.parts) == 2 and not folder.is_absolute())
        raise UserError(f'{folder} is no folder; expected {wanted}.{hub}')
    config = read_json(folder / CONFIG_FILE, f'{folder} holds no upstream (no {CONFIG_FILE}); expected {wanted}.')
    family = next((f for f in (wav2vec2, whisper) if config.get('model_type') in f.TYPES), None)
    if family is None:
        known = ', '.join((*wav2vec2.MODEL_TYPES, *whisper.MODEL_TYPES))
        raise UserError(f'{folder}/config.json has model_type {config.get("model_type")!r}; understood are {known}.')
    config = family.DEFAULTS | {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    family.check(config)
    module, shapes = build_module(family, config, folder)
    files = weight_files(folder)
    names = {name: file for file in files for name in tensor_names(file)}
    wanted = {path: _tensor_name(path) for path in shapes}
    prefix = max(family.PREFIXES, key=lambda p: sum(p + n in names for n in wanted.values()))
    if missing := [n for n in wanted.values() if not _source_tensors(prefix + n, names)]:
        raise UserError(
            f'{folder} lacks {pluralize(len(missing), "tensor")} of {len(wanted)} of its {config["model_type"]} encoder: '
            f'{", ".join(prefix + n for n in missing[:MAX_LISTED])}{", ..." if len(missing) > MAX_LISTED else ""}. {DAMAGED_ADVICE}'
        )
    params, used = {}, set()
    for path, name in wanted.items():
        sources = _source_tensors(prefix + name, names)
        used |= set(sources)
        params[path] = _convert_tensor([read_tensor(names[s], s) for s in sources], sources[-1], path, shapes[path].shape)
    unused = tuple(sorted(set(names) - used))
    return PretrainedEncoder(config, module, flax.traverse_util.unflatten_dict(params), unused, _checkpoint_sha256(files), folder)


def _checkpoint_sha256(files: list[Path]) -> str:
    """Of a checkpoint's files; of an encoder alone, that of the checkpoint out of which it was cut."""
    header, start = read_header(files[0])
    if of := header.get('__metadata__', {}).get(SOURCE_SHA256_KEY):
        with open(files[0], 'rb') as opened:
            opened.seek(start)
            if hashlib.file_digest(opened, 'sha256').hexdigest() != header['__metadata__'].get(DATA_SHA256_KEY):
                raise UserError(f'{files[0]} is damaged: its data have not the checksum in its head. {DAMAGED_ADVICE}')
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
        kept = {k: facts for k, facts in entries.items() if k != '__metadata__' and k not in encoder.unused_tensors}
        for name, facts in sorted(kept.items(), key=lambda item: item[1]['data_offsets']):
            at, stop = facts['data_offsets']
            header[name] = facts | {'data_offsets': [end, end + stop - at]}
            parts.append((file, start + at, stop - at))
            end += stop - at
    digest = hashlib.sha256()
    for block in _read_blocks(parts):
        digest.update(block)
    header['__metadata__'] = {'format': 'pt', SOURCE_SHA256_KEY: encoder.sha256, DATA_SHA256_KEY: digest.hexdigest()}
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
    facts = [(p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(Path(folder).glob('*'))]
    return _cached_encoder(str(Path(folder)), tuple(facts))


@functools.lru_cache(maxsize=1)
def _cached_encoder(folder: str, file_stats: tuple) -> PretrainedEncoder:
    return read_encoder(folder)


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


def build_module(family, config: dict, folder: Path) -> tuple[Any, dict]:
    """The Flax module, and the shape of every parameter by its path."""
    frozen, hears = flax.core.freeze(config), folder / PREPROCESSOR_FILE
    said = read_json(hears, '') if hears.exists() else {}
    if said.get('sampling_rate', SAMPLE_RATE) != SAMPLE_RATE:
        raise UserError(f'{hears} says {said["sampling_rate"]} Hz; only {SAMPLE_RATE} is understood.')
    if family is whisper:
        module, x = whisper.Whisper(frozen), jnp.zeros((1, 8, config['num_mel_bins']))
    else:
        module, x = wav2vec2.Wav2Vec2(frozen, said.get('do_normalize', True)), jnp.zeros((1, SAMPLE_RATE))
    try:
        shapes = jax.eval_shape(module.init, jax.random.key(0), x, jnp.full(1, x.shape[1]))['params']
    except (AssertionError, TypeError, ValueError, ZeroDivisionError) as e:  # sizes that do not go together
        why = str(e).partition('\n')[0] or 'its sizes do not go together.'
        raise UserError(f'{folder / CONFIG_FILE} describes no encoder: {why} {DAMAGED_ADVICE}') from None
    return module, flax.traverse_util.flatten_dict(shapes)


def weight_files(folder: Path) -> list[Path]:
    """The files of the weights."""
    if (folder / WEIGHTS_FILE).exists():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).exists():
        others = sorted(p.name for p in folder.glob('*.bin'))
        why = f' ({", ".join(others)}: pickled, which is never opened; convert it to safetensors)' if others else ''
        raise UserError(f'{folder} holds no weights: neither {WEIGHTS_FILE} nor {INDEX_FILE}{why}.')
    of = read_json(folder / INDEX_FILE, '').get('weight_map', {})
    if not isinstance(of, dict):
        raise UserError(f'{folder / INDEX_FILE} has no weight_map, which says where each tensor is. {DAMAGED_ADVICE}')
    shards = sorted(set(map(str, of.values())))
    for name in shards:
        if Path(name).name != name:
            raise UserError(f'{folder / INDEX_FILE} names {name!r}, which is not a file of that folder.')
        if not (folder / name).exists():
            raise UserError(f'{folder} lacks {name}, one of {len(shards)} that {INDEX_FILE} names. {DAMAGED_ADVICE}')
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
        raise UserError(f'{file} is no safetensors file, or is cut off before its first tensor. {DAMAGED_ADVICE}')
    entries = {k: v for k, v in header.items() if k != '__metadata__'}
    for name, facts in entries.items():
        ends = facts.get('data_offsets') if isinstance(facts, dict) else None
        if not (isinstance(ends, list) and len(ends) == 2 and all(isinstance(n, int) for n in ends)):
            raise UserError(f'{file} does not say where the tensor {name} is. {DAMAGED_ADVICE}')
    for name, facts in sorted(entries.items(), key=lambda item: item[1]['data_offsets'][1]):
        if 8 + length + facts['data_offsets'][1] > size:
            raise UserError(f'{file} is cut off within the tensor {name}. {DAMAGED_ADVICE}')
    return header, 8 + length


def _tensor_name(path: tuple[str, ...]) -> str:
    """What a parameter is called in the checkpoint."""
    *modules, leaf = path
    modules = [re.sub(r'^((?:conv_)?layers)_(\d+)$', r'\1.\2', m) for m in modules]
    return '.'.join([*modules, {'kernel': 'weight', 'scale': 'weight', 'embedding': 'weight'}.get(leaf, leaf)])


def _source_tensors(name: str, names) -> list[str]:
    """The tensors that make a parameter: itself, or by weight norm its length and its direction, in either spelling."""
    stem = name.removesuffix('weight')
    pairs = ([f'{stem}weight_g', f'{stem}weight_v'], [f'{stem}parametrizations.weight.original{n}' for n in (0, 1)])
    return next((found for found in ([name], *pairs) if all(n in names for n in found)), [])


def read_tensor(file: Path, name: str) -> np.ndarray:
    """As float32."""
    try:
        with safetensors.safe_open(file, 'flax' if is_bfloat16(file, name) else 'np') as opened:
            array = np.asarray(opened.get_tensor(name)).astype(np.float32)
    except (OSError, ValueError, safetensors.SafetensorError) as e:
        raise UserError(f'{file}: the tensor {name} cannot be read ({e}). {DAMAGED_ADVICE}') from None
    if not np.isfinite(array).all():
        raise UserError(f'{file}: the tensor {name} is not finite. {DAMAGED_ADVICE}')
    return array


def is_bfloat16(file: Path, name: str) -> bool:
    with safetensors.safe_open(file, 'np') as opened:
        return opened.get_slice(name).get_dtype() == 'BF16'


def _convert_tensor(arrays: list[np.ndarray], name: str, path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The parameter as Flax has it, of one tensor or of two by weight norm (over all but the filter's places)."""
    array = arrays[-1]
    if len(arrays) == 2:
        length, direction = arrays
        norm = np.sqrt((direction.astype(np.float64) ** 2).sum((0, 1), keepdims=True))
        array = (direction * (length / norm)).astype(np.float32)
    if path[-1] == 'kernel':
        array = array.transpose()  # torch has outputs first, and of a filter its places last
    if array.shape != shape:
        found, expected = (tuple(reversed(s)) if path[-1] == 'kernel' else s for s in (array.shape, shape))
        raise UserError(f'The tensor {name} has the shape {found}; by config.json it is {expected}. {DAMAGED_ADVICE}')
    return np.ascontiguousarray(array)


def round_to_float16(x: jax.Array) -> jax.Array:
    """The numbers of float16 in float32: XLA may leave out a rounding that it finds idle, but none of these."""
    return jnp.where(jnp.abs(x) < 2**-14, jnp.round(x * 2**24) * 2**-24, jax.lax.reduce_precision(x, 5, 10))


def make_state_function(encoder: PretrainedEncoder, pooled: bool) -> Callable[[dict, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """(params, heard, length_B) -> states_BxTxM, frames_B: layer after layer, as float16 has them, in float32.

    Pooled, an utterance is one frame: of each layer the mean over its frames, then their deviation.
    """

    def apply(params: dict, heard: jax.Array, length_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.default_matmul_precision('highest'):  # the same states on every kind of device
            states_LxBxTxD, frames_B = encoder.module.apply({'params': params}, heard, length_B)
        x_BxTxLxD = jnp.stack(states_LxBxTxD, 2)
        if not pooled:
            return round_to_float16(x_BxTxLxD.reshape(*x_BxTxLxD.shape[:2], -1)), frames_B
        mask_BxTx1x1 = features.frame_mask(frames_B, x_BxTxLxD.shape[1])[..., None, None]
        count_Bx1x1 = jnp.maximum(frames_B, 1)[:, None, None]
        mean_BxLxD = x_BxTxLxD.sum(1) / count_Bx1x1  # states beyond a sound's frames are zero
        variance_BxLxD = (((x_BxTxLxD - mean_BxLxD[:, None]) * mask_BxTx1x1) ** 2).sum(1) / count_Bx1x1
        pooled_BxLx2D = jnp.concatenate([mean_BxLxD, jnp.sqrt(variance_BxLxD)], -1)
        return round_to_float16(pooled_BxLx2D.reshape(heard.shape[0], 1, -1)), jnp.minimum(frames_B, 1)

    return apply


class StateExtractor:
    """States of sounds, by an encoder that does not learn; sounds of like length together, one program for each length."""

    def __init__(self, encoder: PretrainedEncoder, pooled: bool):
        self.encoder, self.max_seconds, self.truncated_count = encoder, encoder.max_seconds, 0
        apply = make_state_function(encoder, pooled)

        def stored(params, heard, length_B):
            states_BxTxM, frames_B = apply(params, heard, length_B)
            return states_BxTxM.astype(jnp.float16), frames_B

        self.params, self.compute_states = jax.device_put(encoder.params), jax.jit(stored)

    def extract_input(self, wave: np.ndarray) -> np.ndarray:
        """What is kept of a sound until its turn comes: its samples."""
        return wave

    def padded_length(self, wave: np.ndarray) -> int:
        """The length, in hops of 10 ms, to which a sound is filled up."""
        return int(min(plan.padded_length(-(-len(wave) // HOP_SAMPLES)), 100 * self.max_seconds))

    def max_batch_size(self, length: int) -> int:
        """How many sounds of that length go through the encoder together."""
        return max(1, MAX_BATCH_HOPS // length)

    def pad_batch(self, waves: list[np.ndarray], length: int, B: int) -> tuple[np.ndarray, np.ndarray]:
        """What the encoder hears of some sounds, filled up to `length` hops and B: wave_BxL, or Whisper's mel_BxTxM; length_B."""
        waves = [w[: HOP_SAMPLES * length] for w in waves]
        heard = [upstream.whisper_log_mel(w, self.encoder.config['num_mel_bins']) for w in waves] if self.encoder.input_kind == 'mel' else waves
        x = np.zeros((B, length if self.encoder.input_kind == 'mel' else HOP_SAMPLES * length, *heard[0].shape[1:]), np.float32)
        for b, one in enumerate(heard):
            x[b, : len(one)] = one
        return x, np.array([len(one) for one in heard] + [0] * (B - len(heard)), np.int32)

    def __call__(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        """states_TxM in float16 of each of some sounds of one length, 16 kHz, full scale 1."""
        length = self.padded_length(waves[0])
        self.truncated_count += sum(len(w) > self.max_seconds * SAMPLE_RATE for w in waves)
        heard = self.pad_batch(waves, length, self.max_batch_size(length))
        states_BxTxM, frames_B = map(np.asarray, self.compute_states(self.params, *heard))
        return [states_TxM[:T] for states_TxM, T in zip(states_BxTxM[: len(waves)], frames_B)]


def describe_encoder(folder) -> Iterator[str]:
    """What a folder holds, in lines."""
    of = read_encoder(folder)
    c, leaves = of.config, jax.tree.leaves(of.params)
    count = sum(x.size for x in leaves)
    heads = c['encoder_attention_heads' if of.input_kind == 'mel' else 'num_attention_heads']
    yield f'{folder}: the encoder of {c["model_type"]}, {of.state_count - 1} layers of width {of.width} with {heads} heads'
    yield f'  {count / 1e6:.1f} million parameters in {pluralize(len(leaves), "tensor")}, {count * 4 / 2**20:.0f} MiB in float32'
    if of.input_kind == 'mel':
        hears, step = f'log-mel of {c["num_mel_bins"]} bands', 20.0
    else:
        hears = 'samples' + ', each wave by its own mean and deviation' * of.normalises_input
        step = 1000 * int(np.prod(c['conv_stride'])) / SAMPLE_RATE
    yield f'  hears {hears} at {SAMPLE_RATE} Hz; a frame every {step:g} ms'
    yield f'  sha256 {of.sha256}'
    named = ', '.join(f'{EncoderStates.from_encoder(of, kept).name} (--states {kept})' for kept in STATE_KINDS)
    yield f'  features: {named}'
    listed = f': {", ".join(of.unused_tensors[:MAX_LISTED])}{", ..." if len(of.unused_tensors) > MAX_LISTED else ""}' if of.unused_tensors else ''
    yield f"  missing: none; not the encoder's: {pluralize(len(of.unused_tensors), 'tensor')}{listed}"


def main() -> None:
    """Prints a refusal as a sentence, without a stack trace."""
    parser = argparse.ArgumentParser(prog='python -m jaxser.upstream', description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='with config.json and model.safetensors, as Hugging Face has them')
    asked = parser.parse_args()
    with exit_on_user_error():
        print('\n'.join(describe_encoder(asked.folder)))


if __name__ == '__main__':
    main()

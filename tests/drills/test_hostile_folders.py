"""300 hostile folders of models and encoders: refused, or the answer of the folder is sane.

Half of the models are forged with right checksums, so that more than the checksums must hold.
"""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from drills import damage
from drills.drill import Difference, Drill
from helpers import models, parity

pytestmark = [pytest.mark.drill, pytest.mark.filterwarnings('default')]
RATE = 16_000
HUGE_SIZES = (10**9, 2**31, 2**63, 10**6, 10**5, 0, -1)


def make_wave(seconds: float = 0.4) -> np.ndarray:
    """Returns noise, float32."""
    return np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * RATE)).astype(np.float32)


def forge_header(file: Path, random: np.random.Generator) -> str:
    """Changes the header of a safetensors file."""
    content = file.read_bytes()
    (length,) = struct.unpack('<Q', content[:8])
    if random.random() < 0.15:
        length = (2**63, 2**40, 0, length + 1, length - 1)[random.integers(5)]
        file.write_bytes(struct.pack('<Q', length) + content[8:])
        return f'header of {length} bytes'
    header = json.loads(content[8 : 8 + length])
    if random.random() < 0.3:
        tensors = [name for name in header if name != '__metadata__']
        name = tensors[random.integers(len(tensors))]
        header[name]['shape'] = [(2**40, 2**62, 10**9, 0, -1)[random.integers(5)], 4]
        done = f'shape of {name}: {header[name]["shape"]}'
    else:
        done = damage.change_json(header, random)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack('<Q', len(text)) + text + content[8 + length :])
    return f'header: {done}'


def forge_tensor(file: Path, random: np.random.Generator) -> str:
    """Changes, removes or adds a tensor of a safetensors file."""
    tensors = dict(safetensors.numpy.load_file(file))
    name = sorted(tensors)[random.integers(len(tensors))]
    tensor = tensors[name]
    kind = ('nan', 'inf', '1e38', 'shape', 'type', 'missing', 'extra', 'empty', 'other')
    kind = kind[random.integers(len(kind))]
    if kind in ('nan', 'inf', '1e38'):
        tensors[name] = np.full_like(tensor, float(kind))
    elif kind == 'shape':
        tensors[name] = np.concatenate([tensor, tensor]) if tensor.ndim else tensor[None]
    elif kind == 'type':
        tensors[name] = tensor.astype((np.int8, np.float64, np.float16, bool)[random.integers(4)])
    elif kind == 'missing':
        del tensors[name]
    elif kind == 'extra':
        tensors[f'{name}/more'] = tensor
    elif kind == 'empty':
        tensors[name] = tensor[:0] if tensor.ndim else tensor[None][:0]
    else:
        tensors[name] = tensor + np.ones_like(tensor)
    safetensors.numpy.save_file(tensors, file)
    return f'{name}: {kind}'


def renew_checksums(folder: Path) -> None:
    """Writes the checksums of a forged model, where its facts are still a dictionary."""
    from jaxser.serving.model_checks import with_checksum

    file = folder / 'model.json'
    metadata = json.loads(file.read_text())
    if isinstance(metadata, dict):
        weights = (folder / 'model.safetensors').read_bytes()
        metadata['sha256'] = hashlib.sha256(weights).hexdigest()
        file.write_text(json.dumps(with_checksum(metadata)))


def forge_model(folder: Path, random: np.random.Generator) -> str:
    """Changes a model and its checksums; returns what was done."""
    ways = (damage.change_json_file, damage.change_json_file, forge_tensor, forge_header)
    way = ways[random.integers(len(ways))]
    if way is damage.change_json_file and random.random() < 0.2:
        file = folder / 'model.json'
        metadata = json.loads(file.read_text())
        temperature = (-0.4, 0, float('nan'), float('inf'), 1e300, '1')[random.integers(6)]
        metadata['calibration'] = {'temperature': temperature}
        file.write_text(json.dumps(metadata))
        done = f'temperature {temperature}'
    elif way is damage.change_json_file:
        done = way(folder / 'model.json', random)
    else:
        done = way(folder / 'model.safetensors', random)
    renew_checksums(folder)
    return f'forged, {done}'


def answer(folder: Path) -> dict:
    """Returns the prediction by a model's folder, through the interface of users."""
    import jaxser

    return jaxser.load(folder).predict(make_wave(), RATE)


def check_sane(posterior: dict) -> None:
    """Raises Difference unless the posterior is one."""
    values = np.array(list(posterior.values()), float)
    is_sane = np.isfinite(values).all() and (values >= 0).all() and abs(values.sum() - 1) < 1e-3
    if not is_sane:
        raise Difference(f'no posterior: {posterior}')


def test_hostile_models_are_refused_or_answer_as_before(swept, tmp_path):
    drill = Drill('hostile model folders')
    enrolled = models.make_enrolment_model()
    params = {key: enrolled.arrays['params'][key] for key in ('encoder', 'emotion')}
    enrolled = enrolled._replace(arrays=enrolled.arrays | {'params': params})
    sources = (swept / 'model', models.write_model(tmp_path / 'enrolled', enrolled))
    renew_checksums(sources[1])
    right = [answer(source)['posterior'] for source in sources]
    for number, random in drill.cases(150):
        source = random.integers(len(sources))
        folder = damage.replace_by_copy(sources[source], tmp_path / 'model')
        is_forged = random.random() < 0.6
        if is_forged:
            done = forge_model(folder, random)
        else:
            file = folder / ('model.json', 'model.safetensors')[random.integers(2)]
            done = f'{file.name}, {damage.damage_file(file, random)}'

        def run(folder=folder, right=right[source], is_forged=is_forged):
            posterior = answer(folder)['posterior']
            check_sane(posterior)
            if not is_forged and posterior != right:
                raise Difference(f'{posterior}, {right} without damage')

        drill.attempt(f'case {number}: model {source}, {done}', run)
    drill.fail_if_any()


def encode(folder: Path) -> tuple[str, np.ndarray]:
    """Returns the name of the features of an encoder, and its pooled states of noise."""
    from data_pipelines.features.upstream import EncoderStates
    from jaxser.pretrained.encoder import read_encoder
    from jaxser.pretrained.extractor import StateExtractor

    encoder = read_encoder(folder)
    extractor = StateExtractor(encoder, pooled=True)
    states = extractor([extractor.extract_input(make_wave(0.3))])[0]
    return EncoderStates.from_encoder(encoder, 'pooled').name, np.asarray(states)


def forge_config(file: Path, random: np.random.Generator) -> str:
    """Sets a size of a config.json to one that no machine can make."""
    config = json.loads(file.read_text())
    numbers = [key for key in config if key not in ('model_type',)]
    key = numbers[random.integers(len(numbers))]
    value = HUGE_SIZES[random.integers(len(HUGE_SIZES))]
    config[key] = [value] * 3 if isinstance(config[key], list) else value
    file.write_text(json.dumps(config))
    return f'{key} = {config[key]}'


def forge_identity(folder: Path, random: np.random.Generator, sha256: str) -> str:
    """Writes other tensors, whose header and configuration claim to be the right ones."""
    file = folder / 'model.safetensors'
    tensors = dict(safetensors.numpy.load_file(file))
    name = sorted(set(tensors) - {'masked_spec_embed'})[random.integers(len(tensors) - 1)]
    tensors[name] = tensors[name] + np.float32(0.1)
    claims = {key: sha256 for key in ('sha256', 'identity', 'jaxser_sha256', 'format')}
    safetensors.numpy.save_file(tensors, file, metadata=claims)
    config = json.loads((folder / 'config.json').read_text()) | {'sha256': sha256}
    (folder / 'config.json').write_text(json.dumps(config))
    return f'claims to be another, {name} differs'


def damage_encoder(folder: Path, random: np.random.Generator, sha256: str) -> str:
    """Damages or forges an encoder's folder; returns what was done."""
    kind = random.integers(5)
    if kind == 0:
        return forge_config(folder / 'config.json', random)
    if kind == 1:
        return forge_tensor(folder / 'model.safetensors', random)
    if kind == 2:
        return forge_header(folder / 'model.safetensors', random)
    if kind == 3:
        return forge_identity(folder, random, sha256)
    names = ('config.json', 'preprocessor_config.json', 'model.safetensors')
    file = folder / names[random.integers(len(names))]
    return f'{file.name}, {damage.damage_file(file, random)}'


def test_hostile_encoders_are_refused_or_have_another_name(tmp_path):
    from jaxser.pretrained.encoder import read_encoder

    drill = Drill('hostile encoder folders')
    sources, right, hashes = [], [], []
    for number, case in enumerate(('wav2vec2 base', 'hubert large', 'wavlm base', 'whisper')):
        folder = tmp_path / f'source{number}'
        folder.mkdir()
        sources.append(parity.write(case, folder))
        right.append(encode(folder))
        hashes.append(read_encoder(folder).sha256)
    for number, random in drill.cases(150):
        source = random.integers(len(sources))
        folder = damage.replace_by_copy(sources[source], tmp_path / 'encoder')
        done = damage_encoder(folder, random, hashes[source])

        def run(folder=folder, right=right[source]):
            name, states = encode(folder)
            if name == right[0] and not np.array_equal(states, right[1]):
                raise Difference(f'{name} has other states')

        drill.attempt(f'case {number}: encoder {source}, {done}', run)
    drill.fail_if_any()

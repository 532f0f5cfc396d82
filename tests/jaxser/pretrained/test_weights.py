"""Tests of the weights of pretrained encoders: names of tensors and files, and the identity."""

import hashlib
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import parity
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

from data_pipelines.errors import UserError
from data_pipelines.features.upstream import EncoderStates
from jaxser.models import fine_tuned
from jaxser.pretrained import encoder, extractor, identity
from jaxser.pretrained.encoder import read_encoder, write_encoder
from jaxser.training import experiment

QUERY = 'encoder.layers.1.attention.q_proj.weight'
STEM = 'encoder.pos_conv_embed.conv.parametrizations.weight.original'
WEIGHTS = 'model.safetensors'


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small, undamaged HuBERT."""
    (tmp_path / 'hubert').mkdir()
    return parity.write('hubert base', tmp_path / 'hubert')


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a folder, which a test may change."""
    return {name: tensor.copy() for name, tensor in load_file(folder / WEIGHTS).items()}


def read_error(folder: Path) -> str:
    """Returns the message with which the folder is refused."""
    with pytest.raises(UserError) as caught:
        read_encoder(folder)
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize('case', ['hubert base', 'whisper'])
@pytest.mark.parametrize('prefix', ['module.', 'module.hubert.', 'upstream.model.', 'a.encoder.'])
def test_any_prefix_that_the_tensors_share_is_understood(tmp_path, case, prefix):
    """As of a model that was trained on several GPUs, or within another one."""
    folder = parity.write(case, tmp_path)
    original = read_encoder(folder)
    tensors = {prefix + name: tensor for name, tensor in read_tensors(folder).items()}
    save_file(tensors | {'head.layer_norm.bias': np.zeros(3, np.float32)}, folder / WEIGHTS)
    pretrained = read_encoder(folder)
    chex.assert_trees_all_equal(pretrained.params, original.params)
    assert pretrained.sha256 == original.sha256
    assert set(pretrained.unused_tensors) == {'head.layer_norm.bias', f'{prefix}masked_spec_embed'}


def test_two_encoders_under_two_prefixes_are_refused(folder):
    """Neither is the right one; a known prefix is."""
    tensors = read_tensors(folder)
    both = {f'{prefix}.{k}': x for prefix in ('student', 'teacher') for k, x in tensors.items()}
    save_file(both, folder / WEIGHTS)
    assert 'has 2 encoders, whose tensors begin with student., teacher.' in read_error(folder)
    save_file(both | {f'hubert.{k}': x for k, x in tensors.items()}, folder / WEIGHTS)
    assert len(read_encoder(folder).unused_tensors) == 2 * len(tensors) + 1


def test_control_characters_of_names_are_not_printed(folder):
    """The names of tensors are the file's."""
    tensors = {f'\x1b[31m.{k}': x for k, x in read_tensors(folder).items() if k != QUERY}
    save_file(tensors, folder / WEIGHTS)
    message = read_error(folder)
    assert rf'\x1b[31m.{QUERY}' in message
    assert '\x1b' not in message


def test_two_lines_say_how_to_convert_pickled_weights(folder, tmp_path):
    """They are run here with a stand-in for torch, which need not be installed."""
    (folder / WEIGHTS).rename(folder / 'pytorch_model.bin')
    (folder / 'training_args.bin').touch()
    _, cd, python = read_error(folder).split('\n  ')
    assert cd == f'cd {folder} && pip install torch safetensors'
    stand_in = tmp_path / 'stand_in'
    (stand_in / 'safetensors').mkdir(parents=True)
    (stand_in / 'torch.py').write_text(
        'class Tensor(str):\n'
        '    def contiguous(self): return self\n'
        '    def clone(self): return self\n'
        'def load(name, device, weights_only):\n'
        '    assert weights_only\n'
        '    return {name: Tensor("x")}\n'
    )
    (stand_in / 'safetensors' / '__init__.py').touch()
    (stand_in / 'safetensors' / 'torch.py').write_text(
        'def save_file(tensors, name): open(name, "w").write(repr(tensors))\n'
    )
    assert python.startswith('python -c ')
    subprocess.run(
        f'export PYTHONPATH={stand_in}; cd {folder}; {sys.executable}'
        + python.removeprefix('python'),
        shell=True,
        check=True,
    )
    assert (folder / WEIGHTS).read_text() == "{'pytorch_model.bin': 'x'}"


def test_a_variant_and_what_to_do_with_it_are_named(folder):
    """It is copied under the name that is read."""
    variant = folder / 'model.fp16.safetensors'
    (folder / WEIGHTS).rename(variant)
    assert read_error(folder).endswith(f'run:\n  cd {folder}\n  cp {variant.name} {WEIGHTS}')
    index = folder / 'model.safetensors.index.fp16.json'
    index.touch()
    assert read_error(folder).endswith(f'cp {index.name} model.safetensors.index.json')
    index.unlink()
    variant.rename(folder / 'adapter_model.safetensors')
    assert '(it has adapter_model.safetensors)' in read_error(folder)
    (folder / 'adapter_model.safetensors').unlink()
    assert read_error(folder).endswith('index.json. Download the folder again.')


@pytest.mark.parametrize('name', ['tf_model.h5', 'model.onnx', 'model.safetensors.part'])
def test_weights_of_other_programs_are_named(name, folder):
    (folder / WEIGHTS).rename(folder / name)
    assert f'{name}: of another program, or not complete' in read_error(folder)


def test_what_a_file_really_is_is_said(folder):
    """Other kinds of files under the name of the weights are recognised by their first bytes."""
    for head, message in (
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n', 'git lfs pull'),
        (b'<!DOCTYPE html><html>', 'it is a web page (HTML)'),
        (b'PK\x03\x04' + bytes(30) + b'pytorch_model/data.pkl', 'is a pickled file of PyTorch'),
    ):
        (folder / WEIGHTS).write_bytes(head)
        assert message in read_error(folder)


def save_shards(folder: Path, shards: list[dict]) -> None:
    """Replaces the weights by these shards and their index."""
    (folder / WEIGHTS).unlink(missing_ok=True)
    weight_map = {}
    for n, tensors in enumerate(shards):
        file = f'model-{n + 1:05}-of-{len(shards):05}.safetensors'
        save_file(tensors, folder / file)
        weight_map.update(dict.fromkeys(tensors, file))
    index = folder / 'model.safetensors.index.json'
    index.write_text(json.dumps({'weight_map': weight_map}))


def test_a_tensor_in_two_shards_is_named(folder):
    """Either could be meant."""
    tensors = read_tensors(folder)
    save_shards(folder, [tensors, {QUERY: tensors[QUERY] + 1}])
    assert f'model-00001-of-00002.safetensors both have the tensor {QUERY}' in read_error(folder)


def test_tensors_that_are_no_plain_numbers_or_do_not_fit_are_refused(folder):
    """Quantised ones, a norm of zero, norms over other axes, a float64 beyond float32."""
    original = read_tensors(folder)
    length, direction = original[f'{STEM}0'], original[f'{STEM}1']
    for changes, message in (
        ({QUERY: original[QUERY].astype(np.int8)}, f'{QUERY} has the type I8; supported are F32'),
        ({f'{STEM}1': direction * 0}, f'{STEM}1 has a norm of 0'),
        ({f'{STEM}0': length.reshape(-1, 1, 1)}, f'{STEM}0 has the shape (8, 1, 1); config.json'),
        ({QUERY: original[QUERY] + np.float64(1e300)}, f'{QUERY} is not finite'),
    ):
        save_file(original | changes, folder / WEIGHTS)
        assert message in read_error(folder)
    save_file(original | {QUERY: original[QUERY].astype(np.float64)}, folder / WEIGHTS)
    assert read_encoder(folder).sha256


def test_the_identity_is_that_of_the_tensors(folder, tmp_path):
    """Shards, metadata, prefix and other tensors leave it; one bit of any shard changes it."""
    original = read_encoder(folder)
    tensors = read_tensors(folder)
    names = sorted(tensors)
    save_file(tensors, folder / WEIGHTS, {'format': 'np', 'by': 'me'})
    assert read_encoder(folder).sha256 == original.sha256
    save_file({f'hubert.{k}': tensors[k] for k in names}, folder / WEIGHTS)
    assert read_encoder(folder).sha256 == original.sha256
    older = tensors | {
        f'encoder.pos_conv_embed.conv.weight_{end}': tensors.pop(f'{STEM}{n}')
        for n, end in enumerate('gv')
    }
    save_file({k: older[k] for k in older if STEM not in k}, folder / WEIGHTS)
    assert read_encoder(folder).sha256 == original.sha256
    tensors = {k: older[k] for k in older if STEM not in k}
    names = sorted(tensors)
    identities = {original.sha256}
    for changed in (names[0], names[1], QUERY):
        shards = [{k: tensors[k].copy() for k in names[n::2]} for n in (0, 1)]
        save_shards(folder, shards)
        assert read_encoder(folder).sha256 == original.sha256
        for shard in shards:
            if changed in shard:
                shard[changed].view(np.int32).flat[0] ^= 1
        save_shards(folder, shards)
        identities.add(read_encoder(folder).sha256)
    assert len(identities) == 4


def test_the_identity_does_not_depend_on_bfloat16(folder):
    """The same values in 16 and in 32 bits give the same states."""
    tensors = {k: np.asarray(jnp.asarray(x, jnp.bfloat16)) for k, x in read_tensors(folder).items()}
    save_file(tensors, folder / WEIGHTS)
    short = read_encoder(folder)
    save_file({k: x.astype(np.float32) for k, x in tensors.items()}, folder / WEIGHTS)
    assert read_encoder(folder).sha256 == short.sha256


def forge_copy(original: encoder.PretrainedEncoder, out: Path) -> Path:
    """Writes a copy with one other weight, whose header claims to be the original's."""
    write_encoder(original, out)
    file = out / WEIGHTS
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    length = struct.unpack('<Q', content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    data = bytes(content[8 + length :])
    header['__metadata__'][identity.DATA_SHA256_KEY] = hashlib.sha256(data).hexdigest()
    head = json.dumps(header).encode()
    file.write_bytes(struct.pack('<Q', len(head)) + head + data)
    return out


def test_a_forged_header_does_not_make_another_encoder_of_it(folder, tmp_path):
    """Neither for the name of features, nor for a model that uses the encoder."""
    original = read_encoder(folder)
    states = EncoderStates.from_encoder(original, 'pooled')
    record = {'name': states.name, 'sha256': states.sha256}
    model = tmp_path / 'model'
    write_encoder(original, model / 'upstream')
    true_copy = read_encoder(model / 'upstream')
    assert extractor.recorded_states(true_copy, record, model) == states
    assert EncoderStates.from_encoder(true_copy, 'pooled').name == states.name
    shutil.rmtree(model / 'upstream')
    forged = read_encoder(forge_copy(original, model / 'upstream'))
    (model / 'model.json').touch()
    assert forged.sha256 != original.sha256
    assert EncoderStates.from_encoder(forged, 'pooled').name != states.name
    assert extractor.recorded_states(forged, record, model) is None
    assert not extractor.has_digest(forged, states.digest)


def test_an_encoder_that_an_earlier_version_recorded_is_recognised(folder, tmp_path):
    """By its files; of a copy, only in the folder of its model."""
    original = read_encoder(folder)
    states = EncoderStates.from_encoder(original, 'pooled')
    earlier = states.with_earlier_identity(original, identity.hash_files(folder))
    record = {'name': earlier.name, 'sha256': earlier.sha256}
    model = tmp_path / 'model'
    assert extractor.recorded_states(original, record, model) == earlier
    assert extractor.has_digest(original, earlier.digest)
    config = SimpleNamespace(lora=0, weights=earlier.digest, upstream=str(folder))
    fine_tuned.check_encoder(config, original)
    config.weights = '0' * 8
    with pytest.raises(UserError, match='with other weights or sizes'):
        fine_tuned.check_encoder(config, original)
    write_encoder(original, model / 'upstream')
    copy = read_encoder(model / 'upstream')
    assert extractor.recorded_states(copy, record, model) == earlier
    assert extractor.recorded_states(copy, record, tmp_path / 'other') is None
    assert not extractor.has_digest(copy, earlier.digest)
    (model / 'model.json').touch()
    assert extractor.has_digest(copy, earlier.digest)


@pytest.mark.parametrize('is_same', [True, False])
def test_a_sweep_that_an_earlier_version_began_keeps_its_digest(folder, tmp_path, is_same):
    """So it can be resumed; with other weights it is another sweep."""
    original = read_encoder(folder)
    states = EncoderStates.from_encoder(original, 'pooled')
    earlier = states.with_earlier_identity(original, identity.hash_files(folder))
    digest = earlier.digest if is_same else '0' * 8
    stored = {'method': 'dann', 'data': {}, 'protocol': {}, 'model': {'weights': digest}}
    config = ConfigDict({'model': {'weights': states.digest, 'upstream': str(folder)}})
    experiment._keep_earlier_digest(tmp_path / 'none', config)
    assert config.model.weights == states.digest
    (tmp_path / 'config.json').write_text(json.dumps({'config': stored}))
    experiment._keep_earlier_digest(tmp_path, config)
    assert config.model.weights == (earlier if is_same else states).digest


def test_corpora_prepared_by_an_earlier_version_keep_the_name(folder, tmp_path):
    """So other corpora can be prepared next to them; a name of other weights is not taken."""
    states = extractor.states_from_folder(folder, 'pooled')
    earlier = states.with_earlier_identity(read_encoder(folder), identity.hash_files(folder))
    data = tmp_path / 'data'
    assert extractor.with_prepared_name(states, data) == states
    (data / 'demo' / states.name.replace(states.digest, '0' * 8)).mkdir(parents=True)
    assert extractor.with_prepared_name(states, data) == states
    (data / 'demo' / earlier.npz_name).touch()
    renamed = extractor.with_prepared_name(states, data)
    assert (renamed, renamed.sha256, renamed.folder) == (earlier, earlier.sha256, str(folder))
    (data / 'demo' / states.name).mkdir()
    assert extractor.with_prepared_name(states, data) == states


def test_licences_are_copied_through_the_links_of_a_download_and_no_other(folder, tmp_path, capsys):
    """Hugging Face's cache is links to `blobs`; another link could publish a private file."""
    encoder = read_encoder(folder)
    snapshot = tmp_path / 'models--a--b' / 'snapshots' / '1234'
    shutil.copytree(folder, snapshot)
    (tmp_path / 'models--a--b' / 'blobs').mkdir()
    (tmp_path / 'models--a--b' / 'blobs' / '56').write_text('As you like it.')
    (tmp_path / 'id_rsa').write_text('private')
    (snapshot / 'LICENSE').symlink_to('../../blobs/56')
    (snapshot / 'NOTICE').symlink_to(tmp_path / 'id_rsa')
    (snapshot / 'LICENSE.md').symlink_to('LICENSE.md')
    write_encoder(encoder._replace(folder=snapshot), tmp_path / 'copy')
    names = {path.name for path in (tmp_path / 'copy').iterdir()}
    assert names == {'config.json', 'preprocessor_config.json', WEIGHTS, 'LICENSE'}
    assert (tmp_path / 'copy' / 'LICENSE').read_text() == 'As you like it.'
    notes = capsys.readouterr().err
    assert 'NOTICE is not copied: it is a link to another folder' in notes
    assert 'LICENSE.md is not copied' in notes


def test_a_copy_has_the_settings_of_both_layouts_and_no_large_file(folder, tmp_path):
    """A licence of 2 MB is none."""
    settings = {'feature_extractor': json.loads((folder / 'preprocessor_config.json').read_text())}
    (folder / 'preprocessor_config.json').unlink()
    (folder / 'processor_config.json').write_text(json.dumps(settings))
    (folder / 'LICENSE').write_text('As you like it.')
    (folder / 'NOTICE').write_bytes(bytes(2 * 2**20))
    write_encoder(read_encoder(folder), tmp_path / 'copy')
    names = {path.name for path in (tmp_path / 'copy').iterdir()}
    assert names == {'config.json', 'processor_config.json', WEIGHTS, 'LICENSE'}
    assert not read_encoder(tmp_path / 'copy').guesses

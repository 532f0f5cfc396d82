"""Tests that pretrained encoders are read from their folders and equal those of transformers."""

import json
import os
import shutil
import struct
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
from helpers import parity
from safetensors.numpy import load_file, save_file

from data_pipelines.errors import UserError
from data_pipelines.features.upstream import whisper_log_mel
from jaxser import upstream
from jaxser.pretrained import encoder


@pytest.fixture(scope='module', params=parity.CASES)
def case(request, tmp_path_factory):
    """A name, and the encoder."""
    return request.param, encoder.read_encoder(
        parity.write(request.param, tmp_path_factory.mktemp('upstream'))
    )


def compute_states(
    pretrained: encoder.PretrainedEncoder,
    inputs: list[np.ndarray],
    beyond: float = 0.0,
    extra: int = 0,
):
    """Returns states_LxBxTxD of a batch and frames_B.

    `beyond` is the value of the padding, `extra` its additional length.
    """
    length = max(map(len, inputs)) + extra
    x = np.full((len(inputs), length, *inputs[0].shape[1:]), beyond, np.float32)
    for b, utterance in enumerate(inputs):
        x[b, : len(utterance)] = utterance
    states, frames_B = jax.jit(pretrained.module.apply)(
        {'params': pretrained.params}, x, np.array([len(i) for i in inputs])
    )
    return np.stack(states), np.asarray(frames_B)


def test_states_of_a_padded_batch_equal_those_of_transformers(case):
    """They are equal to 1e-4, whatever the padding, and zero beyond an utterance's frames."""
    name, pretrained = case
    extra = 0 if name == 'whisper' else 33  # Whisper takes no longer input
    states, frames_B = compute_states(pretrained, parity.inputs(name), beyond=7.0, extra=extra)
    with np.load(parity.FILE, allow_pickle=False) as stored:
        for b, count in enumerate(frames_B):
            expected = stored[f'{name}/{b}']
            assert count == expected.shape[1]
            assert len(states) == len(expected) == pretrained.state_count
            np.testing.assert_allclose(states[:, b, :count], expected, atol=1e-4, rtol=1e-4)
            assert not states[:, b, count:].any()


def test_stored_states_equal_those_of_the_installed_transformers(tmp_path):
    """The test needs torch and transformers (pip install '.[parity]')."""
    pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    wave = np.random.default_rng(0).normal(size=480_000).astype(np.float32)
    expected = (
        transformers.WhisperFeatureExtractor()(wave, sampling_rate=16_000, return_tensors='np')
        .input_features[0]
        .T
    )
    np.testing.assert_allclose(whisper_log_mel(wave, 80), expected, atol=1e-4)
    with np.load(parity.FILE, allow_pickle=False) as stored:
        for case in parity.CASES:
            folder = tmp_path / case.replace(' ', '_')
            folder.mkdir()
            for n, states in enumerate(parity.theirs(case, parity.write(case, folder))):
                np.testing.assert_allclose(np.stack(states), stored[f'{case}/{n}'], atol=1e-5)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small, undamaged HuBERT."""
    return parity.write('hubert base', tmp_path)


def change_tensors(folder: Path, change) -> None:
    """Rewrites the tensors of a folder after a function has changed them."""
    tensors = dict(load_file(folder / 'model.safetensors'))
    change(tensors)
    save_file(tensors, folder / 'model.safetensors')


def read_error(folder: Path) -> str:
    """Returns the message with which the folder is refused."""
    with pytest.raises(UserError) as caught:
        encoder.read_encoder(folder)
    assert len(str(caught.value)) < 700
    return str(caught.value)


QUERY = 'encoder.layers.1.attention.q_proj.weight'


def test_a_missing_tensor_is_named(folder):
    """The message also has the number of missing tensors."""
    change_tensors(folder, lambda tensors: tensors.pop(QUERY))
    assert f'lacks 1 tensor of 45 of its hubert encoder: {QUERY}. ' in read_error(folder)
    change_tensors(folder, lambda tensors: [tensors.pop(k) for k in list(tensors)[1:]])
    assert 'lacks 44 tensors of 45' in read_error(folder)


def test_a_tensor_of_another_shape_or_not_finite_is_named(folder):
    """The shape is in the order of PyTorch, so that it can be looked up."""
    whole = (folder / 'model.safetensors').read_bytes()
    change_tensors(folder, lambda tensors: tensors.update({QUERY: tensors[QUERY][:8]}))
    assert f'{QUERY} has the shape (8, 16); config.json implies (16, 16)' in read_error(folder)
    (folder / 'model.safetensors').write_bytes(whole)
    change_tensors(folder, lambda tensors: tensors[QUERY].__setitem__((3, 3), np.nan))
    assert f'{QUERY} is not finite' in read_error(folder)


def test_the_first_incomplete_tensor_of_a_cut_file_is_named(folder):
    """The file is cut within the data or the header, or is not a safetensors file at all."""
    file = folder / 'model.safetensors'
    whole = file.read_bytes()
    length = struct.unpack('<Q', whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    last = max(
        (k for k in header if k != '__metadata__'), key=lambda k: header[k]['data_offsets'][1]
    )
    file.write_bytes(whole[:-1])
    assert f'is cut off within the tensor {last}' in read_error(folder)
    for content in (whole[: 8 + length // 2], whole[:5], b'', b'x' * 1000):
        file.write_bytes(content)
        assert 'not a safetensors file, or is cut off before its first tensor' in read_error(folder)
    for damaged_entry in (
        {'dtype': 'F32', 'shape': [1]},
        {**header[last], 'data_offsets': [0, '8']},
        7,
    ):
        damaged_header = json.dumps(header | {last: damaged_entry}).encode()
        file.write_bytes(
            struct.pack('<Q', len(damaged_header)) + damaged_header + whole[8 + length :]
        )
        assert f'does not say where the tensor {last} is' in read_error(folder)


def test_shards_are_read_as_one_and_a_missing_one_is_named(folder):
    """They are read by the index; every shard must be in the folder."""
    original = encoder.read_encoder(folder)
    tensors = dict(load_file(folder / 'model.safetensors'))
    names = sorted(tensors)
    files = ('model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors')
    for n, file in enumerate(files):
        save_file({k: tensors[k] for k in names[n::2]}, folder / file)
    index = {'weight_map': {k: files[n % 2] for n, k in enumerate(names)}}
    (folder / 'model.safetensors').unlink()
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    chex.assert_trees_all_equal(encoder.read_encoder(folder).params, original.params)
    (folder / files[1]).unlink()
    assert f'lacks {files[1]}, one of 2' in read_error(folder)
    index['weight_map'][QUERY] = '../elsewhere.safetensors'
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    assert 'not a file of that folder' in read_error(folder)
    (folder / 'model.safetensors.index.json').write_text('{"weight_map": []}')
    assert 'has no weight_map, which says where each tensor is' in read_error(folder)


def test_each_file_of_a_checkpoint_is_opened_once(folder, monkeypatch):
    """It is opened once however many tensors are read from it."""
    opened = []
    safe_open = safetensors.safe_open

    def counting_open(file, framework):
        opened.append(file)
        return safe_open(file, framework)

    monkeypatch.setattr(safetensors, 'safe_open', counting_open)
    encoder.read_encoder(folder)
    assert opened == [folder / 'model.safetensors']


def test_prefixes_spellings_of_weight_norm_and_16_bit_types_are_read(folder, tmp_path):
    """As saved with a classifier, by older versions of torch, or in bfloat16 or float16."""
    original = encoder.read_encoder(folder)
    stem = 'encoder.pos_conv_embed.conv'

    def rename_as_older(tensors: dict) -> None:
        for n, name in enumerate(('weight_g', 'weight_v')):
            tensors[f'{stem}.{name}'] = tensors.pop(f'{stem}.parametrizations.weight.original{n}')
        for k in list(tensors):
            tensors[f'hubert.{k}'] = tensors.pop(k)
        tensors['classifier.weight'] = np.zeros((2, 16), np.float32)

    change_tensors(folder, rename_as_older)
    pretrained = encoder.read_encoder(folder)
    chex.assert_trees_all_equal(pretrained.params, original.params)
    assert pretrained.unused_tensors == ('classifier.weight', 'hubert.masked_spec_embed')
    for kind in (jnp.bfloat16, jnp.float16):
        change_tensors(
            folder,
            lambda tensors, kind=kind: tensors.update(
                {k: np.asarray(jnp.asarray(x, kind)) for k, x in tensors.items()}
            ),
        )
        chex.assert_trees_all_close(
            encoder.read_encoder(folder).params, original.params, atol=0.02, rtol=0.02
        )


def change_config(folder: Path, **changes) -> None:
    """Changes config.json of a folder."""
    config = json.loads((folder / 'config.json').read_text()) | changes
    (folder / 'config.json').write_text(json.dumps(config))


def test_unsupported_folders_are_refused(folder):
    """By configuration, by preprocessor, with pickled weights, or if the folder is missing."""
    change_config(folder, model_type='bert')
    assert "model_type 'bert'; supported are wav2vec2, hubert, wavlm, whisper" in read_error(folder)
    change_config(folder, model_type='hubert', hidden_act='relu')
    assert "hidden_act 'relu'; only 'gelu'" in read_error(folder)
    change_config(folder, hidden_act='gelu', num_attention_heads=3)
    assert 'config.json does not describe an encoder: ' in read_error(folder)
    change_config(folder, num_attention_heads=2, num_conv_pos_embedding_groups=3)
    assert 'config.json does not describe an encoder: ' in read_error(folder)
    change_config(folder, num_conv_pos_embedding_groups=4, feat_extract_norm='batch')
    assert "feat_extract_norm 'batch'; supported are group and layer" in read_error(folder)
    change_config(folder, feat_extract_norm='group')
    (folder / 'preprocessor_config.json').write_text('{"sampling_rate": 8000}')
    assert 'has a sampling_rate of 8000 Hz; expected 16000' in read_error(folder)
    (folder / 'preprocessor_config.json').write_text('{')
    assert 'preprocessor_config.json cannot be read' in read_error(folder)
    (folder / 'preprocessor_config.json').unlink()
    shutil.move(folder / 'model.safetensors', folder / 'pytorch_model.bin')
    assert 'pytorch_model.bin: pickled, which is never opened' in read_error(folder)
    assert 'is not a folder; expected a Hugging Face folder' in read_error(folder / 'nowhere')


def test_an_encoder_is_described(folder):
    """The description has model, size, input, and the tensors that are not the encoder's."""
    description = '\n'.join(upstream.describe_encoder(folder))
    assert 'the encoder of hubert, 2 layers of width 16 with 2 heads' in description
    assert 'input: samples at 16000 Hz; a frame every 1.25 ms' in description
    assert "not the encoder's: 1 tensor: masked_spec_embed" in description


def test_whisper_tiny_en_equals_transformers():
    """Mean, deviation and one value of each layer equal those of transformers 5.23 to 1e-4.

    The weights are real; the input is 30 s of noise.
    """
    folder = Path(os.environ.get('JAXSER_SHARED', '')) / 'weights' / 'whisper-tiny.en-encoder'
    if not os.environ.get('JAXSER_SHARED') or not folder.is_dir():
        pytest.skip('JAXSER_SHARED has no weights/whisper-tiny.en-encoder')
    pretrained = encoder.read_encoder(folder)
    assert pretrained.unused_tensors == ()
    mel = np.random.default_rng(0).normal(size=(3000, 80)).astype(np.float32)
    states, frames_B = compute_states(pretrained, [mel])
    assert frames_B.tolist() == [1500]
    actual = [(x.mean(), x.std(), x[0, 700, 13]) for x in states.astype(np.float64)]
    expected = [
        (0.3270020, 0.8120720, -0.1381442),
        (0.4327718, 0.6191303, 0.2324365),
        (0.4304950, 0.5721288, 0.1547125),
        (0.4159632, 0.7063415, 0.5325270),
        (-0.0132653, 1.2869714, 0.0894084),
    ]
    np.testing.assert_allclose(actual, expected, atol=1e-4)

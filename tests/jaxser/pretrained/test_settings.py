"""Tests of the JSON files of pretrained encoders: bounds of sizes, preparation of the input."""

import json
import os
import time
from pathlib import Path

import pytest
from helpers import parity

from data_pipelines.errors import UserError
from jaxser import upstream
from jaxser.pretrained import encoder

SAMPLE_RATE = 16_000


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small, undamaged HuBERT, whose input is not normalised."""
    return parity.write('hubert base', tmp_path)


def write_json(path: Path, **content) -> None:
    """Writes a JSON object."""
    path.write_text(json.dumps(content))


def move_settings(folder: Path, key: str = 'feature_extractor') -> None:
    """Moves the settings of the input to where transformers 5 saves them."""
    file = folder / 'preprocessor_config.json'
    nested = {key: json.loads(file.read_text()), 'processor_class': 'Wav2Vec2Processor'}
    write_json(folder / 'processor_config.json', **nested)
    file.unlink()


@pytest.mark.parametrize('key', ['feature_extractor', 'audio_processor'])
@pytest.mark.parametrize('normalises', [False, True])
def test_both_layouts_of_transformers_are_read(folder, key, normalises, capsys):
    """do_normalize is in preprocessor_config.json, or in a part of processor_config.json."""
    write_json(
        folder / 'preprocessor_config.json', do_normalize=normalises, sampling_rate=SAMPLE_RATE
    )
    before = encoder.read_encoder(folder)
    move_settings(folder, key)
    after = encoder.read_encoder(folder)
    assert before.normalises_input == after.normalises_input == normalises
    assert before.hashed_settings == after.hashed_settings
    assert capsys.readouterr().err == ''


def test_settings_in_the_other_file_s_layout_are_read_too(folder, capsys):
    """Plain ones in processor_config.json, a part of preprocessor_config.json, a part of null."""
    settings = {'do_normalize': False, 'sampling_rate': SAMPLE_RATE}
    plain, nested = folder / 'preprocessor_config.json', folder / 'processor_config.json'
    plain.unlink()
    write_json(nested, **settings)
    assert not encoder.read_encoder(folder).normalises_input
    nested.unlink()
    write_json(plain, feature_extractor=settings)
    assert not encoder.read_encoder(folder).normalises_input
    write_json(plain, **settings)
    write_json(nested, feature_extractor=None)
    assert not encoder.read_encoder(folder).normalises_input
    assert capsys.readouterr().err == ''


def test_a_width_that_the_heads_cannot_share_is_named(folder):
    config = json.loads((folder / 'config.json').read_text())
    write_json(folder / 'config.json', **config | {'num_attention_heads': 3})
    with pytest.raises(UserError, match=r'hidden_size is \d+, which is no multiple of num_att'):
        encoder.read_encoder(folder)


def test_a_folder_above_or_a_file_of_the_encoder_is_refused_with_its_folder(
    folder, tmp_path, monkeypatch
):
    """As in the cache of Hugging Face; a name there is refused with how to download it."""
    snapshot = tmp_path / 'models--a--b/snapshots/0123'
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(folder)
    with pytest.raises(UserError, match=r'There is one in .*snapshots/0123: name that'):
        encoder.read_encoder(tmp_path / 'models--a--b')
    with pytest.raises(UserError, match=f'Name its folder, {folder}'):
        encoder.read_encoder(folder / 'model.safetensors')
    with monkeypatch.context() as context:  # FOLDER/FILE is written like OWNER/NAME
        context.chdir(folder.parent)
        with pytest.raises(UserError, match=f'Name its folder, {folder.name}'):
            encoder.read_encoder(f'{folder.name}/model.safetensors')
    with pytest.raises(UserError, match=r'is not a folder.*or a name on the Hugging Face Hub'):
        encoder.read_encoder('~/hubert')


def test_a_processor_without_settings_of_the_input_is_passed_over(folder, capsys):
    """That is how transformers 4 wrote it, next to preprocessor_config.json."""
    write_json(folder / 'processor_config.json', processor_class='Wav2Vec2Processor')
    assert not encoder.read_encoder(folder).normalises_input
    assert capsys.readouterr().err == ''


def test_what_the_folder_does_not_say_is_printed_as_a_guess(folder, capsys):
    """It is printed once, and the description of the encoder says it, too."""
    (folder / 'preprocessor_config.json').unlink()
    assert encoder.cached_encoder(folder).normalises_input
    encoder.cached_encoder(folder)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert 'no do_normalize and no sampling_rate in preprocessor_config.json or' in lines[0]
    assert 'This is a guess: each wave is normalised' in lines[0]
    assert 'deviation (a guess)' in '\n'.join(upstream.describe_encoder(folder))
    write_json(folder / 'preprocessor_config.json', do_normalize=False)
    assert encoder.read_encoder(folder).guesses[0].count('do_normalize') == 0
    write_json(folder / 'preprocessor_config.json', do_normalize=None, sampling_rate=SAMPLE_RATE)
    assert 'no do_normalize in' in encoder.read_encoder(folder).guesses[0]


def test_two_files_that_contradict_each_other_are_named(folder, capsys):
    """The nested settings are used, as transformers does."""
    settings = {'do_normalize': True, 'sampling_rate': SAMPLE_RATE}
    write_json(folder / 'processor_config.json', feature_extractor=settings)
    assert encoder.read_encoder(folder).normalises_input
    message = 'do_normalize is False in preprocessor_config.json and True in processor_config.json'
    assert message in capsys.readouterr().err


def read_error(folder: Path) -> str:
    """Returns the message with which the folder is refused, which takes at most 20 s."""
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        encoder.read_encoder(folder)
    assert time.monotonic() - start < 20
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'sampling_rate': 8000}, 'has a sampling_rate of 8000 Hz; expected 16000'),
        ({'sampling_rate': '16000'}, "sampling_rate is '16000'; expected a finite number"),
        ({'do_normalize': 'false'}, "do_normalize is 'false'; expected true or false"),
    ],
)
def test_other_settings_of_the_input_are_refused_in_both_layouts(folder, settings, message):
    """The file is named."""
    write_json(folder / 'preprocessor_config.json', **settings)
    assert message in read_error(folder)
    move_settings(folder)
    error = read_error(folder)
    assert message in error
    assert '/processor_config.json' in error
    write_json(folder / 'processor_config.json', feature_extractor=[settings])
    assert 'processor_config.json is damaged' in read_error(folder)


@pytest.mark.parametrize(
    'settings', [{'hop_length': 320}, {'n_fft': 512}, {'do_normalize': True}, {'feature_size': 80}]
)
def test_another_log_mel_than_the_one_computed_is_refused(tmp_path, settings):
    """The encoder has 6 bands."""
    folder = parity.write('whisper', tmp_path)
    ((key, value),) = settings.items()
    write_json(folder / 'preprocessor_config.json', **settings)
    assert f'have {key} {value!r}; only ' in read_error(folder)


SIZES = [
    ('hubert base', {'num_hidden_layers': 10**9}, 'num_hidden_layers is 1000000000; expected'),
    ('hubert base', {'num_hidden_layers': 0}, 'num_hidden_layers is 0; expected'),
    ('hubert base', {'num_hidden_layers': True}, 'num_hidden_layers is True; expected'),
    ('hubert base', {'hidden_size': 16.0}, 'hidden_size is 16.0; expected a whole number'),
    ('hubert base', {'hidden_size': '16'}, "hidden_size is '16'; expected a whole number"),
    ('hubert base', {'hidden_size': None}, 'hidden_size is None; expected a whole number'),
    ('hubert base', {'hidden_size': -16}, 'hidden_size is -16; expected'),
    ('hubert base', {'intermediate_size': 10**12}, 'intermediate_size is 1000000000000'),
    ('hubert base', {'layer_norm_eps': float('nan')}, 'layer_norm_eps is nan; expected a finite'),
    ('hubert base', {'feat_proj_layer_norm': 'false'}, "feat_proj_layer_norm is 'false'"),
    ('hubert base', {'feat_extract_norm': ['group']}, "feat_extract_norm is ['group']"),
    ('hubert base', {'conv_dim': 8}, 'conv_dim is 8; expected a list'),
    ('hubert base', {'conv_dim': [8, 8, [8]]}, 'conv_dim[2] is [8]; expected a whole number'),
    ('hubert base', {'conv_dim': [8] * 2}, 'conv_kernel of 2, 3, 3 convolutions; expected the'),
    ('hubert base', {'conv_dim': [], 'conv_kernel': [], 'conv_stride': []}, 'of 0, 0, 0 conv'),
    ('hubert base', {'conv_stride': [5, 2, 0]}, 'conv_stride[2] is 0; expected'),
    ('hubert base', {'num_conv_pos_embeddings': 10**9}, 'num_conv_pos_embeddings is 1000000000'),
    ('wavlm base', {'num_buckets': 3}, 'num_buckets is 3; expected'),
    ('wavlm base', {'max_bucket_distance': 4}, 'max_bucket_distance 4; expected more than'),
    ('whisper', {'encoder_layers': 10**9}, 'encoder_layers is 1000000000; expected'),
    ('whisper', {'max_source_positions': 10**10}, 'max_source_positions is 10000000000'),
    ('whisper', {'num_mel_bins': 0}, 'num_mel_bins is 0; expected'),
    ('hubert base', {'hidden_size': 2**14, 'num_hidden_layers': 96}, 'billion parameters'),
    ('hubert base', {'num_hidden_layers': 96}, 'lacks 1504 tensors of 1549'),
]


@pytest.mark.parametrize(('case', 'changes', 'message'), SIZES)
def test_sizes_out_of_bounds_are_refused_before_anything_is_made(tmp_path, case, changes, message):
    """The value is named; nothing hangs."""
    folder = parity.write(case, tmp_path)
    write_json(folder / 'config.json', **parity.CASES[case] | changes)
    assert message in read_error(folder)


def test_damaged_json_is_refused(folder):
    """Whatever is wrong with it."""
    file = folder / 'config.json'
    for content, message in (
        ('[' * 100_000, 'too deeply nested'),
        ('[]', 'is not a JSON object'),
        ('{"hidden_size": 1' + '0' * 5000 + '}', 'cannot be read'),
        ('\x00', 'cannot be read'),
        ('<!DOCTYPE html><html></html>', 'it is a web page (HTML)'),
        ('version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'git lfs pull'),
        ('{"model_type": "' + 'x\\u001b' * 2000 + '"}', 'has model_type'),
    ):
        file.write_text(content)
        error = read_error(folder)
        assert message in error
        assert '\x1b' not in error
    file.write_text('\ufeff' + json.dumps(parity.CASES['hubert base']), encoding='utf-8')
    encoder.read_encoder(folder)  # as some editors of Windows save it


@pytest.mark.parametrize('name', ['config.json', 'preprocessor_config.json', 'model.safetensors'])
def test_only_regular_files_of_a_plausible_size_are_read(folder, name):
    """To open a named pipe would wait for ever, and a sparse file costs its sender nothing."""
    file = folder / name
    file.unlink()
    os.mkfifo(file)
    assert f'{name} is not a regular file' in read_error(folder)
    file.unlink()
    file.mkdir()
    assert f'{name} is not a regular file' in read_error(folder)
    file.rmdir()
    file.symlink_to(folder / 'nothing')
    assert f'{name} is a link to a file that does not exist' in read_error(folder)
    file.unlink()
    with open(file, 'wb') as stream:
        stream.truncate(2**40)
    assert f'{name} has {2**40} bytes; such a file' in read_error(folder)

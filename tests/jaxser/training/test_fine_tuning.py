"""Tests of fine-tuning a pretrained encoder, from files to results."""

import shutil

import numpy as np
import pytest
from helpers import tiny_config
from safetensors.numpy import load_file, save_file

from data_pipelines.errors import UserError
from data_pipelines.features import upstream
from data_pipelines.features.log_mel import LogMel
from data_pipelines.prepare import parse_feature_spec
from data_pipelines.storage import dataset
from data_pipelines.storage.preparation import prepare_corpus
from jaxser.configuration import resolve
from jaxser.serving import bundling, model, model_checks, predictor
from jaxser.training import experiment, task, trainer, validate
from jaxser.workdir import Workdir


@pytest.fixture(scope='module')
def prepared(data, whisper, once):
    """The tiny corpus, prepared as the input of a Whisper."""
    spec = parse_feature_spec(f'upstream:{whisper}', 'heard', LogMel())

    def prepare(path):
        prepare_corpus('folder', data.parent / 'list.csv', path, spec, workers=1)

    return once('heard', prepare)


def make_config(prepared, whisper, **changes):
    """Returns a configuration that fine-tunes the Whisper on one fold, with some keys changed."""
    config = tiny_config.get_config()
    keys = {
        'data.dir': str(prepared),
        'data.normalise': 'none',
        'model.name': 'fine_tuned',
        'model.upstream': str(whisper),
        'sweep.time_mask': (0.0,),
        'sweep.band_mask': (0.0,),
        'sweep.fold': 0,
    }
    config.update_from_flattened_dict(keys | changes)
    return config


@pytest.mark.parametrize(('lora', 'expected'), [(1, 2), (0, 1)])
def test_runs_of_adapters_are_blocks(prepared, whisper, monkeypatch, lora, expected):
    """Of one fold on eight devices, two runs of a device; on a CPU not with whole weights."""
    keys = {'sweep.lam': tuple(0.1 * n for n in range(16)), 'model.lora': lora, 'model.dim': 1}
    config = resolve.resolve_config(make_config(prepared, whisper, domain_hidden=1, **keys))
    (program,) = validate.plan_programs(config)
    monkeypatch.setattr(trainer.Trainer, '_compile', lambda self, group, built: None)
    monkeypatch.setattr(trainer.memory, 'required_bytes', lambda compiled, extra: extra)
    built = trainer.Trainer(program, task.Task(config, [program]), None, None)
    assert built._runs_per_block(2) == expected


@pytest.mark.slow
def test_two_methods_are_trained_and_make_a_model(prepared, whisper, tmp_path, capsys):
    """The memory is forecast before training. The model has LoRA's changes only, and predicts."""
    methods = {
        'sweep.method': ('dann', 'speaker_norm'),
        'sweep.lam': (0.5,),
        'train.epochs': 1,
        'model.lora': 2,
    }
    results = experiment.run_experiment(make_config(prepared, whisper, **methods), tmp_path / 'run')
    assert [r['status'] for r in results['runs']] == ['ok', 'ok']
    assert results['normalisation'] == 'none'
    assert 'over a fine-tuned whisper of 2 layers, 16 wide' in results['protocol']
    output = capsys.readouterr().out
    assert 'Forecast of memory for 1 run on a device' in output
    assert output.index('Forecast of memory') < output.index('First step')
    made = model.read_model(bundling.bundle_model(tmp_path / 'run'))
    assert made.metadata['arrays'] == model_checks.describe_arrays(made.arrays)
    params = made.arrays['params']
    layer = params['encoder']['upstream']['layers_0']
    assert set(layer['self_attn']) == {'q_proj', 'v_proj'}
    wave = np.random.default_rng(0).normal(0, 0.1, 3_200).astype(np.float32)
    answer = predictor.load_predictor(tmp_path / 'run', window=0.2, hop=0.2).predict(wave, 16_000)
    assert sum(answer['posterior'].values()) == pytest.approx(1)


def test_the_encoder_may_move_but_its_weights_may_not_change(prepared, whisper, tmp_path):
    """A sweep is resumed with the same weights from another folder, and not with others."""
    config = resolve.resolve_config(make_config(prepared, whisper))
    shutil.copytree(whisper, tmp_path / 'moved')
    moved = resolve.resolve_config(make_config(prepared, tmp_path / 'moved'))
    assert moved.model.weights == config.model.weights
    assert moved.data.upstream == config.data.upstream
    workdir = Workdir(tmp_path / 'run', config)
    workdir.save_description(task.Task(config, validate.plan_programs(config)))
    Workdir(tmp_path / 'run', moved)
    # As jaxser.probe and jaxser.bundle open it.
    later = Workdir.open(tmp_path / 'run', upstream=str(tmp_path / 'moved')).config
    assert later.model.upstream == str(tmp_path / 'moved')
    validate.plan_programs(later)
    file = tmp_path / 'moved' / 'model.safetensors'
    tensors = load_file(file)
    save_file(tensors | {name: 2 * x for name, x in tensors.items()}, file)
    with pytest.raises(
        UserError,
        match=r'moved contains an encoder with other weights or sizes \(\w{8}\) than the one that',
    ):
        validate.plan_programs(later)
    moved.model.weights = 'another'
    with pytest.raises(UserError, match=r'contains another sweep \(model.weights was'):
        Workdir(tmp_path / 'run', moved)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'data.normalise': 'global'},
            r'takes whisper-6-heard-\w+ as it is: set config.data.normalise=none',
        ),
        (
            {'data.upstream': 'wave'},
            r"config.data.upstream is 'wave'; the input of fine_tuned is whisper-6-heard",
        ),
        (
            {'model.name': 'cnn', 'model.upstream': '', 'data.upstream': 'whisper'},
            r'and cnn has no such encoder: set config.model.name=fine_tuned',
        ),
        (
            {'model.upstream': ''},
            r'config.model.upstream is empty: name the folder .*, --config.model.upstream=FOLDER',
        ),
        (
            {'model.upstream': '~/nowhere'},
            r'^/\S+/nowhere is not a folder; expected a Hugging Face folder on this disk',
        ),
        (
            {'model.name': 'tdnn_lstm'},
            r'only fine_tuned trains; the input of tdnn_lstm is what config.data.upstream names',
        ),
        ({'data.dir': 'nowhere'}, r'--out nowhere --features upstream:FOLDER --states heard'),
    ],
)
def test_contradictory_keys_raise_a_user_error(prepared, whisper, changes, message):
    """Its message says what to do."""

    def read_data():
        config = resolve.resolve_config(make_config(prepared, whisper, **changes))
        dataset.find_prepared_data(config.data)

    with pytest.raises(UserError, match=message):
        read_data()


def test_features_that_masks_would_destroy_are_not_masked(prepared, whisper):
    """Samples are not masked, nor is the time of pooled states; other features may be."""
    config = resolve.resolve_config(make_config(prepared, whisper, **{'sweep.time_mask': (0.1,)}))
    validate.plan_programs(config)
    config.data.upstream = upstream.EncoderInput('wave', 160).name
    with pytest.raises(
        UserError, match=r'config.sweep.time_mask is above 0, and wave-160-heard-\w+ are audio'
    ):
        validate.plan_programs(config)
    config.data.upstream = 'whisper-3x16-pooled-00000001'
    with pytest.raises(
        UserError,
        match=r'config.sweep.time_mask is above 0, and whisper-3x16-pooled-00000001 has one frame',
    ):
        validate.plan_programs(config)
    config.sweep.time_mask, config.sweep.band_mask = (0.0,), (0.1,)
    validate.plan_programs(config)

"""Fine-tuning from files to results: what prepare leaves of the sound goes through an encoder that learns."""

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
from jaxser.serving import bundling, model, predictor
from jaxser.training import experiment, task, validate
from jaxser.workdir import Workdir


@pytest.fixture(scope='module')
def heard(data, whisper, once):
    """The made-up speakers as Whisper hears them."""
    spec = parse_feature_spec(f'upstream:{whisper}', 'heard', LogMel())
    return once(
        'heard',
        lambda path: prepare_corpus('folder', data.parent / 'list.csv', path, spec, workers=1),
    )


def configuration(heard, whisper, **changes):
    config = tiny_config.get_config()
    keys = {
        'data.dir': str(heard),
        'data.normalise': 'none',
        'model.name': 'fine_tuned',
        'model.upstream': str(whisper),
    }
    masks = {'sweep.time_mask': (0.0,), 'sweep.band_mask': (0.0,)}
    config.update_from_flattened_dict(keys | masks | {'sweep.fold': 0} | changes)
    return config


@pytest.mark.slow
def test_two_methods_train_are_tested_and_make_a_model(heard, whisper, tmp_path, capsys):
    """The forecast of memory comes before; what is kept is a run's own, and of other sound the model has an answer."""
    methods = {
        'sweep.method': ('dann', 'speaker_norm'),
        'sweep.lam': (0.5,),
        'train.epochs': 1,
        'model.lora': 2,
    }
    results = experiment.run_experiment(configuration(heard, whisper, **methods), tmp_path / 'run')
    assert [r['status'] for r in results['runs']] == ['ok', 'ok']
    assert results['normalisation'] == 'none'
    assert 'over a fine-tuned whisper of 2 layers, 16 wide' in results['protocol']
    said = capsys.readouterr().out
    assert 'Forecast of memory for 1 run on a device' in said
    assert said.index('Forecast of memory') < said.index('First step')
    names = model.read_model(bundling.bundle_model(tmp_path / 'run')).arrays['params']['encoder'][
        'upstream'
    ]
    assert set(names['layers_0']['self_attn']) == {'q_proj', 'v_proj'}
    wave = np.random.default_rng(0).normal(0, 0.1, 3_200).astype(np.float32)
    answer = predictor.load_predictor(tmp_path / 'run', window=0.2, hop=0.2).predict(wave, 16_000)
    assert sum(answer['posterior'].values()) == pytest.approx(1)


def test_the_folder_may_move_and_its_weights_may_not_change(heard, whisper, tmp_path):
    """A sweep goes on with the same weights from elsewhere, and with others it does not."""
    config = resolve.resolve_config(configuration(heard, whisper))
    shutil.copytree(whisper, tmp_path / 'moved')
    moved = resolve.resolve_config(configuration(heard, tmp_path / 'moved'))
    assert (moved.model.weights, moved.data.upstream) == (
        config.model.weights,
        config.data.upstream,
    )
    place = Workdir(tmp_path / 'run', config)
    place.save_description(task.Task(config, validate.validate(config)))
    Workdir(tmp_path / 'run', moved)
    later = Workdir.open(
        tmp_path / 'run', upstream=str(tmp_path / 'moved')
    ).config  # by probe and bundle
    assert later.model.upstream == str(tmp_path / 'moved')
    validate.validate(later)
    file = tmp_path / 'moved' / 'model.safetensors'
    tensors = load_file(file)
    save_file(tensors | {name: 2 * x for name, x in tensors.items()}, file)
    with pytest.raises(
        UserError,
        match=r'moved holds an encoder of other weights or sizes \(\w{8}\) than the one that',
    ):
        validate.validate(later)
    moved.model.weights = 'another'
    with pytest.raises(UserError, match=r'contains another sweep \(model.weights was'):
        Workdir(tmp_path / 'run', moved)


@pytest.mark.parametrize(
    ('changes', 'said'),
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
            r'and cnn is none: set config.model.name=fine_tuned',
        ),
        (
            {'model.upstream': ''},
            r'trains a pretrained encoder: name its folder, --config.model.upstream=FOLDER',
        ),
        (
            {'model.upstream': '~/nowhere'},
            r'^/\S+/nowhere is no folder; expected a Hugging Face folder on this disk',
        ),
        (
            {'model.name': 'tdnn_lstm'},
            r'which only fine_tuned trains; the input of tdnn_lstm is what config.data.upstream names',
        ),
        ({'data.dir': 'nowhere'}, r'--out nowhere --features upstream:FOLDER --states heard'),
    ],
)
def test_what_does_not_fit_together_is_refused(heard, whisper, changes, said):
    """With what to do instead."""
    with pytest.raises(UserError, match=said):
        dataset.read_utterances(
            resolve.resolve_config(configuration(heard, whisper, **changes)).data
        )


def test_what_has_no_time_is_not_masked(heard, whisper):
    """SpecAugment of samples, and of time in states that are pooled over it; elsewhere it is not refused."""
    config = resolve.resolve_config(configuration(heard, whisper, **{'sweep.time_mask': (0.1,)}))
    validate.validate(config)
    config.data.upstream = upstream.EncoderInput('wave', 160).name
    with pytest.raises(
        UserError, match=r'config.sweep.time_mask is above 0, and wave-160-heard-\w+ are samples'
    ):
        validate.validate(config)
    config.data.upstream = 'whisper-3x16-pooled-00000001'
    with pytest.raises(
        UserError,
        match=r'config.sweep.time_mask is above 0, and whisper-3x16-pooled-00000001 has one frame',
    ):
        validate.validate(config)
    config.sweep.time_mask, config.sweep.band_mask = (0.0,), (0.1,)
    validate.validate(config)

"""Tests of encoder states as features: they depend on one utterance and are found by name."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from helpers import parity, tiny_config

from data_pipelines import pack
from data_pipelines.corpora import Utterance
from data_pipelines.errors import UserError
from data_pipelines.features import upstream
from data_pipelines.features.decode import decode
from data_pipelines.features.log_mel import LogMel
from data_pipelines.features.upstream import EncoderStates
from data_pipelines.prepare import make_extractor
from data_pipelines.storage import dataset, npz, preparation, shards
from data_pipelines.storage.prepared import find_dataset, resolve_feature_name
from jaxser.configuration import resolve
from jaxser.pretrained import extractor
from jaxser.pretrained.encoder import read_encoder
from jaxser.training import experiment, validate

# TensorFlow and TFDS give deprecation warnings.
pytestmark = pytest.mark.filterwarnings('default')


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    """Folders of a small HuBERT, and of a small Whisper whose input is at most 0.4 s."""
    return {
        'hubert base': parity.write('hubert base', tmp_path_factory.mktemp('hubert_base')),
        'whisper': parity.write('whisper', tmp_path_factory.mktemp('whisper')),
    }


PREPARED = [
    pytest.param(('hubert base', 'pooled'), id='hubert base-pooled'),
    pytest.param(('hubert base', 'all'), id='hubert base-all', marks=pytest.mark.slow),
    pytest.param(('whisper', 'pooled'), id='whisper-pooled', marks=pytest.mark.slow),
    pytest.param(('whisper', 'all'), id='whisper-all'),
]


@pytest.fixture(scope='module', params=PREPARED)
def prepared(request, data, folders, tmp_path_factory) -> SimpleNamespace:
    """The corpus of the fixture `data` as states of one encoder, and what was printed to stderr."""
    case, state_kind = request.param
    out = tmp_path_factory.mktemp('data')
    spec = extractor.states_from_folder(folders[case], state_kind)
    stderr = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(stderr):
        # Few utterances wait for others, and batches are small.
        patch.setattr(extractor, 'MAX_WAITING_UTTERANCES', 5)
        patch.setattr(extractor, 'MAX_BATCH_HOPS', 400)
        folder = preparation.prepare_corpus(
            'folder',
            data.parent / 'list.csv',
            out,
            spec,
            workers=1,
            extractor=make_extractor(spec),
        )
    return SimpleNamespace(
        case=case,
        state_kind=state_kind,
        spec=spec,
        out=out,
        folder=folder,
        stderr=stderr.getvalue(),
    )


MAX_WHISPER_SAMPLES = 6400  # 0.4 s


def compute_states_alone(encoder, encode, wave: np.ndarray, pooled: bool) -> np.ndarray:
    """Returns states_TxM of one utterance, computed without any other."""
    if encoder.input_kind == 'mel':
        features = upstream.whisper_log_mel(wave[:MAX_WHISPER_SAMPLES], 6)
        padded = features[None]
    else:
        features = wave
        padded = np.zeros((1, 15_000), np.float32)  # one length, so that it compiles once
        padded[0, : len(wave)] = wave
    states, frames_B = encode({'params': encoder.params}, padded, np.array([len(features)]))
    states_TxLxD = np.stack(states)[:, 0, : frames_B[0]].swapaxes(0, 1)
    if pooled:
        moments = [states_TxLxD.mean(0), states_TxLxD.std(0)]
        states_TxLxD = np.concatenate(moments, -1)[None]
    return states_TxLxD.reshape(len(states_TxLxD), -1)


def test_states_of_an_utterance_do_not_depend_on_others(prepared, data, folders):
    """They equal those computed for it by itself, in float16, in the corpus's order."""
    utterances = shards.read_columns(prepared.folder)
    features_RxM = dataset.read_all_features(utterances).astype(np.float32)
    features = np.split(features_RxM, np.cumsum(utterances.frames_N)[:-1])
    encoder = read_encoder(folders[prepared.case])
    encode = jax.jit(encoder.module.apply)
    pooled = prepared.state_kind == 'pooled'
    truncated = 0
    for row in range(0, len(utterances), 7):
        path = data.parent / utterances.text['utterance'][row]  # names are paths in the CSV
        wave = decode(Utterance('', path, '', '', '', ''), upstream.AUDIO_SPEC)
        truncated += prepared.case == 'whisper' and len(wave) > MAX_WHISPER_SAMPLES
        expected_TxM = compute_states_alone(encoder, encode, wave, pooled)
        np.testing.assert_allclose(features[row], expected_TxM, atol=4e-3, rtol=2e-3)
    is_whisper = prepared.case == 'whisper'
    assert (truncated > 0) == is_whisper
    message = 'longer than the 0.4 s that this encoder accepts'
    assert (message in prepared.stderr) == is_whisper


def test_labels_and_signatures_are_those_of_log_mel_features(prepared, data):
    utterances = shards.read_columns(prepared.folder)
    log_mel = shards.read_columns(find_dataset(data, 'folder', LogMel()))
    np.testing.assert_array_equal(utterances.signature_NxS, log_mel.signature_NxS)
    for key, column in utterances.text.items():
        np.testing.assert_array_equal(column, log_mel.text[key])


def test_name_has_all_fields_and_changes_with_the_weights(folders):
    """Pooled states are one frame, of means and standard deviations."""
    pooled = extractor.states_from_folder(folders['whisper'], 'pooled')
    all_frames = extractor.states_from_folder(folders['whisper'], 'all')
    other_weights = extractor.states_from_folder(folders['hubert base'], 'all')
    assert pooled.name.startswith('whisper-3x16-pooled-')
    assert EncoderStates.from_name(pooled.name) == pooled
    assert (pooled.bands, all_frames.bands) == (96, 48)
    assert pooled.digest == all_frames.digest
    assert pooled.digest != other_weights.digest
    for name in ('', 'whisper', 'whisper-3x16-some-01234567', f'{pooled.name}9'):
        with pytest.raises(UserError, match='is not a name of encoder states'):
            EncoderStates.from_name(name)


def test_unknown_kind_of_states_is_refused(folders):
    with pytest.raises(UserError, match=r"kind of states is 'some'; expected one of pooled, all"):
        extractor.states_from_folder(folders['whisper'], 'some')


def test_states_without_their_encoder_are_refused(folders, data, tmp_path):
    """For example when a corpus is to be prepared from the name of the states only."""
    spec = extractor.states_from_folder(folders['whisper'], 'all')
    with pytest.raises(UserError, match=f'{spec.name} is computed by a pretrained encoder'):
        preparation.prepare_corpus('folder', data.parent / 'list.csv', tmp_path / 'out', spec)
    assert not (tmp_path / 'out').exists()


def test_incomplete_states_are_refused_when_training_looks_for_them(tmp_path):
    """They are a folder of that name without prepared.json."""
    folder = tmp_path / 'demo' / 'hubert-3x16-all-00000001'
    folder.mkdir(parents=True)
    config = make_config(tmp_path, **{'data.upstream': folder.name, 'data.corpora': ('demo',)})
    with pytest.raises(UserError, match=r'without its prepared\.json: it is not complete'):
        dataset.find_prepared_data(config.data)


def test_name_changes_with_the_normalisation_of_the_wave(folders):
    """It is set in preprocessor_config.json; the weights are the same."""
    folder = folders['hubert base']
    file = folder / 'preprocessor_config.json'
    before = extractor.states_from_folder(folder, 'all').name
    content = file.read_text()
    file.write_text(content.replace('false', 'true'))
    assert extractor.states_from_folder(folder, 'all').name != before
    file.write_text(content)


@pytest.mark.parametrize(
    ('change', 'same'), [({'encoder_attention_heads': 4}, False), ({'decoder_layers': 7}, True)]
)
def test_name_changes_only_with_settings_of_the_encoder(folders, change, same):
    """The weights are the same; a setting of the decoder changes nothing."""
    file = folders['whisper'] / 'config.json'
    before = extractor.states_from_folder(folders['whisper'], 'all').name
    content = file.read_text()
    file.write_text(json.dumps(json.loads(content) | change))
    after = extractor.states_from_folder(folders['whisper'], 'all').name
    file.write_text(content)
    assert (after == before) is same


def test_prepared_features_are_found_by_the_beginning_of_their_name(tmp_path):
    """All corpora must have them. Errors name the candidates, or the command that prepares them."""
    for corpus, name in (
        ('emodb', 'whisper-3x16-all-00000001'),
        ('emodb', 'whisper-3x16-pooled-00000001'),
        ('demo', 'whisper-3x16-all-00000001'),
    ):
        (tmp_path / corpus / name).mkdir(parents=True)
    (tmp_path / 'casia').mkdir()
    (tmp_path / 'casia' / 'whisper-3x16-all-00000001.npz').touch()  # packed
    (tmp_path / 'casia' / 'whisper-notes').mkdir()  # is no name of features
    input_name = upstream.EncoderInput('whisper', 80).name
    for corpus in ('emodb', 'demo', 'casia'):
        (tmp_path / corpus / input_name).mkdir()  # states are preferred to it
    assert (
        resolve_feature_name(tmp_path, ['emodb', 'demo', 'casia'], 'whisper')
        == 'whisper-3x16-all-00000001'
    )
    assert resolve_feature_name(tmp_path, ['emodb'], input_name) == input_name
    assert (
        resolve_feature_name(tmp_path, ['emodb'], 'whisper-3x16-pooled')
        == 'whisper-3x16-pooled-00000001'
    )
    with pytest.raises(
        UserError,
        match='fits whisper-3x16-all-00000001 and whisper-3x16-pooled-00000001: set it to one',
    ):
        resolve_feature_name(tmp_path, ['emodb'], 'whisper')
    message = (
        r'^demo is not prepared in .*begins with .whisper-3x16-pooled. '
        r'\(prepared are emodb: .*\)\. First run.*\n  .*prepare demo --out .*FOLDER$'
    )
    with pytest.raises(UserError, match=message):
        resolve_feature_name(tmp_path, ['emodb', 'demo'], 'whisper-3x16-pooled')
    message = (
        r'^emodb and demo are not prepared .*\n.*prepare emodb --source PATH --out .*\n'
        r'.*prepare demo --out '
    )
    with pytest.raises(UserError, match=message):
        resolve_feature_name(tmp_path, ['emodb', 'demo'], 'hubert')


def make_config(out: Path, **changes):
    config = tiny_config.get_config()
    states = {
        'data.dir': str(out),
        'data.upstream': 'hubert',
        'model.name': 'layer_sum',
        'sweep.time_mask': (0.0,),
        'sweep.band_mask': (0.0,),
    }
    config.update_from_flattened_dict(states | changes)
    return config


def test_sweep_trains_on_states_from_shards_and_npz_alike(prepared, tmp_path):
    if prepared.spec.model == 'whisper':
        pytest.skip('nothing here depends on the encoder')
    config = make_config(prepared.out, **{'train.epochs': 1, 'sweep.lam': (0.5,), 'sweep.fold': 0})
    results = experiment.run_experiment(config, tmp_path / 'shards')
    assert {r['status'] for r in results['runs']} == {'ok'}
    assert f'over the frozen {prepared.spec.name}' in results['protocol']
    packed = npz.npz_path(prepared.out, 'folder', prepared.spec)
    pack.write_npz(prepared.folder, packed)
    experiment.run_experiment(config, tmp_path / 'packed')
    packed.unlink()
    from_shards = (tmp_path / 'shards' / 'predictions.csv').read_text()
    assert (tmp_path / 'packed' / 'predictions.csv').read_text() == from_shards
    resolved = resolve.resolve_config(config)
    assert resolved.model.states == resolved.data.upstream == prepared.spec.name
    assert resolved.data.frames == (1 if prepared.state_kind == 'pooled' else 40)


def test_models_of_frames_and_utterance_statistics_are_refused_for_pooled_states(tmp_path):
    """An utterance is one frame, and normalised by its own mean it would be zero."""
    (tmp_path / 'folder' / 'hubert-3x16-pooled-00000001').mkdir(parents=True)
    with pytest.raises(UserError, match=r'tdnn_lstm needs a sequence of frames'):
        resolve.resolve_config(make_config(tmp_path, **{'model.name': 'tdnn_lstm'}))
    with pytest.raises(
        UserError, match=r'set config.data.normalise=global or speaker_transductive'
    ):
        resolve.resolve_config(make_config(tmp_path, **{'data.normalise': 'speaker'}))
    with pytest.raises(UserError, match=r'name them in config\.data\.upstream'):
        validate.plan_programs(make_config(tmp_path, **{'data.upstream': ''}))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ('--features', 'upstream:FOLDER', '--bands', '40'),
            'The features of a pretrained encoder do not depend on LogMel',
        ),
        (('--features', 'upstream:FOLDER', '--beam'), 'leave --beam out'),
        (
            ('--features', 'upstream:nowhere'),
            'nowhere is not a folder; expected a Hugging Face folder on this disk',
        ),
        (
            ('--states', 'heard'),
            '--states heard needs a pretrained encoder: name its Hugging Face folder, '
            '--features upstream:FOLDER',
        ),
        (('--features', 'upstream'), 'expected log-mel, upstream:FOLDER'),
    ],
)
def test_contradictory_options_are_refused_and_leave_no_files(
    options, message, data, folders, tmp_path
):
    command = [sys.executable, '-m', 'data_pipelines.prepare', 'folder']
    command += ['--source', str(data.parent / 'list.csv'), '--out', str(tmp_path / 'out')]
    command += [option.replace('FOLDER', str(folders['whisper'])) for option in options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert message in result.stderr
    assert 'Traceback' not in result.stderr
    assert not (tmp_path / 'out').exists()


def test_whisper_log_mel_agrees_with_its_definition_in_float64():
    """As in OpenAI's code: a frame is 10 ms, and only the loudest 80 dB are kept."""
    import librosa

    wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
    mel_TxM = upstream.whisper_log_mel(wave, 80)
    assert mel_TxM.shape == (100, 80)
    padded = np.pad(wave.astype(float), 200, mode='reflect')
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    spectra = [np.fft.rfft(padded[t : t + 400] * window) for t in range(0, 16_000, 160)]
    power_TxF = np.abs(spectra) ** 2
    filter_MxF = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80)
    log_TxM = np.log10(np.maximum(power_TxF @ filter_MxF.T, 1e-10))
    expected_TxM = (np.maximum(log_TxM, log_TxM.max() - 8) + 4) / 4
    np.testing.assert_allclose(mel_TxM, expected_TxM, atol=1e-4)
    assert mel_TxM.max() - mel_TxM.min() == pytest.approx(2)

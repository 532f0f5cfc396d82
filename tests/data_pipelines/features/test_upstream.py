"""The states of a frozen encoder as features: each utterance's are those of itself alone, and their name says all of them."""

import contextlib
import csv
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

pytestmark = pytest.mark.filterwarnings(
    'default'
)  # TensorFlow and TFDS have deprecations of their own


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    """A small HuBERT, and a small Whisper that hears 0.4 s."""
    return {
        case: parity.write(case, tmp_path_factory.mktemp(case.replace(' ', '_')))
        for case in ('hubert base', 'whisper')
    }


QUICK = ('hubert base', 'pooled'), ('whisper', 'all')
CASES = [(c, k) for c in ('hubert base', 'whisper') for k in upstream.STATE_KINDS]
PREPARED = [
    pytest.param(c, marks=[] if c in QUICK else pytest.mark.slow, id='-'.join(c)) for c in CASES
]


@pytest.fixture(scope='module', params=PREPARED)
def prepared(request, data, folders, tmp_path_factory) -> SimpleNamespace:
    """The corpus of the fixture `data`, by states of one of them, with few utterances waiting for others; and what was said."""
    case, kept = request.param
    out, spec, said = (
        tmp_path_factory.mktemp('data'),
        extractor.states_from_folder(folders[case], kept),
        io.StringIO(),
    )
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(extractor, 'MAX_WAITING_UTTERANCES', 5)
        patch.setattr(
            extractor, 'MAX_BATCH_HOPS', 400
        )  # its frames are as many as of a real one's minutes
        folder = preparation.prepare_corpus(
            'folder',
            data.parent / 'list.csv',
            out,
            spec,
            workers=1,
            extractor=make_extractor(spec),
        )
    return SimpleNamespace(
        case=case, kept=kept, spec=spec, out=out, folder=folder, said=said.getvalue()
    )


def test_states_of_every_utterance_are_its_own(prepared, data, folders):
    """As the encoder makes them of each alone, to 16 bits, in the corpus's order."""
    case, kept, folder = prepared.case, prepared.kept, prepared.folder
    u = shards.read_columns(folder)
    rows = np.split(dataset.read_all_features(u).astype(np.float32), np.cumsum(u.frames_N)[:-1])
    of = read_encoder(folders[case])
    encode = jax.jit(of.module.apply)
    with open(data.parent / 'list.csv', newline='') as file:
        paths = {row['path']: data.parent / row['path'] for row in csv.DictReader(file)}
    cut = 0
    for row in range(0, len(u), 7):
        wave = decode(
            Utterance('', paths[u.text['utterance'][row]], '', '', '', ''), upstream.AUDIO_SPEC
        )
        if case == 'whisper':
            cut += len(wave) > 6400
            heard = upstream.whisper_log_mel(wave[:6400], 6)
        else:
            heard = wave
        padded = np.zeros(
            (1, len(heard) if case == 'whisper' else 15_000, *heard.shape[1:]), np.float32
        )  # one program
        padded[0, : len(heard)] = heard
        states, frames_B = encode({'params': of.params}, padded, np.array([len(heard)]))
        x_TxLxD = np.stack(states)[:, 0, : frames_B[0]].swapaxes(0, 1)
        if kept == 'pooled':
            x_TxLxD = np.concatenate([x_TxLxD.mean(0), x_TxLxD.std(0)], -1)[None]
        np.testing.assert_allclose(
            rows[row], x_TxLxD.reshape(len(x_TxLxD), -1), atol=4e-3, rtol=2e-3
        )
    assert (
        ('longer than the 0.4 s that this encoder accepts' in prepared.said)
        == (cut > 0)
        == (case == 'whisper')
    )
    text, signature = u.text, u.signature_NxS
    plain = shards.read_columns(
        find_dataset(data, 'folder', LogMel())
    )  # what an utterance is known by stays what it is
    np.testing.assert_array_equal(signature, plain.signature_NxS)
    assert all((text[k] == plain.text[k]).all() for k in text)


def test_a_name_says_everything_and_changes_with_the_weights(folders):
    """It is read back; pooled states are one frame of both moments."""
    pooled, every = (
        extractor.states_from_folder(folders['whisper'], kept) for kept in upstream.STATE_KINDS
    )
    assert pooled.name.startswith('whisper-3x16-pooled-')
    assert EncoderStates.from_name(pooled.name) == pooled
    assert (pooled.bands, every.bands) == (96, 48)
    assert (
        pooled.digest
        == every.digest
        != extractor.states_from_folder(folders['hubert base'], 'all').digest
    )
    for strange in ('', 'whisper', 'whisper-3x16-some-01234567', f'{pooled.name}9'):
        with pytest.raises(UserError, match='is not a name of encoder states'):
            EncoderStates.from_name(strange)


def test_the_wave_s_normalisation_is_part_of_the_name(folders):
    """The same weights hear otherwise by another preprocessor_config.json."""
    folder = folders['hubert base']
    before, said = (
        extractor.states_from_folder(folder, 'all').name,
        (folder / 'preprocessor_config.json').read_text(),
    )
    (folder / 'preprocessor_config.json').write_text(said.replace('false', 'true'))
    assert extractor.states_from_folder(folder, 'all').name != before
    (folder / 'preprocessor_config.json').write_text(said)


def test_what_is_done_with_the_weights_is_part_of_the_name(folders):
    """Other heads are other states of the same weights; a key that nothing here reads is none."""
    file = folders['whisper'] / 'config.json'
    before, said = extractor.states_from_folder(folders['whisper'], 'all').name, file.read_text()
    for change, same in (({'encoder_attention_heads': 4}, False), ({'decoder_layers': 7}, True)):
        file.write_text(json.dumps(json.loads(said) | change))
        assert (extractor.states_from_folder(folders['whisper'], 'all').name == before) is same
    file.write_text(said)


def test_prepared_states_are_found_by_the_beginning_of_their_name(tmp_path):
    """In all corpora; of several one must be named, of none it is said how to get them."""
    for corpus, name in (
        ('emodb', 'whisper-3x16-all-00000001'),
        ('emodb', 'whisper-3x16-pooled-00000001'),
        ('demo', 'whisper-3x16-all-00000001'),
    ):
        (tmp_path / corpus / name).mkdir(parents=True)
    (tmp_path / 'casia').mkdir()
    (tmp_path / 'casia' / 'whisper-3x16-all-00000001.npz').touch()  # packed
    (tmp_path / 'casia' / 'whisper-notes').mkdir()  # not ours
    heard = upstream.EncoderInput('whisper', 80).name
    for corpus in ('emodb', 'demo', 'casia'):
        (tmp_path / corpus / heard).mkdir()  # to fine-tune, beside states
    assert (
        resolve_feature_name(tmp_path, ['emodb', 'demo', 'casia'], 'whisper')
        == 'whisper-3x16-all-00000001'
    )
    assert resolve_feature_name(tmp_path, ['emodb'], heard) == heard
    assert (
        resolve_feature_name(tmp_path, ['emodb'], 'whisper-3x16-pooled')
        == 'whisper-3x16-pooled-00000001'
    )
    with pytest.raises(
        UserError,
        match='there are whisper-3x16-all-00000001 and whisper-3x16-pooled-00000001: name one',
    ):
        resolve_feature_name(tmp_path, ['emodb'], 'whisper')
    with pytest.raises(
        UserError,
        match=r'^demo is not prepared in .*begin with .whisper-3x16-pooled. \(there are emodb: .*\)\. First.*\n  '
        r'.*prepare demo --out .*FOLDER$',
    ):
        resolve_feature_name(tmp_path, ['emodb', 'demo'], 'whisper-3x16-pooled')
    with pytest.raises(
        UserError,
        match=r'^emodb and demo are not prepared .*\n.*prepare emodb --source PATH --out .*\n.*prepare demo --out ',
    ):
        resolve_feature_name(tmp_path, ['emodb', 'demo'], 'hubert')


def configuration(out: Path, **changes):
    config = tiny_config.get_config()
    own = {
        'data.dir': str(out),
        'data.upstream': 'hubert',
        'model.name': 'layer_sum',
        'sweep.time_mask': (0.0,),
    }
    config.update_from_flattened_dict(own | {'sweep.band_mask': (0.0,)} | changes)
    return config


def test_a_sweep_runs_over_states(prepared, tmp_path):
    """To its end, from the shards and to the same posteriors from an .npz; of pooled states by one frame each."""
    if prepared.spec.model == 'whisper':
        pytest.skip('nothing here is of the encoder')
    config = configuration(
        prepared.out, **{'train.epochs': 1, 'sweep.lam': (0.5,), 'sweep.fold': 0}
    )
    results = experiment.run_experiment(config, tmp_path / 'shards')
    assert {r['status'] for r in results['runs']} == {'ok'}
    assert f'over the frozen {prepared.spec.name}' in results['protocol']
    packed = npz.npz_path(prepared.out, 'folder', prepared.spec)
    pack.write_npz(prepared.folder, packed)
    experiment.run_experiment(config, tmp_path / 'packed')
    packed.unlink()
    first, second = (
        (tmp_path / name / 'predictions.csv').read_text() for name in ('shards', 'packed')
    )
    assert first == second
    resolved = resolve.resolve_config(config)
    assert resolved.model.states == resolved.data.upstream == prepared.spec.name
    assert resolved.data.frames == (1 if prepared.kept == 'pooled' else 40)


def test_what_pooled_states_cannot_do_is_refused(tmp_path):
    """Of one frame an encoder of frames makes nothing, and normalisation by the utterance leaves nothing."""
    (tmp_path / 'folder' / 'hubert-3x16-pooled-00000001').mkdir(parents=True)
    with pytest.raises(UserError, match=r'tdnn_lstm needs many: set config\.model\.name=layer_sum'):
        resolve.resolve_config(configuration(tmp_path, **{'model.name': 'tdnn_lstm'}))
    with pytest.raises(UserError, match='set global, or speaker_transductive'):
        resolve.resolve_config(configuration(tmp_path, **{'data.normalise': 'speaker'}))
    with pytest.raises(UserError, match=r'name it in config\.data\.upstream'):
        validate.validate(configuration(tmp_path, **{'data.upstream': ''}))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (
            ('--features', 'upstream:FOLDER', '--bands', '40'),
            'has no part in the states of an upstream',
        ),
        (('--features', 'upstream:FOLDER', '--beam'), 'leave --beam out'),
        (
            ('--features', 'upstream:nowhere'),
            'nowhere is no folder; expected a Hugging Face folder on this disk',
        ),
        (
            ('--states', 'heard'),
            '--states heard is of an upstream: name its Hugging Face folder, --features upstream:FOLDER',
        ),
        (('--features', 'upstream'), 'expected log-mel, or upstream:FOLDER'),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said, data, folders, tmp_path):
    """In a sentence; and nothing is left behind."""
    words = [o.replace('FOLDER', str(folders['whisper'])) for o in options]
    command = (
        sys.executable,
        '-m',
        'data_pipelines.prepare',
        'folder',
        '--source',
        str(data.parent / 'list.csv'),
        '--out',
    )
    done = subprocess.run(
        [*command, str(tmp_path / 'out'), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()


def test_log_mel_is_as_whisper_was_trained_with():
    """Of a tone: the loudest 80 dB alone, a frame every 10 ms, to what OpenAI's own code gives (the definition, in float64)."""
    wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
    mel_TxM = upstream.whisper_log_mel(wave, 80)
    assert mel_TxM.shape == (100, 80)
    import librosa

    padded = np.pad(wave.astype(float), 200, mode='reflect')
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power_TxF = (
        np.abs([np.fft.rfft(padded[t : t + 400] * window) for t in range(0, 16_000, 160)]) ** 2
    )
    log_TxM = np.log10(
        np.maximum(power_TxF @ librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80).T, 1e-10)
    )
    np.testing.assert_allclose(mel_TxM, (np.maximum(log_TxM, log_TxM.max() - 8) + 4) / 4, atol=1e-4)
    assert mel_TxM.max() - mel_TxM.min() == pytest.approx(2)

"""Tests of models with a frozen pretrained encoder: prediction, model folders and exports."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from helpers import parity, tiny_config
from helpers.predictions import LIBROSA, RATE, assert_close, card_snippets, make_tone, run_snippet
from safetensors.flax import load_file, save_file

import jaxser
from data_pipelines import pack
from data_pipelines.errors import UserError
from data_pipelines.features.upstream import EncoderStates
from data_pipelines.prepare import make_extractor
from data_pipelines.storage import dataset, npz, preparation, prepared
from jaxser import export, plugins
from jaxser.analysis import calibration
from jaxser.interfaces import Sizes
from jaxser.pretrained.encoder import read_encoder, write_encoder
from jaxser.pretrained.extractor import states_from_folder
from jaxser.probing import prober
from jaxser.serving import bundling, card_usage, stablehlo
from jaxser.serving.model import Model, find_encoder, read_model
from jaxser.serving.model_outputs import make_model_outputs
from jaxser.serving.predictor import Predictor
from jaxser.training import experiment, step
from jaxser.workdir import Workdir

LONGER = parity.CASES['whisper'] | {'max_source_positions': 600}  # 12 s
CASES = {'whisper': 'pooled', 'hubert base': 'all'}  # which of their states are stored


@pytest.fixture(scope='module')
def finished_sweep(data, once) -> Callable[[str], Path]:
    """Returns the workdir of a finished sweep of two folds; its parent has encoder and data."""

    def make(path: Path, case: str) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(parity.CASES, 'whisper', LONGER)
            (path / 'encoder').mkdir()
            parity.write(case, path / 'encoder')
        (path / 'encoder' / 'LICENSE.txt').write_text('As you like it.')
        states = states_from_folder(path / 'encoder', CASES[case])
        preparation.prepare_corpus(
            'folder',
            data.parent / 'list.csv',
            path / 'data',
            states,
            workers=1,
            extractor=make_extractor(states),
        )
        config = tiny_config.get_config()
        keys = {'dir': str(path / 'data'), 'upstream': case.split()[0]}
        config.update_from_flattened_dict({f'data.{k}': v for k, v in keys.items()})
        config.update_from_flattened_dict(
            {'method': 'erm', 'model.name': 'layer_sum', 'train.epochs': 2}
        )
        config.sweep.update(lam=(), fold=(0, 1), time_mask=(0.0,))
        experiment.run_experiment(config, path / 'w')
        bundling.bundle_model(path / 'w')

    return lambda case: (
        once(f'swept_over_{case.replace(" ", "_")}', lambda path: make(path, case)) / 'w'
    )


@pytest.fixture
def whisper(finished_sweep, tmp_path) -> Path:
    """A copy of the workdir with Whisper, which a test may change; it includes the encoder."""
    original = finished_sweep('whisper').parent
    shutil.copytree(
        original, tmp_path / 'copy', ignore=shutil.ignore_patterns('groups', 'tensorboard', '.lock')
    )
    file = tmp_path / 'copy' / 'w' / 'model' / 'model.json'
    metadata = json.loads(file.read_text().replace(str(original), str(tmp_path / 'copy')))
    del metadata['facts_sha256']  # it was that of the other folder
    file.write_text(json.dumps(metadata))
    return tmp_path / 'copy' / 'w'


@pytest.mark.parametrize(
    'case', [c if c == 'whisper' else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_a_tested_utterance_has_the_posterior_of_predictions_csv(finished_sweep, case, data):
    """It is that of its fold's run, before calibration and up to the rounding of states."""
    workdir = finished_sweep(case)
    model = read_model(workdir)
    rows = list(csv.DictReader((workdir / 'predictions.csv').read_text().splitlines()))
    encoder = find_encoder(workdir, model.metadata)
    count = 0
    posteriors = []
    for n, run in enumerate(model.metadata['runs']):
        run_arrays = jax.tree.map(lambda x, n=n: x[n : n + 1], model.arrays)
        predictor = Predictor(Model(model.metadata, run_arrays), encoder=encoder)
        fold_rows = [r for r in rows if int(r['fold']) == run['fold']]
        for row, answer in zip(
            fold_rows,
            predictor.predict_files(data.parent / r['utterance'] for r in fold_rows),
            strict=True,
        ):
            raw_C = np.array([float(row[c]) for c in predictor.classes])
            want_C = calibration.apply_temperature(
                raw_C, model.metadata['calibration']['temperature']
            )
            np.testing.assert_allclose(
                [answer['posterior'][c] for c in predictor.classes], want_C, atol=1e-4
            )
            posteriors.append(answer['posterior'][predictor.classes[0]])
            count += 1
    assert count == 32
    assert np.ptp(posteriors) > 0.02  # they depend on the sound


@pytest.fixture(scope='module')
def model(finished_sweep) -> Predictor:
    """The model with Whisper."""
    return jaxser.load(finished_sweep('whisper'))


def test_the_posterior_is_the_mean_over_runs_that_share_the_encoder(
    finished_sweep, model, monkeypatch
):
    """The program runs the encoder once, however many runs there are."""
    facts, arrays = read_model(finished_sweep('whisper'))
    encoder = find_encoder(finished_sweep('whisper'), facts)
    single_runs = [
        Predictor(Model(facts, jax.tree.map(lambda x, n=n: x[n : n + 1], arrays)), encoder=encoder)
        for n in (0, 1)
    ]
    wave = make_tone(1.0)
    posteriors = [p.predict(wave, RATE)['posterior'] for p in single_runs]
    assert_close(
        model.predict(wave, RATE),
        {'posterior': {c: np.mean([p[c] for p in posteriors]) for c in model.classes}},
        1e-6,
    )
    inputs = model.extractor.pad_batch([wave], model.extractor.padded_length(wave), 1)
    programs = []
    for variant in (model, single_runs[0]):
        programs.append(
            str(
                jax.make_jaxpr(variant._outputs)(
                    variant.run_arrays, variant.extractor.params, *inputs
                )
            )
        )
    two_run_shapes, one_run_shapes = (re.findall(r'(f32\[[\d,]+\]) = erf', p) for p in programs)
    assert (
        two_run_shapes == one_run_shapes
    )  # of its convolutions and its layers, without an axis of the runs
    assert len(two_run_shapes) == 4


def test_neither_batch_nor_padding_changes_a_posterior(model, tmp_path):
    """A file by itself, in a batch of other lengths, and padded to a window give the same."""
    names = []
    for n, seconds in enumerate([0.3, 0.9, 1.4, 3.1]):
        names.append(tmp_path / f'{n}.wav')
        soundfile.write(names[-1], make_tone(seconds), RATE, 'FLOAT')
    for n, answer in enumerate(model.predict_files(names)):
        wave = make_tone([0.3, 0.9, 1.4, 3.1][n])
        assert_close(model.predict(wave, RATE), answer)
        (padded,) = model._predict_outputs([wave], 1000)
        np.testing.assert_allclose(
            padded, [answer['posterior'][c] for c in model.classes], atol=1e-4
        )


def test_a_sound_longer_than_whisper_takes_is_predicted_by_windows(finished_sweep, model):
    """Nothing is cut off: Whisper takes 12 s here, and no window may be longer."""
    wave = make_tone(14.0)
    answer = model.predict(wave, RATE)
    assert [(w['start'], w['end']) for w in answer['windows']] == [(0, 10), (4, 14)]
    assert_close(answer['windows'][1], model.predict(wave[4 * RATE :], RATE))
    assert model.predict(wave[: 12 * RATE], RATE)['windows'] == []
    with pytest.raises(
        UserError, match=r'A window of 13 s is too long: whisper, .* takes 12 s at most'
    ):
        jaxser.load(finished_sweep('whisper'), window=13)
    for invalid_wave, message in (
        (np.zeros(RATE), 'silent'),
        (make_tone(0.05), 'too short: 0.050 s'),
    ):
        with pytest.raises(UserError, match=message):
            model.predict(invalid_wave, RATE)


def test_a_stream_is_predicted_every_second(finished_sweep):
    """The prediction is that for a file of the stream's last seconds."""
    model = jaxser.load(finished_sweep('whisper'), window=2, hop=1)
    wave = np.round(make_tone(3.5) * 32768) / 32768
    answers = list(model.predict_stream(io.BytesIO((wave * 32768).astype('<i2').tobytes()), RATE))
    assert [(a['start'], a['end']) for a in answers] == [(0, 1), (0, 2), (1, 3), (1.5, 3.5)]
    for a in answers:
        assert_close(
            a, model.predict(wave[round(a['start'] * RATE) : round(a['end'] * RATE)], RATE)
        )


def test_a_bundled_encoder_has_no_other_tensors_and_the_same_hash(whisper, model):
    """It has its licence file; prediction and export need the model's folder only."""
    home = whisper.parent / 'encoder'
    states = states_from_folder(home, 'pooled')
    original = read_encoder(home)
    carried = whisper / 'model' / 'upstream' / 'model.safetensors'
    for damaged in (False, True):  # the second finds it there, and damaged
        assert (
            bundling.bundle_model(
                whisper, carry_upstream=True, upstream=str(home) if damaged else None
            )
            == whisper / 'model'
        )
        whole = carried.read_bytes()
        carried.write_bytes(whole if damaged else whole[:-1])
    carried = read_encoder(whisper / 'model' / 'upstream')
    assert original.unused_tensors == ('masked_spec_embed',)
    assert carried.unused_tensors == ()
    assert carried.sha256 == original.sha256
    assert states_from_folder(whisper / 'model' / 'upstream', 'pooled').name == states.name
    chex.assert_trees_all_equal(carried.params, original.params)
    names = {'config.json', 'preprocessor_config.json', 'model.safetensors', 'LICENSE.txt'}
    assert {p.name for p in (whisper / 'model' / 'upstream').iterdir()} == names
    shutil.move(whisper / 'model', whisper.parent / 'elsewhere')
    shutil.rmtree(home)
    assert_close(
        jaxser.load(whisper.parent / 'elsewhere').predict(make_tone(1.0), RATE),
        model.predict(make_tone(1.0), RATE),
        1e-6,
    )
    file = whisper.parent / 'elsewhere' / 'upstream' / 'model.safetensors'
    file.write_bytes(file.read_bytes()[:-4] + b'\0\0\0\1')
    with pytest.raises(UserError, match='is damaged: its data do not have the checksum'):
        jaxser.load(whisper.parent / 'elsewhere')


def test_an_encoder_is_copied_out_of_shards_and_sixteen_bits(tmp_path):
    """Its values are the same, and a copy of the copy is the same file."""
    home = parity.write('hubert base', tmp_path)
    tensors = load_file(home / 'model.safetensors') | {
        'classifier.weight': np.zeros((3, 16), np.float32)
    }
    names = sorted(tensors)
    files = ('model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors')
    for n, file in enumerate(files):
        save_file({k: jnp.asarray(tensors[k], jnp.bfloat16) for k in names[n::2]}, home / file)
    (home / 'model.safetensors').unlink()
    index = {'weight_map': {k: files[n % 2] for n, k in enumerate(names)}}
    (home / 'model.safetensors.index.json').write_text(json.dumps(index))
    original = read_encoder(home)
    write_encoder(original, tmp_path / 'one')
    copy = read_encoder(tmp_path / 'one')
    assert (copy.sha256, copy.unused_tensors) == (original.sha256, ())
    chex.assert_trees_all_equal(copy.params, original.params)
    write_encoder(copy, tmp_path / 'two')
    first_copy, second_copy = (
        (tmp_path / n / 'model.safetensors').read_bytes() for n in ('one', 'two')
    )
    assert first_copy == second_copy


def test_a_moved_encoder_has_to_be_named_and_another_encoder_is_refused(
    whisper, finished_sweep, model, tmp_path
):
    """By model and hash, since other weights or preprocessing would give another posterior."""
    encoder = shutil.move(whisper.parent / 'encoder', tmp_path / 'moved')
    facts = read_model(whisper).metadata['upstream']
    with pytest.raises(
        UserError,
        match=f'whisper .* {facts["sha256"]} .*{facts["name"]}.* nor in .*/encoder: '
        '.*--upstream FOLDER',
    ):
        jaxser.load(whisper)
    assert_close(
        jaxser.load(whisper, upstream=encoder).predict(make_tone(1.0), RATE),
        model.predict(make_tone(1.0), RATE),
        1e-6,
    )
    (tmp_path / 'other').mkdir()
    parity.write('hubert base', tmp_path / 'other')
    other = read_encoder(tmp_path / 'other')
    with pytest.raises(
        UserError,
        match=f'{facts["sha256"]}; .*/other contains hubert-3x16-pooled-.* {other.sha256}',
    ):
        jaxser.load(whisper, upstream=tmp_path / 'other')
    (tmp_path / 'other' / 'preprocessor_config.json').write_text(json.dumps({'do_normalize': True}))
    states = EncoderStates.from_encoder(other, 'pooled')
    facts = {'upstream': {'name': states.name, 'sha256': states.sha256, 'folder': ''}}
    with pytest.raises(
        UserError, match=r'the same weights, but another config\.json or preprocessor_config\.json'
    ):
        find_encoder(tmp_path, facts, tmp_path / 'other')
    with pytest.raises(UserError, match='log-mel features and no pretrained encoder: leave out x'):
        find_encoder(tmp_path, {}, 'x')
    with pytest.raises(UserError, match='there is no pretrained encoder to copy'):
        bundling.copy_encoder(tmp_path, None)


def test_normalisation_by_speaker_is_refused_for_pooled_states(finished_sweep):
    """An utterance is one frame, and would become zero minus its own mean."""
    facts, _ = read_model(finished_sweep('whisper'))
    with pytest.raises(UserError, match='This makes every pooled state 0'):
        make_model_outputs(facts | {'normalisation': 'speaker_transductive'}, True)
    make_model_outputs(
        facts | {'normalisation': 'none'}, True
    )  # what was not normalised needs none


def test_an_encoder_that_would_not_be_used_is_refused(finished_sweep, tmp_path):
    """States are computed already, and an export reads an encoder only to include it."""
    with pytest.raises(
        UserError, match='trains no pretrained encoder: leave out --upstream x, or add --carry'
    ):
        bundling.bundle_model(finished_sweep('whisper'), upstream='x')
    with pytest.raises(UserError, match='trains no pretrained encoder: leave out --upstream x'):
        prober.probe_sweep(finished_sweep('whisper'), upstream='x')
    with pytest.raises(UserError, match='x is only read to copy it: add --carry_upstream'):
        export.export_model(finished_sweep('whisper'), tmp_path / 'out', upstream='x')


def test_a_packed_corpus_records_the_weights_of_its_states(whisper):
    """So a machine without the shards can make the model."""
    config = Workdir.open(whisper, str(whisper.parent / 'data')).config
    data = dataset.find_prepared_data(config.data)
    record = dataset.read_encoder_record(data)
    folder = prepared.find_dataset(config.data.dir, 'folder', data.spec)
    pack.write_npz(folder, npz.npz_path(config.data.dir, 'folder', data.spec))
    shutil.rmtree(folder.parent)
    packed_data = dataset.find_prepared_data(config.data)
    assert dataset.read_encoder_record(packed_data) == record
    assert record['sha256'] == read_encoder(whisper.parent / 'encoder').sha256


@LIBROSA
@pytest.mark.parametrize(
    'case', [c if c == 'whisper' else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)
def test_an_export_with_the_encoder_predicts_as_predict_does(
    finished_sweep, case, tmp_path, monkeypatch
):
    """So do all code examples of the card, for any number and length of utterances."""
    out = export.export_model(
        finished_sweep(case), tmp_path / 'out', saved_model=case == 'whisper', carry_upstream=True
    )
    model, wave = jaxser.load(finished_sweep(case)), make_tone(1.0)
    monkeypatch.chdir(out)
    soundfile.write('speech.wav', wave, RATE, 'FLOAT')
    want = model.predict(wave, RATE)['posterior']
    posteriors = [run_snippet(code) for code in card_snippets(out)]
    assert len(posteriors) == 3 + (case == 'whisper')
    for posterior in posteriors:
        assert posterior == pytest.approx(want, abs=1e-4)
    program = jax.export.deserialize((out / card_usage.PROGRAM_FILE).read_bytes())
    waves = [make_tone(s) for s in (0.5, 1.3)]
    samples_BxL, length_B = model.extractor.pad_batch(waves, 150, 2)
    for b, length in enumerate(length_B):
        samples_BxL[b, length:] = (np.nan, 1e4)[b]
    np.testing.assert_allclose(
        program.call(samples_BxL, length_B), model._predict_outputs(waves), atol=1e-4
    )
    for file in (f for f in out.rglob('*') if f.is_file()):
        assert str(finished_sweep(case).parent).encode() not in file.read_bytes()
    text = (out / 'README.md').read_text()
    for word in (
        read_model(finished_sweep(case)).metadata['upstream']['sha256'],
        'The licence of that checkpoint applies',
        'resampled to 16000 Hz',
    ):
        assert word in text


@pytest.mark.slow
def test_an_export_with_the_encoder_can_be_exported_again(finished_sweep, tmp_path):
    """The export is the same to the byte; its program refuses a sound longer than Whisper takes."""
    out = export.export_model(finished_sweep('whisper'), tmp_path / 'out', carry_upstream=True)
    again = export.export_model(out, tmp_path / 'again')
    assert {p.name for p in again.iterdir()} == {
        'README.md',
        'model.json',
        'model.safetensors',
        'upstream',
        card_usage.PROGRAM_FILE,
    }
    for name in (
        card_usage.PROGRAM_FILE,
        'model.json',
        'upstream/model.safetensors',
        'upstream/LICENSE.txt',
    ):
        assert (again / name).read_bytes() == (out / name).read_bytes()
    program = jax.export.deserialize((out / card_usage.PROGRAM_FILE).read_bytes())
    with pytest.raises(ValueError, match='shapes'):
        program.call(np.zeros((1, 1201, 6), np.float32), np.int32([1201]))


@pytest.mark.slow
def test_an_exported_program_takes_any_number_of_whispers_frames(tmp_path, monkeypatch):
    """The states are not pooled, and the networks are random."""
    monkeypatch.setitem(parity.CASES, 'whisper', LONGER)
    encoder = read_encoder(parity.write('whisper', tmp_path))
    states, config, random = (
        EncoderStates.from_encoder(encoder, 'all'),
        tiny_config.get_config(),
        np.random.default_rng(0),
    )
    config.update_from_flattened_dict(
        {'method': 'erm', 'model.name': 'layer_sum', 'model.states': states.name}
    )
    config.data.upstream = states.name
    sizes = Sizes(states.bands, 2, {'speaker': 3, 'language': 2, 'corpus': 2}, 4)
    run_step = step.make_step(*plugins.make_method(config, sizes), sizes, config.train)
    hyper = {
        'seed': np.arange(2),
        'fold': np.zeros(2, int),
        'weight_decay': np.zeros(2),
        'lr': np.zeros(2),
    }
    state = jax.eval_shape(jax.vmap(run_step.init), hyper)

    def random_array(x):
        return random.uniform(0.1, 0.9, x.shape).astype(np.float32)

    arrays = {'batch_stats': jax.tree.map(random_array, state.batch_stats)}
    arrays |= {'params': jax.tree.map(lambda x: 4 * random_array(x) - 2, state.params)}
    arrays |= {
        'mean': np.zeros((2, states.bands), np.float32),
        'scale': np.ones((2, states.bands), np.float32),
    }
    facts = {
        'config': json.loads(config.to_json()),
        'classes': ['a', 'b'],
        'sizes': sizes._asdict(),
        'versions': {},
    }
    model = Model(
        facts | {'calibration': {'temperature': 20.0}, 'normalisation': '', 'synthetic': False},
        arrays,
    )
    waves = [make_tone(0.3), random.normal(0, 0.1, 9000).astype(np.float32), make_tone(0.6)]
    predictor = Predictor(model, encoder=encoder)
    want = predictor._predict_outputs(waves)
    program = jax.export.deserialize(stablehlo.export_program(model, encoder).serialize())
    np.testing.assert_allclose(
        program.call(*predictor.extractor.pad_batch(waves, 75, 3)), want, atol=1e-4
    )
    of_states = make_model_outputs(model.metadata, True)
    (states_TxM,) = predictor.extractor(waves[:1])
    outputs = jax.jit(of_states)(
        predictor.run_arrays, None, states_TxM[None], np.int32([len(states_TxM)])
    )
    (p_C,) = outputs['posterior_BxC']
    np.testing.assert_allclose(p_C, want[0], atol=1e-4)
    assert np.ptp([p[0] for p in want]) > 0.01


@LIBROSA
def test_an_export_without_the_encoder_takes_its_states(
    finished_sweep, whisper, tmp_path, monkeypatch
):
    """The card says how they are computed; none of the encoder's weights is in the folder."""
    out = export.export_model(finished_sweep('whisper'), tmp_path / 'out')
    assert {p.name for p in out.iterdir()} == {
        'README.md',
        'model.json',
        'model.safetensors',
        card_usage.PROGRAM_FILE,
    }
    monkeypatch.chdir(out)
    soundfile.write('speech.wav', make_tone(2.0), RATE, 'FLOAT')
    with pytest.raises(UserError, match='--upstream FOLDER'):
        jaxser.load(out)
    with_jaxser, states, with_jax = (
        code.replace('FOLDER', str(whisper.parent / 'encoder')) for code in card_snippets(out)
    )
    exec(states, {})
    assert run_snippet(with_jax) == pytest.approx(run_snippet(with_jaxser), abs=1e-4)
    assert 'It is not here' in (out / 'README.md').read_text()

"""Tests of models with a fine-tuned encoder: prediction, model folders and exports."""

import copy
import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from flax.traverse_util import flatten_dict
from helpers import parity, tiny_config
from helpers.predictions import LIBROSA, RATE, assert_close, card_snippets, make_tone, run_snippet

import jaxser
from data_pipelines.errors import UserError
from data_pipelines.storage import preparation
from jaxser import export
from jaxser.analysis import calibration
from jaxser.pretrained.encoder import read_encoder
from jaxser.pretrained.extractor import input_from_folder
from jaxser.probing import prober
from jaxser.serving import bundling, card_usage, model_card, stablehlo
from jaxser.serving.model import MODEL_FILES, find_encoder, read_model
from jaxser.serving.model_outputs import make_model_outputs
from jaxser.serving.predictor import Predictor
from jaxser.training import experiment

CASES = {  # the encoder, and config.model.lora
    'whisper': ('whisper', 0),
    'hubert, adapted': ('hubert base', 2),
    'whisper, adapted': ('whisper', 2),
    'hubert': ('hubert base', 0),
    'wavlm large': ('wavlm large', 0),
}
LONGER = {'max_source_positions': 550}  # 11 s, a length to which no batch is padded
COARSE = {
    'conv_kernel': [10, 8, 4],
    'conv_stride': [5, 8, 4],
}  # a frame every 10 ms, which makes attention a small thing
QUICK = ('whisper',)
EVERY = pytest.mark.parametrize(
    'case', [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES]
)


@pytest.fixture(scope='module')
def finished_sweep(data, once) -> Callable[[str], Path]:
    """Returns the workdir of a finished sweep of two folds; its parent has encoder and data."""

    def make(path: Path, architecture: str, lora: int) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(
                parity.CASES,
                architecture,
                parity.CASES[architecture] | (LONGER if architecture == 'whisper' else COARSE),
            )
            patched.setattr(sys, 'argv', ['main.py', f'--config.model.upstream={path / "encoder"}'])
            (path / 'encoder').mkdir()
            parity.write(architecture, path / 'encoder')
            (path / 'encoder' / 'LICENSE.txt').write_text('As you like it.')
            preparation.prepare_corpus(
                'folder',
                data.parent / 'list.csv',
                path / 'data',
                input_from_folder(path / 'encoder'),
                workers=1,
            )
            config = tiny_config.get_config()
            keys = {
                'name': 'fine_tuned',
                'upstream': str(path / 'encoder'),
                'lora': lora,
                'upstream_rate': 10.0,
            }
            config.update_from_flattened_dict({f'model.{k}': v for k, v in keys.items()})
            config.update_from_flattened_dict(
                {'data.dir': str(path / 'data'), 'data.normalise': 'none'}
            )
            config.update_from_flattened_dict({'method': 'erm', 'train.epochs': 2})
            config.sweep.update(lam=(), fold=(0, 1), time_mask=(0.0,), band_mask=(0.0,))
            experiment.run_experiment(config, path / 'w')
            bundling.bundle_model(path / 'w')

    def find_workdir(case: str) -> Path:
        architecture, lora = CASES[case]
        return (
            once(
                f'tuned_{architecture.replace(" ", "_")}_{lora}',
                lambda path: make(path, architecture, lora),
            )
            / 'w'
        )

    return find_workdir


@pytest.fixture
def whisper(finished_sweep, tmp_path) -> Path:
    """A copy of the model with Whisper; its encoder is next to it, in `encoder`."""
    original = finished_sweep('whisper').parent
    shutil.copytree(original / 'encoder', tmp_path / 'encoder')
    shutil.copytree(original / 'w' / 'model', tmp_path / 'model')
    file = tmp_path / 'model' / 'model.json'
    metadata = json.loads(file.read_text().replace(str(original), str(tmp_path)))
    del metadata['facts_sha256']  # it was that of the other folder
    file.write_text(json.dumps(metadata))
    return tmp_path / 'model'


@pytest.fixture(scope='module')
def model(finished_sweep) -> Predictor:
    """The model with Whisper."""
    return jaxser.load(finished_sweep('whisper'))


def select_run(model: Predictor, n: int, scale: float = 1.0) -> Predictor:
    """Returns the model with run n only; its changes of the encoder's weights are scaled."""
    single_run = copy.copy(model)  # with its compiled program
    single_run.run_arrays = jax.tree.map(lambda x: x[n : n + 1], model.run_arrays)
    encoder_params = single_run.run_arrays['params']['encoder']
    encoder_params['upstream'] = jax.tree.map(lambda x: scale * x, encoder_params['upstream'])
    return single_run


@EVERY
def test_a_tested_utterance_has_the_posterior_of_predictions_csv(finished_sweep, case, data):
    """It is that of its fold's run, before calibration; without the changes it differs."""
    workdir = finished_sweep(case)
    model = jaxser.load(workdir)
    facts, posteriors = model.metadata, {0.0: [], 1.0: []}
    rows, expected = (
        list(csv.DictReader((workdir / 'predictions.csv').read_text().splitlines())),
        [],
    )
    for n, run in enumerate(facts['runs']):
        fold_rows = [r for r in rows if int(r['fold']) == run['fold']]
        raw_NxC = np.array([[float(r[c]) for c in facts['classes']] for r in fold_rows])
        expected.extend(calibration.apply_temperature(raw_NxC, facts['calibration']['temperature']))
        for scale, predicted in posteriors.items():
            answers = select_run(model, n, scale).predict_files(
                data.parent / r['utterance'] for r in fold_rows
            )
            predicted.extend([a['posterior'][c] for c in facts['classes']] for a in answers)
    assert len(expected) == 32
    np.testing.assert_allclose(posteriors[1.0], expected, atol=1e-5)
    assert np.ptp(posteriors[1.0], axis=0)[0] > 0.005  # they depend on the sound
    assert np.abs(np.array(posteriors[0.0]) - expected).max() > 1e-3


def test_the_posterior_is_the_mean_over_runs_that_share_the_weights(finished_sweep):
    """The weights are an argument of the program, read once however many runs there are."""
    model = jaxser.load(finished_sweep('hubert, adapted'))
    wave = make_tone(1.0)
    posteriors = [select_run(model, n).predict(wave, RATE)['posterior'] for n in (0, 1)]
    assert_close(
        model.predict(wave, RATE),
        {'posterior': {c: np.mean([p[c] for p in posteriors]) for c in model.classes}},
        1e-6,
    )
    encoder = find_encoder(finished_sweep('hubert, adapted'), model.metadata)
    assert encoder is find_encoder(finished_sweep('hubert, adapted'), model.metadata)
    copies = {
        (2, *x.shape) for path, x in flatten_dict(encoder.params).items() if path[-1] == 'kernel'
    }
    inputs = model.extractor.pad_batch([model.extractor.extract_input(wave)], 100, 1)
    for in_turn in (True, False):  # on an accelerator too they take turns
        jaxpr = jax.make_jaxpr(make_model_outputs(model.metadata, in_turn, encoder))(
            model.run_arrays, model.extractor.params, *inputs
        )
        assert sum(x.nbytes for x in jaxpr.consts) < 1000
        assert not copies & {
            tuple(map(int, s.split(','))) for s in re.findall(r'f32\[([\d,]+)\]', str(jaxpr))
        }


@EVERY
def test_neither_batch_nor_padding_changes_a_posterior(finished_sweep, case, tmp_path):
    """A file by itself, in a batch of other lengths, and padded to a window give the same."""
    model, names = jaxser.load(finished_sweep(case)), []
    lengths = (0.1, 0.3, 0.9, 1.4)
    for n, seconds in enumerate(lengths):
        names.append(tmp_path / f'{n}.wav')
        soundfile.write(names[-1], make_tone(seconds), RATE, 'FLOAT')
    for seconds, answer in zip(lengths, model.predict_files(names), strict=True):
        wave = make_tone(seconds)
        assert_close(model.predict(wave, RATE), answer, 1e-5)
        (padded,) = model._predict_outputs([model.extractor.extract_input(wave)], 200)
        np.testing.assert_allclose(
            padded, [answer['posterior'][c] for c in model.classes], atol=1e-5
        )


def test_a_sound_longer_than_whisper_takes_is_predicted_by_windows(finished_sweep, model):
    """Nothing is cut off: Whisper takes 11 s here."""
    wave = make_tone(14.0)
    answer = model.predict(wave, RATE)
    assert [(w['start'], w['end']) for w in answer['windows']] == [(0, 10), (4, 14)]
    assert_close(answer['windows'][1], model.predict(wave[4 * RATE :], RATE))
    assert model.predict(wave[: 11 * RATE], RATE)['windows'] == []
    assert model.extractor.padded_length(model.extractor.extract_input(wave[: 11 * RATE])) == 1100
    with pytest.raises(
        UserError, match=r'A window of 13 s is too long: whisper, .* takes 11 s at most'
    ):
        jaxser.load(finished_sweep('whisper'), window=13)
    for invalid_wave, message in (
        (np.zeros(RATE), 'silent'),
        (make_tone(0.05), 'too short: 0.050 s'),
    ):
        with pytest.raises(UserError, match=message):
            model.predict(invalid_wave, RATE)


@EVERY
def test_a_stream_is_predicted_every_second(finished_sweep, case):
    """The prediction is that for a file of the stream's last seconds."""
    model, wave = (
        jaxser.load(finished_sweep(case), window=2, hop=1),
        np.round(make_tone(2.5) * 32768) / 32768,
    )
    answers = list(model.predict_stream(io.BytesIO((wave * 32768).astype('<i2').tobytes()), RATE))
    assert [(a['start'], a['end']) for a in answers] == [(0, 1), (0, 2), (0.5, 2.5)]
    for a in answers:
        assert_close(
            a, model.predict(wave[round(a['start'] * RATE) : round(a['end'] * RATE)], RATE), 1e-5
        )


def test_a_model_folder_with_its_encoder_is_all_that_prediction_needs(whisper, model):
    """The checkpoint that it was trained from may be deleted."""
    bundling.copy_encoder(whisper, find_encoder(whisper, read_model(whisper).metadata))
    shutil.rmtree(whisper.parent / 'encoder')
    model_folder = shutil.move(whisper, whisper.parent / 'elsewhere')
    assert {p.name for p in model_folder.iterdir()} == {*MODEL_FILES, 'upstream'}
    assert (model_folder / 'upstream' / 'LICENSE.txt').read_text() == 'As you like it.'
    metadata = json.loads((model_folder / 'model.json').read_text())
    predictor = jaxser.load(model_folder)
    assert_close(predictor.predict(make_tone(1.0), RATE), model.predict(make_tone(1.0), RATE), 1e-6)
    assert predictor.metadata == metadata


def test_a_moved_encoder_has_to_be_named_and_another_encoder_is_refused(whisper, model, tmp_path):
    """It is identified by name and hash, since the changes fit no other weights."""
    record = read_model(whisper).metadata['upstream']
    encoder = shutil.move(tmp_path / 'encoder', tmp_path / 'moved')
    with pytest.raises(
        UserError,
        match=f'whisper whose weights .* {record["sha256"]} .*encoder: .*--upstream FOLDER',
    ):
        jaxser.load(whisper)
    assert_close(
        jaxser.load(whisper, upstream=f'{encoder}/').predict(make_tone(1.0), RATE),
        model.predict(make_tone(1.0), RATE),
        1e-6,
    )
    (tmp_path / 'other').mkdir()
    other = read_encoder(
        parity.write('whisper', tmp_path / 'other')
    )  # of 20 positions, as the other is of 550
    with pytest.raises(
        UserError,
        match=f'{record["name"]}, .*{record["sha256"]}; '
        f'.*/other contains whisper-3x16-.* {other.sha256}',
    ):
        jaxser.load(whisper, upstream=tmp_path / 'other')


def test_a_finished_sweep_refuses_another_encoder(finished_sweep, tmp_path):
    """By bundle and by probe, even if they have nothing left to do."""
    parity.write('whisper', tmp_path)
    for command in (bundling.bundle_model, prober.probe_sweep):
        with pytest.raises(UserError, match='contains an encoder with other weights or sizes'):
            command(finished_sweep('whisper'), upstream=str(tmp_path))
    encoder = shutil.copytree(finished_sweep('whisper').parent / 'encoder', tmp_path / 'moved')
    assert (
        bundling.bundle_model(finished_sweep('whisper'), upstream=str(encoder))
        == finished_sweep('whisper') / 'model'
    )


@LIBROSA
@EVERY
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
        assert posterior == pytest.approx(want, abs=1e-5)
    content = (out / card_usage.PROGRAM_FILE).read_bytes()
    program = jax.export.deserialize(content)
    assert program.platforms == stablehlo.PLATFORMS
    for seconds in ((0.1,), (0.5, 1.3, 0.2)):
        waves = [model.extractor.extract_input(make_tone(s)) for s in seconds]
        features_BxTxM, length_B = model.extractor.pad_batch(
            waves, max(map(len, waves)), len(waves)
        )
        assert features_BxTxM.dtype == np.float16
        for b, length in enumerate(length_B):
            features_BxTxM[b, length:] = (np.nan, 1e4, -1e4)[b]
        np.testing.assert_allclose(
            program.call(features_BxTxM, length_B), model._predict_outputs(waves), atol=1e-5
        )
    T = 1101 if CASES[case][0] == 'whisper' else 9
    with pytest.raises(ValueError, match='shapes'):  # of what it cannot hear at once, or at all
        program.call(np.zeros((1, T, features_BxTxM.shape[-1]), np.float16), np.int32([T]))
    kernels = [
        x for path, x in flatten_dict(model.extractor.params).items() if path[-1] == 'kernel'
    ]
    assert {content.count(np.asarray(x).tobytes()) for x in kernels} == {1}
    for file in (f for f in out.rglob('*') if f.is_file()):
        assert str(finished_sweep(case).parent).encode() not in file.read_bytes()
    text, named = (
        (out / 'README.md').read_text(),
        read_model(finished_sweep(case)).metadata['upstream'],
    )
    for word in (
        named['sha256'],
        'fine-tuned',
        'for the changed weights too',
        'resampled to 16000 Hz',
        'It is here',
    ):
        assert word in text
    assert 'frozen' not in text.partition('## Pretrained encoder')[0]
    assert 'frozen' not in model_card.encoder_section(model.metadata, None)


def test_an_export_with_the_encoder_can_be_exported_again(finished_sweep, tmp_path):
    """The export is the same to the byte; its program refuses features that are not rounded."""
    out = export.export_model(finished_sweep('whisper'), tmp_path / 'out', carry_upstream=True)
    again = export.export_model(out, tmp_path / 'again')
    assert {p.name for p in again.iterdir()} == {
        'README.md',
        *MODEL_FILES,
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
    with pytest.raises(ValueError, match='float16'):
        program.call(np.zeros((1, 100, 6), np.float32), np.int32([100]))


def test_an_export_without_the_encoder_has_no_program(finished_sweep, tmp_path, monkeypatch):
    """The card says how jaxser runs it; a SavedModel is refused before anything is written."""
    out = export.export_model(finished_sweep('whisper'), tmp_path / 'out')
    assert {p.name for p in out.iterdir()} == {'README.md', *MODEL_FILES}
    for file in out.iterdir():
        assert str(finished_sweep('whisper').parent).encode() not in file.read_bytes()
    monkeypatch.chdir(out)
    soundfile.write('speech.wav', make_tone(2.0), RATE, 'FLOAT')
    with pytest.raises(UserError, match='--upstream FOLDER'):
        jaxser.load(out)
    (with_jaxser,) = (
        code.replace('FOLDER', str(finished_sweep('whisper').parent / 'encoder'))
        for code in card_snippets(out)
    )
    assert run_snippet(with_jaxser) == pytest.approx(
        jaxser.load(finished_sweep('whisper')).predict(make_tone(2.0), RATE)['posterior'], abs=1e-6
    )
    text = (out / 'README.md').read_text()
    assert 'There is no program here' in text
    assert 'It is not here' in text
    assert card_usage.PROGRAM_FILE not in text
    assert 'stablehlo' not in text
    with pytest.raises(UserError, match=r'TensorFlow needs these weights: add --carry_upstream'):
        export.export_model(finished_sweep('whisper'), tmp_path / 'tf', saved_model=True)
    assert not (tmp_path / 'tf').exists()

"""Predictions for files, waves and streams by the model of a finished sweep."""

import csv
import importlib.util
import io
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
import threadpoolctl
from helpers import tiny_config
from helpers.predictions import RATE, assert_close, make_tone

import jaxser
from data_pipelines.errors import UserError
from data_pipelines.features import decode, log_mel
from data_pipelines.protocols import split
from data_pipelines.storage import dataset
from jaxser.analysis import calibration
from jaxser.serving import bundling, predictor, recordings
from jaxser.serving.model import Model, read_model
from jaxser.serving.predictor import Predictor
from jaxser.training import experiment
from jaxser.workdir import Workdir

TOLERANCE = 1e-6


@pytest.fixture(scope='module')
def model(swept) -> Predictor:
    return jaxser.load(swept)


def select_run(model: Model, n: int) -> Predictor:
    """The model as if run n were its only run."""
    return Predictor(Model(model.metadata, jax.tree.map(lambda x: x[n : n + 1], model.arrays)))


def mean_posterior(answers: list[dict]) -> dict[str, float]:
    """The mean of the answers' posteriors."""
    classes = answers[0]['posterior']
    return {name: np.mean([answer['posterior'][name] for answer in answers]) for name in classes}


def select_seconds(wave: np.ndarray, times: dict) -> np.ndarray:
    return wave[round(times['start'] * RATE) : round(times['end'] * RATE)]


def check_predictions(workdir: Path, data: Path) -> int:
    """Asserts that each run predicts its test utterances as predictions.csv says.

    Returns the number of utterances.
    """
    model = read_model(workdir)
    temperature = model.metadata['calibration']['temperature']
    with open(workdir / 'predictions.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    count = 0
    for n, run in enumerate(model.metadata['runs']):
        run_rows = [row for row in rows if int(row['fold']) == run['fold']]
        if len(model.metadata['runs']) > 1:
            label = f'lam={run["lam"]:g} '
            run_rows = [row for row in run_rows if row['run'].startswith(label)]
        predictor = select_run(model, n)
        files = [data.parent / row['utterance'] for row in run_rows]
        for row, answer in zip(run_rows, predictor.predict_files(files), strict=True):
            raw_C = np.array([float(row[name]) for name in predictor.classes])
            expected_C = calibration.apply_temperature(raw_C, temperature)
            p_C = [answer['posterior'][name] for name in predictor.classes]
            np.testing.assert_allclose(p_C, expected_C, atol=TOLERANCE)
            count += 1
    return count


def test_a_test_utterance_has_the_posterior_of_predictions_csv(swept, data):
    """Decoding, features, their rounding, normalisation and network are those of training.

    Only the temperature is added.
    """
    assert check_predictions(swept, data) == 48


def test_features_are_those_of_the_shards_to_the_bit(model, swept, data, monkeypatch):
    """With one BLAS thread, as in `prepare`: the last bit depends on their number."""
    thread_counts = []
    compute_log_mel = log_mel.compute_log_mel

    def recording_threads(*arguments):
        for library in threadpoolctl.threadpool_info():
            if library['user_api'] == 'blas':
                thread_counts.append(library['num_threads'])
        return compute_log_mel(*arguments)

    monkeypatch.setattr(log_mel, 'compute_log_mel', recording_threads)
    config = Workdir.open(swept).config
    utterances = split.make_split(config, dataset.find_prepared_data(config.data)).utterances
    mel_RxM = dataset.read_all_features(utterances)
    first = 0
    for name, frames in zip(utterances.text['utterance'], utterances.frames_N):
        (segment,) = model._read_recording(data.parent / name).segments
        np.testing.assert_array_equal(segment.model_input, mel_RxM[first : first + frames])
        first += frames
    assert set(thread_counts) == {1}


def test_utterance_normalisation_and_statistics_of_the_target_domain(data, tmp_path):
    """A new file has its own statistics, and belongs to the target side of BatchNorm."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict(
        {
            'data.normalise': 'utterance',
            'data.resident': 'off',
            'data.dir': str(data),
            'protocol.adapt': 'transductive',
            'model.batch_norm': 'domain',
            'train.epochs': 1,
        }
    )
    config.sweep.update(lam=(0.5,), fold=(0,))
    experiment.run_experiment(config, tmp_path / 'w')
    bundling.bundle_model(tmp_path / 'w')
    assert check_predictions(tmp_path / 'w', data) == 16


def test_the_answer_is_the_mean_over_the_runs(model, swept):
    wave = make_tone(1.0)
    single_answers = [select_run(read_model(swept), n).predict(wave, RATE) for n in range(3)]
    answer = model.predict(wave, RATE)
    assert_close(answer, {'posterior': mean_posterior(single_answers)}, TOLERANCE)
    assert sum(answer['posterior'].values()) == pytest.approx(1)


def test_on_an_accelerator_the_runs_are_vmapped_with_the_same_answer(model, swept, monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    answer = jaxser.load(swept).predict(make_tone(1.0), RATE)
    assert_close(answer, model.predict(make_tone(1.0), RATE), TOLERANCE)


def test_neither_the_batch_nor_the_padding_changes_an_answer(model, tmp_path):
    """A file alone, among others of any length, and padded to ten times its length."""
    files = []
    for n, seconds in enumerate([0.3, 0.5, 0.9, 1.4, 2.2, 3.1, 4.0, 9.0] * 3):
        files.append(tmp_path / f'{n}.wav')
        soundfile.write(files[-1], make_tone(seconds, pitch=150 + 10 * n), RATE)
    together = list(model.predict_files(files))
    assert [answer['file'] for answer in together] == [str(file) for file in files]
    for file, answer in zip(files[:9], together):
        assert_close(next(model.predict_files([file])), answer, TOLERANCE)
        wave, _ = soundfile.read(file, dtype=np.float32)
        assert_close(model.predict(wave, RATE), answer, TOLERANCE)
        (segment,) = model._make_recording('', wave).segments
        (padded_C,) = model._predict_outputs([segment.model_input], 3200)
        p_C = [answer['posterior'][name] for name in model.classes]
        np.testing.assert_allclose(padded_C, p_C, atol=TOLERANCE)


def test_a_long_wave_is_answered_by_windows_up_to_its_end(model):
    """Each window is answered as it would be alone, and the wave by their mean."""
    wave = make_tone(33.0)
    answer = model.predict(wave, RATE)
    times = [(window['start'], window['end']) for window in answer['windows']]
    assert times == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 30), (23, 33)]
    for window in answer['windows'][::5]:
        assert_close(window, model.predict(select_seconds(wave, window), RATE), TOLERANCE)
    assert_close(answer, {'posterior': mean_posterior(answer['windows'])}, TOLERANCE)
    assert model.predict(wave[: 30 * RATE], RATE)['windows'] == []


def test_silent_windows_do_not_count_for_the_mean(model):
    """A pause of half a minute is no emotion."""
    wave = np.concatenate([make_tone(20.0), np.zeros(30 * RATE, np.float32)])
    answer = model.predict(wave, RATE)
    audible = [window for window in answer['windows'] if window['posterior']]
    silent = [window for window in answer['windows'] if not window['posterior']]
    assert [window['start'] for window in audible] == [0, 5, 10, 15]
    assert [window['start'] for window in silent] == [20, 25, 30, 35, 40]
    assert_close(answer, {'posterior': mean_posterior(audible)}, TOLERANCE)


def test_rate_channels_and_dtype_of_a_wave_do_not_change_the_answer(model):
    wave = make_tone(1.0, 48_000)
    answer = model.predict(wave, 48_000)
    assert_close(model.predict(np.stack([wave, wave], 1), 48_000), answer, TOLERANCE)
    integers = np.round(wave * 32768).astype(np.int16)
    integer_answer = model.predict(integers, 48_000)
    assert_close(integer_answer, model.predict(integers / 32768, 48_000), TOLERANCE)
    assert_close(integer_answer, answer, 0.02)


@pytest.mark.parametrize(
    ('wave', 'rate', 'message'),
    [
        (np.zeros(RATE), RATE, 'silent'),
        (make_tone(0.05), RATE, 'too short: 0.050 s'),
        (np.full(RATE, np.nan), RATE, 'NaN'),
        (np.linspace(0, 3e-4, 40 * RATE), RATE, 'silent in every window'),
        (make_tone(1.0), 3, 'rate of 3 Hz'),
        (np.zeros((2, RATE)), RATE, r'shape \(2, 16000\); expected \(time,\)'),
        (np.zeros(0), RATE, r'shape \(0,\)'),
        (np.full(RATE, 20_000.0), RATE, 'samples as large as 20000, where full scale is 1'),
        (np.ones(RATE), '16000', "rate is '16000'; expected a whole number"),
        (np.zeros(RATE, bool), RATE, 'bool; expected floats'),
    ],
)
def test_an_array_that_is_no_audible_wave_is_refused(model, wave, rate, message):
    with pytest.raises(UserError, match=message):
        model.predict(wave, rate)


def test_a_folder_stands_for_all_audio_files_below_it(model, tmp_path):
    """In the order of their names; a folder without any is answered with an error."""
    (tmp_path / 'in').mkdir()
    soundfile.write(tmp_path / 'in' / 'B.WAV', make_tone(0.3), RATE)
    soundfile.write(tmp_path / 'a.flac', make_tone(0.5), RATE)
    (tmp_path / 'notes.txt').write_text('no audio\n')
    (tmp_path / '._a.flac').touch()  # macOS leaves such files
    (tmp_path / '.git').mkdir()
    soundfile.write(tmp_path / '.git' / 'a.flac', make_tone(0.5), RATE)
    answers = list(model.predict_files([tmp_path]))
    assert [Path(answer['file']).name for answer in answers] == ['a.flac', 'B.WAV']
    (tmp_path / 'none').mkdir()
    (answer,) = model.predict_files([tmp_path / 'none'])
    assert 'no audio file in this folder' in answer['error']


def test_a_folder_is_read_by_the_first_bytes_too(model, tmp_path):
    """A recording of any suffix is predicted; all other files are known."""
    soundfile.write(tmp_path / 'a.recording', make_tone(0.5), RATE, format='WAV')
    soundfile.write(tmp_path / 'b', make_tone(0.5), RATE, format='FLAC')
    (tmp_path / 'c.json').write_text('{"a": 1}')
    (tmp_path / 'd.empty').touch()
    os.mkfifo(tmp_path / 'e')  # to open it would block
    answers = list(model.predict_files([tmp_path]))
    assert [Path(answer['file']).name for answer in answers] == ['a.recording', 'b']
    assert all(answer['posterior'] for answer in answers)
    others = recordings.list_folder(tmp_path).others
    assert [path.name for path in others] == ['c.json', 'd.empty', 'e']


def test_compressed_speech_in_a_folder_is_named_without_pyav(model, tmp_path, monkeypatch):
    soundfile.write(tmp_path / 'a.wav', make_tone(0.5), RATE)
    (tmp_path / 'b.m4a').write_bytes(b'\0\0\0\x18ftypM4A ' + bytes(100))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    answers = list(model.predict_files([tmp_path]))
    assert [Path(answer['file']).name for answer in answers] == ['a.wav', 'b.m4a']
    assert 'install PyAV' in answers[1]['error']


@pytest.mark.parametrize('path', ['', 'x' * 5000, 'a\0b'])
def test_an_impossible_path_is_refused_or_answered(model, path):
    if not path:
        with pytest.raises(UserError, match='One of the paths is empty'):
            list(model.predict_files([path]))
        return
    (answer,) = model.predict_files([path])
    assert 'unreadable' in answer['error']


def test_a_pipe_between_files_is_named(model, tmp_path):
    """To open it, even only for its header, would block."""
    soundfile.write(tmp_path / 'a.wav', make_tone(0.5), RATE)
    os.mkfifo(tmp_path / 'b.wav')
    first, second = model.predict_files([tmp_path / 'a.wav', tmp_path / 'b.wav'])
    assert first['posterior']
    assert 'not a file' in second['error']


def test_due_answers_are_given_before_a_long_file_is_decoded(model, tmp_path, monkeypatch):
    """Decoding may take long, or end the process."""
    soundfile.write(tmp_path / 'a.wav', make_tone(0.5), RATE)
    soundfile.write(tmp_path / 'b.flac', np.zeros((20 * 60 * 8000, 2), np.int16), 8000)
    answers = model.predict_files([tmp_path / 'a.wav', tmp_path / 'b.flac'])
    decoded = []
    decode_file = decode.decode

    def recording_names(utterance, spec):
        decoded.append(utterance.name)
        return decode_file(utterance, spec)

    monkeypatch.setattr(decode, 'decode', recording_names)
    assert next(answers)['posterior']
    assert decoded == ['a.wav']
    assert 'silent' in next(answers)['error']


def test_too_many_windows_are_refused(model, monkeypatch):
    monkeypatch.setattr(predictor, 'MAX_WINDOWS', 1000)
    many_windows = Predictor(model.model, window=0.2, hop=0.01)
    with pytest.raises(UserError, match='too long for this hop: 3980 windows'):
        many_windows.predict(make_tone(40.0), RATE)


def test_a_channel_can_be_chosen(model, swept, tmp_path):
    """In files, waves and streams; else channels that cancel are refused."""
    wave = make_tone(1.0)
    samples = np.stack([wave, -wave], 1)
    soundfile.write(tmp_path / 'a.wav', samples, RATE, subtype='FLOAT')
    (answer,) = model.predict_files([tmp_path / 'a.wav'])
    assert 'its 2 channels cancel' in answer['error']
    with pytest.raises(UserError, match='its 2 channels cancel'):
        model.predict(samples, RATE)
    content = samples.astype('<f4').tobytes()
    second, _ = model.predict_stream(io.BytesIO(content), RATE, 'f32le', 2)
    assert 'its 2 channels cancel' in second['note']
    first = jaxser.load(swept, channel=1)
    expected = model.predict(wave, RATE)
    assert_close(next(first.predict_files([tmp_path / 'a.wav'])), expected, TOLERANCE)
    assert_close(first.predict(samples, RATE), expected, TOLERANCE)
    (second,) = first.predict_stream(io.BytesIO(content), RATE, 'f32le', 2)
    assert_close(second, expected, TOLERANCE)
    with pytest.raises(UserError, match='channel is 0'):
        jaxser.load(swept, channel=0)


def test_float_samples_as_large_as_integers_are_refused_everywhere(model, tmp_path):
    """In files, waves and streams, by the same sentence."""
    wave = np.round(32768 * make_tone(1.0)).astype(np.float32)
    soundfile.write(tmp_path / 'a.wav', wave, RATE, subtype='FLOAT')
    (answer,) = model.predict_files([tmp_path / 'a.wav'])
    assert 'probably integers' in answer['error']
    with pytest.raises(UserError, match='probably integers'):
        model.predict(wave, RATE)
    second, _ = model.predict_stream(io.BytesIO(wave.astype('<f4').tobytes()), RATE, 'f32le')
    assert second['note'] == answer['error']


class SlowPipe(io.BytesIO):
    """A pipe that returns at most 777 bytes at a time."""

    def read(self, size=-1):
        return super().read(min(size, 777))


@pytest.mark.parametrize(('encoding', 'channels'), [('s16le', 1), ('f32le', 2)])
def test_a_stream_is_answered_every_second(model, encoding, channels):
    """As `predict` answers its last seconds; its end is answered too, however it is divided."""
    mono = np.round(make_tone(12.5) * 32768) / 32768
    wave = np.repeat(mono[:, None], channels, 1)
    if encoding == 's16le':
        content = (wave * 32768).astype('<i2').tobytes()
    else:
        content = wave.astype('<f4').tobytes() + b'x'  # ends within a sample
    answers = list(model.predict_stream(SlowPipe(content), RATE, encoding, channels))
    assert [answer['end'] for answer in answers] == [*map(float, range(1, 13)), 12.5]
    assert [answer['start'] for answer in answers] == [0.0] * 10 + [1.0, 2.0, 2.5]
    for answer in answers[::4]:
        assert_close(answer, model.predict(select_seconds(wave, answer), RATE), TOLERANCE)


def test_a_silent_second_of_a_stream_has_a_note_and_no_posterior(model):
    """A stream without any answer ends with an error."""
    silence = bytes(2 * RATE)
    second, end = model.predict_stream(io.BytesIO(silence), RATE)
    assert second['posterior'] is None
    assert second['note'] == end['error']
    assert 'silent' in end['error']
    tone = (make_tone(1.0) * 32768).astype('<i2').tobytes()
    answers = list(model.predict_stream(io.BytesIO(silence + tone), RATE))
    assert not any('error' in answer for answer in answers)
    (answer,) = model.predict_stream(io.BytesIO(b''), RATE)
    assert 'empty' in answer['error']


def test_the_notes_mention_speaker_normalisation_and_synthetic_speech(swept):
    """A new speaker has other statistics than those of training."""
    metadata, arrays = read_model(swept)
    arrays = {key: arrays[key] for key in ('params', 'batch_stats')}
    changes = {'normalisation': 'speaker', 'corpora': ['demo'], 'data': {'demo': {}}}
    predictor = Predictor(Model(metadata | changes, arrays))
    notes = ' '.join(predictor.notes)
    assert 'every speaker is unseen' in notes
    assert 'Synthetic speech' in notes
    assert predictor.predict(make_tone(1.0), RATE)['posterior'].keys() == {'angry', 'sad'}


@pytest.mark.parametrize(
    ('window', 'hop'),
    [
        (1.0, 2.0),
        (1.0, 0.0),
        (0.1, 0.1),
        (np.inf, 5.0),
        (np.nan, 5.0),
        (1e9, 5.0),
        (10.0, 1e-9),
        (10.0, np.nan),
        (-1.0, -2.0),
    ],
)
def test_windows_with_gaps_or_too_short_are_refused(swept, window, hop):
    with pytest.raises(UserError, match='A window of'):
        jaxser.load(swept, window=window, hop=hop)


def test_a_copy_of_the_model_folder_is_all_that_prediction_needs(swept, model, tmp_path):
    shutil.copytree(swept / 'model', tmp_path / 'model')
    answer = jaxser.load(tmp_path / 'model').predict(make_tone(1.0), RATE)
    assert_close(answer, model.predict(make_tone(1.0), RATE), TOLERANCE)

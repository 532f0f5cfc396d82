"""Predictions of files, waves and streams by the model of a finished sweep."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
import threadpoolctl
from helpers import tiny_config

import jaxser
from data_pipelines.errors import UserError
from data_pipelines.features import log_mel
from data_pipelines.protocols import split
from data_pipelines.storage import dataset
from jaxser import plugins, predict
from jaxser.analysis import calibration
from jaxser.interfaces import Sizes
from jaxser.serving import bundling, output, predictor
from jaxser.serving.model import Model, deserialize_arrays, read_model, serialize_arrays
from jaxser.training import experiment, step
from jaxser.workdir import Workdir

ROOT = Path(__file__).parent.parent.parent
RATE = 16_000


def sound(seconds: float, rate: int = RATE, pitch: float = 190.0) -> np.ndarray:
    """A tone with a tremolo that slows down, and some noise."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * pitch * t) * (1 + np.sin(2 * np.pi * (12 * t - t**2 / 10)))
    return (0.2 * wave + 0.01 * np.random.default_rng(0).standard_normal(t.size)).astype(np.float32)


@pytest.fixture(scope='module')
def model(swept) -> predictor.Predictor:
    return jaxser.load(swept)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """What people have: a stereo file of 48 kHz, a very short one, a long one, and what is no speech."""
    path = tmp_path_factory.mktemp('files')
    left = sound(2.0, 48_000)
    soundfile.write(path / 'stereo.wav', np.stack([left, 0.5 * left], 1), 48_000)
    soundfile.write(path / 'short.wav', sound(0.3), RATE)
    soundfile.write(path / 'long.wav', sound(600.0, 8_000), 8_000)
    (path / 'empty.wav').touch()
    (path / 'notes.txt').write_text('no sound\n')
    return path


def close(a: dict, b: dict, tolerance: float = 1e-6) -> None:
    assert a['posterior'] == pytest.approx(b['posterior'], abs=tolerance)


def of_one_run(model: Model, n: int) -> predictor.Predictor:
    """The model as if it had that run alone."""
    return predictor.Predictor(
        Model(model.metadata, jax.tree.map(lambda x: x[n : n + 1], model.arrays))
    )


def agrees(workdir: Path, data: Path) -> int:
    """Asserts that the tested utterances have, by their own fold's run, what predictions.csv says; returns how many."""
    whole = read_model(workdir)
    temperature, several = (
        whole.metadata['calibration']['temperature'],
        len(whole.metadata['runs']) > 1,
    )
    rows = list(csv.DictReader((workdir / 'predictions.csv').read_text().splitlines()))
    count = 0
    for n, run in enumerate(whole.metadata['runs']):
        mine = [
            r
            for r in rows
            if int(r['fold']) == run['fold']
            and (not several or r['run'].startswith(f'lam={run["lam"]:g} '))
        ]
        alone = of_one_run(whole, n)
        for row, answer in zip(
            mine, alone.predict_files(data.parent / r['utterance'] for r in mine), strict=True
        ):
            raw_C = np.array([float(row[c]) for c in alone.classes])
            want_C = calibration.apply_temperature(raw_C, temperature)
            np.testing.assert_allclose(
                [answer['posterior'][c] for c in alone.classes], want_C, atol=1e-6
            )
            count += 1
    return count


def test_a_tested_utterance_has_the_posterior_of_predictions_csv(swept, data):
    """Decoding, features, their 16 bits, normalisation and network are those of training; only the temperature is added."""
    assert agrees(swept, data) == 48


def test_features_are_those_of_the_shards_to_the_bit(model, swept, data, monkeypatch):
    """With one thread of BLAS, as in `prepare`: the last bit of a product depends on their number (in some of 384 files)."""
    threads, log_mel_of = [], log_mel.compute_log_mel
    infos = lambda: [
        b['num_threads'] for b in threadpoolctl.threadpool_info() if b['user_api'] == 'blas'
    ]  # noqa: E731
    monkeypatch.setattr(
        log_mel, 'compute_log_mel', lambda *a: (threads.extend(infos()), log_mel_of(*a))[1]
    )
    u = split.make_split(Workdir.open(swept).config).utterances
    mel_RxM, first = dataset.read_all_features(u), 0
    for name, frames in zip(u.text['utterance'], u.frames_N):
        (stretch,) = model._read_recording(data.parent / name).segments
        np.testing.assert_array_equal(stretch.encoder_input, mel_RxM[first : first + frames])
        first += frames
    assert set(threads) == {1}


def test_by_the_utterance_and_with_a_targets_statistics_too(data, tmp_path):
    """A new file is normalised by itself where training did so, and is the target's where BatchNorm tells two sides apart."""
    config = tiny_config.get_config()
    keys = {'normalise': 'utterance', 'resident': 'off', 'dir': str(data)}
    config.update_from_flattened_dict({f'data.{k}': v for k, v in keys.items()})
    config.update_from_flattened_dict(
        {'protocol.adapt': 'transductive', 'model.batch_norm': 'domain', 'train.epochs': 1}
    )
    config.sweep.update(lam=(0.5,), fold=(0,))
    experiment.run_experiment(config, tmp_path / 'w')
    bundling.bundle_model(tmp_path / 'w')
    assert agrees(tmp_path / 'w', data) == 16


def test_the_answer_is_the_mean_over_the_runs(model, swept):
    """None of them decides alone."""
    wave, whole = sound(1.0), read_model(swept)
    alone = [of_one_run(whole, n).predict(wave, RATE)['posterior'] for n in range(3)]
    mean = {c: np.mean([p[c] for p in alone]) for c in model.classes}
    close(model.predict(wave, RATE), {'posterior': mean})
    assert sum(model.predict(wave, RATE)['posterior'].values()) == pytest.approx(1)


def test_on_an_accelerator_the_runs_are_vmapped(model, swept, monkeypatch):
    """There they do not take turns, and say the same."""
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    close(jaxser.load(swept).predict(sound(1.0), RATE), model.predict(sound(1.0), RATE))


def test_neither_the_batch_nor_the_padding_changes_an_answer(model, folder, tmp_path):
    """A file alone, among others of any length, and padded to ten times its length."""
    names = []
    for n, seconds in enumerate([0.3, 0.5, 0.9, 1.4, 2.2, 3.1, 4.0, 9.0] * 3):
        names.append(tmp_path / f'{n}.wav')
        soundfile.write(names[-1], sound(seconds, pitch=150 + 10 * n), RATE)
    together = list(model.predict_files(names))
    assert [a['file'] for a in together] == [str(n) for n in names]
    for name, answer in zip(names[:9], together):
        close(next(model.predict_files([name])), answer)
        wave, _ = soundfile.read(name, dtype=np.float32)
        close(model.predict(wave, RATE), answer)
        (stretch,) = model._make_recording('', wave).segments
        (padded,) = model._predict_posteriors([stretch.encoder_input], 3200)
        np.testing.assert_allclose(
            padded, [answer['posterior'][c] for c in model.classes], atol=1e-6
        )


def test_a_long_sound_is_answered_by_windows(model):
    """With their times, up to the very end; each is what it would be alone, and the sound is their mean."""
    wave = sound(33.0)
    answer = model.predict(wave, RATE)
    spans = [(w['start'], w['end']) for w in answer['windows']]
    assert spans == [(0, 10), (5, 15), (10, 20), (15, 25), (20, 30), (23, 33)]
    for w in answer['windows'][::5]:
        close(w, model.predict(wave[round(w['start'] * RATE) : round(w['end'] * RATE)], RATE))
    mean = {c: np.mean([w['posterior'][c] for w in answer['windows']]) for c in model.classes}
    close(answer, {'posterior': mean})
    assert model.predict(wave[: 30 * RATE], RATE)['windows'] == []


def test_silence_in_a_long_sound_has_no_part_in_it(model):
    """A pause of half a minute is no emotion: its windows say nothing, and the mean is of the others."""
    wave = np.concatenate([sound(20.0), np.zeros(30 * RATE, np.float32)])
    answer = model.predict(wave, RATE)
    heard = [w for w in answer['windows'] if w['posterior']]
    assert [w['start'] for w in heard] == [0, 5, 10, 15]
    assert [w['start'] for w in answer['windows'] if not w['posterior']] == [20, 25, 30, 35, 40]
    close(
        answer,
        {'posterior': {c: np.mean([w['posterior'][c] for w in heard]) for c in model.classes}},
    )


def test_rate_channels_and_type_of_a_wave_do_not_matter(model):
    """What is resampled from 48 kHz stereo, or comes as 16-bit integers, has the answer of the sound that it is."""
    wave = sound(1.0, 48_000)
    once = model.predict(wave, 48_000)
    close(model.predict(np.stack([wave, wave], 1), 48_000), once)
    whole = np.round(wave * 32768).astype(np.int16)
    close(model.predict(whole, 48_000), model.predict(whole / 32768, 48_000))
    close(model.predict(whole, 48_000), once, 0.02)


@pytest.mark.parametrize(
    ('wave', 'rate', 'said'),
    [
        (np.zeros(RATE), RATE, 'silent'),
        (sound(0.05), RATE, 'too short: 0.050 s'),
        (np.full(RATE, np.nan), RATE, 'NaN'),
        (np.linspace(0, 3e-4, 40 * RATE), RATE, 'silent in every window'),
        (sound(1.0), 3, 'rate of 3 Hz'),
        (np.zeros((2, RATE)), RATE, r'shape \(2, 16000\); expected \(time,\)'),
        (np.zeros(0), RATE, r'shape \(0,\)'),
        (np.full(RATE, 20_000.0), RATE, 'samples of 20000; expected floats of full scale 1'),
        (np.ones(RATE), '16000', "rate is '16000'; expected a whole number"),
        (np.zeros(RATE, bool), RATE, 'bool; expected floats'),
    ],
)
def test_what_is_no_sound_is_refused(model, wave, rate, said):
    """With a sentence, rather than with a posterior."""
    with pytest.raises(UserError, match=said):
        model.predict(wave, rate)


def test_a_folder_is_every_audio_file_below_it(model, folder, tmp_path):
    """In the order of their names, other files passed over; one without any has a line of its own."""
    (tmp_path / 'in').mkdir()
    shutil.copy(folder / 'short.wav', tmp_path / 'in' / 'B.WAV')
    soundfile.write(tmp_path / 'a.flac', sound(0.5), RATE)
    shutil.copy(folder / 'notes.txt', tmp_path)
    (tmp_path / '._a.flac').touch()  # a Mac leaves them
    assert [Path(a['file']).name for a in model.predict_files([tmp_path])] == ['B.WAV', 'a.flac'][
        ::-1
    ]
    (tmp_path / 'none').mkdir()
    (answer,) = model.predict_files([tmp_path / 'none'])
    assert 'no audio file below it' in answer['error']


@pytest.mark.parametrize(('encoding', 'channels'), [('s16le', 1), ('f32le', 2)])
def test_a_stream_is_answered_every_second(model, encoding, channels):
    """About what was heard last, as `predict` found it; the pipe may cut it anywhere, and its end is answered too."""
    wave = np.repeat(np.round(sound(12.5) * 32768)[:, None] / 32768, channels, 1)
    content = (
        (wave * 32768).astype('<i2').tobytes()
        if encoding == 's16le'
        else wave.astype('<f4').tobytes() + b'x'
    )

    class Pipe(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 777))

    found = list(model.predict_stream(Pipe(content), RATE, encoding, channels))
    assert [a['end'] for a in found] == [*map(float, range(1, 13)), 12.5]
    assert [a['start'] for a in found] == [0.0] * 10 + [1.0, 2.0, 2.5]
    for a in found[::4]:
        close(a, model.predict(wave[round(a['start'] * RATE) : round(a['end'] * RATE)], RATE))


def test_silence_and_the_end_of_a_stream(model):
    """Silence has a line without a posterior; a stream of nothing else, or of nothing, ends with an error."""
    second, end = model.predict_stream(io.BytesIO(bytes(2 * RATE)), RATE)
    assert second['posterior'] is None
    assert second['note'] == end['error']
    assert 'silent' in end['error']
    pcm = (sound(1.0) * 32768).astype('<i2').tobytes()
    assert not any(
        'error' in a for a in model.predict_stream(io.BytesIO(bytes(2 * RATE) + pcm), RATE)
    )
    (answer,) = model.predict_stream(io.BytesIO(b''), RATE)
    assert 'empty' in answer['error']


def test_formats_say_the_same(model, folder, tmp_path):
    """JSON lines, CSV and the table, of the good files and the bad."""
    soundfile.write(tmp_path / 'long.wav', sound(40.0), RATE)
    names = [folder / 'stereo.wav', tmp_path / 'long.wav', folder / 'empty.wav']
    found = list(model.predict_files(names))
    text = {
        how: list(output.format_answers(found, how, model.classes))
        for how in ('jsonl', 'csv', 'table')
    }
    assert [json.loads(line) for line in text['jsonl']] == found
    rows = list(csv.DictReader(text['csv']))
    assert [r['part'] for r in rows] == ['file', 'file', *['window'] * 7, 'error']
    assert float(rows[1]['angry']) == pytest.approx(found[1]['posterior']['angry'])
    assert (rows[-2]['start'], rows[-2]['end']) == ('30.0', '40.0')
    assert rows[-1]['error'] == 'empty: 0 bytes'
    assert f'{found[0]["posterior"]["sad"]:.3f}' in text['table'][0]
    assert text['table'][1] == f'{folder / "empty.wav"}: empty: 0 bytes'
    shown = [
        [cell.strip() for cell in line.split('│')[1:-1]]
        for line in text['table'][0].splitlines()
        if '│' in line
    ]
    assert [cells[1:4] for cells in shown] == [
        ['2.0', '', found[0]['emotion']],
        ['40.0', '7', found[1]['emotion']],
    ]
    assert 'mean of windows' in text['table'][0]
    assert 'windows' not in next(output.format_answers(found[:1], 'table', model.classes))


@pytest.mark.parametrize('end', ['\n', '\r', '\r\n', '\u2028', '\x85', '\x0c'], ids=ascii)
def test_a_name_forges_no_row(end):
    """A file may be named like the end of a row and another row, with an answer or without one."""
    name = f'a.wav{end}b.wav,file,0,1,sad,0.1,0.9,'
    posterior = {'angry': 0.9, 'sad': 0.1}
    answer = {'file': name, 'seconds': 1.0, 'emotion': 'angry', 'posterior': posterior}
    window = {'start': 0.0, 'end': 1.0, 'emotion': 'angry', 'posterior': posterior}
    found = [answer | {'windows': [window]}, {'file': name, 'error': 'empty'}]
    text = {
        how: '\n'.join(output.format_answers(found, how, ('angry', 'sad')))
        for how in output.FORMATS
    }
    rows = list(csv.DictReader(io.StringIO(text['csv'], newline=''), strict=True))
    assert [(r['file'], r['part']) for r in rows] == [
        (name, p) for p in ('file', 'window', 'error')
    ]
    assert [json.loads(line) for line in text['jsonl'].splitlines()] == found
    assert not any(line.startswith('b.wav') for line in text['table'].splitlines())
    assert text['table'].count('b.wav,file') == 2


def test_a_stranger_under_speaker_normalisation_is_told_so(swept):
    """Its statistics are another's than in training: nobody should learn that from the figures."""
    facts, arrays = read_model(swept)
    arrays = {k: v for k, v in arrays.items() if k not in ('mean', 'scale')}
    stranger = predictor.Predictor(
        Model(
            facts | {'normalisation': 'speaker', 'corpora': ['demo'], 'data': {'demo': {}}}, arrays
        )
    )
    assert any('every speaker is a stranger' in n for n in stranger.notes)
    assert any('Synthetic speech' in n for n in stranger.notes)
    assert stranger.predict(sound(1.0), RATE)['posterior'].keys() == {'angry', 'sad'}


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['a.wav', '--rate', '8000'], '--rate is of standard input'),
        (['-'], 'give --rate'),
        (['-', 'a.wav', '--rate', '8000'], 'read alone'),
        (['-', '--rate', '5'], '--rate is 5'),
        (['-', '--rate', '8000', '--channels', '0'], '--channels is 0'),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, capsys):
    """A sentence, before the model is loaded."""
    with pytest.raises(SystemExit, match='2'):
        predict.parse_arguments(['--workdir', 'w', *arguments])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(('window', 'hop'), [(1.0, 2.0), (1.0, 0.0), (0.1, 0.1)])
def test_windows_that_make_no_sense_are_refused(swept, window, hop):
    """Gaps that nobody hears, and windows too short to be answered."""
    with pytest.raises(UserError, match='A window of'):
        jaxser.load(swept, window=window, hop=hop)


@pytest.mark.parametrize(
    'keys',
    [
        {'method': 'leace'},
        {'method': 'speaker_norm', 'speaker_norm': 'snp'},
        {'method': 'cdann', 'domain': 'speaker+language', 'model.batch_norm': 'none'},
        {'method': 'crossgrad', 'model.name': 'cnn'},
        {'method': 'dann', 'model.batch_norm': 'domain'},
    ],
    ids=lambda keys: keys['method'],
)
def test_every_kind_of_parameters_survives_the_file(keys):
    """Heads, layers and erasers by their names, and statistics that a network has or lacks, to the bit."""
    config = tiny_config.get_config()
    config.update_from_flattened_dict(keys)
    sizes = Sizes(64, 2, {'speaker': 3, 'language': 2, 'corpus': 1}, 4)
    encoder, method = plugins.make_method(config, sizes)
    hyper = {
        'seed': np.arange(2),
        'fold': np.zeros(2, int),
        'weight_decay': np.zeros(2),
        'lr': np.zeros(2),
    }
    state = jax.vmap(step.make_step(encoder, method, sizes, config.train).init)(hyper)
    arrays = {'params': state.params, 'batch_stats': state.batch_stats}
    again = {'batch_stats': {}} | deserialize_arrays(
        serialize_arrays(jax.tree.map(np.asarray, arrays))
    )
    jax.tree.map(np.testing.assert_array_equal, again, arrays)
    facts = {
        'config': json.loads(config.to_json()),
        'classes': ['angry', 'sad'],
        'sizes': sizes._asdict(),
    }
    facts |= {
        'calibration': {'temperature': 1.0},
        'normalisation': 'utterance',
        'synthetic': False,
        'versions': {},
    }
    found = predictor.Predictor(Model(facts, deserialize_arrays(serialize_arrays(again)))).predict(
        sound(0.5), RATE
    )
    assert sum(found['posterior'].values()) == pytest.approx(1)


COMMAND = """
import sys
import jaxser
assert 'jax' not in sys.modules, 'import jaxser is light'
from jaxser import predict
try:
    predict.main()
finally:
    assert not {m.partition('.')[0] for m in sys.modules} & {'tensorflow', 'tensorflow_datasets', 'orbax'}
"""


def command(*arguments: object, **options) -> subprocess.CompletedProcess:
    """The command as a user runs it, which fails if it imports TensorFlow."""
    environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '1', 'PYTHONPATH': str(ROOT)}
    words = [sys.executable, '-c', COMMAND, *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, timeout=300, **options)


def test_good_files_are_answered_and_bad_ones_named(swept, folder, tmp_path):
    """One call, from a copy of model/ alone: 48 kHz stereo, 0.3 s, ten minutes, an empty file, a text file, none at all."""
    shutil.copytree(swept / 'model', tmp_path / 'model')
    names = ['stereo.wav', 'short.wav', 'long.wav', 'empty.wav', 'notes.txt', 'absent.wav']
    done = command('--workdir', tmp_path / 'model', '--format', 'jsonl', *names, cwd=folder)
    assert done.returncode == 1, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a['file'] for a in found] == names
    assert [round(a['seconds'], 3) for a in found[:3]] == [2.0, 0.3, 600.0]
    assert len(found[2]['windows']) == 119
    assert [a['error'] for a in found[3:]] == [
        'empty: 0 bytes',
        'unreadable: Format not recognised.',
        'missing',
    ]
    assert b'3 of 6 files without an answer' in done.stderr
    assert b'Traceback' not in done.stderr


def test_standard_input_and_a_workdir_without_a_model(swept, tmp_path):
    """A line a second and status 0; a sentence and status 2."""
    pcm = (sound(3.0) * 32768).astype('<i2').tobytes()
    done = command('--workdir', swept, '-', '--rate', RATE, '--format', 'csv', input=pcm)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.decode().splitlines()))
    assert [(r['start'], r['end']) for r in rows] == [
        ('0.0', '1.0'),
        ('0.0', '2.0'),
        ('0.0', '3.0'),
    ]
    done = command('--workdir', tmp_path, 'a.wav')
    assert (done.returncode, done.stdout) == (2, b'')
    assert b'holds no model' in done.stderr
    assert b'Traceback' not in done.stderr

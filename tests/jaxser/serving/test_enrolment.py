"""Enrolled speakers: waves, files, folders and streams, saved and loaded."""

import csv
import io
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from helpers import models
from helpers.predictions import RATE, assert_close, make_tone

import jaxser
from data_pipelines.errors import UserError
from data_pipelines.features import log_mel, speaker_offset
from data_pipelines.features.speaker_offset import SpeakerPrior
from jaxser.analysis import calibration
from jaxser.analysis import enrolment as enrolment_curve
from jaxser.pretrained.encoder import read_encoder
from jaxser.pretrained.extractor import StateExtractor
from jaxser.serving import bundling, enrolment, stablehlo
from jaxser.serving.model import WEIGHTS_FILE, Model, read_model
from jaxser.serving.predictor import Predictor
from jaxser.training import restore
from jaxser.workdir import Workdir
from jaxser.workdir_files import WorkdirFiles

TOLERANCE = 1e-6
WAVES = [make_tone(1.0 + 0.4 * n, pitch=120 + 25 * n) for n in range(4)]
TESTED = make_tone(1.3, pitch=140)


@pytest.fixture(scope='module')
def model() -> Model:
    return models.make_enrolment_model()


@pytest.fixture(scope='module')
def predictor(model) -> Predictor:
    return Predictor(model, window=2.0, hop=1.0)


@pytest.fixture(scope='module')
def enrolled(predictor) -> Predictor:
    return predictor.enrol(WAVES, RATE)


def largest_difference(a: dict, b: dict) -> float:
    return max(abs(a['posterior'][name] - b['posterior'][name]) for name in a['posterior'])


def offsets(predictor: Predictor) -> np.ndarray:
    return predictor.enrolment.speaker_offset_RxP


def write_waves(folder, waves) -> list:
    """Writes 0.flac, 1.flac, ... to the bit, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for n, wave in enumerate(waves):
        files.append(folder / f'{n}.wav')
        soundfile.write(files[-1], wave, RATE, subtype='FLOAT')
    return files


def as_pcm(wave: np.ndarray) -> io.BytesIO:
    return io.BytesIO(wave.astype('<f4').tobytes())


def test_without_enrolment_the_answer_is_that_of_a_global_model(model, predictor):
    as_global = Model(model.metadata | {'normalisation': 'global'}, model.run_arrays)
    assert_close(predictor.predict(TESTED, RATE), Predictor(as_global).predict(TESTED, RATE), 0)
    assert predictor.enrolment is None


def test_an_enrolled_speaker_is_normalised_by_the_estimated_offset(model, enrolled):
    """As a `global` model whose mean and scale are moved by hand."""
    features = [log_mel.compute_log_mel(wave, log_mel.LogMel()) for wave in WAVES]
    moments = [log_mel.compute_moments(mel_TxM) for mel_TxM in features]
    mean_NxM, variance_NxM = map(np.stack, zip(*moments))
    y_NxP = np.concatenate([mean_NxM, 0.5 * np.log(variance_NxM)], 1)
    arrays = dict(model.run_arrays)
    means, scales = [], []
    for r in range(models.RUNS):
        prior = SpeakerPrior(**{name: value[r] for name, value in model.arrays['prior'].items()})
        sums = speaker_offset.enrol(prior, speaker_offset.no_enrolment(prior), y_NxP)
        offset_P = speaker_offset.estimate_offset(prior, sums)
        np.testing.assert_allclose(offsets(enrolled)[r], offset_P, rtol=1e-5, atol=1e-5)
        means.append(arrays['mean'][r] + offset_P[: models.BANDS])
        scales.append(arrays['scale'][r] * np.exp(-offset_P[models.BANDS :]))
    arrays |= {'mean': np.float32(means), 'scale': np.float32(scales)}
    by_hand = Predictor(Model(model.metadata | {'normalisation': 'global'}, arrays))
    assert_close(enrolled.predict(TESTED, RATE), by_hand.predict(TESTED, RATE), 1e-5)
    assert np.abs(offsets(enrolled)).max() > 0.1


def predicted_posteriors(workdir: Path, fold: int, temperature: float) -> dict[str, np.ndarray]:
    """Returns the calibrated posterior of each utterance in predictions.csv of a fold."""
    with open(workdir / 'predictions.csv', newline='') as file:
        rows = [row for row in csv.DictReader(file) if int(row['fold']) == fold]
    posteriors = {}
    for row in rows:
        p_C = np.array([float(row['angry']), float(row['sad'])])
        posteriors[row['utterance']] = calibration.apply_temperature(p_C, temperature)
    return posteriors


def test_the_model_of_a_sweep_enrols_and_predicts_as_in_its_test(
    enrolment_sweep, data, monkeypatch
):
    """From the files of the tested speakers, each with those that the fold enrolled."""
    monkeypatch.setattr(enrolment, 'MIN_ENROLLED_SECONDS', 0.1)
    model = read_model(enrolment_sweep)
    temperature = model.metadata['calibration']['temperature']
    count = 0
    for trainer, group, _ in restore.restored_groups(Workdir.open(enrolment_sweep)):
        text = trainer.task.utterances.text
        for run, index in zip(group.runs, group.subset_fold_N):
            fold = trainer.task.subset_folds[index]
            r = model.metadata['runs'].index(run)
            arrays = jax.tree.map(lambda x_R: x_R[r : r + 1], model.arrays)  # noqa: B023
            predictor = Predictor(Model(model.metadata, arrays))
            expected = predicted_posteriors(enrolment_sweep, fold.number, temperature)
            for row in fold.test:
                own = fold.enrolled[text['speaker'][fold.enrolled] == text['speaker'][row]]
                files = [data.parent / name for name in text['utterance'][own]]
                speaker = predictor.enrol_files(files)
                assert speaker.enrolment.utterances == 2
                name = str(text['utterance'][row])
                (answer,) = speaker.predict_files([data.parent / name])
                p_C = [*answer['posterior'].values()]
                np.testing.assert_allclose(p_C, expected[name], atol=1e-5)
                count += 1
    assert count == 24  # half of all utterances


def test_a_model_gets_the_curve_that_is_measured_later(enrolment_sweep, tmp_path):
    """The rows of its setting, without the values of the setting; the weights do not change."""
    workdir = shutil.copytree(enrolment_sweep, tmp_path / 'w')
    weights = (workdir / 'model' / WEIGHTS_FILE).read_bytes()
    results = json.loads((workdir / 'results.json').read_text())
    keys = dict.fromkeys(enrolment_curve.RESULT_KEYS)
    curve = []
    for lam in (0.5, 0.7):
        for enrol, uar in ((0, 0.5), (8, 0.6)):
            facts = {'enrol_from': 'any', 'enrol': enrol, 'utterances': enrol, 'uar': uar + lam}
            curve.append({'lam': lam} | keys | facts)
    results['enrolment'] = {'draws': 1, 'rows': curve}
    WorkdirFiles(workdir).write('results.json', json.dumps(results))
    bundling.bundle_model(workdir)
    rows = read_model(workdir).metadata['enrolment']
    assert [(row['enrol'], row['uar']) for row in rows] == [(0, 1.0), (8, 1.1)]
    assert 'lam' not in rows[0]
    assert (workdir / 'model' / WEIGHTS_FILE).read_bytes() == weights
    assert '1.100 with 8 enrolled utterances' in jaxser.load(workdir).notes[-1]


def test_enrolling_changes_the_answer_and_not_the_original(predictor, enrolled):
    before = predictor.predict(TESTED, RATE)
    assert largest_difference(enrolled.predict(TESTED, RATE), before) > 1e-3
    assert predictor.enrolment is None
    assert enrolled._outputs is predictor._outputs
    assert enrolled.enrolment.utterances == 4
    assert enrolled.enrolment.seconds == pytest.approx(sum(map(len, WAVES)) / RATE)


def test_an_answer_has_the_number_of_enrolled_utterances(predictor, enrolled, tmp_path):
    """Of a wave and of a file; without an enrolled speaker there is none."""
    (file,) = write_waves(tmp_path, [TESTED])
    (answer,) = enrolled.predict_files([file])
    assert (answer['enrolled'], enrolled.predict(TESTED, RATE)['enrolled']) == (4, 4)
    assert 'enrolled' not in predictor.predict(TESTED, RATE)


def test_a_printed_enrolment_is_short(enrolled):
    assert repr(enrolled.enrolment) == (
        'SpeakerEnrolment(4 utterances, 6.4 s, 0 rejected, offset of 2 runs x 128 values)'
    )


@pytest.mark.parametrize('waves', ['a.wav', Path('a.wav'), ['a.wav'], [Path('a.wav')]], ids=repr)
def test_paths_in_place_of_waves_are_refused_with_what_to_use(predictor, waves):
    with pytest.raises(UserError, match=r'a\.wav is a path.*use enrol_files'):
        predictor.enrol(waves, RATE)


def test_a_second_enrolment_replaces_the_first(predictor, enrolled):
    again = enrolled.enrol(WAVES[:2], RATE)
    np.testing.assert_array_equal(offsets(again), offsets(predictor.enrol(WAVES[:2], RATE)))
    assert again.enrolment.utterances == 2


def test_on_an_accelerator_the_answer_of_an_enrolled_speaker_is_the_same(
    model, enrolled, monkeypatch
):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    vmapped = Predictor(model).with_enrolment(enrolled.enrolment)
    assert_close(vmapped.predict(TESTED, RATE), enrolled.predict(TESTED, RATE), TOLERANCE)


@pytest.mark.parametrize('is_pooled', [True, False])
def test_the_statistics_of_states_are_those_that_preparation_stores(model, whisper, is_pooled):
    """Of pooled states the means alone."""
    extractor = StateExtractor(read_encoder(whisper), is_pooled)
    estimator = enrolment.OffsetEstimator(model, extractor, is_pooled)
    utterance = estimator.describe_utterance(extractor.extract_input(WAVES[0]), 1.0)
    (states_TxM,) = extractor([WAVES[0]])
    stored = log_mel.feature_columns(states_TxM)
    expected_P = stored['mean_M']
    if not is_pooled:
        log_deviation_M = 0.5 * np.log(np.maximum(stored['variance_M'], 1e-8))
        expected_P = np.concatenate([expected_P, log_deviation_M])
    np.testing.assert_allclose(utterance.y_1xP[0], expected_P, atol=1e-3)


def test_neither_the_order_of_files_nor_the_way_they_are_named_matters(
    predictor, enrolled, tmp_path
):
    """Waves, files and their folder have the same offset."""
    files = write_waves(tmp_path / 'voice', WAVES)
    for paths in (files, files[::-1], [tmp_path / 'voice'], tmp_path / 'voice'):
        offset_RxP = offsets(predictor.enrol_files(paths))
        np.testing.assert_allclose(offset_RxP, offsets(enrolled), atol=TOLERANCE)


def test_a_single_wave_may_be_given_without_a_list(predictor):
    expected = offsets(predictor.enrol([WAVES[0]], RATE))
    stereo = np.stack([WAVES[0], WAVES[0]], 1)
    np.testing.assert_array_equal(offsets(predictor.enrol(WAVES[0], RATE)), expected)
    np.testing.assert_allclose(offsets(predictor.enrol(stereo, RATE)), expected, atol=TOLERANCE)


def test_a_long_recording_is_cut_into_windows_that_do_not_overlap(predictor):
    """Of its 31.5 s the last window is shorter, and too short here if it has half a second."""
    wave = make_tone(32.5)
    windows = [wave[start : start + 2 * RATE] for start in range(0, 32 * RATE, 2 * RATE)]
    long = predictor.enrol(wave, RATE)
    np.testing.assert_allclose(
        offsets(long), offsets(predictor.enrol(windows, RATE)), atol=TOLERANCE
    )
    assert long.enrolment.utterances == 16
    reason = 'shorter than 1 s: 0.50 s'
    assert long.enrolment.rejected == (('recording 1, 32.0 to 32.5 s', reason),)
    assert predictor.enrol(wave[: 30 * RATE], RATE).enrolment.utterances == 1


def test_silent_short_or_unreadable_recordings_are_rejected(predictor, enrolled, tmp_path):
    pause = np.concatenate([make_tone(30.0), np.zeros(4 * RATE, np.float32)])
    files = write_waves(tmp_path, [np.zeros(2 * RATE), make_tone(0.9), *WAVES])
    (tmp_path / 'notes.txt').write_text('no audio')
    speaker = predictor.enrol_files([*files, tmp_path / 'notes.txt', tmp_path / 'absent.wav'])
    np.testing.assert_allclose(offsets(speaker), offsets(enrolled), atol=TOLERANCE)
    reasons = {name.rpartition('/')[2]: reason for name, reason in speaker.enrolment.rejected}
    assert reasons == {
        '0.wav': 'silent: nothing above -80 dBFS',
        '1.wav': 'shorter than 1 s: 0.90 s',
        'notes.txt': 'not audio: a text file: name the right file, or download it again',
        'absent.wav': 'missing',
    }
    assert any('transductive' in note for note in speaker.notes)
    assert f'Not enrolled: {files[1]} (shorter than 1 s: 0.90 s).' in speaker.notes
    assert 'One speaker is enrolled by 4 utterances, 6.4 s.' in speaker.notes
    silent = predictor.enrol(pause, RATE).enrolment
    assert silent.utterances == 15
    assert [reason for _, reason in silent.rejected] == ['silent: nothing above -80 dBFS'] * 2


@pytest.mark.parametrize(
    ('waves', 'message'),
    [
        ([], 'Nothing could be enrolled .there was no recording'),
        ([np.zeros(RATE)], 'recording 1: silent'),
        ([make_tone(0.5)], 'recording 1: shorter than 1 s'),
        ([np.zeros((2, RATE))], r'shape \(2, 16000\)'),
    ],
)
def test_if_nothing_can_be_enrolled_the_error_says_why(predictor, waves, message):
    with pytest.raises(UserError, match=message):
        predictor.enrol(waves, RATE)


def test_in_a_model_of_another_normalisation_the_error_says_what_to_train(model, swept):
    other = Predictor(Model(model.metadata | {'normalisation': 'global'}, model.run_arrays))
    message = 'normalise=global.*normalise=speaker_enrolled --config.protocol.enrol=all and a new'
    for enrol in (
        lambda: other.enrol(WAVES, RATE),
        lambda: other.enrol_files(['a.wav']),
        lambda: list(other.predict_by_folder(['a.wav'])),
        lambda: jaxser.load(swept, enrolment='a.safetensors'),
    ):
        with pytest.raises(UserError, match=message):
            enrol()


def test_a_saved_speaker_has_the_same_answers(model, tmp_path):
    folder = models.write_model(tmp_path / 'model', model)
    speaker = jaxser.load(folder).enrol(WAVES, RATE)
    speaker.enrolment.save(tmp_path / 'me')
    loaded = jaxser.load(folder, enrolment=tmp_path / 'me')
    assert_close(loaded.predict(TESTED, RATE), speaker.predict(TESTED, RATE), 0)
    assert loaded.enrolment[1:] == speaker.enrolment[1:]
    assert (tmp_path / 'me').stat().st_size < 10_000


def test_a_model_without_a_prior_is_refused_with_what_to_do(model, tmp_path):
    folder = models.write_model(tmp_path / 'model', Model(model.metadata, model.run_arrays))
    with pytest.raises(UserError, match=r'lacks prior.*python -m jaxser\.bundle'):
        jaxser.load(folder)


def flip_bit(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda file: file.unlink(), 'does not exist'),
        (lambda file: file.write_bytes(b'RIFF'), 'is not a saved enrolment'),
        (lambda file: file.write_bytes(file.read_bytes()[:-5]), 'is damaged'),
        (lambda file: file.write_bytes(flip_bit(file.read_bytes(), -9)), 'damaged.*SHA-256'),
        (
            lambda file: file.write_bytes(file.read_bytes().replace(b'5' * 64, b'7' * 64)),
            'was enrolled with another model, whose weights have the sha256 777',
        ),
    ],
    ids=['absent', 'other', 'damaged', 'flipped', 'of another model'],
)
def test_a_file_that_is_no_enrolment_for_the_model_is_refused(
    model, enrolled, tmp_path, change, message
):
    file = tmp_path / 'me.safetensors'
    enrolled.enrolment.save(file)
    change(file)
    with pytest.raises(UserError, match=message):
        enrolment.load_enrolment(file, model)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda offset_RxP: offset_RxP[:1], r'of the shape \(1, .*expected float32 of \(2, '),
        (lambda offset_RxP: offset_RxP * np.float64(1), 'is float64'),
        (lambda offset_RxP: offset_RxP * np.float32(np.nan), 'not finite'),
    ],
    ids=['runs', 'dtype', 'finite'],
)
def test_a_saved_offset_that_does_not_fit_the_model_is_refused(
    model, enrolled, tmp_path, change, message
):
    file = tmp_path / 'me.safetensors'
    offset_RxP = change(offsets(enrolled))
    enrolled.enrolment._replace(speaker_offset_RxP=offset_RxP).save(file)
    with pytest.raises(UserError, match=message):
        enrolment.load_enrolment(file, model)


def test_a_saved_enrolment_with_unreadable_facts_is_refused(model, enrolled, tmp_path):
    enrolled.enrolment._replace(utterances='many').save(tmp_path / 'me')
    with pytest.raises(UserError, match='me is damaged'):
        enrolment.load_enrolment(tmp_path / 'me', model)


def test_each_file_of_a_folder_is_predicted_with_the_offset_from_the_others(predictor, tmp_path):
    """Two speakers; a file that is too short is predicted, but not enrolled."""
    short = make_tone(0.5)
    first = write_waves(tmp_path / 'a', [*WAVES[:3], short])
    second = write_waves(tmp_path / 'b', [WAVES[3]])
    sentences = []
    answers = list(predictor.predict_by_folder([tmp_path], sentences.append))
    assert sentences == [
        '2 folders = 2 speakers; 1 of them with a single file, so that nothing is enrolled.',
        f'Not enrolled: {first[3]} (shorter than 1 s: 0.50 s).',
    ]
    assert [answer['file'] for answer in answers] == list(map(str, first + second))
    assert [answer['enrolled'] for answer in answers] == [2, 2, 2, 3, 0]
    for n, wave in enumerate([*WAVES[:3], short]):
        others = predictor.enrol([w for m, w in enumerate(WAVES[:3]) if m != n], RATE)
        assert_close(answers[n], others.predict(wave, RATE), 1e-5)
    assert_close(answers[4], predictor.predict(WAVES[3], RATE), TOLERANCE)


def test_a_file_that_is_named_twice_is_not_enrolled_for_itself(predictor, tmp_path):
    """With --enrol-by folder, by its folder and by its own name."""
    files = write_waves(tmp_path / 'a', WAVES[:2])
    answers = list(predictor.predict_by_folder([tmp_path / 'a', files[0]]))
    assert [answer['file'] for answer in answers] == list(map(str, [*files, files[0]]))
    assert [answer['enrolled'] for answer in answers] == [1, 1, 1]
    other = predictor.enrol(WAVES[1], RATE)
    for answer in (answers[0], answers[2]):
        assert_close(answer, other.predict(WAVES[0], RATE), 1e-5)


def test_a_stream_has_the_offset_of_a_file_cut_into_the_same_windows(predictor):
    """After 34 s, of which one window is silent."""
    wave = np.concatenate([make_tone(20.0), np.zeros(2 * RATE, np.float32), make_tone(12.0)])
    running = predictor.start_enrolment()
    seconds = list(predictor.predict_stream(as_pcm(wave), RATE, 'f32le', 1, running))
    file = predictor.enrol(wave, RATE).enrolment
    stream = running.estimate()
    np.testing.assert_allclose(stream.speaker_offset_RxP, file.speaker_offset_RxP, atol=TOLERANCE)
    assert (stream.utterances, stream.seconds) == (16, 32.0)
    assert [s['enrolled'] for s in seconds[:6]] == [0, 0, 1, 1, 2, 2]
    assert [s['enrolled'] for s in seconds[20:25]] == [10, 10, 10, 10, 11]
    last = predictor.enrol(wave[: 32 * RATE], RATE).predict(wave[-2 * RATE :], RATE)
    assert_close(seconds[-1], last, 1e-5)


def test_windows_of_a_stream_need_not_end_with_a_second(model):
    predictor = Predictor(model, window=2.5, hop=1.0)
    wave = make_tone(32.5)
    running = predictor.start_enrolment()
    assert len(list(predictor.predict_stream(as_pcm(wave), RATE, 'f32le', 1, running))) == 33
    stream, file = running.estimate(), predictor.enrol(wave, RATE).enrolment
    np.testing.assert_allclose(stream.speaker_offset_RxP, file.speaker_offset_RxP, atol=TOLERANCE)
    assert (stream.utterances, file.utterances) == (13, 13)


def test_samples_that_are_no_audio_do_not_end_a_stream(model):
    """A single large sample, as a broken connection causes it, or NaN: neither is enrolled."""
    predictor = Predictor(model, window=1.0, hop=1.0)
    wave = make_tone(5.0)
    wave[2 * RATE] = 500.0
    wave[3 * RATE] = np.nan
    running = predictor.start_enrolment()
    assert len(list(predictor.predict_stream(as_pcm(wave), RATE, 'f32le', 1, running))) == 5
    assert running.sums.utterances == 3


def test_rejected_windows_of_a_stream_are_not_listed(predictor):
    """The list would grow for days. At 48 kHz this wave has sound, and none at 16 kHz."""
    rate = 48_000
    wave = 3e-4 * np.sin(2 * np.pi * 20_000 * np.arange(4 * rate) / rate)
    running = predictor.start_enrolment()
    list(predictor.predict_stream(as_pcm(wave), rate, 'f32le', 1, running))
    assert running.sums.utterances == 0
    assert running.rejected == []


def test_after_a_minute_a_stream_says_once_how_enrolment_changed_its_answer(predictor):
    """A predictor with an enrolled speaker starts without one as well."""
    wave = make_tone(62.5)
    other = predictor.enrol(WAVES, RATE)
    for listener in (predictor, other):
        running = listener.start_enrolment()
        seconds = list(listener.predict_stream(as_pcm(wave), RATE, 'f32le', 1, running))
        compared = [s for s in seconds if 'not_enrolled' in s]
        assert [s['end'] for s in compared] == [60.0]
        plain = predictor.predict(wave[58 * RATE : 60 * RATE], RATE)
        assert_close({'posterior': compared[0]['not_enrolled']}, plain, TOLERANCE)
        assert largest_difference(compared[0], plain) > 1e-3
        assert_close(seconds[0], predictor.predict(wave[:RATE], RATE), TOLERANCE)


def test_a_stream_with_short_windows_cannot_enrol(model):
    predictor = Predictor(model, window=0.5, hop=0.5)
    stream = predictor.predict_stream(
        as_pcm(WAVES[0]), RATE, 'f32le', 1, predictor.start_enrolment()
    )
    with pytest.raises(UserError, match=r'window is 0.5 s.*choose a longer --window'):
        list(stream)


def test_without_enrolment_the_notes_say_what_it_would_gain(model, predictor, enrolled):
    (note,) = predictor.notes
    assert note.startswith('No speaker is enrolled')
    assert 'not measured; python -m jaxser.enrolment' in note
    none = {'enrol_from': 'any', 'enrol': 0, 'uar': 0.716, 'utterances': 0, 'delta_uar': None}
    eight = {'enrol_from': 'any', 'enrol': 8, 'uar': 0.74, 'utterances': 8}
    eight |= {'delta_uar': 0.024, 'delta_ci95': [-0.003, 0.05]}
    every = {'enrol_from': 'any', 'enrol': 'all', 'uar': 0.81, 'utterances': 29.6}
    every |= {'delta_uar': 0.094, 'delta_ci95': [0.02, 0.15]}
    rows = [none, eight, eight | {'enrol_from': 'one', 'uar': 0.7}, every]
    facts = {'enrolment': rows, 'row': {'tested_speakers': 10}}
    measured = Predictor(Model(model.metadata | facts, model.arrays))
    (note,) = measured.notes
    assert note.endswith(
        'UAR on unseen speakers: 0.716 with no enrolled utterance; 0.740 with 8 enrolled '
        'utterances (difference to none +0.024 [-0.003, +0.050]: not clear with 10 speakers); '
        '0.810 with all enrolled utterances (30 on average) (difference to none +0.094 [+0.020, '
        '+0.150]).'
    )
    assert not any('No speaker' in line for line in enrolled.notes)


def test_a_gain_without_an_interval_says_that_speakers_are_too_few(model):
    row = {'enrol_from': 'any', 'enrol': 8, 'uar': 0.74, 'utterances': 8}
    row |= {'delta_uar': 0.024, 'delta_ci95': None}
    gain = enrolment.describe_gain(model.metadata | {'enrolment': [row]})
    assert gain.endswith('(difference to none +0.024, without an interval: too few speakers).')


def test_the_program_takes_the_offset_and_has_the_answers_of_predict(model, predictor, enrolled):
    """With zeros those without enrolment; any number of utterances and frames."""
    program = jax.export.deserialize(stablehlo.export_program(model).serialize())
    assert list(stablehlo.program_inputs(model))[2] == 'speaker_offset_RxP'
    batches = models.make_batches(((3, 7), (2, 150)))
    zeros = np.zeros_like(offsets(enrolled))
    for speaker, offset_RxP in ((predictor, zeros), (enrolled, offsets(enrolled))):
        expected = models.predict_batches(speaker, batches)
        for n in range(2):
            p_BxC = program.call(batches[f'mel_{n}'], batches[f'frames_{n}'], offset_RxP)
            np.testing.assert_allclose(p_BxC, expected[n], atol=1e-5)

"""Models of ratings, alone or besides classes: predictions, windows, programs and checks."""

import io
import json

import jax
import numpy as np
import pytest
from helpers import models
from helpers.exports import run_in_fresh_python
from helpers.predictions import make_tone

import jaxser
from data_pipelines.errors import UserError
from jaxser.serving import card_usage, model_card, stablehlo, streams
from jaxser.serving.ensemble import required_arrays
from jaxser.serving.model import read_model
from jaxser.serving.output_names import OutputNames
from jaxser.serving.predictor import Predictor

RATE = 16_000
# The network that compiles fastest.
CNN = {'method': 'erm', 'model.batch_norm': 'none', 'model.name': 'cnn'}
TASKS = ('ratings', 'emotion+ratings')
RATINGS = ('arousal', 'valence', 'dominance')


def make_model(task: str, **keys):
    """Returns the step and a random model of two runs for a task."""
    run_step, model = models.make_random_model(**(CNN | {'task': task} | keys))
    return run_step, shrink_ratings(model)


def shrink_ratings(model):
    """Returns a random model whose ratings are not near -1 or 1, where all would be equal."""
    params = model.arrays['params']
    head = jax.tree.map(lambda x: 0.03 * x, params['ratings'])
    return model._replace(arrays=model.arrays | {'params': params | {'ratings': head}})


def predict_runs(run_step, model, mel_TxM: np.ndarray) -> np.ndarray:
    """Returns output_RxO of an utterance as each run predicts it, the scores not calibrated."""
    batch = {
        'mel_BxTxM': mel_TxM[None],
        'frames_B': np.int32([len(mel_TxM)]),
        'target_B': np.ones(1, np.float32),
        'mean_BxM': np.float32(mel_TxM).mean(0)[None],
        'scale_BxM': 1 / np.sqrt(np.maximum(np.float32(mel_TxM).var(0), 1e-4))[None],
    }

    def run_outputs(run):
        return run_step.predict(run['params'], run['batch_stats'], batch)[1][0]

    return np.asarray(jax.vmap(run_outputs)(model.run_arrays))


@pytest.mark.parametrize('task', TASKS)
def test_ratings_are_the_mean_over_the_runs_and_not_calibrated(task):
    run_step, model = make_model(task)
    mel_TxM = np.random.default_rng(1).normal(-8, 3, (20, models.BANDS)).astype(np.float16)
    output_RxO = predict_runs(run_step, model, mel_TxM)
    (output_O,) = Predictor(model)._predict_outputs([mel_TxM])
    np.testing.assert_allclose(output_O[-3:], output_RxO[:, -3:].mean(0), atol=1e-5)
    assert np.abs(output_RxO[0, -3:] - output_RxO[1, -3:]).max() > 0.01
    assert np.abs(output_O[-3:]).max() <= 1
    if task == 'emotion+ratings':
        p_RxC = np.asarray(jax.nn.softmax(output_RxO[:, :2] / 1.7))
        np.testing.assert_allclose(output_O[:2], p_RxC.mean(0), atol=1e-5)


def test_a_prediction_has_the_ratings_by_name():
    """For a model of one rating too, and for one of both."""
    wave = make_tone(1.0)
    model = make_model('ratings', **{'data.ratings': ('valence',)})[1]
    assert list(Predictor(model).predict(wave, RATE)) == ['seconds', 'valence', 'windows']
    both = Predictor(make_model('emotion+ratings')[1]).predict(wave, RATE)
    assert list(both) == ['seconds', 'emotion', 'posterior', *RATINGS, 'windows']
    assert sum(both['posterior'].values()) == pytest.approx(1)


def test_the_ratings_of_a_long_recording_are_the_mean_over_windows_with_sound():
    """A silent window has none."""
    wave = np.concatenate([make_tone(1.0), np.zeros(RATE, np.float32), make_tone(1.0, pitch=300)])
    predictor = Predictor(make_model('ratings')[1], window=1.0, hop=1.0)
    predictor.max_seconds = 1.0
    prediction = predictor.predict(wave, RATE)
    first, silent, last = prediction['windows']
    assert [silent[name] for name in RATINGS] == [None] * 3
    for name in RATINGS:
        assert prediction[name] == pytest.approx((first[name] + last[name]) / 2, abs=1e-12)
    assert first['arousal'] != last['arousal']


def test_a_stream_has_ratings_for_each_second_and_none_in_silence(monkeypatch):
    """With the speaker of the stream enrolled, it says once what they would be without."""
    monkeypatch.setattr(streams, 'COMPARISON_SECONDS', 3.0)
    model = models.make_enrolment_model(**{'task': 'ratings', 'model.name': 'cnn'})
    predictor = Predictor(shrink_ratings(model), window=1.0, hop=1.0)
    wave = np.concatenate([np.zeros(RATE, np.float32), make_tone(4.0)])
    content = io.BytesIO(np.int16(wave * 2**15).tobytes())
    running = predictor.start_enrolment()
    silent, *seconds = predictor.predict_stream(content, RATE, running=running)
    assert [silent[name] for name in RATINGS] == [None] * 3
    assert 'note' in silent
    assert [second['enrolled'] for second in seconds] == [0, 1, 2, 3]
    for second in seconds:
        assert all(-1 <= second[name] <= 1 for name in RATINGS)
    (compared,) = [second for second in seconds if 'not_enrolled' in second]
    assert compared['end'] == 3
    assert list(compared['not_enrolled']) == list(RATINGS)
    assert compared['not_enrolled']['arousal'] != compared['arousal']


def test_a_model_of_ratings_has_only_the_head_of_ratings():
    """Neither that of the speaker, nor one of emotions."""
    run_step, model = make_model('ratings', method='dann')
    required = required_arrays(run_step.predict, model.arrays, models.BANDS)
    assert set(required['params']) == {'encoder', 'ratings'}
    assert {'speaker', 'ratings'} <= set(model.arrays['params'])


@pytest.mark.parametrize('task', [TASKS[0], pytest.param(TASKS[1], marks=pytest.mark.slow)])
def test_the_program_returns_its_outputs_by_name(task):
    model = make_model(task)[1]
    program = jax.export.deserialize(stablehlo.export_program(model).serialize())
    batches = models.make_batches(((3, 7),))
    outputs = program.call(batches['mel_0'], batches['frames_0'])
    (expected_BxO,) = models.predict_batches(Predictor(model), batches)
    names = ['posterior_BxC', 'rating_BxA'] if task == 'emotion+ratings' else ['rating_BxA']
    assert list(outputs) == names == stablehlo.program_outputs(program)
    output_BxO = np.concatenate(list(outputs.values()), -1)
    np.testing.assert_allclose(output_BxO, expected_BxO, atol=1e-5)
    assert np.ptp(outputs['rating_BxA']) > 1e-3


CALL_SAVED_MODEL = """
import json
import sys

sys.modules['jax'] = None
import numpy as np
import tensorflow as tf

predict = tf.saved_model.load('saved_model').signatures['serving_default']
outputs = predict(mel_BxTxM=np.load('mel.npy'), frames_B=np.load('frames.npy'))
print(json.dumps({name: array.numpy().tolist() for name, array in outputs.items()}))
"""


@pytest.mark.slow
def test_the_signature_of_the_saved_model_names_posterior_and_ratings(tmp_path):
    pytest.importorskip('tensorflow')
    model = make_model('emotion+ratings')[1]
    program = stablehlo.export_program(model)
    stablehlo.save_for_tensorflow(program, ['mel_BxTxM', 'frames_B'], tmp_path / 'saved_model')
    batches = models.make_batches(((2, 9),))
    np.save(tmp_path / 'mel.npy', batches['mel_0'])
    np.save(tmp_path / 'frames.npy', batches['frames_0'])
    printed = run_in_fresh_python(CALL_SAVED_MODEL, tmp_path)
    outputs = json.loads(printed.splitlines()[-1])
    (expected_BxO,) = models.predict_batches(Predictor(model), batches)
    np.testing.assert_allclose(outputs['posterior_BxC'], expected_BxO[:, :2], atol=1e-5)
    np.testing.assert_allclose(outputs['rating_BxA'], expected_BxO[:, 2:], atol=1e-5)


def test_the_code_of_the_card_prints_every_output():
    names = OutputNames(('angry',), ('arousal',))
    assert card_usage.call_code(names, 'call()').splitlines() == [
        'outputs = call()',
        "(posterior_C,) = outputs['posterior_BxC']",
        "print(dict(zip(['angry'], posterior_C.tolist())))",
        "(rating_A,) = outputs['rating_BxA']",
        "print(dict(zip(['arousal'], rating_A.tolist())))",
    ]
    assert card_usage.call_code(OutputNames(('angry',)), 'call()').splitlines() == [
        '(posterior_C,) = call()',
        "print(dict(zip(['angry'], posterior_C.tolist())))",
    ]


def test_a_model_of_ratings_is_read_as_it_was_written(tmp_path):
    """Without a calibration."""
    model = make_model('ratings')[1]
    folder = models.write_model(tmp_path / 'model', model)
    assert 'calibration' not in read_model(folder).metadata
    wave = make_tone(1.0)
    loaded = jaxser.load(folder)
    assert loaded.ratings == RATINGS
    assert list(loaded.predict(wave, RATE)) == ['seconds', *RATINGS, 'windows']


@pytest.mark.parametrize(
    ('changes', 'found'),
    [
        ({'ratings': ['arousal', 'valence']}, 'its ratings are'),
        ({'ratings': ['arousal', 'arousal', 'valence']}, 'a name is repeated'),
        ({'ratings': ['valence', 'arousal', 'dominance']}, 'its ratings are'),
        ({'task': 'emotion'}, "its task is 'emotion'"),
        ({'task': 'moods'}, "its task is 'moods'"),
        ({'classes': ['angry', 'sad']}, 'has the classes'),
    ],
)
def test_facts_that_contradict_the_ratings_are_refused(tmp_path, changes, found):
    model = make_model('ratings')[1]
    changed = model._replace(metadata=model.metadata | changes)
    folder = models.write_model(tmp_path / 'model', changed)
    with pytest.raises(UserError, match=found):
        read_model(folder)


def test_a_model_of_classes_needs_its_calibration(tmp_path):
    model = make_model('emotion+ratings')[1]
    del model.metadata['calibration']
    with pytest.raises(UserError, match='lacks calibration'):
        read_model(models.write_model(tmp_path / 'model', model))


def test_the_card_converts_ratings_to_the_scale_of_the_raters():
    text = model_card.ratings_section({'ratings': ['arousal', 'valence']})
    assert 'arousal, valence' in text
    assert '| 1 to 7 (MSP-Podcast) | 4 + 3 r |' in text
    assert model_card.ratings_section({}) == ''

"""The exported program: the same posteriors as jaxser.predict, with JAX or TensorFlow alone."""

import ast
import sys

import jax
import numpy as np
import pytest
from helpers import models
from helpers.exports import predict_speech, run_in_fresh_python
from helpers.predictions import card_snippets

import jaxser
from data_pipelines.errors import UserError
from jaxser.serving import stablehlo
from jaxser.serving.card_usage import PROGRAM_FILE
from jaxser.serving.model import Model
from jaxser.serving.predictor import Predictor

SHAPES = ((1, 1), (3, 7), (2, 150))  # B, T
INPUT_NAMES = ['mel_BxTxM', 'frames_B']


def read_program(folder) -> jax.export.Exported:
    return jax.export.deserialize((folder / PROGRAM_FILE).read_bytes())


CALL_WITH_SHAPES = """
import sys

batches = np.load('batches.npz')
posteriors = []
for n in range(len(batches) // 2):
    posteriors.append(program.call(batches[f'mel_{n}'], batches[f'frames_{n}']))
np.savez('posteriors.npz', *posteriors)
loaded = {name.partition('.')[0] for name in sys.modules}
others = {'flax', 'jaxser', 'data_pipelines', 'tensorflow', 'safetensors', 'librosa'}
assert not loaded & others, loaded
print(program.platforms)
"""


def test_with_jax_alone_the_program_has_the_answers_of_predict(exported):
    """The card's code from features, then any number of utterances and frames.

    Values beyond the end of an utterance have no influence, even NaN.
    """
    batches = models.make_batches(SHAPES)
    np.savez(exported / 'batches.npz', **batches)
    from_features = card_snippets(exported)[2]
    printed = run_in_fresh_python(from_features + CALL_WITH_SHAPES, exported)
    posterior, platforms = map(ast.literal_eval, printed.splitlines())
    assert posterior == pytest.approx(predict_speech(exported), abs=1e-5)
    assert platforms == ('cpu', 'cuda', 'rocm', 'tpu')
    expected = models.predict_batches(jaxser.load(exported), batches)
    posteriors = np.load(exported / 'posteriors.npz').values()
    for (B, _), p_BxC, expected_BxC in zip(SHAPES, posteriors, expected, strict=True):
        assert p_BxC.shape == (B, 2)
        np.testing.assert_allclose(p_BxC, expected_BxC, atol=1e-5)


def test_the_program_is_written_for_older_releases_too(shared_export):
    assert b'StableHLO_v0.9.0' in (shared_export / PROGRAM_FILE).read_bytes()


CALL_WITH_TENSORFLOW = """
batches = np.load('batches.npz')
for n in range(2):
    answer = predict(mel_BxTxM=batches[f'mel_{n}'], frames_B=batches[f'frames_{n}'])
    print(answer['posterior_BxC'].numpy().tolist())
"""


def test_with_tensorflow_alone_the_saved_model_has_the_answers_of_predict(exported):
    """The card's code, and other shapes, in a Python that cannot import JAX."""
    batches = models.make_batches(((3, 7), (1, 40)))
    np.savez(exported / 'batches.npz', **batches)
    without_jax = "import sys\nsys.modules['jax'] = None\n"
    code = without_jax + card_snippets(exported)[3] + CALL_WITH_TENSORFLOW
    lines = run_in_fresh_python(code, exported).splitlines()
    posterior, *posteriors = map(ast.literal_eval, lines)
    assert posterior == pytest.approx(predict_speech(exported), abs=1e-5)
    expected = models.predict_batches(jaxser.load(exported), batches)
    for p_BxC, expected_BxC in zip(posteriors, expected, strict=True):
        np.testing.assert_allclose(p_BxC, expected_BxC, atol=1e-5)


@pytest.mark.parametrize(
    ('keys', 'has_moments', 'shape'),
    [
        ({'method': 'leace', 'model.batch_norm': 'domain'}, False, (3, 7)),
        ({'method': 'erm', 'model.name': 'cnn', 'model.batch_norm': 'none'}, True, (3, 5)),
        (
            {'method': 'speaker_norm', 'speaker_norm': 'snp', 'model.tdnn': ((5, 1, 1), (3, 2, 3))},
            True,
            (2, 1),
        ),
    ],
    ids=['BatchNorm by domain, by utterance', 'cnn, no BatchNorm, global', 'strides, global'],
)
def test_every_kind_of_network_takes_any_shape(keys, has_moments, shape):
    """Features are normalised by the utterance's statistics, or by those of each run."""
    _, model = models.make_random_model(**keys)
    if has_moments:
        model.arrays['mean'] = np.float32([[-8.0] * models.BANDS, [-6.0] * models.BANDS])
        model.arrays['scale'] = np.float32([[0.3] * models.BANDS, [0.2] * models.BANDS])
    program = jax.export.deserialize(stablehlo.export_program(model).serialize())
    batches = models.make_batches((shape,))
    p_BxC = np.asarray(program.call(batches['mel_0'], batches['frames_0']))
    (expected_BxC,) = models.predict_batches(Predictor(model), batches)
    np.testing.assert_allclose(p_BxC, expected_BxC, atol=1e-5)
    assert np.ptp(p_BxC[:, 0]) > 1e-3  # the answers depend on the features


def test_a_model_trained_without_normalisation_predicts_without_it():
    """Not even by the utterance: as if each run had a mean of 0 and a scale of 1."""
    _, model = models.make_random_model(**{'model.name': 'cnn'})
    batches = models.make_batches(((2, 7),))
    neutral_moments = {
        'mean': np.zeros((models.RUNS, models.BANDS), np.float32),
        'scale': np.ones((models.RUNS, models.BANDS), np.float32),
    }
    with_moments = Model(model.metadata, model.arrays | neutral_moments)
    unnormalised = Model(model.metadata | {'normalisation': 'none'}, model.arrays)
    (expected_BxC,) = models.predict_batches(Predictor(with_moments), batches)
    (p_BxC,) = models.predict_batches(Predictor(unnormalised), batches)
    (by_utterance_BxC,) = models.predict_batches(Predictor(model), batches)
    np.testing.assert_allclose(p_BxC, expected_BxC, atol=1e-6)
    assert np.abs(by_utterance_BxC - expected_BxC).max() > 1e-3


def test_features_in_float32_are_refused(shared_export):
    """They are not rounded as in training, and would have another answer."""
    program = read_program(shared_export)
    with pytest.raises(ValueError, match='float16'):
        program.call(np.zeros((1, 5, models.BANDS), np.float32), np.int32([5]))


def test_a_failure_of_tensorflow_is_a_user_error(shared_export, tmp_path, monkeypatch):
    """Its errors are not OSErrors."""
    import tensorflow as tf

    def fail(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

    monkeypatch.setattr(tf.saved_model, 'save', fail)
    with pytest.raises(UserError, match=r'cannot write .*: No space left'):
        stablehlo.save_for_tensorflow(
            read_program(shared_export), INPUT_NAMES, tmp_path / 'saved_model'
        )


def test_a_missing_tensorflow_is_a_user_error(shared_export, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    with pytest.raises(UserError, match='--saved_model needs TensorFlow'):
        stablehlo.save_for_tensorflow(
            read_program(shared_export), INPUT_NAMES, tmp_path / 'saved_model'
        )

"""The equal error rates of speaker verification."""

import numpy as np
import pytest
from helpers import probing
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_curve

from jaxser.analysis import metrics
from jaxser.probing.verification import discriminants, verification_error

SPEAKERS = 8


@pytest.mark.parametrize('distance', [0.0, 0.5, 2.0])
def test_the_equal_error_rate_is_that_of_scikit_learn(distance):
    """The crossing of the two rates of its curve; 0.5 where nothing separates the speakers."""
    random = np.random.default_rng(0)
    speaker_N = np.repeat(np.arange(4), 20)
    z_NxD = random.normal(size=(80, 8)) + distance * np.eye(8)[speaker_N]
    unit_NxD = z_NxD / np.linalg.norm(z_NxD, axis=1, keepdims=True)
    first, second = np.triu_indices(80, 1)
    is_same = speaker_N[first] == speaker_N[second]
    similarity = (unit_NxD @ unit_NxD.T)[first, second]
    false_alarms, hits, _ = roc_curve(is_same, similarity, drop_intermediate=False)
    crossing = np.argmin(np.abs(false_alarms - (1 - hits)))
    expected = (false_alarms[crossing] + 1 - hits[crossing]) / 2
    eer = metrics.equal_error_rate(z_NxD, speaker_N)
    assert eer == pytest.approx(expected, abs=5e-3)
    if distance:
        assert eer < 0.5


def test_equal_scores_give_an_equal_error_rate_of_one_half():
    """A representation that is one point; the order of the pairs makes no difference."""
    eer = metrics.equal_error_rate(np.ones((20, 3)), np.repeat([0, 1], 10))
    assert eer == pytest.approx(0.5)


def verify(noise: float, shift: float = 0.0, hidden: float = 0.0) -> dict:
    """Returns the errors of a representation with each speaker's place, and a nuisance.

    The nuisance is a dimension of large variance that says nothing of the speaker.
    """
    table = probing.make_table()
    fold = table.folds[0]
    speaker_N = table.utterances.text['speaker']
    rows = fold.used_rows
    random = np.random.default_rng(0)
    place_SxD = random.normal(size=(SPEAKERS, 6))
    z_NxD = noise * random.normal(size=(len(rows), 6)) + place_SxD[table.domain_N['speaker'][rows]]
    nuisance_Nx1 = hidden * random.normal(size=(len(rows), 1))
    z_NxD = np.concatenate([z_NxD, nuisance_Nx1], 1)
    return verification_error(z_NxD + shift, rows, fold, speaker_N, 0)


def test_pairs_are_those_of_unseen_speakers():
    """Of dev and test; the others fit the discriminants."""
    assert verify(1.0)['speakers'] == 4


def test_the_discriminants_of_training_speakers_find_what_a_nuisance_hides_from_the_cosine():
    errors = verify(noise=0.02, hidden=30.0)
    assert errors['eer'] > 0.3
    assert errors['lda_eer'] < 0.05


def test_noise_has_an_equal_error_rate_of_one_half():
    errors = verify(noise=1e4)
    assert errors['eer'] == pytest.approx(0.5, abs=0.05)
    assert errors['lda_eer'] == pytest.approx(0.5, abs=0.05)


def test_a_shift_of_the_whole_representation_changes_nothing():
    """The mean of the training data is subtracted."""
    plain, shifted = verify(0.5), verify(0.5, shift=100.0)
    for key in ('eer', 'lda_eer'):
        assert plain[key] == pytest.approx(shifted[key], abs=1e-6)
    assert 0 < plain['eer'] < 0.5


def test_discriminants_span_those_of_scikit_learn(monkeypatch):
    """Without shrinkage; a constant dimension and a speaker with one utterance change nothing."""
    monkeypatch.setattr('jaxser.probing.verification.SHRINKAGE', 0.0)
    random = np.random.default_rng(0)
    speaker_N = np.repeat(['a', 'b', 'c'], 30)
    x_NxD = random.normal(size=(90, 5)) + 2 * np.eye(5)[np.repeat(np.arange(3), 30)]
    reference = LinearDiscriminantAnalysis(solver='eigen').fit(x_NxD, speaker_N).scalings_[:, :2]
    found_DxL = discriminants(x_NxD, speaker_N)
    assert found_DxL.shape == (5, 2)
    stacked = np.concatenate([reference, found_DxL], 1)
    assert np.linalg.matrix_rank(stacked, tol=1e-6 * np.linalg.norm(stacked)) == 2

    monkeypatch.setattr('jaxser.probing.verification.SHRINKAGE', 0.1)
    found_DxL = discriminants(x_NxD, speaker_N)
    with_single = discriminants(np.append(x_NxD, [[9] * 5], 0), np.append(speaker_N, 'd'))
    np.testing.assert_allclose(with_single, found_DxL, atol=1e-9)
    with_constant = discriminants(np.insert(x_NxD, 5, 3.0, axis=1), speaker_N)
    assert np.abs(with_constant[5]).max() < 1e-9
    assert discriminants(x_NxD, np.full(90, 'a')) is None

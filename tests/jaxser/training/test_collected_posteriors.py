"""Tests of collecting the posteriors and ratings of many runs, batch by batch."""

import numpy as np
import pytest

from jaxser.analysis import metrics
from jaxser.training.tracking import CollectedOutputs

C = 5


def collect(
    batches: list[np.ndarray], fold_N: np.ndarray, scores_NxUxC: np.ndarray
) -> CollectedOutputs:
    """Collects the scores of every run for the utterances of its fold.

    The batches are row_FxB; rows of padding have scores too.
    """
    posteriors = CollectedOutputs(fold_N, C)
    for row_FxB in batches:
        scores = []
        for scores_UxC, fold in zip(scores_NxUxC, fold_N):
            scores.append(scores_UxC[row_FxB[fold]])
        posteriors.add(row_FxB, np.stack(scores))
    return posteriors


def test_posteriors_are_the_softmax_of_each_run_for_the_utterances_of_its_fold():
    """They are in the order of the utterances, without padding, also for large scores."""
    random = np.random.default_rng(0)
    batches = [np.array([[5, 0], [3, -1]]), np.array([[2, -1], [1, -1]])]
    fold_N = np.array([0, 1, 0])
    scores_NxUxC = np.float32(2000 * random.normal(size=(3, 6, C)))
    posteriors = collect(batches, fold_N, scores_NxUxC)
    for n, rows in enumerate(([0, 2, 5], [1, 3], [0, 2, 5])):
        row_U, p_UxC = posteriors.get_run(n)
        np.testing.assert_array_equal(row_U, rows)
        score_UxC = scores_NxUxC[n, rows].astype(float)
        exp_UxC = np.exp(score_UxC - score_UxC.max(-1, keepdims=True))
        np.testing.assert_allclose(p_UxC, exp_UxC / exp_UxC.sum(-1, keepdims=True), rtol=1e-12)
        assert p_UxC.dtype == np.float64


def test_only_the_folds_that_have_runs_are_collected():
    """A group of runs sees the batches of every fold."""
    batches = [np.array([[0], [1], [2]])]
    posteriors = collect(batches, np.array([2]), np.zeros((1, 3, C), np.float32))
    row_U, p_UxC = posteriors.get_run(0)
    np.testing.assert_array_equal(row_U, [2])
    np.testing.assert_array_equal(p_UxC, np.full((1, C), 1 / C))


def test_the_confusion_matrices_are_those_of_each_run():
    """The class of the largest posterior is the prediction."""
    emotion_U = np.array([0, 1, 2, 3])
    predicted_NxU = np.array([[0, 1, 2, 3], [1, 1, 1, 1]])
    batches = [np.array([[3, 0]]), np.array([[1, 2]])]
    posteriors = collect(batches, np.zeros(2, int), np.eye(C)[predicted_NxU])
    for n, predicted_U in enumerate(predicted_NxU):
        count_CxC = posteriors.confusion_matrix(n, emotion_U)
        expected_CxC = metrics.confusion_matrix(emotion_U, predicted_U, C)
        np.testing.assert_array_equal(count_CxC, expected_CxC)


@pytest.mark.parametrize('classes', [0, C])
def test_ratings_follow_the_posteriors_and_are_not_changed(classes):
    """Of the outputs, the scores become posteriors. Without classes all outputs are ratings."""
    random = np.random.default_rng(1)
    outputs_NxBxO = np.float32(random.uniform(-1, 1, (1, 3, classes + 2)))
    collected = CollectedOutputs(np.zeros(1, int), classes)
    collected.add(np.array([[4, 1, -1]]), outputs_NxBxO)
    row_U, rating_UxA = collected.ratings(0)
    np.testing.assert_array_equal(row_U, [1, 4])
    np.testing.assert_array_equal(rating_UxA, outputs_NxBxO[0, [1, 0], classes:])
    p_UxC = collected.get_run(0)[1][:, :classes]
    np.testing.assert_allclose(p_UxC.sum(-1), np.sign(classes))

"""Tests of the mutual information of domain and emotion, and of its value by chance."""

import numpy as np
import pytest

from data_pipelines.protocols import confounding


def test_information_and_entropy_have_their_closed_forms():
    """It is 0 bits for independent columns, the entropy for equal ones, 2 of 3 bits for a map."""
    x = np.repeat(np.arange(4), 4)
    y = np.tile(np.arange(4), 4)
    assert confounding.mutual_information(x, y) == 0
    assert confounding.mutual_information(x, x) == pytest.approx(2)
    assert confounding.mutual_information(np.arange(8), np.arange(8) // 2) == pytest.approx(2)
    assert confounding.entropy(np.array([0, 0, 0, 1])) == pytest.approx(2 - 0.75 * np.log2(3))


def test_information_and_its_value_by_chance_are_those_of_scikit_learn():
    """The columns are random; ours is in bits, theirs in nats."""
    cluster = pytest.importorskip('sklearn.metrics.cluster')
    random = np.random.default_rng(0)
    for _ in range(5):
        x = random.integers(0, 7, 200)
        y = np.where(random.random(200) < 0.5, x % 3, random.integers(0, 3, 200))
        expected = cluster.mutual_info_score(x, y) / np.log(2)
        assert confounding.mutual_information(x, y) == pytest.approx(expected, abs=1e-12)
        counts = cluster.contingency_matrix(x, y, sparse=True)
        expected = cluster.expected_mutual_information(counts, 200) / np.log(2)
        assert confounding.chance_information(x, y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(('domains', 'classes', 'count'), [(10, 4, 339), (40, 4, 100), (2, 2, 24)])
def test_information_by_chance_is_the_mean_over_shuffles(domains, classes, count):
    """They agree within the error of a mean over 500 shuffles."""
    random = np.random.default_rng(0)
    x = random.integers(0, domains, count)
    y = random.integers(0, classes, count)
    shuffled = [confounding.mutual_information(x, random.permutation(y)) for _ in range(500)]
    error = np.std(shuffled) / np.sqrt(500)
    assert confounding.chance_information(x, y) == pytest.approx(np.mean(shuffled), abs=4 * error)


def test_information_by_chance_of_constant_and_empty_columns_is_zero():
    """Their entropy is zero."""
    empty = np.zeros(0, int)
    assert confounding.chance_information(empty, empty) == 0
    assert confounding.chance_information(np.zeros(5, int), np.arange(5)) == 0
    assert confounding.measure_confounding(empty, empty)['word'] == 'none'


def test_many_speakers_with_few_utterances_are_not_called_confounded():
    """Their information is large by chance."""
    random = np.random.default_rng(0)
    sparse = confounding.measure_confounding(
        np.repeat(np.arange(200), 2), random.integers(0, 4, 400)
    )
    assert sparse['bits'] > 1
    assert sparse['word'] == 'none'

"""Tests of the statistics of WA and macro-F1."""

import numpy as np
import pytest

from jaxser.analysis import bootstrap, metrics
from jaxser.scoring.class_statistics import AccuracyStatistics, F1Statistics

COUNTS = np.random.default_rng(0).integers(0, 9, (2, 7, 3, 3))
COUNTS[1] = COUNTS[0][:, :, ::-1]  # the second seed: the same truth, other predictions
KINDS = {'wa': AccuracyStatistics, 'f1': F1Statistics}


@pytest.mark.parametrize('key', KINDS)
def test_values_are_those_of_the_metrics(key):
    expected = [metrics.classification_metrics(count.sum(0))[key] for count in COUNTS]
    statistics = KINDS[key](COUNTS)
    assert statistics.value_by_seed() == pytest.approx(expected)
    assert bootstrap.measure_estimate(statistics).value == pytest.approx(np.mean(expected))


@pytest.mark.parametrize('key', KINDS)
def test_influences_are_derivatives_with_respect_to_the_weights_of_speakers(key):
    term = KINDS[key](COUNTS).term()
    weight_S = np.linspace(0.5, 2, 7)
    _, (influence_S,) = term.evaluate(weight_S[None])
    for s in range(7):
        step_S = 1e-5 * (np.arange(7) == s)
        (high,), _ = term.evaluate((weight_S + step_S)[None])
        (low,), _ = term.evaluate((weight_S - step_S)[None])
        assert influence_S[s] == pytest.approx((high - low) / 2e-5, abs=1e-8)


@pytest.mark.parametrize('key', KINDS)
def test_a_system_does_not_differ_from_itself(key):
    statistics = KINDS[key](COUNTS)
    assert bootstrap.difference_estimate(statistics, statistics) == (0.0, (0.0, 0.0), 1.0)


def test_f1_leaves_out_classes_that_a_draw_lacks():
    """Only the first speaker has the second class: without this speaker, F1 is of one class."""
    count_SxCxC = np.array([[[2, 0], [1, 1]], [[3, 1], [0, 0]]])
    term = F1Statistics(count_SxCxC[None]).term()
    (value,), _ = term.evaluate(np.array([[0, 2]]))
    assert value == pytest.approx(2 * 3 / (4 + 3))

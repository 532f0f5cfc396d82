"""Tests of which measure is the main one."""

import pytest

from jaxser.analysis.measure import CCC, UAR, main_measure, results_measure


@pytest.mark.parametrize(
    ('task', 'select', 'measure'),
    [
        (None, 'best dev UAR', UAR),  # of an earlier version
        ('emotion', 'last epoch', UAR),
        ('ratings', 'best dev CCC', CCC),
        ('ratings', 'last epoch', CCC),
        ('emotion+ratings', 'best dev UAR', UAR),
        ('emotion+ratings', 'best dev CCC', CCC),
        ('emotion+ratings', 'last epoch', UAR),
    ],
)
def test_the_task_and_the_selection_decide(task, select, measure):
    """The same in config.json and in results.json."""
    config = {'train': {'select': select}} | ({'task': task} if task else {})
    results = {'selection': select} | ({'task': task} if task else {})
    assert main_measure(config) == measure
    assert results_measure(results) == measure


def test_a_configuration_without_any_of_the_keys_is_about_emotions():
    assert main_measure({'method': 'dann'}) == UAR

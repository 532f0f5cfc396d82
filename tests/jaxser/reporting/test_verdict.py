"""Tests of the verdict on several sweeps."""

import pytest
from helpers.compared_sweeps import RUNS_WITHOUT_ERM, write_sweep

from jaxser.analysis.bootstrap import Estimate
from jaxser.analysis.comparison import ComparisonRow, comparison_rows
from jaxser.reporting.verdict import comparison_verdict


def make_row(method: str, value: float, ci95, p: float | None, recalls=(), **answer):
    """Returns a row that is compared with plain training; `recalls` of training and unseen."""
    leakage = {}
    for question, recall in zip(('speaker', 'unseen_speaker'), recalls):
        leakage[question] = {'rbf': recall, 'chance': 0.1, 'withheld': True} | answer
    gain = Estimate(value, ci95, p) if method != 'erm' else None
    return ComparisonRow({}, method, ['lam 1'], gain=gain, leakage=leakage or None)


PLAIN = make_row('erm', 0.0, None, None, (0.413, 0.615))
LOST = make_row('leace', -0.061, (-0.108, -0.014), 0.026, (0.319, 0.55))
UNCLEAR = make_row('similarity', -0.007, (-0.014, 0.001), 0.064, (0.217, 0.484))
GAINED = make_row('dann', 0.1, (0.05, 0.15), 0.0001, (0.5, 0.6))


def test_without_plain_training_there_is_nothing_to_compare(tmp_path):
    rows = comparison_rows(write_sweep(tmp_path / 'w', RUNS_WITHOUT_ERM))
    assert 'No sweep has a row of plain training' in comparison_verdict({'w': rows})


def test_what_is_not_significant_is_not_called_shown():
    """The interval of leace excludes 0, and p is below 0.05, but not after correction."""
    rows = [PLAIN, LOST, UNCLEAR, UNCLEAR._replace(method='cdann')]
    assert comparison_verdict({'w': rows}).startswith(
        'No method is shown to help, and none to harm, after correction for 3 comparisons. '
        'Before correction, one loses: leace, -0.061 [-0.108, -0.014], p = 0.026 (Holm: 0.078). '
    )


def test_what_is_significant_is_named():
    verdict = comparison_verdict({'v': [PLAIN, GAINED, LOST], 'w': [PLAIN, UNCLEAR]})
    assert verdict.startswith(
        'Shown to help after correction for 3 comparisons: dann in v, +0.100 [+0.050, +0.150], '
        'p < 0.001 (Holm: < 0.001). Shown to harm: none. Before correction, one loses: leace in v,'
    )
    assert comparison_verdict({'v': [PLAIN, LOST]}).startswith('Shown to help: none. Shown to harm')


def test_few_speakers_are_said():
    few = make_row('dann', 0.2, None, None)
    verdict = comparison_verdict({'w': [PLAIN, few, UNCLEAR]})
    assert 'For 1 of them there are too few speakers (6 or more are needed).' in verdict
    verdict = comparison_verdict({'w': [PLAIN, few]})
    assert verdict == (
        'No method is shown to help, and none to harm. For an interval there are too few speakers '
        '(6 or more are needed).'
    )


def test_the_least_leakage_is_beside_that_of_plain_training():
    """With what it costs; by sweep, because leakage of different speakers cannot be compared."""
    verdict = comparison_verdict({'w': [PLAIN, LOST, UNCLEAR]})
    assert verdict.endswith(
        'Least leakage: similarity, 0.217 training speakers / 0.484 unseen speakers (plain '
        'training: 0.413 / 0.615), UAR -0.007.'
    )
    verdict = comparison_verdict({'v': [PLAIN, UNCLEAR], 'w': [PLAIN, GAINED]})
    assert 'Least leakage in v: similarity' in verdict
    assert verdict.endswith(
        'No method lowers the leakage of training speakers in w (plain training: 0.413 / 0.615).'
    )


@pytest.mark.parametrize(
    'row',
    [
        make_row('dann', 0.0, (-0.1, 0.1), 0.9, (0.01, 0.01), below_chance=True),
        make_row('dann, lam < 0', 0.0, (-0.1, 0.1), 0.9, (0.01, 0.01)),
        make_row('dann', 0.0, (-0.1, 0.1), 0.9),
    ],
)
def test_least_leakage_is_measured_and_not_below_chance(row):
    assert 'Least leakage: similarity' in comparison_verdict({'w': [PLAIN, row, UNCLEAR]})
    assert 'leakage' not in comparison_verdict({'w': [PLAIN, row]}).lower()

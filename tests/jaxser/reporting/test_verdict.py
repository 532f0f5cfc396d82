"""Tests of the verdict on several sweeps."""

from helpers.compared_sweeps import RUNS_WITHOUT_ERM, write_sweep

from jaxser.analysis.comparison import comparison_rows
from jaxser.reporting.verdict import comparison_verdict


def test_without_plain_training_there_is_nothing_to_compare(tmp_path):
    rows = comparison_rows(write_sweep(tmp_path / 'w', RUNS_WITHOUT_ERM))
    assert 'No sweep has a row of plain training' in comparison_verdict({'w': rows})


def test_a_loss_is_not_called_a_gain(tmp_path):
    """A gain is named only where there is one, and a best method only where there are two."""
    runs = {('erm', None): (0.75, (0.6, 0.6)), ('dann', 0.3): (0.5, (0.7, 0.5))}
    verdict = comparison_verdict({'w': comparison_rows(write_sweep(tmp_path / 'w', runs))})
    assert 'The largest loss is that of dann in w, -0.250' in verdict
    assert 'largest gain' not in verdict
    assert 'is best' not in verdict

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


def test_the_best_method_is_that_in_uar_and_a_negative_lam_is_a_method_of_its_own(tmp_path):
    """It has the best dev UAR, but is not chosen for `dann`."""
    runs = {
        ('erm', None): (0.5, (0.6, 0.6)),
        ('dann', 0.3): (0.75, (0.7, 0.7)),
        ('dann', -1.0): (1.0, (0.9, 0.9)),
    }
    rows = comparison_rows(write_sweep(tmp_path / 'w', runs))
    assert [row.method for row in rows] == ['erm', 'dann', 'dann, lam < 0']
    verdict = comparison_verdict({'v': rows, 'w': rows})
    assert 'In UAR, averaged over its rows, dann, lam < 0 is best (+0.500)' in verdict

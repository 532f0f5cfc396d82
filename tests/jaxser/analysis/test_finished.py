"""Tests of reading the workdir of a finished sweep."""

import pytest
from helpers import finished_sweeps

from data_pipelines.errors import UserError
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.reporting import page


def test_an_unfinished_sweep_is_refused(tmp_path):
    """The message names the folder and says what to do."""
    with pytest.raises(UserError, match='contains no finished sweep'):
        read_finished_sweep(tmp_path)
    with pytest.raises(UserError, match='There is no folder'):
        read_finished_sweep(tmp_path / 'elsewhere')


@pytest.mark.parametrize(
    ('lams', 'best', 'is_noted'),
    [((0.0, -0.1, 0.3), 0.3, True), ((0.0, -0.1, -1.0), -0.1, False)],
)
def test_a_negative_coefficient_is_best_only_if_there_is_no_other(
    tmp_path, monkeypatch, lams, best, is_noted
):
    """It keeps the domain: the report is about a setting that forgets, even if its UAR is lower."""
    for lam, dev_uar in ((-0.1, 0.9), (-1.0, 0.7)):
        monkeypatch.setitem(finished_sweeps.CORRECT_SHARE, lam, 0.9)
        monkeypatch.setitem(finished_sweeps.DEV_UAR, lam, dev_uar)
        monkeypatch.setitem(finished_sweeps.SPEAKER_RECALL, lam, 0.9)
    finished_sweeps.write_sweep(tmp_path / 'w', lams)
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    assert len(analysis.compared_rows) == 2
    assert analysis.best_row['lam'] == best
    assert ('lam &lt; 0 is not chosen' in page.headline_box(analysis)) == is_noted

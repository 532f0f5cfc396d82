"""Tests of reading the workdir of a finished sweep."""

import pytest

from data_pipelines.errors import UserError
from jaxser.analysis.finished import read_finished_sweep


def test_an_unfinished_sweep_is_refused(tmp_path):
    """The message names the folder and says what to do."""
    with pytest.raises(UserError, match='contains no finished sweep'):
        read_finished_sweep(tmp_path)
    with pytest.raises(UserError, match='There is no folder'):
        read_finished_sweep(tmp_path / 'elsewhere')

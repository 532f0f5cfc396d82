"""Fixtures of the tests of the probe."""

import pytest

from jaxser.probing import jobs
from jaxser.probing.attackers import linear, mlp


@pytest.fixture
def quick_attackers(monkeypatch):
    """Attackers that hardly learn, for tests of everything around them."""
    jobs.compile_for_job.cache_clear()
    jobs._fit_function.cache_clear()
    monkeypatch.setattr(linear, 'MAX_ITERATIONS', 2)
    monkeypatch.setattr(mlp, 'MAX_CHECKS', 1)
    yield
    jobs.compile_for_job.cache_clear()
    jobs._fit_function.cache_clear()

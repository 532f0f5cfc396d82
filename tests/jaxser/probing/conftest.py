"""Fixtures of the tests of the probe."""

import pytest

from jaxser.probing import jobs
from jaxser.probing.attackers import linear, mlp


def forget_programs() -> None:
    """Clears the caches of compiled attackers, whose settings a test changes."""
    jobs.compile_for_job.cache_clear()
    jobs._compile_batch_with.cache_clear()
    jobs._fit_function.cache_clear()


@pytest.fixture
def quick_attackers(monkeypatch):
    """Attackers that hardly learn, for tests of everything around them."""
    forget_programs()
    monkeypatch.setattr(linear, 'MAX_ITERATIONS', 2)
    monkeypatch.setattr(mlp, 'MAX_CHECKS', 1)
    yield
    forget_programs()

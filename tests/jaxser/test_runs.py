"""Tests of the names of runs and settings, and of how values are written (jaxser/runs.py)."""

import subprocess
import sys

import numpy as np
import pytest

from jaxser.runs import format_value, method_name, run_label, varying_keys


def test_runs_are_named_by_the_keys_in_which_they_differ():
    """And by coefficient and seed if they have them, but never by the fold.

    A key that only one run has does not count as a difference.
    """
    plain = {'method': 'erm', 'width': 64, 'lr': 1e-3, 'seed': 0}
    adversary = plain | {'method': 'dann', 'lam': 0.3, 'domain_weight': 1.0}
    runs = [plain | {'fold': 0}, plain | {'fold': 1}, adversary | {'fold': 0}]
    assert varying_keys(runs) == ['method', 'seed', 'lam']
    assert varying_keys([plain | {'fold': 0}]) == ['seed']
    runs = [plain, plain | {'lr': 0.1}, plain | {'width': 32}]
    assert varying_keys(runs) == ['width', 'lr', 'seed']
    assert run_label(adversary, ['method', 'seed', 'lam']) == 'method=dann seed=0 lam=0.3'
    assert run_label(plain, ['method', 'lr', 'lam']) == 'method=erm lr=0.001'


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (0.3, '0.3'),
        (0.0, '0'),
        (1e-5, '1e-05'),
        (1_000_000, '1e+06'),
        (7, '7'),
        (20261128, '20261128'),
        (1 / 3, '0.3333333333333333'),
        (1e-3 * (1 + 1e-6), '0.001000001'),
        (np.float64(0.1) + 0.2, '0.30000000000000004'),
        ('dann', 'dann'),
        (None, ''),
    ],
)
def test_numbers_are_written_in_full(value, text):
    """With six digits where these are exact, or else with as many as they need."""
    assert format_value(value) == text


@pytest.mark.parametrize(
    ('lam', 'name'),
    [(None, 'dann'), (0.3, 'dann'), (0.0, 'dann, lam = 0'), (-0.1, 'dann, lam < 0')],
)
def test_a_method_that_forgets_nothing_has_a_name_of_its_own(lam, name):
    """So that `compare` never chooses it for the method."""
    assert method_name({'method': 'dann', 'lam': lam}) == name


def test_names_of_runs_need_no_jax():
    """The reports import them, and shall start fast."""
    code = "import sys; import jaxser.runs; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True)

"""Tests which module imports which, and which libraries an import loads."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRINT_LOADED = """
import importlib, pkgutil, sys

for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for submodule in pkgutil.iter_modules(getattr(module, '__path__', [])):
        importlib.import_module(f'{name}.{submodule.name}')
print(*sorted(name for name in sys.modules if '.' not in name))
"""


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a script in a new process, in the checkout."""
    command = [sys.executable, '-c', script, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def loaded_packages(*modules: str) -> set[str]:
    """Returns the top-level packages that a new process loads to import these modules.

    Of a package, its direct submodules are imported too.
    """
    completed = run_python(PRINT_LOADED, *modules)
    assert completed.returncode == 0, completed.stderr
    return set(completed.stdout.split())


def test_the_import_contracts_of_pyproject_hold():
    pytest.importorskip('importlinter', reason="import-linter is missing: pip install -e '.[test]'")
    script = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    completed = run_python(script, '--no-cache', '--config', 'pyproject.toml')
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert 'Contracts: 0 kept' not in completed.stdout
    assert ' 0 broken' in completed.stdout


@pytest.mark.parametrize(
    'module',
    [
        'jaxser.analysis',
        'jaxser.reporting',
        'jaxser.runs',
        'jaxser.report',
        'jaxser.compare',
        'jaxser.scoring',
        'jaxser.score',
        'jaxser.leaderboard',
    ],
)
def test_analysis_and_reporting_do_not_load_jax(module):
    loaded = loaded_packages(module)
    assert 'jaxser' in loaded
    assert not loaded & {'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'tensorflow'}


def test_the_package_itself_loads_no_heavy_library():
    completed = run_python('import jaxser, sys; print(*sys.modules)')
    assert completed.returncode == 0, completed.stderr
    heavy = {'jax', 'jaxlib', 'flax', 'tensorflow', 'numpy', 'scipy', 'librosa', 'sklearn'}
    assert not heavy & set(completed.stdout.split())

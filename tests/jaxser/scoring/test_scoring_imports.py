"""Tests that scoring needs no more than a few light libraries."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from helpers.scored_systems import prediction_rows, utterances, write_predictions, write_split

ROOT = Path(__file__).parents[3]
# What is documented in docs/guide/score.md, with what these need themselves.
ALLOWED = {
    'jaxser', 'data_pipelines', 'numpy', 'scipy', 'sklearn', 'joblib', 'cloudpickle',
    'threadpoolctl', 'narwhals', 'jinja2', 'markupsafe', 'matplotlib', 'mpl_toolkits', 'PIL',
    'pyparsing', 'cycler', 'kiwisolver', 'contourpy', 'dateutil', 'six', 'packaging', 'fontTools',
}  # fmt: skip
SCORE_WITHOUT_OTHERS = """
import importlib.abc, runpy, sys

allowed = set(sys.argv[1].split()) | set(sys.stdlib_module_names)

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition('.')[0]
        if top not in allowed and not top.startswith('_'):
            raise ModuleNotFoundError(f'{top} is blocked', name=top)

sys.meta_path.insert(0, Blocker())
sys.argv = ['jaxser.score', *sys.argv[2:]]
runpy.run_module('jaxser.score', run_name='__main__')
print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))
"""


def run_blocked(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the command in a process that cannot import anything else."""
    command = [sys.executable, '-c', SCORE_WITHOUT_OTHERS, ' '.join(ALLOWED), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_scoring_with_representations_needs_numpy_scipy_sklearn_jinja2_and_matplotlib(tmp_path):
    system = tmp_path / 'system'
    system.mkdir()
    write_predictions(system / 'predictions.csv', prediction_rows())
    names = [row['utterance'] for row in utterances()]
    z_NxD = np.random.default_rng(0).normal(size=(len(names), 3))
    np.savez(system / 'representations.npz', utterance_N=np.array(names), z_NxD=z_NxD)
    split = write_split(tmp_path)
    completed = run_blocked(str(system), '--split', str(split), '--out', str(tmp_path / 'out'))
    assert completed.returncode == 0, completed.stderr
    loaded = set(completed.stdout.partition('LOADED')[2].split())
    assert {'numpy', 'sklearn', 'jinja2', 'matplotlib'} <= loaded
    assert not loaded & {'jax', 'flax', 'optax', 'tensorflow', 'ml_collections', 'etils', 'rich'}
    assert (tmp_path / 'out' / 'report.html').exists()


def test_scikit_learn_is_not_loaded_without_representations(tmp_path):
    file = write_predictions(tmp_path / 'a.csv', prediction_rows())
    split = write_split(tmp_path)
    completed = run_blocked(str(file), '--split', str(split), '--out', str(tmp_path / 'out'))
    assert completed.returncode == 0, completed.stderr
    assert 'sklearn' not in completed.stdout.partition('LOADED')[2].split()


def test_a_mistake_of_the_user_has_no_stack_trace(tmp_path):
    file = write_predictions(tmp_path / 'a.csv', prediction_rows()[1:])
    split = write_split(tmp_path)
    completed = run_blocked(str(file), '--split', str(split), '--out', str(tmp_path / 'out'))
    assert completed.returncode == 2
    assert '1 of 72 tested utterances' in completed.stderr
    assert 'Traceback' not in completed.stderr

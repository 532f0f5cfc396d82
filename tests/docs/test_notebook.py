"""Protects the notebook of the documentation: it runs on the demo."""

import json
import sys

import pytest
from helpers.documentation import ROOT, run_step


def notebook_step() -> list[str]:
    """Returns a command that runs the code cells of the notebook in order, in one process."""
    cells = []
    for cell in json.loads((ROOT / 'docs' / 'notebook.ipynb').read_text())['cells']:
        if cell['cell_type'] == 'code':
            cells.append(''.join(cell['source']))
    return [sys.executable, '-c', '\n'.join(cells)]


@pytest.mark.gate
def test_the_notebook_runs(tmp_path):
    """The code cells run from top to bottom in an empty folder outside the checkout."""
    run_step(notebook_step(), tmp_path)

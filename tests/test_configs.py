"""Every configuration that is shipped: it can be read, its sweep makes sense, its header says how it is run and what came out."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from jaxser.training import validate

FOLDER = Path(__file__).parents[1] / 'configs'
NAMES = sorted(
    p.stem for p in FOLDER.glob('*.py') if '\ndef get_config(' in p.read_text() and p.stem != 'base'
)


def asked(name: str) -> list[str]:
    """What may stand after the colon; '' is nothing."""
    return [*getattr(importlib.import_module(f'configs.{name}'), 'TASKS', [''])]


@pytest.mark.parametrize(('name', 'argument'), [(n, a) for n in NAMES for a in asked(n)])
def test_a_configuration_can_be_trained(name, argument, whisper):
    """Every run has what its method wants, and nothing that no method of it has; an encoder's folder is the user's to name."""
    config = importlib.import_module(f'configs.{name}').get_config(*filter(None, [argument]))
    if config.model.name == 'fine_tuned':
        config.model.upstream = str(whisper)
    if config.model.name == 'layer_sum':
        config.model.states = 'whisper-5x384-pooled-00000000'
    parts = validate.validate(config)
    assert sum(len(p.variants) for p in parts) >= 1


@pytest.mark.parametrize('name', NAMES)
def test_its_header_says_how_it_is_run_and_what_came_out(name):
    """The command with its own name, and a figure, where it stands, or why there is none."""
    said = ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text()))
    assert f'python -m jaxser.main --config=configs/{name}.py' in said
    assert re.search(r'[Mm]easured|Mean UAR|RESULTS\.md', said)

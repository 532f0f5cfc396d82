"""Every shipped configuration loads, its sweep is valid, and its header has command and result."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from jaxser.training import validate

FOLDER = Path(__file__).parents[1] / 'configs'


def configuration_names() -> list[str]:
    """Returns the files of configs/ that are configurations, base.py apart."""
    names = []
    for path in sorted(FOLDER.glob('*.py')):
        if path.stem != 'base' and '\ndef get_config(' in path.read_text():
            names.append(path.stem)
    return names


def configurations() -> list[tuple[str, str]]:
    """Returns each configuration with each of its tasks; '' is a configuration without tasks."""
    pairs = []
    for name in configuration_names():
        tasks = getattr(importlib.import_module(f'configs.{name}'), 'TASKS', [''])
        pairs += [(name, task) for task in tasks]
    return pairs


@pytest.mark.parametrize(('name', 'task'), configurations())
def test_a_configuration_can_be_trained(name, task, whisper):
    """Every run has the hyper-parameters of its method and no others; the encoder is the user's."""
    get_config = importlib.import_module(f'configs.{name}').get_config
    config = get_config(task) if task else get_config()
    if config.model.name == 'fine_tuned':
        config.model.upstream = str(whisper)
    if config.model.name == 'layer_sum':
        config.model.states = 'whisper-5x384-pooled-00000000'
    programs = validate.plan_programs(config)
    assert sum(len(program.variants) for program in programs) >= 1


@pytest.mark.parametrize('name', configuration_names())
def test_a_header_has_command_cost_and_result(name):
    """The command with the file's own name; a figure, where figures are, or why there is none."""
    header = ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text()))
    assert f'python -m jaxser.main --config=configs/{name}.py' in header
    assert re.search(r'^Cost', header, re.MULTILINE)
    assert re.search(r'^Result', header, re.MULTILINE)
    assert re.search(r'[Mm]easured|RESULTS\.md', header)

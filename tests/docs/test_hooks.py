"""Protects the generated pages of the documentation: they have every key and every command."""

import importlib.util
from pathlib import Path

import pytest

from configs import base

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope='module')
def hooks():
    pytest.importorskip('mkdocs')
    spec = importlib.util.spec_from_file_location('hooks', ROOT / 'docs' / 'hooks.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def key_names(config, prefix='config') -> list[str]:
    names = []
    for name, value in config.items():
        if hasattr(value, 'items') and name != 'features':
            names += key_names(value, f'{prefix}.{name}')
        else:
            names.append(f'{prefix}.{name}')
    return names


def test_the_page_of_the_configuration_has_every_key(hooks):
    """Every key of configs/base.py is on the page, with its default and its comment."""
    keys = {}
    for section in hooks.read_sections((ROOT / 'configs' / 'base.py').read_text()):
        for key in section.keys:
            keys[key.name] = key
    assert set(keys) == set(key_names(base.get_config()))
    assert keys['config.train.epochs'].default == '30'
    assert keys['config.protocol.enrol'].default == "'none'"
    assert keys['config.model.width'].comment == 'channels of a TDNN layer'
    page = hooks.configuration_page()
    for name in keys:
        assert f'### `{name}`' in page


def test_an_indented_comment_becomes_a_block(hooks):
    """A table in a comment keeps its columns."""
    assert hooks.format_comment('One of:\n  a  first\n  b  second\nNot *c*.') == [
        'One of:', '', '```text', '  a  first', '  b  second', '```', '', 'Not \\*c\\*.'
    ]  # fmt: skip


def test_every_command_is_in_the_documentation(hooks):
    """Every module that is a command has its help on the page of commands."""
    commands = set()
    for package in ('jaxser', 'data_pipelines'):
        for path in (ROOT / package).glob('*.py'):
            if "__name__ == '__main__'" in path.read_text():
                commands.add(f'{package}.{path.stem}')
    assert commands <= set(hooks.COMMANDS)


def test_links_to_the_notebook_lead_to_its_page(hooks):
    """Without the site, as on GitHub, they lead to the file; there is no notebook.md."""
    text = (ROOT / 'docs' / 'index.md').read_text()
    assert '(notebook.ipynb)' in text
    changed = hooks.on_page_markdown(text, page=None, config=None, files=None)
    assert '(notebook.md)' in changed
    assert 'ipynb' not in changed
    for path in (ROOT / 'docs').rglob('*.md'):
        assert 'notebook.md)' not in path.read_text(), path


def test_a_notebook_becomes_a_page(hooks):
    """Texts stay Markdown; code and what it printed are blocks."""
    code = {
        'cell_type': 'code',
        'source': ['a = 1\n', 'print(a)'],
        'outputs': [
            {'text': ['1\n']},
            {'data': {'text/plain': ['2']}},
            {'data': {'image/png': ''}},
        ],
    }
    page = hooks.notebook_page({'cells': [{'cell_type': 'markdown', 'source': ['# A']}, code]})
    assert page == (
        '# A\n\n```python\na = 1\nprint(a)\n```\n\n```text\n1\n```\n\n```text\n2\n```\n'
    )

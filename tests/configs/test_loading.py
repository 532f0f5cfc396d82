"""Protects how configurations are found outside a checkout, loaded and changed."""

import importlib
import tomllib
from pathlib import Path

import pytest

import configs
from configs import base, loading
from data_pipelines.errors import UserError

INSTALLED = Path(configs.__file__).parent
PYPROJECT = Path(__file__).parents[2] / 'pyproject.toml'


def test_an_installed_configuration_is_found_where_there_is_no_such_file(tmp_path, monkeypatch):
    """With its argument; a file of that name in the current folder comes first."""
    monkeypatch.chdir(tmp_path)
    assert loading.find_config_file('configs/table.py:emodb') == f'{INSTALLED}/table.py:emodb'
    assert loading.find_config_file('dann_demo.py') == f'{INSTALLED}/dann_demo.py'
    for name in ('mine/dann_demo.py', 'configs/command.py', 'configs/missing.py'):
        assert loading.find_config_file(name) == name
    Path('configs').mkdir()
    Path('configs/table.py').write_text('')
    assert loading.find_config_file('configs/table.py:emodb') == 'configs/table.py:emodb'


def test_a_configuration_is_loaded_and_changed(tmp_path, monkeypatch):
    """Lists and single values stand for tuples; the types are those of configs/base.py."""
    monkeypatch.chdir(tmp_path)
    config = loading.load_config('configs/dann_demo.py')
    changes = {'train.epochs': 3, 'sweep.lam': [0, 0.1], 'sweep.seed': 4, 'protocol.enrol': 'all'}
    loading.change_config(config, changes)
    assert config.train.epochs == 3
    assert config.sweep.lam == (0, 0.1)
    assert config.sweep.seed == (4,)
    assert config.protocol.enrol == 'all'
    assert loading.load_config('configs/table.py:emodb').data.corpora == ('emodb',)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'train.epoch': 3}, "Did you mean 'epochs'"),
        ({'epochs': 3}, 'Did you mean config.train.epochs'),
        ({'trian.epochs': 3}, "'trian' is unknown"),
        ({'train.epochs': 'many'}, "config.train.epochs is 'many', str; expected int such as"),
    ],
)
def test_a_wrong_change_says_what_to_do(changes, words):
    with pytest.raises(UserError, match=words):
        loading.change_config(base.get_config(), changes)


def test_a_file_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r'missing\.py\. configs/ has \d+ files, among them'):
        loading.load_config('configs/missing.py')
    Path('mine.py').write_text(
        'from configs import base\n\n'
        'def get_config():\n'
        '    config = base.get_config()\n'
        '    config.train.epoch = 3\n'
        '    return config\n'
    )
    with pytest.raises(UserError, match=r'mine\.py cannot be loaded: .*epoch'):
        loading.load_config('mine.py')


def test_every_entry_point_is_a_command():
    """And every module that is a command has an entry point."""
    scripts = tomllib.loads(PYPROJECT.read_text())['project']['scripts']
    modules = set()
    for target in scripts.values():
        module, _, name = target.partition(':')
        assert callable(getattr(importlib.import_module(module), name))
        modules.add(module)
    for package in ('jaxser', 'data_pipelines'):
        for file in (PYPROJECT.parent / package).glob('*.py'):
            if "__name__ == '__main__'" in file.read_text():
                assert f'{package}.{file.stem}' in modules

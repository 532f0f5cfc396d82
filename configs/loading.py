"""Finds and loads configurations: files of the user's own, or those that are installed."""

import difflib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from ml_collections import ConfigDict

from data_pipelines.errors import UserError
from data_pipelines.wording import similar_name_hint

# Modules in configs/ for other purposes.
NOT_CONFIGURATIONS = ('base', 'command', 'loading', '__init__')

INSTALLED = Path(__file__).parent


def find_config_file(name: str) -> str:
    """Returns `name`, or the path of the installed configuration where there is no such file.

    `name` is FILE.py or FILE.py:ARGUMENT. The installed configurations are those of configs/. A
    name that is neither is returned as it is.
    """
    file, colon, argument = name.partition(':')
    path = Path(file)
    if path.exists() or str(path.parent) not in ('configs', '.'):
        return name
    installed = INSTALLED / path.name
    if path.stem in NOT_CONFIGURATIONS or not installed.is_file():
        return name
    return f'{installed}{colon}{argument}'


def missing_file_error(name: str) -> UserError:
    """Returns the error for a configuration that cannot be read, with similar names."""
    names = [f'configs/{path.name}' for path in _configuration_files()]
    similar = difflib.get_close_matches(name, names, 5) or names[:5]
    return UserError(
        f'The configuration cannot be read: {name}. '
        f'configs/ has {len(names)} files, among them {", ".join(similar)}.'
    )


def _configuration_files() -> list[Path]:
    """Returns the configurations in configs/ of this folder; without any, those installed."""
    for folder in (Path('configs'), INSTALLED):
        paths = sorted(folder.glob('*.py'))
        files = [path for path in paths if path.stem not in NOT_CONFIGURATIONS]
        if files:
            return files
    return []


def default_workdir(config_file: str) -> Path:
    """Returns runs/NAME for NAME.py, and runs/NAME_ARGUMENT for NAME.py:ARGUMENT."""
    file, _, argument = config_file.partition('.py:')
    name = Path(file).stem
    return Path('runs') / (f'{name}_{argument}' if argument else name)


def load_config(name: str | os.PathLike) -> ConfigDict:
    """Returns the configuration of FILE.py or FILE.py:ARGUMENT, as --config=NAME does.

    UserError if there is no such file, or if it sets an unknown key or a value of another type.
    """
    file, _, argument = find_config_file(os.fspath(name)).partition(':')
    if not Path(file).is_file():
        raise missing_file_error(os.fspath(name))
    spec = importlib.util.spec_from_file_location('jaxser_configuration', file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(argument) if argument else module.get_config()
    except (KeyError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        raise UserError(f'{file} cannot be loaded: {error}') from None
    return config.lock()


def change_config(config: ConfigDict, changes: Mapping[str, object]) -> None:
    """Sets keys of a configuration, such as {'train.epochs': 10, 'sweep.lam': [0, 0.1]}.

    UserError for an unknown key, or a value of another type. One value stands for a tuple of it.
    """
    for key_path, value in changes.items():
        section, _, key = key_path.rpartition('.')
        try:
            node = config
            for name in section.split('.') if section else []:
                node = node[name]
            default = node[key]
        except (KeyError, TypeError):
            raise UserError(unknown_key_message(key_path)) from None
        if isinstance(default, tuple):
            value = tuple(value) if isinstance(value, list | tuple) else (value,)
        try:
            node[key] = value
        except (TypeError, ValueError):
            raise UserError(
                f'config.{key_path} is {value!r}, {type(value).__name__}; expected '
                f'{type(default).__name__} such as {default!r} (see configs/base.py).'
            ) from None


def unknown_key_message(key_path: str) -> str | None:
    """Returns the message for an unknown key, with a similar key that exists; None for a known."""
    from configs import base

    node = base.get_config()
    for key in key_path.split('.'):
        known_keys = list(node.keys()) if isinstance(node, ConfigDict) else []
        if key not in known_keys:
            return (
                f'There is no key config.{key_path}: {key!r} is unknown.'
                f'{_similar_key_hint(known_keys, key)} configs/base.py explains every key.'
            )
        node = node[key]
    return None


def _similar_key_hint(known_keys: list[str], key: str) -> str:
    """Returns a hint on what was meant: the same key elsewhere, or a similar key of this section.

    `known_keys` are the keys of the section in which `key` was expected.
    """
    from configs import base

    config = base.get_config()
    paths = []
    for name in config:
        if isinstance(config[name], ConfigDict):
            if key in config[name]:
                paths.append(f'config.{name}.{key}')
        elif name == key:
            paths.append(f'config.{key}')
    if paths:
        return f' Did you mean {" or ".join(paths)}?'
    return similar_name_hint(key, known_keys)

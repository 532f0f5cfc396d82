"""Tests that a process works without a home directory and on an ASCII terminal."""

import io
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import pytest

import jaxser
from data_pipelines import surroundings
from data_pipelines.errors import UserError, exit_on_user_error
from jaxser import distributed

ROOT = Path(__file__).parents[2]


def raise_key_error(uid: int):
    """Stands in for pwd.getpwuid of a user who has no entry, as in many containers."""
    raise KeyError(uid)


@pytest.fixture
def homeless(monkeypatch) -> None:
    """Neither $HOME, nor an entry for the user, nor a folder for caches."""
    for variable in ('HOME', 'XDG_CACHE_HOME', 'KERAS_HOME', 'MPLCONFIGDIR'):
        monkeypatch.setenv(variable, 'restored after the test')
        monkeypatch.delenv(variable)
    monkeypatch.setattr(pwd, 'getpwuid', raise_key_error)


def test_without_a_home_directory_caches_are_temporary(homeless):
    """Every command begins so; JAX's cache is there, too."""
    assert surroundings.cache_folder() is None
    with exit_on_user_error():
        folder = surroundings.cache_folder()
        assert folder.is_dir()
    surroundings.provide_cache_folder()
    assert surroundings.cache_folder() == folder
    assert os.environ['KERAS_HOME'] == f'{folder}/keras'


def test_a_model_is_loaded_without_a_home_directory(homeless, tmp_path):
    with pytest.raises(UserError, match='contains no model'):
        jaxser.load(tmp_path)
    assert surroundings.cache_folder().is_dir()


def test_jax_is_configured_without_a_home_directory(homeless, monkeypatch):
    """It then caches no programs on disk."""
    options = {}
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    monkeypatch.setattr(jax.config, 'update', options.__setitem__)
    distributed.configure_jax()
    assert options['jax_compilation_cache_dir'] is None
    monkeypatch.setenv('HOME', '/some/home')
    monkeypatch.setattr(os, 'access', lambda path, mode: True)
    distributed.configure_jax()
    assert options['jax_compilation_cache_dir'] == '/some/home/.cache/jaxser/xla'


def test_the_cache_folder_is_that_of_the_user_where_it_can_be_written(monkeypatch, tmp_path):
    """An empty or relative XDG_CACHE_HOME counts as none; folders are not made."""
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    for named in ('', 'relative'):
        monkeypatch.setenv('XDG_CACHE_HOME', named)
        assert surroundings.cache_folder() == tmp_path / 'home' / '.cache'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    assert surroundings.cache_folder() == tmp_path / 'cache'
    surroundings.provide_cache_folder()
    assert not list(tmp_path.iterdir())
    (tmp_path / 'cache').touch()
    assert surroundings.cache_folder() is None  # it is a file
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'other'))
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    assert surroundings.cache_folder() is None


def test_a_home_directory_whose_name_is_too_long_is_no_error(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', f'/{"x" * 300}')
    surroundings.cache_folder()


def test_no_folder_for_temporary_files_is_a_sentence(homeless, monkeypatch, capsys):
    """As on a machine where neither the home directory nor /tmp can be written."""
    monkeypatch.setattr(tempfile, 'tempdir', None)
    monkeypatch.setattr(tempfile, '_candidate_tempdir_list', lambda: ['/proc/none'])
    with pytest.raises(SystemExit), exit_on_user_error():
        pass
    assert 'No usable temporary directory' in capsys.readouterr().err


PROGRAM = """
import pwd, sys
def missing(uid): raise KeyError(uid)
pwd.getpwuid = missing
from data_pipelines.errors import exit_on_user_error
with exit_on_user_error():
    import librosa
    print('caf\\xe9 \\u2264', '\\udcff')
    print('\\u2264', file=sys.stderr)
"""


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1', 'utf-8'])
def test_any_letter_can_be_printed_on_any_terminal(encoding):
    """What it cannot show is an escape; and librosa is imported without a home directory."""
    environment = {k: v for k, v in os.environ.items() if k not in ('HOME', 'XDG_CACHE_HOME')}
    environment |= {'PYTHONIOENCODING': encoding, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-c', PROGRAM]
    run = subprocess.run(command, env=environment, capture_output=True, check=True)
    expected = 'caf\xe9 \u2264 \udcff\n'.encode(encoding, 'backslashreplace')
    assert run.stdout == expected
    assert run.stderr == '\u2264\n'.encode(encoding, 'backslashreplace')


@pytest.mark.parametrize(
    ('encoding', 'errors', 'expected'),
    [
        ('ascii', 'strict', 'backslashreplace'),
        ('ascii', 'surrogateescape', 'backslashreplace'),  # Python's choice for the locale C
        ('utf-8', 'strict', 'backslashreplace'),
        ('utf-8', 'surrogateescape', 'surrogateescape'),
        ('ascii', 'replace', 'replace'),
    ],
)
def test_streams_that_would_raise_are_changed(monkeypatch, encoding, errors, expected):
    """What the user has chosen by PYTHONIOENCODING is kept."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors)
    monkeypatch.setattr(sys, 'stdout', stream)
    surroundings.tolerate_any_letter()
    assert stream.errors == expected


def test_a_process_without_output_is_left_alone(monkeypatch):
    """Under pythonw there is none."""
    monkeypatch.setattr(sys, 'stdout', None)
    surroundings.tolerate_any_letter()

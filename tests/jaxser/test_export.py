"""The command jaxser.export: what it refuses, with a message and the exit status 2."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest

from jaxser import distributed, export
from jaxser.serving.model import read_model


@pytest.fixture
def refused_export(monkeypatch, capsys):
    """Runs the command, asserts that it is refused, and returns the message."""

    def run(workdir: Path, out: Path) -> str:
        arguments = ['export', '--workdir', str(workdir), '--out', str(out)]
        monkeypatch.setattr(sys, 'argv', arguments)
        monkeypatch.setattr(distributed, 'configure_jax', lambda: None)
        with pytest.raises(SystemExit, match='2'):
            export.main()
        printed = capsys.readouterr()
        assert not printed.out
        assert 'Traceback' not in printed.err
        return printed.err

    return run


def test_the_command_says_which_model_it_has_exported(swept, tmp_path, monkeypatch, capsys):
    arguments = ['export', '--workdir', str(swept), '--out', str(tmp_path / 'out')]
    monkeypatch.setattr(sys, 'argv', arguments)
    monkeypatch.setattr(distributed, 'configure_jax', lambda: None)
    monkeypatch.setattr(export, 'export_model', lambda *_: swept / 'model')
    export.main()
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith('Model: dann (lam = ')
    assert first.endswith(', 3 networks.')


def test_a_folder_without_a_model_is_refused(tmp_path, refused_export):
    out = tmp_path / 'out'
    assert 'contains no model' in refused_export(tmp_path / 'none', out)
    assert not out.exists()


def test_a_sweep_without_a_model_is_refused(tmp_path, refused_export):
    (tmp_path / 'config.json').write_text('{}')
    out = tmp_path / 'out'
    assert 'python -m jaxser.bundle' in refused_export(tmp_path, out)
    assert not out.exists()


def test_a_model_of_an_earlier_version_without_its_data_is_refused(swept, tmp_path, refused_export):
    metadata = read_model(swept).metadata
    del metadata['data'], metadata['facts_sha256']
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'model.json').write_text(json.dumps(metadata))
    weights = (swept / 'model' / 'model.safetensors').read_bytes()
    (tmp_path / 'old' / 'model.safetensors').write_bytes(weights)
    out = tmp_path / 'out'
    assert 'earlier version of jaxser' in refused_export(tmp_path / 'old', out)
    assert not out.exists()


def test_a_target_that_is_not_empty_is_refused_and_left_as_it_is(swept, tmp_path, refused_export):
    folder = tmp_path / 'full'
    file = folder / 'mine.txt'
    folder.mkdir()
    file.write_text('mine')
    assert 'exists already' in refused_export(swept, folder)
    assert 'exists already' in refused_export(swept, file)
    assert 'mine.txt' in refused_export(swept, file / 'deeper')
    assert [path.name for path in tmp_path.rglob('*')] == ['full', 'mine.txt']


def test_a_full_disk_leaves_an_empty_target_empty(swept, tmp_path, refused_export, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / 'empty'
    folder.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(Path, 'write_bytes', fail)
        assert 'No space left' in refused_export(swept, folder)
    assert list(tmp_path.rglob('*')) == [folder]

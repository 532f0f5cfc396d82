"""Tests that commands refuse an empty path, which would be the folder of the shell."""

import sys

import pytest

from data_pipelines import arguments, pack, prepare
from data_pipelines.corpora import __main__ as corpora_command
from data_pipelines.errors import UserError
from data_pipelines.storage import preparation
from jaxser import bundle, compare, distributed, enrolment, export, probe, report, upstream

COMMANDS = {
    'prepare, source': (prepare, ['emodb', '--source', '']),
    'prepare, out': (prepare, ['emodb', '--source', '.', '--out', '']),
    'pack': (pack, ['emodb', '--dir', '']),
    'corpora': (corpora_command, ['--dir', '']),
    'bundle': (bundle, ['--workdir', '']),
    'bundle, data': (bundle, ['--workdir', 'x', '--data', '']),
    'compare': (compare, ['']),
    'compare, out': (compare, ['x', '--out', '']),
    'enrolment': (enrolment, ['--workdir', '']),
    'export': (export, ['--workdir', '', '--out', 'x']),
    'export, out': (export, ['--workdir', 'x', '--out', '']),
    'probe': (probe, ['--workdir', '']),
    'probe, upstream': (probe, ['--workdir', 'x', '--upstream', '']),
    'report': (report, ['--workdir', 'x', '']),
    'upstream': (upstream, ['']),
}


def run_with_mistake(module, arguments: list[str], monkeypatch, capsys) -> str:
    """Returns the message of a command that ends with the status 2."""
    monkeypatch.setattr(sys, 'argv', ['command', *arguments])
    with pytest.raises(SystemExit) as exit_info:
        module.main()
    assert exit_info.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(('module', 'words'), COMMANDS.values(), ids=COMMANDS)
def test_an_empty_path_is_refused(module, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert 'it is empty, probably' in run_with_mistake(module, words, monkeypatch, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('draws', ['0', '-1', '1000000000'])
def test_the_number_of_draws_has_a_range(draws, monkeypatch, capsys):
    arguments = ['--workdir', 'x', '--draws', draws]
    message = run_with_mistake(enrolment, arguments, monkeypatch, capsys)
    assert f'--draws is {draws}; expected a number from 1 to 1000' in message


@pytest.mark.parametrize('name', ['x' * 256, 'é' * 200, 'x' * 5000])
@pytest.mark.parametrize(
    ('module', 'flag'), [(export, '--workdir'), (report, '--workdir'), (probe, '--workdir')]
)
def test_a_name_that_is_too_long_is_a_sentence(module, flag, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distributed, 'configure_jax', lambda: None)  # JAX runs here already
    words = [flag, name]
    if module is export:
        words += ['--out', 'x']
    message = run_with_mistake(module, words, monkeypatch, capsys)
    assert 'Traceback' not in message
    assert list(tmp_path.iterdir()) == []


def test_a_path_in_which_files_would_be_too_long_is_refused_before_the_work(tmp_path):
    long_path = tmp_path / '/'.join(['x' * 200] * 18)
    with pytest.raises(UserError, match=r'--out is a path of .* choose a shorter one'):
        preparation.prepare_corpus('emodb', tmp_path, long_path)
    assert list(tmp_path.iterdir()) == []
    arguments.check_length(tmp_path / '/'.join(['x' * 200] * 15), '--out')

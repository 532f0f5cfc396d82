"""Tests of the command that compares finished sweeps in a Markdown file."""

import pytest
from helpers.compared_sweeps import write_sweep

from jaxser import compare


def test_only_a_file_that_the_command_has_written_is_replaced(tmp_path, monkeypatch, capsys):
    """What a person has written is left alone."""
    workdir = write_sweep(tmp_path / 'w').path
    notes, tables = tmp_path / 'notes.md', tmp_path / 'tables.md'
    notes.write_text('# Results\n\nof mine')
    monkeypatch.setattr('sys.argv', ['compare', str(workdir), '--out', str(notes)])
    with pytest.raises(SystemExit) as end:
        compare.main()
    assert end.value.code == 2
    assert 'was not written by jaxser.compare' in capsys.readouterr().err
    assert notes.read_text() == '# Results\n\nof mine'
    monkeypatch.setattr('sys.argv', ['compare', str(workdir), '--out', str(tables)])
    compare.main()
    compare.main()
    assert 'Written by `python -m jaxser.compare' in tables.read_text()

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


def test_figures_are_copied_and_linked_from_the_file(tmp_path, monkeypatch):
    """Those of a sweep that was not probed do not exist."""
    probed, unprobed = write_sweep(tmp_path / 'a').path, write_sweep(tmp_path / 'b').path
    (probed / 'leakage.png').write_bytes(b'a figure')
    (probed / 'enrolment.png').write_bytes(b'another')
    out, folder = tmp_path / 'out.md', tmp_path / 'docs' / 'figures'
    arguments = [str(probed), str(unprobed), '--out', str(out), '--figures', str(folder)]
    monkeypatch.setattr('sys.argv', ['compare', *arguments])
    compare.main()
    assert (folder / 'a_leakage.png').read_bytes() == b'a figure'
    assert (folder / 'a_enrolment.png').read_bytes() == b'another'
    assert {file.name for file in folder.iterdir()} == {'a_leakage.png', 'a_enrolment.png'}
    for name in ('a_leakage.png', 'a_enrolment.png'):
        assert out.read_text().count(f'](docs/figures/{name})') == 1

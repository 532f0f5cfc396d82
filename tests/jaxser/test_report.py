"""Tests of the command that writes pages of finished sweeps and compares them."""

import sys

import numpy as np
import pytest
from helpers.finished_sweeps import write_sweep
from helpers.html_page import Page, skip_drawing

from jaxser import report
from jaxser.reporting import figures, plotting


def test_several_sweeps_are_compared(tmp_path, monkeypatch):
    """Each has its page; the comparison is well-formed and has heat maps from corpus to corpus."""
    drawn = []

    def record_figure(draw, *arguments) -> plotting.Drawing:
        drawn.append((draw, arguments))
        return plotting.Drawing('<svg/>', 1, 1)

    skip_drawing(monkeypatch)
    monkeypatch.setattr(plotting, 'render_svg', record_figure)
    for source, target, digit in (('a', 'b', 'e'), ('b', 'a', 'f')):
        protocol = {'name': 'source_target', 'source': [source], 'target': [target]}
        split = {'split_sha256': digit * 64}
        write_sweep(tmp_path / source, config={'protocol': protocol}, **split)
    arguments = ['report', '--workdir', str(tmp_path / 'a'), str(tmp_path / 'b')]
    monkeypatch.setattr(sys, 'argv', arguments)
    report.main()
    assert (tmp_path / 'b' / 'report.html').exists()
    text = Page((tmp_path / 'a' / 'comparison.html').read_text()).text
    assert '2 sweeps compared' in text
    assert '2 splits' in text
    chosen = '0.505 training speakers / 0.555 unseen speakers (plain training: 0.905 / 0.955)'
    assert f'Least leakage in b: dann, {chosen}' in text, 'of the coefficient that dev has chosen'
    assert '+0.100 [+0.100, +0.100] 0.505 (RBF) 0.555 (RBF)' in text
    assert 'p Holm' in text
    plain, best = [values for draw, values in drawn if draw is figures.draw_heatmap]
    np.testing.assert_allclose(plain[0], [[np.nan, 0.5], [0.5, np.nan]])
    np.testing.assert_allclose(best[0], [[np.nan, 0.6], [0.6, np.nan]])
    assert plain[1:3] == (['a', 'b'], ['a', 'b'])


def test_all_workdirs_are_checked_before_a_page_is_written(tmp_path, monkeypatch, capsys):
    write_sweep(tmp_path / 'a')
    arguments = ['report', '--workdir', str(tmp_path / 'a'), str(tmp_path / 'missing')]
    monkeypatch.setattr(sys, 'argv', arguments)
    with pytest.raises(SystemExit):
        report.main()
    assert 'There is no folder' in capsys.readouterr().err
    assert not (tmp_path / 'a' / 'report.html').exists()

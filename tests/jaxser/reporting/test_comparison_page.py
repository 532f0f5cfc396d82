"""Tests of the page that compares several sweeps."""

import json

import pytest
from helpers import finished_sweeps
from helpers.compared_sweeps import RUNS_WITHOUT_ERM, write_sweep
from helpers.finished_sweeps import CLEAN_AUDIT, LEAKY_AUDIT
from helpers.html_page import Page
from markupsafe import Markup

from jaxser.analysis.bootstrap import Estimate
from jaxser.analysis.comparison import ComparisonRow, comparison_rows
from jaxser.reporting import comparison_page


def test_a_negative_coefficient_is_never_the_best_method_from_corpus_to_corpus(
    tmp_path, monkeypatch
):
    """It keeps the domain; its dev UAR is the best here."""
    runs = {
        ('erm', None): (0.5, (0.6, 0.6)),
        ('dann', 0.3): (0.75, (0.7, 0.7)),
        ('dann', -1.0): (1.0, (0.9, 0.9)),
    }
    sweep = write_sweep(tmp_path / 'w', runs)
    sweep.metadata['config']['protocol'] = {
        'name': 'source_target',
        'source': ['emodb'],
        'target': ['ravdess'],
    }
    drawn = []

    def record_figure(title, caption, draw, uar, *arguments):
        drawn.append(uar.tolist())
        return Markup('')

    monkeypatch.setattr(comparison_page, 'html_figure', record_figure)
    table = comparison_page.SweepTable(sweep, comparison_rows(sweep))
    comparison_page.cross_corpus_section([table])
    assert drawn == [[[0.5]], [[0.75]]]


def test_each_sweep_has_a_forest_plot_of_its_methods(tmp_path, monkeypatch):
    """Every method minus plain training, on one axis; plain training has no row."""
    drawn = []

    def record_figures(caption, pictures):
        drawn.extend(picture.arguments for picture in pictures)
        return Markup('')

    monkeypatch.setattr(comparison_page, 'html_figures', record_figures)
    tables = []
    for name in ('a', 'b'):
        sweep = write_sweep(tmp_path / name)
        tables.append(comparison_page.SweepTable(sweep, comparison_rows(sweep)))
    section = comparison_page.forest_section(tables)
    assert section.title == 'UAR and leakage of each method'
    for (rows, axis, title), name in zip(drawn, ('a', 'b'), strict=True):
        assert [row.name for row in rows] == ['dann']
        assert rows[0].value > 0
        assert not rows[0].is_hollow
        assert (title, axis) == (name, drawn[0][1])


@pytest.mark.parametrize(
    ('ci95', 'p_holm', 'is_hollow'),
    [
        ((0.1, 0.2), 0.01, False),
        ((0.1, 0.2), 0.2, True),
        ((-0.2, -0.1), 0.2, True),
        ((-0.1, 0.1), 0.9, False),
        (None, None, False),
    ],
)
def test_a_difference_only_before_correction_is_hollow(ci95, p_holm, is_hollow):
    row = ComparisonRow({}, 'dann', [], gain=Estimate(0.1, ci95, p_holm))
    assert comparison_page._forest_row(row, p_holm).is_hollow == is_hollow


def test_without_plain_training_there_is_no_forest_plot(tmp_path):
    sweep = write_sweep(tmp_path / 'w', RUNS_WITHOUT_ERM)
    table = comparison_page.SweepTable(sweep, comparison_rows(sweep))
    assert comparison_page.forest_section([table]) is None


@pytest.fixture(scope='module')
def compared(tmp_path_factory) -> Page:
    """Returns the page of a clean sweep and one whose split leaks; both are called w."""
    path = tmp_path_factory.mktemp('sweeps') / 'runs'
    paths = [path / 'clean' / 'w', path / 'leaky' / 'w', path / 'v']
    for sweep, audit in zip(paths, (CLEAN_AUDIT, LEAKY_AUDIT, CLEAN_AUDIT)):
        results = finished_sweeps.write_sweep(sweep, lams=(0.0, 1.0), audit=audit)
    results['split_sha256'] = 'e' * 64
    (paths[-1] / 'results.json').write_text(json.dumps(results))
    return Page(comparison_page.write_comparison(paths).read_text())


def test_a_sweep_whose_split_leaks_is_marked_first(compared):
    assert '3 sweeps compared leaky/w: Not valid: the split leaks. Shown to help' in compared.text
    assert compared.text.count('Not valid') == 1


def test_sweeps_are_named_by_folders_that_differ_and_splits_by_their_sweeps(compared):
    assert 'Least leakage in clean/w: dann, 0.505 training speakers / 0.555 un' in compared.text
    splits = '(clean/w and leaky/w share one; runs/v has its own)'
    assert f'The sweeps have 2 splits {splits}.' in compared.text
    assert '/tmp/' not in compared.text


def test_leakage_is_left_of_p_and_plain_training_is_called_so(compared):
    headings = (
        'sweep method UAR (pooled) vs plain (pooled) 95 % leakage of training speakers '
        'leakage of unseen speakers p p Holm'
    )
    assert headings in compared.text
    assert 'clean/w plain training (dann, lam = 0) 0.500 0.905 (RBF) 0.955 (RBF)' in compared.text
    alts = [attrs['alt'] for attrs in compared.elements_of('img')]
    assert alts[1] == 'Leakage of each method of clean/w, and of plain training'


def test_commands_are_blocks_of_code(compared):
    assert len(compared.elements_of('pre')) == 3

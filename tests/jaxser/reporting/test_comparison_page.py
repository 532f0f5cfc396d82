"""Tests of the page that compares several sweeps."""

from helpers.compared_sweeps import RUNS_WITHOUT_ERM, write_sweep
from markupsafe import Markup

from jaxser.analysis.comparison import comparison_rows
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
    assert section.title == 'Which methods helped'
    for (rows, axis, title), name in zip(drawn, ('a', 'b'), strict=True):
        assert [row.name for row in rows] == ['dann']
        assert rows[0].value > 0
        assert (title, axis) == (name, drawn[0][1])


def test_without_plain_training_there_is_no_forest_plot(tmp_path):
    sweep = write_sweep(tmp_path / 'w', RUNS_WITHOUT_ERM)
    table = comparison_page.SweepTable(sweep, comparison_rows(sweep))
    assert comparison_page.forest_section([table]) is None

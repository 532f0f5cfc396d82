"""Tests of the enrolment curve in reports: its section, its figure, its table in Markdown."""

import json

import pytest
from helpers import finished_sweeps
from helpers.finished_sweeps import write_sweep
from helpers.html_page import Page, skip_drawing

from jaxser.analysis.enrolment import rows_by_title
from jaxser.analysis.finished import SweepAnalysis, read_finished_sweep
from jaxser.reporting import curve, enrolment, markdown, plotting, terminal
from jaxser.reporting.page import write_report

CONFIG = finished_sweeps.make_config('dann')


def enrolled_results(path, lams=(0.0, 0.3, 1.0), with_leakage: bool = True) -> dict:
    """Returns results.json of a sweep with enrolment curves."""
    write_sweep(path)
    finished_sweeps.add_enrolment(path, lams, with_leakage)
    return json.loads((path / 'results.json').read_text())


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """Figures are not drawn: a test of words is quick."""
    skip_drawing(monkeypatch)
    monkeypatch.setattr(plotting, 'render_png', lambda draw, *arguments: b'a figure')


def test_the_page_has_a_section_and_the_workdir_the_figure(tmp_path, no_figures):
    """Only where a curve was measured: results of an earlier version have none."""
    path = tmp_path / 'w'
    write_sweep(path)
    page = Page(write_report(path).read_text())
    assert 'enrolment' not in page.ids()
    assert not (path / 'enrolment.png').exists()
    finished_sweeps.add_enrolment(path)
    text = write_report(path).read_text()
    names = Page(text).ids()
    assert names[names.index('leakage') + 1] == 'enrolment'
    assert '0.630 (+0.030 [+0.025, +0.035])' in text
    assert '0.850 (RBF) [0.750, 0.950]' in text
    assert enrolment.DRAWS_NOTE in text
    assert 'excludes 0 in 12 of 12 cases' in text
    assert 'transductive' in text
    assert (path / 'enrolment.png').read_bytes() == b'a figure'


def test_the_table_has_a_column_for_each_k_and_a_row_for_each_source(tmp_path):
    write_sweep(tmp_path / 'w')
    finished_sweeps.add_enrolment(tmp_path / 'w', lams=(0.3,))
    text = markdown.render_results([tmp_path / 'w'], [], None, '')
    for line in (
        'K utterances of each tested speaker enrolled, mean of 10 draws:',
        '| setting | enrolled | figure | K = 0 | K = 4 | K = all |',
        '| dann, lam = 0.3 | any emotion | UAR | 0.600 | 0.630 (+0.030 [+0.025, +0.035]) '
        '| 0.660 (+0.060 [+0.055, +0.065]) |',
        '| dann, lam = 0.3 | one emotion | UAR | 0.600 | 0.610 (+0.010 [+0.005, +0.015]) '
        '| 0.620 (+0.020 [+0.015, +0.025]) |',
        '| dann, lam = 0.3 | any emotion | leakage of unseen speakers (chance: 0.250) '
        '| 0.850 (RBF) [0.750, 0.950] | 0.750 (RBF) [0.650, 0.850] | 0.650 (RBF) [0.550, 0.750] |',
        'The interval of the difference to K = 0 excludes 0 in 4 of 4 cases. The intervals are not '
        'corrected for their number. '
        f'{enrolment.FEWER_NOTE} {enrolment.DRAWS_NOTE}',
    ):
        assert f'{line}\n' in text
    assert 'neutral' not in text


def test_a_sweep_without_a_curve_has_no_such_table(tmp_path):
    write_sweep(tmp_path / 'w')
    assert 'speaker enrolled' not in markdown.render_results([tmp_path / 'w'], [], None, '')


def test_the_figure_has_a_panel_for_each_setting_and_one_for_leakage(tmp_path):
    """Lines are the sources; in the panel of leakage they are the settings, plain in black."""
    results = enrolled_results(tmp_path / 'w')
    figure = enrolment.draw_enrolment_curves(results, CONFIG)
    drawn = [axes for axes in figure.axes if axes.axison]
    titles = [axes.get_title() for axes in drawn]
    leakage_title = 'leakage of unseen speakers (any emotion)'
    assert titles == ['dann, lam = 0', 'dann, lam = 0.3', 'dann, lam = 1', leakage_title]
    assert labels(drawn[0]) == {'any emotion', 'one emotion', 'not enrolled'}
    assert [text.get_text() for text in drawn[0].get_xticklabels()] == ['0', '4', 'all']
    assert labels(drawn[3]) == {'dann, lam = 0', 'dann, lam = 0.3', 'dann, lam = 1', 'chance'}
    for handle, label in zip(*drawn[3].get_legend_handles_labels()):
        if label != 'chance':
            is_black = handle.lines[0].get_color() == plotting.PLAIN_COLOUR
            assert is_black == (label == 'dann, lam = 0')


def test_each_picture_of_the_page_has_the_names_of_its_lines(tmp_path):
    """UAR of all settings on one axis, which is 0.3 long at least."""
    enrolled_results(tmp_path / 'w')
    analysis = SweepAnalysis(read_finished_sweep(tmp_path / 'w'))
    by_title = rows_by_title(analysis.results, analysis.config)
    pictures = enrolment._curve_pictures(analysis, by_title)
    drawn = [picture.draw(*picture.arguments) for picture in pictures]
    assert [figure.axes[0].get_title() for figure in drawn[:3]] == list(by_title)
    (limits,) = {figure.axes[0].get_ylim() for figure in drawn[:3]}
    assert limits == pytest.approx((0.485, 0.785), abs=0.02)
    for figure in drawn:
        names = {text.get_text() for text in figure.legends[0].get_texts()}
        assert names == labels(figure.axes[0])
        assert names


def labels(axes) -> set[str]:
    """Returns the labels of what is drawn."""
    return set(axes.get_legend_handles_labels()[1])


def test_without_leakage_there_is_no_panel_for_it(tmp_path):
    results = enrolled_results(tmp_path / 'w', (0.0, 1.0), with_leakage=False)
    figure = enrolment.draw_enrolment_curves(results, CONFIG)
    assert [axes.get_title() for axes in figure.axes] == ['dann, lam = 0', 'dann, lam = 1']


def test_without_intervals_the_points_have_no_bars(tmp_path):
    """Of fewer than six speakers."""
    results = enrolled_results(tmp_path / 'w')
    for row in results['enrolment']['rows']:
        row |= {'uar_ci95': None, 'unseen_speaker': None}
        row['delta_ci95'] = None
    figure = enrolment.draw_enrolment_curves(results, CONFIG)
    assert 'no intervals for fewer than 6 speakers' in figure.get_suptitle()
    cells = dict(enrolment.curve_cells({'a': results['enrolment']['rows'][:3]})[0])
    assert cells['K = 4'] == '0.630 (+0.030)'


def test_the_terminal_marks_clear_differences_only(tmp_path, capsys):
    """And says for how many speakers, how few are enrolled, and why K = 0 is not in the table."""
    results = enrolled_results(tmp_path / 'w', (0.3,), with_leakage=False)
    results['enrolment']['rows'][1]['delta_ci95'] = [-0.003, 0.05]
    terminal.print_enrolment(results)
    printed = ' '.join(capsys.readouterr().out.split())
    assert '0.600 │ 0.630 │ 0.660*' in printed
    assert 'excludes 0 in 3 of 4 cases; the others are not clear with 8 tested speakers' in printed
    assert enrolment.FEWER_NOTE in printed
    assert enrolment.DRAWS_NOTE in printed


def test_with_few_speakers_no_difference_is_called_clear(tmp_path):
    rows = enrolled_results(tmp_path / 'w', (0.3,))['enrolment']['rows']
    for row in rows:
        row['delta_ci95'] = None
    assert not any(map(enrolment.is_clear, rows))
    assert enrolment.clarity_note(rows, 5).startswith('5 tested speakers: too few for intervals')


def test_the_table_says_on_how_many_utterances_leakage_was_measured(tmp_path):
    rows = enrolled_results(tmp_path / 'w', (0.3,))['enrolment']['rows']
    for row in rows:
        if row['unseen_speaker']:
            row['unseen_speaker'] |= {'n': 13.6, 'classes': 4.0}
    figures = [dict(cells)['figure'] for cells in enrolment.curve_cells({'a': rows})]
    tested = 'tested in a run: 14 utterances of 4 speakers on average'
    assert figures[-1] == f'leakage of unseen speakers (chance: 0.250; {tested})'


def test_a_swept_number_of_enrolled_utterances_is_no_axis_of_the_usual_curve():
    """Numbers and 'all' have no order there; the enrolment curve has them."""
    rows = [{'enrol': enrol, 'uar': 0.5} for enrol in (0, 8, 'all')]
    assert curve.curve_key({'summary': rows}) is None

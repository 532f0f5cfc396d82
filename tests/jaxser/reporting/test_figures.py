"""Tests of the figures: colours of plain training, and the Pareto front."""

import matplotlib
import numpy as np
import pytest

from jaxser.analysis import calibration, summary
from jaxser.reporting import curve, figures, leakage_figure, plotting
from jaxser.reporting.plotting import PLAIN_COLOUR


def drawn_colours(figure) -> dict[str, set]:
    """Returns the colours in a figure by the label of what is drawn, as RGBA."""
    colours: dict[str, set] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            line = handle.lines[0] if hasattr(handle, 'lines') else handle
            colour = matplotlib.colors.to_rgba(line.get_color())
            colours.setdefault(label, set()).add(colour)
    return colours


def results_with_settings(rows: list[dict]) -> dict:
    """Returns results.json with these settings, as far as figures read it."""
    return {
        'summary': rows,
        'method': 'dann',
        'protocol': '',
        'folds': ['1'],
        'classes': ['A', 'B'],
        'corpora': ['emodb'],
        'synthetic': False,
    }


def test_no_setting_has_the_colour_of_plain_training():
    """With a hundred settings, two of them plain training, in every figure with lines."""
    names = [f'setting {n}' for n in range(100)]
    plain = {'setting 0', 'setting 50'}
    curves = {name: {'emotion_loss': [1.0, 0.5]} for name in names}
    reliability = calibration.reliability_bins(np.full(10, 0.7), np.arange(10) < 7)
    for figure in (
        figures.draw_training_metric('emotion_loss', curves, {}, names, plain),
        figures.draw_reliability_diagram(dict.fromkeys(names, reliability), plain),
    ):
        colours = {}
        for label, drawn in drawn_colours(figure).items():
            colours[label.partition(':')[0]] = drawn
        plain_colours = set.union(*(colours[name] for name in plain))
        other_colours = set.union(*(colours[name] for name in names if name not in plain))
        assert len(plain_colours) == 1
        assert not plain_colours & other_colours
        assert len(other_colours) == 98, 'nor do two others share one'


def test_no_line_of_the_curve_has_the_colour_of_plain_training():
    """Twelve models by erm, which has no coefficient, and by dann, whose lam = 0 is plain too."""
    rows = []
    for width in range(12):
        for method, lam in (('erm', None), ('leace', None), ('dann', 0.0), ('dann', 1.0)):
            row = {'method': method, 'lam': lam, 'model.width': width}
            row |= dict.fromkeys(summary.RESULT_KEYS)
            rows.append(row | {'uar': 0.5 + width / 100, 'seeds': 1, 'tested_speakers': 3})
    results = results_with_settings(rows)
    figure = curve.draw_curve(results, 'lam')
    colours = drawn_colours(figure)
    black = matplotlib.colors.to_rgba(PLAIN_COLOUR)
    settings = {label: drawn for label, drawn in colours.items() if 'model.width' in label}
    assert len(settings) == 36
    plain_lines = {label for label, drawn in settings.items() if black in drawn}
    assert plain_lines == {f'erm, model.width = {n} (no lam)' for n in range(12)}
    assert colours['plain training'] == {black}
    dots = 0
    for line in figure.axes[0].lines:
        if line.get_marker() == 'o' and matplotlib.colors.to_rgba(line.get_color()) == black:
            dots += len(line.get_xdata())
    assert dots == 12, 'a black dot for each lam = 0'


def test_the_points_of_plain_training_have_a_colour_of_their_own():
    """On the Pareto front and off it, in the figure of UAR against leakage."""
    uar_N = np.array([0.6, 0.5, 0.4, 0.3])
    leakage_N = np.array([0.5, 0.4, 0.6, 0.7])
    plain_N = np.array([True, False, True, False])
    uar = figures.Measured.of(uar_N, [(0.5, 0.7), None, None, None])
    leakage = figures.Measured.of(leakage_N, [None] * 4)
    panels = []
    for title, chance in (('training speakers', 0.2), ('unseen speakers', 0.25)):
        panels.append(figures.TradeoffPanel(title, leakage, chance, 0.9))
    figure = figures.draw_tradeoff(list('abcd'), plain_N, uar, panels)
    assert [axes.get_title() for axes in figure.axes] == ['training speakers', 'unseen speakers']
    for axes in figure.axes:
        black_N = [tuple(c) == (0, 0, 0, 1) for c in axes.collections[0].get_facecolors()]
        assert black_N == plain_N.tolist()


def test_settings_of_several_chances_have_no_level_of_chance():
    """Nor one of the input: neither would be true for all points."""
    values = figures.Measured.of([0.6, 0.5], [None, None])
    panel = figures.TradeoffPanel('training speakers', values, None, None)
    figure = figures.draw_tradeoff(['a', 'b'], np.array([True, False]), values, [panel])
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert not {'chance', 'from the input alone'} & set(labels)
    assert {'plain training', 'b'} <= set(labels)


def test_error_bars_reach_to_the_ends_of_the_intervals():
    """A value outside its interval, which a rounding error may cause, has no negative bar."""
    measured = figures.Measured.of([0.5, 0.4, 0.3], [(0.4, 0.7), None, (0.31, 0.4)])
    np.testing.assert_allclose(measured.error_2xN, [[0.1, 0, 0], [0.2, 0, 0.1]], atol=1e-12)


def test_the_pareto_front_leaves_out_what_another_point_surpasses():
    """Worse in both, or worse in one and equal in the other, is off the front; equals are on it."""
    uar_N = np.array([0.5, 0.6, 0.6, 0.4, 0.6])
    leakage_N = np.array([0.2, 0.5, 0.6, 0.3, 0.5])
    front_N = figures.pareto_front(uar_N, leakage_N)
    assert front_N.tolist() == [True, True, False, False, True]


def make_results(key: str, recalls: dict, **keys) -> dict:
    """Returns results whose rows have the strongest recalls {value of the key: recall}."""
    rows = []
    for value, recall in recalls.items():
        row = {key: value} | dict.fromkeys(summary.RESULT_KEYS)
        probe = {}
        for question in ('speaker', 'unseen_speaker'):
            chance = 1 / value if key == 'speakers' else 0.25
            probe[question] = {'linear': 0.1, 'rbf': recall, 'chance': chance}
        rows.append(row | {'uar': 0.5, 'seeds': 1, 'tested_speakers': 3, 'probe': probe} | keys)
    return results_with_settings(rows)


def test_the_curve_goes_through_zero_to_negative_coefficients():
    """In ascending order, with the leakage of unseen speakers below."""
    results = make_results('lam', {0.0: 0.6, 1.0: 0.3, -1.0: 0.9})
    figure = curve.draw_curve(results, 'lam')
    uar_axes, training_axes, unseen_axes = figure.axes
    assert [tick.get_text() for tick in uar_axes.get_xticklabels()] == ['-1', '0', '1']
    assert 'training keeps the domain' in uar_axes.get_xlabel()
    for axes, kind in ((training_axes, 'training speakers'), (unseen_axes, 'unseen speakers')):
        assert kind in axes.get_ylabel()
        assert axes.lines[0].get_ydata().tolist() == [0.9, 0.6, 0.3]


@pytest.mark.parametrize(
    ('ci95', 'title', 'lengths'),
    [
        ((0.2, 0.7), 'bars: 95 % intervals that resample speakers', [0.5, 0.5]),
        (None, 'bars: 95 % intervals of UAR over 8 speakers', [0.0, 0.0]),
    ],
)
def test_leakage_has_the_intervals_that_the_title_announces(ci95, title, lengths):
    results = make_results('lam', {0.3: 0.6, 1.0: 0.3}, tested_speakers=8)
    for row in results['summary']:
        row['probe']['speaker']['ci95'] = ci95
    figure = curve.draw_curve(results, 'lam')
    assert title in figure.get_suptitle()
    (bars,) = figure.axes[1].collections
    measured = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(measured, lengths)


def test_chance_falls_with_the_number_of_training_speakers():
    figure = curve.draw_curve(make_results('speakers', {4: 0.9, 8: 0.7}), 'speakers')
    (chance,) = [line for line in figure.axes[1].lines if line.get_label() == 'chance']
    assert chance.get_ydata().tolist() == [1 / 4, 1 / 8]


def test_the_lines_of_a_panel_have_names():
    """Each picture of the page is looked at by itself; in the file, the first panel has them."""
    results = make_results('lam', {0.3: 0.6, 1.0: 0.3}, method='dann')
    panels = curve.curve_panels(results)
    assert [panel.title for panel in panels] == [
        'UAR',
        'leakage of training speakers',
        'leakage of unseen speakers',
    ]
    for panel in panels:
        figure = curve.draw_curve_panel(results, 'lam', panel)
        (legend,) = figure.legends
        assert 'dann' in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(
    ('ends', 'limits'),
    [
        ((0.60, 0.61), (0.455, 0.755)),
        ((0.2, 0.8), (0.17, 0.83)),
        ((0.98, 1.0), (0.7, 1.0)),
        ((0.0, 0.02), (0.0, 0.3)),
    ],
)
def test_a_small_difference_looks_small(ends, limits):
    """An axis of UAR is 0.3 long at least, and stays within 0 and 1."""
    assert plotting.wide_limits(*ends) == pytest.approx(limits)


def test_differences_of_speakers_have_an_axis_around_zero():
    """A difference of 0.01 is a twentieth of the half of it."""
    row = figures.ForestRow('a', 0.01, (0.0, 0.02))
    assert figures.ForestAxis.of('', [row]).limit == pytest.approx(0.21)
    wide_row = row._replace(ci95=(-0.4, 0.42))
    assert figures.ForestAxis.of('', [row, wide_row]).limit == pytest.approx(0.441)


def test_the_forest_says_by_colour_which_interval_excludes_zero():
    """Blue is a gain and orange a loss; without an interval, or with 0 in it, grey."""
    intervals = [(0.1, 0.3), (-0.3, -0.1), (-0.1, 0.3), None]
    rows = [figures.ForestRow(f's{n}', 0.1, ci95) for n, ci95 in enumerate(intervals)]
    figure = figures.draw_forest_plot(rows, figures.ForestAxis.of('difference', rows))
    (axes,) = figure.axes
    colours = [container.lines[0].get_color() for container in axes.containers]
    assert colours == ['C0', 'C1', '0.35', '0.35']
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ['s0', 's1', 's2', 's3']
    assert axes.get_ylim()[0] > axes.get_ylim()[1], 'the first row is at the top'


def test_more_confusions_are_worse_and_more_correct_ones_better():
    """Row A gains ten points on the diagonal, row B loses ten; the colours are those of benefit."""
    best, plain = [[9, 1], [2, 8]], [[8, 2], [1, 9]]
    figure = figures.draw_confusion_difference(best, plain, ['A', 'B'])
    (cells,) = figure.axes[0].collections
    assert cells.get_array().round(6).tolist() == [[10.0, 10.0], [-10.0, -10.0]]
    assert cells.get_clim() == (-25.0, 25.0)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ['+10', '-10', '+10', '-10']


def test_the_bins_of_calibration_have_counts_and_intervals():
    confidence_N = np.repeat([0.5, 0.9], [4, 20])
    reliability = calibration.reliability_bins(confidence_N, np.arange(24) % 2 == 0)
    figure = figures.draw_confidence_counts({'a': reliability}, ())
    assert [text.get_text() for text in figure.axes[0].texts] == ['4', '20']
    figure = figures.draw_reliability_diagram({'a': reliability}, ())
    (bars,) = figure.axes[0].collections
    lengths = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    assert lengths[0] > lengths[1] > 0.3, 'fewer predictions, a longer bar'


def test_text_in_pictures_of_the_page_is_text():
    """In any script, and no formula; the same picture every time."""
    row = figures.ForestRow('王 $x$', 0.1, None)
    drawings = []
    for _ in range(2):
        axis = figures.ForestAxis.of('difference', [row])
        drawings.append(plotting.render_svg(figures.draw_forest_plot, [row], axis))
    assert '王 $x$</text>' in drawings[0].svg
    assert drawings[0] == drawings[1]
    assert drawings[0].width == 384, 'nearly the width of a phone'


def test_a_difference_that_does_not_survive_correction_is_hollow():
    rows = [
        figures.ForestRow('a', 0.1, (0.05, 0.15), is_hollow=True),
        figures.ForestRow('b', 0.1, (0.05, 0.15)),
    ]
    figure = figures.draw_forest_plot(rows, figures.ForestAxis.of('difference', rows))
    faces = [bars.lines[0].get_markerfacecolor() for bars in figure.axes[0].containers]
    assert faces == ['white', 'C0']


def test_speakers_whose_names_begin_with_an_underscore_are_in_the_legend():
    speaker_N = np.array(['_a', 'b'])
    shown = figures.RepresentationMap(np.eye(2), speaker_N, speaker_N, np.zeros(2, bool))
    figure = figures.draw_representation_map(shown, 'dann', 'speaker')
    (legend,) = figure.legends
    assert [text.get_text().strip('\u200b') for text in legend.get_texts()] == ['_a', 'b']


@pytest.mark.parametrize('letters', [1, 8, 14, 30, 90])
def test_the_legend_of_a_map_is_not_cut_off(letters):
    """Longer names have fewer columns."""
    names = [f'{n:02d}' + ('SPEAKER_' * 20)[:letters] for n in range(10)]
    speaker_N = np.array(names)
    positions = np.random.default_rng(0).normal(size=(10, 2))
    shown = figures.RepresentationMap(positions, speaker_N, speaker_N, np.zeros(10, bool))
    figure = figures.draw_representation_map(shown, 'dann', 'speaker')
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 <= box.x1 <= figure.bbox.width
    assert 0 <= box.y0 <= box.y1 < figure.axes[0].get_window_extent().y0
    assert figure.axes[0].get_window_extent().height > 100


def test_epochs_are_whole_numbers():
    curves = {'a': {'emotion_loss': [1.0, 0.5, 0.4]}}
    figure = figures.draw_training_metric('emotion_loss', curves, {}, ['a'], ())
    ticks = figure.axes[0].get_xticks()
    assert np.array_equal(ticks, ticks.round())


def test_leakage_has_a_fixed_axis_and_black_plain_training():
    """Two points a row, for training and unseen speakers; chance where all rows share it."""
    recalls = {'training speakers': (0.4, (0.3, 0.5)), 'unseen speakers': (0.6, None)}
    rows = [
        leakage_figure.LeakageRow('plain training', True, recalls),
        leakage_figure.LeakageRow('dann', False, recalls),
    ]
    figure = leakage_figure.draw_leakage_rows(rows, {'training speakers': 0.1}, 'w')
    (axes,) = figure.axes
    assert axes.get_xlim() == (0, 1)
    colours = [bars.lines[0].get_color() for bars in axes.containers]
    assert colours == [PLAIN_COLOUR, PLAIN_COLOUR, 'C0', 'C0']
    (legend,) = figure.legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {'training speakers', 'unseen speakers', 'chance, training speakers'}

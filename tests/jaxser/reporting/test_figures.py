"""Tests of the figures: colours of plain training, and the Pareto front."""

import matplotlib
import numpy as np
import pytest

from jaxser.analysis import calibration, summary
from jaxser.reporting import curve, figures
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
        figures.draw_training_curves(curves, {}, names, plain),
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

"""The figure of UAR or CCC and leakage against a hyper-parameter, usually the coefficient lam."""

from typing import NamedTuple

import numpy as np

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.analysis.leakage import HEADLINE_QUESTIONS, question_title, strongest_recall
from jaxser.analysis.summary import collect, probed_answers, swept_keys, tested_speakers
from jaxser.reporting.figures import Measured, measured_column
from jaxser.reporting.formats import folds_of_sweep
from jaxser.reporting.plotting import (
    PANEL_WIDTH,
    PLAIN_DOT,
    add_legend,
    draw_placeholder,
    is_plain,
    legend_below,
    line_styles,
    make_figure,
    wide_limits,
)
from jaxser.reporting.target import chance_level, find_target
from jaxser.runs import distinct_values, format_value, setting_title, synthetic_note

MAX_INSIDE_LEGEND = 5  # lines; the legend of more is below the axes
LEGEND_LINE_HEIGHT = 0.17  # inches


def curve_key(results: dict) -> str | None:
    """Returns the hyper-parameter on the horizontal axis: lam if it was swept, or the first other.

    Returns None if no hyper-parameter with numbers was swept.
    """
    rows = results['summary']
    numeric_keys = []
    for key in swept_keys(rows[0]):
        values = distinct_values(rows, key)
        is_numeric = all(isinstance(value, int | float) for value in values)
        if len(values) > 1 and is_numeric:
            numeric_keys.append(key)
    if 'lam' in numeric_keys:
        return 'lam'
    return numeric_keys[0] if numeric_keys else None


class Curve(NamedTuple):
    """A line of `draw_curve`: rows that differ only in the hyper-parameter on the axis."""

    name: str
    rows: list[dict]  # in ascending order of the hyper-parameter
    flat_row: dict | None  # the row of a method without this hyper-parameter: a level line
    style: dict
    is_plain: bool  # all rows are plain training


class CurvePanel(NamedTuple):
    """What a panel of the curve shows: the main measure, or the leakage of a question."""

    title: str
    question: str | None  # of the probe; None: the main measure


def curve_panels(results: dict) -> list[CurvePanel]:
    """Returns the panels of the curve: the main measure, and what was measured of speakers."""
    panels = [CurvePanel(find_target(results).measure.title, None)]
    for question in _probed_questions(results):
        panels.append(CurvePanel(f'leakage of {question_title(question)}', question))
    return panels


def _probed_questions(results: dict) -> list[str]:
    return [q for q in HEADLINE_QUESTIONS if probed_answers(results['summary'], q)]


def draw_curve_panel(results: dict, key: str, panel: CurvePanel):
    """Draws one panel of the curve, with a line for each combination of the other keys."""
    curves = _make_curves(results, key)
    if not curves:
        return draw_placeholder()
    height = 3.0 + LEGEND_LINE_HEIGHT * (len(curves) + 2)
    figure, ((axes,),) = make_figure(PANEL_WIDTH, height)
    if panel.question is None:
        _draw_measure_axes(axes, curves, results, key)
    else:
        _draw_leakage_axes(axes, curves, results, key, panel.question, has_names=True)
    legend_below(figure)
    return figure


def draw_curve(results: dict, key: str):
    """Draws UAR or CCC against a hyper-parameter, a line for each combination of the others.

    If speakers were probed, leakage is drawn below: of training speakers and of unseen speakers.
    """
    curves = _make_curves(results, key)
    if not curves:
        return draw_placeholder()
    questions = _probed_questions(results)
    has_legend_below = len(curves) > MAX_INSIDE_LEGEND
    height = 4.2 + 3.2 * len(questions)
    if has_legend_below:
        height += 0.09 * len(curves)
    figure, grid = make_figure(5.6, height, 1 + len(questions))
    axes = grid[0, 0]
    _draw_measure_axes(axes, curves, results, key)
    if has_legend_below:
        legend_below(figure, columns=2, size=7)
    else:
        add_legend(axes, 8)
    for leakage_axes, question in zip(grid[1:, 0], questions):
        _draw_leakage_axes(leakage_axes, curves, results, key, question)
        leakage_axes.set_xlim(axes.get_xlim())
        add_legend(leakage_axes, 8)
    figure.suptitle(_curve_title(results), fontsize=9)
    return figure


def _make_curves(results: dict, key: str) -> list[Curve]:
    """Returns the curves of a summary; rows without figures are left out."""
    measure = find_target(results).measure
    other_keys = swept_keys(results['summary'][0])
    other_keys.remove(key)
    rows_by_name: dict[str, list[dict]] = {}
    for row in results['summary']:
        if row[measure.key] is not None:
            rows_by_name.setdefault(setting_title(row, other_keys), []).append(row)
    plain_names = set()
    for name, rows in rows_by_name.items():
        if all(is_plain(results, row) for row in rows):
            plain_names.add(name)
    styles = line_styles(list(rows_by_name), plain_names)
    curves = []
    for name, rows in rows_by_name.items():
        flat_row = rows[0] if rows[0][key] is None else None
        points = rows[1:] if flat_row else rows
        points.sort(key=lambda row: row[key])
        curves.append(Curve(name, points, flat_row, styles[name], name in plain_names))
    return curves


def _place_curves(axes, curves: list[Curve], key: str) -> list[tuple[Curve, list[float]]]:
    """Returns the curves that have points, with the x of each point, and sets the axes' ticks.

    The values are spaced evenly, because 0 has no logarithm. Curves are shifted a little, so that
    points of equal value do not cover each other.
    """
    drawn = [curve for curve in curves if curve.rows]
    values = set()
    for curve in drawn:
        values.update(collect(curve.rows, key))
    ticks = sorted(values)
    placed = []
    for n, curve in enumerate(drawn):
        shift = 0.03 * (n - (len(drawn) - 1) / 2)
        placed.append((curve, [ticks.index(row[key]) + shift for row in curve.rows]))
    axes.set_xticks(range(len(ticks)), list(map(format_value, ticks)))
    return placed


def _draw_measure_axes(axes, curves: list[Curve], results: dict, key: str) -> None:
    """Draws UAR or CCC with its intervals; points that are plain training are black."""
    measure = find_target(results).measure
    for curve in curves:
        if curve.flat_row:
            style = {'linestyle': '--'} | curve.style
            axes.axhline(curve.flat_row[measure.key], **style, label=f'{curve.name} (no {key})')
    has_plain_points = False
    for curve, x_N in _place_curves(axes, curves, key):
        measured = measured_column(curve.rows, measure)
        value_N, error_2xN = measured.value_N, measured.error_2xN
        label = curve.name or None
        axes.errorbar(x_N, value_N, error_2xN, marker='o', capsize=4, label=label, **curve.style)
        if curve.is_plain:
            continue
        for n in _plain_points(curve, results):
            has_plain_points = True
            error_2x1 = error_2xN[:, [n]]
            axes.errorbar(x_N[n], value_N[n], error_2x1, fmt='o', capsize=4, **PLAIN_DOT)
    if has_plain_points:
        axes.plot([], [], 'o', label='plain training', **PLAIN_DOT)
    chance = chance_level(results)
    axes.axhline(chance, color='grey', linestyle=':', label='chance')
    axes.set(
        xlabel=_axis_label(curves, key), ylabel=f'{measure.title}, folds pooled, mean of seeds'
    )
    ends = (min(chance, axes.dataLim.y0), axes.dataLim.y1)
    axes.set_ylim(wide_limits(*ends, least=measure.low))


def _plain_points(curve: Curve, results: dict) -> list[int]:
    """Returns which points of a curve are plain training (lam = 0)."""
    return [n for n, row in enumerate(curve.rows) if is_plain(results, row)]


def _axis_label(curves: list[Curve], key: str) -> str:
    """Returns the label of the horizontal axis; it explains a coefficient below 0."""
    values = []
    for curve in curves:
        values += collect(curve.rows, key)
    if key == 'lam' and min(values, default=0) < 0:
        return 'lam (below 0: training keeps the domain;\nabove 0: it forgets)'
    if key == 'speakers':
        return 'number of training speakers'
    return key


def _draw_leakage_axes(
    axes, curves: list[Curve], results: dict, key: str, question: str, has_names: bool = False
) -> None:
    """Draws leakage with its intervals; points that are plain training are black.

    Chance is drawn at every value, because it depends on the number of speakers. Lines have names
    in the legend if `has_names`; otherwise those of the axes above them are the same.
    """
    input_recall = None
    has_plain_points = False
    chance_by_x: dict[float, float] = {}
    for curve in curves:
        answer = ((curve.flat_row or {}).get('probe') or {}).get(question)
        if answer:
            style = {'linestyle': '--'} | curve.style
            axes.axhline(strongest_recall(answer), **style, label=f'{curve.name} (no {key})')
    for curve, x_N in _place_curves(axes, curves, key):
        leakage_N = np.full(len(curve.rows), np.nan)
        intervals = [None] * len(curve.rows)
        for n, row in enumerate(curve.rows):
            answer = (row['probe'] or {}).get(question)
            if answer:
                leakage_N[n] = strongest_recall(answer)
                intervals[n] = answer.get('ci95')
                chance_by_x[round(x_N[n])] = answer['chance']
                input_recall = strongest_recall(answer.get('input', {}))
        probed_N = np.isfinite(leakage_N)
        error_2xN = Measured.of(leakage_N, intervals).error_2xN
        bars = {'yerr': error_2xN[:, probed_N], 'marker': 'o', 'capsize': 4} | curve.style
        if has_names and curve.name:
            bars['label'] = curve.name
        axes.errorbar(np.array(x_N)[probed_N], leakage_N[probed_N], **bars)
        for n in _plain_points(curve, results):
            has_plain_points = True
            error_2x1 = error_2xN[:, [n]]
            axes.errorbar(x_N[n], leakage_N[n], error_2x1, fmt='o', capsize=4, **PLAIN_DOT)
    if has_names and has_plain_points:
        axes.plot([], [], 'o', label='plain training', **PLAIN_DOT)
    _draw_chance(axes, chance_by_x)
    if input_recall is not None and key != 'speakers':
        label = 'from the input alone'
        axes.axhline(input_recall, color='grey', linestyle='--', label=label)
    title = f'leakage of {question_title(question)}\n(strongest attacker, mean of folds)'
    axes.set(xlabel=_axis_label(curves, key), ylabel=title, ylim=(0, 1.05))


def _draw_chance(axes, chance_by_x: dict[float, float]) -> None:
    """Draws chance at every value of the hyper-parameter, as a level line where it is constant."""
    style = {'color': 'grey', 'linestyle': ':', 'label': 'chance'}
    if len(set(chance_by_x.values())) == 1:
        axes.axhline(next(iter(chance_by_x.values())), **style)
    elif chance_by_x:
        x_N, chance_N = zip(*sorted(chance_by_x.items()))
        axes.plot(x_N, chance_N, **style)


def _curve_title(results: dict) -> str:
    rows = results['summary']
    folds = folds_of_sweep(results)
    seeds = pluralize(max(collect(rows, 'seeds')), 'seed')
    speakers = tested_speakers(rows)
    measure_title = find_target(results).measure.title
    bars = f'too few tested speakers for intervals of {measure_title}'
    if speakers >= bootstrap.MIN_SPEAKERS:
        bars = f'bars: 95 % intervals of {measure_title} over {speakers} speakers'
        if _has_leakage_intervals(rows):
            bars = 'bars: 95 % intervals that resample speakers'
    title = f'{results["protocol"]}, {folds}, {seeds}; {bars}'
    return f'{title}\n{synthetic_note(results)}'.rstrip()


def _has_leakage_intervals(rows: list[dict]) -> bool:
    answers = []
    for question in HEADLINE_QUESTIONS:
        answers += probed_answers(rows, question)
    return any(answer.get('ci95') for answer in answers)

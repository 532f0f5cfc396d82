"""The section of the report page on ratings: by rating, by fold, by group, and a figure."""

from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from jaxser.analysis import bootstrap
from jaxser.analysis.finished import SweepAnalysis
from jaxser.analysis.measure import CCC
from jaxser.analysis.predictions import pool_predictions
from jaxser.analysis.statistics import ConcordanceStatistics
from jaxser.reporting import plotting
from jaxser.reporting.formats import (
    PEARSON_RMSE_NOTE,
    format_estimate,
    format_interval,
    format_number,
)
from jaxser.reporting.html import Picture, Section, cells_table, html_figures, html_paragraph
from jaxser.reporting.sections import NO_COMPLETE_SETTING

MEAN = 'mean'  # over the ratings
MAX_SETTINGS = 10  # in the table of ratings; of more, the best and plain training are shown
MAX_POINTS = 600  # in the figure; more would make the page large
POINT_SIZE, POINT_OPACITY = 9.0, 0.4
PNG_PANEL_WIDTH = 4.2  # inches
SCALE = (-1.05, 1.05)  # the axes: ratings are from -1 to 1


def ratings_section(analysis: SweepAnalysis) -> Section | None:
    """Returns how well each rating is predicted; None where no ratings are predicted."""
    if not analysis.ratings:
        return None
    if not analysis.best_row:
        return Section('ratings', 'Ratings', html_paragraph(NO_COMPLETE_SETTING))
    body = _rating_table(analysis)
    body += _scatter_figure(analysis)
    body += _fold_table(analysis)
    body += _group_tables(analysis)
    return Section('ratings', 'Ratings', body)


def _rating_table(analysis: SweepAnalysis) -> Markup:
    """Returns the figures of each rating in every setting.

    Of more than MAX_SETTINGS, only the best setting and plain training are shown.
    """
    cells_by_row, highlighted = [], []
    differences = _differences_to_plain(analysis)
    rows = [row for row in analysis.rows if row['ccc'] is not None]
    if len(rows) > MAX_SETTINGS:
        rows = list(analysis.compared_pair.values())
    for rating, difference in differences.items():
        for row in rows:
            title = analysis.setting_title(row)
            is_best = row is analysis.best_row
            if is_best:
                highlighted.append(len(cells_by_row))
            figures = row if rating == MEAN else row['ratings'][rating]
            cells = _figure_cells(figures, difference if is_best else None)
            cells_by_row.append([('rating', rating), ('setting', title), *cells])
    difference_note = 'vs plain: minus the CCC of plain training.' if analysis.plain_row else ''
    highlight_note = 'Highlighted: the setting that this report is about.' if len(rows) > 1 else ''
    note = html_paragraph(
        'CCC: concordance correlation coefficient, 1 if predicted and rated values are equal, 0 by '
        'guessing.',
        PEARSON_RMSE_NOTE,
        'Folds pooled, mean over seeds. 95 %: speakers are resampled.',
        difference_note,
        highlight_note,
    )
    return cells_table('Figures of each rating', cells_by_row, highlighted) + note


def _differences_to_plain(analysis: SweepAnalysis) -> dict[str, bootstrap.Estimate | None]:
    """Returns the difference in CCC to plain training of each rating, and of several their mean.

    It is None where there is no plain training.
    """
    names = [*analysis.ratings, MEAN] if len(analysis.ratings) > 1 else analysis.ratings
    differences: dict[str, bootstrap.Estimate | None] = dict.fromkeys(names)
    if analysis.plain_row:
        best = analysis.statistics(analysis.best_row, CCC)
        plain = analysis.statistics(analysis.plain_row, CCC)
        for n, rating in enumerate(analysis.ratings):
            pair = best.select_rating(n), plain.select_rating(n)
            differences[rating] = bootstrap.difference_estimate(*pair, with_p=False)
        if MEAN in differences:
            differences[MEAN] = bootstrap.difference_estimate(best, plain, with_p=False)
    return differences


def _figure_cells(figures: dict, difference: bootstrap.Estimate | None) -> list[tuple[str, str]]:
    """Returns the cells of a rating, or of their mean; `difference` is that of CCC to plain."""
    difference_text, difference_interval = format_estimate(difference, '+z.3f')
    return [
        ('CCC', format_number(figures['ccc'])),
        ('95 %', format_interval(figures['ccc_ci95'])),
        ('vs plain', difference_text),
        ('95 %', difference_interval),
        ('Pearson', format_number(figures['pearson'])),
        ('RMSE', format_number(figures['rmse'])),
    ]


def _fold_table(analysis: SweepAnalysis) -> Markup:
    """Returns the CCC of each fold by itself, mean over seeds."""
    runs_by_fold = _runs_by_fold(analysis, analysis.best_row)
    plain_by_fold = _runs_by_fold(analysis, analysis.plain_row)
    compared = MEAN if len(analysis.ratings) > 1 else analysis.ratings[0]
    cells_by_row = []
    for fold, runs in sorted(runs_by_fold.items()):
        cells = [('fold', analysis.results['folds'][fold]), ('utterances', runs[0]['test']['n'])]
        for rating in analysis.ratings:
            values = [run['test']['ratings'][rating]['ccc'] for run in runs]
            cells.append((rating, format_number(np.mean(values))))
        if len(analysis.ratings) > 1:
            cells.append((MEAN, _mean_concordance(runs)))
        cells.append((f'{compared} plain', _mean_concordance(plain_by_fold.get(fold, []))))
        cells_by_row.append(cells)
    title = analysis.setting_title(analysis.best_row)
    note = html_paragraph(f'CCC of {title}, each fold by itself, mean over seeds.')
    return cells_table('CCC by fold', cells_by_row) + note


def _runs_by_fold(analysis: SweepAnalysis, row: dict | None) -> dict[int, list[dict]]:
    """Returns the complete runs of a setting by their fold; {} without a setting."""
    runs_by_fold: dict[int, list[dict]] = {}
    for run in analysis.complete_runs(row) if row else ():
        runs_by_fold.setdefault(run['hyper']['fold'], []).append(run)
    return runs_by_fold


def _mean_concordance(runs: list[dict]) -> str:
    """Returns the mean CCC of runs as text; '' if there are none."""
    return format_number(np.mean([run['test']['ccc'] for run in runs])) if runs else ''


def _group_tables(analysis: SweepAnalysis) -> Markup:
    """Returns the CCC of each rating by corpus, language and sex."""
    statistics = analysis.statistics(analysis.best_row, CCC)
    tables = Markup('')
    for kind in ('corpus', 'language', 'sex'):
        masks = analysis.speaker_groups(kind)
        if len(masks) < 2:
            continue
        cells_by_row = []
        for group, mask_S in masks.items():
            own = statistics.select_speakers(mask_S)
            cells = [(kind, group), ('speakers', own.speakers), ('utterances', own.utterances)]
            cells_by_row.append(cells + _group_cells(analysis.ratings, own))
        tables += cells_table(f'CCC of each rating by {kind}', cells_by_row)
    return tables


def _group_cells(ratings: list[str], statistics: ConcordanceStatistics) -> list[tuple[str, str]]:
    """Returns the CCC of each rating of a group, with its interval."""
    cells = []
    for n, rating in enumerate(ratings):
        estimate = bootstrap.measure_estimate(statistics.select_rating(n))
        value, interval = format_estimate(estimate)
        cells += [(rating, value), ('95 %', interval)]
    return cells


class RatedPanel(NamedTuple):
    """Predicted against rated values of one rating, N of them."""

    title: str
    truth_N: np.ndarray
    predicted_N: np.ndarray


def _rated_panels(analysis: SweepAnalysis) -> list[RatedPanel]:
    """Returns a panel for each rating: the best setting, all folds and seeds."""
    row = analysis.best_row
    pooled = pool_predictions(map(analysis.run_predictions, analysis.complete_runs(row)))
    panels = []
    for n, rating in enumerate(analysis.ratings):
        title = f'{rating}: CCC {row["ratings"][rating]["ccc"]:.3f}'
        panels.append(RatedPanel(title, pooled.truth_NxA[:, n], pooled.rating_NxA[:, n]))
    return panels


def _scatter_figure(analysis: SweepAnalysis) -> Markup:
    """Returns the figures of predicted against rated values, one for each rating."""
    title = analysis.setting_title(analysis.best_row)
    pictures = []
    for rating, panel in zip(analysis.ratings, _rated_panels(analysis)):
        alt = f'Predicted against rated {rating} of {title}'
        pictures.append(Picture(alt, draw_rated_panel, (panel,)))
    return html_figures(
        f'Predicted against rated values of {title}: test parts of all folds and seeds (at most '
        f'{MAX_POINTS} points are shown). Dotted: equal. Orange: the least-squares line, which is '
        'flatter where predictions stay near their mean.',
        pictures,
    )


def ratings_png(analysis: SweepAnalysis) -> bytes | None:
    """Returns predicted against rated values as a PNG file; None without ratings."""
    if not analysis.ratings or not analysis.best_row:
        return None
    return plotting.render_png(draw_rated_panels, _rated_panels(analysis))


def draw_rated_panel(panel: RatedPanel):
    """Draws predicted against rated values of one rating."""
    figure, ((axes,),) = plotting.make_figure(plotting.PANEL_WIDTH, plotting.PANEL_WIDTH)
    _draw_rated(axes, panel)
    return figure


def draw_rated_panels(panels: list[RatedPanel]):
    """Draws predicted against rated values, the ratings side by side."""
    width = PNG_PANEL_WIDTH * len(panels)
    figure, grid = plotting.make_figure(width, PNG_PANEL_WIDTH, 1, len(panels))
    for axes, panel in zip(grid.flat, panels):
        _draw_rated(axes, panel)
    return figure


def _draw_rated(axes, panel: RatedPanel) -> None:
    """Draws points, the diagonal, and the least-squares line of all values."""
    shown = np.random.default_rng(0).permutation(len(panel.truth_N))[:MAX_POINTS]
    axes.scatter(
        panel.truth_N[shown],
        panel.predicted_N[shown],
        s=POINT_SIZE,
        alpha=POINT_OPACITY,
        color='C0',
        linewidths=0,
    )
    axes.plot(SCALE, SCALE, color='0.2', linestyle=':', zorder=3)
    if np.ptp(panel.truth_N) > 0:
        slope, offset = np.polyfit(panel.truth_N, panel.predicted_N, 1)
        ends = np.array([panel.truth_N.min(), panel.truth_N.max()])
        axes.plot(ends, slope * ends + offset, color='C1', zorder=4)
    axes.set(title=panel.title, xlabel='rated', ylabel='predicted', xlim=SCALE, ylim=SCALE)
    axes.set_aspect('equal')

"""The figures of a sweep; matplotlib takes a second to import, so it is imported where a figure is drawn."""

import io
import textwrap
import warnings
from collections.abc import Container

import numpy as np

from data_pipelines.wording import pluralize
from jaxser import runs
from jaxser.analysis import bootstrap, calibration, summary

MAX_INSIDE_LEGEND = 5  # lines whose legend lies among them
MAX_COLOURS = 10  # settings with a colour of their own
MAX_NAMED_SPEAKERS = 12  # speakers that a legend names
PLAIN_COLOUR = 'black'  # of plain training, and of no other setting
PLAIN_DOT = {'color': PLAIN_COLOUR, 'zorder': 4}  # over the line of its method, at lam = 0
DISTINCT_COLOURS = (
    'C0',
    'C1',
    'C2',
    'C3',
    'C4',
    'C5',
    'C6',
    'C8',
    'C9',
)  # C7 is the grey of reference lines
NO_FIGURE_TEXT = 'In every setting a fold diverged in every seed:\nthere is nothing to draw.'


def render_png(draw, *arguments) -> bytes:
    """The file of the figure that `draw` makes; names in it are never formulas, and may be in any script."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({'text.parse_math': False}), warnings.catch_warnings():
        warnings.filterwarnings(
            'ignore', 'Glyph .* missing'
        )  # an empty box in the picture; the tables have the name
        draw(*arguments).savefig(content, dpi=110, bbox_inches='tight', format='png')
    return content.getvalue()


def _make_figure(width: float, height: float, row_count: int = 1, column_count: int = 1):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(row_count, column_count, squeeze=False)


def line_styles(names: list[str], plain: Container[str]) -> dict[str, dict]:
    """Returns how every setting is drawn, as keywords of a line.

    Those in `plain`, which are plain training, are black and differ by their dashes. All others
    have colours of their own, however many there are, and none of them is black or grey.
    """
    others = [name for name in names if name not in plain]
    style = dict(zip(others, [{'color': colour} for colour in _colours(len(others))]))
    for n, name in enumerate(name for name in names if name in plain):
        style[name] = {'color': PLAIN_COLOUR, 'linestyle': (0, (4, 2, *([1, 2] * n)))}
    return style


def _colours(count: int) -> list:
    """Returns distinct colours (up to 200 of them), neither black nor grey."""
    if count <= len(DISTINCT_COLOURS):
        return list(DISTINCT_COLOURS[:count])
    import matplotlib

    return list(matplotlib.colormaps['turbo'](np.linspace(0.1, 0.95, count)))


def is_plain(results: dict, row: dict) -> bool:
    """Whether a row of the summary is plain training: erm, or an adversary at lam = 0."""
    kind = {'method': results['method'].partition(' ')[0], 'speaker_norm': 'tap'}
    return runs.method_name(kind | row) in summary.PLAIN_METHODS


def draw_placeholder():
    """The figure of a sweep in which no setting has all its folds."""
    figure, ((axes,),) = _make_figure(5.6, 1.6)
    axes.set_axis_off()
    axes.text(0.5, 0.5, NO_FIGURE_TEXT, ha='center', va='center', transform=axes.transAxes)
    return figure


def _add_legend(axes, size: int) -> None:
    """Where there is something to name; matplotlib keeps names that begin with an underscore to itself."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=size)


def curve_key(results: dict) -> str | None:
    """The hyper-parameter that a curve is drawn against, if one with numbers is swept; lam before others."""
    rows = results['summary']
    swept = [k for k in rows[0] if k not in summary.RESULT_KEYS]
    numbers = [
        k
        for k in swept
        if len(values := runs.distinct_values(rows, k)) > 1 and isinstance(values[0], int | float)
    ]
    return next((k for k in ('lam', *numbers) if k in numbers), None)


def draw_confusion_matrices(results: dict):
    """Confusion matrices in percent of the truth, one per row of the summary."""
    rows, classes = [r for r in results['summary'] if r['confusion']], results['classes']
    if not rows:
        return draw_placeholder()
    across, newline = min(len(rows), 3), '\n'
    down = -(-len(rows) // across)
    side = max(3.2, 0.55 * len(classes) + 1.6)
    figure, grid = _make_figure(side * across, side * down + 0.4, down, across)
    for axes, row in zip(grid.flat, rows):
        _draw_matrix(axes, _row_percentages(row['confusion']), classes, classes)
        name = runs.setting_title(row, [k for k in row if k not in summary.RESULT_KEYS]).replace(
            ', ', newline
        )
        axes.set(
            xlabel='predicted',
            ylabel='truth',
            title=f'{name}{newline if name else ""}UAR {row["uar"]:.3f}',
        )
    for axes in figure.axes[len(rows) :]:
        axes.set_axis_off()
    folds, seeds = pluralize(len(results['folds']), 'fold'), pluralize(rows[0]['seeds'], 'seed')
    title = f'Percent of the truth; {results["protocol"]}, test parts of {folds} pooled, {seeds}'
    figure.suptitle('\n'.join(filter(None, (title, runs.synthetic_note(results)))), fontsize=9)
    return figure


def _row_percentages(count_CxC) -> np.ndarray:
    """Of the truth; NaN where a class is absent from it."""
    count_CxC = np.array(count_CxC)
    return 100 * count_CxC / np.where(said := count_CxC.sum(1, keepdims=True), said, np.nan)


def _draw_matrix(
    axes,
    value,
    rows: list[str],
    columns: list[str],
    number_format: str = '.0f',
    low=0.0,
    high=100.0,
    cmap='Blues',
) -> None:
    """Numbers on colours; what is NaN stays white."""
    value = np.array(value, float)
    image = axes.imshow(value, vmin=low, vmax=high, cmap=cmap, aspect='equal')
    for i, j in zip(*np.nonzero(np.isfinite(value))):
        dark = sum(image.cmap(image.norm(value[i, j]))[:3]) < 1.5
        axes.text(
            j,
            i,
            f'{value[i, j]:{number_format}}',
            ha='center',
            va='center',
            color='white' if dark else 'black',
        )
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha='right')
    axes.set_yticks(range(len(rows)), rows)


def draw_curve(results: dict, key: str):
    """UAR and, where the probe has run, leakage against a hyper-parameter, a line for each combination of the others."""
    swept = [k for k in results['summary'][0] if k not in summary.RESULT_KEYS]
    probed = any(r['probe'] and 'speaker' in r['probe'] for r in results['summary'])
    lines: dict[str, list[dict]] = {}
    for row in results['summary']:
        if row['uar'] is not None:
            lines.setdefault(runs.setting_title(row, [k for k in swept if k != key]), []).append(
                row
            )
    if not lines:
        return draw_placeholder()
    apart = len(lines) > MAX_INSIDE_LEGEND  # the legend, which would lie over the lines
    figure, grid = _make_figure(5.6, 4.2 + 3.2 * probed + 0.09 * len(lines) * apart, 1 + probed)
    axes = grid[0, 0]
    plain = {name for name, rows in lines.items() if all(is_plain(results, r) for r in rows)}
    style = line_styles(list(lines), plain)
    flat = {
        name: rows.pop(0) for name, rows in lines.items() if rows[0][key] is None
    }  # has no coefficient
    for name, row in flat.items():
        axes.axhline(row['uar'], **({'linestyle': '--'} | style[name]), label=f'{name} (no {key})')
    lines = {name: rows for name, rows in lines.items() if rows}
    values = sorted({row[key] for rows in lines.values() for row in rows})
    for n, (name, rows) in enumerate(lines.items()):
        rows = sorted(rows, key=lambda r: r[key])
        at = [
            values.index(r[key]) + 0.03 * (n - (len(lines) - 1) / 2) for r in rows
        ]  # evenly: 0 has no logarithm
        mean = np.array([r['uar'] for r in rows])
        ends = np.array([r['uar_ci95'] or [m, m] for r, m in zip(rows, mean)])
        yerr_2xN = np.stack([mean - ends[:, 0], ends[:, 1] - mean])
        axes.errorbar(
            at, mean, yerr=yerr_2xN, marker='o', capsize=4, label=name or None, **style[name]
        )
        for i, row in enumerate(rows):
            if is_plain(results, row) and name not in plain:  # lam = 0 of this line
                axes.errorbar(
                    at[i], mean[i], yerr=yerr_2xN[:, [i]], fmt='o', capsize=4, **PLAIN_DOT
                )
        if probed:
            _draw_leakages(grid[1, 0], results, at, rows, style[name])
    mixed = [rows for name, rows in lines.items() if name not in plain]
    if any(is_plain(results, row) for rows in mixed for row in rows):
        axes.plot([], [], 'o', label='plain training', **PLAIN_DOT)
    axes.axhline(1 / len(results['classes']), color='grey', linestyle=':', label='chance')
    axes.set_xticks(range(len(values)), [runs.format_value(v) for v in values])
    axes.set(xlabel=key, ylabel='UAR, folds pooled, mean of seeds')
    if apart:
        figure.legend(
            *axes.get_legend_handles_labels(), fontsize=7, loc='outside lower center', ncols=2
        )
    else:
        _add_legend(axes, 8)
    if probed:
        of = next(
            r['probe']['speaker']
            for r in results['summary']
            if r['probe'] and 'speaker' in r['probe']
        )
        grid[1, 0].axhline(of['chance'], color='grey', linestyle=':', label='chance')
        grid[1, 0].axhline(
            of['input']['linear'], color='grey', linestyle='--', label='from the input alone'
        )
        grid[1, 0].set_xticks(range(len(values)), [runs.format_value(v) for v in values])
        grid[1, 0].set(
            xlabel=key,
            ylabel='leakage: speaker recall, mean of folds',
            ylim=(0, 1.05),
            xlim=axes.get_xlim(),
        )
        _add_legend(grid[1, 0], 8)
    folds, seeds = len(results['folds']), max(r['seeds'] for r in results['summary'])
    speakers = next((r['tested_speakers'] for r in results['summary'] if r['tested_speakers']), 0)
    bars = (
        f'bars: 95 % intervals over {speakers} speakers'
        if speakers >= bootstrap.MIN_SPEAKERS
        else 'too few speakers for intervals'
    )
    figure.suptitle(
        f'{results["protocol"]}, {pluralize(folds, "fold")}, {pluralize(seeds, "seed")}; {bars}'
        + f'\n{runs.synthetic_note(results)}'.rstrip(),
        fontsize=9,
    )
    return figure


def _draw_leakages(axes, results: dict, at: list[float], rows: list[dict], style: dict) -> None:
    """Draws the leakage of one line of `curve`, over the probed rows; plain training as black dots."""
    points = []
    for x, row in zip(at, rows):
        if row['probe'] and 'speaker' in row['probe']:
            points.append((x, row['probe']['speaker']['linear'], is_plain(results, row)))
    axes.plot([x for x, *_ in points], [y for _, y, _ in points], marker='o', **style)
    plain = [point for point in points if point[2]]
    axes.plot([x for x, *_ in plain], [y for _, y, _ in plain], 'o', **PLAIN_DOT)


def pareto_front(uar_N: np.ndarray, leakage_N: np.ndarray) -> np.ndarray:
    """best_N: which points no other surpasses, with no less UAR and no more leakage (Pareto's front)."""
    no_worse_NxN = (uar_N[None] >= uar_N[:, None]) & (leakage_N[None] <= leakage_N[:, None])
    better_NxN = (uar_N[None] > uar_N[:, None]) | (leakage_N[None] < leakage_N[:, None])
    return ~(no_worse_NxN & better_NxN).any(1)


def draw_tradeoff(
    names: list[str],
    plain_N: np.ndarray,
    uar_N: np.ndarray,
    leakage_N: np.ndarray,
    chance: float,
    input_leakage: float,
):
    """UAR against leakage, a point a setting, and the front of those that no other surpasses; plain training is black."""
    figure, ((axes,),) = _make_figure(5.6, 4.4)
    best_N = pareto_front(uar_N, leakage_N)
    order = np.flatnonzero(best_N)[np.argsort(leakage_N[best_N])]
    if len(order) > 1:
        axes.plot(
            leakage_N[order],
            uar_N[order],
            color='C0',
            alpha=0.5,
            drawstyle='steps-post',
            label="Pareto's front",
        )
    colours = np.where(plain_N, PLAIN_COLOUR, np.where(best_N, 'C0', 'grey'))
    axes.scatter(leakage_N, uar_N, color=colours, zorder=3)
    if np.any(plain_N):
        axes.scatter([], [], color=PLAIN_COLOUR, label='plain training')
    for n in np.flatnonzero(best_N) if len(names) > MAX_COLOURS else range(len(names)):
        axes.annotate(
            names[n],
            (leakage_N[n], uar_N[n]),
            textcoords='offset points',
            xytext=(5, 4),
            fontsize=7,
        )
    axes.axvline(chance, color='grey', linestyle=':', label='chance')
    axes.axvline(input_leakage, color='grey', linestyle='--', label='from the input alone')
    axes.set(
        xlabel='leakage: speaker recall, linear, mean of folds',
        ylabel='UAR, folds pooled',
        xlim=(0, 1.05),
    )
    reach = max(np.ptp(uar_N), 0.02)  # a point or two of UAR shall not look like much
    axes.set_ylim(uar_N.min() - 0.3 * reach, uar_N.max() + 0.3 * reach)
    figure.legend(
        *axes.get_legend_handles_labels(), fontsize=8, loc='outside lower center', ncols=3
    )
    return figure


def draw_forest_plot(names: list[str], difference_ZxS: np.ndarray, overall: bootstrap.Estimate):
    """Every speaker's difference, mean over seeds and their range, and that of all with its interval."""
    S = len(names)
    figure, ((axes,),) = _make_figure(5.6, min(1.4 + 0.24 * S, 16))
    mean_S = difference_ZxS.mean(0)
    order = np.argsort(mean_S)
    axes.hlines(
        np.arange(S) + 1,
        difference_ZxS.min(0)[order],
        difference_ZxS.max(0)[order],
        color='C0',
        alpha=0.4,
    )
    axes.plot(mean_S[order], np.arange(S) + 1, 'o', color='C0', markersize=4)
    axes.axvline(0, color='grey', linewidth=0.8)
    if overall.ci95:
        axes.hlines(0, *overall.ci95, color='black', linewidth=2)
    axes.plot(overall.value, 0, 'D', color='black')
    label = 'all' + (', 95 %' if overall.ci95 else '')
    read = (
        [names[n] for n in order] if S <= 100 else [''] * S
    )  # more cannot be read; the table has them
    axes.set_yticks(range(S + 1), [label, *read], fontsize=8 if S < 50 else 5)
    bars = '; bars: range over seeds' if len(difference_ZxS) > 1 else ''
    axes.set(xlabel=f'UAR minus that of plain training, folds pooled{bars}', ylim=(-0.8, S + 0.8))
    return figure


def draw_training_curves(
    curves: dict[str, dict[str, list]],
    entropy: dict[str, float],
    highlighted: list[str],
    plain: Container[str],
):
    """Training of every setting: {setting: {metric: a mean per epoch}}.

    `highlighted` are in the legend, others are light grey; those in `plain` are plain training.
    """
    metrics = list(dict.fromkeys(k for of in curves.values() for k in of))
    figure, grid = _make_figure(5.6, 2.3 * len(metrics) + 0.5, len(metrics))
    style = line_styles(highlighted, plain)
    for axes, metric in zip(grid.flat, metrics):
        for name, of in sorted(curves.items(), key=lambda item: item[0] in style):
            value = [np.nan if v is None else v for v in of.get(metric, [])]
            if not np.isfinite(value).any():
                continue
            how = {'color': 'lightgrey', 'linewidth': 0.8}
            if name in style:
                how = style[name] | {'label': name}
            axes.plot(np.arange(len(value)) + 1, value, **how)
        domain = metric.removesuffix('_loss')
        if domain in entropy:
            axes.axhline(
                entropy[domain], color='grey', linestyle=':', label=f'{domain} entropy: guessing'
            )
        axes.set_ylabel(metric.replace('_', ' ').replace('uar', 'UAR'))
        _add_legend(axes, 7)
    grid[-1, 0].set_xlabel('epoch')
    return figure


def draw_confusion_difference(best, plain, names: tuple[str, str], classes: list[str]):
    """Two confusion matrices in percent of the truth, and their difference in points."""
    side = max(3.2, 0.5 * len(classes) + 1.6)
    figure, ((one, other, less),) = _make_figure(3 * side, side + 0.3, 1, 3)
    for axes, count, name in ((one, best, names[0]), (other, plain, names[1])):
        _draw_matrix(axes, _row_percentages(count), classes, classes)
        axes.set(xlabel='predicted', ylabel='truth', title='\n'.join(textwrap.wrap(name, 28)))
    difference = _row_percentages(best) - _row_percentages(plain)
    reach = max(np.nanmax(np.abs(difference)), 10.0)  # a point or two shall not look like much
    _draw_matrix(less, difference, classes, classes, '+.0f', -reach, reach, 'RdBu')
    less.set(xlabel='predicted', ylabel='truth', title='difference, points')
    return figure


def draw_representation_maps(
    maps: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
):
    """Representations in two dimensions, {setting: (place_Nx2, emotion_N, speaker_N, tested_N)}, by emotion and by speaker."""
    import matplotlib

    figure, grid = _make_figure(4.2 * len(maps), 8.6, 2, len(maps))
    for n, (name, (place_Nx2, *coloured, tested_N)) in enumerate(maps.items()):
        for axes, label_N, what in zip(grid[:, n], coloured, ('emotion', 'speaker')):
            values, index_N = np.unique(label_N, return_inverse=True)
            colours = matplotlib.colormaps['tab10' if len(values) <= MAX_COLOURS else 'turbo']
            for k, value in enumerate(values.tolist()):
                colour = [colours(k if len(values) <= MAX_COLOURS else k / len(values))]
                for marker, some in (('o', ~tested_N), ('x', tested_N)):
                    at = place_Nx2[(index_N == k) & some].T
                    axes.scatter(
                        *at,
                        s=9,
                        c=colour,
                        marker=marker,
                        linewidths=0.8,
                        label=value if marker == 'o' else None,
                    )
            if len(values) <= MAX_NAMED_SPEAKERS:
                _add_legend(axes, 6)
            axes.set(title=f'{name}\nby {what}', xticks=[], yticks=[])
    return figure


def draw_reliability_diagram(
    reliabilities: dict[str, calibration.Reliability], plain: Container[str]
):
    """Accuracy against confidence, a line for each setting; the diagonal says what is meant."""
    figure, ((axes,),) = _make_figure(5.2, 4.6)
    axes.plot([0, 1], [0, 1], color='grey', linestyle=':', label='calibrated')
    style = line_styles(list(reliabilities), plain)
    for name, r in reliabilities.items():
        axes.plot(
            r.confidence_B, r.accuracy_B, **style[name], label=f'{name}: ECE {r.expected_error:.3f}'
        )
        area_B = 10 + 400 * r.share_B
        axes.scatter(r.confidence_B, r.accuracy_B, s=area_B, color=style[name]['color'], alpha=0.6)
    axes.set(
        xlabel='confidence',
        ylabel='accuracy; areas: share of utterances',
        xlim=(0, 1.03),
        ylim=(-0.03, 1.03),
    )
    _add_legend(axes, 8)
    return figure


def draw_heatmap(
    value,
    rows: list[str],
    columns: list[str],
    axis_labels: tuple[str, str],
    chance: float,
    what: str = 'UAR',
):
    """UAR of every row in every column; NaN where it was not measured. `what` says over what it is a mean."""
    figure, ((axes,),) = _make_figure(
        max(3.6, 0.8 * len(columns) + 2.6), max(2.6, 0.55 * len(rows) + 1.8)
    )
    _draw_matrix(axes, value, rows, columns, '.3f', chance, max(np.nanmax(value), chance + 0.01))
    axes.set(ylabel=axis_labels[0], xlabel=axis_labels[1], title=what)
    return figure

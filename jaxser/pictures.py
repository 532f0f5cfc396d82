"""The figures of a sweep; matplotlib takes a second to import, so it is imported where a figure is drawn."""

import io
import textwrap
import warnings

import numpy as np

from jaxser import calibration, statistics, summary, sweep
from jaxser.sweep import many

FEW = 5  # lines whose legend lies among them
MOST = 10  # settings with a colour of their own
NAMED = 12  # speakers that a legend names


def png(draw, *of) -> bytes:
    """The file of the figure that `draw` makes; names in it are never formulas, and may be in any script."""
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({'text.parse_math': False}), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')  # an empty box in the picture; the tables have the name
        draw(*of).savefig(content, dpi=110, bbox_inches='tight', format='png')
    return content.getvalue()


def _figure(width: float, height: float, down: int = 1, across: int = 1):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(down, across, squeeze=False)


def _legend(axes, size: int) -> None:
    """Where there is something to name; matplotlib keeps names that begin with an underscore to itself."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=size)


def axis(results: dict) -> str | None:
    """The hyper-parameter that a curve is drawn against, if one with numbers is swept; lam before others."""
    rows = results['summary']
    swept = [k for k in rows[0] if k not in summary.FIGURES]
    numbers = [k for k in swept if len(values := sweep.different(rows, k)) > 1 and isinstance(values[0], int | float)]
    return next((k for k in ('lam', *numbers) if k in numbers), None)


def confusion_matrices(results: dict):
    """Confusion matrices in percent of the truth, one per row of the summary."""
    rows, classes = [r for r in results['summary'] if r['confusion']], results['classes']
    across, newline = min(len(rows), 3), '\n'
    down = -(-len(rows) // across)
    side = max(3.2, 0.55 * len(classes) + 1.6)
    figure, grid = _figure(side * across, side * down + 0.4, down, across)
    for axes, row in zip(grid.flat, rows):
        _matrix(axes, _percent(row['confusion']), classes, classes)
        name = summary.title(row, [k for k in row if k not in summary.FIGURES]).replace(', ', newline)
        axes.set(xlabel='predicted', ylabel='truth', title=f'{name}{newline if name else ""}UAR {row["uar"]:.3f}')
    for axes in figure.axes[len(rows) :]:
        axes.set_axis_off()
    folds, seeds = many(len(results['folds']), 'fold'), many(rows[0]['seeds'], 'seed')
    title = f'Percent of the truth; {results["protocol"]}, test parts of {folds}, {seeds}'
    figure.suptitle(title + ('\n' + summary.SYNTHETIC if results['synthetic'] else ''), fontsize=9)
    return figure


def _percent(count_CxC) -> np.ndarray:
    """Of the truth; NaN where a class is absent from it."""
    count_CxC = np.array(count_CxC)
    return 100 * count_CxC / np.where(said := count_CxC.sum(1, keepdims=True), said, np.nan)


def _matrix(axes, value, rows: list[str], columns: list[str], form: str = '.0f', low=0.0, high=100.0, cmap='Blues') -> None:
    """Numbers on colours; what is NaN stays white."""
    value = np.array(value, float)
    image = axes.imshow(value, vmin=low, vmax=high, cmap=cmap, aspect='equal')
    for i, j in zip(*np.nonzero(np.isfinite(value))):
        dark = sum(image.cmap(image.norm(value[i, j]))[:3]) < 1.5
        axes.text(j, i, f'{value[i, j]:{form}}', ha='center', va='center', color='white' if dark else 'black')
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha='right')
    axes.set_yticks(range(len(rows)), rows)


def curve(results: dict, axis: str):
    """UAR and, where the probe has run, leakage against a hyper-parameter, a line for each combination of the others."""
    swept = [k for k in results['summary'][0] if k not in summary.FIGURES]
    probed = any(r['probe'] and 'speaker' in r['probe'] for r in results['summary'])
    lines: dict[str, list[dict]] = {}
    for row in results['summary']:
        if row['uar'] is not None:
            lines.setdefault(summary.title(row, [k for k in swept if k != axis]), []).append(row)
    apart = len(lines) > FEW  # the legend, which would lie over the lines
    figure, grid = _figure(5.6, 4.2 + 3.2 * probed + 0.09 * len(lines) * apart, 1 + probed)
    axes = grid[0, 0]
    plain = {name: rows.pop(0) for name, rows in lines.items() if rows[0][axis] is None}  # has no coefficient
    for n, (name, row) in enumerate(plain.items()):
        axes.axhline(row['uar'], linestyle='--', color=f'C{len(lines) - 1 - n}', label=f'{name} (no {axis})')
    lines = {name: rows for name, rows in lines.items() if rows}
    values = sorted({row[axis] for rows in lines.values() for row in rows})
    for n, (name, rows) in enumerate(lines.items()):
        rows = sorted(rows, key=lambda r: r[axis])
        at = [values.index(r[axis]) + 0.03 * (n - (len(lines) - 1) / 2) for r in rows]  # evenly: 0 has no logarithm
        mean = np.array([r['uar'] for r in rows])
        ends = np.array([r['uar_ci95'] or [m, m] for r, m in zip(rows, mean)])
        axes.errorbar(at, mean, yerr=[mean - ends[:, 0], ends[:, 1] - mean], marker='o', capsize=4, label=name or None)
        if probed:
            tells = [(x, r['probe']['speaker']['linear']) for x, r in zip(at, rows) if r['probe'] and 'speaker' in r['probe']]
            grid[1, 0].plot(*zip(*tells) if tells else ((), ()), marker='o', color=f'C{n}')
    axes.axhline(1 / len(results['classes']), color='grey', linestyle=':', label='chance')
    axes.set_xticks(range(len(values)), [sweep.word(v) for v in values])
    axes.set(xlabel=axis, ylabel='UAR, folds pooled, mean of seeds')
    if apart:
        figure.legend(*axes.get_legend_handles_labels(), fontsize=7, loc='outside lower center', ncols=2)
    else:
        _legend(axes, 8)
    if probed:
        of = next(r['probe']['speaker'] for r in results['summary'] if r['probe'] and 'speaker' in r['probe'])
        grid[1, 0].axhline(of['chance'], color='grey', linestyle=':', label='chance')
        grid[1, 0].axhline(of['input']['linear'], color='grey', linestyle='--', label='from the input alone')
        grid[1, 0].set_xticks(range(len(values)), [sweep.word(v) for v in values])
        grid[1, 0].set(xlabel=axis, ylabel='leakage: speakers told apart', ylim=(0, 1.05), xlim=axes.get_xlim())
        _legend(grid[1, 0], 8)
    folds, seeds = len(results['folds']), max(r['seeds'] for r in results['summary'])
    speakers = next((r['tested_speakers'] for r in results['summary'] if r['tested_speakers']), 0)
    bars = f'bars: 95 % intervals over {speakers} speakers' if speakers >= statistics.FEWEST else 'too few speakers for intervals'
    figure.suptitle(
        f'{results["protocol"]}, {many(folds, "fold")}, {many(seeds, "seed")}; {bars}'
        + ('\n' + summary.SYNTHETIC if results['synthetic'] else ''),
        fontsize=9,
    )
    return figure


def front(uar_N: np.ndarray, leakage_N: np.ndarray) -> np.ndarray:
    """best_N: which points no other surpasses, with no less UAR and no more leakage (Pareto's front)."""
    no_worse_NxN = (uar_N[None] >= uar_N[:, None]) & (leakage_N[None] <= leakage_N[:, None])
    better_NxN = (uar_N[None] > uar_N[:, None]) | (leakage_N[None] < leakage_N[:, None])
    return ~(no_worse_NxN & better_NxN).any(1)


def trade(names: list[str], uar_N: np.ndarray, leakage_N: np.ndarray, chance: float, raw: float):
    """UAR against leakage, a point a setting, and the front of those that no other surpasses."""
    figure, ((axes,),) = _figure(5.6, 4.4)
    best_N = front(uar_N, leakage_N)
    order = np.flatnonzero(best_N)[np.argsort(leakage_N[best_N])]
    if len(order) > 1:
        axes.plot(leakage_N[order], uar_N[order], color='C0', alpha=0.5, drawstyle='steps-post', label="Pareto's front")
    axes.scatter(leakage_N, uar_N, color=np.where(best_N, 'C0', 'grey'), zorder=3)
    for n in np.flatnonzero(best_N) if len(names) > MOST else range(len(names)):
        axes.annotate(names[n], (leakage_N[n], uar_N[n]), textcoords='offset points', xytext=(5, 4), fontsize=7)
    axes.axvline(chance, color='grey', linestyle=':', label='chance')
    axes.axvline(raw, color='grey', linestyle='--', label='from the input alone')
    axes.set(xlabel='leakage: speakers told apart by a linear classifier', ylabel='UAR', xlim=(0, 1.05))
    reach = max(np.ptp(uar_N), 0.02)  # a point or two of UAR shall not look like much
    axes.set_ylim(uar_N.min() - 0.3 * reach, uar_N.max() + 0.3 * reach)
    figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc='outside lower center', ncols=3)
    return figure


def forest(names: list[str], difference_ZxS: np.ndarray, whole: statistics.Estimate):
    """Every speaker's difference, mean over seeds and their range, and that of all with its interval."""
    S = len(names)
    figure, ((axes,),) = _figure(5.6, min(1.4 + 0.24 * S, 16))
    mean_S = difference_ZxS.mean(0)
    order = np.argsort(mean_S)
    axes.hlines(np.arange(S) + 1, difference_ZxS.min(0)[order], difference_ZxS.max(0)[order], color='C0', alpha=0.4)
    axes.plot(mean_S[order], np.arange(S) + 1, 'o', color='C0', markersize=4)
    axes.axvline(0, color='grey', linewidth=0.8)
    if whole.ci95:
        axes.hlines(0, *whole.ci95, color='black', linewidth=2)
    axes.plot(whole.value, 0, 'D', color='black')
    label = 'all' + (', 95 %' if whole.ci95 else '')
    read = [names[n] for n in order] if S <= 100 else [''] * S  # more cannot be read; the table has them
    axes.set_yticks(range(S + 1), [label, *read], fontsize=8 if S < 50 else 5)
    bars = '; bars: range over seeds' if len(difference_ZxS) > 1 else ''
    axes.set(xlabel=f'UAR less that of plain training{bars}', ylim=(-0.8, S + 0.8))
    return figure


def traces(lines: dict[str, dict[str, list]], entropy: dict[str, float], told: list[str]):
    """Training of every setting: {setting: {metric: a mean per epoch}}; `told` names those with a colour, others are grey."""
    metrics = list(dict.fromkeys(k for of in lines.values() for k in of))
    figure, grid = _figure(5.6, 2.3 * len(metrics) + 0.5, len(metrics))
    for axes, metric in zip(grid.flat, metrics):
        for name, of in sorted(lines.items(), key=lambda item: item[0] in told):
            value = [np.nan if v is None else v for v in of.get(metric, [])]
            if not np.isfinite(value).any():
                continue
            how = {'color': f'C{told.index(name)}', 'label': name} if name in told else {'color': 'lightgrey', 'linewidth': 0.8}
            axes.plot(np.arange(len(value)) + 1, value, **how)
        domain = metric.removesuffix('_loss')
        if domain in entropy:
            axes.axhline(entropy[domain], color='black', linestyle=':', label=f'{domain} entropy: guessing')
        axes.set_ylabel(metric.replace('_', ' ').replace('uar', 'UAR'))
        _legend(axes, 7)
    grid[-1, 0].set_xlabel('epoch')
    return figure


def beside(best, plain, names: tuple[str, str], classes: list[str]):
    """Two confusion matrices in percent of the truth, and their difference in points."""
    side = max(3.2, 0.5 * len(classes) + 1.6)
    figure, ((one, other, less),) = _figure(3 * side, side + 0.3, 1, 3)
    for axes, count, name in ((one, best, names[0]), (other, plain, names[1])):
        _matrix(axes, _percent(count), classes, classes)
        axes.set(xlabel='predicted', ylabel='truth', title='\n'.join(textwrap.wrap(name, 28)))
    difference = _percent(best) - _percent(plain)
    reach = max(np.nanmax(np.abs(difference)), 10.0)  # a point or two shall not look like much
    _matrix(less, difference, classes, classes, '+.0f', -reach, reach, 'RdBu')
    less.set(xlabel='predicted', ylabel='truth', title='difference, points')
    return figure


def atlas(maps: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]):
    """Representations in two dimensions, {setting: (place_Nx2, emotion_N, speaker_N, tested_N)}, by emotion and by speaker."""
    import matplotlib

    figure, grid = _figure(4.2 * len(maps), 8.6, 2, len(maps))
    for n, (name, (place_Nx2, *coloured, tested_N)) in enumerate(maps.items()):
        for axes, label_N, what in zip(grid[:, n], coloured, ('emotion', 'speaker')):
            values, index_N = np.unique(label_N, return_inverse=True)
            colours = matplotlib.colormaps['tab10' if len(values) <= MOST else 'turbo']
            for k, value in enumerate(values.tolist()):
                colour = [colours(k if len(values) <= MOST else k / len(values))]
                for marker, some in (('o', ~tested_N), ('x', tested_N)):
                    at = place_Nx2[(index_N == k) & some].T
                    axes.scatter(*at, s=9, c=colour, marker=marker, linewidths=0.8, label=value if marker == 'o' else None)
            if len(values) <= NAMED:
                _legend(axes, 6)
            axes.set(title=f'{name}\nby {what}', xticks=[], yticks=[])
    return figure


def diagram(of: dict[str, calibration.Reliability]):
    """Accuracy against confidence, a line for each setting; the diagonal says what is meant."""
    figure, ((axes,),) = _figure(5.2, 4.6)
    axes.plot([0, 1], [0, 1], color='grey', linestyle=':', label='calibrated')
    for n, (name, r) in enumerate(of.items()):
        axes.plot(r.confidence_B, r.accuracy_B, color=f'C{n}', label=f'{name}: ECE {r.error:.3f}')
        axes.scatter(r.confidence_B, r.accuracy_B, s=10 + 400 * r.share_B, color=f'C{n}', alpha=0.6)
    axes.set(xlabel='confidence', ylabel='accuracy; areas: share of utterances', xlim=(0, 1.03), ylim=(-0.03, 1.03))
    _legend(axes, 8)
    return figure


def heat(value, rows: list[str], columns: list[str], words: tuple[str, str], chance: float):
    """UAR of every row in every column; NaN where nobody measured it."""
    figure, ((axes,),) = _figure(max(3.6, 0.8 * len(columns) + 2.6), max(2.6, 0.55 * len(rows) + 1.8))
    _matrix(axes, value, rows, columns, '.3f', chance, max(np.nanmax(value), chance + 0.01))
    axes.set(ylabel=words[0], xlabel=words[1], title='UAR')
    return figure

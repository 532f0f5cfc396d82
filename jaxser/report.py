"""Results as numbers, as a table, and as pictures."""

import io
import sys
import time
from datetime import timedelta

import jax
import numpy as np

from data_pipelines import audit, batches, subsets
from jaxser import cluster, evaluate, statistics, summary, sweep

SYNTHETIC = 'Synthetic speech (eSpeak NG): these figures say nothing about people.'
SCORING = 1 / 3  # the cost of scoring a frame, as a share of that of training on it


def many(n: int, what: str) -> str:
    """'1 run', '2 runs'."""
    return f'{n} {what}{"" if n == 1 else "s"}'


def announce(config, task, parts: list, runs: list[dict]) -> None:
    """What is about to be computed."""
    u = task.utterances
    cluster.say(
        f'{len(u)} utterances, {len(task.table.domains["speaker"])} speakers, classes {", ".join(task.table.classes)}; '
        f'{task.protocol.title}; split {task.sha256[:12]}'
    )
    cut = [f'config.sweep.{k}' for k in subsets.Subset._fields if any(k in r for r in runs)]
    before = [f'The audit is of the whole training part, before {", ".join(cut)}.'] * bool(cut)
    for line in (*task.split.left(config.data.labels), *audit.brief(task.audit), *before):
        cluster.say(line)
    differ = {k: len(sweep.different(runs, k)) for k in task.varied}
    cluster.say(
        f'Features normalised by {config.data.normalise}{batches.NORMALISATIONS[config.data.normalise]}. '
        f'{many(len(runs), "run")} in {many(len(parts), "program")}: {many(len(task.folds), "fold")}'
        f'{"".join(f", {n} {k}" for k, n in differ.items() if n > 1)}; '
        f'{many(config.train.epochs, "epoch")} of {many(task.steps, "step")}; '
        f'{jax.device_count()} x {jax.devices()[0].device_kind}'
    )


def grouping(trainer) -> None:
    """How the runs of a part are spread, where they do not fit at once."""
    count, groups = len(trainer.runs), len(trainer.groups)
    if groups > 1:
        devices = len(trainer.groups[0].layout.devices)
        cluster.say(f'{count} runs do not fit at once: {groups} groups of up to {trainer.size} on {devices} device(s).')


def forecast(trainer, group, seconds: float, epoch: int, began: float) -> None:
    """How long it will take, known from one step; and how long the start took."""
    config, task = trainer.config, trainer.task
    trained = task.steps * (1 + trainer.identity) * config.data.batch * config.data.frames
    scored = sum(
        i.row.shape[-1] * i.frames for i in group.items(config, task, trainer.length, config.train.epochs - 1) if i.part == 'dev'
    )
    whole = seconds * (1 + SCORING * scored / trained)
    others = len(trainer.groups) - 1 - trainer.groups.index(group)
    left = whole * (config.train.epochs - epoch + others * config.train.epochs)
    cluster.say(
        f'First step {time.time() - began:.0f} s after the start. Forecast for {many(len(trainer.runs), "run")} of this program: '
        f'{timedelta(seconds=round(left))} (h:mm:ss), {whole:.1f} s an epoch.'
    )


def profiled(folder) -> None:
    """Where the trace is, and how it is opened."""
    trace = next(folder.glob('plugins/profile/*/perfetto_trace.json.gz'), folder)
    cluster.say(
        f'\nA trace of one epoch: open {trace} at https://ui.perfetto.dev, '
        f'or pip install xprof and tensorboard --logdir {folder}.'
    )


def metrics(runs: list[dict], epoch: int, trace: dict[str, np.ndarray], dev: list) -> list[dict]:
    """An epoch's lines of metrics.jsonl, one a run, None for what is not finite."""
    rows = []
    for n, run in enumerate(runs):
        row = run | {'epoch': epoch} | {k: float(x[n].mean()) for k, x in trace.items()}
        diverged = not np.isfinite(row['loss'])
        row |= {f'dev_{k}': None if diverged else dev[n][k] for k in ('uar', 'wa', 'f1')}
        rows.append({k: None if isinstance(x, float) and not np.isfinite(x) else x for k, x in row.items()})
    return rows


def outcome(runs: list[dict], record, counts: list[np.ndarray]) -> dict:
    """What a group has come to: its runs as results.json lists them."""
    listed = []
    for n, run in enumerate(runs):
        if (step := int(record.nonfinite[n])) >= 0:
            nothing = {'epoch': None, 'dev': None, 'test': None, 'selected': None}
            listed.append({'hyper': run, 'status': 'nonfinite', 'step': step} | nothing)
            continue
        test = evaluate.measures(counts[n]) | {'confusion': counts[n].tolist()}
        listed.append(
            {
                'hyper': run,
                'status': 'ok',
                'epoch': int(record.best_epoch[n]),
                'dev': record.dev[n],
                'test': test,
                'selected': record.selected[n],
            }
        )
    return {'runs': listed, 'lines': record.lines, 'seconds': record.seconds}


def results(config, task, outcomes: list[dict], predicted: summary.Predicted, seconds: float) -> dict:
    """results.json."""
    runs = [r for o in outcomes for r in o['runs']]
    notes = [f'only {config.data.only}'] * bool(config.data.only)
    notes += ['normalised by the tested audio too (transductive)'] * (config.data.normalise == 'speaker_transductive')
    notes += [f'LEAK OF {kind.upper()} ALLOWED' for kind in task.audit['leaks']]
    return {
        'protocol': ', '.join([task.protocol.title, *notes]),
        'corpora': list(config.data.corpora),
        'labels': config.data.labels,
        'folds': [f.name for f in task.folds],
        'selection': config.train.select,
        'normalisation': config.data.normalise + batches.NORMALISATIONS[config.data.normalise],
        'classes': (classes := [str(c) for c in task.table.classes]),
        'synthetic': bool({'demo', 'testbed'} & {*config.data.corpora}),
        'split_sha256': task.sha256,
        'left_out': task.split.left_out,
        'unused': task.split.unused,
        'audit': task.audit,
        'matmul_precision': config.matmul_precision,
        'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
        'seconds': round(seconds, 1),
        'seconds_of_training': round(sum(o['seconds'] for o in outcomes), 1),
        'groups': [{'runs': len(o['runs']), 'seconds': round(o['seconds'], 1)} for o in outcomes],  # in the order of the runs
        'runs': runs,
        'summary': summary.rows(runs, predicted, config.to_dict(), len(classes)),
    }


def predictions(task, runs: list[dict], scores, record) -> list[dict]:
    """The rows of predictions.csv: a test utterance of a run, with its posteriors."""
    text, rows = task.utterances.text, []
    for n, run in enumerate(runs):
        if record.nonfinite[n] >= 0:
            continue
        name = sweep.label(run, task.varied)
        for row, p_C in zip(*scores.run(n)):
            rows.append(
                {
                    'run': name,
                    'fold': run['fold'],
                    'utterance': text['utterance'][row],
                    'speaker': text['speaker'][row],
                    'truth': text['emotion'][row],
                }
                | {str(c): f'{p:.9g}' for c, p in zip(task.table.classes, p_C)}
            )
    return rows


def show(results: dict, path) -> None:
    """Prints the table, draws the pictures, and says where everything is."""
    import rich.console
    import rich.measure
    import rich.table

    rows = results['summary']
    swept = [k for k in rows[0] if k not in summary.FIGURES]
    folds = len(results['folds'])
    grid = rich.table.Table(
        *swept,
        title=f'{results["protocol"]}, {folds} fold{"s" if folds > 1 else ""}; {results["selection"]}',
        caption=SYNTHETIC if results['synthetic'] else None,
    )
    sure = any(r['uar_ci95'] for r in rows)
    compared = any(r['delta_uar'] is not None for r in rows)
    seeds = any(r['uar_sd_seeds'] is not None for r in rows)
    headings = ['UAR', *['95 %'] * sure, *['±'] * seeds, 'by fold', 'WA']
    headings += ['vs plain', *['95 %', 'p Holm'] * sure] * compared
    probed, judged = any(r['probe'] for r in rows), any(r['adversary'] for r in rows)
    for heading in (*headings, *['leakage', 'chance'] * probed, *['adversary'] * judged, 'seeds'):
        grid.add_column(heading, justify='right')
    number = lambda x, sign='': '' if x is None else f'{x:{sign}.3f}'  # noqa: E731
    ends = lambda ci, sign='': f'{ci[0]:{sign}.3f} {ci[1]:{sign}.3f}' if ci else ''  # noqa: E731
    for r in rows:
        cells = [*(sweep.word(r[k]) for k in swept), number(r['uar']), *[ends(r['uar_ci95'])] * sure]
        cells += [number(r[k]) for k in (*['uar_sd_seeds'] * seeds, 'uar_folds', 'wa')]
        cells += [number(r['delta_uar'], '+'), *[ends(r['delta_ci95'], '+'), number(r['p_holm'])] * sure] * compared
        of = (r['probe'] or {}).get('speaker', {})
        cells += [number(of.get('linear')), number(of.get('chance'))] * probed
        cells += [', '.join(f'{word} {n}' for word, n in (r['adversary'] or {}).items())] * judged
        grid.add_row(*cells, str(r['seeds']))
    console = rich.console.Console(highlight=False)
    whole = rich.measure.Measurement.get(console, console.options.update(width=1000), grid).maximum
    console.width = max(console.width, whole)  # a terminal may break a line; no figure is cut off
    console.print(grid)
    print(f'Split {results["split_sha256"]}; {results["seconds"]:.0f} s on {results["device"]}.')
    speakers = next((r['tested_speakers'] for r in rows if r['tested_speakers']), 0)
    held = statistics.coverage(speakers)
    sayings = [
        'UAR: mean recall over classes, folds pooled, mean over seeds (± their standard deviation); by fold: mean of the folds.',
        'WA: accuracy.' + ' vs plain: UAR less that of plain training.' * compared,
        f'95 %: intervals that resample the {speakers} speakers (in simulations with so many they held the truth in '
        f'{100 * (held or 0):.0f} % of cases).'
        if sure
        else f'{many(speakers, "tested speaker")}: too few for intervals over speakers ({statistics.FEWEST} or more).',
    ]
    if sure and compared:
        sayings.append('p Holm: how often chance in who speaks would make such a difference, corrected for the number of rows.')
    if probed and (of := next((r['probe']['speaker'] for r in rows if r['probe'] and 'speaker' in r['probe']), None)):
        sayings.append(
            'leakage: how well a fresh linear classifier tells the training speakers by the frozen representation (mean recall\n'
            f'of held-out utterances), beside chance; by the input alone {of["input"]["linear"]:.3f}.'
        )
    if judged:
        sayings.append(
            'adversary, of how many runs: inert (the representation tells as much as that of plain training), balanced, winning\n'
            '(tells hardly anything), collapsed (the emotion went too, or the run diverged).'
        )
    print('\n'.join(sayings))
    if 'lam' in swept and not {0, None} & {r['lam'] for r in rows}:
        print('No lam = 0 in this sweep: there is no plain training to compare with.')
    for run in results['runs']:
        if run['status'] != 'ok':
            which = sweep.label(run['hyper'], [*swept, 'seed', 'fold'])
            print(f'{which}: {run["status"]} from step {run["step"]}; not in the table.')
    pictures = {'confusion.png': confusion_matrices(results)}
    numbers = [k for k in swept if len(values := sweep.different(rows, k)) > 1 and isinstance(values[0], int | float)]
    if axis := next((k for k in ('lam', *numbers) if k in numbers), None):
        pictures['sweep.png'] = curve(results, axis, swept)
    for name, figure in pictures.items():
        content = io.BytesIO()
        figure.savefig(content, dpi=110, bbox_inches='tight', format='png')
        (path / name).write_bytes(content.getvalue())
    print(f'{path}: results.json, predictions.csv, metrics.jsonl, {", ".join(pictures)}; tensorboard --logdir {path}/tensorboard')


def confusion_matrices(results: dict):
    """Confusion matrices in percent of the truth, one per row of the summary."""
    from matplotlib.figure import Figure

    rows, classes = [r for r in results['summary'] if r['confusion']], results['classes']
    across, newline = min(len(rows), 3), '\n'
    down = -(-len(rows) // across)
    side = max(3.2, 0.55 * len(classes) + 1.6)
    figure = Figure(figsize=(side * across, side * down + 0.4), layout='constrained')
    for axes, row in zip(figure.subplots(down, across, squeeze=False).flat, rows):
        count = np.array(row['confusion'])
        share = 100 * count / np.maximum(count.sum(1, keepdims=True), 1)
        axes.imshow(share, vmin=0, vmax=100, cmap='Blues')
        for i, j in np.ndindex(share.shape):
            axes.text(j, i, f'{share[i, j]:.0f}', ha='center', va='center', color='white' if share[i, j] > 55 else 'black')
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha='right')
        axes.set_yticks(range(len(classes)), classes)
        name = newline.join(f'{k} = {sweep.word(row[k])}' for k in row if k not in summary.FIGURES and row[k] is not None)
        axes.set(xlabel='predicted', ylabel='truth', title=f'{name}{newline if name else ""}UAR {row["uar"]:.3f}')
    for axes in figure.axes[len(rows) :]:
        axes.set_axis_off()
    folds, seeds = many(len(results['folds']), 'fold'), many(rows[0]['seeds'], 'seed')
    title = f'Percent of the truth; {results["protocol"]}, test parts of {folds}, {seeds}'
    figure.suptitle(title + ('\n' + SYNTHETIC if results['synthetic'] else ''), fontsize=9)
    return figure


def curve(results: dict, axis: str, swept: list[str]):
    """UAR against a hyper-parameter, a line for each combination of the others."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout='constrained')
    axes = figure.subplots()
    lines: dict[str, list[dict]] = {}
    for row in results['summary']:
        if row['uar'] is not None:
            lines.setdefault(sweep.label(row, [k for k in swept if k != axis]), []).append(row)
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
    axes.axhline(1 / len(results['classes']), color='grey', linestyle=':', label='chance')
    axes.set_xticks(range(len(values)), [sweep.word(v) for v in values])
    axes.set(xlabel=axis, ylabel='UAR, folds pooled, mean of seeds')
    axes.legend(fontsize=8)
    folds, seeds = len(results['folds']), max(r['seeds'] for r in results['summary'])
    speakers = next((r['tested_speakers'] for r in results['summary'] if r['tested_speakers']), 0)
    bars = f'bars: 95 % intervals over {speakers} speakers' if speakers >= statistics.FEWEST else 'too few speakers for intervals'
    figure.suptitle(
        f'{results["protocol"]}, {many(folds, "fold")}, {many(seeds, "seed")}; {bars}'
        + ('\n' + SYNTHETIC if results['synthetic'] else ''),
        fontsize=9,
    )
    return figure


def progress(total: int, unit: str = 'step'):
    """A bar over all steps (or another unit), with an estimate; a line every ten seconds where there is no terminal."""
    import tqdm

    quiet = not sys.stderr.isatty()
    speaks = cluster.main()
    return tqdm.tqdm(
        total=total, disable=not speaks, unit=unit, mininterval=10 if quiet else 0.1, smoothing=0.05, dynamic_ncols=True
    )

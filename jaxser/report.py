"""Results as numbers, as a table, and as a picture."""

import sys
from pathlib import Path

import jax
import numpy as np

from jaxser import evaluate

SYNTHETIC = 'Synthetic speech (eSpeak NG): these figures say nothing about people.'


def label(variant: dict, options: dict[str, tuple]) -> str:
    """A short name: lam, the seed, and whatever else is swept, e.g. 'lam=0.3 seed=1'."""
    return ' '.join(f'{k}={v:g}' for k, v in variant.items() if k in ('lam', 'seed') or len(options[k]) > 1)


def announce(task, s, config) -> None:
    """What is about to be computed."""
    swept = [k for k, v in s.options.items() if len(v) > 1]
    print(
        f'{len(task.utterances)} utterances, {len(set(task.utterances.text["speaker"]))} speakers, '
        f'classes {", ".join(s.table.classes)}; split {task.sha256[:12]}'
    )
    if task.left_out:
        print('Left out, having no class: ' + ', '.join(f'{n} {e}' for e, n in sorted(task.left_out.items())))
    print(
        f'{s.F * s.V} runs as one program: {s.F} folds x {s.V} variants{" of " + ", ".join(swept) if swept else ""}; '
        f'{config.train.epochs} epochs of {task.steps} steps; {jax.device_count()} x {jax.devices()[0].device_kind}'
    )


def metrics(s, epoch: int, trace: dict[str, np.ndarray], dev: list) -> tuple[list[dict], list[dict]]:
    """An epoch's lines of metrics.jsonl, one a run, None for what is not finite; and each variant's means over its folds."""
    rows = []
    for v, variant in enumerate(s.runs):
        for f, fold in enumerate(s.task.folds):
            row = variant | {'fold': fold.number, 'epoch': epoch} | {k: float(x[:, f, v].mean()) for k, x in trace.items()}
            diverged = not np.isfinite(row['loss'])
            rows.append(row | {f'dev_{k}': float('nan') if diverged else dev[f][v][k] for k in ('uar', 'wa', 'f1')})
    names = [*trace, 'dev_uar', 'dev_wa', 'dev_f1']
    of = [rows[v * s.F : (v + 1) * s.F] for v in range(s.V)]
    means = [{k: float(np.mean([r[k] for r in part])) for k in names} for part in of]
    return [{k: x if np.isfinite(x) else None for k, x in r.items()} for r in rows], means


def results(config, task, s, record: dict, counts_FxVxCxC: np.ndarray, seconds: float) -> dict:
    """results.json."""
    runs = []
    for v, variant in enumerate(s.runs):
        for f, fold in enumerate(task.folds):
            diverged = int(record.nonfinite[f, v])
            run = {'hyper': variant | {'fold': fold.number}, 'status': 'ok', 'epoch': int(record.best_epoch[f, v])}
            run |= {'dev': record.dev[f][v], 'test': evaluate.measures(counts_FxVxCxC[f, v])}
            if diverged >= 0:
                run |= {'status': 'nonfinite', 'step': diverged, 'epoch': None, 'dev': None, 'test': None}
            run['selected'] = record.selected[f][v] if diverged < 0 else None
            runs.append(run)
    return {
        'protocol': config.protocol.name,
        'folds': [f.name for f in task.folds],
        'selection': config.train.select,
        'normalisation': config.data.normalise + (' (transductive)' if config.data.normalise == 'speaker' else ''),
        'classes': [str(c) for c in s.table.classes],
        'synthetic': 'demo' in config.data.corpora,
        'split_sha256': task.sha256,
        'matmul_precision': config.matmul_precision,
        'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
        'seconds': round(seconds, 1),
        'runs': runs,
        'summary': summary(s, record, counts_FxVxCxC),
    }


def summary(s, record: dict, counts_FxVxCxC: np.ndarray) -> list[dict]:
    """A row per combination of swept values but the seed; `uar` pools the folds of a seed, `uar_folds` is the mean over folds."""
    swept = [k for k, v in s.options.items() if k == 'lam' or (len(v) > 1 and k != 'seed')]
    ok_FxV = record.nonfinite[: s.F, : s.V] < 0
    rows: dict[tuple, dict] = {}
    for key in dict.fromkeys(tuple(r[k] for k in swept) for r in s.runs):
        of = [v for v, r in enumerate(s.runs) if tuple(r[k] for k in swept) == key]
        whole = [v for v in of if ok_FxV[:, v].all()]
        pooled = [evaluate.measures(counts_FxVxCxC[:, v].sum(0)) for v in whole]
        by_fold = [evaluate.measures(counts_FxVxCxC[f, v])['uar'] for v in whole for f in range(s.F)]
        mean = lambda x: float(np.mean(x)) if len(x) else None  # noqa: E731
        rows[key] = dict(zip(swept, key)) | {
            'seeds': len(whole),
            'uar': mean([p['uar'] for p in pooled]),
            'uar_sd_seeds': float(np.std([p['uar'] for p in pooled], ddof=1)) if len(pooled) > 1 else None,
            'uar_folds': mean(by_fold),
            'uar_ci95': None,
            'wa': mean([p['wa'] for p in pooled]),
            'f1': mean([p['f1'] for p in pooled]),
            'delta_uar': None,
            'delta_ci95': None,
            'p': None,
            'p_holm': None,
            'confusion': counts_FxVxCxC[:, whole].sum((0, 1)).tolist(),
        }
    for key, row in rows.items():
        plain = rows.get(tuple(0.0 if k == 'lam' else x for k, x in zip(swept, key)))
        if 'lam' in swept and row['lam'] and plain and None not in (row['uar'], plain['uar']):
            row['delta_uar'] = row['uar'] - plain['uar']
    return list(rows.values())


def predictions(task, s, scores, record: dict) -> list[dict]:
    """The rows of predictions.csv: a test utterance of a run, with its posteriors."""
    text, rows = task.utterances.text, []
    gathered = [scores.fold(f) for f in range(s.F)]
    for v, variant in enumerate(s.runs):
        for f, fold in enumerate(task.folds):
            if record.nonfinite[f, v] >= 0:
                continue
            utterances, p_VxNxC = gathered[f]
            for n, row in enumerate(utterances):
                rows.append(
                    {
                        'run': label(variant, s.options),
                        'fold': fold.number,
                        'utterance': text['utterance'][row],
                        'speaker': text['speaker'][row],
                        'truth': text['emotion'][row],
                    }
                    | {str(c): f'{p:.9g}' for c, p in zip(s.table.classes, p_VxNxC[v, n])}
                )
    return rows


def show(results: dict, path: Path) -> None:
    """Prints the table, draws the confusion matrices, and says where everything is."""
    import rich.console
    import rich.table

    rows = results['summary']
    swept = [k for k in rows[0] if k not in DERIVED]
    n = sum(map(sum, rows[0]['confusion']))
    grid = rich.table.Table(
        *swept,
        title=f'{results["protocol"]}, {len(results["folds"])} folds; {results["selection"]}',
        caption=SYNTHETIC if results['synthetic'] else None,
    )
    for heading in ('UAR', 'mean of folds', 'WA', 'macro-F1', 'UAR - UAR(lam=0)', 'seeds'):
        grid.add_column(heading, justify='right')
    number = lambda x, sign='': '' if x is None else f'{x:{sign}.3f}'  # noqa: E731
    for r in rows:
        spread = '' if r['uar_sd_seeds'] is None else f' ± {r["uar_sd_seeds"]:.3f}'
        cells = [f'{r[k]:g}' for k in swept]
        cells += [number(r['uar']) + spread, number(r['uar_folds']), number(r['wa']), number(r['f1'])]
        grid.add_row(*cells, number(r['delta_uar'], '+'), str(r['seeds']))
    rich.console.Console(highlight=False).print(grid)
    print(f'Split {results["split_sha256"]}; {results["seconds"]:.0f} s on {results["device"]}.')
    print('UAR: mean recall over classes, folds pooled, mean over seeds (± their standard deviation). WA: accuracy.')
    if 'lam' in swept and 0 not in [r['lam'] for r in rows]:
        print('No lam = 0 in this sweep: there is no plain training to compare with.')
    for run in results['runs']:
        if run['status'] != 'ok':
            which = ' '.join(f'{k}={v:g}' for k, v in run['hyper'].items() if k in ('seed', 'fold') or k in swept)
            print(f'{which}: {run["status"]} from step {run["step"]}; not in the table.')
    if n:
        picture(results, path / 'confusion.png')
    print(f'{path}: results.json, predictions.csv, metrics.jsonl, confusion.png; tensorboard --logdir {path}/tensorboard')


DERIVED = (
    'seeds',
    'uar',
    'uar_sd_seeds',
    'uar_folds',
    'uar_ci95',
    'wa',
    'f1',
    'delta_uar',
    'delta_ci95',
    'p',
    'p_holm',
    'confusion',
)


def picture(results: dict, file: Path) -> None:
    """Confusion matrices in percent of the truth, one per row of the summary."""
    from matplotlib.figure import Figure

    rows, classes = results['summary'], results['classes']
    across = min(len(rows), 3)
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
        name = ', '.join(f'{k} = {row[k]:g}' for k in row if k not in DERIVED)
        axes.set(xlabel='predicted', ylabel='truth', title=f'{name}{": " if name else ""}UAR {row["uar"] or float("nan"):.3f}')
    for axes in figure.axes[len(rows) :]:
        axes.set_axis_off()
    title = (
        f'Percent of the truth; {results["protocol"]}, test parts of {len(results["folds"])} folds, {rows[0]["seeds"]} seed(s)'
    )
    figure.suptitle(title + ('\n' + SYNTHETIC if results['synthetic'] else ''), fontsize=9)
    figure.savefig(file, dpi=110, bbox_inches='tight')


def progress(total: int, done: int):
    """A bar over all steps, with an estimate; a line every ten seconds where there is no terminal."""
    import tqdm

    quiet = not sys.stderr.isatty()
    return tqdm.tqdm(total=total, initial=done, unit='step', mininterval=10 if quiet else 0.1, smoothing=0.05, dynamic_ncols=True)

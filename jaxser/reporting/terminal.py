"""TODO: jaxser.reporting.terminal."""

from jaxser.analysis import bootstrap, summary
from jaxser.reporting import figures
from jaxser.runs import format_setting, pluralize, run_label, synthetic_note

MIN_HELD_OUT = (
    30  # utterances: by fewer, leakage is a rough figure (a standard error of 0.09 or more at 0.5)
)


def print_results(results: dict, folder) -> None:
    """Prints the table, draws the pictures, and says where everything is."""
    import rich.console
    import rich.measure
    import rich.table

    rows = results['summary']
    swept = [k for k in rows[0] if k not in summary.RESULT_KEYS]
    folds, named = (
        len(results['folds']),
        [results[k] for k in ('method', 'protocol') if k in results and k not in swept],
    )
    grid = rich.table.Table(
        *swept,
        title=f'{"; ".join(named)}, {folds} fold{"s" if folds > 1 else ""}; {results["selection"]}',
        caption=synthetic_note(results) or None,
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
        cells = [
            *(format_setting(r, k) for k in swept),
            number(r['uar']),
            *[ends(r['uar_ci95'])] * sure,
        ]
        cells += [number(r[k]) for k in (*['uar_sd_seeds'] * seeds, 'uar_folds', 'wa')]
        cells += [
            number(r['delta_uar'], '+'),
            *[ends(r['delta_ci95'], '+'), number(r['p_holm'])] * sure,
        ] * compared
        of = (r['probe'] or {}).get('speaker', {})
        cells += [number(of.get('linear')), number(of.get('chance'))] * probed
        cells += [', '.join(f'{word} {n}' for word, n in (r['adversary'] or {}).items())] * judged
        grid.add_row(*cells, str(r['seeds']))
    console = rich.console.Console(highlight=False)
    whole = rich.measure.Measurement.get(console, console.options.update(width=1000), grid).maximum
    console.width = max(console.width, whole)  # a terminal may break a line; no figure is cut off
    console.print(grid)
    print(
        f'Split {results["split_sha256"]}; trained and tested in {results["seconds"]:.0f} s on {results["device"]}.'
    )
    speakers = next((r['tested_speakers'] for r in rows if r['tested_speakers']), 0)
    held = bootstrap.interval_coverage(speakers)
    plain = (
        "lam = 0, SNP's layer without its ascent"
        if results['method'] == 'speaker_norm snp'
        else 'plain training'
    )
    sayings = [
        'UAR: mean recall over classes, folds pooled, mean over seeds (± their standard deviation); by fold: mean of the folds.',
        'WA: accuracy, folds pooled.'
        + f' vs plain: UAR, folds pooled, minus that of {plain}.' * compared,
        f'95 %: intervals that resample the {speakers} speakers (in simulations with so many they held the truth in '
        f'{100 * (held or 0):.0f} % of cases).'
        if sure
        else f'{pluralize(speakers, "tested speaker")}: too few for intervals over speakers ({bootstrap.MIN_SPEAKERS} or more).',
    ]
    if not speakers:
        sayings = ['In every setting a fold diverged in every seed: there are no figures.']
    if sure and compared:
        sayings.append(
            'p Holm: how often chance in who speaks would make such a difference, corrected for the number of rows.'
        )
    if probed and (
        of := next(
            (r['probe']['speaker'] for r in rows if r['probe'] and 'speaker' in r['probe']), None
        )
    ):
        asked = [
            r['probe']['speaker'] for r in results['runs'] if 'speaker' in (r.get('probe') or {})
        ]
        fewest = min(asked, key=lambda answer: answer['n'])
        rough = ''
        if fewest['n'] < MIN_HELD_OUT:
            rough = (
                f' Rough: a run held out {fewest["n"]} utterances of {fewest["classes"]} speakers.'
            )
        sayings.append(
            'leakage: how well a fresh linear classifier tells the training speakers by the frozen representation (mean recall\n'
            'of held-out utterances; mean of the folds), beside chance; by the input alone '
            f'{of["input"]["linear"]:.3f}.{rough}'
        )
    if judged:
        sayings.append(
            'adversary, of how many runs: inert (the representation tells nearly as much as that of plain training, or more),\n'
            'balanced, winning (tells hardly anything), collapsed (the emotion went too, or the run diverged).'
        )
    print('\n'.join(sayings))
    if 'lam' in swept and not {0, None} & {r['lam'] for r in rows}:
        print('No lam = 0 in this sweep: there is no plain training to compare with.')
    for run in results['runs']:
        if run['status'] != 'ok':
            which = run_label(run['hyper'], [*swept, 'seed', 'fold'])
            print(f'{which}: {run["status"]} from step {run["step"]}; not in the table.')
    drawn = {'confusion.png': (figures.draw_confusion_matrices, results)}
    if axis := figures.curve_key(results):
        drawn['sweep.png'] = figures.draw_curve, results, axis
    for name, of in drawn.items():
        (folder / name).write_bytes(figures.render_png(*of))
    print(
        f'{folder}: results.json, predictions.csv, metrics.jsonl, {", ".join(drawn)}; tensorboard --logdir {folder}/tensorboard'
    )

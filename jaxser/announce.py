"""What a sweep says on the terminal: what is about to be computed, how long it takes, and the table at the end."""

import time
from datetime import timedelta

import jax

from data_pipelines.batching import table
from data_pipelines.protocols import audit_report, subsets
from jaxser import distributed, memory, pictures
from jaxser.analysis import bootstrap, summary
from jaxser.pretrained import encoder
from jaxser.runs import distinct_values, format_setting, pluralize, run_label, synthetic_note

SCORING_COST = 1 / 3  # the cost of scoring a frame, as a share of that of training on it
MIN_HELD_OUT = 30  # utterances: by fewer, leakage is a rough figure (a standard error of 0.09 or more at 0.5)


def print_plan(config, task, programs: list, runs: list[dict]) -> None:
    """What is about to be computed."""
    u = task.utterances
    distributed.log(
        f'{len(u)} utterances, {len(task.table.domains["speaker"])} speakers, classes {", ".join(task.table.classes)}; '
        f'{task.protocol.title}; split {task.split_sha256[:12]}'
    )
    cut = [f'config.sweep.{k}' for k in subsets.Subset._fields if any(k in r for r in runs)]
    before = [f'The audit is of the whole training part, before {", ".join(cut)}.'] * bool(cut)
    for line in (*task.split.describe_left_out(config.data.labels), *audit_report.summary_lines(task.audit), *before):
        distributed.log(line)
    differ = {k: len(distinct_values(runs, k)) for k in task.label_keys}
    distributed.log(
        f'Features normalised by {config.data.normalise}{table.NORMALISATIONS[config.data.normalise]}. '
        f'{pluralize(len(runs), "run")} in {pluralize(len(programs), "program")}: {pluralize(len(task.folds), "fold")}'
        f'{"".join(f", {n} {k}" for k, n in differ.items() if n > 1)}; '
        f'{pluralize(config.train.epochs, "epoch")} of {pluralize(task.steps_per_epoch, "step")}; '
        f'{jax.device_count()} x {jax.devices()[0].device_kind}'
    )


def print_grouping(trainer) -> None:
    """How the runs of a part are spread, where they do not fit at once; of an encoder that learns, what it takes and hears."""
    count, groups = len(trainer.runs), len(trainer.groups)
    if trainer.frozen is not None and trainer.memory_bytes:
        layout = trainer.groups[0].layout
        frozen, limit = sum(x.nbytes for x in jax.tree.leaves(trainer.frozen)), memory.memory_limit(layout.devices)
        distributed.log(
            f'Forecast of memory for {pluralize(layout.R, "run")} on a device: {trainer.memory_bytes / 2**30:.2f} GiB, and '
            f'{limit / 2**30:.2f} may be used; the frozen parameters, which they share, are {frozen / 2**20:.1f} MiB of it.'
        )
    if trainer.config.model.name == 'fine_tuned':
        longest = encoder.cached_encoder(trainer.config.model.upstream).max_seconds
        if beyond := int((trainer.task.utterances.frames_N > 100 * longest).sum()):
            distributed.log(
                f'{pluralize(beyond, "utterance")} longer than the {longest:g} s that the encoder hears: the beginning is scored.'
            )
    if groups > 1:
        devices = len(trainer.groups[0].layout.devices)
        distributed.log(f'{count} runs do not fit at once: {groups} groups of up to {trainer.group_size} on {devices} device(s).')


def print_forecast(trainer, group, seconds: float, epoch: int, start_time: float) -> None:
    """How long it will take, known from one step; and how long the start took."""
    config, task = trainer.config, trainer.task
    trained = task.steps_per_epoch * (1 + trainer.has_identity_batches) * config.data.batch * config.data.frames
    scored = sum(
        i.row.shape[-1] * i.frames for i in group.work_items(config, task, trainer.steps_per_chunk, config.train.epochs - 1) if i.part == 'dev'
    )
    whole = seconds * (1 + SCORING_COST * scored / trained)
    others = len(trainer.groups) - 1 - trainer.groups.index(group)
    left = whole * (config.train.epochs - epoch + others * config.train.epochs)
    runs = f'{pluralize(len(trainer.runs), "run")}{trainer.program_note}'
    distributed.log(
        f'First step {time.time() - start_time:.0f} s after the start. Forecast for training {runs}: '
        f'{timedelta(seconds=round(left))} (h:mm:ss), {whole:.1f} s an epoch.'
    )


def print_profile_path(folder) -> None:
    """Where the trace is, and how it is opened."""
    trace = next(folder.glob('plugins/profile/*/perfetto_trace.json.gz'), folder)
    distributed.log(
        f'\nA trace of one epoch: open {trace} at https://ui.perfetto.dev, '
        f'or pip install xprof and tensorboard --logdir {folder}.'
    )


def print_results(results: dict, folder) -> None:
    """Prints the table, draws the pictures, and says where everything is."""
    import rich.console
    import rich.measure
    import rich.table

    rows = results['summary']
    swept = [k for k in rows[0] if k not in summary.RESULT_KEYS]
    folds, named = len(results['folds']), [results[k] for k in ('method', 'protocol') if k in results and k not in swept]
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
        cells = [*(format_setting(r, k) for k in swept), number(r['uar']), *[ends(r['uar_ci95'])] * sure]
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
    print(f'Split {results["split_sha256"]}; trained and tested in {results["seconds"]:.0f} s on {results["device"]}.')
    speakers = next((r['tested_speakers'] for r in rows if r['tested_speakers']), 0)
    held = bootstrap.interval_coverage(speakers)
    plain = "lam = 0, SNP's layer without its ascent" if results['method'] == 'speaker_norm snp' else 'plain training'
    sayings = [
        'UAR: mean recall over classes, folds pooled, mean over seeds (± their standard deviation); by fold: mean of the folds.',
        'WA: accuracy, folds pooled.' + f' vs plain: UAR, folds pooled, minus that of {plain}.' * compared,
        f'95 %: intervals that resample the {speakers} speakers (in simulations with so many they held the truth in '
        f'{100 * (held or 0):.0f} % of cases).'
        if sure
        else f'{pluralize(speakers, "tested speaker")}: too few for intervals over speakers ({bootstrap.MIN_SPEAKERS} or more).',
    ]
    if not speakers:
        sayings = ['In every setting a fold diverged in every seed: there are no figures.']
    if sure and compared:
        sayings.append('p Holm: how often chance in who speaks would make such a difference, corrected for the number of rows.')
    if probed and (of := next((r['probe']['speaker'] for r in rows if r['probe'] and 'speaker' in r['probe']), None)):
        asked = [r['probe']['speaker'] for r in results['runs'] if 'speaker' in (r.get('probe') or {})]
        fewest = min(asked, key=lambda answer: answer['n'])
        rough = ''
        if fewest['n'] < MIN_HELD_OUT:
            rough = f' Rough: a run held out {fewest["n"]} utterances of {fewest["classes"]} speakers.'
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
    drawn = {'confusion.png': (pictures.draw_confusion_matrices, results)}
    if axis := pictures.curve_key(results):
        drawn['sweep.png'] = pictures.draw_curve, results, axis
    for name, of in drawn.items():
        (folder / name).write_bytes(pictures.render_png(*of))
    print(f'{folder}: results.json, predictions.csv, metrics.jsonl, {", ".join(drawn)}; tensorboard --logdir {folder}/tensorboard')

"""A sweep from its configuration to its results.

A sweep is one or several parts (a program each: structural keys cannot be traced), a part is one or several groups of runs (as
many as fit into memory), and a group trains as one program. A group that is done is never computed again.
"""

import contextlib
import itertools
import time

from data_pipelines.errors import UserError
from jaxser import distributed
from jaxser.analysis import predictions
from jaxser.configuration import resolve, sweep
from jaxser.nn import batch_norm
from jaxser.plugins import DUMMY_SIZES, make_method, matmul_precision_context
from jaxser.runs import varying_keys
from jaxser.training import monitoring, outputs
from jaxser.training.loop import train_group
from jaxser.training.task import Task, choose_residency, load_features
from jaxser.training.trainer import Trainer
from jaxser.training.validate import validate
from jaxser.workdir import Workdir


def run_experiment(config, path, profile: bool = False, start_time: float | None = None) -> dict:
    """Trains and evaluates every run of `config` in `path`, going on from its checkpoints; returns results.json, in process 0.

    With `profile` a trace of an epoch is written; `start_time` is when the command did (time.time()).
    """
    config = resolve.resolve_config(config)
    parts = validate(config)
    place = Workdir(path, config)
    results = place.load_results()
    if results:
        distributed.log(f'{place.path} holds this sweep, trained; remove it to train anew.')
    else:
        try:
            with matmul_precision_context(config):
                results = train_sweep(config, parts, place, profile, start_time or time.time())
        except UserError:
            place.remove_if_empty()
            raise
    return results


def train_sweep(
    config, programs: list[sweep.Program], workdir: Workdir, profile: bool, start_time: float
) -> dict:
    """Part after part, group after group."""
    task = Task(config, programs)
    for part in programs:
        for domain in make_method(part.config, DUMMY_SIZES)[1].domains:
            task.check_domain(domain)
        if make_method(part.config, DUMMY_SIZES)[1].target:
            task.check_target(part.config.method)
        if part.config.model.batch_norm in batch_norm.TARGET_MODES:
            task.check_target(f'config.model.batch_norm={part.config.model.batch_norm}')
    choices = workdir.load_choices()
    workdir.save_description(task)
    runs = [r for p in programs for r in sweep.make_runs(p, [f.number for f in task.folds])]
    task.label_keys = varying_keys(runs)
    monitoring.print_plan(config, task, programs, runs)
    choices['resident'] = choose_residency(config, task, choices)
    mel_RxM = load_features(task) if choices['resident'] else None
    sizes = choices.setdefault('runs_per_group', {})

    outcomes, ends, before = [], itertools.count(), 0.0  # seconds of what was interrupted
    bar = distributed.progress_bar(
        len(programs) * task.steps_per_epoch * config.train.epochs, 'step'
    )
    with distributed.Termination() as termination, contextlib.closing(bar) as progress:
        for number, part in enumerate(programs):
            progress.set_postfix_str('compiling')
            trainer = Trainer(part, task, mel_RxM, sizes.get(str(number)))
            trainer.program_note = f' (program {number + 1} of {len(programs)})' * (
                len(programs) > 1
            )
            sizes[str(number)] = trainer.group_size
            workdir.save_choices(choices)
            monitoring.print_grouping(trainer)
            progress.total += (len(trainer.groups) - 1) * task.steps_per_epoch * config.train.epochs
            for group in trainer.groups:
                n = next(ends)
                since = 0.0
                if outcome := workdir.load_outcome(n):
                    distributed.skip_steps(progress, task.steps_per_epoch * config.train.epochs)
                else:
                    since = time.time()
                    outcome = train_group(
                        trainer,
                        group,
                        n,
                        outcomes,
                        workdir,
                        progress,
                        termination,
                        profile and not outcomes,
                        start_time,
                    )
                    since = time.time() - since
                before += max(outcome['seconds'] - since, 0.0)
                outcomes.append(outcome)
    runs = [r for o in outcomes for r in o['runs']]
    if not any(r['status'] == 'ok' for r in runs):
        raise UserError(
            f'Every run diverged (see {workdir.path}/metrics.jsonl). Lower config.sweep.lr or config.sweep.lam.'
        )
    results = {}
    if distributed.is_main_process():
        predicted = predictions.read_predictions(
            workdir.merge_predictions(len(outcomes)), [str(c) for c in task.table.classes]
        )
        results = outputs.make_results(
            config, task, outcomes, predicted, before + time.time() - start_time
        )
        workdir.save_results(results)
    distributed.wait_for_all('results.json')
    return results

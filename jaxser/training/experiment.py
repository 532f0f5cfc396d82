"""Runs a sweep from its configuration to its results.

A sweep has one or several programs, since structural keys cannot be traced. A program has one or
several groups of runs: as many as fit into memory. The runs of a group train together. A group
that is finished is never trained again.
"""

import contextlib
import dataclasses
import time

from etils import epath

from data_pipelines.errors import UserError
from data_pipelines.protocols import folds
from jaxser import distributed, workdir_files
from jaxser.analysis import predictions
from jaxser.configuration import resolve, sweep
from jaxser.nn import batch_norm
from jaxser.plugins import matmul_precision_context
from jaxser.pretrained.encoder import cached_encoder
from jaxser.pretrained.extractor import has_digest
from jaxser.training import monitoring, outputs
from jaxser.training.loop import GroupLoop, Session
from jaxser.training.shared_task import load_task
from jaxser.training.task import Task, choose_residency
from jaxser.training.trainer import Trainer
from jaxser.training.validate import plan_programs
from jaxser.workdir import Workdir, continue_earlier_sweep
from jaxser.workdir_files import WorkdirFiles


def _keep_earlier_digest(path, config) -> None:
    """Sets the digest of the weights to fine-tune to that of the sweep in `path`.

    Earlier versions computed it otherwise. Nothing is changed if the weights are others, or if
    there is no sweep.
    """
    folder = epath.Path(path)
    if not config.model.get('weights') or not (folder / 'config.json').exists():
        return
    stored = WorkdirFiles(folder).read_json('config.json', workdir_files.CONFIG)['config']
    digest = (stored.get('model') or {}).get('weights')
    if digest and has_digest(cached_encoder(config.model.upstream), digest):
        config.model.weights = digest


def run_experiment(config, path, profile: bool = False, start_time: float | None = None) -> dict:
    """Trains and tests every run of `config`, and returns results.json ({} in other processes).

    The workdir is `path`. Training resumes from its checkpoints. If it contains the finished sweep,
    nothing is trained.
    With `profile` a trace of one epoch is written. `start_time` is that of the command, in seconds
    as of time.time(). Raises UserError if the configuration or the data are wrong.
    """
    config = resolve.resolve_config(config, distributed.log)
    _keep_earlier_digest(path, config)
    config = continue_earlier_sweep(path, config)
    programs = plan_programs(config)
    workdir = Workdir(path, config)
    results = workdir.load_results()
    if results:
        steps = workdir.list_missing_steps()
        if steps:
            state = f'Training is finished; still to do: {", ".join(steps)}.'
        else:
            state = f'{workdir.path} contains this sweep, and it is finished.'
        distributed.log(f'{state} To train it again, remove {workdir.path}.')
        return results
    try:
        with matmul_precision_context(config):
            return train_sweep(config, programs, workdir, profile, start_time or time.time())
    except UserError:
        workdir.remove_if_empty()
        raise


@dataclasses.dataclass
class Progress:
    """What has been trained of a sweep so far."""

    outcomes: list[dict]  # of the finished groups, in their order
    earlier_seconds: float = 0.0  # of training in earlier processes, before the sweep was resumed


def train_sweep(
    config, programs: list[sweep.Program], workdir: Workdir, profile: bool, start_time: float
) -> dict:
    """Trains program after program, group after group; returns results.json in process 0."""
    task = load_task(config, programs)
    task.audit = workdir.load_audit(task) or task.audit
    _check_data(task, programs)
    for line in folds.describe_poor_parts(task.utterances, task.folds, bool(task.classes)):
        distributed.log(line)
    choices = workdir.load_choices()
    workdir.save_description(task)
    monitoring.print_plan(config, task, programs)
    choices['resident'] = choose_residency(config, task, choices)
    mel_RxM = task.mel_RxM if choices['resident'] else None
    group_sizes = choices.setdefault('runs_per_group', {})

    done = Progress([])
    steps_per_group = task.steps_per_epoch * config.train.epochs
    bar = distributed.progress_bar(len(programs) * steps_per_group, 'step')
    with distributed.Termination() as termination, contextlib.closing(bar):
        session = Session(bar, termination, start_time, profile)
        for number, program in enumerate(programs):
            bar.set_postfix_str('compiling')
            group_size = group_sizes.get(str(number))
            note = ''
            if len(programs) > 1:
                note = f' (program {number + 1} of {len(programs)}; each has its own forecast)'
            trainer = Trainer(program, task, mel_RxM, group_size, program_note=note)
            group_sizes[str(number)] = trainer.group_size
            workdir.save_choices(choices)
            monitoring.print_grouping(trainer)
            bar.total += (len(trainer.groups) - 1) * steps_per_group
            _train_groups(trainer, workdir, session, done)
    _check_any_run_finished(done, workdir)
    seconds = done.earlier_seconds + time.time() - start_time
    return _save_results(config, task, workdir, done.outcomes, seconds)


def _check_data(task: Task, programs: list[sweep.Program]) -> None:
    """Raises UserError if the data lack what a program needs."""
    for program in programs:
        for domain in program.method.domains:
            task.check_domain(domain)
            if program.method.within_emotions:
                task.check_domain_within_emotions(domain, program.config.method)
        if program.method.needs_target:
            task.check_target(program.config.method)
        mode = program.config.model.batch_norm
        if mode in batch_norm.TARGET_MODES:
            task.check_target(f'config.model.batch_norm={mode}')


def _train_groups(trainer: Trainer, workdir: Workdir, session: Session, done: Progress) -> None:
    """Trains the groups of a program that are not finished, and appends all outcomes to `done`."""
    for group in trainer.groups:
        number = len(done.outcomes)
        outcome = workdir.load_outcome(number)
        seconds = 0.0
        if outcome:
            epochs = trainer.config.train.epochs
            distributed.skip_steps(session.progress, trainer.task.steps_per_epoch * epochs)
        else:
            start = time.time()
            metric_lines = done.outcomes[-1]['lines'] if done.outcomes else 0
            outcome = GroupLoop(trainer, group, number, workdir, session, metric_lines).run()
            seconds = time.time() - start
        done.earlier_seconds += max(outcome['seconds'] - seconds, 0.0)
        done.outcomes.append(outcome)


def _check_any_run_finished(done: Progress, workdir: Workdir) -> None:
    """Raises UserError if every run has diverged."""
    for outcome in done.outcomes:
        for run in outcome['runs']:
            if run['status'] == 'ok':
                return
    raise UserError(
        f'Every run diverged (see {workdir.path}/metrics.jsonl). Lower config.sweep.lr or '
        f'config.sweep.lam, and choose another --workdir: {workdir.path} contains the diverged '
        'sweep. To use it again, first remove it.'
    )


def _save_results(
    config, task: Task, workdir: Workdir, outcomes: list[dict], seconds: float
) -> dict:
    """Writes results.json and predictions.csv; returns the results ({} in other processes)."""
    results = {}
    if distributed.is_main_process():
        runs = []
        for outcome in outcomes:
            runs += outcome['runs']
        file = workdir.merge_predictions(len(outcomes))
        blocks = predictions.read_blocks(file, runs)
        predicted = predictions.read_predictions(blocks, task.classes, task.ratings)
        results = outputs.make_results(config, task, outcomes, predicted, seconds)
        workdir.save_results(results)
    distributed.wait_for_all('results.json')
    return results

"""Restores the selected parameters of a finished sweep, and predicts with them."""

import contextlib
from collections.abc import Callable, Iterator

import jax

from data_pipelines.errors import UserError
from jaxser import distributed, workdir_files
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.shared_task import load_task
from jaxser.training.tracking import Collected, CollectedOutputs
from jaxser.training.trainer import Group, Trainer
from jaxser.training.validate import plan_programs
from jaxser.workdir import Workdir

PROGRESS_DELAY = 2  # seconds; short predictions have no progress bar


def restored_groups(
    workdir: Workdir, run_filter: Callable[[dict], bool] = lambda run: True
) -> Iterator[tuple[Trainer, Group, tuple]]:
    """Yields the groups of a finished sweep as (trainer, group, (params, batch_stats)).

    The parameters are those of each run's selected epoch. The groups are in the order of the runs
    in results.json. A group is left out if `run_filter` is false for all its runs. The trainers can
    predict, but not train. Raises UserError if the data have changed, or without a checkpoint.
    """
    config = workdir.config
    choices = workdir.load_choices()
    if not {'resident', 'runs_per_group'} <= choices.keys():
        raise workdir_files.damaged(
            workdir.path / 'choices.json', 'it does not say how the runs were grouped'
        )
    programs = plan_programs(config)
    task = load_task(config, programs)
    workdir.check_same_split(task)
    mel_RxM = task.mel_RxM if choices['resident'] else None
    group_number = 0
    for number, program in enumerate(programs):
        group_size = choices['runs_per_group'][str(number)]
        trainer = Trainer(program, task, mel_RxM, group_size, for_training=False)
        for group in trainer.groups:
            if any(run_filter(run) for run in group.runs):
                yield trainer, group, _restore_best(trainer, group, workdir, group_number)
            group_number += 1


def predict_part(
    trainer: Trainer, group: Group, variables: tuple, part: str
) -> tuple[Collected, CollectedOutputs]:
    """Returns the representations, and the posteriors and ratings, of a part of each run's fold.

    `part` is an attribute of Fold that contains rows, such as 'dev'. The utterances are not cut. A
    progress bar is shown after PROGRESS_DELAY seconds.
    `variables` are (params, batch_stats) of the runs.
    """
    layout = group.layout
    hyper = layout.put_runs_on_devices(group.hyper_DxR)
    representations = Collected(group.subset_fold_N)
    collected_outputs = CollectedOutputs(group.subset_fold_N, len(trainer.task.classes))
    items = group.evaluation_items(part, epoch=0)
    total = sum(len(getattr(fold, part)) for fold in group.task.subset_folds)
    with (
        contextlib.closing(trainer.open_feed(items)) as feed,
        distributed.progress_bar(total, 'utterance', delay=PROGRESS_DELAY, leave=False) as bar,
    ):
        bar.set_description('Predicting', refresh=False)
        for item, batch in feed:
            z, outputs = trainer.predict(layout, variables, item, batch, hyper)
            representations.add(item.global_row, layout.collect(z))
            collected_outputs.add(item.global_row, layout.collect(outputs))
            bar.update(int((item.global_row >= 0).sum()))
    return representations, collected_outputs


def _restore_best(trainer: Trainer, group: Group, workdir: Workdir, group_number: int) -> tuple:
    """Returns the selected (params, batch_stats) of a group; UserError without a checkpoint."""
    folder = workdir.checkpoint_folder(group_number)
    hyper = group.layout.put_runs_on_devices(group.hyper_DxR)
    state = jax.eval_shape(trainer.functions.init, hyper)
    template = {'state': state, 'best': (state.params, state.batch_stats)}
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        checkpoint = checkpoints.restore(template, group.layout)
        newest_epoch = checkpoints.newest_epoch()
    if checkpoint is None:
        raise UserError(
            f'{folder} contains no checkpoint, so that the trained parameters are lost. Copy the '
            f'folder from a backup. Without one, remove the whole workdir, {workdir.path}, and '
            'train the sweep again.'
        )
    if checkpoint.epoch != newest_epoch:  # its parameters are not those that were tested
        raise UserError(
            f'The checkpoint {folder / str(newest_epoch)} is damaged. Copy it from a backup; or '
            f'remove results.json and groups/*/outcome.json from {workdir.path} and run the '
            'command of the training again: it continues from the checkpoint before.'
        )
    return checkpoint.arrays['best']

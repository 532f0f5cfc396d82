"""TODO: jaxser.training.restore."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import jax

from data_pipelines.batching import feeds, plan
from data_pipelines.errors import UserError
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.task import Task, load_features
from jaxser.training.tracking import Collected, CollectedPosteriors
from jaxser.training.trainer import Group, Trainer
from jaxser.training.validate import validate
from jaxser.workdir import Workdir


def restored_groups(
    workdir: Workdir, is_wanted: Callable[[dict], bool] = lambda run: True
) -> Iterator[tuple[Trainer, Group, tuple]]:
    """Of a finished sweep, every group with its trainer and the selected (parameters, statistics) of its runs.

    In the order of the runs in results.json, without the groups of which no run is `is_wanted`; the trainer predicts alone.
    """
    config, choices, number = workdir.config, workdir.load_choices(), itertools.count()
    parts = validate(config)
    task = Task(config, parts)
    workdir.check_same_split(task)
    mel_RxM = load_features(task) if choices['resident'] else None
    for n, part in enumerate(parts):
        trainer = Trainer(
            part, task, mel_RxM, choices['runs_per_group'][str(n)], for_training=False
        )
        for group in trainer.groups:
            folder = workdir.checkpoint_folder(next(number))
            if any(map(is_wanted, group.runs)):
                yield trainer, group, _restore_best(trainer, group, folder)


def predict_part(
    trainer: Trainer, group: Group, variables: tuple, part: str
) -> tuple[Collected, CollectedPosteriors]:
    """Representations and posteriors of a part of each run's fold, whole utterances, by the parameters `variables`."""
    task, config, layout = trainer.task, trainer.config, group.layout
    hyper, z_of, scores = (
        layout.put_runs_on_devices(group.hyper_DxR),
        Collected(group.fold_N),
        CollectedPosteriors(group.fold_N),
    )
    here = group.fold_DxF[layout.local_devices]
    items = plan.evaluation_items(
        task.subset_folds, here, task.utterances, part, 0, config.data.eval_batch
    )
    read = feeds.resident_feed if trainer.is_resident else feeds.streaming_feed
    with contextlib.closing(read(task.table, items)) as feed:
        for item, batch in feed:
            z, predicted = trainer.functions.predict_for_frames(item.frames)(
                *variables, trainer.shared, layout.put_batch_on_devices(batch, 2), hyper
            )
            z_of.add(item.global_row, layout.collect(z))
            scores.add(item.global_row, layout.collect(predicted))
    return z_of, scores


def _restore_best(trainer: Trainer, group: Group, folder) -> tuple:
    state = jax.eval_shape(
        trainer.functions.init, group.layout.put_runs_on_devices(group.hyper_DxR)
    )
    like = {'state': state, 'best': (state.params, state.batch_stats)}
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        found = checkpoints.restore(like, group.layout)
    if found is None:
        raise UserError(
            f'{folder} holds no checkpoint: the parameters are lost. Remove the workdir and train anew.'
        )
    return found[1]['best']

"""TODO: jaxser.training.loop."""

import contextlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.batching import feeds
from jaxser import distributed
from jaxser.analysis.metrics import classification_metrics
from jaxser.runs import run_label
from jaxser.training import monitoring, outputs
from jaxser.training.checkpoints import Checkpoints
from jaxser.training.outputs import MetricsLog
from jaxser.training.tracking import Collected, CollectedPosteriors, EpochMetrics, SelectionRecord
from jaxser.training.trainer import Group, Trainer

TARGET_DISPATCH_SECONDS = 20.0  # that one may take, about: meanwhile the bar stands still


def train_group(
    trainer: Trainer,
    group: Group,
    group_number: int,
    previous_outcomes: list,
    workdir,
    progress,
    termination,
    profile,
    start_time,
) -> dict:
    """The loop over epochs; returns the runs, and leaves their predictions and their parameters in the workdir."""
    config, task, layout = trainer.config, trainer.task, group.layout
    programs, record, shared = trainer.functions, SelectionRecord(len(group.runs)), trainer.shared
    record.lines = previous_outcomes[-1]['lines'] if previous_outcomes else 0
    hyper = layout.put_runs_on_devices(group.hyper_DxR)
    state = programs.init(hyper)
    best = jax.tree.map(jnp.copy, (state.params, state.batch_stats))
    checkpoints, epoch = Checkpoints(workdir.checkpoint_folder(group_number)), 0
    if found := checkpoints.restore({'state': state, 'best': best}, layout):
        epoch, arrays, host = found
        state, best = arrays['state'], arrays['best']
        record.from_json(host)
        distributed.skip_steps(progress, min(epoch, config.train.epochs) * task.steps_per_epoch)
        distributed.log(
            f'Resuming after epoch {min(epoch, config.train.epochs)} of {config.train.epochs}.'
        )

    entropy = [
        monitoring.domain_entropies(task.table, task.subset_folds[f], trainer.method.domains)
        for f in group.fold_N
    ]
    alarms = monitoring.AdversaryAlarms(
        group.runs, entropy, len(task.table.classes), config.train.epochs, task.label_keys
    )
    clock, saved = time.perf_counter() - record.seconds, time.perf_counter()
    scores, heard = CollectedPosteriors(group.fold_N), Collected(group.fold_N)
    read = feeds.resident_feed if trainer.is_resident else feeds.streaming_feed
    with (
        contextlib.closing(checkpoints),
        contextlib.closing(
            MetricsLog(
                workdir, record.lines, epoch, [run_label(r, task.label_keys) for r in group.runs]
            )
        ) as log,
        contextlib.closing(
            read(
                task.table,
                group.work_items(
                    config, task, trainer.steps_per_chunk, epoch, trainer.has_identity_batches
                ),
            )
        ) as feed,
        contextlib.ExitStack() as traced,
    ):
        trace, first = EpochMetrics(layout.collect, progress), True
        for item, batch in feed:
            if item.part == 'train':
                step_S = np.arange(trainer.steps_per_chunk)
                batch = layout.put_batch_on_devices(batch, 3)
                if first:
                    seconds = measure_epoch_seconds(trainer, state, batch, hyper)
                    monitoring.print_forecast(trainer, group, seconds, epoch, start_time)
                    at_once = distributed.broadcast_from_main(
                        max(
                            1,
                            int(
                                min(
                                    task.steps_per_epoch,
                                    task.steps_per_epoch
                                    * TARGET_DISPATCH_SECONDS
                                    / max(seconds, 1e-3),
                                )
                            ),
                        )
                    )
                    progress.set_postfix_str('training')
                    progress.unpause()  # what came before was compilation, which is no measure of the steps
                    if profile:
                        traced.enter_context(
                            jax.profiler.trace(
                                str(workdir.path / 'profile'), create_perfetto_trace=True
                            )
                        )
                    first = False
                for at in range(0, item.steps, at_once):
                    now = slice(at, min(at + at_once, item.steps))
                    real_S = (now.start <= step_S) & (step_S < now.stop)
                    state, metrics = trainer.train_chunk(state, shared, batch, real_S, hyper)
                    trace.add(metrics, now)
                continue
            chosen = (state.params, state.batch_stats) if item.part == 'dev' else best
            z, predicted = programs.predict_for_frames(item.frames)(
                *chosen, shared, layout.put_batch_on_devices(batch, 2), hyper
            )
            if item.part == 'seen':
                heard.add(item.global_row, layout.collect(z))
                if item.is_last:
                    best = fit_method(trainer, group, best[0], heard), best[1]
                    checkpoints.save(
                        config.train.epochs + 1,
                        {'state': state, 'best': best},
                        record.to_json(),
                        layout,
                    )
                continue
            scores.add(item.global_row, layout.collect(predicted))
            if not item.is_last:
                continue
            counts = scores.confusion_matrices(task.table.emotion_N)
            if item.part == 'dev':
                epoch, scores = item.epoch + 1, CollectedPosteriors(group.fold_N)
                steps = trace.finish_epoch()
                if profile:
                    traced.close()
                    monitoring.print_profile_path(workdir.path / 'profile')
                    profile = False
                record.mark_diverged(steps['loss'], item.epoch * task.steps_per_epoch)
                dev = [classification_metrics(c) for c in counts]
                better = layout.group_by_device(
                    record.select_epoch(config.train, epoch, dev, steps)
                )
                best = programs.update_best(best, state, layout.put_runs_on_devices(better))
                rows = outputs.make_metrics_rows(group.runs, epoch, steps, dev)
                record.lines = log.add(epoch, rows)
                for sentence in alarms(epoch, rows):
                    distributed.log(sentence)
                record.seconds = time.perf_counter() - clock
                progress.set_postfix_str(
                    f'epoch {epoch}, dev UAR {np.mean([d["uar"] for d in dev]):.3f}'
                )
                stop = termination.is_requested(epoch)
                due = distributed.broadcast_from_main(
                    int(time.perf_counter() - saved >= config.train.checkpoint_seconds)
                )
                if stop or due or epoch == config.train.epochs:
                    log.flush()
                    checkpoints.save(
                        epoch, {'state': state, 'best': best}, record.to_json(), layout
                    )
                    saved = time.perf_counter()
                if stop:
                    raise distributed.Preempted(
                        f'SIGTERM: saved after epoch {epoch} of {config.train.epochs} in {workdir.path}.'
                    )
    outcome = outputs.make_outcome(group.runs, record, counts, entropy)
    workdir.save_outcome(
        group_number, outcome, outputs.make_prediction_rows(task, group.runs, scores, record)
    )
    return outcome


def fit_method(trainer: Trainer, group: Group, params, seen: Collected):
    """The parameters of all runs after the method's `fit` on the representations of what each run's training heard."""
    layout, domain_N = group.layout, trainer.task.table.domain_N
    params_N, each = jax.tree.map(layout.collect, params), []
    for n in range(len(group.runs)):
        rows, z_NxD = seen.get_run(n)
        index = {d: domain_N[d][rows] for d in trainer.method.domains}
        each.append(trainer.method.fit(jax.tree.map(lambda x, n=n: x[n], params_N), z_NxD, index))
    return layout.put_runs_on_devices(
        jax.tree.map(lambda *x: layout.group_by_device(np.stack(x)), *each)
    )


def measure_epoch_seconds(trainer: Trainer, state, batch, hyper) -> float:
    """Returns the seconds of an epoch, from a dispatch of one step and one of none.

    The steps train a copy of the state, which `memory.beside_program` counts.
    """
    seconds = []
    for steps in (0, 1, 0, 1):  # the first two may compile, or touch memory for the first time
        copy = jax.block_until_ready(jax.tree.map(jnp.copy, state))
        began = time.perf_counter()
        jax.block_until_ready(
            trainer.train_chunk(
                copy, trainer.shared, batch, np.arange(trainer.steps_per_chunk) < steps, hyper
            )
        )
        seconds.append(time.perf_counter() - began)
    return (
        trainer.task.steps_per_epoch * (seconds[3] - seconds[2])
        + seconds[2] * trainer.task.steps_per_epoch / trainer.steps_per_chunk
    )

"""Trains the adversary's own heads further on the frozen representation.

If an adversary is at chance, either its domain is gone from the representation, or the encoder
changed faster than the head could follow. Here the encoder is fixed, and each head takes
REFIT_STEPS more steps of Adam on all its training data. If its loss falls, the domain is still
there.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax

from jaxser.training import parallel, tracking

REFIT_STEPS = 100
LEARNING_RATE = 1e-2


class HeadInput(NamedTuple):
    """The training data of a run's heads: representations and the other arrays of a batch."""

    z_NxD: np.ndarray
    batch: dict[str, np.ndarray]


@functools.cache
def make_refit(domain_loss: Callable, domains: tuple[str, ...]) -> Callable:
    """Returns (params, z_NxD, batch) -> {domain: (first loss, lowest loss)} for one run.

    `domain_loss` is that of a Method (jaxser/interfaces.py); losses are in nats.
    """
    optimizer = optax.adam(LEARNING_RATE)

    def refit_head(domain: str, head, z_NxD: jax.Array, batch: dict) -> tuple[jax.Array, jax.Array]:
        def loss(head):
            return domain_loss(domain, head, z_NxD, batch)

        def step(carry, _):
            head, state = carry
            (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(head)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(head, updates), state), value

        _, loss_S = jax.lax.scan(step, (head, optimizer.init(head)), None, REFIT_STEPS)
        return loss_S[0], loss_S.min()

    def refit_run(run: tuple) -> dict:
        params, z_NxD, batch = run
        losses = {}
        for domain in domains:
            losses[domain] = refit_head(domain, params[domain], z_NxD, batch)
        return losses

    return refit_run


def refit_heads(trainer, group, params, representations: tracking.Collected) -> list[dict | None]:
    """Returns {domain: {'before', 'after'}}, losses in nats, for every run of a group.

    All are None for a method without domain heads, and if the representations of a run contain no
    utterance with a domain label (which then come from other corpora, in identity batches).

    Args:
      trainer: the Trainer of the group.
      group: the runs.
      params: their selected parameters.
      representations: of the utterances that the runs use, computed with `params`.
    """
    method = trainer.method
    no_losses = [None] * len(group.runs)
    if method.domain_loss is None:
        return no_losses
    inputs = []
    for n in range(len(group.runs)):
        inputs.append(_head_input(trainer, group, representations, n))
        if not len(inputs[-1].z_NxD):
            return no_losses

    stacked = _stack_inputs(inputs, method.domains)
    heads = {}
    for domain in method.domains:
        heads[domain] = jax.tree.map(group.layout.collect, params[domain])
    refit = make_refit(method.domain_loss, method.domains)
    losses = parallel.map_over_runs(refit, (heads, stacked.z_NxD, stacked.batch))
    return [_run_losses(losses, n) for n in range(len(group.runs))]


def _head_input(trainer, group, representations: tracking.Collected, n: int) -> HeadInput:
    """Returns the training data of run n's heads: its utterances with a domain label."""
    table = trainer.task.table
    fold_index = group.subset_fold_N[n]
    fold = trainer.task.subset_folds[fold_index]
    rows, z_NxD = representations.get_run(n)
    in_training_N = np.isin(rows, fold.domain_rows)
    rows = rows[in_training_N]
    batch = {
        'emotion_B': table.emotion_N[rows],
        'labelled_B': np.isin(rows, fold.train).astype(np.float32),
    }
    for domain in trainer.method.domains:
        batch[f'{domain}_B'] = table.domain_N[domain][rows]
        batch[f'{domain}_seen_K'] = table.seen[domain][fold_index]
    return HeadInput(z_NxD[in_training_N], batch)


def _stack_inputs(inputs: list[HeadInput], domains: tuple[str, ...]) -> HeadInput:
    """Returns the inputs of all runs, padded to the longest, with a leading axis of runs."""
    longest = max(len(head_input.z_NxD) for head_input in inputs)
    padded = [_pad_input(head_input, longest, domains) for head_input in inputs]
    return jax.tree.map(lambda *arrays: np.stack(arrays), *padded)


def _pad_input(head_input: HeadInput, size: int, domains: tuple[str, ...]) -> HeadInput:
    """Returns an input padded to `size` utterances, which have no domain (-1) and no emotion."""
    batch = dict(head_input.batch)
    for key in ('emotion_B', 'labelled_B'):
        batch[key] = _pad(batch[key], size, 0)
    for domain in domains:
        batch[f'{domain}_B'] = _pad(batch[f'{domain}_B'], size, -1)
    return HeadInput(_pad(head_input.z_NxD, size, 0), batch)


def _pad(array: np.ndarray, size: int, value: int) -> np.ndarray:
    padding = np.full((size - len(array), *array.shape[1:]), value, array.dtype)
    return np.concatenate([array, padding])


def _run_losses(losses: dict, n: int) -> dict[str, dict[str, float]]:
    """Returns the losses of run n as they are in results.json."""
    run_losses = {}
    for domain, (before_R, after_R) in losses.items():
        run_losses[domain] = {'before': float(before_R[n]), 'after': float(after_R[n])}
    return run_losses

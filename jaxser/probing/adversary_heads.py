"""Trains the adversary's own heads further on the frozen representation.

If an adversary is at chance, either its domain is gone from the representation, or the encoder
changed faster than the head could follow. Here the encoder is fixed, and each head takes
REFIT_STEPS more steps of Adam on all its training data. If its loss falls, the domain is still
there.

If a run has more than BATCH_SIZE utterances, the head is trained on up to MAX_BATCHES random
batches of at most BATCH_SIZE, which are used in turn. The losses before and after are then those of
the first batch.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data_pipelines.batching import feeds
from jaxser.training import parallel, tracking

REFIT_STEPS = 100
LEARNING_RATE = 1e-2
BATCH_SIZE = 8192  # utterances; memory grows with their number times that of the domain's classes
MAX_BATCHES = 10


class HeadInput(NamedTuple):
    """The training data of a run's heads: representations and the other arrays of a batch."""

    z_NxD: np.ndarray
    batch: dict[str, np.ndarray]


@functools.cache
def make_refit(domain_loss: Callable, domains: tuple[str, ...]) -> Callable:
    """Returns (params, z_ZxBxD, batch) -> {domain: (first loss, lowest loss)} for one run.

    `domain_loss` is that of a Method (jaxser/interfaces.py); losses are in nats. Z is the number of
    batches, and the arrays of examples in `batch` also have the axes ZxB.
    """
    optimizer = optax.adam(LEARNING_RATE)

    def refit_head(domain: str, head, z_ZxBxD: jax.Array, batch: dict) -> tuple:
        Z = len(z_ZxBxD)

        def loss(head, index):
            one_batch = {}
            for name, array in batch.items():
                one_batch[name] = array[index] if feeds.has_examples(name) else array
            return domain_loss(domain, head, z_ZxBxD[index], one_batch)

        def step(carry, step_index):
            head, state = carry
            (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(head, step_index % Z)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(head, updates), state), value

        carry = head, optimizer.init(head)
        _, loss_S = jax.lax.scan(step, carry, jnp.arange(REFIT_STEPS))
        first_batch_S = loss_S[::Z]
        return first_batch_S[0], first_batch_S.min()

    def refit_run(run: tuple) -> dict:
        params, z_ZxBxD, batch = run
        losses = {}
        for domain in domains:
            losses[domain] = refit_head(domain, params[domain], z_ZxBxD, batch)
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
        inputs.append(_sample_input(_head_input(trainer, group, representations, n)))
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
    """Returns the inputs of all runs in batches, padded to the longest, with a first axis of runs.

    Arrays of examples have the axes RxZxB: runs, batches and examples.
    """
    longest = max(len(head_input.z_NxD) for head_input in inputs)
    batch_count = -(-longest // BATCH_SIZE)
    size = batch_count * -(-longest // batch_count)
    batched = []
    for head_input in inputs:
        batched.append(_split_input(_pad_input(head_input, size, domains), batch_count))
    return jax.tree.map(lambda *arrays: np.stack(arrays), *batched)


def _map_examples(function: Callable, head_input: HeadInput) -> HeadInput:
    """Returns an input, with `function` applied to its arrays of examples."""
    batch = {}
    for name, array in head_input.batch.items():
        batch[name] = function(array) if feeds.has_examples(name) else array
    return HeadInput(function(head_input.z_NxD), batch)


def _sample_input(head_input: HeadInput) -> HeadInput:
    """Returns at most MAX_BATCHES of an input, in random order if it has more than one batch."""
    count = len(head_input.z_NxD)
    if count <= BATCH_SIZE:
        return head_input
    order = np.random.default_rng(0).permutation(count)[: MAX_BATCHES * BATCH_SIZE]
    return _map_examples(lambda array: array[order], head_input)


def _split_input(head_input: HeadInput, batch_count: int) -> HeadInput:
    """Returns an input whose arrays of examples have the axes ZxB: batches and examples.

    Example n is in batch n % Z, so that each batch has an equal share of the padding at the end.
    """

    def split(array: np.ndarray) -> np.ndarray:
        return array.reshape(-1, batch_count, *array.shape[1:]).swapaxes(0, 1)

    return _map_examples(split, head_input)


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

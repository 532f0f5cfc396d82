"""The adversary's own heads, trained on over the frozen representation: whether they were beaten, or had only lagged behind.

A head that guesses says that its domain is gone, or that the encoder ran away from it faster than it could follow. Here the
encoder stands still, and each head takes STEPS more of Adam on all that it was trained to tell apart.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np
import optax

from jaxser.training import parallel, tracking

REFIT_STEPS, LEARNING_RATE = 100, 1e-2


@functools.cache
def make_refit(domain_loss: Callable, domains: tuple[str, ...]) -> Callable:
    """(params, z_NxD, batch) -> {domain: (loss of its head, the lowest on the way)}, of one run of a method."""
    adam = optax.adam(LEARNING_RATE)

    def of(domain: str, head, z_NxD: jax.Array, batch: dict) -> tuple[jax.Array, jax.Array]:
        def step(carry, _):
            head, state = carry
            (value, _), gradient = jax.value_and_grad(
                lambda h: domain_loss(domain, h, z_NxD, batch), has_aux=True
            )(head)
            moves, state = adam.update(gradient, state)
            return (optax.apply_updates(head, moves), state), value

        _, value_S = jax.lax.scan(step, (head, adam.init(head)), None, REFIT_STEPS)
        return value_S[0], value_S.min()

    def one(run: tuple) -> dict:
        params, z_NxD, batch = run
        return {d: of(d, params[d], z_NxD, batch) for d in domains}

    return one


def refit_heads(trainer, group, params, representations: tracking.Collected) -> list[dict | None]:
    """{domain: {'before', 'after'}} in nats of every run of a group; None of a method that has no such heads, or is told no z.

    `params` are the selected ones, `representations` the representations by them.
    """
    method, table, runs = trainer.method, trainer.task.table, range(len(group.runs))
    if method.domain_loss is None:
        return [None for _ in runs]
    of_runs = [representations.get_run(n) for n in runs]
    forgotten = [
        np.isin(rows, trainer.task.subset_folds[f].domain_rows)
        for (rows, _), f in zip(of_runs, group.fold_N)
    ]
    if not all(
        there.any() for there in forgotten
    ):  # of other corpora (identity batches) nobody asks the representation
        return [None for _ in runs]
    N = max(int(there.sum()) for there in forgotten)
    fill = lambda x, with_: np.concatenate([x, np.full((N - len(x), *x.shape[1:]), with_, x.dtype)])  # noqa: E731
    z, batches = [], []
    for (rows, z_NxD), there, f in zip(of_runs, forgotten, group.fold_N):
        rows = rows[there]
        z.append(fill(z_NxD[there], 0))
        labelled_N = np.isin(rows, trainer.task.subset_folds[f].train).astype(np.float32)
        batch = {'emotion_B': fill(table.emotion_N[rows], 0), 'labelled_B': fill(labelled_N, 0)}
        batch |= {f'{d}_B': fill(table.domain_N[d][rows], -1) for d in method.domains}
        batches.append(batch | {f'{d}_seen_K': table.seen[d][f] for d in method.domains})
    own = {d: jax.tree.map(group.layout.collect, params[d]) for d in method.domains}
    stacked = own, np.stack(z), jax.tree.map(lambda *x: np.stack(x), *batches)
    found = parallel.map_over_runs(make_refit(method.domain_loss, method.domains), stacked)
    return [
        {d: {'before': float(was[n]), 'after': float(now[n])} for d, (was, now) in found.items()}
        for n in runs
    ]

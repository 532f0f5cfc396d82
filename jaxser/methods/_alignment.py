"""Builds the alignment methods coral and mmd: plain training plus a distance to the target."""

from collections.abc import Callable

import jax

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn.output_head import make_output_head


def make_alignment(
    config,
    encoder: Encoder,
    sizes: Sizes,
    name: str,
    distance: Callable[[jax.Array, jax.Array], jax.Array],
) -> Method:
    """Returns the method with the task's loss + lam distance(z_BxD, target_B).

    `name` is the metric under which the distance is logged.
    """
    output_head = make_output_head(config, sizes)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        task = erm.task_forward(encoder, output_head, params, state, batch, hyper, key)
        value = distance(task.z_BxD, batch['target_B'])
        metrics = task.metrics | {name: value}
        total = task.loss + hyper['lam'] * value
        return total, Aux(task.batch_stats, state.extra, metrics)

    return Method(
        hyper={'lam': 1.0}, init=plain.init, loss=loss, predict=plain.predict, target=True
    )

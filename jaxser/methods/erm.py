"""Plain training: empirical risk minimisation, the baseline of every other method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxser.interfaces import Aux, Batch, Encoder, Hyper, Method, Sizes, State
from jaxser.nn.output_head import OutputHead, make_output_head


class TaskForward(NamedTuple):
    """The result of one training pass through the encoder and the heads of the task."""

    loss: jax.Array  # of the task: CE(emotion | z), or that of ratings
    z_BxD: jax.Array
    batch_stats: Any
    metrics: dict[str, jax.Array]


def task_forward(
    encoder: Encoder,
    output_head: OutputHead,
    params: dict,
    state: State,
    batch: Batch,
    hyper: Hyper,
    key: jax.Array,
    class_loss: Callable | None = None,
) -> TaskForward:
    """Encodes a batch in training mode and returns the task's loss with what other methods need.

    `class_loss` is (scores_BxC, batch) -> (value, metrics): another loss of the emotions than that
    of the head.
    """
    z_BxD, batch_stats = encoder.apply(
        params['encoder'], state.batch_stats, batch, hyper, key, train=True
    )
    loss, metrics = output_head.loss(params, z_BxD, batch, key, class_loss)
    return TaskForward(loss, z_BxD, batch_stats, metrics)


def make_task_loss(
    output_head: OutputHead, params: dict, batch: Batch, key: jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Returns the task's loss as a function of z_BxD; `key` is that of the step."""

    def task_loss(z_BxD):
        value, _ = output_head.loss(params, z_BxD, batch, key)
        return value

    return task_loss


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """The loss of the task (config.task): CE(emotion | z), the loss of ratings, or their sum."""
    output_head = make_output_head(config, sizes)

    def init(key, z_1xD):
        return output_head.init(key, z_1xD), {}

    def loss(params, state, batch, hyper, key):
        task = task_forward(encoder, output_head, params, state, batch, hyper, key)
        return task.loss, Aux(task.batch_stats, state.extra, task.metrics)

    def predict(params, batch_stats, batch):
        z_BxD, _ = encoder.apply(params['encoder'], batch_stats, batch, {}, None, train=False)
        return z_BxD, output_head.apply(params, z_BxD)

    return Method(hyper={}, init=init, loss=loss, predict=predict)

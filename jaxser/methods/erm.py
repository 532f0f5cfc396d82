"""Plain training: empirical risk minimisation, the baseline of every other method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxser import losses
from jaxser.interfaces import Aux, Batch, Encoder, Hyper, Method, Sizes, State
from jaxser.nn import heads


class EmotionForward(NamedTuple):
    """The result of one training pass through the encoder and the emotion head."""

    loss: jax.Array  # CE(emotion | z)
    z_BxD: jax.Array
    batch_stats: Any
    metrics: dict[str, jax.Array]


def emotion_forward(
    encoder: Encoder,
    emotion_head: heads.Head,
    params: dict,
    state: State,
    batch: Batch,
    hyper: Hyper,
    key: jax.Array,
) -> EmotionForward:
    """Encodes a batch in training mode and returns CE(emotion | z) with what other methods need."""
    z_BxD, batch_stats = encoder.apply(
        params['encoder'], state.batch_stats, batch, hyper, key, train=True
    )
    scores_BxC = emotion_head.apply(params['emotion'], z_BxD)
    loss, metrics = losses.emotion_cross_entropy(scores_BxC, batch)
    return EmotionForward(loss, z_BxD, batch_stats, metrics)


def make_task_loss(
    emotion_head: heads.Head, params: dict, batch: Batch
) -> Callable[[jax.Array], jax.Array]:
    """Returns CE(emotion) as a function of z_BxD."""

    def task_loss(z_BxD):
        scores_BxC = emotion_head.apply(params['emotion'], z_BxD)
        value, _ = losses.emotion_cross_entropy(scores_BxC, batch)
        return value

    return task_loss


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z)."""
    emotion_head = heads.make_head(sizes.emotions)

    def init(key, z_1xD):
        return {'emotion': emotion_head.init(key, z_1xD)}, {}

    def loss(params, state, batch, hyper, key):
        emotion = emotion_forward(encoder, emotion_head, params, state, batch, hyper, key)
        return emotion.loss, Aux(emotion.batch_stats, state.extra, emotion.metrics)

    def predict(params, batch_stats, batch):
        z_BxD, _ = encoder.apply(params['encoder'], batch_stats, batch, {}, None, train=False)
        return z_BxD, emotion_head.apply(params['emotion'], z_BxD)

    return Method(hyper={}, init=init, loss=loss, predict=predict)

"""Builds the alignment methods coral and mmd: plain training plus a distance to the target."""

from collections.abc import Callable

import jax

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads


def make_alignment(
    config,
    encoder: Encoder,
    sizes: Sizes,
    name: str,
    distance: Callable[[jax.Array, jax.Array], jax.Array],
) -> Method:
    """Returns the method with the loss CE(emotion | z) + lam distance(z_BxD, target_B).

    `name` is the metric under which the distance is logged.
    """
    emotion_head = heads.make_head(sizes.emotions)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        emotion = erm.emotion_forward(encoder, emotion_head, params, state, batch, hyper, key)
        value = distance(emotion.z_BxD, batch['target_B'])
        metrics = emotion.metrics | {name: value}
        total = emotion.loss + hyper['lam'] * value
        return total, Aux(emotion.batch_stats, state.extra, metrics)

    return Method(
        hyper={'lam': 1.0}, init=plain.init, loss=loss, predict=plain.predict, target=True
    )

"""Plain training: empirical risk minimisation, the baseline of every method."""

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.nn import heads


def emotion_forward(encoder: Encoder, emotion: heads.Head, params, state, batch, hyper, key):
    """CE(emotion | z) of a training pass, and what others build on: (value, z_BxD, batch_stats, metrics)."""
    z_BxD, batch_stats = encoder.apply(
        params['encoder'], state.batch_stats, batch, hyper, key, train=True
    )
    value, metrics = losses.emotion_cross_entropy(emotion.apply(params['emotion'], z_BxD), batch)
    return value, z_BxD, batch_stats, metrics


def make_task_loss(emotion: heads.Head, params, batch):
    """CE(emotion) as a function of z_BxD."""
    return lambda z_BxD: losses.emotion_cross_entropy(
        emotion.apply(params['emotion'], z_BxD), batch
    )[0]


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z)."""
    emotion = heads.make_head(sizes.emotions)

    def init(key, z_1xD):
        return {'emotion': emotion.init(key, z_1xD)}, {}

    def loss(params, state, batch, hyper, key):
        value, _, batch_stats, metrics = emotion_forward(
            encoder, emotion, params, state, batch, hyper, key
        )
        return value, Aux(batch_stats, state.extra, metrics)

    def predict(params, batch_stats, batch):
        z_BxD, _ = encoder.apply(params['encoder'], batch_stats, batch, {}, None, train=False)
        return z_BxD, emotion.apply(params['emotion'], z_BxD)

    return Method({}, init, loss, predict)

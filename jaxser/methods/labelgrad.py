"""The control of cross-gradient training: perturbs along the emotion's own gradient and knows of no domain.

LabelGrad of Shankar et al. 2018: what crossgrad gains over it is the domain's doing. eps and alpha are our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import perturbation
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.losses import cross_entropy_each
from jaxser.methods import erm
from jaxser.models import heads


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """(1 - alpha) J_e(x) + alpha J_e(x_e), x_e = x + eps clip(grad_x J_e(x)) a constant; J_e is CE(emotion | z).

    Batch statistics, dropout and single examples' losses as in crossgrad; alpha = 0 is plain training.
    """
    emotion = heads.make(sizes.emotions)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        fixed, alpha = jax.lax.stop_gradient(params), hyper['alpha']

        def hear(mel_BxTxM, params=params):
            return erm.plain(encoder, emotion, params, state, batch | {'mel_BxTxM': mel_BxTxM}, hyper, key)

        def each(z_BxD):
            return cross_entropy_each(emotion.apply(fixed['emotion'], z_BxD), batch['emotion_B'])

        way = each, jnp.sign(batch['labelled_B'])
        (e_BxTxM,) = perturbation.ascend(lambda mel_BxTxM: hear(mel_BxTxM, fixed)[1], batch, hyper['eps'], way)
        value, _, batch_stats, metrics = hear(batch['mel_BxTxM'])
        value = (1 - alpha) * value + alpha * hear(e_BxTxM)[0]
        metrics['emotion_shift'] = perturbation.distance(e_BxTxM, batch['mel_BxTxM'])
        return value, Aux(batch_stats, state.extra, metrics)

    return Method({'eps': 1.0, 'alpha': 0.5}, plain.init, loss, plain.predict)

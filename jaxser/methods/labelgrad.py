"""The control of cross-gradient training: moves features along the emotion's own gradient.

LabelGrad of Shankar et al. 2018. It uses no domain, so what crossgrad gains over it is due to the
domain. eps and alpha are our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import _perturbation, erm
from jaxser.nn import heads


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """(1 - alpha) J_e(x) + alpha J_e(x_e), x_e = x + eps clip(grad_x J_e(x)).

    J_e is CE(emotion | z), and x_e is a constant. Batch statistics, dropout and the losses of
    single examples are as in crossgrad. alpha = 0 is plain training.
    """
    emotion_head = heads.make_head(sizes.emotions)
    plain = erm.make(config, encoder, sizes)

    def emotion_cross_entropy(params, z_BxD, batch):
        return losses.emotion_cross_entropy(emotion_head.apply(params['emotion'], z_BxD), batch)

    def loss(params, state, batch, hyper, key):
        fixed = jax.lax.stop_gradient(params)

        def emotion_loss(z_BxD):
            scores_BxC = emotion_head.apply(fixed['emotion'], z_BxD)
            return losses.per_example_cross_entropy(scores_BxC, batch['emotion_B'])

        (x_e,) = _perturbation.ascend_losses(
            _perturbation.make_encode(encoder, fixed, state, batch, hyper, key),
            batch,
            hyper['eps'],
            _perturbation.Objective(emotion_loss, jnp.sign(batch['labelled_B'])),
        )
        versions = _perturbation.encode_versions(
            _perturbation.make_encode(encoder, params, state, batch, hyper, key),
            batch['mel_BxTxM'],
            x_e,
        )
        z_BxD, z_e_BxD = versions.z_VxBxD
        clean, metrics = emotion_cross_entropy(params, z_BxD, batch)
        moved, _ = emotion_cross_entropy(params, z_e_BxD, batch)
        metrics['emotion_shift'] = versions.distance_V[1]
        total = (1 - hyper['alpha']) * clean + hyper['alpha'] * moved
        return total, Aux(versions.batch_stats, state.extra, metrics)

    return Method(
        hyper={'eps': 1.0, 'alpha': 0.5}, init=plain.init, loss=loss, predict=plain.predict
    )

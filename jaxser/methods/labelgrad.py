"""The control of cross-gradient training: perturbs along the emotion's own gradient and knows of no domain.

LabelGrad of Shankar et al. 2018: what crossgrad gains over it is the domain's doing. eps and alpha are our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import _perturbation, erm
from jaxser.nn import heads


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """(1 - alpha) J_e(x) + alpha J_e(x_e), x_e = x + eps clip(grad_x J_e(x)) a constant; J_e is CE(emotion | z).

    Batch statistics, dropout and single examples' losses as in crossgrad; alpha = 0 is plain training.
    """
    emotion = heads.make_head(sizes.emotions)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        fixed, alpha = jax.lax.stop_gradient(params), hyper['alpha']

        def encode(mel_BxTxM, params=params):
            return encoder.apply(
                params['encoder'],
                state.batch_stats,
                batch | {'mel_BxTxM': mel_BxTxM},
                hyper,
                key,
                train=True,
            )

        def each(z_BxD):
            return losses.per_example_cross_entropy(
                emotion.apply(fixed['emotion'], z_BxD), batch['emotion_B']
            )

        way = each, jnp.sign(batch['labelled_B'])
        moved = _perturbation.ascend_losses(
            lambda mel_BxTxM: encode(mel_BxTxM, fixed), batch, hyper['eps'], way
        )
        (z_BxD, z_e_BxD), batch_stats, shift_2 = _perturbation.encode_versions(
            encode, batch['mel_BxTxM'], *moved
        )
        clean, metrics = losses.emotion_cross_entropy(
            emotion.apply(params['emotion'], z_BxD), batch
        )
        climbed, _ = losses.emotion_cross_entropy(emotion.apply(params['emotion'], z_e_BxD), batch)
        metrics['emotion_shift'] = shift_2[1]
        return (1 - alpha) * clean + alpha * climbed, Aux(batch_stats, state.extra, metrics)

    return Method({'eps': 1.0, 'alpha': 0.5}, plain.init, loss, plain.predict)

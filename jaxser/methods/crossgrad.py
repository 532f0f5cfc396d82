"""Cross-gradient training: each classifier also hears examples that were moved towards what the other hears in them.

A re-instantiation of CGT of Tu et al. 2019 (arXiv 1903.09606), i.e. CrossGrad of Shankar et al. 2018. Nothing is reversed: the
representation keeps the domain. eps, alpha and the sizes are our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import _perturbation, erm
from jaxser.nn import heads


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """(1 - alpha) (J_e(x) + J_d(x)) + alpha (J_e(x_d) + J_d(x_e)), x_d = x + eps clip(grad_x J_d(x)), x_e likewise by J_e.

    J_e is CE(emotion | z), J_d the sum of CE(d | z) over the domains d. Both perturbations are constants, from one more pass over
    x with the batch's statistics, and the losses of single examples, unweighted. x_d and x_e are normalised by their own
    statistics; the running ones learn from x alone. All passes drop the same units. Without emotion, x_e = x; without any known
    domain, x_d = x.
    """
    emotion, head = heads.make_head(sizes.emotions), heads.domain_heads(config, sizes)

    def init(key, z_1xD):
        return heads.init_heads({'emotion': emotion, **head}, key, z_1xD), {}

    def loss(params, state, batch, hyper, key):
        fixed, alpha = jax.lax.stop_gradient(params), hyper['alpha']
        known = {d: (batch[f'{d}_B'] >= 0).astype(jnp.float32) for d in head}

        def encode(mel_BxTxM, params=params):
            return encoder.apply(
                params['encoder'],
                state.batch_stats,
                batch | {'mel_BxTxM': mel_BxTxM},
                hyper,
                key,
                train=True,
            )

        def emotion_each(z_BxD):
            return losses.per_example_cross_entropy(
                emotion.apply(fixed['emotion'], z_BxD), batch['emotion_B']
            )

        def domain_each(z_BxD):
            scores = {
                d: losses.mask_unseen_classes(head[d].apply(fixed[d], z_BxD), batch[f'{d}_seen_K'])
                for d in head
            }
            return sum(
                losses.per_example_cross_entropy(scores[d], batch[f'{d}_B']) * known[d]
                for d in head
            )

        ways = (
            (emotion_each, jnp.sign(batch['labelled_B'])),
            (domain_each, jnp.sign(sum(known.values()))),
        )
        moved = _perturbation.ascend_losses(
            lambda mel_BxTxM: encode(mel_BxTxM, fixed), batch, hyper['eps'], *ways
        )
        (z_BxD, z_e_BxD, z_d_BxD), batch_stats, shift_3 = _perturbation.encode_versions(
            encode, batch['mel_BxTxM'], *moved
        )

        clean, metrics = losses.emotion_cross_entropy(
            emotion.apply(params['emotion'], z_BxD), batch
        )
        crossed, _ = losses.emotion_cross_entropy(emotion.apply(params['emotion'], z_d_BxD), batch)
        for d in head:
            of_clean, measured = losses.domain_cross_entropy(
                d, head[d].apply(params[d], z_BxD), batch
            )
            of_crossed, _ = losses.domain_cross_entropy(d, head[d].apply(params[d], z_e_BxD), batch)
            clean, crossed, metrics = clean + of_clean, crossed + of_crossed, metrics | measured
        metrics |= {'emotion_shift': shift_3[1], 'domain_shift': shift_3[2]}
        value = (1 - alpha) * clean + alpha * crossed
        return value, Aux(batch_stats, state.extra, metrics)

    return Method(
        {'eps': 1.0, 'alpha': 0.5},
        init,
        loss,
        erm.make(config, encoder, sizes).predict,
        tuple(head),
    )

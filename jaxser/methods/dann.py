"""Domain-adversarial training over speakers: a re-instantiation of Lian et al. 2019 (arXiv 1910.13807), with the gradient
reversal of Ganin et al. 2016 and the network of Tu et al. 2019 (arXiv 1903.09606); sizes and schedule are our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.losses import accuracy, cross_entropy, only
from jaxser.methods import erm
from jaxser.models import heads
from jaxser.reversal import ramp, reverse


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z) + domain_weight CE(speaker | reverse(z, lam ramp(p))), p the fraction of training done.

    `lam` scales only the gradient that reaches the encoder, in which `domain_weight` stands too; the head trains at any lam.
    """
    emotion = heads.make(sizes.emotions)
    domain = heads.make(sizes.domains[config.domain], hidden=config.domain_hidden)

    def init(key, z_1xD):
        # The emotion head draws from the same key as under erm.
        return {
            'emotion': emotion.init(key, z_1xD),
            'domain': domain.init(jax.random.fold_in(key, 1), z_1xD),
        }, {}

    def loss(params, state, batch, hyper, key):
        z_BxD, batch_stats = encoder.apply(
            params['encoder'], state.batch_stats, batch['mel_BxTxM'], batch['frames_B'], hyper, key, train=True
        )
        scores_BxC = emotion.apply(params['emotion'], z_BxD)
        emotion_loss = cross_entropy(scores_BxC, batch['emotion_B'], batch['labelled_B'])

        lam = hyper['lam'] * ramp(state.step / sizes.steps)
        scores_BxK = domain.apply(params['domain'], reverse(z_BxD, lam))
        scores_BxK = only(scores_BxK, batch[f'{config.domain}_seen_K'])
        domain_B, everyone_B = batch[f'{config.domain}_B'], jnp.ones_like(batch['labelled_B'])
        domain_loss = cross_entropy(scores_BxK, domain_B, everyone_B)

        metrics = {
            'emotion_loss': emotion_loss,
            'emotion_accuracy': accuracy(scores_BxC, batch['emotion_B'], batch['labelled_B']),
            'domain_loss': domain_loss,
            'domain_accuracy': accuracy(scores_BxK, domain_B, everyone_B),
            'domains': batch[f'{config.domain}_seen_K'].sum(),
            'lam_p': lam,
        }
        return emotion_loss + hyper['domain_weight'] * domain_loss, Aux(batch_stats, state.extra, metrics)

    return Method({'lam': 0.3, 'domain_weight': 1.0}, init, loss, erm.make(config, encoder, sizes).predict)

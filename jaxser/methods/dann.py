"""Domain-adversarial training: forgets speakers, languages, corpora, or several of them at once.

Over speakers a re-instantiation of Lian et al. 2019 (arXiv 1910.13807), over languages, with an unlabelled target in the batch,
of Cai et al. 2020 (arXiv 2012.11174); with the gradient reversal of Ganin et al. 2016 and the network of Tu et al. 2019 (arXiv
1903.09606). Sizes and schedule are our defaults.
"""

import jax

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.losses import accuracy, cross_entropy, only
from jaxser.methods import erm
from jaxser.models import heads
from jaxser.reversal import ramp, reverse


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z) + domain_weight sum_d CE(d | reverse(z, lam ramp(p))), p the fraction of training done, d the domains.

    `lam` scales only the gradient that reaches the encoder, in which `domain_weight` stands too; the heads train at any lam.
    An example whose domain is unknown has no part in that domain's loss.
    """
    domains = tuple(config.domain.split('+'))
    emotion = heads.make(sizes.emotions)
    head = {d: heads.make(sizes.domains[d], hidden=config.domain_hidden) for d in domains}

    def init(key, z_1xD):
        # The emotion head draws from the same key as under erm.
        of_domains = {d: head[d].init(jax.random.fold_in(key, n), z_1xD) for n, d in enumerate(domains, 1)}
        return {'emotion': emotion.init(key, z_1xD), **of_domains}, {}

    def loss(params, state, batch, hyper, key):
        z_BxD, batch_stats = encoder.apply(
            params['encoder'], state.batch_stats, batch['mel_BxTxM'], batch['frames_B'], hyper, key, train=True
        )
        scores_BxC = emotion.apply(params['emotion'], z_BxD)
        value = cross_entropy(scores_BxC, batch['emotion_B'], batch['labelled_B'])

        lam = hyper['lam'] * ramp(state.step / sizes.steps)
        metrics = {
            'emotion_loss': value,
            'emotion_accuracy': accuracy(scores_BxC, batch['emotion_B'], batch['labelled_B']),
            'lam_p': lam,
        }
        for d in domains:
            scores_BxK = only(head[d].apply(params[d], reverse(z_BxD, lam)), batch[f'{d}_seen_K'])
            known_B = (batch[f'{d}_B'] >= 0).astype(scores_BxK.dtype)
            domain_loss = cross_entropy(scores_BxK, batch[f'{d}_B'], known_B)
            value += hyper['domain_weight'] * domain_loss
            metrics |= {
                f'{d}_loss': domain_loss,
                f'{d}_accuracy': accuracy(scores_BxK, batch[f'{d}_B'], known_B),
                f'{d}_count': batch[f'{d}_seen_K'].sum(),
            }
        return value, Aux(batch_stats, state.extra, metrics)

    return Method({'lam': 0.3, 'domain_weight': 1.0}, init, loss, erm.make(config, encoder, sizes).predict, domains)

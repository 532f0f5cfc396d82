"""Cross-gradient training: each classifier also hears examples that were moved towards what the other hears in them.

A re-instantiation of CGT of Tu et al. 2019 (arXiv 1903.09606), i.e. CrossGrad of Shankar et al. 2018. Nothing is reversed: the
representation keeps the domain. eps, alpha and the sizes are our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import losses, perturbation
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.models import heads


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """(1 - alpha) (J_e(x) + J_d(x)) + alpha (J_e(x_d) + J_d(x_e)), x_d = x + eps clip(grad_x J_d(x)), x_e likewise by J_e.

    J_e is CE(emotion | z), J_d the sum of CE(d | z) over the domains d. Both perturbations are constants, from one more pass over
    x with the batch's statistics, and the losses of single examples, unweighted. x_d and x_e are normalised by their own
    statistics; the running ones learn from x alone. All passes drop the same units. Without emotion, x_e = x; without any known
    domain, x_d = x.
    """
    domains = tuple(config.domain.split('+'))
    emotion = heads.make(sizes.emotions)
    head = {d: heads.make(sizes.domains[d], hidden=config.domain_hidden) for d in domains}

    def init(key, z_1xD):
        of_domains = {d: head[d].init(jax.random.fold_in(key, n), z_1xD) for n, d in enumerate(domains, 1)}
        return {'emotion': emotion.init(key, z_1xD), **of_domains}, {}

    def loss(params, state, batch, hyper, key):
        fixed, alpha, mel_BxTxM = jax.lax.stop_gradient(params), hyper['alpha'], batch['mel_BxTxM']
        known = {d: (batch[f'{d}_B'] >= 0).astype(mel_BxTxM.dtype) for d in domains}

        def hear(mel_BxTxM, params=params):
            return erm.plain(encoder, emotion, params, state, batch | {'mel_BxTxM': mel_BxTxM}, hyper, key)

        def emotion_each(z_BxD):
            return losses.cross_entropy_each(emotion.apply(fixed['emotion'], z_BxD), batch['emotion_B'])

        def domain_each(z_BxD):
            scores = {d: losses.only(head[d].apply(fixed[d], z_BxD), batch[f'{d}_seen_K']) for d in domains}
            return sum(losses.cross_entropy_each(scores[d], batch[f'{d}_B']) * known[d] for d in domains)

        ways = (emotion_each, jnp.sign(batch['labelled_B'])), (domain_each, sum(known.values()) > 0)
        e_BxTxM, d_BxTxM = perturbation.ascend(lambda mel_BxTxM: hear(mel_BxTxM, fixed)[1], batch, hyper['eps'], *ways)

        value, z_BxD, batch_stats, metrics = hear(mel_BxTxM)
        value, z_e_BxD = (1 - alpha) * value + alpha * hear(d_BxTxM)[0], hear(e_BxTxM)[1]
        for d in domains:
            domain_loss, measured = losses.domain(d, head[d].apply(params[d], z_BxD), batch)
            crossed_loss, _ = losses.domain(d, head[d].apply(params[d], z_e_BxD), batch)
            value += (1 - alpha) * domain_loss + alpha * crossed_loss
            metrics |= measured
        moved = {'emotion_shift': e_BxTxM, 'domain_shift': d_BxTxM}
        return value, Aux(batch_stats, state.extra, metrics | {k: perturbation.distance(x, mel_BxTxM) for k, x in moved.items()})

    return Method({'eps': 1.0, 'alpha': 0.5}, init, loss, erm.make(config, encoder, sizes).predict, domains)

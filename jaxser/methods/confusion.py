"""Domain confusion: the encoder makes the domain head undecided, where gradient reversal makes it wrong.

Tzeng et al. 2015, "Simultaneous deep transfer across domains and tasks"; the ramp of lam and the sizes are dann's (our defaults),
so that the two differ in what the encoder is told alone.
"""

import jax

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads
from jaxser.reversal import gradient_ratio, ramp


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z) + sum_d (lam ramp(p) CE(uniform, d | z) with d's head constant + CE(d | z) with z constant).

    Uniform over the domains that the fold's training hears, hence at least log K; of the examples whose domain is known.
    """
    emotion, head = heads.make_head(sizes.emotions), heads.domain_heads(config, sizes)

    def init(key, z_1xD):
        return heads.init_heads({'emotion': emotion, **head}, key, z_1xD), {}

    def domain(d, of_head, z_BxD, batch):
        return losses.domain_cross_entropy(d, head[d].apply(of_head, z_BxD), batch)

    def loss(params, state, batch, hyper, key):
        value, z_BxD, batch_stats, metrics = erm.emotion_forward(
            encoder, emotion, params, state, batch, hyper, key
        )
        lam = hyper['lam'] * ramp(state.step / sizes.steps)

        def confusion(d, z_BxD):
            seen_K = batch[f'{d}_seen_K']
            scores_BxK = losses.mask_unseen_classes(
                head[d].apply(jax.lax.stop_gradient(params[d]), z_BxD), seen_K
            )
            confusion_B = -(jax.nn.log_softmax(scores_BxK) * seen_K).sum(-1) / seen_K.sum()
            return losses.weighted_mean(
                confusion_B, (batch[f'{d}_B'] >= 0).astype(scores_BxK.dtype)
            )

        for d in head:
            undecided = confusion(d, z_BxD)
            domain_loss, measured = domain(d, params[d], jax.lax.stop_gradient(z_BxD), batch)
            value += lam * undecided + domain_loss
            metrics |= measured | {f'{d}_confusion': undecided}
        task = erm.make_task_loss(emotion, params, batch)
        adversary = lambda z_BxD: lam * sum(confusion(d, z_BxD) for d in head)  # noqa: E731
        metrics |= {'lam_p': lam, 'reversed_over_task': gradient_ratio(adversary, task, z_BxD)}
        return value, Aux(batch_stats, state.extra, metrics)

    return Method(
        {'lam': 0.3},
        init,
        loss,
        erm.make(config, encoder, sizes).predict,
        tuple(head),
        domain_loss=domain,
    )

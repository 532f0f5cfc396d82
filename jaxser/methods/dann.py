"""Domain-adversarial training: forgets speakers, languages, corpora, or several of them at once.

Over speakers a re-instantiation of Lian et al. 2019 (arXiv 1910.13807), over languages, with an unlabelled target in the batch,
of Cai et al. 2020 (arXiv 2012.11174); with the gradient reversal of Ganin et al. 2016 and the network of Tu et al. 2019 (arXiv
1903.09606). Sizes and schedule are our defaults.
"""

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads
from jaxser.reversal import adversarial_loss, ramp


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z) + domain_weight sum_d CE(d | reverse(z, lam ramp(p))), p the fraction of training done, d the domains.

    `lam` scales only the gradient that reaches the encoder, in which `domain_weight` stands too; the heads train at any lam.
    An example whose domain is unknown has no part in that domain's loss.
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

        told = lambda d, z_BxD: domain(d, params[d], z_BxD, batch)  # noqa: E731
        task = erm.make_task_loss(emotion, params, batch)
        domain_loss, measured = adversarial_loss(
            told, head, z_BxD, lam, hyper['domain_weight'], task
        )
        return value + domain_loss, Aux(batch_stats, state.extra, metrics | measured)

    predict = erm.make(config, encoder, sizes).predict
    return Method(
        {'lam': 0.3, 'domain_weight': 1.0}, init, loss, predict, tuple(head), domain_loss=domain
    )

"""Class-conditional adversary: makes speakers alike within each emotion, for speakers who differ in how often they are angry.

The conditional part of Li et al. 2018, "Deep domain generalization via conditional invariant adversarial networks"; without their
class-prior-normalised part, and the ramp, the weights and the sizes as in dann: our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads
from jaxser.reversal import adversarial_loss, ramp


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z) + domain_weight sum_d CE(d | reverse(z, lam ramp(p)), emotion), a head for each d and emotion.

    The mean is over the examples whose emotion and domain are known, each with weight 1; an unlabelled target has no part in it.
    """
    emotion, head = heads.make_head(sizes.emotions), heads.domain_heads(config, sizes)
    classes = [str(c) for c in range(sizes.emotions)]

    def init(key, z_1xD):
        keys = {
            d: jax.random.split(jax.random.fold_in(key, n), len(classes))
            for n, d in enumerate(head, 1)
        }
        of_domains = {
            d: {c: head[d].init(k, z_1xD) for c, k in zip(classes, keys[d])} for d in head
        }
        return {'emotion': emotion.init(key, z_1xD), **of_domains}, {}

    def domain(d, of_heads, z_BxD, batch):
        of_classes = jax.tree.map(
            lambda *of_class: jnp.stack(of_class), *(of_heads[c] for c in classes)
        )
        scores_CxBxK = jax.vmap(head[d].apply, (0, None))(of_classes, z_BxD)
        scores_BxK = jnp.take_along_axis(scores_CxBxK, batch['emotion_B'][None, :, None], axis=0)[0]
        # To a head of one emotion, the speaker of an example without emotion is unknown.
        of_labelled = {f'{d}_B': jnp.where(batch['labelled_B'] > 0, batch[f'{d}_B'], -1)}
        return losses.domain_cross_entropy(d, scores_BxK, batch | of_labelled)

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

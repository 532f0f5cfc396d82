"""Builds the adversarial methods dann, cdann and confusion: plain training plus domain heads.

How the reversal coefficient lam gets from the configuration to the gradient:

1. `config.sweep.lam` becomes hyper['lam'] of every run (jaxser/configuration/sweep.py); its default
   is the method's (`Method.hyper`, here).
2. `loss` below multiplies it by the ramp, which rises from 0 to 1 during training.
3. dann and cdann pass the product to `reversal.adversarial_loss`, which passes it to
   `reversal.reverse_gradient`, whose backward pass multiplies the gradient by -lam.
   confusion reverses no gradient: there the product is the weight of a loss.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxser.interfaces import Aux, Batch, Encoder, Hyper, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads
from jaxser.reversal import adversarial_loss, ramp


class Context(NamedTuple):
    """The values from which an adversary's losses are computed, in one training step."""

    params: dict[str, Any]
    batch: Batch
    hyper: Hyper
    lam: jax.Array  # after the ramp
    emotion_loss: jax.Array
    z_BxD: jax.Array
    task_loss: Callable  # z_BxD -> CE(emotion); for metrics only


def make_adversarial(
    config,
    encoder: Encoder,
    sizes: Sizes,
    *,
    hyper: dict[str, float],
    domains: tuple[str, ...],
    init: Callable,
    domain_loss: Callable,
    add_adversary: Callable,
) -> Method:
    """Returns a method that trains domain heads and the emotion head on one representation.

    Args:
        config: the configuration.
        encoder: maps a batch to z.
        sizes: static sizes.
        hyper: `Method.hyper`; it has 'lam'.
        domains: the domains of the heads.
        init: `Method.init`.
        domain_loss: `Method.domain_loss`.
        add_adversary: Context -> (the emotion loss plus the adversary's losses, metrics).
    """
    emotion_head = heads.make_head(sizes.emotions)

    def loss(params, state, batch, hyper, key):
        emotion = erm.emotion_forward(encoder, emotion_head, params, state, batch, hyper, key)
        progress = state.step / sizes.steps
        context = Context(
            params,
            batch,
            hyper,
            lam=hyper['lam'] * ramp(progress),
            emotion_loss=emotion.loss,
            z_BxD=emotion.z_BxD,
            task_loss=erm.make_task_loss(emotion_head, params, batch),
        )
        total, metrics = add_adversary(context)
        return total, Aux(emotion.batch_stats, state.extra, emotion.metrics | metrics)

    predict = erm.make(config, encoder, sizes).predict
    return Method(hyper, init, loss, predict, domains, domain_loss=domain_loss)


def make_reversed(
    config,
    encoder: Encoder,
    sizes: Sizes,
    *,
    domains: tuple[str, ...],
    init: Callable,
    domain_loss: Callable,
) -> Method:
    """Returns the adversarial method in which the heads' gradient is reversed on its way to z.

    The loss is
    CE(emotion | z) + domain_weight sum_d domain_loss(d | reverse_gradient(z, lam ramp(progress))).
    """

    def add_adversary(context: Context):
        def loss_of_domain(domain, z_BxD):
            return domain_loss(domain, context.params[domain], z_BxD, context.batch)

        adversary, metrics = adversarial_loss(
            loss_of_domain,
            domains,
            context.z_BxD,
            context.lam,
            context.hyper['domain_weight'],
            context.task_loss,
        )
        return context.emotion_loss + adversary, metrics

    return make_adversarial(
        config,
        encoder,
        sizes,
        hyper={'lam': 0.3, 'domain_weight': 1.0},
        domains=domains,
        init=init,
        domain_loss=domain_loss,
        add_adversary=add_adversary,
    )

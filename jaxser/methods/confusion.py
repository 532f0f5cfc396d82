"""Domain confusion: makes the domain head undecided, where gradient reversal makes it wrong.

Tzeng et al. 2015, "Simultaneous deep transfer across domains and tasks". The ramp of lam and the
sizes are dann's (our defaults), so that the two differ only in the encoder's loss.
"""

import jax

from jaxser import losses
from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import _adversarial, erm
from jaxser.nn import heads
from jaxser.nn.output_head import make_output_head
from jaxser.reversal import gradient_ratio


def uniform_cross_entropy(domain: str, scores_BxK: jax.Array, batch) -> jax.Array:
    """Returns the cross entropy to the uniform distribution over the domains seen in training.

    At least log K. The mean is over the examples whose domain is known.
    """
    seen_K = batch[f'{domain}_seen_K']
    scores_BxK = losses.mask_unseen_classes(scores_BxK, seen_K)
    value_B = -(jax.nn.log_softmax(scores_BxK) * seen_K).sum(-1) / seen_K.sum()
    known_B = (batch[f'{domain}_B'] >= 0).astype(scores_BxK.dtype)
    return losses.weighted_mean(value_B, known_B)


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """The task's loss + sum_d (lam ramp(progress) CE(uniform, d | z) + CE(d | z)).

    In CE(uniform, d | z) the head of domain d is constant, in CE(d | z) it is z.
    """
    output_head = make_output_head(config, sizes)
    domain_heads = heads.domain_heads(config, sizes)

    domain_loss = _adversarial.head_cross_entropy(domain_heads)

    def confusion(domain, params, z_BxD, batch):
        constant_params = jax.lax.stop_gradient(params[domain])
        scores_BxK = domain_heads[domain].apply(constant_params, z_BxD)
        return uniform_cross_entropy(domain, scores_BxK, batch)

    def loss(params, state, batch, hyper, key):
        task = erm.task_forward(encoder, output_head, params, state, batch, hyper, key)
        ramped_lam = _adversarial.ramp_lam(hyper, state, sizes)
        constant_z_BxD = jax.lax.stop_gradient(task.z_BxD)
        total, metrics = task.loss, {}
        for domain in domain_heads:
            confusion_loss = confusion(domain, params, task.z_BxD, batch)
            head_loss, head_metrics = domain_loss(domain, params[domain], constant_z_BxD, batch)
            total += ramped_lam * confusion_loss + head_loss
            metrics |= head_metrics
            metrics[f'{domain}_confusion'] = confusion_loss

        metrics['lam_p'] = ramped_lam
        task_loss = erm.make_task_loss(output_head, params, batch, key)
        metrics['reversed_over_task'] = confusion_over_task(
            params, batch, task.z_BxD, ramped_lam, task_loss
        )
        return total, Aux(task.batch_stats, state.extra, task.metrics | metrics)

    def confusion_over_task(params, batch, z_BxD, ramped_lam, task_loss):
        """The metric: the norm of the confusion's gradient at z over that of the task's loss."""

        def confusion_sum(z_BxD):
            values = [confusion(domain, params, z_BxD, batch) for domain in domain_heads]
            return ramped_lam * sum(values)

        return gradient_ratio(confusion_sum, task_loss, z_BxD)

    return Method(
        hyper={'lam': 0.3},
        init=_adversarial.init_heads(output_head, domain_heads),
        loss=loss,
        predict=erm.make(config, encoder, sizes).predict,
        domains=tuple(domain_heads),
        domain_loss=domain_loss,
    )

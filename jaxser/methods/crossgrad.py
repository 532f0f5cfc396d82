"""Cross-gradient training: a classifier also trains on features moved along another's gradient.

A re-instantiation of CGT of Tu et al. 2019 (arXiv 1903.09606), i.e. CrossGrad of Shankar et al.
2018. No gradient is reversed: the representation keeps the domain. eps, alpha and the sizes are our
defaults.
"""

import jax
import jax.numpy as jnp

from jaxser import losses
from jaxser.interfaces import Aux, Batch, Encoder, Method, Sizes
from jaxser.methods import _adversarial, _perturbation, erm
from jaxser.nn import heads
from jaxser.nn.output_head import OutputHead, make_output_head


def make_objectives(
    output_head: OutputHead, domain_heads: dict[str, heads.Head], params: dict, batch: Batch
) -> tuple[_perturbation.Objective, _perturbation.Objective]:
    """Returns the losses that move the features: that of the task, and the sum of CE(domain)."""
    known = {}
    for domain in domain_heads:
        known[domain] = (batch[f'{domain}_B'] >= 0).astype(jnp.float32)

    def task_loss(z_BxD):
        return output_head.per_example_loss(params, z_BxD, batch)

    def domain_loss(z_BxD):
        total_B = 0
        for domain, head in domain_heads.items():
            scores_BxK = head.apply(params[domain], z_BxD)
            scores_BxK = losses.mask_unseen_classes(scores_BxK, batch[f'{domain}_seen_K'])
            loss_B = losses.per_example_cross_entropy(scores_BxK, batch[f'{domain}_B'])
            total_B = total_B + loss_B * known[domain]
        return total_B

    return (
        _perturbation.Objective(task_loss, output_head.counted(batch)),
        _perturbation.Objective(domain_loss, jnp.sign(sum(known.values()))),
    )


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """(1 - alpha) (J_e(x) + J_d(x)) + alpha (J_e(x_d) + J_d(x_e)).

    J_e is the loss of the task, such as CE(emotion | z), J_d the sum of CE(d | z) over the domains
    d. The moved features are x_d = x + eps clip(grad_x J_d(x)) and x_e likewise by J_e. They are
    constants, from one more pass over x with the batch statistics, and from the unweighted losses
    of single examples; for ratings, these are squared errors. x_d and x_e are normalised by their
    own statistics; the running ones are updated by x only. All passes use the same dropout mask. An
    example without a label has x_e = x, one without known domain x_d = x.
    """
    output_head = make_output_head(config, sizes)
    domain_heads = heads.domain_heads(config, sizes)

    def domain_cross_entropy(domain, params, z_BxD, batch):
        scores_BxK = domain_heads[domain].apply(params[domain], z_BxD)
        return losses.domain_cross_entropy(domain, scores_BxK, batch)

    def loss(params, state, batch, hyper, key):
        fixed = jax.lax.stop_gradient(params)
        x_e, x_d = _perturbation.ascend_losses(
            _perturbation.make_encode(encoder, fixed, state, batch, hyper, key),
            batch,
            hyper['eps'],
            *make_objectives(output_head, domain_heads, fixed, batch),
        )
        versions = _perturbation.encode_versions(
            _perturbation.make_encode(encoder, params, state, batch, hyper, key),
            batch['mel_BxTxM'],
            x_e,
            x_d,
        )
        z_BxD, z_e_BxD, z_d_BxD = versions.z_VxBxD

        clean, metrics = output_head.loss(params, z_BxD, batch, key)
        crossed, _ = output_head.loss(params, z_d_BxD, batch, key)
        for domain in domain_heads:
            domain_clean, domain_metrics = domain_cross_entropy(domain, params, z_BxD, batch)
            domain_crossed, _ = domain_cross_entropy(domain, params, z_e_BxD, batch)
            clean += domain_clean
            crossed += domain_crossed
            metrics |= domain_metrics
        _, metrics['emotion_shift'], metrics['domain_shift'] = versions.distance_V
        total = (1 - hyper['alpha']) * clean + hyper['alpha'] * crossed
        return total, Aux(versions.batch_stats, state.extra, metrics)

    return Method(
        hyper={'eps': 1.0, 'alpha': 0.5},
        init=_adversarial.init_heads(output_head, domain_heads),
        loss=loss,
        predict=erm.make(config, encoder, sizes).predict,
        domains=tuple(domain_heads),
    )

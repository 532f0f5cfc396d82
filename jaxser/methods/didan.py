"""Regression to one-hot emotions, with target examples as sparse mixtures of source examples.

A re-instantiation of DIDAN of Zhao et al. 2023 (arXiv 2302.08921). The paper's are the regression
and the reconstruction of targets from sources (Implicit Distribution Alignment). Our defaults: one
linear regression on z, rows of norm 1, lam, tau, and that W is computed by ISTA in every training
step and treated as a constant.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.losses import accuracy, weighted_mean
from jaxser.methods import _sparse_coding, erm
from jaxser.nn.output_head import make_output_head


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """||Y_s - Yhat_s||^2 / n_s + (lam / n_t) (||F_t - W F_s||_F^2 + tau ||W||_1).

    F are the rows of z scaled to norm 1; W is constant. The first term is the mean over the
    labelled examples, weighted as their cross entropy would be; the second is 0 without source or
    target. Metrics of a target row: `residual` is the unexplained part, `nonzeros` the number of
    sources in its mixture. If that is near 0 although there are many sources, the term has no
    effect. The scores are the outputs of
    the regression: the largest is predicted, but their softmax, which evaluation writes as
    posterior, is not a calibrated probability.
    """
    output_head = make_output_head(config, sizes)
    plain = erm.make(config, encoder, sizes)

    def regression_loss(scores_BxC, batch):
        one_hot_BxC = jax.nn.one_hot(batch['emotion_B'], sizes.emotions)
        error_B = ((scores_BxC - one_hot_BxC) ** 2).sum(-1)
        value = weighted_mean(error_B, batch['labelled_B'])
        share = accuracy(scores_BxC, batch['emotion_B'], batch['labelled_B'])
        return value, {'emotion_loss': value, 'emotion_accuracy': share}

    def alignment_loss(z_BxD, is_target_B, tau):
        # Without source examples nothing can explain the target: the term is 0.
        target_B = is_target_B * (is_target_B.min() < 1)
        f_BxD = z_BxD / jnp.sqrt((z_BxD**2).sum(-1, keepdims=True) + 1e-12)
        source_BxD = f_BxD * (1 - is_target_B)[:, None]
        W_BxB = jax.lax.stop_gradient(
            _sparse_coding.sparse_mixture(f_BxD * target_B[:, None], source_BxD, tau)
        )
        residual = weighted_mean(((f_BxD - W_BxB @ source_BxD) ** 2).sum(-1), target_B)
        alignment = residual + tau * weighted_mean(jnp.abs(W_BxB).sum(-1), target_B)
        nonzeros_B = (W_BxB != 0).sum(-1).astype(z_BxD.dtype)
        return alignment, {'residual': residual, 'nonzeros': weighted_mean(nonzeros_B, target_B)}

    def loss(params, state, batch, hyper, key):
        task = erm.task_forward(
            encoder, output_head, params, state, batch, hyper, key, regression_loss
        )
        alignment, metrics = alignment_loss(task.z_BxD, batch['target_B'], hyper['tau'])
        total = task.loss + hyper['lam'] * alignment
        return total, Aux(task.batch_stats, state.extra, task.metrics | metrics)

    return Method(
        hyper={'lam': 1.0, 'tau': 0.3},
        init=plain.init,
        loss=loss,
        predict=plain.predict,
        target=True,
        needs_classes=True,
    )

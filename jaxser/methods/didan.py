"""Regression to one-hot emotions, over a representation in which target examples are sparse mixtures of source examples.

A re-instantiation of DIDAN of Zhao et al. 2023 (arXiv 2302.08921). The paper's: regression, and that targets are reconstructed
from sources (Implicit Distribution Alignment). Our defaults: one linear regression on z, rows of norm 1, lam, tau, and that W is
found by ISTA within the step and then held constant.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.losses import accuracy, weighted_mean
from jaxser.methods import _sparse_coding, erm
from jaxser.nn import heads


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """||Y_s - Yhat_s||^2 / n_s + (lam / n_t) (||F_t - W F_s||_F^2 + tau ||W||_1), F the rows of z at norm 1, W constant.

    The first is the mean over the labelled, weighted as their cross entropy would be; the second is 0 without source or target.
    Of a target row, `residual` is what stays unexplained, `nonzeros` the sources that it takes: near 0 of many, the term teaches
    nothing. The scores are the regression's outputs: the largest is predicted; their softmax, which evaluation writes down, is no
    calibrated probability.
    """
    emotion = heads.make_head(sizes.emotions)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        _, z_BxD, batch_stats, _ = erm.emotion_forward(
            encoder, emotion, params, state, batch, hyper, key
        )
        scores_BxC = emotion.apply(params['emotion'], z_BxD)
        error_B = ((scores_BxC - jax.nn.one_hot(batch['emotion_B'], sizes.emotions)) ** 2).sum(-1)
        value = weighted_mean(error_B, batch['labelled_B'])

        # Where there is no source, nothing is a target.
        target_B = batch['target_B'] * (batch['target_B'].min() < 1)
        f_BxD = z_BxD / jnp.sqrt((z_BxD**2).sum(-1, keepdims=True) + 1e-12)
        source_BxD = f_BxD * (1 - batch['target_B'])[:, None]
        W_BxB = jax.lax.stop_gradient(
            _sparse_coding.sparse_mixture(f_BxD * target_B[:, None], source_BxD, hyper['tau'])
        )
        residual = weighted_mean(((f_BxD - W_BxB @ source_BxD) ** 2).sum(-1), target_B)
        alignment = residual + hyper['tau'] * weighted_mean(jnp.abs(W_BxB).sum(-1), target_B)
        metrics = {
            'emotion_loss': value,
            'emotion_accuracy': accuracy(scores_BxC, batch['emotion_B'], batch['labelled_B']),
            'residual': residual,
            'nonzeros': weighted_mean((W_BxB != 0).sum(-1).astype(z_BxD.dtype), target_B),
        }
        return value + hyper['lam'] * alignment, Aux(batch_stats, state.extra, metrics)

    return Method({'lam': 1.0, 'tau': 0.3}, plain.init, loss, plain.predict, target=True)

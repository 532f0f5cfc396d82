"""Maximum mean discrepancy: source and target shall have the same distribution of z, as far as Gaussian kernels see.

Long et al. 2015, "Learning transferable features with deep adaptation networks"; the five bandwidths about the median, weighted
alike, the estimator over all pairs, on z alone, and lam are our defaults.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Aux, Encoder, Method, Sizes
from jaxser.methods import erm
from jaxser.nn import heads

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the median


def squared_mmd(z_BxD: jax.Array, target_B: jax.Array) -> jax.Array:
    """mean_{s != s'} k + mean_{t != t'} k - 2 mean_{s, t} k, k(x, y) = mean_u exp(-||x - y||^2 / (u m)), u the BANDWIDTHS.

    m is the median of ||x - y||^2 over all pairs of the batch, a constant. The estimate is unbiased (Gretton et al. 2012), so it
    may fall below 0; it is 0 where source or target has fewer than two examples.
    """
    square_BxB = ((z_BxD[:, None] - z_BxD[None]) ** 2).sum(-1)
    median = jnp.median(jax.lax.stop_gradient(square_BxB)[jnp.triu_indices(len(z_BxD), 1)])
    square_BxB = square_BxB / jnp.maximum(median, 1e-12)
    k_BxB = sum(jnp.exp(-square_BxB / u) for u in BANDWIDTHS) / len(BANDWIDTHS)
    of_pairs = 1 - jnp.eye(len(z_BxD), dtype=z_BxD.dtype)

    def mean(a_B, b_B):
        weight_BxB = a_B[:, None] * b_B[None] * of_pairs
        return (k_BxB * weight_BxB).sum() / jnp.maximum(weight_BxB.sum(), 1)

    source_B = 1 - target_B
    apart = mean(source_B, source_B) + mean(target_B, target_B) - 2 * mean(source_B, target_B)
    return jnp.where(jnp.minimum(target_B.sum(), source_B.sum()) >= 2, apart, 0.0)


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """CE(emotion | z) + lam MMD^2(z of the source, z of the target)."""
    emotion = heads.make_head(sizes.emotions)
    plain = erm.make(config, encoder, sizes)

    def loss(params, state, batch, hyper, key):
        value, z_BxD, batch_stats, metrics = erm.emotion_forward(
            encoder, emotion, params, state, batch, hyper, key
        )
        apart = squared_mmd(z_BxD, batch['target_B'])
        return value + hyper['lam'] * apart, Aux(batch_stats, state.extra, metrics | {'mmd': apart})

    return Method({'lam': 1.0}, plain.init, loss, plain.predict, target=True)

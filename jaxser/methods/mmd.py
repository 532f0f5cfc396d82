"""Maximum mean discrepancy: gives source and target the same distribution of z.

Long et al. 2015, "Learning transferable features with deep adaptation networks". Our defaults: five
Gaussian kernels of equal weight with bandwidths around the median, the estimator over all pairs, z
as the only layer, and lam.
"""

import jax
import jax.numpy as jnp

from jaxser.interfaces import Encoder, Method, Sizes
from jaxser.methods import _alignment

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the median


def squared_mmd(z_BxD: jax.Array, target_B: jax.Array) -> jax.Array:
    """Returns mean_{s != s'} k + mean_{t != t'} k - 2 mean_{s, t} k of source s and target t.

    k(x, y) = mean_u exp(-||x - y||^2 / (u m)), u the BANDWIDTHS. m is the median of ||x - y||^2
    over all pairs of the batch, a constant. The estimate is unbiased (Gretton et al. 2012), so it
    may fall below 0. It is 0 if source or target has fewer than two examples.
    """
    B = len(z_BxD)
    square_BxB = ((z_BxD[:, None] - z_BxD[None]) ** 2).sum(-1)
    median = jnp.median(jax.lax.stop_gradient(square_BxB)[jnp.triu_indices(B, 1)])
    square_BxB = square_BxB / jnp.maximum(median, 1e-12)
    k_BxB = sum(jnp.exp(-square_BxB / u) for u in BANDWIDTHS) / len(BANDWIDTHS)
    off_diagonal_BxB = 1 - jnp.eye(B, dtype=z_BxD.dtype)

    def mean_kernel(first_B, second_B):
        weight_BxB = first_B[:, None] * second_B[None] * off_diagonal_BxB
        return (k_BxB * weight_BxB).sum() / jnp.maximum(weight_BxB.sum(), 1)

    source_B = 1 - target_B
    within = mean_kernel(source_B, source_B) + mean_kernel(target_B, target_B)
    value = within - 2 * mean_kernel(source_B, target_B)
    is_enough = jnp.minimum(target_B.sum(), source_B.sum()) >= 2
    return jnp.where(is_enough, value, 0.0)


def make(config, encoder: Encoder, sizes: Sizes) -> Method:
    """The task's loss + lam MMD^2(z of the source, z of the target)."""
    return _alignment.make_alignment(config, encoder, sizes, 'mmd', squared_mmd)

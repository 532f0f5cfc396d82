"""Rows as sparse mixtures of other rows, by iterated soft thresholding (Daubechies et al. 2004, ISTA)."""

import jax
import jax.numpy as jnp

ISTA_STEPS, SQUARINGS = 50, 6


def largest_eigenvalue(gram_BxB: jax.Array) -> jax.Array:
    """(sum_i e_i^64)^(1/64) of the eigenvalues e_i >= 0: the largest, or more by a factor of at most B^(1/64), 1.06 at B = 32.

    Of products alone, which vmap and every accelerator do well, unlike an eigendecomposition; and never too small, unlike power
    iteration, so that a step of its inverse never overshoots.
    """
    logarithm = jnp.zeros((), gram_BxB.dtype)
    for n in range(SQUARINGS + 1):
        trace = jnp.maximum(jnp.trace(gram_BxB), 1e-12)
        logarithm += jnp.log(trace) / 2**n
        gram_BxB = gram_BxB / trace
        gram_BxB = gram_BxB @ gram_BxB
    return jnp.exp(logarithm)


def sparse_mixture(target_NxD: jax.Array, dictionary_BxD: jax.Array, tau: jax.Array) -> jax.Array:
    """W_NxB after 50 steps from 0 towards the least ||to - W of||_F^2 + tau ||W||_1; rows of zeros take no part."""
    gram_BxB, wanted_NxB = dictionary_BxD @ dictionary_BxD.T, target_NxD @ dictionary_BxD.T
    sigma = largest_eigenvalue(gram_BxB)

    def step(_, W_NxB):
        W_NxB = W_NxB - (W_NxB @ gram_BxB - wanted_NxB) / sigma
        return jnp.sign(W_NxB) * jnp.maximum(jnp.abs(W_NxB) - tau / (2 * sigma), 0.0)

    return jax.lax.fori_loop(0, ISTA_STEPS, step, jnp.zeros_like(wanted_NxB))

"""Logistic regression with an L2 penalty that is chosen on the validation part.

Penalties are fitted from strong to weak, each from the solution of the one before, until the
cross-entropy on the validation part rises. A fit is Nesterov's accelerated gradient descent with
restarts (O'Donoghue & Candes 2015), preconditioned by an upper bound of the Hessian (Boehning
1992), with which a step of size 1 never overshoots.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxser.probing.attackers.job import (
    JobData,
    Scores,
    Weights,
    calibrate,
    mask_absent_classes,
    one_hot,
)

# Factors of half the squared norm of the weights, which is added to the mean cross-entropy.
L2 = (1.0, 3e-2, 1e-3, 3e-5)
BIAS_L2 = 1e-6
TOLERANCE = 1e-3  # a fit stops at this preconditioned norm of the gradient
MAX_ITERATIONS = 25  # of one fit; stopping weak penalties early costs no recall on real speech


class LinearFit(NamedTuple):
    """The scores of a logistic regression, the penalty it chose, and its two sets of weights.

    E = D + 1: the last weight of each class is that of the constant 1.
    """

    scores: Scores
    l2: jax.Array
    w_fit_KxE: jax.Array  # fitted on the fit part
    w_known_KxE: jax.Array  # fitted on both parts


class _Search(NamedTuple):
    """The state of the search for the penalty."""

    turn: jax.Array  # index of the penalty to try; -1 in the last fit, on both parts
    is_done: jax.Array
    w: jax.Array
    lowest: jax.Array  # cross-entropy on the validation part
    best_l2: jax.Array
    best_w: jax.Array


def append_one(x_NxD: jax.Array) -> jax.Array:
    """Returns x with a last column of ones, for the bias."""
    return jnp.concatenate([x_NxD, jnp.ones((len(x_NxD), 1), x_NxD.dtype)], 1)


def transposed_copy(x_NxE: jax.Array) -> jax.Array:
    """Returns x_ExN, written once; otherwise XLA would transpose x again in every product."""
    return jax.lax.optimization_barrier(x_NxE.T)


def minimise(x_NxE, target_KxN, weight_N, present_K, l2, initial_KxE):
    """Returns the weights KxE of the lowest penalised cross-entropy, starting at `initial_KxE`.

    The examples are the last axis of scores and posteriors. This axis is long, so that the
    processor's vector instructions are used well.
    """
    E = x_NxE.shape[1]
    penalty_E = jnp.full(E, l2).at[-1].set(BIAS_L2)
    weighted_NxE = x_NxE * weight_N[:, None]
    x_ExN = transposed_copy(x_NxE)
    bound_ExE = 0.5 * x_ExN @ weighted_NxE + jnp.diag(penalty_E)
    step_ExE = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(bound_ExE), jnp.eye(E))

    def should_continue(carry):
        count, _, _, _, size = carry
        return (count < MAX_ITERATIONS) & (size > TOLERANCE)

    def iterate(carry):
        count, w, ahead, age, _ = carry
        scores_KxN = mask_absent_classes(ahead @ x_ExN, present_K[:, None])
        p_KxN = jax.nn.softmax(scores_KxN, axis=0)
        gradient = (p_KxN - target_KxN) @ weighted_NxE + penalty_E * ahead
        direction = gradient @ step_ExE  # the step is symmetric
        size = jnp.sqrt((gradient * direction).sum())
        new = ahead - direction
        # Restart where the momentum points uphill.
        age = jnp.where((gradient * (new - w)).sum() > 0, 0.0, age + 1)
        return count + 1, new, new + age / (age + 3) * (new - w), age, size

    initial = 0, initial_KxE, initial_KxE, 0.0, jnp.inf
    return jax.lax.while_loop(should_continue, iterate, initial)[1]


def fit_linear(data: JobData, weights: Weights, classes: int) -> LinearFit:
    """Fits the logistic regression of a standardised job."""
    known = data.join_parts()
    x_NxE = append_one(known.x_NxD)
    F = len(data.fit.y_N)
    target_KxN = one_hot(known.y_N, classes).T
    l2s = jnp.array(L2)

    def scores(x_MxE, w_KxE):
        return mask_absent_classes(x_MxE @ w_KxE.T, weights.present_K)

    # One loop over the penalties and the last fit, on both parts: `minimise` is compiled once.
    def fit_next(search: _Search) -> _Search:
        is_last = search.turn < 0
        l2 = jnp.where(is_last, search.best_l2, l2s[search.turn])
        weight_N = jnp.where(is_last, weights.known_N, weights.fit_N)
        initial = jnp.where(is_last, search.best_w, search.w)
        w = minimise(x_NxE, target_KxN, weight_N, weights.present_K, l2, initial)
        _, loss = calibrate(scores(x_NxE[F:], w), data.validation.y_N, weights.validation_V)
        is_better = (loss < search.lowest) & ~is_last
        is_next_last = ~is_better | (search.turn == len(L2) - 1)
        return _Search(
            turn=jnp.where(is_next_last, -1, search.turn + 1),
            is_done=is_last,
            w=w,
            lowest=jnp.where(is_better, loss, search.lowest),
            best_l2=jnp.where(is_better, l2, search.best_l2),
            best_w=jnp.where(is_better, w, search.best_w),
        )

    zeros = jnp.zeros((classes, x_NxE.shape[1]))
    initial = _Search(jnp.int32(0), jnp.bool_(False), zeros, jnp.float32(jnp.inf), l2s[0], zeros)
    search = jax.lax.while_loop(lambda search: ~search.is_done, fit_next, initial)
    result = Scores(scores(x_NxE[F:], search.best_w), scores(append_one(data.test_TxD), search.w))
    return LinearFit(result, search.best_l2, search.best_w, search.w)

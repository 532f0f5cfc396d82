"""A multilayer perceptron that starts as the linear attacker's logistic regression.

One hidden layer of ReLUs is added to the linear scores. Its output weights start at zero, so that
the network without a step of training is the logistic regression. Adam trains it on all examples at
once, and stops when the cross-entropy on the validation part has not fallen for some steps. With
the best number of steps it is trained once more, on both parts. So it differs from the logistic
regression only where that helped on the validation part.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxser.probing.attackers.job import (
    JobData,
    Scores,
    Weights,
    mask_absent_classes,
    one_hot,
    weighted_cross_entropy,
)
from jaxser.probing.attackers.linear import LinearFit, append_one

HIDDEN_WIDTH = 32
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2
STEPS_PER_CHECK = 5  # the validation part is looked at after so many steps
MAX_CHECKS = 40
PATIENCE = 4  # checks without a lower cross-entropy, after which training stops


class MlpFit(NamedTuple):
    """The scores of a network, and its number of steps (0: it is the logistic regression)."""

    scores: Scores
    steps: jax.Array


class _Training(NamedTuple):
    """The state of training; `is_last` in the second training, on both parts."""

    is_last: jax.Array
    check: jax.Array  # number of checks so far
    params: dict
    optimizer_state: tuple
    lowest: jax.Array  # cross-entropy on the validation part
    best_check: jax.Array
    known_NxK: jax.Array  # scores at the best check


def network(params: dict, x_NxE: jax.Array) -> jax.Array:
    """Returns scores_NxK: linear ones plus those of the hidden layer."""
    return x_NxE @ params['linear'] + jax.nn.relu(x_NxE @ params['in']) @ params['out']


def random_features(x_NxE: jax.Array) -> jax.Array:
    """Returns the initial weights ExH of the hidden layer, by He's rule.

    Padded dimensions, which are 0 everywhere, change no other weight.
    """
    E = x_NxE.shape[1]
    random = np.random.default_rng(0)
    bias_1xH = random.normal(size=(1, HIDDEN_WIDTH))
    normal_ExH = np.concatenate([random.normal(size=(E - 1, HIDDEN_WIDTH)), bias_1xH])
    dimensions = (jnp.abs(x_NxE).max(0) > 0).sum()
    return jnp.asarray(normal_ExH, jnp.float32) * jnp.sqrt(2 / dimensions)


def is_over(training: _Training) -> jax.Array:
    """Whether the first training has run out of patience, or the second is complete."""
    has_stalled = training.check - training.best_check >= PATIENCE
    is_first_over = has_stalled | (training.check >= MAX_CHECKS)
    is_last_over = training.check >= training.best_check
    return jnp.where(training.is_last, is_last_over, is_first_over)


def fit_mlp(data: JobData, weights: Weights, linear: LinearFit) -> MlpFit:
    """Fits the network of a standardised job, from the solution of the linear attacker."""
    x_NxE, test_TxE = append_one(data.x_NxD), append_one(data.test_TxD)
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    into_ExH = random_features(x_NxE)

    def initial_params(w_ExK):
        """Returns a network that computes the linear scores of the weights w."""
        out_HxK = jnp.zeros((HIDDEN_WIDTH, w_ExK.shape[1]))
        return {'linear': w_ExK, 'in': into_ExH, 'out': out_HxK}

    def scores(params, x):
        return mask_absent_classes(network(params, x), weights.present_K)

    target_NxK = one_hot(data.y_N, linear.w_fit.shape[1])

    def loss_gradient(params, weight_N):
        """Returns the gradient of the weighted cross-entropy plus the penalty."""
        scores_NxK, pull_back = jax.vjp(lambda params: scores(params, x_NxE), params)
        # In closed form: automatic differentiation of the loss takes three times as long.
        residual_NxK = jax.nn.softmax(scores_NxK) - target_NxK
        (gradient,) = pull_back(residual_NxK * weight_N[:, None])
        penalty_ExK = linear.l2 * params['linear'].at[-1].set(0)
        return gradient | {'linear': gradient['linear'] + penalty_ExK}

    def train(training: _Training) -> _Training:
        weight_N = jnp.where(training.is_last, weights.known_N, weights.fit_N)

        def step(_, carry):
            params, state = carry
            updates, state = optimizer.update(loss_gradient(params, weight_N), state, params)
            return optax.apply_updates(params, updates), state

        carry = training.params, training.optimizer_state
        params, state = jax.lax.fori_loop(0, STEPS_PER_CHECK, step, carry)
        known_NxK = scores(params, x_NxE)
        value = weighted_cross_entropy(known_NxK, data.y_N, weights.validation_N)
        is_better = (value < training.lowest) & ~training.is_last
        check = training.check + 1
        return training._replace(
            check=check,
            params=params,
            optimizer_state=state,
            lowest=jnp.where(is_better, value, training.lowest),
            best_check=jnp.where(is_better, check, training.best_check),
            known_NxK=jnp.where(is_better, known_NxK, training.known_NxK),
        )

    def restart(training: _Training) -> _Training:
        params = initial_params(linear.w_known)
        return training._replace(
            is_last=jnp.bool_(True),
            check=jnp.zeros_like(training.check),
            params=params,
            optimizer_state=optimizer.init(params),
        )

    def train_or_restart(training: _Training) -> _Training:
        training = train(training)
        is_at_end = is_over(training) & ~training.is_last
        restarted = restart(training)
        return jax.tree.map(lambda new, old: jnp.where(is_at_end, new, old), restarted, training)

    def should_continue(training: _Training):
        return ~(training.is_last & is_over(training))

    params = initial_params(linear.w_fit)
    linear_NxK = linear.scores.known_NxK
    training = _Training(
        is_last=jnp.bool_(False),
        check=jnp.int32(0),
        params=params,
        optimizer_state=optimizer.init(params),
        lowest=weighted_cross_entropy(linear_NxK, data.y_N, weights.validation_N),
        best_check=jnp.int32(0),
        known_NxK=linear_NxK,
    )
    training = jax.lax.while_loop(should_continue, train_or_restart, training)
    result = Scores(training.known_NxK, scores(training.params, test_TxE))
    return MlpFit(result, training.best_check * STEPS_PER_CHECK)

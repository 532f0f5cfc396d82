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
from jaxser.probing.attackers.linear import LinearFit, append_one, transposed_copy

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
    validation_VxK: jax.Array  # scores at the best check


def random_features(x_NxE: jax.Array) -> jax.Array:
    """Returns the initial weights HxE of the hidden layer, by He's rule.

    Padded dimensions, which are 0 everywhere, change no other weight.
    """
    E = x_NxE.shape[1]
    random = np.random.default_rng(0)
    bias_1xH = random.normal(size=(1, HIDDEN_WIDTH))
    normal_ExH = np.concatenate([random.normal(size=(E - 1, HIDDEN_WIDTH)), bias_1xH])
    dimensions = (jnp.abs(x_NxE).max(0) > 0).sum()
    return jnp.asarray(normal_ExH.T, jnp.float32) * jnp.sqrt(2 / dimensions)


def forward(params: dict, x_ExM: jax.Array, present_K: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the hidden layer HxM, and the scores KxM of the linear part plus the hidden layer."""
    hidden_HxM = jax.nn.relu(params['in'] @ x_ExM)
    scores_KxM = params['linear'] @ x_ExM + params['out'] @ hidden_HxM
    return hidden_HxM, mask_absent_classes(scores_KxM, present_K[:, None])


def loss_gradient(params: dict, x_NxE, x_ExN, target_KxN, weight_N, present_K, l2) -> dict:
    """Returns the gradient of the weighted cross-entropy plus the penalty.

    In closed form: automatic differentiation takes several times as long.
    """
    hidden_HxN, scores_KxN = forward(params, x_ExN, present_K)
    residual_KxN = jax.nn.softmax(scores_KxN, axis=0) - target_KxN
    # The score of an absent class is a constant.
    residual_KxN = jnp.where(present_K[:, None], residual_KxN, 0) * weight_N
    hidden_gradient_HxN = jnp.where(hidden_HxN > 0, params['out'].T @ residual_KxN, 0)
    return {
        'linear': residual_KxN @ x_NxE + l2 * params['linear'].at[:, -1].set(0),
        'in': hidden_gradient_HxN @ x_NxE,
        'out': residual_KxN @ hidden_HxN.T,
    }


def is_over(training: _Training) -> jax.Array:
    """Whether the first training has run out of patience, or the second is complete."""
    has_stalled = training.check - training.best_check >= PATIENCE
    is_first_over = has_stalled | (training.check >= MAX_CHECKS)
    is_last_over = training.check >= training.best_check
    return jnp.where(training.is_last, is_last_over, is_first_over)


class _Problem(NamedTuple):
    """What a network is trained on. The examples are the last axis of scores, as in linear.py."""

    x_NxE: jax.Array
    x_ExN: jax.Array
    target_KxN: jax.Array
    y_V: jax.Array  # of the validation part
    weights: Weights
    l2: jax.Array


def initial_params(w_KxE: jax.Array, into_HxE: jax.Array) -> dict:
    """Returns a network that computes the linear scores of the weights w."""
    return {'linear': w_KxE, 'in': into_HxE, 'out': jnp.zeros((len(w_KxE), HIDDEN_WIDTH))}


def train_until_check(training: _Training, problem: _Problem, optimizer) -> _Training:
    """Trains STEPS_PER_CHECK steps, and looks at the validation part."""
    weights = problem.weights
    weight_N = jnp.where(training.is_last, weights.known_N, weights.fit_N)

    def step(_, carry):
        params, state = carry
        gradient = loss_gradient(
            params,
            problem.x_NxE,
            problem.x_ExN,
            problem.target_KxN,
            weight_N,
            weights.present_K,
            problem.l2,
        )
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    carry = training.params, training.optimizer_state
    params, state = jax.lax.fori_loop(0, STEPS_PER_CHECK, step, carry)
    F = len(weight_N) - len(problem.y_V)
    validation_VxK = forward(params, problem.x_ExN[:, F:], weights.present_K)[1].T
    value = weighted_cross_entropy(validation_VxK, problem.y_V, weights.validation_V)
    is_better = (value < training.lowest) & ~training.is_last
    check = training.check + 1
    return training._replace(
        check=check,
        params=params,
        optimizer_state=state,
        lowest=jnp.where(is_better, value, training.lowest),
        best_check=jnp.where(is_better, check, training.best_check),
        validation_VxK=jnp.where(is_better, validation_VxK, training.validation_VxK),
    )


def fit_mlp(data: JobData, weights: Weights, linear: LinearFit) -> MlpFit:
    """Fits the network of a standardised job, from the solution of the linear attacker."""
    known = data.join_parts()
    x_NxE = append_one(known.x_NxD)
    target_KxN = one_hot(known.y_N, len(weights.present_K)).T
    y_V = data.validation.y_N
    problem = _Problem(x_NxE, transposed_copy(x_NxE), target_KxN, y_V, weights, linear.l2)
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    into_HxE = random_features(x_NxE)

    def restart(training: _Training) -> _Training:
        params = initial_params(linear.w_known_KxE, into_HxE)
        return training._replace(
            is_last=jnp.bool_(True),
            check=jnp.zeros_like(training.check),
            params=params,
            optimizer_state=optimizer.init(params),
        )

    def train_or_restart(training: _Training) -> _Training:
        training = train_until_check(training, problem, optimizer)
        is_at_end = is_over(training) & ~training.is_last
        restarted = restart(training)
        return jax.tree.map(lambda new, old: jnp.where(is_at_end, new, old), restarted, training)

    def should_continue(training: _Training):
        return ~(training.is_last & is_over(training))

    params = initial_params(linear.w_fit_KxE, into_HxE)
    linear_VxK = linear.scores.validation_VxK
    training = _Training(
        is_last=jnp.bool_(False),
        check=jnp.int32(0),
        params=params,
        optimizer_state=optimizer.init(params),
        lowest=weighted_cross_entropy(linear_VxK, y_V, weights.validation_V),
        best_check=jnp.int32(0),
        validation_VxK=linear_VxK,
    )
    training = jax.lax.while_loop(should_continue, train_or_restart, training)
    test_ExT = append_one(data.test_TxD).T
    test_TxK = forward(training.params, test_ExT, weights.present_K)[1].T
    result = Scores(training.validation_VxK, test_TxK)
    return MlpFit(result, training.best_check * STEPS_PER_CHECK)

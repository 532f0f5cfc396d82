"""New classifiers on a frozen representation: logistic regression and an MLP of one hidden layer.

Many runs are fitted at once. A classifier is fitted on the examples `fit_N`, chooses its
regularisation (the MLP: its number of steps) by the cross-entropy on `validation_N`, and returns
scores of all N examples. All classes have the same weight, whatever their counts. The classifiers
share no parameters with the training of the representation.

Shapes: R runs, N examples, D dimensions, K classes, H hidden units. Masks `fit_N` and
`validation_N` are floats, 1 for the examples of that part and 0 for all others.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxser.training import parallel

# Logistic regression: factors of half the squared norm of the weights, which is added to the mean
# cross-entropy. L-BFGS stops at this norm of the gradient, or after this number of iterations.
L2 = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TOLERANCE = 1e-5
MAX_ITERATIONS = 500

# MLP: AdamW on all examples at once. The validation loss is checked every STEPS_PER_CHOICE steps.
HIDDEN_WIDTH = 64
ADAM_STEPS = 300
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-3
STEPS_PER_CHOICE = 10

MIN_VARIANCE = 1e-12  # a dimension with a lower variance counts as constant
ABSENT_CLASS_SCORE = -1e9


class LogisticFit(NamedTuple):
    """Scores of a logistic regression, its L2 factor, and the norm of the gradient at its end."""

    scores_NxK: jax.Array
    l2: jax.Array
    gradient_norm: jax.Array


class MlpFit(NamedTuple):
    """Scores of an MLP at its best step on validation, and that step (0: no step was better)."""

    scores_NxK: jax.Array
    step: jax.Array


def standardise(x_NxD: jax.Array, mask_N: jax.Array) -> jax.Array:
    """Returns x standardised by the masked examples' mean and deviation; constant ones become 0."""
    share_Nx1 = mask_N[:, None] / mask_N.sum()
    centred_NxD = x_NxD - (x_NxD * share_Nx1).sum(0)
    variance_D = (centred_NxD**2 * share_Nx1).sum(0)
    scaled_NxD = centred_NxD / jnp.sqrt(jnp.maximum(variance_D, MIN_VARIANCE))
    return jnp.where(variance_D > MIN_VARIANCE, scaled_NxD, 0.0)


def balanced_weights(y_N: jax.Array, mask_N: jax.Array, classes: int) -> jax.Array:
    """Returns weight_N of the masked examples: the sum is 1, and equal for each of their classes.

    A label y may be outside 0..classes-1 for examples of weight 0.
    """
    member_NxK = (y_N[:, None] == jnp.arange(classes)) * mask_N[:, None]
    count_K = member_NxK.sum(0)
    return (member_NxK / jnp.maximum(count_K, 1)).sum(1) / jnp.maximum((count_K > 0).sum(), 1)


def weighted_cross_entropy(scores_NxK: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> jax.Array:
    """Returns the weighted sum of the examples' cross-entropies; weight 0 allows any label."""
    clipped_N = jnp.clip(y_N, 0, scores_NxK.shape[1] - 1)
    loss_N = optax.softmax_cross_entropy_with_integer_labels(scores_NxK, clipped_N)
    return (loss_N * weight_N).sum()


def mask_absent_classes(scores_NxK: jax.Array, weight_N: jax.Array, y_N: jax.Array) -> jax.Array:
    """Returns the scores, with very low ones for classes without an example of positive weight.

    Runs that are fitted together may have different classes.
    """
    member_NxK = (y_N[:, None] == jnp.arange(scores_NxK.shape[1])) * weight_N[:, None]
    present_K = member_NxK.sum(0) > 0
    return jnp.where(present_K, scores_NxK, ABSENT_CLASS_SCORE)


def minimise(loss, params):
    """Minimises a convex loss by L-BFGS; returns (params, norm of the gradient)."""
    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry):
        params, state = carry
        value, gradient = value_and_grad(params, state=state)
        updates, state = optimizer.update(
            gradient, state, params, value=value, grad=gradient, value_fn=loss
        )
        return optax.apply_updates(params, updates), state

    def should_continue(carry):
        _, state = carry
        count = optax.tree.get(state, 'count')
        gradient = optax.tree.get(state, 'grad')
        return (count == 0) | ((count < MAX_ITERATIONS) & (optax.tree.norm(gradient) >= TOLERANCE))

    params, _ = jax.lax.while_loop(should_continue, step, (params, optimizer.init(params)))
    return params, optax.tree.norm(jax.grad(loss)(params))


def fit_logistic(
    x_NxD: jax.Array, y_N: jax.Array, fit_N: jax.Array, validation_N: jax.Array, classes: int
) -> LogisticFit:
    """Fits the logistic regression of one run.

    For every value of L2 it is fitted on `fit_N`; then on both parts with the value of the lowest
    cross-entropy on `validation_N`.
    """
    x_NxD = standardise(x_NxD, fit_N + validation_N)
    initial_params = {'w': jnp.zeros((x_NxD.shape[1], classes)), 'b': jnp.zeros(classes)}
    validation_weight_N = balanced_weights(y_N, validation_N, classes)

    def fit(mask_N, l2):
        weight_N = balanced_weights(y_N, mask_N, classes)

        def scores(params):
            return mask_absent_classes(x_NxD @ params['w'] + params['b'], weight_N, y_N)

        def loss(params):
            penalty = 0.5 * l2 * (params['w'] ** 2).sum()
            return weighted_cross_entropy(scores(params), y_N, weight_N) + penalty

        params, gradient_norm = minimise(loss, initial_params)
        return scores(params), gradient_norm

    # One loop over all values of L2 and the final fit on both parts: L-BFGS is compiled once.
    def body(carry, turn):
        lowest, best_l2, *_ = carry
        l2, is_last = turn
        l2 = jnp.where(is_last, best_l2, l2)
        scores_NxK, gradient_norm = fit(fit_N + is_last * validation_N, l2)
        value = weighted_cross_entropy(scores_NxK, y_N, validation_weight_N)
        is_better = (value < lowest) & ~is_last
        lowest = jnp.where(is_better, value, lowest)
        best_l2 = jnp.where(is_better, l2, best_l2)
        return (lowest, best_l2, scores_NxK, gradient_norm), None

    initial = jnp.inf, jnp.float32(L2[-1]), jnp.zeros((len(y_N), classes)), jnp.float32(0)
    turns = jnp.array([*L2, 0.0]), jnp.arange(len(L2) + 1) == len(L2)
    (_, best_l2, scores_NxK, gradient_norm), _ = jax.lax.scan(body, initial, turns)
    return LogisticFit(scores_NxK, best_l2, gradient_norm)


def _initial_mlp_params(inputs: int, classes: int) -> dict:
    key_in, key_out = jax.random.split(jax.random.key(0))
    he_normal = jax.nn.initializers.he_normal()
    return {
        'in': {'w': he_normal(key_in, (inputs, HIDDEN_WIDTH)), 'b': jnp.zeros(HIDDEN_WIDTH)},
        'out': {'w': he_normal(key_out, (HIDDEN_WIDTH, classes)), 'b': jnp.zeros(classes)},
    }


def fit_mlp(
    x_NxD: jax.Array, y_N: jax.Array, fit_N: jax.Array, validation_N: jax.Array, classes: int
) -> MlpFit:
    """Fits the MLP of one run: ReLU, AdamW on all of `fit_N` at once, best step on validation."""
    x_NxD = standardise(x_NxD, fit_N + validation_N)
    params = _initial_mlp_params(x_NxD.shape[1], classes)
    weight_N = balanced_weights(y_N, fit_N, classes)
    validation_weight_N = balanced_weights(y_N, validation_N, classes)
    optimizer = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def scores(params):
        hidden_NxH = jax.nn.relu(x_NxD @ params['in']['w'] + params['in']['b'])
        scores_NxK = hidden_NxH @ params['out']['w'] + params['out']['b']
        return mask_absent_classes(scores_NxK, weight_N, y_N)

    def loss(params):
        return weighted_cross_entropy(scores(params), y_N, weight_N)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    def steps_and_choice(carry, n):
        params, state, best_NxK, lowest, best_step = carry
        (params, state), _ = jax.lax.scan(step, (params, state), None, STEPS_PER_CHOICE)
        scores_NxK = scores(params)
        value = weighted_cross_entropy(scores_NxK, y_N, validation_weight_N)
        is_better = value < lowest
        best_NxK = jnp.where(is_better, scores_NxK, best_NxK)
        lowest = jnp.where(is_better, value, lowest)
        best_step = jnp.where(is_better, (n + 1) * STEPS_PER_CHOICE, best_step)
        return (params, state, best_NxK, lowest, best_step), None

    initial = params, optimizer.init(params), scores(params), jnp.inf, jnp.zeros((), int)
    choices = jnp.arange(ADAM_STEPS // STEPS_PER_CHOICE)
    (_, _, best_NxK, _, best_step), _ = jax.lax.scan(steps_and_choice, initial, choices)
    return MlpFit(best_NxK, best_step)


def fit_classifiers(x_RxNxD, y_RxN, fit_RxN, validation_RxN, classes: int):
    """Fits both classifiers of R runs.

    Returns ({'linear': scores_RxNxK, 'mlp': scores_RxNxK}, gradient_norm_R of the linear
    classifier) as numpy arrays.
    """
    runs = (x_RxNxD, y_RxN, fit_RxN, validation_RxN)
    return parallel.map_over_runs(_both_classifiers(classes), runs)


@functools.cache
def _both_classifiers(classes: int):
    """Returns the function that fits a run; it is cached, so that JAX compiles it once."""

    def fit_run(run):
        linear = fit_logistic(*run, classes)
        mlp = fit_mlp(*run, classes)
        return {'linear': linear.scores_NxK, 'mlp': mlp.scores_NxK}, linear.gradient_norm

    return fit_run

"""Fresh classifiers on a frozen representation, for many runs at once: multinomial logistic regression, and one hidden layer.

Each hears the examples `fit_N`, chooses its regularisation (the network: its step) on `choose_N` by the cross-entropy there, and
says what it makes of all N. Classes weigh equally, whatever their counts. Nothing of the training of the representation comes in.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from jaxser.training import parallel

L2 = (
    1e-4,
    1e-3,
    1e-2,
    1e-1,
    1.0,
)  # of the squared norm of the weights, beside a mean cross-entropy
TOLERANCE, MAX_ITERATIONS = 1e-5, 500  # norm of the gradient, and iterations, at which L-BFGS ends
HIDDEN_WIDTH, ADAM_STEPS, LEARNING_RATE, STEPS_PER_CHOICE = (
    64,
    300,
    3e-3,
    10,
)  # of the network: width, steps of Adam, their size, and between two choices


def standardise(x_NxD: jax.Array, mask_N: jax.Array) -> jax.Array:
    """x_NxD less the mean, over the standard deviation, of the examples `mask_N`; 0 where they do not vary."""
    share_Nx1 = mask_N[:, None] / mask_N.sum()
    centred_NxD = x_NxD - (x_NxD * share_Nx1).sum(0)
    variance_D = (centred_NxD**2 * share_Nx1).sum(0)
    return jnp.where(
        variance_D > 1e-12, centred_NxD / jnp.sqrt(jnp.maximum(variance_D, 1e-12)), 0.0
    )


def balanced_weights(y_N: jax.Array, mask_N: jax.Array, classes: int) -> jax.Array:
    """weight_N of the examples `mask_N`, 1 in sum, equal for every class among them; y may be no class, for those of weight 0."""
    member_NxK = (y_N[:, None] == jnp.arange(classes)) * mask_N[:, None]
    count_K = member_NxK.sum(0)
    return (member_NxK / jnp.maximum(count_K, 1)).sum(1) / jnp.maximum((count_K > 0).sum(), 1)


def weighted_cross_entropy(scores_NxK: jax.Array, y_N: jax.Array, weight_N: jax.Array) -> jax.Array:
    """The weighted sum over examples; those of weight 0 have no part."""
    known_N = jnp.clip(y_N, 0, scores_NxK.shape[1] - 1)
    return (optax.softmax_cross_entropy_with_integer_labels(scores_NxK, known_N) * weight_N).sum()


def mask_absent_classes(scores_NxK: jax.Array, weight_N: jax.Array, y_N: jax.Array) -> jax.Array:
    """The scores, very low for classes that no weighted example has: of several runs, one may have fewer classes."""
    seen_K = ((y_N[:, None] == jnp.arange(scores_NxK.shape[1])) * weight_N[:, None]).sum(0) > 0
    return jnp.where(seen_K, scores_NxK, -1e9)


def minimise(loss, params):
    """Of a convex loss, by L-BFGS: (params, norm of the gradient)."""
    search = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry):
        params, state = carry
        value, gradient = value_and_grad(params, state=state)
        moves, state = search.update(
            gradient, state, params, value=value, grad=gradient, value_fn=loss
        )
        return optax.apply_updates(params, moves), state

    def goes_on(carry):
        _, state = carry
        count, gradient = optax.tree.get(state, 'count'), optax.tree.get(state, 'grad')
        return (count == 0) | ((count < MAX_ITERATIONS) & (optax.tree.norm(gradient) >= TOLERANCE))

    params, _ = jax.lax.while_loop(goes_on, step, (params, search.init(params)))
    return params, optax.tree.norm(jax.grad(loss)(params))


def fit_logistic(
    x_NxD: jax.Array, y_N: jax.Array, fit_N: jax.Array, validation_N: jax.Array, classes: int
):
    """(scores_NxK, l2, norm of the gradient at the end) of one run; fitted anew on both parts with the l2 that was chosen."""
    x_NxD = standardise(x_NxD, fit_N + validation_N)
    start = {'w': jnp.zeros((x_NxD.shape[1], classes)), 'b': jnp.zeros(classes)}

    def solved(of_N, l2):
        weight_N = balanced_weights(y_N, of_N, classes)

        def scores(params):
            return mask_absent_classes(x_NxD @ params['w'] + params['b'], weight_N, y_N)

        def loss(params):
            return (
                weighted_cross_entropy(scores(params), y_N, weight_N)
                + 0.5 * l2 * (params['w'] ** 2).sum()
            )

        params, gradient = minimise(loss, start)
        return scores(params), gradient

    judge_N = balanced_weights(y_N, validation_N, classes)

    def turn(
        best, now
    ):  # one loop for all values and the fit on both parts: there is one search to compile
        lowest, chosen, *_ = best
        l2, last = now
        l2 = jnp.where(last, chosen, l2)
        scores_NxK, gradient = solved(fit_N + last * validation_N, l2)
        value = weighted_cross_entropy(scores_NxK, y_N, judge_N)
        better = (value < lowest) & ~last
        return (
            jnp.where(better, value, lowest),
            jnp.where(better, l2, chosen),
            scores_NxK,
            gradient,
        ), None

    first = jnp.inf, jnp.float32(L2[-1]), jnp.zeros((len(y_N), classes)), jnp.float32(0)
    turns = jnp.array([*L2, 0.0]), jnp.arange(len(L2) + 1) == len(L2)
    (_, chosen, scores_NxK, gradient), _ = jax.lax.scan(turn, first, turns)
    return scores_NxK, chosen, gradient


def fit_mlp(
    x_NxD: jax.Array, y_N: jax.Array, fit_N: jax.Array, validation_N: jax.Array, classes: int
):
    """(scores_NxK, step) of one run: rectified hidden layer, Adam on all of `fit_N` at once, the best step by `validation_N`."""
    x_NxD = standardise(x_NxD, fit_N + validation_N)
    key_in, key_out = jax.random.split(jax.random.key(0))
    he = jax.nn.initializers.he_normal()
    params = {
        'in': {'w': he(key_in, (x_NxD.shape[1], HIDDEN_WIDTH)), 'b': jnp.zeros(HIDDEN_WIDTH)},
        'out': {'w': he(key_out, (HIDDEN_WIDTH, classes)), 'b': jnp.zeros(classes)},
    }
    weight_N, judge_N = (
        balanced_weights(y_N, fit_N, classes),
        balanced_weights(y_N, validation_N, classes),
    )
    adam = optax.adamw(LEARNING_RATE, weight_decay=1e-3)

    def scores(params):
        hidden_NxH = jax.nn.relu(x_NxD @ params['in']['w'] + params['in']['b'])
        return mask_absent_classes(
            hidden_NxH @ params['out']['w'] + params['out']['b'], weight_N, y_N
        )

    def step(carry, _):
        params, state = carry
        gradient = jax.grad(lambda p: weighted_cross_entropy(scores(p), y_N, weight_N))(params)
        moves, state = adam.update(gradient, state, params)
        return (optax.apply_updates(params, moves), state), None

    def some(carry, n):
        params, state, best_NxK, lowest, at = carry
        (params, state), _ = jax.lax.scan(step, (params, state), None, STEPS_PER_CHOICE)
        now_NxK = scores(params)
        value = weighted_cross_entropy(now_NxK, y_N, judge_N)
        better = value < lowest
        best_NxK = jnp.where(better, now_NxK, best_NxK)
        return (
            params,
            state,
            best_NxK,
            jnp.where(better, value, lowest),
            jnp.where(better, (n + 1) * STEPS_PER_CHOICE, at),
        ), None

    first = params, adam.init(params), scores(params), jnp.inf, jnp.zeros((), int)
    (_, _, best_NxK, _, at), _ = jax.lax.scan(
        some, first, jnp.arange(ADAM_STEPS // STEPS_PER_CHOICE)
    )
    return best_NxK, at


def fit_classifiers(x_RxNxD, y_RxN, fit_RxN, validation_RxN, classes: int):
    """Both, of R runs: ({'linear': scores_RxNxK, 'mlp': scores_RxNxK}, norm of the linear gradient_R), as numpy."""
    return parallel.map_over_runs(_fit_both(classes), (x_RxNxD, y_RxN, fit_RxN, validation_RxN))


@functools.cache
def _fit_both(classes: int):
    def one(run):
        linear_NxK, _, gradient = fit_logistic(*run, classes)
        mlp_NxK, _ = fit_mlp(*run, classes)
        return {'linear': linear_NxK, 'mlp': mlp_NxK}, gradient

    return one

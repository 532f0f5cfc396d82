"""One training step of one run, as pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxser import features
from jaxser.interfaces import Batch, Encoder, Hyper, Method, Sizes, State
from jaxser.nn.encoder import make_dummy_batch
from jaxser.training import optimizer


class Step(NamedTuple):
    """Pure functions of the arrays of one run."""

    init: Callable[[Hyper], State]
    update: Callable[[State, Batch, Hyper], tuple[State, dict[str, jax.Array]]]
    predict: Callable  # (params, batch_stats, batch) -> (z_BxD, outputs_BxO)


def gradient_update(loss: Callable) -> Callable:
    """Returns the update of most methods: one step of all branches down the gradient of `loss`."""

    def update(state: State, batch: Batch, hyper: Hyper, key: jax.Array, descend: Callable):
        loss_and_gradients = jax.value_and_grad(loss, has_aux=True)
        (value, aux), gradients = loss_and_gradients(state.params, state, batch, hyper, key)
        state = descend(state, gradients).replace(batch_stats=aux.batch_stats, extra=aux.extra)
        return state, {'loss': value, **aux.metrics}

    return update


def make_step(
    encoder: Encoder, method: Method, sizes: Sizes, config, is_masked: bool = True
) -> Step:
    """Returns the step of `method` over `encoder`, with the optimiser of config.train.

    `is_masked` is whether any run has a time_mask or band_mask above 0. Without masks all runs of a
    fold have the same input, and what does not depend on trained weights is the same, too.
    """

    def init(hyper: Hyper) -> State:
        key = jax.random.fold_in(jax.random.PRNGKey(hyper['seed']), hyper['fold'])
        key, key_encoder, key_heads = jax.random.split(key, 3)
        batch = make_dummy_batch(sizes.bands, encoder.frozen)
        params, batch_stats = encoder.init(key_encoder, batch)

        def encode(params, batch_stats):
            return encoder.apply(params, batch_stats, batch, hyper, key, train=False)

        z, _ = jax.eval_shape(encode, params, batch_stats)
        heads, extra = method.init(key_heads, jnp.zeros(z.shape))
        params = {'encoder': params, **heads}
        transformation = optimizer.make_optimizer(hyper, sizes.steps, config)
        opt_state = {branch: transformation.init(p) for branch, p in params.items()}
        return State(jnp.zeros((), jnp.int32), params, batch_stats, extra, opt_state, key)

    def update(state: State, batch: Batch, hyper: Hyper) -> tuple[State, dict[str, jax.Array]]:
        transformation = optimizer.make_optimizer(hyper, sizes.steps, config)

        def descend(state: State, gradients: dict) -> State:
            rates = branch_rates(method, hyper)
            return _descend(state, gradients, transformation, encoder, rates)

        key_augment, key_loss = jax.random.split(jax.random.fold_in(state.key, state.step))
        batch = features.normalise(batch)
        if is_masked:
            batch = features.spec_augment(batch, hyper, key_augment)
        method_update = method.update or gradient_update(method.loss)
        state, metrics = method_update(state, batch, hyper, key_loss, descend)
        return state.replace(step=state.step + 1), metrics

    def predict(params, batch_stats, batch: Batch):
        return method.predict(params, batch_stats, features.normalise(batch))

    return Step(init, update, predict)


def branch_rates(method: Method, hyper: Hyper) -> dict[str, jax.Array]:
    """Returns the factors on the learning rate of branches of the parameters, 1 if not named.

    hyper['head_rate'] is that of the domain heads, of a method that has this hyper-parameter.
    """
    if 'head_rate' not in method.hyper:
        return {}
    return dict.fromkeys(method.domains, hyper['head_rate'])


def _descend(
    state: State,
    gradients: dict,
    transformation: optax.GradientTransformation,
    encoder: Encoder,
    rates: dict[str, jax.Array],
) -> State:
    """Returns the state after one step of the optimiser for the branches that have a gradient.

    `rates` are factors on the learning rate of some branches.
    """
    params = dict(state.params)
    opt_state = dict(state.opt_state)
    for branch, gradient in gradients.items():
        updates, opt_state[branch] = transformation.update(
            gradient, state.opt_state[branch], state.params[branch]
        )
        if branch == 'encoder' and encoder.rates is not None:
            updates = jax.tree.map(jnp.multiply, updates, encoder.rates(updates))
        if branch in rates:
            updates = optax.tree.scale(rates[branch], updates)
        params[branch] = optax.apply_updates(state.params[branch], updates)
    return state.replace(params=params, opt_state=opt_state)

"""One run's training step as a pure function; a sweep is a vmap of it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxser import features
from jaxser.interfaces import Batch, Encoder, Hyper, Method, Sizes, State
from jaxser.training import optimizer


class Step(NamedTuple):
    """What a run can do; pure functions of one run's arrays."""

    init: Callable[[Hyper], State]
    update: Callable[[State, Batch, Hyper], tuple[State, dict[str, jax.Array]]]
    predict: Callable  # (params, batch_stats, batch) -> (z_BxD, scores_BxC)


def gradient_update(loss: Callable) -> Callable:
    """The update of nearly every method: all branches descend along the gradient of one loss."""

    def update(state: State, batch: Batch, hyper: Hyper, key: jax.Array, descend: Callable):
        (value, aux), gradients = jax.value_and_grad(loss, has_aux=True)(
            state.params, state, batch, hyper, key
        )
        state = descend(state, gradients).replace(batch_stats=aux.batch_stats, extra=aux.extra)
        return state, {'loss': value, **aux.metrics}

    return update


def make_step(encoder: Encoder, method: Method, sizes: Sizes, config) -> Step:
    """The step of `method` over `encoder`, with the optimiser of `config`."""

    def init(hyper: Hyper) -> State:
        key = jax.random.fold_in(jax.random.PRNGKey(hyper['seed']), hyper['fold'])
        key, key_encoder, key_heads = jax.random.split(key, 3)
        batch = {
            'mel_BxTxM': jnp.zeros((1, 16, sizes.bands)),
            'frames_B': jnp.full((1,), 16),
            'target_B': jnp.zeros((1,)),
        }
        if encoder.frozen is not None:
            batch['frozen'] = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), encoder.frozen)
        params, batch_stats = encoder.init(key_encoder, batch)
        z, _ = jax.eval_shape(
            lambda p, s: encoder.apply(p, s, batch, hyper, key, train=False), params, batch_stats
        )
        heads, extra = method.init(key_heads, jnp.zeros(z.shape))
        params = {'encoder': params, **heads}
        how = optimizer.make_optimizer(hyper, sizes.steps, config)
        opt_state = {branch: how.init(p) for branch, p in params.items()}
        return State(jnp.zeros((), jnp.int32), params, batch_stats, extra, opt_state, key)

    def scaled(branch: str, moves):
        if branch != 'encoder' or encoder.rates is None:
            return moves
        return jax.tree.map(jnp.multiply, moves, encoder.rates(moves))

    def update(state: State, batch: Batch, hyper: Hyper):
        how = optimizer.make_optimizer(hyper, sizes.steps, config)

        def descend(state: State, gradients: dict) -> State:
            steps = {
                k: how.update(g, state.opt_state[k], state.params[k]) for k, g in gradients.items()
            }
            params = {
                k: optax.apply_updates(state.params[k], scaled(k, moves))
                for k, (moves, _) in steps.items()
            }
            opt_state = {k: after for k, (_, after) in steps.items()}
            return state.replace(
                params=state.params | params, opt_state=state.opt_state | opt_state
            )

        key_augment, key_loss = jax.random.split(jax.random.fold_in(state.key, state.step))
        batch = features.spec_augment(features.normalise(batch), hyper, key_augment)
        state, metrics = (method.update or gradient_update(method.loss))(
            state, batch, hyper, key_loss, descend
        )
        return state.replace(step=state.step + 1), metrics

    def predict(params, batch_stats, batch: Batch):
        return method.predict(params, batch_stats, features.normalise(batch))

    return Step(init, update, predict)

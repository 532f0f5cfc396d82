"""One run's training step as a pure function; a sweep is a vmap of it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxser import features, optimizer
from jaxser.interfaces import Batch, Encoder, Hyper, Method, Sizes, State


class Step(NamedTuple):
    """What a run can do; pure functions of one run's arrays."""

    init: Callable[[Hyper], State]
    update: Callable[[State, Batch, Hyper], tuple[State, dict[str, jax.Array]]]
    predict: Callable  # (params, batch_stats, batch) -> (z_BxD, scores_BxC)


def make(encoder: Encoder, method: Method, sizes: Sizes, config) -> Step:
    """The step of `method` over `encoder`, with the optimiser of `config`."""

    def init(hyper: Hyper) -> State:
        key = jax.random.fold_in(jax.random.PRNGKey(hyper['seed']), hyper['fold'])
        key, key_encoder, key_heads = jax.random.split(key, 3)
        mel_1xTxM, frames_1 = jnp.zeros((1, 16, sizes.bands)), jnp.full((1,), 16)
        params, batch_stats = encoder.init(key_encoder, mel_1xTxM, frames_1)
        z, _ = jax.eval_shape(lambda p, s: encoder.apply(p, s, mel_1xTxM, frames_1, hyper, key, train=False), params, batch_stats)
        heads, extra = method.init(key_heads, jnp.zeros(z.shape))
        params = {'encoder': params, **heads}
        opt_state = optimizer.make(hyper, sizes.steps, config).init(params)
        return State(jnp.zeros((), jnp.int32), params, batch_stats, extra, opt_state, key)

    def update(state: State, batch: Batch, hyper: Hyper):
        key_augment, key_loss = jax.random.split(jax.random.fold_in(state.key, state.step))
        batch = features.spec_augment(features.normalise(batch), hyper, key_augment)
        (value, aux), gradients = jax.value_and_grad(method.loss, has_aux=True)(state.params, state, batch, hyper, key_loss)
        updates, opt_state = optimizer.make(hyper, sizes.steps, config).update(gradients, state.opt_state, state.params)
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=aux.batch_stats,
            extra=aux.extra,
            opt_state=opt_state,
        )
        return state, {'loss': value, **aux.metrics}

    def predict(params, batch_stats, batch: Batch):
        return method.predict(params, batch_stats, features.normalise(batch))

    return Step(init, update, predict)

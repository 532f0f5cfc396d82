"""The training step of the methods that have parameters in closed form, leace and projection."""

from collections.abc import Callable

import jax

from jaxser.interfaces import Batch, Hyper, State


def update_without(branch: str, loss: Callable) -> Callable:
    """Returns the `Method.update` down the gradient of `loss`, of all parameters but one branch.

    `branch` is computed in closed form. It is not given to the optimiser, whose weight decay would
    change it. `loss` gets the parameters without it.
    """

    def update(state: State, batch: Batch, hyper: Hyper, key: jax.Array, descend: Callable):
        trained = dict(state.params)
        del trained[branch]
        value_and_gradient = jax.value_and_grad(loss, has_aux=True)
        (value, aux), gradients = value_and_gradient(trained, state, batch, hyper, key)
        state = descend(state, gradients).replace(batch_stats=aux.batch_stats, extra=aux.extra)
        return state, {'loss': value, **aux.metrics}

    return update

"""Classifiers on a representation."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax

from jaxser.interfaces import Sizes


class Head(NamedTuple):
    """A classifier as two pure functions."""

    init: Callable  # (key, z_BxD) -> params
    apply: Callable  # (params, z_BxD) -> scores_BxC


def make_head(classes: int, hidden: int | None = None) -> Head:
    """Returns a linear classifier, or with `hidden` one with a hidden ReLU layer of that width."""
    layers = [nn.Dense(classes)]
    if hidden is not None:
        layers = [nn.Dense(hidden), nn.relu, *layers]
    module = nn.Sequential(layers)

    def init(key: jax.Array, z_BxD: jax.Array) -> dict:
        return module.init(key, z_BxD)['params']

    def apply(params: dict, z_BxD: jax.Array) -> jax.Array:
        return module.apply({'params': params}, z_BxD)

    return Head(init, apply)


def domain_heads(config, sizes: Sizes) -> dict[str, Head]:
    """Returns a classifier with a hidden layer for each domain of `config.domain`.

    The domains are joined by a plus sign, e.g. 'speaker+language'.
    """
    heads = {}
    for domain in config.domain.split('+'):
        heads[domain] = make_head(sizes.domains[domain], hidden=config.domain_hidden)
    return heads


def init_heads(heads: dict[str, Head], key: jax.Array, z_1xD: jax.Array) -> dict:
    """Returns the parameters of several heads by name.

    The first head is initialised with `key` itself, whether or not there are others: so the emotion
    head starts from the same parameters in every method.
    """
    params = {}
    for n, (name, head) in enumerate(heads.items()):
        head_key = jax.random.fold_in(key, n) if n else key
        params[name] = head.init(head_key, z_1xD)
    return params

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


def init_further_heads(heads: dict[str, Head], key: jax.Array, z_1xD: jax.Array) -> dict:
    """Returns the parameters by name of the heads that a method has besides those of its task.

    Each is initialised with its number, from 1, folded into `key`. The emotion head is initialised
    with `key` itself (output_head.py), so that it starts from the same parameters in every method.
    """
    params = {}
    for n, (name, head) in enumerate(heads.items(), start=1):
        params[name] = head.init(jax.random.fold_in(key, n), z_1xD)
    return params

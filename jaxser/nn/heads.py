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
    """A linear classifier, or with `hidden` one of a rectified hidden layer."""
    layers = [] if hidden is None else [nn.Dense(hidden), nn.relu]
    module = nn.Sequential([*layers, nn.Dense(classes)])

    def apply(params: dict, z_BxD: jax.Array) -> jax.Array:
        return module.apply({'params': params}, z_BxD)

    return Head(lambda key, z_BxD: module.init(key, z_BxD)['params'], apply)


def domain_heads(config, sizes: Sizes) -> dict[str, Head]:
    """A classifier for every domain of `config.domain`, e.g. 'speaker+language', with a hidden layer."""
    return {
        d: make_head(sizes.domains[d], hidden=config.domain_hidden)
        for d in config.domain.split('+')
    }


def init_heads(heads: dict[str, Head], key: jax.Array, z_1xD: jax.Array) -> dict:
    """Parameters of several; the first draws from `key` itself, as it does where it stands alone."""
    return {
        name: h.init(jax.random.fold_in(key, n) if n else key, z_1xD)
        for n, (name, h) in enumerate(heads.items())
    }

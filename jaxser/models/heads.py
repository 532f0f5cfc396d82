"""Classifiers on a representation."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax


class Head(NamedTuple):
    """A classifier as two pure functions."""

    init: Callable  # (key, z_BxD) -> params
    apply: Callable  # (params, z_BxD) -> scores_BxC


def make(classes: int, hidden: int | None = None) -> Head:
    """A linear classifier, or with `hidden` one of a rectified hidden layer."""
    layers = [] if hidden is None else [nn.Dense(hidden), nn.relu]
    module = nn.Sequential([*layers, nn.Dense(classes)])

    def apply(params: dict, z_BxD: jax.Array) -> jax.Array:
        return module.apply({'params': params}, z_BxD)

    return Head(lambda key, z_BxD: module.init(key, z_BxD)['params'], apply)

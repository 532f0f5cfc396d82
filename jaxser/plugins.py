"""Finds methods and encoders by the name of their module, and makes them."""

import contextlib
import importlib
import pkgutil
from types import ModuleType

import jax

from data_pipelines.batching import table
from data_pipelines.errors import UserError
from data_pipelines.wording import similar_name_hint
from jaxser.interfaces import Encoder, Method, Sizes

# Sizes for making a method only to read its static properties.
DUMMY_SIZES = Sizes(bands=1, emotions=1, domains=dict.fromkeys(table.DOMAINS, 1), steps=1)


def plugin_names(package: str) -> list[str]:
    """Returns the names of the plug-ins in jaxser/<package>: 'methods', 'models' or 'trackers'.

    Every module is a plug-in, unless its name starts with an underscore.
    """
    modules = pkgutil.iter_modules(importlib.import_module(f'jaxser.{package}').__path__)
    return sorted(module.name for module in modules if not module.name.startswith('_'))


def load_plugin(package: str, name: str) -> ModuleType:
    """Returns the module jaxser.<package>.<name>; raises UserError if there is no such plug-in."""
    names = plugin_names(package)
    if name not in names:
        raise UserError(
            f'There is no {name!r} in jaxser/{package}; expected one of {", ".join(names)}.'
            f'{similar_name_hint(name, names)}'
        )
    return importlib.import_module(f'jaxser.{package}.{name}')


def make_method(config, sizes: Sizes) -> tuple[Encoder, Method]:
    """Returns (encoder, method) of a configuration: the method is made for that encoder.

    Raises UserError if a plug-in or a domain does not exist.
    """
    domains = config.domain.split('+')
    if not set(domains) <= set(table.DOMAINS) or len(set(domains)) < len(domains):
        raise UserError(
            f'config.domain is {config.domain!r}; expected one of {", ".join(table.DOMAINS)}, '
            'or several of them joined by a plus sign, as in speaker+language.'
        )
    encoder = load_plugin('models', config.model.name).make(config.model)
    method = load_plugin('methods', config.method).make(config, encoder, sizes)
    return encoder, method


def matmul_precision_context(config) -> contextlib.AbstractContextManager:
    """Returns a context in which matrix products have the precision `config.matmul_precision`."""
    if config.matmul_precision == 'default':
        return contextlib.nullcontext()
    return jax.default_matmul_precision(config.matmul_precision)

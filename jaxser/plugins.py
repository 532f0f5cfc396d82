"""TODO: jaxser.plugins."""

import contextlib
import importlib
from pathlib import Path

import jax

from data_pipelines.batching import table
from data_pipelines.errors import UserError
from jaxser.interfaces import Encoder, Method, Sizes

DUMMY_SIZES = Sizes(1, 1, dict.fromkeys(table.DOMAINS, 1), 1)


def load_plugin(package: str, name: str):
    """The module jaxser.<package>.<name>; refuses an unknown name, listing the known ones."""
    known = sorted(
        p.stem
        for p in (Path(__file__).parent / package).glob('*.py')
        if '\ndef make(config' in p.read_text()
    )
    if name not in known:
        raise UserError(f'There is no {name!r} in jaxser/{package}; known are {", ".join(known)}.')
    return importlib.import_module(f'jaxser.{package}.{name}')


def make_method(config, sizes: Sizes) -> tuple[Encoder, Method]:
    """The encoder and the method of a configuration."""
    asked = config.domain.split('+')
    if not set(asked) <= set(table.DOMAINS) or len(set(asked)) < len(asked):
        known = ', '.join(table.DOMAINS)
        raise UserError(
            f'config.domain is {config.domain!r}; expected one of {known}, or several: speaker+language.'
        )
    encoder = load_plugin('models', config.model.name).make(config.model)
    return encoder, load_plugin('methods', config.method).make(config, encoder, sizes)


def matmul_precision_context(config):
    """A context in which products are as precise as `config.matmul_precision`."""
    how = config.matmul_precision
    return contextlib.nullcontext() if how == 'default' else jax.default_matmul_precision(how)

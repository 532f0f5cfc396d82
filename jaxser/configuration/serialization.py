"""TODO: jaxser.configuration.serialization."""

import json

from ml_collections import ConfigDict


def config_to_dict(config) -> dict:
    """The configuration as JSON has it."""
    return json.loads(config.to_json())


def config_from_dict(values: dict) -> ConfigDict:
    """A configuration from its JSON."""
    return ConfigDict(_lists_to_tuples(values))


def _lists_to_tuples(tree):
    """JSON's lists as a configuration has them."""
    if isinstance(tree, dict):
        return {k: _lists_to_tuples(v) for k, v in tree.items()}
    return tuple(map(_lists_to_tuples, tree)) if isinstance(tree, list) else tree

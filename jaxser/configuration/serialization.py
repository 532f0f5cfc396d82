"""Converts configurations to JSON and back."""

import json

from ml_collections import ConfigDict


def config_to_dict(config) -> dict:
    """Returns the configuration as its JSON is read: tuples are lists."""
    return json.loads(config.to_json())


def config_from_dict(values: dict) -> ConfigDict:
    """Returns the configuration of which `values` is the JSON."""
    return ConfigDict(_lists_to_tuples(values))


def _lists_to_tuples(tree):
    """Returns a copy of a JSON tree whose lists are tuples."""
    if isinstance(tree, dict):
        return {key: _lists_to_tuples(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return tuple(_lists_to_tuples(value) for value in tree)
    return tree

"""Configurations of sweeps that an earlier version started, which lack the keys added since.

Such a sweep goes on as it began. Keys that were added get the value with which a method computes
what it did before. Where a method's default has changed too, the mark `config.earlier_defaults`
makes it use the earlier default. Only this module sets the mark.
"""

import copy

MARK = 'earlier_defaults'

# The keys that were added since November 2026, and what earlier versions computed.
ADDED_KEYS = {
    'task': 'emotion',
    'data.ratings': ['arousal', 'valence', 'dominance'],
    'train.rating_loss': 'ccc',
    'train.rating_weight': 1.0,
    'train.soft_labels': False,
    'train.annotator_dropout': 0.0,
    'protocol.withhold': 0.0,
    'protocol.enrol': 'none',
    'protocol.enrol_from': 'any',
    'protocol.drop_copies': False,
    'sweep.enrol': [],
    'similarity': 'conditional',
    'sweep.similarity': [],
    'sweep.head_rate': [],
    'track': '',
}


def complete(values: dict) -> dict:
    """Returns the JSON of a configuration with all keys, and with the mark if it is an earlier one.

    An earlier configuration is one without the key `similarity`, which all others have.
    """
    values = copy.deepcopy(values)
    if 'similarity' not in values:
        values[MARK] = True
    for path, value in ADDED_KEYS.items():
        *sections, key = path.split('.')
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section.setdefault(key, copy.copy(value))
    return values


def with_mark(config):
    """Returns a copy of the configuration with the mark."""
    config = copy.deepcopy(config)
    with config.unlocked():
        config[MARK] = True
    return config


def uses_earlier_defaults(config) -> bool:
    """Whether an earlier version started the sweep of this configuration."""
    return bool(config.get(MARK, False))

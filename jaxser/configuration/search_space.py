"""Reads `config.sweep`: the keys that are swept, their values, and the explicit runs.

Keys of the configuration itself are structural: each combination of their values is a program of
its own. All other keys are traced, so that one program serves all values.
"""

import copy
import difflib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from data_pipelines.errors import UserError
from data_pipelines.protocols.subsets import Subset
from jaxser.runs import flatten

ENROL_KEY = 'enrol'  # a number of utterances, or 'all'
INTEGER_KEYS = ('seed', 'fold')  # traced as integers; all other traced keys are real numbers
COUNT_KEYS = ('speakers', 'per_class')  # positive integers: sizes of a subset of the training part
FRACTION_KEYS = ('confounded', 'alpha')  # from 0 to 1
OPEN_FRACTION_KEYS = ('dropout', 'time_mask', 'band_mask')  # from 0 to below 1
SIGNED_KEYS = ('lam',)  # may be negative for some methods (`Method.may_be_negative`)
INTEGER_END = 2**31  # integers are traced in 32 bits


class SearchSpace(NamedTuple):
    """The content of `config.sweep`."""

    values: dict[str, tuple]  # the keys that have values
    listed: list[dict]  # config.sweep.runs; [{}] if it is empty
    keys: dict  # every key that can be swept
    structural: set[str]  # the keys among them that are keys of the configuration itself

    def enrol_values(self) -> list:
        """Returns the values of `enrol`, of all runs."""
        listed = [run[ENROL_KEY] for run in self.listed if ENROL_KEY in run]
        return [*self.values.get(ENROL_KEY, ()), *listed]


def read_search_space(config) -> SearchSpace:
    """Returns the content of `config.sweep`; missing keys have the values of configs/base.py."""
    keys = _default_sweep() | flatten(config.sweep)
    listed = _explicit_runs(keys.pop('runs'))
    keys.pop('fold')
    structural = {key for key in keys if '.' in key or key in config}
    values = {}
    for key, value in keys.items():
        options = _as_tuple(value)
        if options:
            values[key] = options
    if ENROL_KEY in values:
        values[ENROL_KEY] = tuple(parse_enrol(value) for value in values[ENROL_KEY])
    return SearchSpace(values, listed, keys, structural)


def parse_enrol(value: object) -> object:
    """Returns the number in a text such as '8', as the command line may pass it, or the value."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _default_sweep() -> dict:
    """Returns the keys of configs/base.py; a configuration may have replaced all of them."""
    from configs import base

    return flatten(base.get_config().sweep)


def _explicit_runs(runs) -> list[dict]:
    """Returns the explicit list of runs, [{}] if it is empty; raises UserError for another type."""
    is_list = isinstance(runs, tuple | list)
    if not is_list or not all(hasattr(run, 'items') for run in runs):
        raise UserError(
            f'config.sweep.runs is {runs!r}; expected a tuple of dictionaries such as '
            "({'lam': 0.1, 'lr': 1e-3},)."
        )
    return [flatten(run) for run in runs] or [{}]


def _as_tuple(value) -> tuple:
    """Returns the values of a key as a tuple; 'a,b' is ('a', 'b'), and 'a,' is ('a',)."""
    values = []
    for entry in value if isinstance(value, tuple | list) else [value]:
        values.extend(entry.removesuffix(',').split(',') if isinstance(entry, str) else [entry])
    return tuple(values)


def structure_keys(space: SearchSpace) -> list[str]:
    """Returns the structural keys that are swept.

    A key that one listed run names is set for all runs, so that no two networks share a row.
    """
    named = set(space.values).union(*space.listed)
    return [key for key in space.keys if key in space.structural and key in named]


def combinations(space: SearchSpace, listed_run: dict) -> Iterator[dict]:
    """Yields a listed run with every combination of values of the keys that it does not set.

    The seed varies fastest. Of the traced keys those of the subset vary slowest, so that a device
    needs the data of few folds.
    """

    def speed(key: str) -> tuple[bool, bool, bool]:
        return key == 'seed', key not in space.structural, key not in Subset._fields

    free = sorted((key for key in space.values if key not in listed_run), key=speed)
    for values in itertools.product(*(space.values[key] for key in free)):
        yield listed_run | dict(zip(free, values))


def check_keys(space: SearchSpace, config, method_keys: Callable[[object], Iterable[str]]) -> None:
    """Raises UserError for a key that does not exist.

    `method_keys` returns the hyper-parameters of a configuration's method, which may be others
    than configs/base.py lists.
    """
    for run in space.listed:
        structure = {}
        for key, value in run.items():
            if key in space.structural and isinstance(value, str | int):
                structure[key] = value
        known_keys = {*space.keys, 'fold'}
        if run:
            known_keys.update(method_keys(copy_with(config, structure)))
        unknown = sorted(set(run) - known_keys)
        if unknown:
            key_path = f'config.sweep.runs: {unknown[0]}'
            raise UserError(_unknown_key_message(key_path, unknown[0], space.keys))
    default_keys = _default_sweep()
    unknown = sorted(set(space.values) - set(default_keys))
    if unknown:
        key_path = f'config.sweep.{unknown[0]}'
        raise UserError(_unknown_key_message(key_path, unknown[0], default_keys))


def _unknown_key_message(key_path: str, key: str, known_keys: dict) -> str:
    similar = difflib.get_close_matches(key, known_keys, 1)
    hint = f' Did you mean {similar[0]!r}?' if similar else ''
    return (
        f'{key_path} cannot be swept; there is no such hyper-parameter.{hint} '
        'configs/base.py lists those that can.'
    )


def check_values(space: SearchSpace) -> None:
    """Raises UserError for an invalid value of a swept key or of a listed run."""
    for key, values in space.values.items():
        _check_key_values(f'config.sweep.{key}', key, values, key in space.structural)
    for run in space.listed:
        for key, value in run.items():
            _check_key_values(f'config.sweep.runs: {key}', key, (value,), key in space.structural)


def _check_key_values(key_path: str, key: str, values: tuple, is_structural: bool) -> None:
    """Raises UserError for an invalid value of a key, and for a value that occurs twice."""
    if key == ENROL_KEY:
        _check_enrol(key_path, values)
    elif is_structural:
        for value in values:
            if not isinstance(value, str | int):
                raise UserError(
                    f'{key_path}: {value!r} is neither a name nor an integer. Give each run one '
                    'name, such as dann, or one integer, such as 64.'
                )
    else:
        _check_numbers(key_path, key, values)
    if len(set(values)) < len(values):
        raise UserError(
            f'{key_path} contains the same value twice: {values}. Remove one of the two.'
        )


def _check_enrol(key_path: str, values: tuple) -> None:
    """Raises UserError for a value that is neither a number of utterances nor 'all'."""
    for value in values:
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if value != 'all' and not is_count:
            raise UserError(
                f"{key_path}: {value!r} is neither a number of utterances of at least 0 nor 'all'."
            )


def _check_numbers(key_path: str, key: str, values: tuple) -> None:
    """Raises UserError for a value of a traced key that is not a number in its range."""
    is_integer = key in INTEGER_KEYS or key in COUNT_KEYS
    minimum = 1 if key in COUNT_KEYS else 0
    if key in SIGNED_KEYS:
        minimum = -sys.float_info.max
    end = INTEGER_END if is_integer else float('inf')
    wrong = []
    for value in values:
        has_type = isinstance(value, int if is_integer else int | float)
        if isinstance(value, bool) or not has_type or not minimum <= value < end:
            wrong.append(value)
    if wrong:
        worst = _worst_value(wrong)
        noun = 'an integer' if is_integer else 'a number'
        limits = 'that is finite' if key in SIGNED_KEYS else f'of at least {minimum}'
        if isinstance(worst, int) and worst >= end:
            limits = f'from {minimum} to {end - 1}'
        raise UserError(f'{key_path}: {worst!r} is not {noun} {limits}.')
    for value in values:
        if key in FRACTION_KEYS and value > 1:
            raise UserError(f'{key_path}: {value!r} is not a number from 0 to 1.')
        if key in OPEN_FRACTION_KEYS and value >= 1:
            raise UserError(f'{key_path}: {value!r} is not a number from 0 to below 1.')


def _worst_value(values: list) -> object:
    """Returns the first value that is not a number, not even as text, or else the first value.

    If one value on the command line is a word, the numbers next to it are read as text too.
    """
    for value in values:
        if not str(value).removeprefix('-').replace('.', '', 1).isdigit():
            return value
    return values[0]


def copy_with(config, changes: dict):
    """Returns a copy of the configuration with some keys changed; UserError for a wrong type."""
    config = copy.deepcopy(config)
    for key_path, value in changes.items():
        *nodes, key = key_path.split('.')
        node = config
        for name in nodes:
            node = node[name]
        try:
            node[key] = value
        except TypeError as e:
            raise UserError(f'config.sweep.{key_path}: {e}') from None
    return config

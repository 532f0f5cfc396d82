"""Turns `config.sweep` into programs and their runs.

The runs are the product of the values in `config.sweep`, or that product with each entry of
`config.sweep.runs`. Keys of the configuration itself are structural: each combination of their
values is a program of its own. All other keys are traced, so that one program serves all values.
"""

import copy
import difflib
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.subsets import Subset
from jaxser.runs import TRAINING_KEYS, flatten, run_label, varying_keys

INTEGER_KEYS = ('seed', 'fold')  # traced as integers; all other traced keys are real numbers
COUNT_KEYS = ('speakers', 'per_class')  # positive integers: sizes of a subset of the training part
FRACTION_KEYS = ('confounded', 'alpha')  # from 0 to 1
OPEN_FRACTION_KEYS = ('dropout', 'time_mask', 'band_mask')  # from 0 to below 1
INTEGER_END = 2**31  # integers are traced in 32 bits


class MethodFacts(NamedTuple):
    """What is known of a configuration's method before any data is read."""

    hyper: dict[str, float]  # its own hyper-parameters with their defaults
    domains: tuple[str, ...] = ()  # the domains that it predicts in training
    needs_target: bool = False  # whether its batches must contain a target
    has_identity_batches: bool = False
    has_fit: bool = False  # whether it is fitted once more after training


class Program(NamedTuple):
    """A configuration with one value for each structural key, and the runs that it trains."""

    structure: dict  # the swept structural keys, e.g. {'method': 'dann', 'model.width': 128}
    config: object
    method: MethodFacts
    # The runs without their fold, which an entry of config.sweep.runs may name. They contain the
    # structural keys too, for the tables.
    variants: list[dict]


class SearchSpace(NamedTuple):
    """The content of `config.sweep`."""

    values: dict[str, tuple]  # the keys that have values
    listed: list[dict]  # config.sweep.runs; [{}] if it is empty
    keys: dict  # every key that can be swept
    structural: set[str]  # those of them that are keys of the configuration itself


def make_programs(config, describe_method: Callable[[object], MethodFacts]) -> list[Program]:
    """Returns the programs of a sweep; `describe_method` describes a configuration's method.

    Raises UserError for a key that no method of the sweep has, and for an invalid value.
    """
    space = _read_search_space(config)
    _check_keys(space, config, describe_method)
    _check_all_values(space)
    structure_keys = _structure_keys(space)
    defaults = flatten(config)
    programs: dict[tuple, Program] = {}
    used: set[str] = set()
    for listed_run in space.listed:
        for run in _combinations(space, listed_run):
            structure = {key: run.get(key, defaults[key]) for key in structure_keys}
            name = tuple(sorted(structure.items()))
            if name not in programs:
                own_config = _copy_with(config, structure)
                facts = describe_method(own_config)
                programs[name] = Program(structure, own_config, facts, [])
            program = programs[name]
            traced = {key: value for key, value in run.items() if key not in space.structural}
            own = {key: value for key, value in traced.items() if key in _traced_keys(program)}
            used.update(own)
            # A run that is there already, and sets nothing foreign to its method, is listed twice.
            may_repeat = len(programs) > 1 or len(own) < len(traced)
            _add_variant(program, _make_variant(program, own), may_repeat, listed_run)
    result = list(programs.values())
    _check_subsets(result)
    _check_all_used(space, used, result)
    _check_runs_differ(result)
    return result


def _read_search_space(config) -> SearchSpace:
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
    return SearchSpace(values, listed, keys, structural)


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
    """Returns the values of a key as a tuple; 'a,b' is ('a', 'b')."""
    values = []
    for entry in value if isinstance(value, tuple | list) else [value]:
        values.extend(entry.split(',') if isinstance(entry, str) else [entry])
    return tuple(values)


def _structure_keys(space: SearchSpace) -> list[str]:
    """Returns the structural keys that are swept.

    A key that one listed run names is set for all runs, so that no two networks share a row.
    """
    named = set(space.values).union(*space.listed)
    return [key for key in space.keys if key in space.structural and key in named]


def _combinations(space: SearchSpace, listed_run: dict) -> Iterator[dict]:
    """Yields a listed run with every combination of the values of the keys that it leaves open.

    The seed varies fastest. Of the traced keys those of the subset vary slowest, so that a device
    needs the data of few folds.
    """

    def speed(key: str) -> tuple[bool, bool, bool]:
        return key == 'seed', key not in space.structural, key not in Subset._fields

    free = sorted((key for key in space.values if key not in listed_run), key=speed)
    for values in itertools.product(*(space.values[key] for key in free)):
        yield listed_run | dict(zip(free, values))


def _traced_keys(program: Program) -> set[str]:
    """Returns the traced keys that a run of a program may have."""
    return {*program.method.hyper, *TRAINING_KEYS, *INTEGER_KEYS, *Subset._fields}


def _make_variant(program: Program, values: dict) -> dict:
    """Returns a run without its fold; a key of the method that has no value gets its default."""
    missing = sorted({*TRAINING_KEYS, 'seed'} - set(values))
    if missing:
        raise UserError(f'config.sweep.{missing[0]} is empty; expected one value or several.')
    defaults = program.method.hyper
    variant = dict(program.structure)
    for key in Subset._fields:
        if key in values:
            variant[key] = values[key]
    for key in (*defaults, *TRAINING_KEYS, 'seed'):
        variant[key] = values.get(key, defaults.get(key))
    if 'fold' in values:
        variant['fold'] = values['fold']
    return variant


def _add_variant(program: Program, variant: dict, may_repeat: bool, listed_run: dict) -> None:
    """Adds a variant unless it is there: a method without a key has one run for all its values."""
    for other in program.variants:
        same_but_fold = {**other, 'fold': None} == {**variant, 'fold': None}
        if same_but_fold and ('fold' in other) != ('fold' in variant):
            raise UserError(
                'config.sweep.runs contains the same run on every fold and on one fold: '
                f'{listed_run}. Remove one of them.'
            )
    if variant not in program.variants:
        program.variants.append(variant)
    elif not may_repeat:
        raise UserError(f'config.sweep.runs contains the same run twice: {listed_run}.')


def _check_keys(
    space: SearchSpace, config, describe_method: Callable[[object], MethodFacts]
) -> None:
    """Raises UserError for a key that does not exist."""
    for run in space.listed:
        structure = {}
        for key, value in run.items():
            if key in space.structural and isinstance(value, str | int):
                structure[key] = value
        # A method of one's own may have keys that configs/base.py does not list.
        method_keys = describe_method(_copy_with(config, structure)).hyper if run else ()
        unknown = sorted(set(run) - set(space.keys) - {'fold', *method_keys})
        if unknown:
            key_path = f'config.sweep.runs: {unknown[0]}'
            raise UserError(_unknown_key_message(key_path, unknown[0], space.keys))
    default_keys = _default_sweep()
    unknown = sorted(set(space.values) - set(default_keys))
    if unknown:
        key_path = f'config.sweep.{unknown[0]}'
        raise UserError(_unknown_key_message(key_path, unknown[0], default_keys))


def _unknown_key_message(key_path: str, key: str, known_keys: dict) -> str:
    near = difflib.get_close_matches(key, known_keys, 1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    return (
        f'{key_path} cannot be swept; there is no such hyper-parameter.{hint} '
        'configs/base.py lists those that can.'
    )


def _check_all_values(space: SearchSpace) -> None:
    """Raises UserError for an invalid value of a swept key or of a listed run."""
    for key, values in space.values.items():
        _check_values(f'config.sweep.{key}', key, values, key in space.structural)
    for run in space.listed:
        for key, value in run.items():
            _check_values(f'config.sweep.runs: {key}', key, (value,), key in space.structural)


def _check_values(key_path: str, key: str, values: tuple, is_structural: bool) -> None:
    """Raises UserError for an invalid value of a key, and for a value that is there twice."""
    if is_structural:
        for value in values:
            if not isinstance(value, str | int):
                raise UserError(f'{key_path}: {value!r} is neither a name nor an integer.')
    else:
        _check_numbers(key_path, key, values)
    if len(set(values)) < len(values):
        raise UserError(f'{key_path} contains the same value twice: {values}.')


def _check_numbers(key_path: str, key: str, values: tuple) -> None:
    """Raises UserError for a value of a traced key that is not a number in its range."""
    is_integer = key in INTEGER_KEYS or key in COUNT_KEYS
    minimum = 1 if key in COUNT_KEYS else 0
    end = INTEGER_END if is_integer else float('inf')
    wrong = []
    for value in values:
        has_type = isinstance(value, int if is_integer else int | float)
        if isinstance(value, bool) or not has_type or not minimum <= value < end:
            wrong.append(value)
    if wrong:
        worst = _worst_value(wrong)
        noun = 'an integer' if is_integer else 'a number'
        limits = f'from {minimum} up'
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

    One word on the command line makes text of the numbers beside it.
    """
    for value in values:
        if not str(value).replace('.', '', 1).isdigit():
            return value
    return values[0]


def _check_subsets(programs: list[Program]) -> None:
    """Raises UserError if some runs name a subset of the training part, and others do not."""
    variants = [variant for program in programs for variant in program.variants]
    for key in Subset._fields:
        count = sum(key in variant for variant in variants)
        if 0 < count < len(variants):
            raise UserError(
                f'config.sweep.runs: only some runs set {key}. Set it in all runs or in none; '
                'a number that is large enough selects everything.'
            )


def _check_all_used(space: SearchSpace, used: set[str], programs: list[Program]) -> None:
    """Raises UserError for a key that no program of the sweep has."""
    named = set(space.values).union(*space.listed)
    unused = sorted(named - used - space.structural)
    if not unused:
        return
    available = {*TRAINING_KEYS, 'seed'}.union(*(program.method.hyper for program in programs))
    methods = dict.fromkeys(program.config.method for program in programs)
    raise UserError(
        f'config.sweep.{unused[0]}: {", ".join(methods)} has no such hyper-parameter; it has '
        f'{", ".join(sorted(available))}. If the configuration sets it for another method, '
        f'remove it: "--config.sweep.{unused[0]}=()".'
    )


def _check_runs_differ(programs: list[Program]) -> None:
    """Raises UserError if two runs compute the same, or have one name: results go by names."""
    keys = varying_keys([variant for program in programs for variant in program.variants])
    by_numbers, by_name = {}, {}
    for program in programs:
        for variant in program.variants:
            other = by_numbers.setdefault(_numbers(variant, program), variant)
            if other is not variant:
                raise UserError(_equal_numbers_message(other, variant))
            run_name = run_label(variant, keys)
            other = by_name.setdefault((run_name, variant.get('fold')), variant)
            if other is not variant:
                raise UserError(
                    f'config.sweep: two runs have the name {run_name!r}: {other} and {variant}. '
                    'Remove one of them.'
                )


def _equal_numbers_message(run: dict, other: dict) -> str:
    key = next(key for key in run if run[key] != other[key])
    return (
        f'config.sweep.{key}: {run[key]!r} and {other[key]!r} are the same number in float32, in '
        'which training computes, so these runs are one run. Remove one of the values.'
    )


def _numbers(variant: dict, program: Program) -> tuple:
    """Returns the values of a variant as the program computes with them: reals in float32."""
    exact = (*program.structure, *INTEGER_KEYS, *Subset._fields)
    numbers = []
    with np.errstate(over='ignore'):
        for key, value in variant.items():
            numbers.append((key, value if key in exact else float(np.float32(value))))
    return tuple(numbers)


def _copy_with(config, changes: dict):
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


def select_folds(requested, fold_count: int) -> list[int]:
    """Returns the numbers of the folds to run; `requested` is 'all', one number, or several."""
    if requested in ('all', ()):
        return list(range(fold_count))
    values = list(requested) if isinstance(requested, tuple | list) else [requested]
    if isinstance(requested, str):
        values = requested.split(',')
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        raise UserError(
            f"config.sweep.fold is {requested!r}; expected 'all' or numbers from 0 to "
            f'{fold_count - 1}.'
        ) from None
    if len(set(numbers)) < len(numbers):
        raise UserError(f'config.sweep.fold names a fold twice: {requested}.')
    for number in numbers:
        if not 0 <= number < fold_count:
            raise UserError(
                f'There is no fold {number}; this protocol has the folds 0 to {fold_count - 1}.'
            )
    return numbers


def make_runs(program: Program, fold_numbers: list[int]) -> list[dict]:
    """Returns the variants on every fold, or on the fold that they name.

    The order is by fold, so that a device needs the data of few.
    """
    for variant in program.variants:
        if 'fold' in variant and variant['fold'] not in fold_numbers:
            raise UserError(
                f'config.sweep.runs: there is no fold {variant["fold"]}; the folds to run are '
                f'{", ".join(map(str, fold_numbers))}.'
            )
    runs = []
    for fold in fold_numbers:
        for variant in program.variants:
            if variant.get('fold', fold) == fold:
                runs.append(variant | {'fold': fold})
    return runs


def run_subset(run: dict) -> Subset:
    """Returns the subset of the fold's training part that a run is trained on."""
    return Subset(**{key: run[key] for key in Subset._fields if key in run})


def hyper_arrays(runs: list[dict], program: Program) -> dict[str, np.ndarray]:
    """Returns array_N of every traced hyper-parameter that the step reads.

    The keys of a run's subset are not among them: they choose its batches.
    """
    arrays = {}
    for key in runs[0]:
        if key not in program.structure and key not in Subset._fields:
            dtype = np.int32 if key in INTEGER_KEYS else np.float32
            arrays[key] = np.array([run[key] for run in runs], dtype)
    return arrays

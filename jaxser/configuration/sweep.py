"""Turns `config.sweep` into programs and their runs.

The runs are the product of the values in `config.sweep`, or that product with each entry of
`config.sweep.runs`. Keys of the configuration itself are structural: each combination of their
values is a program of its own. All other keys are traced, so that one program serves all values.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.subsets import Subset
from jaxser.configuration import search_space
from jaxser.configuration.search_space import INTEGER_KEYS, SearchSpace
from jaxser.runs import TRAINING_KEYS, flatten, run_label, varying_keys


class MethodFacts(NamedTuple):
    """What is known of a configuration's method before any data is read."""

    hyper: dict[str, float]  # its own hyper-parameters with their defaults
    domains: tuple[str, ...] = ()  # those of speaker, language, corpus that it acts on
    needs_target: bool = False  # whether its batches must contain a target
    has_identity_batches: bool = False  # whether its batches contain identity examples
    may_be_negative: tuple[str, ...] = ()  # the hyper-parameters that may be negative
    within_emotions: bool = False  # whether it distinguishes domains only within an emotion
    needs_classes: bool = False  # whether it can train neither ratings alone nor soft labels


class Program(NamedTuple):
    """A configuration with one value for each structural key, and the runs that it trains."""

    structure: dict  # the swept structural keys, e.g. {'method': 'dann', 'model.width': 128}
    config: object
    method: MethodFacts
    # The runs without their fold, which an entry of config.sweep.runs may name. They contain the
    # structural keys too, for the tables.
    variants: list[dict]


def make_programs(config, describe_method: Callable[[object], MethodFacts]) -> list[Program]:
    """Returns the programs of a sweep; `describe_method` describes a configuration's method.

    Raises UserError for a key that no method of the sweep has, and for an invalid value.
    """
    space = search_space.read_search_space(config)

    def method_keys(own_config) -> dict[str, float]:
        return describe_method(own_config).hyper

    search_space.check_keys(space, config, method_keys)
    search_space.check_values(space)
    structure_keys = search_space.structure_keys(space)
    defaults = flatten(config)
    programs: dict[tuple, Program] = {}
    used: set[str] = set()
    for listed_run in space.listed:
        for run in search_space.combinations(space, listed_run):
            structure = {key: run.get(key, defaults[key]) for key in structure_keys}
            name = tuple(sorted(structure.items()))
            if name not in programs:
                own_config = search_space.copy_with(config, structure)
                facts = describe_method(own_config)
                programs[name] = Program(structure, own_config, facts, [])
            program = programs[name]
            traced = {key: value for key, value in run.items() if key not in space.structural}
            own = {key: value for key, value in traced.items() if key in _traced_keys(program)}
            used.update(own)
            _check_signs(program, own)
            # Runs of several programs may become equal, and runs with keys that their method does
            # not have. Any other equal runs are a mistake.
            may_repeat = len(programs) > 1 or len(own) < len(traced)
            _add_variant(program, _make_variant(program, own), may_repeat, listed_run)
    result = list(programs.values())
    _check_subsets(result)
    _check_all_used(space, used, result)
    _check_runs_differ(result)
    return result


def _traced_keys(program: Program) -> set[str]:
    """Returns the traced keys that a run of a program may have."""
    return {*program.method.hyper, *TRAINING_KEYS, *INTEGER_KEYS, *Subset._fields}


def _make_variant(program: Program, values: dict) -> dict:
    """Returns a run without its fold; a key of the method that has no value gets its default."""
    missing = sorted({*TRAINING_KEYS, 'seed'} - set(values))
    if missing:
        raise UserError(f'config.sweep.{missing[0]} is empty; expected one or more values.')
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


def _check_signs(program: Program, values: dict) -> None:
    """Raises UserError for a negative value of a key for which the method does not allow it."""
    for key, value in values.items():
        if key in Subset._fields or value >= 0 or key in program.method.may_be_negative:
            continue
        hint = ''
        if key in search_space.SIGNED_KEYS:
            hint = (
                f' Only gradient reversal (dann, cdann) may have a negative {key}, with which the '
                'encoder learns to keep the domain. Train it in a sweep of its own.'
            )
        raise UserError(
            f'config.sweep.{key}: {value!r} is not a number of at least 0, which '
            f'{program.config.method} needs.{hint}'
        )


def _add_variant(program: Program, variant: dict, may_repeat: bool, listed_run: dict) -> None:
    """Adds a variant to the program unless the program has it.

    For example, a method without `lam` has one run for all values of `lam`. Raises UserError for a
    run that is listed twice by mistake.
    """
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
        raise UserError(
            f'config.sweep.runs contains the same run twice: {listed_run}. Remove one of the two.'
        )


def _all_variants(programs: list[Program]) -> list[dict]:
    variants = []
    for program in programs:
        variants += program.variants
    return variants


def _check_subsets(programs: list[Program]) -> None:
    """Raises UserError if some runs name a subset of the training part, and others do not."""
    variants = _all_variants(programs)
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
    """Raises UserError if two runs compute the same, or have the same name in the results."""
    keys = varying_keys(_all_variants(programs))
    by_numbers = {}
    by_name = {}
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
        'which training computes, so that these runs would be identical. Remove one of the values.'
    )


def _numbers(variant: dict, program: Program) -> tuple:
    """Returns the values of a variant as the program computes with them: reals in float32."""
    exact = (*program.structure, *INTEGER_KEYS, *Subset._fields)
    numbers = []
    with np.errstate(over='ignore'):
        for key, value in variant.items():
            numbers.append((key, value if key in exact else float(np.float32(value))))
    return tuple(numbers)


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
        raise UserError(
            f'config.sweep.fold names a fold twice: {requested}. Remove one of the two.'
        )
    for number in numbers:
        if not 0 <= number < fold_count:
            raise UserError(
                f'config.sweep.fold is {requested!r}: there is no fold {number}. This protocol has '
                f'the folds 0 to {fold_count - 1}.'
            )
    return numbers


def make_runs(program: Program, fold_numbers: list[int]) -> list[dict]:
    """Returns the variants on every fold, or on the fold that they name.

    They are ordered by fold, so that a device needs the data of few folds.
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

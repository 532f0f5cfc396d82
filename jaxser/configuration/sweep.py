"""Which runs there are: the product of the values in `config.sweep`, or what its list says, as programs and the runs of each."""

import copy
import difflib
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.subsets import Subset
from jaxser.runs import TRAINING_KEYS, flatten, run_label, varying_keys

INTEGER_KEYS = ('seed', 'fold')  # integers; all else that is traced is a real number

COUNT_KEYS = ('speakers', 'per_class')  # of a subset of the training part

UPPER_BOUNDS = {'dropout': 1.0, 'time_mask': 1.0, 'band_mask': 1.0}  # shares


class Program(NamedTuple):
    """What one program trains: a configuration whose structural keys are set, and its variants (runs but for their fold)."""

    structure: dict  # the swept structural keys, e.g. {'method': 'dann', 'model.width': 128}
    config: object
    variants: list[
        dict
    ]  # structural keys too, for the table; `fold` where the list of runs gives one


def make_programs(config, default_hyper: Callable[[object], dict[str, float]]) -> list[Program]:
    """The programs of a sweep; `default_hyper` gives the hyper-parameters of a configuration's method with their defaults.

    Refuses by name what no method of the sweep has, and values that make no sense.
    """
    from configs import base  # a configuration may have replaced the whole of config.sweep

    sweep = flatten(base.get_config().sweep) | flatten(config.sweep)
    listed = _explicit_runs(sweep.pop('runs'))
    sweep.pop('fold')
    known = {
        k for k in sweep if '.' in k or k in config
    }  # structural: keys of the configuration itself
    swept = {k: v for k, given in sweep.items() if (v := _as_tuple(given)) != ()}
    for run in listed:
        mine = default_hyper(
            _copy_with(
                config, {k: v for k, v in run.items() if k in known and isinstance(v, str | int)}
            )
        )
        if unknown := sorted(set(run) - set(sweep) - {'fold', *mine}):
            raise UserError(
                _unknown_key_message(f'config.sweep.runs: {unknown[0]}', unknown[0], sweep)
            )
    if unknown := sorted(set(swept) - set(flatten(base.get_config().sweep))):
        raise UserError(
            _unknown_key_message(
                f'config.sweep.{unknown[0]}', unknown[0], flatten(base.get_config().sweep)
            )
        )
    for name, options in swept.items():
        _check_values(f'config.sweep.{name}', name, options, name in known)

    # A structural key that any run names is named by all, so that no two networks share a row.
    named = [k for k in sweep if k in known and (k in swept or any(k in run for run in listed))]
    own = flatten(config)

    programs: dict[tuple, Program] = {}
    used: set[str] = set()
    for run in listed:
        for name, value in run.items():
            _check_values(f'config.sweep.runs: {name}', name, (value,), name in known)
        free = {k: v for k, v in swept.items() if k not in run}
        # The seed varies fastest, and of all that is traced the training part slowest, so that a device needs the data of few.
        names = sorted(free, key=lambda k: (k == 'seed', k not in known, k not in Subset._fields))
        for values in itertools.product(*(free[k] for k in names)):
            chosen = run | dict(zip(names, values))
            structure = {k: chosen.get(k, own[k]) for k in named}
            part = programs.setdefault(
                tuple(sorted(structure.items())),
                Program(structure, _copy_with(config, structure), []),
            )
            has = default_hyper(part.config)
            traced = {k: v for k, v in chosen.items() if k not in known}
            mine = {
                k: v
                for k, v in traced.items()
                if k in {*has, *TRAINING_KEYS, *INTEGER_KEYS, *Subset._fields}
            }
            used |= set(mine)
            if missing := sorted({*TRAINING_KEYS, 'seed'} - set(mine)):
                raise UserError(
                    f'config.sweep.{missing[0]} is empty; expected one value or several.'
                )
            ordered = {k: mine.get(k, has.get(k)) for k in (*has, *TRAINING_KEYS, 'seed')}
            part_of = {k: mine[k] for k in Subset._fields if k in mine}
            variant = structure | part_of | ordered | {k: v for k, v in mine.items() if k == 'fold'}
            if [
                v
                for v in part.variants
                if {**v, 'fold': None} == {**variant, 'fold': None}
                and ('fold' in v) != ('fold' in variant)
            ]:
                raise UserError(
                    f'config.sweep.runs holds the same run on every fold and on one: {run}.'
                )
            if (
                variant not in part.variants
            ):  # a method without the knob has one run for all its values
                part.variants.append(variant)
            elif len(programs) == 1 and set(traced) <= set(mine):
                raise UserError(f'config.sweep.runs holds the same run twice: {run}.')
    for k in Subset._fields:
        if (
            0
            < sum(k in v for p in programs.values() for v in p.variants)
            < sum(len(p.variants) for p in programs.values())
        ):
            raise UserError(
                f'config.sweep.runs: only some runs say {k}. Say it in all, or in none; a large number is all.'
            )
    everything = {k for run in listed for k in run} | set(swept)
    if useless := sorted(everything - used - known):
        has = sorted(
            {
                *TRAINING_KEYS,
                'seed',
                *(k for p in programs.values() for k in default_hyper(p.config)),
            }
        )
        methods = ', '.join(dict.fromkeys(p.config.method for p in programs.values()))
        raise UserError(
            f'config.sweep.{useless[0]}: {methods} has no such hyper-parameter; it has {", ".join(has)}. If the configuration '
            f'sets it for another method, take it away: "--config.sweep.{useless[0]}=()".'
        )
    _refuse_equal_runs([*programs.values()])
    return list(programs.values())


def _refuse_equal_runs(programs: list[Program]) -> None:
    """Refuses two runs that compute the same, and two with one name: results are kept by names."""
    keys = varying_keys([v for p in programs for v in p.variants])
    by_numbers, by_name = {}, {}
    for program in programs:
        for variant in program.variants:
            other = by_numbers.setdefault(_numbers(variant, program), variant)
            if other is not variant:
                name = next(k for k in variant if variant[k] != other[k])
                raise UserError(
                    f'config.sweep.{name}: {other[name]!r} and {variant[name]!r} are the same '
                    'number in float32, in which training computes, so these runs are one run. '
                    'Leave one of the values out.'
                )
            run_name = run_label(variant, keys)
            other = by_name.setdefault((run_name, variant.get('fold')), variant)
            if other is not variant:
                raise UserError(
                    f'config.sweep: two runs have the name {run_name!r}: {other} and {variant}. Leave one of them out.'
                )


def _numbers(variant: dict, program: Program) -> tuple:
    """Returns the values of a variant as the program computes with them: real numbers in float32."""
    exact = (*program.structure, *INTEGER_KEYS, *Subset._fields)
    with np.errstate(over='ignore'):
        return tuple((k, v if k in exact else float(np.float32(v))) for k, v in variant.items())


def _explicit_runs(runs) -> list[dict]:
    """The explicit list of runs; without one, a single run that says nothing."""
    if not isinstance(runs, tuple | list) or not all(hasattr(r, 'items') for r in runs):
        raise UserError(
            f"config.sweep.runs is {runs!r}; expected a tuple of dictionaries such as ({{'lam': 0.1, 'lr': 1e-3}},)."
        )
    return [flatten(r) for r in runs] or [{}]


def _as_tuple(value) -> tuple:
    """The values of a key as a tuple; 'a,b' is ('a', 'b')."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return tuple(x for v in values for x in (v.split(',') if isinstance(v, str) else [v]))


def _unknown_key_message(key_path: str, key: str, known_keys: dict) -> str:
    near = difflib.get_close_matches(key, known_keys, 1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    return f'{key_path} cannot be swept; there is no such hyper-parameter.{hint} configs/base.py lists what can.'


def _check_values(key_path: str, key: str, values: tuple, is_structural: bool) -> None:
    """Refuses values that are no numbers, and values that stand there twice."""
    if not is_structural:
        counted, least = key in (*INTEGER_KEYS, *COUNT_KEYS), int(key in COUNT_KEYS)
        kind = int if counted else int | float
        end = 2**31 if counted else float('inf')  # integers are traced in 32 bits
        if wrong := [
            o
            for o in values
            if isinstance(o, bool) or not isinstance(o, kind) or not least <= o < end
        ]:
            # Beside what is no number, the numbers of a list are still words.
            worst = next((o for o in wrong if not str(o).replace('.', '', 1).isdigit()), wrong[0])
            if isinstance(worst, int) and worst >= end:
                raise UserError(f'{key_path}: {worst} is not an integer from {least} to {end - 1}.')
            raise UserError(
                f'{key_path}: {worst!r} is not {"an integer" if counted else "a number"} from {least} up.'
            )
        if key in ('confounded', 'alpha') and (wrong := [o for o in values if o > 1]):
            raise UserError(f'{key_path}: {wrong[0]!r} is a share, expected from 0 to 1.')
        if key in UPPER_BOUNDS and (wrong := [o for o in values if not 0 <= o < UPPER_BOUNDS[key]]):
            raise UserError(
                f'{key_path}: {wrong[0]!r} is a share, expected from 0 up and below {UPPER_BOUNDS[key]:g}.'
            )
    elif wrong := [o for o in values if not isinstance(o, str | int)]:
        raise UserError(f'{key_path}: {wrong[0]!r} is neither a name nor a whole number.')
    if len(set(values)) < len(values):
        raise UserError(f'{key_path} holds the same value twice: {values}.')


def _copy_with(config, changes: dict):
    """A copy of the configuration with some keys set."""
    config = copy.deepcopy(config)
    for name, value in changes.items():
        node, *rest = name.split('.')
        try:
            if rest:
                config[node][rest[0]] = value
            else:
                config[node] = value
        except TypeError as e:
            raise UserError(f'config.sweep.{name}: {e}') from None
    return config


def select_folds(requested, fold_count: int) -> list[int]:
    """The numbers of the folds to run, of `fold_count`: 'all', one, or several."""
    if requested in ('all', ()):
        return list(range(fold_count))
    chosen = list(requested) if isinstance(requested, tuple | list) else [requested]
    if isinstance(requested, str):
        chosen = requested.split(',')
    try:
        chosen = [int(f) for f in chosen]
    except ValueError:
        raise UserError(
            f"config.sweep.fold is {requested!r}; expected 'all' or numbers from 0 to {fold_count - 1}."
        ) from None
    if len(set(chosen)) < len(chosen):
        raise UserError(f'config.sweep.fold names a fold twice: {requested}.')
    if wrong := [f for f in chosen if not 0 <= f < fold_count]:
        raise UserError(
            f'There is no fold {wrong[0]}; this protocol has the folds 0 to {fold_count - 1}.'
        )
    return chosen


def make_runs(program: Program, fold_numbers: list[int]) -> list[dict]:
    """The variants on every fold, or on their own; fold by fold, so that a device needs the data of few."""
    every = [
        v | {'fold': f} for f in fold_numbers for v in program.variants if v.get('fold', f) == f
    ]
    if wrong := [
        v['fold'] for v in program.variants if v.get('fold', fold_numbers[0]) not in fold_numbers
    ]:
        raise UserError(
            f'config.sweep.runs: there is no fold {wrong[0]}; the folds to run are {", ".join(map(str, fold_numbers))}.'
        )
    return every


def run_subset(run: dict) -> Subset:
    """Which part of its fold's training part a run is trained on."""
    return Subset(**{k: run[k] for k in Subset._fields if k in run})


def hyper_arrays(runs: list[dict], program: Program) -> dict[str, np.ndarray]:
    """Every traced hyper-parameter as an array_N; the part of the training part is a matter of the batches."""
    names = [k for k in runs[0] if k not in program.structure and k not in Subset._fields]
    return {
        k: np.array([r[k] for r in runs], np.int32 if k in INTEGER_KEYS else np.float32)
        for k in names
    }

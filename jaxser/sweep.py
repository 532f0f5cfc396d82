"""Which runs there are: the product of the values in `config.sweep`, laid out as folds x variants."""

import itertools

import numpy as np

from data_pipelines.refusal import Refusal

WHOLE = ('seed', 'fold')  # integers; all else is a real number
TRAINING = ('lr', 'weight_decay', 'dropout', 'time_mask', 'band_mask')  # what every method has


def values(sweep, knobs: dict[str, float]) -> dict[str, tuple]:
    """The values of every hyper-parameter but the fold; `knobs` are the method's own with their defaults.

    Refuses by name what this method does not have, and what is no number.
    """
    given = {k: v if isinstance(v, tuple | list) else (v,) for k, v in sweep.items() if k != 'fold'}
    swept = {k: v for k, v in given.items() if v != ()}
    known = {*knobs, *TRAINING, 'seed'}
    if unknown := sorted(set(swept) - known):
        raise Refusal(f'config.sweep.{unknown[0]}: this method has no such hyper-parameter; it has {", ".join(sorted(known))}.')
    for name, options in swept.items():
        whole = int if name in WHOLE else int | float
        if wrong := [o for o in options if isinstance(o, bool) or not isinstance(o, whole) or not 0 <= o < float('inf')]:
            raise Refusal(f'config.sweep.{name}: {wrong[0]!r} is not {"an integer" if name in WHOLE else "a number"} from 0 up.')
        if len(set(options)) < len(options):
            raise Refusal(f'config.sweep.{name} holds the same value twice: {options}.')
    if missing := sorted(known - set(swept) - set(knobs)):
        raise Refusal(f'config.sweep.{missing[0]} is empty; expected one value or several.')
    return {k: tuple(swept.get(k, (knobs.get(k),))) for k in (*knobs, *TRAINING, 'seed')}


def folds(fold, count: int) -> list[int]:
    """The numbers of the folds to run, of `count`: 'all', one, or several."""
    if fold in ('all', ()):
        return list(range(count))
    chosen = list(fold) if isinstance(fold, tuple | list) else [fold]
    if isinstance(fold, str):
        chosen = fold.split(',')
    try:
        chosen = [int(f) for f in chosen]
    except ValueError:
        raise Refusal(f"config.sweep.fold is {fold!r}; expected 'all' or numbers from 0 to {count - 1}.") from None
    if len(set(chosen)) < len(chosen):
        raise Refusal(f'config.sweep.fold names a fold twice: {fold}.')
    if wrong := [f for f in chosen if not 0 <= f < count]:
        raise Refusal(f'There is no fold {wrong[0]}; this protocol has the folds 0 to {count - 1}.')
    return chosen


def variants(options: dict[str, tuple]) -> list[dict]:
    """The product of the values, without folds; the last hyper-parameter varies fastest."""
    return [dict(zip(options, v)) for v in itertools.product(*options.values())]


def hyper(runs: list[dict], fold_numbers: list[int]) -> dict[str, np.ndarray]:
    """Every hyper-parameter as an array_FxV."""
    shape = (len(fold_numbers), len(runs))
    columns = {k: np.array([r[k] for r in runs]) for k in runs[0]}
    table = {k: np.broadcast_to(v.astype(np.int32 if k in WHOLE else np.float32), shape) for k, v in columns.items()}
    return table | {'fold': np.broadcast_to(np.array(fold_numbers, np.int32)[:, None], shape)}

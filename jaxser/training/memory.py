"""Forecasts how many runs of a sweep fit into the memory of a device."""

import os
from collections.abc import Callable

import jax

from data_pipelines.errors import UserError
from data_pipelines.wording import pluralize
from jaxser.interfaces import State

# The fraction of the host's memory that all its devices together may use, by platform.
HOST_MEMORY_FRACTIONS = {'cpu': 0.5}
ACCELERATOR_MEMORY_FRACTION = 0.9
MAX_COMPILATIONS = 3


def memory_limit(devices: list) -> int:
    """Returns the bytes that a sweep may use on each of `devices`, which are all of one kind."""
    device = devices[0]
    if device.platform in HOST_MEMORY_FRACTIONS:
        host = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        return int(HOST_MEMORY_FRACTIONS[device.platform] * host / len(devices))
    stats = device.memory_stats() or {}
    return int(ACCELERATOR_MEMORY_FRACTION * stats.get('bytes_limit', 1 << 60))


def bytes_outside_program(state: State) -> int:
    """Returns the bytes that a run needs on a device in addition to the training program.

    They are for its selected parameters (parameters and BatchNorm statistics of the best epoch) and
    for a second state: measuring a step trains a copy, so that the state does not change. `state`
    has the arrays of one run, or their shapes.
    """
    arrays = jax.tree.leaves((state, state.params, state.batch_stats))
    return sum(array.size * array.dtype.itemsize for array in arrays)


def required_bytes(compiled, extra_bytes: int = 0) -> int:
    """Returns the bytes that a sweep needs on a device; 0 if the back end cannot tell.

    The analysis of the compiled program counts its arguments (the state, the features, a batch),
    its results and its scratch space. `extra_bytes` are needed outside the program:
    `bytes_outside_program` of every run.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    program = analysis.argument_size_in_bytes + results + analysis.temp_size_in_bytes
    return program + extra_bytes


def choose_runs_per_device(
    compile_for: Callable[[int], object],
    max_runs: int,
    limit_bytes: int,
    extra_bytes_per_run: int = 0,
) -> tuple[int, object]:
    """Returns how many runs a device trains at once, and the program compiled for that number.

    The `max_runs` runs are divided into the fewest groups of equal size that fit into
    `limit_bytes`. The program must fit, and for each run `extra_bytes_per_run` outside it
    (`bytes_outside_program`). Raises UserError if one run, or the third compilation, does not fit.
    """
    runs = max_runs
    tried = []
    for _ in range(MAX_COMPILATIONS):
        compiled = compile_for(runs)
        needed = required_bytes(compiled, runs * extra_bytes_per_run)
        tried.append((runs, needed))
        if needed <= limit_bytes:
            return runs, compiled
        if runs == 1:
            break
        fitting = max(1, min(runs - 1, _fitting_runs(tried, limit_bytes)))
        group_count = -(-max_runs // fitting)
        runs = -(-max_runs // group_count)
    runs, needed = tried[-1]
    raise UserError(
        f'A device needs {needed / 2**30:.2f} GiB of memory for {pluralize(runs, "run")}, and '
        f'{limit_bytes / 2**30:.2f} GiB may be used. Lower config.data.batch, config.data.frames '
        'or the width of the model, or set config.data.resident=off. If a pretrained encoder is '
        'trained, raise config.model.accumulate or set config.model.remat.'
    )


def _fitting_runs(tried: list[tuple[int, int]], limit_bytes: int) -> int:
    """Returns how many runs are likely to fit, from the (runs, bytes) of earlier compilations.

    With two compilations, the bytes of each run are separated from those that all runs share.
    """
    runs, needed = tried[-1]
    if len(tried) == 1:
        return int(limit_bytes // (needed / runs))
    more_runs, more_bytes = tried[-2]
    bytes_per_run = max((more_bytes - needed) / (more_runs - runs), 1.0)
    shared_bytes = needed - bytes_per_run * runs
    return int((limit_bytes - shared_bytes) // bytes_per_run)

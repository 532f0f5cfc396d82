"""How much of a sweep fits on a device at once."""

import os
from collections.abc import Callable

import jax

from data_pipelines.errors import UserError
from jaxser.interfaces import State

HOST_MEMORY_FRACTIONS = {
    'cpu': 0.5
}  # of the host's memory, for all devices together; the host does other things too
ACCELERATOR_MEMORY_FRACTION = 0.9
MAX_COMPILATIONS = 3


def memory_limit(devices: list) -> int:
    """Bytes that a sweep may take on each of `devices`."""
    device = devices[0]
    if device.platform in HOST_MEMORY_FRACTIONS:
        host = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        return int(HOST_MEMORY_FRACTIONS[device.platform] * host / len(devices))
    stats = device.memory_stats() or {}
    return int(ACCELERATOR_MEMORY_FRACTION * stats.get('bytes_limit', 1 << 60))


def bytes_beside_program(state: State) -> int:
    """Returns the bytes that a run takes on a device beside the training program.

    These are its selected parameters (parameters and BatchNorm statistics, kept from the best
    epoch), and a second state: measuring a step trains a copy, so that the state is not touched.
    `state` holds the arrays of one run, or their shapes.
    """
    arrays = jax.tree.leaves((state, state.params, state.batch_stats))
    return sum(array.size * array.dtype.itemsize for array in arrays)


def required_bytes(compiled, extra_bytes: int = 0) -> int:
    """Returns the bytes that a sweep takes on a device; 0 where the back end has no analysis.

    The compiled program's own analysis counts its arguments (the state, the features, a batch),
    its results and its scratch space. `extra_bytes` is what lies on the device outside the program:
    `beside_program` of every run.
    """
    m = compiled.memory_analysis()
    if m is None:
        return 0
    program = m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
    return program + m.temp_size_in_bytes + extra_bytes


def choose_runs_per_device(
    compile_for: Callable[[int], object],
    max_runs: int,
    limit_bytes: int,
    extra_bytes_per_run: int = 0,
) -> tuple[int, object]:
    """The number of runs a device takes at once, in the fewest equal groups of `max_runs`, and the program compiled for it.

    What must fit is the program and, for each run, `extra_bytes_per_run` bytes beside it (`beside_program`:
    the selected parameters, and the copy of the state by which a step is measured).
    Refuses after three compilations that did not fit.
    """
    runs, tried = max_runs, []
    for _ in range(MAX_COMPILATIONS):
        compiled = compile_for(runs)
        takes = required_bytes(compiled, runs * extra_bytes_per_run)
        tried.append((runs, takes))
        if takes <= limit_bytes:
            return runs, compiled
        if runs == 1:
            break
        each, base = takes / runs, 0.0
        if len(tried) > 1:  # what all runs share counts once
            (more, bytes_of_more), (fewer, bytes_of_fewer) = tried[-2:]
            each = max((bytes_of_more - bytes_of_fewer) / (more - fewer), 1.0)
            base = bytes_of_fewer - each * fewer
        fitting = max(1, min(runs - 1, int((limit_bytes - base) // each)))
        runs = -(-max_runs // -(-max_runs // fitting))  # equal groups
    runs, takes = tried[-1]
    raise UserError(
        f'{runs} run(s) on a device need {takes / 2**30:.2f} GiB of memory, and {limit_bytes / 2**30:.2f} GiB may be used. '
        'Lower config.data.batch, config.data.frames or the width of the model, or set config.data.resident=off; over an '
        'upstream that learns, config.model.accumulate or config.model.remat.'
    )

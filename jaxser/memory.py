"""How much of a sweep fits on a device at once."""

import os
from collections.abc import Callable

from data_pipelines.refusal import Refusal

SHARE = {'cpu': 0.5}  # of the host's memory, for all devices together; the host does other things too
ACCELERATOR_SHARE = 0.9
COMPILATIONS = 3


def limit(devices: list) -> int:
    """Bytes that a sweep may take on each of `devices`."""
    device = devices[0]
    if device.platform in SHARE:
        host = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        return int(SHARE[device.platform] * host / len(devices))
    stats = device.memory_stats() or {}
    return int(ACCELERATOR_SHARE * stats.get('bytes_limit', 1 << 60))


def needed(compiled) -> int:
    """Bytes that a compiled program takes on a device, by its own analysis; 0 where the back end has none."""
    m = compiled.memory_analysis()
    if m is None:
        return 0
    return m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes + m.temp_size_in_bytes


def fit(compile_for: Callable[[int], object], most: int, limit: int) -> tuple[int, object]:
    """The number of runs a device takes at once, in the fewest equal groups of `most`, and the program compiled for it.

    Refuses after three compilations that did not fit.
    """
    runs, tried = most, []
    for _ in range(COMPILATIONS):
        compiled = compile_for(runs)
        tried.append((runs, takes := needed(compiled)))
        if takes <= limit:
            return runs, compiled
        if runs == 1:
            break
        each, base = takes / runs, 0.0
        if len(tried) > 1:  # what all runs share counts once
            (more, bytes_of_more), (fewer, bytes_of_fewer) = tried[-2:]
            each = max((bytes_of_more - bytes_of_fewer) / (more - fewer), 1.0)
            base = bytes_of_fewer - each * fewer
        fitting = max(1, min(runs - 1, int((limit - base) // each)))
        runs = -(-most // -(-most // fitting))  # equal groups
    runs, takes = tried[-1]
    raise Refusal(
        f'{runs} run(s) on a device need {takes / 2**30:.2f} GiB of memory, and {limit / 2**30:.2f} GiB may be used. '
        'Lower config.data.batch, config.data.frames or the width of the model, or set config.data.resident=off; over an '
        'upstream that learns, config.model.accumulate or config.model.remat.'
    )

"""How far something is that takes longer than a few seconds."""

import sys
from collections.abc import Iterable

import tqdm


def progress_bar(iterable: Iterable | None = None, **tqdm_options) -> tqdm.tqdm:
    """A bar with an estimate of the time left, by tqdm's arguments; where there is no terminal, a line every ten seconds."""
    return tqdm.tqdm(
        iterable,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        smoothing=0.05,
        dynamic_ncols=True,
        **tqdm_options,
    )

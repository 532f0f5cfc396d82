"""The progress bar for everything that takes more than a few seconds."""

import sys
from collections.abc import Iterable

import tqdm


def progress_bar(iterable: Iterable | None = None, **tqdm_options) -> tqdm.tqdm:
    """Returns a progress bar with an estimate of the time left.

    The arguments are those of `tqdm.tqdm`. If standard error is no terminal, a line is written
    every ten seconds.
    """
    return tqdm.tqdm(
        iterable,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        smoothing=0.05,
        dynamic_ncols=True,
        **tqdm_options,
    )

"""Services that show the runs of sweeps, one module each; `config.track` names one of them.

A tracker is found by the name of its module. It has

  PACKAGE                      the package that must be installed
  open_run(RunDescription)     starts the tracked run of this identity, or continues it

and a tracked run has

  log(epoch, values)           adds numbers of an epoch
  finish(values, files)        adds the final numbers of the run, and files
  close()                      ends the run; `log` and `finish` are not called again

Modules import their package in `open_run`, so that it is needed only where it is used.
"""

from typing import NamedTuple


class RunDescription(NamedTuple):
    """What a tracker is told of a run. Runs that differ only in the fold are one run here."""

    sweep: str  # the name of the workdir, by which runs are grouped
    workdir: str
    label: str  # within the sweep, such as 'lam=0.3 seed=0'
    identity: str  # the same when the sweep is resumed
    settings: dict  # the configuration by flat keys, and the hyper-parameters of the run

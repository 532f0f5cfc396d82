"""Weights & Biases. WANDB_MODE=offline writes to WORKDIR/wandb only; WANDB_PROJECT is the project.

By default the project is jaxser. The runs of a sweep are a group with the name of the workdir.
"""

import os
from pathlib import Path

from jaxser.trackers import RunDescription

PACKAGE = 'wandb'
DEFAULT_PROJECT = 'jaxser'


class WandbRun:
    """A run of Weights & Biases."""

    def __init__(self, run, workdir: str):
        self.run = run
        self.workdir = workdir

    def log(self, epoch: int, values: dict[str, float]) -> None:
        """Adds numbers of an epoch."""
        self.run.log(values | {'epoch': epoch})

    def finish(self, values: dict[str, float], files: list[Path]) -> None:
        """Adds the final numbers to the summary, and the files."""
        self.run.summary.update(values)
        for file in files:
            self.run.save(str(file), base_path=self.workdir, policy='now')

    def close(self) -> None:
        """Ends the run, after everything has been sent or written."""
        self.run.finish()


def open_run(description: RunDescription) -> WandbRun:
    """Starts the run of this identity, or continues it."""
    import wandb

    # The console is left alone: progress bars are in it.
    settings = wandb.Settings(console='off', silent=True)
    run = wandb.init(
        project=os.environ.get('WANDB_PROJECT') or DEFAULT_PROJECT,
        group=description.sweep,
        name=description.label,
        id=description.identity,
        resume='allow',
        reinit='create_new',
        dir=None if '://' in description.workdir else description.workdir,
        config=description.settings,
        settings=settings,
    )
    run.define_metric('*', step_metric='epoch')
    return WandbRun(run, description.workdir)

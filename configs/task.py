"""A benchmark task, by plain training: the split is the task's, so that results can be compared.

    python -m data_pipelines.prepare emodb --source PATH/TO/emodb
    python -m jaxser.main --config=configs/task.py:emodb_four

The tasks are the files of data_pipelines/tasks; python -m data_pipelines.tasks lists them. Corpora,
classes and protocol are the task's: do not change them. Method, encoder, features and all other
keys are yours, e.g. --config.method=dann --config.sweep.lam=0,0.1 --workdir=runs/my_dann.

On the states of a frozen encoder, which `prepare --features upstream:FOLDER` makes, add
--config.data.upstream=any --config.model.name=layer_sum --config.model.dim=128
--config.sweep.dropout=0.5 --config.sweep.time_mask=0 --config.sweep.band_mask=0
"--config.train.select=last epoch".

Cost: for emodb_four 15 runs (5 folds, 3 seeds) as one program. For a large corpus, set
--config.train.epochs=10 or less, and --config.sweep.seed=0.

Result: not measured with this file. docs/results has the results of other files on such splits.
"""

from configs import base, loading
from data_pipelines import tasks
from data_pipelines.errors import UserError

TASKS = tuple(tasks.task_names())


def get_config(name: str = 'emodb_four'):
    """Returns the configuration that trains on a task of data_pipelines/tasks."""
    try:
        task = tasks.load_task(name)
    except UserError as error:  # --config explains a ValueError
        raise ValueError(str(error)) from None
    config = base.get_config()
    config.data.corpora = task.corpora
    config.task = task.task
    if task.ratings:
        config.data.ratings = task.ratings
    loading.change_config(config, task.changes)
    config.method = 'erm'
    config.sweep.seed = (0, 1, 2)
    return config

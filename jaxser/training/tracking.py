"""What the host records of the runs while they train: metrics, predictions, selected epochs."""

import numpy as np

from jaxser.analysis.metrics import confusion_matrix
from jaxser.nn.output_head import split_outputs

# By config.train.select, the figure of dev by which an epoch is selected.
SELECTION_KEYS = {'best dev UAR': 'uar', 'best dev CCC': 'ccc'}


class Collected:
    """Collects an array for each run and each utterance of a part of its fold, batch by batch."""

    def __init__(self, subset_fold_N: np.ndarray):
        """`subset_fold_N` has the index of each run's fold among the F folds of a batch."""
        self.subset_fold_N = subset_fold_N
        self.rows: dict[int, list] = {int(fold): [] for fold in subset_fold_N}
        self.arrays: list[list] = [[] for _ in subset_fold_N]

    def add(self, row_FxB: np.ndarray, x_NxBxD: np.ndarray) -> None:
        """Adds a batch of every fold; row -1 is padding."""
        is_real_FxB = row_FxB >= 0
        for fold, rows in self.rows.items():
            rows.append(row_FxB[fold][is_real_FxB[fold]])
        for n, fold in enumerate(self.subset_fold_N):
            self.arrays[n].append(x_NxBxD[n][is_real_FxB[fold]])

    def get_run(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns row_N in ascending order and x_NxD of run `n`."""
        rows = np.concatenate(self.rows[int(self.subset_fold_N[n])])
        x_NxD = np.concatenate(self.arrays[n])
        order = np.argsort(rows)
        return rows[order], x_NxD[order]


class CollectedOutputs(Collected):
    """Collects the posteriors of C classes, then the ratings, of a part of the folds.

    `get_run` returns both as the columns of one array; `split_outputs` separates them. What is
    collected are the scores and ratings as the model computes them, in half of the memory.
    """

    def __init__(self, subset_fold_N: np.ndarray, classes: int):
        """`classes` is C; it is 0 where only ratings are predicted."""
        super().__init__(subset_fold_N)
        self.classes = classes

    def get_run(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns row_N in ascending order and x_NxO; posteriors are the softmax of the scores."""
        rows, outputs_NxO = super().get_run(n)
        scores, ratings = split_outputs(outputs_NxO.astype(np.float64), self.classes)
        if self.classes:
            p = np.exp(scores - scores.max(-1, keepdims=True))
            scores = p / p.sum(-1, keepdims=True)
        return rows, np.concatenate([scores, ratings], axis=-1)

    def confusion_matrix(self, n: int, emotion_N: np.ndarray) -> np.ndarray:
        """Returns count_CxC of run `n`; `emotion_N` are the classes of all utterances."""
        rows, x_NxO = self.get_run(n)
        p_NxC, _ = split_outputs(x_NxO, self.classes)
        return confusion_matrix(emotion_N[rows], p_NxC.argmax(-1), self.classes)

    def ratings(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns row_N in ascending order and rating_NxA of run `n`."""
        rows, x_NxO = self.get_run(n)
        return rows, split_outputs(x_NxO, self.classes)[1]


class EpochMetrics:
    """Collects the metrics of the steps of an epoch.

    They are fetched one dispatch later, so that the device does not wait for the host.
    """

    def __init__(self, collect, progress_bar):
        """`collect` returns array_NxS of a metric of all devices."""
        self.collect = collect
        self.progress = progress_bar
        self.pending = None
        self.chunks = []

    def add(self, metrics, steps: slice) -> None:
        """Adds a dispatch that computes these steps of a chunk; fetches the one before it."""
        self._fetch()
        self.pending = (metrics, steps)

    def _fetch(self) -> None:
        if self.pending is None:
            return
        metrics, steps = self.pending
        chunk = {key: self.collect(metric)[:, steps] for key, metric in metrics.items()}
        self.chunks.append(chunk)
        self.progress.update(steps.stop - steps.start)
        self.pending = None

    def finish_epoch(self) -> dict[str, np.ndarray]:
        """Returns metric_NxS of the epoch by name, and starts the next epoch."""
        self._fetch()
        metrics = {}
        for key in self.chunks[0]:
            metrics[key] = np.concatenate([chunk[key] for chunk in self.chunks], axis=1)
        self.chunks = []
        return metrics


class SelectionRecord:
    """Which epoch of each run is selected, and whether the run has diverged."""

    def __init__(self, run_count: int):
        # The selecting figure of dev at the selected epoch; -2 is below any.
        self.best_score = np.full(run_count, -2.0)
        self.best_epoch = np.full(run_count, -1)
        self.nonfinite = np.full(run_count, -1)  # the first step whose loss is not finite
        self.dev = [None] * run_count  # the figures of dev of the selected epoch
        self.selected = [None] * run_count  # the metrics of the last step of that epoch
        self.lines = 0  # of metrics.jsonl
        self.seconds = 0.0  # of training

    def mark_diverged(self, loss_NxS: np.ndarray, first_step: int) -> None:
        """Records the first step at which the loss of a run is not finite."""
        is_bad_NxS = ~np.isfinite(loss_NxS)
        is_new_N = is_bad_NxS.any(1) & (self.nonfinite < 0)
        self.nonfinite = np.where(is_new_N, first_step + is_bad_NxS.argmax(1), self.nonfinite)

    def select_epoch(self, train_config, epoch: int, dev: list, epoch_metrics: dict) -> np.ndarray:
        """Selects this epoch for the runs whose best it is so far; returns their mask, better_N.

        The best is by UAR or CCC on dev, or always the last one, as `train_config.select` says.
        `epoch` counts from 1.
        """
        is_finite_N = self.nonfinite < 0
        if train_config.select == 'last epoch':
            better_N = is_finite_N & (epoch == train_config.epochs)
        else:
            key = SELECTION_KEYS[train_config.select]
            score_N = np.array([figures[key] for figures in dev])
            is_late = epoch >= train_config.select_from * train_config.epochs
            better_N = is_finite_N & is_late & (score_N > self.best_score)
            self.best_score = np.where(better_N, score_N, self.best_score)
        self.best_epoch = np.where(better_N, epoch, self.best_epoch)
        for n in np.flatnonzero(better_N):
            self.dev[n] = dev[n]
            self.selected[n] = {key: float(x_NxS[n, -1]) for key, x_NxS in epoch_metrics.items()}
        return better_N

    def to_json(self) -> dict:
        """Returns the record as JSON values, for a checkpoint."""
        values = {}
        for key, value in vars(self).items():
            values[key] = value.tolist() if isinstance(value, np.ndarray) else value
        return values

    def from_json(self, values: dict) -> None:
        """Sets the record to that of a checkpoint.

        Earlier versions called `best_score` `best_uar`.
        """
        renamed = dict(values)
        if 'best_uar' in renamed:
            renamed['best_score'] = renamed.pop('best_uar')
        for key, value in renamed.items():
            is_array = isinstance(getattr(self, key), np.ndarray)
            setattr(self, key, np.array(value) if is_array else value)

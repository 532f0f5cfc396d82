"""What the host knows of the runs while they train: their metrics, their selected epochs, and which have diverged."""

import numpy as np

from jaxser.analysis.metrics import confusion_matrix


class Collected:
    """What is predicted of a part, for every run, gathered batch by batch."""

    def __init__(self, fold_N: np.ndarray):
        self.fold_N = fold_N  # index of each run's fold
        self.rows: dict[int, list] = {int(f): [] for f in fold_N}
        self.parts: list[list] = [[] for _ in fold_N]

    def add(self, row_FxB: np.ndarray, x_NxBxD: np.ndarray) -> None:
        """Takes a batch of every fold; row -1 is nobody."""
        real_FxB = row_FxB >= 0
        for f, rows in self.rows.items():
            rows.append(row_FxB[f][real_FxB[f]])
        for n, f in enumerate(self.fold_N):
            self.parts[n].append(x_NxBxD[n][real_FxB[f]])

    def get_run(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Of a run, row_N in ascending order and x_NxD."""
        rows, x_NxD = np.concatenate(self.rows[int(self.fold_N[n])]), np.concatenate(self.parts[n])
        order = np.argsort(rows)
        return rows[order], x_NxD[order]


class CollectedPosteriors(Collected):
    """Posteriors of a part."""

    def add(self, row_FxB: np.ndarray, scores_NxBxC: np.ndarray) -> None:
        """Takes the scores of a batch of every fold."""
        scores = scores_NxBxC.astype(np.float64)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        super().add(row_FxB, p / p.sum(-1, keepdims=True))

    def confusion_matrices(self, emotion_N: np.ndarray) -> list[np.ndarray]:
        """count_CxC of every run."""
        runs = (self.get_run(n) for n in range(len(self.fold_N)))
        return [confusion_matrix(emotion_N[rows], p.argmax(-1), p.shape[-1]) for rows, p in runs]


class EpochMetrics:
    """The metrics of the steps of an epoch; fetched one dispatch late, so that the device is never waited for."""

    def __init__(self, collect, progress_bar):
        self.collect, self.progress, self.pending, self.parts = collect, progress_bar, None, []

    def add(self, metrics, steps: slice) -> None:
        """Takes the metrics of a chunk of which these steps are being computed, and fetches those of the dispatch before."""
        self._fetch()
        self.pending = metrics, steps

    def _fetch(self) -> None:
        if self.pending:
            metrics, steps = self.pending
            self.parts.append({k: self.collect(v)[:, steps] for k, v in metrics.items()})
            self.progress.update(steps.stop - steps.start)
            self.pending = None

    def finish_epoch(self) -> dict[str, np.ndarray]:
        """Every metric of the epoch, NxS; begins the next one."""
        self._fetch()
        parts, self.parts = self.parts, []
        return {k: np.concatenate([p[k] for p in parts], axis=1) for k in parts[0]}


class SelectionRecord:
    """Which epoch of each run is selected, and whether the run has diverged."""

    def __init__(self, run_count: int):
        self.best_uar, self.best_epoch, self.nonfinite = (
            np.full(run_count, -1.0),
            np.full(run_count, -1),
            np.full(run_count, -1),
        )
        self.dev = [None] * run_count  # measures of the selected epoch
        self.selected = [None] * run_count  # metrics of its last step
        self.lines, self.seconds = 0, 0.0  # of metrics.jsonl; of training so far

    def mark_diverged(self, loss_NxS: np.ndarray, first_step: int) -> None:
        """Remembers the first step at which a run's loss is not finite."""
        bad_NxS = ~np.isfinite(loss_NxS)
        new = bad_NxS.any(1) & (self.nonfinite < 0)
        self.nonfinite = np.where(new, first_step + bad_NxS.argmax(1), self.nonfinite)

    def select_epoch(self, train_config, epoch: int, dev: list, epoch_metrics: dict) -> np.ndarray:
        """better_N: of which runs the parameters of this epoch are to be kept. Dev decides; test is never looked at."""
        uar = np.array([d['uar'] for d in dev])
        if train_config.select == 'last epoch':
            better = np.full(uar.shape, epoch == train_config.epochs)
        else:
            better = (epoch >= train_config.select_from * train_config.epochs) & (
                uar > self.best_uar
            )
        better &= self.nonfinite < 0
        self.best_uar, self.best_epoch = (
            np.where(better, uar, self.best_uar),
            np.where(better, epoch, self.best_epoch),
        )
        for n in np.flatnonzero(better):
            self.dev[n] = dev[n]
            self.selected[n] = {k: float(x[n, -1]) for k, x in epoch_metrics.items()}
        return better

    def to_json(self) -> dict:
        """For the checkpoint."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}

    def from_json(self, values: dict) -> None:
        """From the checkpoint."""
        for k, v in values.items():
            setattr(self, k, np.array(v) if isinstance(getattr(self, k), np.ndarray) else v)

"""Collects representations for the report's map (representations.npz)."""

from typing import NamedTuple

import numpy as np

from data_pipelines.protocols.folds import Fold
from jaxser.runs import run_label, varying_keys
from jaxser.training import tracking

# If a fold has more utterances, a random sample of this size is kept. The map shows fewer.
MAX_UTTERANCES = 5_000


class Sample(NamedTuple):
    """The representation of one run; z_NxD belongs to the utterances `rows` of its fold."""

    fold: Fold
    rows: np.ndarray
    z_NxD: np.ndarray


class RepresentationSampler:
    """Keeps, for every setting, the representation of its first run that did not diverge.

    Only runs of the first run's fold are kept, so that all settings have the same utterances. If
    there are more than MAX_UTTERANCES, a sample is kept, which is the same for all settings.
    """

    def __init__(self, runs: list[dict]):
        self.setting_keys = [key for key in varying_keys(runs) if key != 'seed']
        self.fold_number = runs[0]['fold']
        self.samples: dict[str, Sample] = {}

    def add(self, group, representations: tracking.Collected, folds: list[Fold]) -> None:
        """Adds the runs of a group whose setting has no sample yet.

        `folds` are those of the task; group.subset_fold_N has the index of each run's fold.
        """
        for n, run in enumerate(group.runs):
            label = run_label(run, self.setting_keys)
            if run['fold'] != self.fold_number or label in self.samples:
                continue
            rows, z_NxD = representations.get_run(n)
            if len(rows) > MAX_UTTERANCES:
                # An utterance's random number does not depend on the other rows of the fold.
                number_N = np.random.default_rng(0).random(rows[-1] + 1)[rows]
                chosen = np.sort(np.argsort(number_N)[:MAX_UTTERANCES])
                rows, z_NxD = rows[chosen], z_NxD[chosen]
            if np.isfinite(z_NxD).all():
                self.samples[label] = Sample(folds[group.subset_fold_N[n]], rows, z_NxD)

    def to_arrays(self, text: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the arrays of representations.npz.

        By utterance: `utterance`, `speaker` and `emotion`, from the columns `text`. `setting` has
        the settings' labels. For setting n: z_n (float16), row_n (indices of utterances) and part_n
        (train, adapt, withheld, dev or test). If the task has more than MAX_UTTERANCES utterances,
        the columns have only those of the samples.
        """
        column_rows = np.arange(len(text['utterance']))
        if len(column_rows) > MAX_UTTERANCES and self.samples:
            sampled = [sample.rows for sample in self.samples.values()]
            column_rows = np.unique(np.concatenate(sampled))
        arrays = {}
        for key in ('utterance', 'speaker', 'emotion'):
            arrays[key] = text[key][column_rows].astype(str)
        arrays['setting'] = np.array(list(self.samples), str)
        for n, sample in enumerate(self.samples.values()):
            arrays[f'z_{n}'] = sample.z_NxD.astype(np.float16)
            arrays[f'row_{n}'] = np.searchsorted(column_rows, sample.rows)
            arrays[f'part_{n}'] = _part_names(sample)
        return arrays


def _part_names(sample: Sample) -> np.ndarray:
    """Returns the part of each row; a test utterance is `test` even if training also uses it."""
    part_N = np.full(len(sample.rows), 'train', '<U8')
    for name in ('adapt', 'withheld', 'dev', 'test'):
        part_N[np.isin(sample.rows, getattr(sample.fold, name))] = name
    return part_N

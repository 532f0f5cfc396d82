"""TODO: data_pipelines.batching.table."""

import numpy as np

from data_pipelines.batching.plan import Item
from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances

NORMALISATIONS = {
    'utterance': '',
    'global': '',
    'speaker': ', strangers by their utterance',
    'speaker_transductive': ', by all their utterances, tested ones too',
    'none': '',
}

DOMAINS = ('speaker', 'language', 'corpus')

MIN_VARIANCE = 1e-4  # of a band that is normalised: one that hardly varies is not blown up


class ExampleTable:
    """All of a batch but its features, by row: labels, domains, weights and the normalisation that the protocol allows."""

    def __init__(
        self, utterances: Utterances, folds: list[Fold], normalisation: str, balanced: bool
    ):
        self.utterances, self.folds = utterances, folds
        self.classes, self.emotion_N = index_values(utterances.text['emotion'])
        self.domains, self.domain_N, self.seen = {}, {}, {}
        for name in DOMAINS:
            self.domains[name], self.domain_N[name] = known, _ = index_values(utterances.text[name])
            heard = [self.domain_N[name][f.domain_rows] for f in folds]
            self.seen[name] = np.stack([np.isin(np.arange(len(known)), h) for h in heard]).astype(
                np.float32
            )
        self.weight_FxC = np.stack([self._class_weights(f, balanced) for f in folds])
        everyone = np.arange(len(utterances))
        self.target_FxN = np.stack(
            [np.isin(everyone, np.concatenate([f.test, f.adapt])) for f in folds]
        )
        self.normalisation = normalisation
        self.mean, self.scale, self.moments_index_FxN = self._choose_moments(normalisation)

    def _class_weights(self, fold: Fold, balanced: bool) -> np.ndarray:
        """The weight of an example of each class, 1 on average: equal, or in inverse proportion to the training counts."""
        count_C = np.bincount(self.emotion_N[fold.train], minlength=len(self.classes))
        weight_C = (
            len(fold.train) / (len(self.classes) * np.maximum(count_C, 1))
            if balanced
            else np.ones(len(count_C))
        )
        return weight_C.astype(np.float32)

    def _choose_moments(self, normalisation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """mean and scale, first those of every utterance alone, then of groups; and which of them an utterance has in a fold.

        The groups are each fold's training part, or the utterances of a speaker that the fold's training hears, or all of them.
        """
        u, (F, N) = self.utterances, self.target_FxN.shape
        if normalisation == 'none':
            return (
                np.zeros((1, u.bands), np.float32),
                np.ones((1, u.bands), np.float32),
                np.zeros((F, N), np.int32),
            )
        speaker_N, everyone = self.domain_N['speaker'], np.arange(N)
        at_FxN = np.tile(everyone.astype(np.int32), (F, 1))
        groups: list[np.ndarray] = []
        for f, fold in enumerate(self.folds):
            if normalisation == 'global':
                at_FxN[f] = N + len(groups)
                groups.append(fold.train)
            elif normalisation == 'speaker' or (normalisation == 'speaker_transductive' and not f):
                heard = (
                    np.concatenate([fold.seen, fold.identity])
                    if normalisation == 'speaker'
                    else everyone
                )
                for speaker in np.unique(speaker_N[heard][speaker_N[heard] >= 0]):
                    at_FxN[
                        f if normalisation == 'speaker' else slice(None), speaker_N == speaker
                    ] = N + len(groups)
                    groups.append(heard[speaker_N[heard] == speaker])
        pooled = [
            _pool_moments(u.frames_N[rows], u.mean_NxM[rows], u.variance_NxM[rows])
            for rows in groups
        ]
        mean, variance = (
            np.stack([*own, *(p[i] for p in pooled)])
            for i, own in enumerate((u.mean_NxM, u.variance_NxM))
        )
        return *standardizer(mean, variance), at_FxN

    def make_batch(self, item: Item) -> dict[str, np.ndarray]:
        """A Batch of numpy arrays but for its features, whose arrays lead with the shape of `item.row`, or of `item.fold`."""
        u, real = self.utterances, item.row >= 0
        rows = np.where(real, item.row, 0)
        fold = np.broadcast_to(item.fold[..., None], rows.shape)
        at, emotion = self.moments_index_FxN[fold, rows], self.emotion_N[rows]
        target = real & self.target_FxN[fold, rows]
        labelled = real & ~target if item.part == 'train' else real
        labelled &= np.arange(rows.shape[-1]) < rows.shape[-1] - item.identity_count
        return {
            'frames_B': np.where(
                real, np.clip(u.frames_N[rows] - item.start, 0, item.frames), 0
            ).astype(np.int32),
            'mean_BxM': self.mean[at],
            'scale_BxM': self.scale[at],
            'emotion_B': emotion,
            'target_B': target.astype(np.float32),
            'labelled_B': np.where(labelled, self.weight_FxC[fold, emotion], 0).astype(np.float32),
            **{f'{d}_B': self.domain_N[d][rows] for d in DOMAINS},
            **{f'{d}_seen_K': self.seen[d][item.fold] for d in DOMAINS},
        }


def index_values(value_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values in alphabetical order, and index_N among them; '' is none of them, and has the index -1."""
    known = np.unique(value_N[value_N != ''])
    return known, np.where(value_N == '', -1, np.searchsorted(known, value_N)).astype(np.int32)


def _pool_moments(
    frames_N: np.ndarray, mean_NxM: np.ndarray, variance_NxM: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over all frames of several utterances."""
    weight_Nx1 = (frames_N / frames_N.sum())[:, None].astype(np.float64)
    mean_M = (weight_Nx1 * mean_NxM).sum(0)
    return mean_M, (weight_Nx1 * (variance_NxM + (mean_NxM - mean_M) ** 2)).sum(0)


def standardizer(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale, by which features come to mean 0 and variance 1."""
    return mean.astype(np.float32), (1 / np.sqrt(np.maximum(variance, MIN_VARIANCE))).astype(
        np.float32
    )

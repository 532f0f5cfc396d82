"""Makes batches of labels, domains, weights and normalisation; feeds.py adds the features."""

import copy

import numpy as np

from data_pipelines.batching.enrolled_moments import EnrolledMoments, Moments
from data_pipelines.batching.plan import Item
from data_pipelines.features.speaker_offset import SpeakerPrior
from data_pipelines.protocols.copies import unused_copies
from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import RATING_COLUMNS, Utterances

# The values of config.data.normalise, and what results say about them.
NORMALISATIONS = {
    'utterance': '',
    'global': '',
    'speaker': ', unseen speakers by utterance',
    'speaker_transductive': ', over all utterances of a speaker, test included',
    'speaker_enrolled': ', with an offset from enrolled utterances of each speaker (transductive)',
    'none': '',
}

DOMAINS = ('speaker', 'language', 'corpus')

MIN_VARIANCE = 1e-4  # of a normalised band: one that hardly varies is not amplified


class ExampleTable:
    """Everything in a batch except the features, by row of the utterances.

    Shapes: N utterances, F folds, C classes, K domains of a kind, M bands, B examples, A ratings.

    Attributes:
        classes: the emotions, in alphabetical order; emotion_N are indices among them, -1 without a
            class. Where only ratings are predicted, they are the thirds of a scale.
        votes_NxC: numbers of votes for the classes, or None if training uses the classes alone. An
            utterance without votes counts as one vote for its class.
        ratings: the names of the ratings that are predicted.
        rating_NxA: these ratings; 0 where there is none.
        domains: by kind the domains, in alphabetical order; domain_N[kind] are indices among them.
        seen: by kind FxK, 1 for the domains of the fold's `domain_rows`, the utterances on which
            domain heads train, and 0 for the others.
        weight_FxC: the weight of an example of a class.
        target_FxN: whether an utterance is of the test part, or one that training adapts to.
        mean, scale: normalisation of groups of utterances in evaluation, by index.
        moments_index_FxN: which mean and scale an utterance has in a fold. They are the same in
            training, except with `speaker_enrolled`.
        priors: with `speaker_enrolled`, the prior of each fold.
    """

    def __init__(
        self,
        utterances: Utterances,
        folds: list[Fold],
        normalisation: str,
        balanced: bool,
        order_seed: int = 0,
        ratings: tuple[str, ...] = (),
        votes_NxC: np.ndarray | None = None,
    ):
        """`votes_NxC` are the votes of raters for the classes, zeros where there are none."""
        self.utterances = utterances
        self.folds = folds
        self.normalisation = normalisation
        self.classes, self.emotion_N = index_values(utterances.text['emotion'])
        self.votes_NxC = None
        if votes_NxC is not None:
            self.votes_NxC = _with_own_votes(votes_NxC, self.emotion_N)
        self.ratings = ratings
        columns = [RATING_COLUMNS.index(name) for name in ratings]
        self.rating_NxA = np.nan_to_num(utterances.rating_NxA[:, columns]).astype(np.float32)
        self.domains = {}
        self.domain_N = {}
        self.seen = {}
        for kind in DOMAINS:
            self.domains[kind], self.domain_N[kind] = index_values(utterances.text[kind])
            self.seen[kind] = np.stack([self._seen_domains(fold, kind) for fold in folds])
        self.weight_FxC = np.stack([self._class_weights(fold, balanced) for fold in folds])
        self.target_FxN = np.stack([self._target_mask(fold) for fold in folds])
        self.moments_index_FxN, groups = self._group_utterances()
        self.global_index_F = self.moments_index_FxN[:, 0].copy()
        self.mean, self.scale = self._normalise_groups(groups)
        self.enrolled: EnrolledMoments | None = None
        self._epoch_moments: tuple[int, Moments] | None = None
        if normalisation == 'speaker_enrolled':
            self._use_enrolled_moments(order_seed)

    @property
    def most_votes(self) -> int:
        """Returns the largest number of votes of an utterance for a class; 0 without votes."""
        return 0 if self.votes_NxC is None else int(self.votes_NxC.max(initial=0))

    @property
    def priors(self) -> list[SpeakerPrior]:
        """Returns the prior of each fold; only with `speaker_enrolled`."""
        return self.enrolled.priors

    def global_moments(self, f: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean_M and scale_M of a fold's training part."""
        group = self.global_index_F[f]
        return self.mean[group], self.scale[group]

    def with_enrolment(self, folds: list[Fold]) -> 'ExampleTable':
        """Returns the table of folds that differ in dev, test and enrolled rows only.

        It is for evaluation, and shares the rest with this one.
        """
        table = copy.copy(self)
        table.folds = folds
        table.target_FxN = np.stack([self._target_mask(fold) for fold in folds])
        table.enrolled = self.enrolled.with_folds(folds)
        table.mean, table.scale, table.moments_index_FxN = table.enrolled.evaluation
        return table

    def _use_enrolled_moments(self, order_seed: int) -> None:
        """Replaces the global moments by those with the offsets of enrolled speakers."""
        self.enrolled = EnrolledMoments(
            self.utterances,
            self.folds,
            self.emotion_N,
            self.domain_N['speaker'],
            Moments(self.mean, self.scale, self.moments_index_FxN),
            order_seed,
        )
        self.mean, self.scale, self.moments_index_FxN = self.enrolled.evaluation

    def training_moments(self, epoch: int) -> Moments:
        """Returns the moments by which utterances are normalised in an epoch of training."""
        if self.enrolled is None:
            return Moments(self.mean, self.scale, self.moments_index_FxN)
        if self._epoch_moments is None or self._epoch_moments[0] != epoch:
            self._epoch_moments = (epoch, self.enrolled.training(epoch))
        return self._epoch_moments[1]

    def _moments_of(self, item: Item) -> Moments:
        """Returns the moments by which an item's utterances are normalised."""
        if item.part == 'train':
            return self.training_moments(item.epoch)
        return Moments(self.mean, self.scale, self.moments_index_FxN)

    def _seen_domains(self, fold: Fold, kind: str) -> np.ndarray:
        """Returns seen_K, 1 for the domains of a kind among the fold's `domain_rows`."""
        index = self.domain_N[kind][fold.domain_rows]
        return np.isin(np.arange(len(self.domains[kind])), index).astype(np.float32)

    def _class_weights(self, fold: Fold, balanced: bool) -> np.ndarray:
        """Returns weight_C: 1, or if balanced inverse to the counts in training, 1 on average.

        With votes, an utterance counts for each class by the share of its votes.
        """
        if not balanced:
            return np.ones(len(self.classes), np.float32)
        if self.votes_NxC is None:
            count_C = np.bincount(self.emotion_N[fold.train], minlength=len(self.classes))
        else:
            count_C = vote_shares(self.votes_NxC[fold.train].astype(float)).sum(0)
        least_C = np.where(count_C > 0, count_C, 1)
        weight_C = len(fold.train) / (len(self.classes) * least_C)
        return weight_C.astype(np.float32)

    def _target_mask(self, fold: Fold) -> np.ndarray:
        """Returns mask_N of the utterances that are tested or adapted to."""
        rows = np.concatenate([fold.test, fold.adapt])
        return np.isin(np.arange(len(self.utterances)), rows)

    def _group_utterances(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns moments_index_FxN, and the rows of each group with common moments.

        A group is a fold's training part, or a speaker's utterances that are seen in training, or
        all of a speaker's utterances except those that the fold withholds, and of copies only those
        that the fold uses. Where some utterances have moments of their own, index n < N is the
        single utterance n, and N + g is group g.
        """
        F, N = self.target_FxN.shape
        index_FxN = np.zeros((F, N), np.int32)
        if self.has_common_moments:
            index_FxN += np.arange(F, dtype=np.int32)[:, None]
            return index_FxN, [fold.train for fold in self.folds]
        groups: list[np.ndarray] = []
        if self.normalisation == 'none':
            return index_FxN, groups
        index_FxN += np.arange(N, dtype=np.int32)
        if self.normalisation != 'utterance':
            for f, fold in enumerate(self.folds):
                rows_by_speaker = self._rows_by_speaker(self._normalised_rows(fold))
                group_of_speaker = np.full(len(self.domains['speaker']) + 1, -1)  # last: unknown
                group_of_speaker[list(rows_by_speaker)] = (
                    N + len(groups) + np.arange(len(rows_by_speaker))
                )
                groups += rows_by_speaker.values()
                group_N = group_of_speaker[self.domain_N['speaker']]
                index_FxN[f] = np.where(group_N < 0, index_FxN[f], group_N)
        return index_FxN, groups

    @property
    def has_common_moments(self) -> bool:
        """Returns whether all utterances of a fold have the moments of its training part."""
        return self.normalisation in ('global', 'speaker_enrolled')

    def _normalised_rows(self, fold: Fold) -> np.ndarray:
        """Returns the rows over which the moments of a speaker are computed."""
        if self.normalisation == 'speaker':
            return np.concatenate([fold.train_and_adapt, fold.identity])
        unused_rows = np.union1d(fold.withheld, unused_copies(self.utterances, fold))
        return np.setdiff1d(np.arange(len(self.utterances)), unused_rows)

    def _rows_by_speaker(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """Returns the rows of each known speaker, in their order, by the speaker's index."""
        rows = rows[self.domain_N['speaker'][rows] >= 0]
        speaker_of_row = self.domain_N['speaker'][rows]
        speakers, counts = np.unique(speaker_of_row, return_counts=True)
        by_speaker = rows[np.argsort(speaker_of_row, kind='stable')]
        return dict(zip(speakers.tolist(), np.split(by_speaker, np.cumsum(counts)[:-1])))

    def _normalise_groups(self, groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and scale of every single utterance, where needed, then of the groups."""
        u = self.utterances
        if self.normalisation == 'none':
            return np.zeros((1, u.bands), np.float32), np.ones((1, u.bands), np.float32)
        means = [] if self.has_common_moments else [u.mean_NxM]
        variances = [] if self.has_common_moments else [u.variance_NxM]
        for rows in groups:
            mean_M, variance_M = _pool_moments(
                u.frames_N[rows], u.mean_NxM[rows], u.variance_NxM[rows]
            )
            means.append(mean_M[None])
            variances.append(variance_M[None])
        return standardizer(np.concatenate(means), np.concatenate(variances))

    def make_batch(self, item: Item) -> dict[str, np.ndarray]:
        """Returns a Batch of numpy arrays without features.

        Arrays of examples have the shape of `item.row`, then further axes; `..._seen_K` has that of
        `item.subset_fold`, then K. Padding has no frames and no weight.
        """
        u = self.utterances
        is_real = item.row >= 0
        rows = np.where(is_real, item.row, 0)
        fold = np.broadcast_to(item.subset_fold[..., None], rows.shape)
        emotion = self.emotion_N[rows]
        moments = self._moments_of(item)
        group = moments.index_FxN[fold, rows]
        frames = np.where(is_real, np.clip(u.frames_N[rows] - item.start_frame, 0, item.frames), 0)
        is_target = is_real & self.target_FxN[fold, rows]
        # Emotions of the target and of identity examples are not used in training.
        is_labelled = is_real & ~is_target if item.part == 'train' else is_real
        B = rows.shape[-1]
        is_labelled = is_labelled & (np.arange(B) < B - item.identity_count)
        if self.votes_NxC is None:
            weight = np.where(is_labelled, self.weight_FxC[fold, emotion], 0)
        else:
            votes_BxC = np.where(is_labelled[..., None], self.votes_NxC[rows], 0)
            weight = (vote_shares(votes_BxC) * self.weight_FxC[fold]).sum(-1)
        batch = {
            'frames_B': frames.astype(np.int32),
            'mean_BxM': moments.mean_GxM[group],
            'scale_BxM': moments.scale_GxM[group],
            'emotion_B': emotion,
            'target_B': is_target.astype(np.float32),
            'labelled_B': weight.astype(np.float32),
        }
        if self.votes_NxC is not None:
            batch['votes_BxC'] = votes_BxC
        if self.ratings:
            batch['rating_BxA'] = self.rating_NxA[rows]
            batch['rated_B'] = is_labelled.astype(np.float32)
        for kind in DOMAINS:
            batch[f'{kind}_B'] = self.domain_N[kind][rows]
        for kind in DOMAINS:
            batch[f'{kind}_seen_K'] = self.seen[kind][item.subset_fold]
        return batch


def vote_shares(votes: np.ndarray) -> np.ndarray:
    """Returns the shares of the votes along the last axis; zeros where there is no vote."""
    total = votes.sum(-1, keepdims=True)
    return votes / np.where(total > 0, total, 1)


def _with_own_votes(votes_NxC: np.ndarray, emotion_N: np.ndarray) -> np.ndarray:
    """Returns the votes in float32, with one for the class of utterances that have none."""
    is_alone_N = ~votes_NxC.any(axis=1) & (emotion_N >= 0)
    votes_NxC = votes_NxC.astype(np.float32)
    votes_NxC[is_alone_N, emotion_N[is_alone_N]] = 1
    return votes_NxC


def index_values(value_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values in alphabetical order, and index_N among them.

    '' is unknown: it is no value, and its index is -1.
    """
    texts = value_N.tolist()  # a dictionary is faster than sorting all texts
    values = sorted(set(texts) - {''})
    index_of_text = {'': -1} | {text: index for index, text in enumerate(values)}
    index_N = np.fromiter([index_of_text[text] for text in texts], np.int32, len(texts))
    return np.array(values, dtype=value_N.dtype), index_N


def _pool_moments(
    frames_N: np.ndarray, mean_NxM: np.ndarray, variance_NxM: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean_M and variance_M over all frames of several utterances."""
    weight_Nx1 = (frames_N / frames_N.sum())[:, None].astype(np.float64)
    mean_M = (weight_Nx1 * mean_NxM).sum(0)
    variance_M = (weight_Nx1 * (variance_NxM + (mean_NxM - mean_M) ** 2)).sum(0)
    return mean_M, variance_M


def standardizer(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and scale that give features mean 0 and variance 1: (x - mean) * scale."""
    scale = np.maximum(variance, MIN_VARIANCE)
    np.sqrt(scale, out=scale)  # in place: a large corpus has many utterances
    np.divide(1, scale, out=scale)
    return mean.astype(np.float32, copy=False), scale.astype(np.float32, copy=False)

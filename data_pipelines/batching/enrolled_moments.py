"""Means and scales of features by enrolled speakers, for config.data.normalise=speaker_enrolled."""

import copy
import functools
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.features import speaker_offset
from data_pipelines.features.speaker_offset import SpeakerPrior
from data_pipelines.protocols.enrolment import (
    TRAINING_DRAWS,
    TRAINING_STREAM,
    draw_training_sets,
)
from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances

SETS_AT_ONCE = 64  # whose offsets are estimated together, to bound the memory


class Moments(NamedTuple):
    """Means and scales of G groups of utterances, and the group of each utterance in each fold."""

    mean_GxM: np.ndarray
    scale_GxM: np.ndarray
    index_FxN: np.ndarray


class EnrolledMoments:
    """The mean and the scale by which each utterance is normalised, from enrolled speakers.

    They are those of `global`, moved by the offset of the speaker. In evaluation the offset comes
    from the fold's enrolled utterances. In training it comes from the sets of `draw_training_sets`;
    in each epoch, another draw is chosen for each utterance.

    Attributes:
        priors: of each fold, fitted to its training part.
        evaluation: the moments in evaluation.
    """

    def __init__(
        self,
        utterances: Utterances,
        folds: list[Fold],
        emotion_N: np.ndarray,
        speaker_N: np.ndarray,
        global_moments: Moments,
        order_seed: int,
    ):
        """Fits the priors and estimates the offsets of the enrolled speakers.

        `global_moments` have a group for each fold, and no others. `emotion_N` and `speaker_N` are
        indices; the speaker is -1 if unknown.
        """
        self.utterances = utterances
        self.folds = folds
        self.speaker_N = speaker_N
        self.global_moments = global_moments
        self.order_seed = order_seed
        self.y_NxP = speaker_offset.utterance_statistics(
            utterances.mean_NxM,
            utterances.variance_NxM,
            is_pooled=bool(utterances.frames_N.max() == 1),
        )
        self.priors = self._fit_priors(emotion_N)
        self.evaluation = self._evaluation_moments()

    def with_folds(self, folds: list[Fold]) -> 'EnrolledMoments':
        """Returns the moments for folds with the same training parts and other enrolled rows."""
        moments = copy.copy(self)
        moments.folds = folds
        moments.evaluation = moments._evaluation_moments()
        return moments

    def _fit_priors(self, emotion_N: np.ndarray) -> list[SpeakerPrior]:
        """Returns the prior of each fold; folds with the same training part share it.

        UserError if a training part has no known speaker.
        """
        prior_of_rows: dict[bytes, SpeakerPrior] = {}
        priors = []
        for fold in self.folds:
            is_usable = (self.speaker_N[fold.train] >= 0) & (emotion_N[fold.train] >= 0)
            rows = fold.train[is_usable]
            if not len(rows):
                raise UserError(
                    f'All speakers in the training part of fold {fold.name!r} are unknown, and '
                    'config.data.normalise=speaker_enrolled learns from training speakers how '
                    'speakers differ. Prepare the corpus with its speakers, or set '
                    '--config.data.normalise=global.'
                )
            key = rows.tobytes()
            if key not in prior_of_rows:
                prior_of_rows[key] = speaker_offset.fit_speaker_prior(
                    self.y_NxP[rows], self.speaker_N[rows], emotion_N[rows]
                )
            priors.append(prior_of_rows[key])
        return priors

    def _evaluation_moments(self) -> Moments:
        """Returns the moments with the offsets of the enrolled speakers of each fold."""
        groups = _GroupList(self.global_moments)
        index_FxN = self.global_moments.index_FxN.copy()
        for f, fold in enumerate(self.folds):
            speaker_of_row = self.speaker_N[fold.enrolled]
            speakers = np.unique(speaker_of_row)
            row_sets = [fold.enrolled[speaker_of_row == speaker] for speaker in speakers]
            # The last value, at the index -1, is that of unknown speakers.
            group_of_speaker = np.full(self.speaker_N.max() + 2, index_FxN[f, 0])
            group_of_speaker[speakers] = groups.add(*self._moved_moments(f, row_sets))
            index_FxN[f] = group_of_speaker[self.speaker_N]
        return groups.moments(index_FxN)

    def training(self, epoch: int) -> Moments:
        """Returns the moments with the offsets that training uses in an epoch."""
        mean_GxM, scale_GxM, index_FxDxN = self._training_draws
        indices = []
        for fold, index_DxN in zip(self.folds, index_FxDxN):
            random = np.random.default_rng((self.order_seed, fold.number, epoch, TRAINING_STREAM))
            draw_N = random.integers(TRAINING_DRAWS, size=len(self.utterances))
            indices.append(np.take_along_axis(index_DxN, draw_N[None], 0)[0])
        return Moments(mean_GxM, scale_GxM, np.stack(indices))

    @functools.cached_property
    def _training_draws(self) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Returns mean_GxM, scale_GxM, and for each fold index_DxN of D draws.

        Folds with the same training data share their groups.
        """
        groups = _GroupList(self.global_moments)
        index_of_data: dict[tuple, np.ndarray] = {}
        indices = []
        for f, fold in enumerate(self.folds):
            rows = np.concatenate([fold.train_and_adapt, fold.identity])
            key = (fold.number, rows.tobytes())
            if key not in index_of_data:
                index_of_data[key] = self._draw_groups(f, groups)
            indices.append(index_of_data[key])
        mean_GxM, scale_GxM, _ = groups.moments(self.global_moments.index_FxN)
        return mean_GxM, scale_GxM, indices

    def _draw_groups(self, f: int, groups: '_GroupList') -> np.ndarray:
        """Returns index_DxN of a fold; utterances without an offset have the global moments."""
        sets = draw_training_sets(self.utterances, self.folds[f], self.order_seed)
        sets = [training_set for training_set in sets if len(training_set.enrolled)]
        index_DxN = np.tile(self.global_moments.index_FxN[f], (TRAINING_DRAWS, 1))
        row_sets = [training_set.enrolled for training_set in sets]
        for training_set, group in zip(sets, groups.add(*self._moved_moments(f, row_sets))):
            index_DxN[training_set.draw, training_set.rows] = group
        return index_DxN

    def _moved_moments(self, f: int, row_sets: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean_GxM and scale_GxM for G sets of enrolled utterances of one speaker each."""
        group = self.global_moments.index_FxN[f, 0]
        mean_M = self.global_moments.mean_GxM[group]
        scale_M = self.global_moments.scale_GxM[group]
        mean_GxM = np.empty((len(row_sets), len(mean_M)), np.float32)
        scale_GxM = np.empty_like(mean_GxM)
        for start in range(0, len(row_sets), SETS_AT_ONCE):
            chosen = slice(start, start + SETS_AT_ONCE)
            offset_GxP = self._estimate_offsets(f, row_sets[chosen])
            offset_GxM, log_deviation_GxM = speaker_offset.split_offset(offset_GxP, len(mean_M))
            mean_GxM[chosen] = mean_M + offset_GxM
            scale_GxM[chosen] = scale_M * np.exp(-log_deviation_GxM)
        return mean_GxM, scale_GxM

    def _estimate_offsets(self, f: int, row_sets: list[np.ndarray]) -> np.ndarray:
        """Returns offset_GxP of G sets of enrolled utterances, each of one speaker."""
        prior = self.priors[f]
        nothing = speaker_offset.no_enrolment(prior)
        enrolments = []
        for rows in row_sets:
            enrolments.append(speaker_offset.enrol(prior, nothing, self.y_NxP[rows]))
        columns = [np.stack(values) for values in zip(*enrolments)]
        return speaker_offset.estimate_offset(prior, speaker_offset.Enrolment(*columns))


class _GroupList:
    """A growing list of groups with their moments; the first are the global ones of each fold."""

    def __init__(self, global_moments: Moments):
        self.means = [global_moments.mean_GxM]
        self.scales = [global_moments.scale_GxM]
        self.count = len(global_moments.mean_GxM)

    def add(self, mean_GxM: np.ndarray, scale_GxM: np.ndarray) -> range:
        """Adds groups and returns their indices."""
        self.means.append(mean_GxM)
        self.scales.append(scale_GxM)
        first = self.count
        self.count += len(mean_GxM)
        return range(first, self.count)

    def moments(self, index_FxN: np.ndarray) -> Moments:
        """Returns the moments of all groups."""
        return Moments(np.concatenate(self.means), np.concatenate(self.scales), index_FxN)

"""What the tested speakers contribute to a measure: confusion counts for UAR, moments for CCC.

Both classes have the same functions. Statistics of several systems on the same utterances are
compared by bootstrap.difference_estimate.

Shapes: Z seeds, S speakers, C classes, A ratings, Q draws. Speakers are in alphabetical order.
"""

import dataclasses

import numpy as np

from jaxser.analysis import bootstrap, concordance
from jaxser.analysis.bootstrap import RecallTerm
from jaxser.analysis.measure import CCC, UAR, Measure


@dataclasses.dataclass(frozen=True, eq=False)
class RecallStatistics:
    """Confusion matrices, whose measure is the UAR, averaged over seeds."""

    count_ZxSxCxC: np.ndarray  # rows are the truth, columns the prediction

    @property
    def measure(self) -> Measure:
        """The measure of these statistics."""
        return UAR

    @property
    def speakers(self) -> int:
        """The number of tested speakers."""
        return self.count_ZxSxCxC.shape[1]

    @property
    def truth_SxK(self) -> np.ndarray:
        """What is equal in all systems tested on the same utterances: the number by class."""
        return self.count_ZxSxCxC[0].sum(-1)

    @property
    def utterances(self) -> int:
        """The number of tested utterances."""
        return int(self.truth_SxK.sum())

    def value_by_seed(self) -> np.ndarray:
        """Returns uar_Z."""
        return bootstrap.uar_from_counts(self.count_ZxSxCxC.sum(1))

    def term(self, sign: float = 1) -> RecallTerm:
        """Returns the UAR averaged over seeds as a term of a sum, with its factor.

        All seeds are tested on the same utterances, so the mean of their recalls is the recall of
        their mean counts.
        """
        correct_SxC = np.diagonal(self.count_ZxSxCxC, axis1=-2, axis2=-1).mean(0)
        return RecallTerm(sign, correct_SxC, self.truth_SxK)

    def select_speakers(self, mask_S: np.ndarray) -> 'RecallStatistics':
        """Returns the statistics of some speakers, given by a mask or by their indices."""
        return RecallStatistics(self.count_ZxSxCxC[:, mask_S])


@dataclasses.dataclass(frozen=True, eq=False)
class ConcordanceStatistics:
    """Moments (concordance.py), whose measure is the CCC, averaged over ratings and seeds."""

    moment_ZxSxAx6: np.ndarray

    @property
    def measure(self) -> Measure:
        """The measure of these statistics."""
        return CCC

    @property
    def speakers(self) -> int:
        """The number of tested speakers."""
        return self.moment_ZxSxAx6.shape[1]

    @property
    def truth_SxK(self) -> np.ndarray:
        """What is equal in all systems tested on the same utterances: n, sum x, sum x^2."""
        return self.moment_ZxSxAx6[0][:, :, (0, 1, 3)].reshape(self.speakers, -1)

    @property
    def utterances(self) -> int:
        """The number of tested utterances."""
        return int(self.moment_ZxSxAx6[0, :, 0, 0].sum())

    def value_by_seed(self) -> np.ndarray:
        """Returns ccc_Z, averaged over ratings."""
        return concordance.concordance_from_moments(self.moment_ZxSxAx6.sum(1)).mean(-1)

    def term(self, sign: float = 1) -> 'ConcordanceTerm':
        """Returns the CCC averaged over ratings and seeds as a term of a sum, with its factor."""
        return ConcordanceTerm(sign, self.moment_ZxSxAx6)

    def select_speakers(self, mask_S: np.ndarray) -> 'ConcordanceStatistics':
        """Returns the statistics of some speakers, given by a mask or by their indices."""
        return ConcordanceStatistics(self.moment_ZxSxAx6[:, mask_S])

    def select_rating(self, index: int) -> 'ConcordanceStatistics':
        """Returns the statistics of one rating."""
        return ConcordanceStatistics(self.moment_ZxSxAx6[:, :, index : index + 1])


Statistics = RecallStatistics | ConcordanceStatistics


@dataclasses.dataclass(frozen=True, eq=False)
class ConcordanceTerm:
    """A mean CCC that is a term of a sum, with its factor."""

    sign: float
    moment_ZxSxAx6: np.ndarray

    @property
    def speakers(self) -> int:
        """The number of speakers."""
        return self.moment_ZxSxAx6.shape[1]

    def evaluate(self, weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (ccc_Q, influence_QxS) of every draw, as bootstrap.mean_recall does."""
        speakers = self.speakers
        # R are the ratings of all seeds.
        moment_6xSxR = self.moment_ZxSxAx6.transpose(3, 1, 0, 2).reshape(
            concordance.MOMENTS, speakers, -1
        )
        drawn_6xQxR = np.asarray(weight_QxS, np.float64) @ moment_6xSxR
        ccc_QxR, gradient_6xQxR = concordance.concordance_gradient(drawn_6xQxR)
        influence_QxS = np.zeros(weight_QxS.shape)
        for gradient_QxR, moment_SxR in zip(gradient_6xQxR, moment_6xSxR):
            influence_QxS += gradient_QxR @ moment_SxR.T
        return ccc_QxR.mean(-1), influence_QxS / ccc_QxR.shape[1]

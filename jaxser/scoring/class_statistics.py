"""Statistics of WA and macro-F1, for their intervals and paired differences.

They have the functions of jaxser/analysis/statistics.py, and are made from the same confusion
matrices. Shapes: Z seeds, S speakers, C classes, Q draws.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxser.analysis.bootstrap import RecallTerm
from jaxser.analysis.measure import Measure

WA = Measure(
    key='wa',
    title='WA',
    definition='weighted accuracy, the share of utterances that are classified correctly',
    low=0.0,
    high=1.0,
    chance=None,
)
F1 = Measure(
    key='f1',
    title='macro-F1',
    definition='mean over classes of the harmonic mean of precision and recall',
    low=0.0,
    high=1.0,
    chance=None,
)


@dataclasses.dataclass(frozen=True, eq=False)
class CountStatistics:
    """Confusion matrices: rows are the truth, columns the prediction."""

    count_ZxSxCxC: np.ndarray

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


class AccuracyStatistics(CountStatistics):
    """Confusion matrices, whose measure is WA, averaged over seeds."""

    measure = WA

    def value_by_seed(self) -> np.ndarray:
        """Returns wa_Z."""
        correct_Z = np.trace(self.count_ZxSxCxC, axis1=-2, axis2=-1).sum(1)
        return correct_Z / self.count_ZxSxCxC.sum((1, 2, 3))

    def term(self, sign: float = 1) -> RecallTerm:
        """Returns WA averaged over seeds as a term of a sum: the recall of a single class."""
        correct_S = np.trace(self.count_ZxSxCxC, axis1=-2, axis2=-1).mean(0)
        return RecallTerm(sign, correct_S[:, None], self.truth_SxK.sum(1, keepdims=True))


class F1Statistics(CountStatistics):
    """Confusion matrices, whose measure is macro-F1, averaged over seeds."""

    measure = F1

    def value_by_seed(self) -> np.ndarray:
        """Returns f1_Z."""
        one_draw_1xS = np.ones((1, self.speakers))
        values = []
        for count_SxCxC in self.count_ZxSxCxC:
            value_1, _ = F1Term(1, count_SxCxC[None]).evaluate(one_draw_1xS)
            values.append(value_1[0])
        return np.array(values)

    def term(self, sign: float = 1) -> 'F1Term':
        """Returns macro-F1 averaged over seeds as a term of a sum, with its factor."""
        return F1Term(sign, self.count_ZxSxCxC)


class F1Term(NamedTuple):
    """A mean F1 score that is a term of a sum, with its factor."""

    sign: float
    count_ZxSxCxC: np.ndarray

    @property
    def speakers(self) -> int:
        """The number of speakers."""
        return self.count_ZxSxCxC.shape[1]

    def evaluate(self, weight_QxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (f1_Q, influence_QxS) of every draw; a class absent from the truth is left out.

        The F1 score of a class is 2 correct / (true + predicted).
        """
        weight_QxS = np.asarray(weight_QxS, np.float64)
        present_QxC = weight_QxS @ self.count_ZxSxCxC[0].sum(-1) > 0
        share_QxC = present_QxC / np.maximum(present_QxC.sum(1, keepdims=True), 1)
        value_Q, influence_QxS = 0.0, 0.0
        for count_SxCxC in self.count_ZxSxCxC:
            twice_SxC = 2 * np.diagonal(count_SxCxC, axis1=-2, axis2=-1)
            both_SxC = count_SxCxC.sum(-1) + count_SxCxC.sum(-2)
            both_QxC = weight_QxS @ both_SxC
            both_QxC = np.where(both_QxC > 0, both_QxC, 1)
            f1_QxC = (weight_QxS @ twice_SxC) / both_QxC
            value_Q = value_Q + (share_QxC * f1_QxC).sum(1)
            scaled_QxC = share_QxC / both_QxC
            influence_QxS = influence_QxS + scaled_QxC @ twice_SxC.T
            influence_QxS = influence_QxS - (scaled_QxC * f1_QxC) @ both_SxC.T
        seeds = len(self.count_ZxSxCxC)
        return value_Q / seeds, influence_QxS / seeds

"""What a sweep predicts, in words: emotions, ratings or both; and the measure of it."""

from collections.abc import Iterable
from typing import NamedTuple

from jaxser.analysis.measure import CCC, UAR, Measure, results_measure


class Target(NamedTuple):
    """What the models of a sweep predict."""

    measure: Measure = UAR  # by which settings are compared
    plural: str = 'emotions'
    lost: str = 'the emotion was forgotten too'  # what happened in a run that has collapsed
    # What the audit of the split asks for: the emotion, or the first rating in thirds of its scale.
    stratum: str = 'the emotion'

    @property
    def is_in_thirds(self) -> bool:
        """Returns whether the audit is about a rating, of which it knows low, middle and high."""
        return self.stratum != 'the emotion'


EMOTION = Target()


def find_target(results: dict) -> Target:
    """Returns what the sweep of a results.json predicts; earlier versions knew only emotions."""
    measure = results_measure(results)
    if results.get('task') == 'ratings':
        lost = 'the ratings were forgotten too'
        return Target(measure, 'ratings', lost, stratum=results['ratings'][0])
    return EMOTION._replace(measure=measure)


def chance_level(results: dict) -> float:
    """Returns the value of the main measure that guessing reaches, if all classes are tested."""
    measure = results_measure(results)
    return 1 / len(results['classes']) if measure.chance is None else measure.chance


def measure_titles(measures: Iterable[Measure]) -> str:
    """Returns the titles of measures without repetition, e.g. 'UAR or CCC'."""
    used = set(measures)
    return ' or '.join(measure.title for measure in (UAR, CCC) if measure in used)


def define_measure(measure: Measure) -> str:
    """Returns what a measure is, in a few words."""
    return 'mean recall over classes' if measure == UAR else measure.definition

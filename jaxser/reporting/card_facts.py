"""What the cards of the report page are made of: facts, answers, and figures on a scale."""

from typing import NamedTuple

from data_pipelines.wording import pluralize
from jaxser.analysis import bootstrap
from jaxser.reporting.target import EMOTION, Target

RED, AMBER, GREEN = 'red', 'amber', 'green'
SEVERITY = (GREEN, AMBER, RED)

# The status is also shown by a sign, for readers who do not see the colour.
SYMBOLS = {RED: '✕', AMBER: '!', GREEN: '✓'}
SAME_SYMBOL, WORSE_SYMBOL = '=', '▼'

NO_FIGURES = 'In every seed, a fold diverged: no setting has figures.'


class Facts(NamedTuple):
    """What the cards need to know of a sweep."""

    best: dict | None  # the row of the setting that the report is about
    plain: dict | None  # the row of plain training that it is compared with
    title: str  # of the best setting
    domain: str  # to be forgotten
    is_all_plain: bool
    compared: int  # number of settings that are compared with plain training
    chance: float  # the value of the main measure, such as UAR, that guessing reaches
    audit: dict
    hint: str  # what to try if the method is inert
    path: str = ''  # of the workdir
    rough: str = ''  # a warning, if leakage was measured on few utterances
    short_training: str = ''  # a warning, if plain training should have lasted longer
    target: Target = EMOTION  # what is predicted, and by which measure settings are compared

    def best_figure(self, prefix: str = '') -> float | None:
        """Returns the main measure of the best row; with 'dev_' that on dev, and so on."""
        return self.best[prefix + self.target.measure.key]

    def plain_figure(self, prefix: str = '') -> float | None:
        """Returns the main measure of the row of plain training."""
        return self.plain[prefix + self.target.measure.key]


class Answer(NamedTuple):
    """The answer to a question."""

    status: str
    answer: str
    sentences: list[str]
    own_symbol: str = ''  # instead of that of the status

    @property
    def symbol(self) -> str:
        """The sign before the answer."""
        return self.own_symbol or SYMBOLS[self.status]


class Scale(NamedTuple):
    """A figure of a card, drawn as a point on a scale from `low` to `high`."""

    label: str
    text: str
    note: str
    low: float
    high: float
    value: float
    ci95: tuple[float, float] | None
    marks: list[tuple[str, float]]  # what it is compared with, by name

    def position(self, value: float) -> float:
        """Returns where a value is on the scale, in percent of its length."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 1)

    @property
    def ends(self) -> tuple[str, str]:
        """The ends of the scale as text; a scale of differences has signs."""
        number_format = '+.2g' if self.low < 0 else '.2g'
        return f'{self.low:{number_format}}', f'{self.high:{number_format}}'


class Card(NamedTuple):
    """A question with its answer and its figures."""

    name: str
    question: str
    answer: Answer
    scales: list[Scale]
    is_valid: bool = True  # False: the split leaks

    @property
    def mark_names(self) -> list[str]:
        """What the figures are compared with, without repetition."""
        names = {}
        for scale in self.scales:
            names |= dict(scale.marks)
        return list(names)


def first_answer(rules: tuple, facts: Facts) -> Answer:
    """Returns the answer of the first rule that has one; the last rule always has."""
    for rule in rules:
        answer = rule(facts)
        if answer:
            return answer
    raise AssertionError('the last rule always answers')


def no_figures(facts: Facts) -> Answer | None:
    """Answers where no setting has figures."""
    if facts.best is None:
        return Answer(RED, 'No result', [NO_FIGURES])
    return None


def few_speakers_sentence(speakers: int | None) -> str:
    """Returns that there are too few speakers to show a difference."""
    count = 'Few speakers'
    if speakers is not None:
        count = f'Only {pluralize(speakers, "speaker")}'
    return (
        f'{count}: an interval needs {bootstrap.MIN_SPEAKERS} or more. A difference between so few '
        'may be chance.'
    )


def verdict_count(row: dict, verdict: str) -> tuple[int, int]:
    """Returns how many runs of a row have a verdict, and how many have any."""
    counts = row['adversary'] or {}
    return counts.get(verdict, 0), sum(counts.values())

"""The measures by which settings and systems are compared: UAR for classes, CCC for ratings.

Two more measures of classes, WA and macro-F1, are in jaxser/scoring/class_statistics.py.
"""

from typing import NamedTuple


class Measure(NamedTuple):
    """A measure of predictions, and the names of its figures.

    In a row of the summary, row[key] is the figure of the pooled folds, row[f'{key}_ci95'] its
    interval, row[f'{key}_folds'] the mean over folds, row[f'{key}_sd_seeds'] the standard deviation
    over seeds, row[f'dev_{key}'] the figure on dev, and row[f'delta_{key}'] the difference to plain
    training.
    """

    key: str  # such as 'uar'
    title: str  # such as 'UAR'
    definition: str  # a noun phrase
    low: float  # the smallest value
    high: float  # the largest value
    chance: float | None  # the value of guessing; None if it depends on the number of classes
    # Whether it behaves like a correlation: intervals are computed on Fisher's z scale.
    is_correlation: bool = False


UAR = Measure(
    key='uar',
    title='UAR',
    definition='unweighted average recall, the mean of the recalls of the classes',
    low=0.0,
    high=1.0,
    chance=None,
)
CCC = Measure(
    key='ccc',
    title='CCC',
    definition='concordance correlation coefficient, averaged over the ratings',
    low=-1.0,
    high=1.0,
    chance=0.0,
    is_correlation=True,
)


def main_measure(config: dict) -> Measure:
    """Returns the measure by which the settings of a sweep are compared.

    It is CCC for ratings and UAR for classes. If both are predicted, it is the measure that selects
    the epoch; where the last epoch is taken, it is UAR. `config` is the configuration as in
    config.json; without the key `task`, as in earlier versions, the task is `emotion`.
    """
    task = config.get('task') or 'emotion'
    if task == 'ratings':
        return CCC
    select = config.get('train', {}).get('select')
    if task == 'emotion+ratings' and select == 'best dev CCC':
        return CCC
    return UAR


def results_measure(results: dict) -> Measure:
    """Returns the main measure of the sweep of a results.json."""
    select = results.get('selection')
    return main_measure({'task': results.get('task'), 'train': {'select': select}})

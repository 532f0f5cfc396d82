"""Refuses numbers that are no posteriors, and ratings on another scale than the truth.

Shapes: R rows of a file, N tested rows of the truth, C classes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.wording import join_first
from jaxser.scoring.truth import MAX_LISTED

MAX_POSTERIOR = 1.001  # float32 rounds
ROUNDING = 0.0051  # of posteriors with two digits: those of C classes sum to 1 -+ C times this
# How far a rating may be outside of the scale, as a share of the scale's length; and how many may
# be farther outside.
SCALE_TOLERANCE = 0.25
MAX_OUTSIDE_SHARE = 0.05
# Of the true ratings: if so many are negative, predictions from 0 to 1 are suspicious.
MIN_NEGATIVE_SHARE = 0.25
OUR_SCALE = (-1.0, 1.0)
# Other scales that are common: their ends, and how to convert them to ours.
SCALES = (
    ('1 to 5', 1.0, 5.0, '(x - 3) / 2'),
    ('1 to 7', 1.0, 7.0, '(x - 4) / 3'),
    ('1 to 9', 1.0, 9.0, '(x - 5) / 4'),
    ('0 to 100', 0.0, 100.0, '(x - 50) / 50'),
)


def check_posteriors(path: Path, p_RxC: np.ndarray, name_of: Callable[[int], str]) -> None:
    """Raises a UserError for numbers that are no posteriors, and says what they probably are."""
    low, high = float(p_RxC.min()), float(p_RxC.max())
    sum_R = p_RxC.sum(1)
    tolerance = ROUNDING * p_RxC.shape[1]
    is_bad_R = (p_RxC < 0).any(1) | (p_RxC > MAX_POSTERIOR).any(1)
    is_bad_R |= np.abs(sum_R - 1) > tolerance
    if not is_bad_R.any():
        return
    if high <= 0 and np.allclose(np.exp(p_RxC).sum(1), 1, atol=tolerance):
        cause = 'They are logarithms of posteriors: write exp of them.'
    elif low < 0:
        cause = 'Probably they are scores before the softmax (logits): write their softmax.'
    elif np.allclose(sum_R, 100, atol=100 * tolerance):
        cause = 'They are percentages: divide them by 100.'
    elif high > MAX_POSTERIOR:
        cause = (
            'Probably they are scores before the softmax (logits) or counts: write their softmax, '
            'or divide them by their sum.'
        )
    elif np.allclose(10 * p_RxC, np.round(10 * p_RxC)):
        cause = 'They have one digit: write more digits, because rounded ones do not sum to 1.'
    else:
        cause = (
            'Probably each class has a sigmoid of its own, or a class is missing: divide them by '
            'their sum, or write a column predicted instead.'
        )
    examples = [name_of(r) for r in np.flatnonzero(is_bad_R)[:MAX_LISTED]]
    raise UserError(
        f'{path}: {int(is_bad_R.sum())} of {len(p_RxC)} rows have no posteriors, which are from 0 '
        f'to 1 and sum to 1: {join_first(examples, MAX_LISTED)}. The numbers are from {low:.4g} to '
        f'{high:.4g}, and their sums from {sum_R.min():.4g} to {sum_R.max():.4g}. {cause}'
    )


def check_scale(path: Path, name: str, value_R: np.ndarray, truth_N: np.ndarray) -> list[str]:
    """Returns notes on predicted ratings that may be on another scale than the truth.

    Raises a UserError for those that are on another scale.
    """
    low, high = float(value_R.min()), float(value_R.max())
    scale = (min(-1.0, float(truth_N.min())), max(1.0, float(truth_N.max())))
    tolerance = SCALE_TOLERANCE * (scale[1] - scale[0])
    is_outside_R = (value_R < scale[0] - tolerance) | (value_R > scale[1] + tolerance)
    if not is_outside_R.any():
        negative = float((truth_N < 0).mean())
        if scale != OUR_SCALE or low < 0 or high > 1 or negative < MIN_NEGATIVE_SHARE:
            return []
        return [
            f'All predictions of {name} are from 0 to 1, but {100 * negative:.0f} % of the true '
            'ratings are below 0. If the predictions are on a scale from 0 to 1, convert them: '
            '2 x - 1.'
        ]
    is_inside = scale[0] <= np.median(value_R) <= scale[1]
    if is_inside and is_outside_R.mean() < MAX_OUTSIDE_SHARE:
        return [
            f'{int(is_outside_R.sum())} predictions of {name} are far outside of the scale (from '
            f'{low:.3g} to {high:.3g}).'
        ]
    raise UserError(
        f'{path}: the predictions of {name} are from {low:.4g} to {high:.4g} (median '
        f'{np.median(value_R):.4g}), and the truth is on a scale from {scale[0]:g} to '
        f'{scale[1]:g}. {_conversion(low, high, scale)}'
    )


def _conversion(low: float, high: float, scale: tuple[float, float]) -> str:
    """Returns how to convert predictions in this range to the scale of the truth."""
    for title, scale_low, scale_high, formula in SCALES:
        margin = 0.1 * (scale_high - scale_low)
        is_within = low >= scale_low - margin and high <= scale_high + margin
        if is_within and scale == OUR_SCALE:
            return f'If they are on a scale from {title}, write {formula}.'
    return 'Convert them to the scale of the truth.'

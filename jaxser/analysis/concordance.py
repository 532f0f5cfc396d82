"""How well predicted ratings agree with the true ones: CCC, Pearson's correlation, RMSE.

CCC      concordance correlation coefficient (Lin 1989, Biometrics 45, 255-268):
         2 cov / (var_truth + var_predicted + (mean_truth - mean_predicted)^2)
Pearson  correlation coefficient, which ignores scale and offset
RMSE     root of the mean squared error, in units of the ratings

Variances and the covariance are divided by the number of utterances, not by one less. So do
audEERING's library (audmetric.concordance_cc) and the baseline of the challenge on MSP-Podcast at
Odyssey 2024 (github.com/msplabresearch/MSP-Podcast_Challenge, utils/loss_manager.py). Systems are
compared by CCC in Wagner et al. 2023 (doi:10.1109/TPAMI.2023.3263585), and by its mean over
arousal, valence and dominance in the challenge at Interspeech 2025 (Naini et al.).

A measure that is undefined because values are constant is 0; without utterances it is NaN.

All three are computed from six sums over utterances, the moments, so that those of several speakers
can be added: n, sum x, sum y, sum x^2, sum y^2, sum x y, where x is the truth and y the prediction.
Shapes: N utterances, S speakers, A ratings.
"""

import numpy as np

MOMENTS = 6
# A variance that is smaller than this share of the mean square is that of constant values: ten
# times what rounding leaves.
CONSTANT_SHARE = 1e-14


def concordance(truth_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Returns the CCC, from -1 to 1."""
    return float(concordance_from_moments(_moments(truth_N, predicted_N)))


def pearson(truth_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Returns Pearson's correlation coefficient, from -1 to 1."""
    return float(pearson_from_moments(_moments(truth_N, predicted_N)))


def rmse(truth_N: np.ndarray, predicted_N: np.ndarray) -> float:
    """Returns the root of the mean squared error."""
    return float(rmse_from_moments(_moments(truth_N, predicted_N)))


def rating_metrics(
    truth_NxA: np.ndarray, predicted_NxA: np.ndarray, ratings: list[str] | tuple[str, ...]
) -> dict:
    """Returns CCC, Pearson and RMSE, averaged over the ratings and of each rating.

    The result is {'ccc', 'pearson', 'rmse', 'n', 'ratings': {name: {'ccc', 'pearson', 'rmse'}}},
    where `ratings` are the A names and n is the number of utterances.
    """
    moment_Ax6 = _moments(np.asarray(truth_NxA).T, np.asarray(predicted_NxA).T)
    return metrics_from_moments(moment_Ax6, ratings)


def metrics_from_moments(moment_Ax6: np.ndarray, ratings: list[str] | tuple[str, ...]) -> dict:
    """Returns what `rating_metrics` returns, from the moments of each rating."""
    figures = {
        'ccc': concordance_from_moments(moment_Ax6),
        'pearson': pearson_from_moments(moment_Ax6),
        'rmse': rmse_from_moments(moment_Ax6),
    }
    result: dict = {key: float(value_A.mean()) for key, value_A in figures.items()}
    result['n'] = int(moment_Ax6[0, 0])
    result['ratings'] = {}
    for a, name in enumerate(ratings):
        result['ratings'][name] = {key: float(value_A[a]) for key, value_A in figures.items()}
    return result


def speaker_moments(
    speaker_N: np.ndarray, truth_NxA: np.ndarray, predicted_NxA: np.ndarray
) -> np.ndarray:
    """Returns moment_SxAx6 of test predictions, the speakers in alphabetical order."""
    names, index_N = np.unique(speaker_N, return_inverse=True)
    moment_NxAx6 = utterance_moments(truth_NxA, predicted_NxA)
    moment_SxAx6 = np.zeros((len(names), *moment_NxAx6.shape[1:]))
    np.add.at(moment_SxAx6, index_N, moment_NxAx6)
    return moment_SxAx6


def utterance_moments(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the moments of single utterances, along a new last axis."""
    x, y = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    return np.stack((np.ones_like(x), x, y, x**2, y**2, x * y), axis=-1)


def concordance_from_moments(moment: np.ndarray) -> np.ndarray:
    """Returns the CCC of moments of shape (..., 6)."""
    n, x, y, xx, yy, xy = np.moveaxis(moment, -1, 0)
    spread, is_constant = _spread(n, x, y, xx + yy)
    ccc = np.where(is_constant, 0.0, 2 * (n * xy - x * y) / spread)
    return np.where(n > 0, np.clip(ccc, -1, 1), np.nan)


def concordance_gradient(moment_6: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the CCC and its derivative with respect to each of the moments.

    The moments are on the first axis, of 6, as those of the derivative. It is 0 where the values
    are constant.
    """
    n, x, y, xx, yy, xy = moment_6
    spread, is_constant = _spread(n, x, y, xx + yy)
    ccc = np.where(is_constant, 0.0, 2 * (n * xy - x * y) / spread)
    scale = np.where(is_constant, 0.0, 1 / spread)
    gradient_6 = np.empty_like(moment_6)
    gradient_6[0] = scale * (2 * xy - ccc * (xx + yy))
    gradient_6[1] = scale * 2 * y * (ccc - 1)
    gradient_6[2] = scale * 2 * x * (ccc - 1)
    gradient_6[3] = gradient_6[4] = -scale * ccc * n
    gradient_6[5] = scale * 2 * n
    return ccc, gradient_6


def _spread(
    n: np.ndarray, x: np.ndarray, y: np.ndarray, squares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns n^2 times the denominator of CCC, and where it is that of constant values.

    There it is 1, so that one may divide by it. `squares` is sum x^2 + sum y^2.
    """
    spread = n * squares - 2 * x * y
    is_constant = spread <= CONSTANT_SHARE * n * squares
    return np.where(is_constant, 1.0, spread), is_constant


def pearson_from_moments(moment: np.ndarray) -> np.ndarray:
    """Returns Pearson's correlation coefficient of moments of shape (..., 6)."""
    n, x, y, xx, yy, xy = np.moveaxis(moment, -1, 0)
    x_spread = n * xx - x**2
    y_spread = n * yy - y**2
    is_constant = x_spread <= CONSTANT_SHARE * n * xx
    is_constant |= y_spread <= CONSTANT_SHARE * n * yy
    product = np.where(is_constant, 1.0, x_spread * y_spread)
    r = np.where(is_constant, 0.0, (n * xy - x * y) / np.sqrt(product))
    return np.where(n > 0, np.clip(r, -1, 1), np.nan)


def rmse_from_moments(moment: np.ndarray) -> np.ndarray:
    """Returns the root of the mean squared error of moments of shape (..., 6)."""
    n, _, _, xx, yy, xy = np.moveaxis(moment, -1, 0)
    mean_square = np.maximum(xx + yy - 2 * xy, 0) / np.where(n > 0, n, 1)
    return np.where(n > 0, np.sqrt(mean_square), np.nan)


def _moments(truth_xN: np.ndarray, predicted_xN: np.ndarray) -> np.ndarray:
    """Returns the moments over the last axis, of shape (..., 6)."""
    return utterance_moments(truth_xN, predicted_xN).sum(-2)

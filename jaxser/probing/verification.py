"""Speaker verification by a representation: equal error rates over pairs of unseen speakers.

Two back ends compare a pair of utterances. One is the cosine of the representations minus their
mean over the training data. The other projects them by linear discriminant analysis (LDA) of the
training speakers first: these are the directions in which speakers differ most, relative to the
utterances of one speaker. An attacker with recordings of other people can find them.
"""

import numpy as np

from data_pipelines.protocols.folds import Fold
from jaxser.analysis.metrics import equal_error_rate
from jaxser.probing.questions import unseen_speaker_rows

MAX_VERIFIED_UTTERANCES = 1000  # verification compares all pairs of them
SHRINKAGE = 0.1  # of the covariance within speakers, towards a multiple of the identity


def verification_error(
    x_NxD: np.ndarray, rows: np.ndarray, fold: Fold, speaker_N: np.ndarray, seed: int
) -> dict | None:
    """Returns {'eer', 'lda_eer', 'speakers'} of a fold's unseen speakers.

    'lda_eer' is missing if the training data have fewer than two speakers with two utterances.
    Returns None if fewer than two speakers are unseen, or if they have one utterance each.

    Args:
      x_NxD: the representations of the utterances `rows`.
      rows: indices of utterances, ascending; all that the fold uses.
      fold: with its dev and test rows, and the rows of training.
      speaker_N: the name of the speaker of every utterance of the task, '' if unknown.
      seed: with the fold's number, the seed of the random sample if there are too many utterances.
    """
    candidates = unseen_speaker_rows(speaker_N, fold)
    random = np.random.default_rng((seed, fold.number))
    test_rows = random.permutation(candidates)[:MAX_VERIFIED_UTTERANCES]
    speakers, test_speaker_T = np.unique(speaker_N[test_rows], return_inverse=True)
    if len(speakers) < 2 or len(test_rows) == len(speakers):
        return None
    fit_rows = np.unique(fold.fit_rows)
    fit_NxD = x_NxD[np.searchsorted(rows, fit_rows)].astype(float)
    mean_D = fit_NxD.mean(0)
    centred_TxD = x_NxD[np.searchsorted(rows, test_rows)] - mean_D
    errors = {'eer': equal_error_rate(centred_TxD, test_speaker_T), 'speakers': len(speakers)}
    projection_DxL = discriminants(fit_NxD, speaker_N[fit_rows])
    if projection_DxL is not None:
        errors['lda_eer'] = equal_error_rate(centred_TxD @ projection_DxL, test_speaker_T)
    return errors


def discriminants(x_NxD: np.ndarray, speaker_N: np.ndarray) -> np.ndarray | None:
    """Returns the linear discriminants DxL of the speakers; L is one less than their number.

    Speakers with one utterance, and unknown ones (''), are left out. None if fewer than two remain.
    """
    speakers, index_N, count_S = np.unique(speaker_N, return_inverse=True, return_counts=True)
    is_used_S = (count_S > 1) & (speakers != '')
    L = int(is_used_S.sum()) - 1
    if L < 1:
        return None
    is_used_N = is_used_S[index_N]
    x_NxD, index_N = x_NxD[is_used_N], index_N[is_used_N]
    scale_D = x_NxD.std(0)
    scale_D = np.where(scale_D > 1e-6, scale_D, np.inf)
    x_NxD = (x_NxD - x_NxD.mean(0)) / scale_D
    # Sorted by speaker, so that the time does not grow with utterances times speakers.
    order = np.argsort(index_N, kind='stable')
    x_NxD, count_S = x_NxD[order], count_S[is_used_S]
    start_S = np.cumsum(count_S) - count_S
    mean_SxD = np.add.reduceat(x_NxD, start_S) / count_S[:, None]
    within_NxD = x_NxD - np.repeat(mean_SxD, count_S, axis=0)
    D = x_NxD.shape[1]
    covariance_DxD = within_NxD.T @ within_NxD / len(x_NxD)
    average = max(np.trace(covariance_DxD) / D, 1e-12)
    shrunk_DxD = (1 - SHRINKAGE) * covariance_DxD + SHRINKAGE * average * np.eye(D)
    root_DxD = np.linalg.cholesky(shrunk_DxD)
    whitened_DxS = np.linalg.solve(root_DxD, mean_SxD.T)
    left_DxS, _, _ = np.linalg.svd(whitened_DxS, full_matrices=False)
    return np.linalg.solve(root_DxD.T, left_DxS[:, :L]) / scale_D[:, None]

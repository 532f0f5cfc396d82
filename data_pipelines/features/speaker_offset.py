"""Estimates how the features of a speaker differ from those of the training speakers.

A few utterances of the speaker without labels are enough: they are enrolled. The estimate is
empirical Bayes. Speakers, emotions and utterances are assumed to be normally distributed,

    y = mean + offset of the speaker + mean of the emotion + (speaker x emotion) + utterance,

where y_P are the statistics of an utterance (`utterance_statistics`). The mean, the means of the
emotions and all variances come from training speakers (`fit_speaker_prior`). With the mean m_P of
the n enrolled utterances, minus `mean`, the estimate of the offset in each column is

    scale * between / (scale * between + noise) * (m - emotion),

the mean, shrunk to 0 where it is unreliable: for n = 0 the offset is 0, and it approaches m as n
grows. This is MAP adaptation of a speaker's mean (Gauvain and Lee 1994); the shrinkage is that of
James and Stein (1961).

What is enrolled may be of all emotions, or of a single one, which shifts m. Therefore the estimate
is the mean over C + 1 hypotheses, weighted by their posterior probabilities:

    all emotions:    emotion = 0,        noise = (utterance + interaction + emotions) / n
    only emotion k:  emotion = its mean, noise = utterance / n + interaction

where `emotions` is the variance of the means of the emotions (with C emotions, `interaction` counts
by 1 - 1/C, as its mean over all emotions is a part of the offset). The probabilities come from the
spread and the mean of the utterances along the directions that separate emotions best (linear
discriminants).

A speaker of another corpus, language or microphone differs more from the training speakers than
they do from one another. Then the variance between speakers is larger than in training, by the
factor `scale`, which is estimated from m itself. The factor is 1 unless m contradicts that clearly.
Otherwise chance alone would enlarge the offset of many speakers, and the mean squared error of the
offset would be above that of no offset.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

PROBABILITY_OF_ALL_EMOTIONS = 0.5  # before the utterances are seen; the others share the rest

# The share of the mean over columns in the variance between speakers: there are few speakers, so
# that the variance of a single column is uncertain.
SMOOTHING = 0.5

# The share of the diagonal in the covariance from which discriminants are computed. It is large:
# otherwise the emotions of unseen speakers spread more along them than those of training speakers,
# and a single emotion looks like several.
DISCRIMINANT_RIDGE = 0.9
COVARIANCE_RIDGE = 0.3  # in the covariances of the discriminants
MAX_COVARIANCE_ROWS = 4096  # utterances from which covariances are computed

SCALE_STANDARD_ERRORS = 3.0  # by which m must contradict scale = 1
MIN_VARIANCE = 1e-8  # of a column; a constant column has none


class SpeakerPrior(NamedTuple):
    """What is known of speakers from the training data; P columns, C emotions, D discriminants."""

    mean_P: Any  # of a balanced set of emotions of an average speaker
    emotion_CxP: Any  # deviation of each emotion from it
    between_P: Any  # variance between the speakers' means over all emotions
    utterance_P: Any  # variance within a speaker and an emotion
    interaction_P: Any  # variance of a further speaker's deviations from emotion_CxP
    direction_PxD: Any  # linear discriminants of the emotions
    within_DxD: Any  # covariance of the discriminants within a speaker and an emotion
    between_DxD: Any  # covariance of the speakers' discriminants
    dimensions: Any  # number of independent columns that vary as much as the P columns together


class Enrolment(NamedTuple):
    """Sums over the enrolled utterances of a speaker, from which the offset is estimated."""

    count: Any
    sum_P: Any  # of y - mean
    products_DxD: Any  # sum of the outer products of the discriminants


def utterance_statistics(mean_NxM: np.ndarray, variance_NxM: np.ndarray, is_pooled: bool):
    """Returns y_NxP: the means of the bands and the logarithms of their standard deviations.

    Of pooled states, which are a single frame, y are the means alone. `variance_NxM` is over the
    frames of an utterance.
    """
    if is_pooled:
        return mean_NxM
    xp = mean_NxM.__array_namespace__()
    return xp.concatenate([mean_NxM, 0.5 * xp.log(xp.maximum(variance_NxM, MIN_VARIANCE))], -1)


def split_offset(offset_P, bands: int):
    """Returns offset_M of the means and log_deviation_M; the latter is 0 for pooled states."""
    xp = offset_P.__array_namespace__()
    offset_M = offset_P[..., :bands]
    log_deviation = offset_P[..., bands:]
    if not log_deviation.shape[-1]:
        return offset_M, xp.zeros_like(offset_M)
    return offset_M, log_deviation


def no_enrolment(prior: SpeakerPrior) -> Enrolment:
    """Returns the sums over no utterance."""
    P, D = prior.direction_PxD.shape
    return Enrolment(0.0, np.zeros(P), np.zeros((D, D)))


def enrol(prior: SpeakerPrior, enrolment: Enrolment, y_NxP) -> Enrolment:
    """Returns the sums with N further utterances; their order does not matter."""
    deviation_NxP = y_NxP - prior.mean_P
    z_NxD = deviation_NxP @ prior.direction_PxD
    return Enrolment(
        enrolment.count + len(y_NxP),
        enrolment.sum_P + deviation_NxP.sum(0),
        enrolment.products_DxD + z_NxD.T @ z_NxD,
    )


def estimate_offset(prior: SpeakerPrior, enrolment: Enrolment):
    """Returns offset_P of a speaker; 0 if nothing is enrolled.

    All arrays of `enrolment` may have further axes in front, and so has the result. NumPy and JAX
    arrays are accepted.
    """
    xp = enrolment.sum_P.__array_namespace__()
    count = xp.asarray(enrolment.count)[..., None, None]  # of hypotheses and columns
    n = xp.maximum(count, 1)
    frequency_HxC = _hypotheses(len(prior.emotion_CxP))[0]
    deviation_HxP = enrolment.sum_P[..., None, :] / n - frequency_HxC @ prior.emotion_CxP
    noise_HxP = _noise(prior, frequency_HxC, n)
    scale_Hx1 = _between_scale(prior, deviation_HxP, noise_HxP, xp)
    # A wrong hypothesis must not become probable because its scale makes up for it.
    smallest_scale_1 = scale_Hx1.min(-2)
    probability_H = _hypothesis_probabilities(prior, enrolment, smallest_scale_1, xp)
    between_HxP = scale_Hx1 * prior.between_P
    gain_HxP = between_HxP / xp.maximum(between_HxP + noise_HxP, MIN_VARIANCE)
    offset_P = (probability_H[..., None] * gain_HxP * deviation_HxP).sum(-2)
    return xp.where(count[..., 0] > 0, offset_P, 0)


def _hypotheses(C: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns frequency_HxC of the emotions in what is enrolled, and each one's probability_H."""
    frequency_HxC = np.concatenate([np.full((1, C), 1 / C), np.eye(C)])
    single = (1 - PROBABILITY_OF_ALL_EMOTIONS) / C
    return frequency_HxC, np.array([PROBABILITY_OF_ALL_EMOTIONS, *[single] * C])


def _noise(prior: SpeakerPrior, frequency_HxC: np.ndarray, n):
    """Returns noise_HxP, the variance of the mean of n utterances around the expected mean."""
    C = frequency_HxC.shape[1]
    mean_HxP = frequency_HxC @ prior.emotion_CxP
    emotions_HxP = frequency_HxC @ prior.emotion_CxP**2 - mean_HxP**2
    # The interaction varies between utterances, and its mean differs from that of all emotions.
    varying_Hx1 = 1 - (frequency_HxC**2).sum(1, keepdims=True)
    constant_Hx1 = ((frequency_HxC - 1 / C) ** 2).sum(1, keepdims=True)
    utterance_HxP = prior.utterance_P + varying_Hx1 * prior.interaction_P + emotions_HxP
    return utterance_HxP / n + constant_Hx1 * prior.interaction_P


def _variance_within_speaker(prior: SpeakerPrior):
    """Returns the variance_P of the utterances of a speaker, if all emotions are as frequent."""
    return prior.utterance_P + prior.interaction_P + (prior.emotion_CxP**2).mean(0)


def _between_scale(prior: SpeakerPrior, deviation_HxP, noise_HxP, xp):
    """Returns scale_Hx1, by which the variance between speakers exceeds that in training.

    The expectation of deviation² is scale * between + noise. The columns count equally; each is
    divided by its variance within a speaker. From this estimate the firm threshold of Gao and
    Bruce (1997) removes what chance explains: the scale is 1 up to a threshold, and the estimate
    itself from twice the threshold.
    """
    unit_P = xp.maximum(_variance_within_speaker(prior), MIN_VARIANCE)
    between = xp.maximum((prior.between_P / unit_P).sum(), MIN_VARIANCE)
    square_HxP = deviation_HxP**2 / unit_P
    expected_HxP = (prior.between_P + noise_HxP) / unit_P  # of square_HxP, if the scale is 1
    total_Hx1 = expected_HxP.sum(-1, keepdims=True)
    surplus_Hx1 = (square_HxP - expected_HxP).sum(-1, keepdims=True)
    # The sum of squares of correlated normal variables is about a chi-squared variable.
    correlation = len(unit_P) / prior.dimensions
    variance_Hx1 = 2 * correlation * (expected_HxP**2).sum(-1, keepdims=True)
    freedom_Hx1 = 2 * total_Hx1**2 / xp.maximum(variance_Hx1, MIN_VARIANCE)
    threshold_Hx1 = total_Hx1 * (_chi_squared_quantile(freedom_Hx1, xp) - 1)
    surplus_Hx1 = xp.minimum(2 * (surplus_Hx1 - threshold_Hx1), surplus_Hx1)
    return 1 + xp.maximum(surplus_Hx1, 0) / between


def _chi_squared_quantile(freedom, xp):
    """Returns the quantile of a chi-squared variable divided by its degrees of freedom.

    This is the approximation of Wilson and Hilferty (1931).
    """
    variance = 2 / (9 * xp.maximum(freedom, 1))
    return (1 - variance + SCALE_STANDARD_ERRORS * xp.sqrt(variance)) ** 3


def _hypothesis_probabilities(prior: SpeakerPrior, enrolment: Enrolment, scale_1, xp):
    """Returns probability_H of the hypotheses, given the utterances; scale_1 is one for all."""
    frequency_HxC, probability_H = _hypotheses(len(prior.emotion_CxP))
    n = xp.maximum(xp.asarray(enrolment.count), 1)[..., None, None, None]
    emotion_CxD = prior.emotion_CxP @ prior.direction_PxD
    mean_D = enrolment.sum_P @ prior.direction_PxD / n[..., 0, 0]
    scatter_DxD = enrolment.products_DxD - n[..., 0] * _outer(mean_D)

    centre_HxD = frequency_HxC @ emotion_CxD
    emotions_HxDxD = xp.einsum('hc,cd,ce->hde', frequency_HxC, emotion_CxD, emotion_CxD)
    within_HxDxD = prior.within_DxD + emotions_HxDxD - _outer(centre_HxD)
    position_HxDxD = scale_1[..., None, None] * prior.between_DxD + within_HxDxD / n
    outer_HxDxD = _outer(mean_D[..., None, :] - centre_HxD)
    log_H = (
        xp.log(xp.asarray(probability_H))
        + _log_density(scatter_DxD[..., None, :, :], within_HxDxD, n[..., 0, 0] - 1, xp)
        + _log_density(outer_HxDxD, position_HxDxD, 1, xp)
    )
    weight_H = xp.exp(log_H - log_H.max(-1, keepdims=True))
    return weight_H / weight_H.sum(-1, keepdims=True)


def _outer(x_D):
    """Returns the outer_DxD product of each vector with itself."""
    return x_D[..., :, None] * x_D[..., None, :]


def _log_density(scatter_DxD, covariance_DxD, count, xp):
    """Returns the log-density of `count` normal vectors with this scatter, up to a constant."""
    _, log_determinant = xp.linalg.slogdet(covariance_DxD)
    distance = xp.linalg.trace(xp.linalg.solve(covariance_DxD, scatter_DxD))
    return -0.5 * (count * log_determinant + distance)


def fit_speaker_prior(
    y_NxP: np.ndarray, speaker_N: np.ndarray, emotion_N: np.ndarray
) -> SpeakerPrior:
    """Fits the prior to labelled utterances of known speakers.

    Speakers count equally, and so do the emotions of a speaker, however many utterances there are.

    Args:
      y_NxP: `utterance_statistics`.
      speaker_N: index of the speaker, in any numbers.
      emotion_N: index of the emotion, in any numbers.
    """
    y_NxP = np.asarray(y_NxP, np.float64)
    cells = _make_cells(y_NxP, speaker_N, emotion_N)
    mean_P, speaker_SxP, emotion_CxP = _additive_means(cells)
    fitted_JxP = mean_P + speaker_SxP[cells.speaker_J] + emotion_CxP[cells.emotion_J]
    utterance_P, interaction_P = _variances_within_speaker(y_NxP, cells, fitted_JxP)
    unit_P = utterance_P + interaction_P + (emotion_CxP**2).mean(0)
    unit_P = np.maximum(unit_P, MIN_VARIANCE)
    between_P = _variance_between_speakers(speaker_SxP, cells, utterance_P, unit_P)

    deviation_NxP = y_NxP - fitted_JxP[cells.index_N]
    direction_PxD = _discriminants(deviation_NxP, emotion_CxP, unit_P)
    z_NxD = deviation_NxP @ direction_PxD
    z_SxD = speaker_SxP @ direction_PxD
    (S, _), (C, _) = speaker_SxP.shape, emotion_CxP.shape
    return SpeakerPrior(
        mean_P,
        emotion_CxP,
        between_P,
        utterance_P,
        interaction_P,
        direction_PxD,
        within_DxD=_with_ridge(z_NxD.T @ z_NxD / max(len(z_NxD) - S - C + 1, 1)),
        between_DxD=_with_ridge(z_SxD.T @ z_SxD / max(S - 1, 1)),
        dimensions=_independent_columns(deviation_NxP / np.sqrt(unit_P)),
    )


class _Cells(NamedTuple):
    """The J pairs of speaker and emotion that occur; indices of speakers and emotions from 0."""

    mean_JxP: np.ndarray
    count_J: np.ndarray  # number of utterances
    speaker_J: np.ndarray
    emotion_J: np.ndarray
    index_N: np.ndarray  # the cell of each utterance


def _make_cells(y_NxP: np.ndarray, speaker_N, emotion_N) -> _Cells:
    """Returns the means of the utterances of each pair of speaker and emotion."""
    _, speaker_N = np.unique(speaker_N, return_inverse=True)
    _, emotion_N = np.unique(emotion_N, return_inverse=True)
    C = emotion_N.max() + 1
    cells, index_N, count_J = np.unique(
        speaker_N * C + emotion_N, return_inverse=True, return_counts=True
    )
    mean_JxP = _group_means(y_NxP, index_N, len(cells))
    return _Cells(mean_JxP, count_J, cells // C, cells % C, index_N)


def _additive_means(cells: _Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean_P, speaker_SxP and emotion_CxP: least squares of mean + speaker + emotion.

    All cells count equally. The speakers are eliminated from the normal equations, and C equations
    remain. What may be due to a speaker or to an emotion is attributed to the speaker.
    """
    speaker_J, emotion_J = cells.speaker_J, cells.emotion_J
    S, C = speaker_J.max() + 1, emotion_J.max() + 1
    present_SxC = np.zeros((S, C))
    present_SxC[speaker_J, emotion_J] = 1
    share_SxC = present_SxC / present_SxC.sum(1, keepdims=True)
    speaker_SxP = _group_means(cells.mean_JxP, speaker_J, S)
    sum_CxP = np.zeros((C, cells.mean_JxP.shape[1]))
    np.add.at(sum_CxP, emotion_J, cells.mean_JxP - speaker_SxP[speaker_J])
    equations_CxC = np.diag(present_SxC.sum(0)) - present_SxC.T @ share_SxC
    emotion_CxP = np.linalg.pinv(equations_CxC, rcond=1e-9, hermitian=True) @ sum_CxP
    emotion_CxP -= emotion_CxP.mean(0)
    speaker_SxP -= share_SxC @ emotion_CxP
    mean_P = speaker_SxP.mean(0)
    return mean_P, speaker_SxP - mean_P, emotion_CxP


def _variances_within_speaker(
    y_NxP: np.ndarray, cells: _Cells, fitted_JxP: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns utterance_P and interaction_P; fitted_JxP are the cells' means without the latter."""
    S, C, J = cells.speaker_J.max() + 1, cells.emotion_J.max() + 1, len(cells.count_J)
    deviation_NxP = y_NxP - cells.mean_JxP[cells.index_N]
    utterance_P = (deviation_NxP**2).sum(0) / max(len(y_NxP) - J, 1)
    noise_P = utterance_P * (1 / cells.count_J).mean()  # of a cell's mean
    # Of J cell means, S + C - 1 degrees of freedom are those of speakers and emotions.
    residual_P = ((cells.mean_JxP - fitted_JxP) ** 2).sum(0) / max(J - S - C + 1, 1)
    interaction_P = np.maximum(residual_P - noise_P, 0)
    # A further speaker also differs by the error of an emotion's mean over S speakers.
    return utterance_P, interaction_P + (interaction_P + noise_P) / S


def _variance_between_speakers(speaker_SxP, cells: _Cells, utterance_P, unit_P) -> np.ndarray:
    """Returns between_P, smoothed over the columns in units of unit_P."""
    S = len(speaker_SxP)
    cells_S = np.bincount(cells.speaker_J, minlength=S)
    # The variance of the mean over a speaker's cells that its utterances cause.
    noise_of_mean = (np.bincount(cells.speaker_J, 1 / cells.count_J, S) / cells_S**2).mean()
    spread_P = (speaker_SxP**2).sum(0) / max(S - 1, 1)
    between_P = np.maximum(spread_P - noise_of_mean * utterance_P, 0)
    typical_P = unit_P * between_P.sum() / unit_P.sum()
    return (1 - SMOOTHING) * between_P + SMOOTHING * typical_P


def _group_means(x_JxP: np.ndarray, group_J: np.ndarray, groups: int) -> np.ndarray:
    """Returns the mean_GxP of each group of rows."""
    sum_GxP = np.zeros((groups, x_JxP.shape[1]))
    np.add.at(sum_GxP, group_J, x_JxP)
    return sum_GxP / np.bincount(group_J, minlength=groups)[:, None]


def _discriminants(deviation_NxP, emotion_CxP, unit_P) -> np.ndarray:
    """Returns direction_PxD, D = C - 1: linear discriminants with a covariance of about 1.

    The covariance R is that of the deviations plus a share of its diagonal. If there are more
    columns than utterances, R^-1 comes from the products of utterances (Woodbury's identity).
    """
    C = len(emotion_CxP)
    root_P = np.sqrt(unit_P)
    x_NxP = _evenly_spaced_rows(deviation_NxP) / root_P
    emotion_PxC = (emotion_CxP / root_P).T
    N, P = x_NxP.shape
    weight = N * DISCRIMINANT_RIDGE / (1 - DISCRIMINANT_RIDGE)
    if P <= N:
        gram_PxP = x_NxP.T @ x_NxP + weight * np.eye(P)
        solution_PxC = linalg.solve(
            gram_PxP, N / (1 - DISCRIMINANT_RIDGE) * emotion_PxC, assume_a='pos'
        )
    else:
        gram_NxN = x_NxP @ x_NxP.T + weight * np.eye(N)
        inner_NxC = linalg.solve(gram_NxN, x_NxP @ emotion_PxC, assume_a='pos')
        solution_PxC = (emotion_PxC - x_NxP.T @ inner_NxC) / DISCRIMINANT_RIDGE
    variance_C, vector_CxC = np.linalg.eigh(emotion_PxC.T @ solution_PxC)
    largest = slice(1, C)  # the smallest is 0, as the emotions' means add up to 0
    length_D = np.sqrt(np.maximum(variance_C[largest], MIN_VARIANCE))
    return solution_PxC @ vector_CxC[:, largest] / length_D / root_P[:, None]


def _evenly_spaced_rows(x_NxP: np.ndarray) -> np.ndarray:
    """Returns at most MAX_COVARIANCE_ROWS of the rows; the first may be of a few speakers only."""
    rows = np.linspace(0, len(x_NxP) - 1, min(len(x_NxP), MAX_COVARIANCE_ROWS))
    return x_NxP[rows.astype(int)]


def _with_ridge(covariance_DxD: np.ndarray) -> np.ndarray:
    """Returns the covariance, moved towards equal variances so that it can be inverted."""
    D = len(covariance_DxD)
    variance = np.trace(covariance_DxD) / max(D, 1) + MIN_VARIANCE
    return (1 - COVARIANCE_RIDGE) * covariance_DxD + COVARIANCE_RIDGE * variance * np.eye(D)


def _independent_columns(x_NxP: np.ndarray) -> float:
    """Returns trace(R)² / trace(R²) of the covariance R: P if all columns are independent."""
    x_NxP = _evenly_spaced_rows(x_NxP)
    product = x_NxP @ x_NxP.T if len(x_NxP) < x_NxP.shape[1] else x_NxP.T @ x_NxP
    # Columns without any deviation have no covariance.
    return max(float(np.trace(product) ** 2 / max((product**2).sum(), MIN_VARIANCE)), 1.0)

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

where `emotions` is the variance of the means of the emotions. The probabilities come from the
spread and the mean of the utterances along the directions that separate emotions best (linear
discriminants).

A speaker of another corpus, language or microphone differs more from the training speakers than
they do from one another. Then the variance between speakers is larger than in training, by the
factor `scale`, which is estimated from m itself. The factor is 1 unless m contradicts that clearly.
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
MAX_DISCRIMINANT_ROWS = 4096  # utterances from which they are computed

SCALE_STANDARD_ERRORS = 2.0  # by which m must contradict scale = 1
ADDITIVE_ROUNDS = 20  # of the fit of speaker and emotion means
MIN_VARIANCE = 1e-8  # of a column; a constant column has none


class SpeakerPrior(NamedTuple):
    """What is known of speakers from the training data; P columns, C emotions, D discriminants."""

    mean_P: Any  # of a balanced set of emotions of an average speaker
    emotion_CxP: Any  # deviation of each emotion from it
    between_P: Any  # variance between speakers
    utterance_P: Any  # variance within a speaker and an emotion
    interaction_P: Any  # variance of the speakers' deviations from emotion_CxP
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
    emotion_HxP = xp.concatenate([xp.zeros_like(prior.mean_P)[None], prior.emotion_CxP])
    deviation_HxP = enrolment.sum_P[..., None, :] / n - emotion_HxP
    noise_HxP = _noise(prior, n, xp)
    scale_Hx1 = _between_scale(prior, deviation_HxP, noise_HxP, xp)
    probability_H = _hypothesis_probabilities(prior, enrolment, scale_Hx1[..., 0, 0], xp)
    between_HxP = scale_Hx1 * prior.between_P
    gain_HxP = between_HxP / xp.maximum(between_HxP + noise_HxP, MIN_VARIANCE)
    offset_P = (probability_H[..., None] * gain_HxP * deviation_HxP).sum(-2)
    return xp.where(count[..., 0] > 0, offset_P, 0)


def _noise(prior: SpeakerPrior, n, xp):
    """Returns noise_HxP, the variance of the mean of n utterances around a speaker's mean."""
    all_emotions_1xP = _variance_within_speaker(prior)[None] / n
    one_emotion_1xP = prior.utterance_P[None] / n + prior.interaction_P
    C = len(prior.emotion_CxP)
    return xp.concatenate([all_emotions_1xP, *[one_emotion_1xP] * C], -2)


def _variance_within_speaker(prior: SpeakerPrior):
    """Returns the variance_P of the utterances of a speaker, if all emotions are as frequent."""
    return prior.utterance_P + prior.interaction_P + (prior.emotion_CxP**2).mean(0)


def _between_scale(prior: SpeakerPrior, deviation_HxP, noise_HxP, xp):
    """Returns scale_Hx1, by which the variance between speakers exceeds that in training.

    The expectation of deviation² is scale * between + noise. The columns count equally; each is
    divided by its variance within a speaker.
    """
    unit_P = xp.maximum(_variance_within_speaker(prior), MIN_VARIANCE)
    between = xp.maximum((prior.between_P / unit_P).sum(), MIN_VARIANCE)
    scale_Hx1 = ((deviation_HxP**2 - noise_HxP) / unit_P).sum(-1, keepdims=True) / between
    # Of a sum of squares of normal variables whose columns are correlated.
    variance_HxP = ((prior.between_P + noise_HxP) / unit_P) ** 2
    columns = len(unit_P) / prior.dimensions
    error_Hx1 = xp.sqrt(2 * columns * variance_HxP.sum(-1, keepdims=True)) / between
    return xp.maximum(scale_Hx1 - SCALE_STANDARD_ERRORS * error_Hx1, 1)


def _hypothesis_probabilities(prior: SpeakerPrior, enrolment: Enrolment, scale, xp):
    """Returns probability_H of `all emotions` and of each single emotion, given the utterances."""
    n = xp.maximum(xp.asarray(enrolment.count), 1)[..., None, None]
    emotion_CxD = prior.emotion_CxP @ prior.direction_PxD
    C = len(emotion_CxD)
    mean_D = enrolment.sum_P @ prior.direction_PxD / n[..., 0]
    scatter_DxD = enrolment.products_DxD - n * mean_D[..., :, None] * mean_D[..., None, :]
    between_DxD = scale[..., None, None] * prior.between_DxD
    all_DxD = prior.within_DxD + emotion_CxD.T @ emotion_CxD / C
    single = (1 - PROBABILITY_OF_ALL_EMOTIONS) / C
    logs = []
    for within_DxD, centre_D, probability in (
        (all_DxD, xp.zeros_like(mean_D), PROBABILITY_OF_ALL_EMOTIONS),
        *[(prior.within_DxD, centre_D, single) for centre_D in emotion_CxD],
    ):
        spread = _log_density(scatter_DxD, within_DxD, n[..., 0, 0] - 1, xp)
        deviation_D = mean_D - centre_D
        outer_DxD = deviation_D[..., :, None] * deviation_D[..., None, :]
        position = _log_density(outer_DxD, between_DxD + within_DxD / n, 1, xp)
        logs.append(spread + position + float(np.log(probability)))
    log_H = xp.stack(logs, -1)
    weight_H = xp.exp(log_H - log_H.max(-1, keepdims=True))
    return weight_H / weight_H.sum(-1, keepdims=True)


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
    _, speaker_N = np.unique(speaker_N, return_inverse=True)
    _, emotion_N = np.unique(emotion_N, return_inverse=True)
    S, C = speaker_N.max() + 1, emotion_N.max() + 1
    cell_N = speaker_N * C + emotion_N
    cells, index_N, count_J = np.unique(cell_N, return_inverse=True, return_counts=True)
    J = len(cells)  # the pairs of speaker and emotion that occur
    cell_JxP = np.zeros((J, y_NxP.shape[1]))
    np.add.at(cell_JxP, index_N, y_NxP)
    cell_JxP /= count_J[:, None]
    speaker_J, emotion_J = cells // C, cells % C
    mean_P, speaker_SxP, emotion_CxP = _additive_means(cell_JxP, speaker_J, emotion_J)

    residual_JxP = cell_JxP - mean_P - speaker_SxP[speaker_J] - emotion_CxP[emotion_J]
    utterance_P = ((y_NxP - cell_JxP[index_N]) ** 2).sum(0) / max(len(y_NxP) - J, 1)
    # Of J cell means, S + C - 1 degrees of freedom are those of speakers and emotions.
    freedom = max(J - S - C + 1, 1) / J
    noise_P = utterance_P * freedom * (1 / count_J).mean()
    interaction_P = np.maximum((residual_JxP**2).mean(0) - noise_P, 0) / freedom
    # The variance of the mean over a speaker's cells that its utterances cause.
    cells_S = np.bincount(speaker_J, minlength=S)
    noise_of_mean = (np.bincount(speaker_J, 1 / count_J, S) / cells_S**2).mean()
    spread_P = (speaker_SxP**2).sum(0) / max(S - 1, 1)
    between_P = np.maximum(spread_P - noise_of_mean * utterance_P, 0)
    unit_P = np.maximum(
        utterance_P + interaction_P + (emotion_CxP**2).mean(0), MIN_VARIANCE
    )
    typical_P = unit_P * between_P.sum() / unit_P.sum()
    between_P = (1 - SMOOTHING) * between_P + SMOOTHING * typical_P

    deviation_NxP = y_NxP - mean_P - speaker_SxP[speaker_N] - emotion_CxP[emotion_N]
    direction_PxD = _discriminants(deviation_NxP, emotion_CxP, unit_P)
    z_NxD = deviation_NxP @ direction_PxD
    within_DxD = _with_ridge(z_NxD.T @ z_NxD / max(len(z_NxD) - S - C + 1, 1))
    z_SxD = speaker_SxP @ direction_PxD
    between_DxD = _with_ridge(z_SxD.T @ z_SxD / max(S - 1, 1))
    return SpeakerPrior(
        mean_P,
        emotion_CxP,
        between_P,
        utterance_P,
        interaction_P,
        direction_PxD,
        within_DxD,
        between_DxD,
        _independent_columns(deviation_NxP / np.sqrt(unit_P)),
    )


def _additive_means(cell_JxP, speaker_J, emotion_J) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean_P, speaker_SxP and emotion_CxP, whose sum fits the means of all cells."""
    S, C = speaker_J.max() + 1, emotion_J.max() + 1
    speaker_SxP = np.zeros((S, cell_JxP.shape[1]))
    emotion_CxP = np.zeros((C, cell_JxP.shape[1]))
    mean_P = cell_JxP.mean(0)
    for _ in range(ADDITIVE_ROUNDS):
        speaker_SxP = _group_means(cell_JxP - mean_P - emotion_CxP[emotion_J], speaker_J, S)
        emotion_CxP = _group_means(cell_JxP - mean_P - speaker_SxP[speaker_J], emotion_J, C)
        mean_P = mean_P + speaker_SxP.mean(0) + emotion_CxP.mean(0)
        speaker_SxP -= speaker_SxP.mean(0)
        emotion_CxP -= emotion_CxP.mean(0)
    return mean_P, speaker_SxP, emotion_CxP


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
    rows = np.linspace(0, len(deviation_NxP) - 1, min(len(deviation_NxP), MAX_DISCRIMINANT_ROWS))
    root_P = np.sqrt(unit_P)
    x_NxP = deviation_NxP[rows.astype(int)] / root_P
    emotion_PxC = (emotion_CxP / root_P).T
    N, P = x_NxP.shape
    weight = N * DISCRIMINANT_RIDGE / (1 - DISCRIMINANT_RIDGE)
    if P <= N:
        gram_PxP = x_NxP.T @ x_NxP + weight * np.eye(P)
        solution_PxC = linalg.solve(gram_PxP, N / (1 - DISCRIMINANT_RIDGE) * emotion_PxC, assume_a='pos')
    else:
        gram_NxN = x_NxP @ x_NxP.T + weight * np.eye(N)
        inner_NxC = linalg.solve(gram_NxN, x_NxP @ emotion_PxC, assume_a='pos')
        solution_PxC = (emotion_PxC - x_NxP.T @ inner_NxC) / DISCRIMINANT_RIDGE
    variance_C, vector_CxC = np.linalg.eigh(emotion_PxC.T @ solution_PxC)
    largest = slice(1, C)  # the smallest is 0, as the emotions' means add up to 0
    length_D = np.sqrt(np.maximum(variance_C[largest], MIN_VARIANCE))
    return solution_PxC @ vector_CxC[:, largest] / length_D / root_P[:, None]


def _with_ridge(covariance_DxD: np.ndarray) -> np.ndarray:
    """Returns the covariance, moved towards equal variances so that it can be inverted."""
    D = len(covariance_DxD)
    variance = np.trace(covariance_DxD) / max(D, 1) + MIN_VARIANCE
    return (1 - COVARIANCE_RIDGE) * covariance_DxD + COVARIANCE_RIDGE * variance * np.eye(D)


def _independent_columns(x_NxP: np.ndarray) -> float:
    """Returns trace(R)² / trace(R²) of the covariance R: P if all columns are independent."""
    x_NxP = x_NxP[:MAX_DISCRIMINANT_ROWS]
    product = x_NxP @ x_NxP.T if len(x_NxP) < x_NxP.shape[1] else x_NxP.T @ x_NxP
    return float(np.trace(product) ** 2 / max((product**2).sum(), MIN_VARIANCE))

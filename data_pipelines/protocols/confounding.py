"""Measures how much information speaker, corpus and language contain about the emotion."""

import math

import numpy as np

from data_pipelines.protocols.folds import PARTS, Fold, rows_of_parts
from data_pipelines.storage.schema import Utterances

# The largest share of the emotion's entropy, beyond chance, of each level of confounding. The
# limits are this project's choice.
CONFOUNDING_LEVELS = ((0.02, 'none'), (0.2, 'weak'), (1.0, 'strong'))


def emotion_information(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns how much information speaker, corpus and language contain about the emotion.

    Corpus and language are left out if there is only one. With several corpora, the speakers within
    each corpus are measured too.
    """
    rows = rows_of_parts(folds, PARTS)
    rows = rows[utterances.text['emotion'][rows] != '']
    speaker_N = utterances.text['speaker'][rows]
    corpus_N = utterances.text['corpus'][rows]
    language_N = utterances.text['language'][rows]
    emotion_N = utterances.text['emotion'][rows]
    is_known_N = speaker_N != ''
    information = {'speaker': measure_confounding(speaker_N[is_known_N], emotion_N[is_known_N])}
    corpora = np.unique(corpus_N).tolist()
    if len(corpora) > 1:
        for corpus in corpora:
            mask_N = is_known_N & (corpus_N == corpus)
            name = f'speaker in {corpus}'
            information[name] = measure_confounding(speaker_N[mask_N], emotion_N[mask_N])
        information['corpus'] = measure_confounding(corpus_N, emotion_N)
    if len(np.unique(language_N)) > 1:
        information['language'] = measure_confounding(language_N, emotion_N)
    return information


def measure_confounding(domain_N: np.ndarray, emotion_N: np.ndarray) -> dict:
    """Returns the mutual information of domain and emotion, and its chance level.

    All in bits: 'bits' is I(domain; emotion), 'chance' its expectation for the same counts if the
    two are independent, 'of' is H(emotion). An estimate from counts is too high, most of all for
    domains with few utterances. 'share' corrects this: (bits - chance) / (of - chance). 'word' is
    the level of confounding.
    """
    _, domain_N = np.unique(domain_N, return_inverse=True)
    _, emotion_N = np.unique(emotion_N, return_inverse=True)
    chance = chance_information(domain_N, emotion_N)
    bits = mutual_information(domain_N, emotion_N)
    total = entropy(emotion_N)
    share = 0.0
    if total - chance > 1e-9:
        share = max(0.0, bits - chance) / (total - chance)
    return {
        'bits': round(bits, 4),
        'chance': round(chance, 4),
        'of': round(total, 4),
        'share': round(share, 4),
        'word': _confounding_level(share),
    }


def _confounding_level(share: float) -> str:
    """Returns the word for a share of the emotion's entropy."""
    for limit, level in CONFOUNDING_LEVELS:
        if share <= limit:
            return level
    return CONFOUNDING_LEVELS[-1][1]


def chance_information(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Returns the expected mutual information in bits, where one of two columns is shuffled.

    This is the adjustment for chance of Vinh, Epps, Bailey (2010), Information theoretic measures
    for clusterings comparison, JMLR 11.
    """
    N = len(x_N)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, N + 1)))])
    nats = 0.0
    for x_count, x_values in _count_sizes(x_N):
        for y_count, y_values in _count_sizes(y_N):
            # The number of rows with both values has a hypergeometric distribution.
            both = np.arange(max(1, x_count + y_count - N), min(x_count, y_count) + 1)
            log_probability = (
                log_factorial[[x_count, y_count, N - x_count, N - y_count]].sum()
                - log_factorial[N]
                - log_factorial[both]
                - log_factorial[x_count - both]
                - log_factorial[y_count - both]
                - log_factorial[N - x_count - y_count + both]
            )
            information = both / N * np.log(N * both / (x_count * y_count))
            expected = (np.exp(log_probability) * information).sum()
            nats += x_values * y_values * float(expected)
    return max(0.0, nats / math.log(2))


def _count_sizes(x_N: np.ndarray) -> list[tuple[int, int]]:
    """Returns (rows of a value, number of such values), for values that occur."""
    count = np.bincount(x_N)
    sizes, values = np.unique(count[count > 0], return_counts=True)
    return list(zip(sizes.tolist(), values.tolist()))


def mutual_information(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Returns the mutual information in bits of two columns of small integers."""
    joint_N = x_N * (y_N.max(initial=0) + 1) + y_N
    return max(0.0, entropy(x_N) + entropy(y_N) - entropy(joint_N))


def entropy(x_N: np.ndarray) -> float:
    """Returns the entropy in bits of a column of small integers."""
    count = np.bincount(x_N)
    p = count[count > 0] / max(len(x_N), 1)
    return float(-(p * np.log2(p)).sum()) + 0.0  # + 0.0 turns -0.0 into 0.0

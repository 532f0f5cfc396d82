"""Random samples of the questions that are too large to fit attackers on all of their utterances.

The time and memory of an attacker grow with utterances times classes. A question with more than
MAX_CLASSES classes is therefore asked about MAX_CLASSES of them, chosen at random. At most
MAX_FITTED of their utterances fit the attackers, at most MAX_TESTED choose the settings, and at
most MAX_TESTED are tested (of a crossed question: in each half). Each class has the same number of
utterances, or all that it has. Smaller questions are asked as they are.

The sample depends only on the seed, the fold and the question. It is the same for all runs of a
fold and for all attackers, so that their recalls can be compared speaker by speaker.
"""

import hashlib

import numpy as np

MAX_CLASSES = 128
MAX_FITTED = 8192
MAX_TESTED = 4096

SAMPLING_STREAM = 3  # separates these random numbers from those that split the question


def sampling_random(seed: int, fold_number: int, question: str) -> np.random.Generator:
    """Returns the random generator of a question's sample."""
    return np.random.default_rng((seed, fold_number, SAMPLING_STREAM, *question.encode()))


def sample_classes(
    class_K: np.ndarray, tested_classes: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Returns at most MAX_CLASSES of the classes, ascending; first of all those that are tested."""
    if len(class_K) <= MAX_CLASSES:
        return class_K
    shuffled_K = random.permutation(class_K)
    is_tested_K = np.isin(shuffled_K, tested_classes)
    by_priority_K = np.concatenate([shuffled_K[is_tested_K], shuffled_K[~is_tested_K]])
    return np.sort(by_priority_K[:MAX_CLASSES])


def sample_rows(
    rows: np.ndarray, label_N: np.ndarray, limit: int, random: np.random.Generator
) -> np.ndarray:
    """Returns at most `limit` of the rows, in their order: equally many of each class, or all."""
    if len(rows) <= limit:
        return rows
    order = random.permutation(len(rows))
    order = order[np.argsort(label_N[rows[order]], kind='stable')]
    count_K = np.unique(label_N[rows], return_counts=True)[1]
    number_N = np.arange(len(rows)) - np.repeat(np.cumsum(count_K) - count_K, count_K)
    chosen = order[number_N < class_allowance(count_K, limit)]
    return rows[np.sort(chosen)]


def class_allowance(count_K: np.ndarray, limit: int) -> int:
    """Returns the largest number of examples that each class may have without exceeding the limit.

    `count_K` has the number of examples of every class; a smaller class has all of its examples.
    """
    classes_by_size = len(count_K) - np.cumsum(np.bincount(count_K))[:-1]
    total_by_allowance = np.cumsum(classes_by_size)  # of allowance 1, 2, ...
    return int(np.searchsorted(total_by_allowance, limit, side='right'))


def sample_sha256(utterance_N: np.ndarray, *parts: np.ndarray) -> str:
    """Returns the hash of the names of the utterances of the parts, whatever their order."""
    digest = hashlib.sha256()
    for rows in parts:
        names = np.sort(utterance_N[rows].astype(str))
        digest.update('\n'.join(names.tolist()).encode() + b'\n\n')
    return digest.hexdigest()

"""Random samples of the questions that are too large to fit attackers on all of their utterances.

What an attacker computes grows with utterances times classes. A question with more than MAX_CLASSES
classes is therefore asked about so many of them, chosen at random. Of these, at most MAX_FITTED
utterances fit the attackers, at most MAX_TESTED choose their settings, and at most MAX_TESTED are
tested (of a crossed question: in each half). Each class has the same number of them, or all that it
has. Smaller questions are asked as they are.

The sample depends only on the seed, the fold and the question: all runs and all attackers have the
same one, so that their recalls can be compared speaker by speaker.
"""

import hashlib

import numpy as np

MAX_CLASSES = 128
MAX_FITTED = 8192
MAX_TESTED = 4096

SAMPLING_STREAM = 3  # a random stream apart from those of the questions, which go on with letters


def sampling_random(seed: int, fold_number: int, question: str) -> np.random.Generator:
    """Returns the random numbers of a question's sample."""
    return np.random.default_rng((seed, fold_number, SAMPLING_STREAM, *question.encode()))


def sample_classes(class_K: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns at most MAX_CLASSES of the classes, ascending."""
    if len(class_K) <= MAX_CLASSES:
        return class_K
    return np.sort(random.permutation(class_K)[:MAX_CLASSES])


def sample_rows(
    rows: np.ndarray, label_N: np.ndarray, limit: int, random: np.random.Generator
) -> np.ndarray:
    """Returns at most `limit` of the rows, in their order; as many of each class as possible."""
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

"""Finds recordings that occur more than once, by hashes and signatures of their audio."""

import collections
import itertools
import math
from typing import NamedTuple

import numpy as np

from data_pipelines.protocols.folds import Fold
from data_pipelines.protocols.overlap import MAX_EXAMPLES, first_row, presence_by_part
from data_pipelines.speaker_names import identity_keys
from data_pipelines.storage.schema import Utterances

# Two signatures are of one recording if their inner product is at least COPY_SIMILARITY and the
# logarithms of their lengths differ by at most MAX_LOG_LENGTH_DIFFERENCE. data_pipelines/audit.py
# says how the limits were set.
COPY_SIMILARITY = 0.96
MAX_LOG_LENGTH_DIFFERENCE = 0.03

BLOCK_SIZE = 512  # signatures compared at a time with BLOCK_RATIO times as many
BLOCK_RATIO = 8

MAX_COPY_SIMILARITY = 0.9999  # the largest stated similarity of recordings that are not identical


class Recordings(NamedTuple):
    """The recordings of the utterances; utterances with identical samples have one recording."""

    count: int  # K
    index_N: np.ndarray  # of each utterance
    used_rows: np.ndarray  # the utterances in any part of any fold
    near_Px2: np.ndarray  # pairs of recordings in use that are nearly identical


def find_recordings(utterances: Utterances, used_rows: np.ndarray) -> Recordings:
    """Returns the recordings, by the hashes of their samples; without a hash each is its own."""
    hash_N = utterances.text['sha256']
    row_names = np.arange(len(utterances)).astype(str)
    hash_N = np.where(hash_N == '', row_names, hash_N)
    _, first_K, index_N = np.unique(hash_N, return_index=True, return_inverse=True)
    near_Px2, _ = find_near_duplicates(utterances.signature_NxS[first_K])
    is_used_P = np.isin(near_Px2, index_N[used_rows]).all(axis=1)
    return Recordings(len(first_K), index_N, used_rows, near_Px2[is_used_P])


def shared_recordings(
    utterances: Utterances,
    folds: list[Fold],
    part_pairs: list[tuple[str, str]],
    recordings: Recordings,
) -> tuple[dict, dict]:
    """Returns the recordings that two parts of a fold share, and other duplicates.

    The latter are recordings that occur twice, but never in two compared parts of a fold.
    """
    # Each recording with itself (identical copies), then the nearly identical pairs.
    itself_Kx2 = np.repeat(np.arange(recordings.count), 2).reshape(-1, 2)
    pairs_Px2 = np.concatenate([itself_Kx2, recordings.near_Px2])
    leaks_P = np.zeros(len(pairs_Px2), bool)
    fold_numbers = set()
    examples = []
    for fold in folds:
        present = presence_by_part(fold, recordings.index_N, recordings.count)
        for part, other in part_pairs:
            in_order_P = present[part][pairs_Px2[:, 0]] & present[other][pairs_Px2[:, 1]]
            reversed_P = present[part][pairs_Px2[:, 1]] & present[other][pairs_Px2[:, 0]]
            crosses_P = in_order_P | reversed_P
            for p in np.flatnonzero(crosses_P & ~leaks_P)[: MAX_EXAMPLES - len(examples)]:
                first, second = pairs_Px2[p] if in_order_P[p] else pairs_Px2[p, ::-1]
                row = first_row(getattr(fold, part), recordings.index_N, first)
                other_row = first_row(getattr(fold, other), recordings.index_N, second)
                example = {'fold': fold.name, 'parts': [part, other]}
                examples.append(example | describe_pair(utterances, row, other_row))
            leaks_P |= crosses_P
            if crosses_P.any():
                fold_numbers.add(fold.number)
    exact_leaks_K = leaks_P[: recordings.count]
    near_leaks_P = leaks_P[recordings.count :]
    shared = {
        'exact': int(exact_leaks_K.sum()),
        'near': int(near_leaks_P.sum()),
        'in_folds': len(fold_numbers),
        'examples': examples,
    }
    return shared, _duplicates_within_parts(utterances, recordings, exact_leaks_K, near_leaks_P)


def _duplicates_within_parts(
    utterances: Utterances, recordings: Recordings, leaks_K: np.ndarray, near_leaks_P: np.ndarray
) -> dict:
    """Returns the duplicates that are no leak: identical and nearly identical recordings."""
    used_rows = recordings.used_rows
    used_index = recordings.index_N[used_rows]
    copies_K = np.bincount(used_index, minlength=recordings.count)
    further_K = np.where(leaks_K, 0, np.maximum(copies_K - 1, 0))
    near_Px2 = recordings.near_Px2[~near_leaks_P]
    examples = []
    for k in np.flatnonzero(further_K)[:MAX_EXAMPLES]:
        rows = used_rows[used_index == k]
        examples.append(describe_pair(utterances, rows[0], rows[1]))
    for a, b in near_Px2[: MAX_EXAMPLES - len(examples)]:
        first = first_row(used_rows, recordings.index_N, a)
        second = first_row(used_rows, recordings.index_N, b)
        examples.append(describe_pair(utterances, first, second))
    return {'exact': int(further_K.sum()), 'near': len(near_Px2), 'examples': examples}


def find_same_persons(utterances: Utterances, recordings: Recordings) -> list[dict]:
    """Returns the pairs of known speakers of whom identical recordings are listed.

    Each has the two 'speakers' and the number of 'identical' recordings; the most come first, at
    most ten pairs. Spellings of one name count as one speaker.
    """
    rows = recordings.used_rows
    names = utterances.text['speaker'][rows]
    keys = identity_keys(names, utterances.text['corpus'][rows]).tolist()
    first_name: dict[str, str] = {}
    speakers_of: dict[int, set[str]] = {}
    for recording, key, name in zip(recordings.index_N[rows].tolist(), keys, names.tolist()):
        if key:
            first_name.setdefault(key, name)
            speakers_of.setdefault(recording, set()).add(key)
    counts: collections.Counter = collections.Counter()
    for speakers in speakers_of.values():
        counts.update(itertools.combinations(sorted(speakers), 2))
    persons = []
    for pair, count in counts.most_common(MAX_EXAMPLES):
        persons.append({'speakers': [first_name[key] for key in pair], 'identical': count})
    return persons


def describe_pair(utterances: Utterances, row: int, other: int) -> dict:
    """Returns two utterances of one recording, how similar they are, and which labels differ.

    'alike' is 1 only for identical samples; otherwise it is rounded down and below 1.
    """
    text = utterances.text
    is_identical = row == other or text['sha256'][row] == text['sha256'][other] != ''
    similarity = 1.0
    if not is_identical:
        signature = utterances.signature_NxS[row, 1:].astype(float)
        correlation = float(signature @ utterances.signature_NxS[other, 1:])
        similarity = min(math.floor(1e4 * correlation) / 1e4, MAX_COPY_SIMILARITY)
    columns = ('speaker', 'emotion', 'corpus')
    return {
        'utterances': [str(text['utterance'][row]), str(text['utterance'][other])],
        'alike': similarity,
        'differ': [column for column in columns if text[column][row] != text[column][other]],
    }


def find_near_duplicates(signature_NxS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns near_Px2, pairs of rows whose signatures are of one recording, and similarity_P.

    The smaller row comes first. Only signatures of similar lengths are compared, in blocks: 20 to
    30 s for 150,000 utterances on two busy CPU cores.
    """
    length_N = np.log(np.maximum(signature_NxS[:, 0].astype(float), 1.0))
    order = np.argsort(length_N, kind='stable')
    length_N = length_N[order]
    grid_NxS = signature_NxS[order, 1:].astype(np.float32)
    pairs = [np.zeros((0, 2), int)]
    similarities = [np.zeros(0, np.float32)]
    for start in range(0, len(order), BLOCK_SIZE):
        block = grid_NxS[start : start + BLOCK_SIZE]
        longest = length_N[start + len(block) - 1] + MAX_LOG_LENGTH_DIFFERENCE
        end = np.searchsorted(length_N, longest, 'right')
        for other in range(start, end, BLOCK_RATIO * BLOCK_SIZE):
            others = grid_NxS[other : min(other + BLOCK_RATIO * BLOCK_SIZE, end)]
            product = block @ others.T
            i, j = np.nonzero(product >= COPY_SIMILARITY)
            difference = length_N[other + j] - length_N[start + i]
            keep = (other + j > start + i) & (difference <= MAX_LOG_LENGTH_DIFFERENCE)
            i = i[keep]
            j = j[keep]
            rows_Px2 = np.stack([order[start + i], order[other + j]], axis=1)
            pairs.append(np.sort(rows_Px2, axis=1))
            similarities.append(product[i, j])
    near_Px2 = np.concatenate(pairs)
    sorted_P = np.lexsort(near_Px2.T[::-1])
    return near_Px2[sorted_P], np.concatenate(similarities)[sorted_P]


def format_pair(pair: dict) -> str:
    """Returns 'a = b' for identical recordings, 'a ~ (0.9876) b' for nearly identical ones.

    Labels in which the two differ are named.
    """
    first, second = pair['utterances']
    if pair['alike'] == 1:
        sign = '='
    elif pair['alike'] < MAX_COPY_SIMILARITY:
        sign = f'~ ({pair["alike"]:.4f})'
    else:
        sign = f'~ (> {MAX_COPY_SIMILARITY})'
    differences = ''
    if pair['differ']:
        differences = f', labelled with different {" and ".join(pair["differ"])}'
    return f'{first} {sign} {second}{differences}'

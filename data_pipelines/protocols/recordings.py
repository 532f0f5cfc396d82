"""Finds recordings that occur more than once, by hashes and signatures of their audio."""

import collections
import itertools
from typing import NamedTuple

import numpy as np

from data_pipelines.protocols.folds import ALL_PARTS, Fold
from data_pipelines.protocols.overlap import MAX_EXAMPLES, first_row
from data_pipelines.speaker_names import identity_keys
from data_pipelines.storage.near_duplicates import find_stored_duplicates
from data_pipelines.storage.schema import Utterances

MAX_COPY_SIMILARITY = 0.9999  # the largest stated similarity of recordings that are not identical

COMPARED_COLUMNS = ('speaker', 'emotion', 'corpus')

PART_BITS = {part: 1 << number for number, part in enumerate(ALL_PARTS)}

PAIR_CHUNK = 2**14  # pairs whose signatures are read at once


class Recordings(NamedTuple):
    """The recordings of the utterances; utterances with identical samples have one recording."""

    count: int  # K
    index_N: np.ndarray  # of each utterance
    used_rows: np.ndarray  # the utterances in any part of any fold
    near_Px2: np.ndarray  # pairs of recordings in use that are nearly identical


def find_recordings(utterances: Utterances, used_rows: np.ndarray) -> Recordings:
    """Returns the recordings, by the hashes of their samples; without a hash each is its own."""
    hash_N = utterances.text['sha256']
    is_unknown_N = hash_N == ''
    if is_unknown_N.any():
        row_names = np.arange(len(utterances)).astype(str)
        hash_N = np.where(is_unknown_N, row_names, hash_N)
    _, first_K, index_N = np.unique(hash_N, return_index=True, return_inverse=True)
    near_Px2 = find_stored_duplicates(utterances, first_K)
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
    exact_leaks_K = np.zeros(recordings.count, bool)
    near_leaks_P = np.zeros(len(recordings.near_Px2), bool)
    fold_numbers = set()
    examples: list[dict] = []
    for fold in folds:
        parts_K = parts_of_values(fold, recordings.index_N, recordings.count)
        parts_Px2 = parts_K[recordings.near_Px2]
        for part, other in part_pairs:
            both = PART_BITS[part] | PART_BITS[other]
            exact_K = (parts_K & both) == both
            in_order_P, reversed_P = cross_masks(parts_Px2, part, other)
            near_P = in_order_P | reversed_P
            if not (exact_K.any() or near_P.any()):
                continue
            fold_numbers.add(fold.number)
            # Each recording with itself (identical copies), then the nearly identical pairs.
            new_K = np.flatnonzero(exact_K & ~exact_leaks_K)[: MAX_EXAMPLES - len(examples)]
            pairs = [(k, k) for k in new_K.tolist()]
            new_P = np.flatnonzero(near_P & ~near_leaks_P)[: MAX_EXAMPLES - len(examples)]
            for p in new_P.tolist():
                pair = recordings.near_Px2[p].tolist()
                pairs.append(tuple(pair if in_order_P[p] else pair[::-1]))
            for first, second in pairs[: MAX_EXAMPLES - len(examples)]:
                row = first_row(getattr(fold, part), recordings.index_N, first)
                other_row = first_row(getattr(fold, other), recordings.index_N, second)
                example = {'fold': fold.name, 'parts': [part, other]}
                examples.append(example | describe_pair(utterances, row, other_row))
            exact_leaks_K |= exact_K
            near_leaks_P |= near_P
    shared = {
        'exact': int(exact_leaks_K.sum()),
        'near': int(near_leaks_P.sum()),
        'in_folds': len(fold_numbers),
        'examples': examples,
    }
    return shared, _duplicates_within_parts(utterances, recordings, exact_leaks_K, near_leaks_P)


def parts_of_values(fold: Fold, index_N: np.ndarray, count: int) -> np.ndarray:
    """Returns parts_K, for each of `count` indices the PART_BITS of the parts that have it."""
    parts_K = np.zeros(count, np.uint8)
    for part, bit in PART_BITS.items():
        parts_K[index_N[getattr(fold, part)]] |= bit
    return parts_K


def cross_masks(parts_Px2: np.ndarray, part: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns two masks of pairs that are in both parts.

    The first is of pairs whose first value is in `part` and whose second is in `other`; the second
    is of pairs in the reverse order.
    """
    is_in_part_Px2 = (parts_Px2 & PART_BITS[part]) > 0
    is_in_other_Px2 = (parts_Px2 & PART_BITS[other]) > 0
    crosses_Px2 = is_in_part_Px2 & is_in_other_Px2[:, ::-1]
    return crosses_Px2[:, 0], crosses_Px2[:, 1]


def leak_table(part_pairs: list[tuple[str, str]]) -> np.ndarray:
    """Returns is_leak_AxB: whether values with these PART_BITS are in two parts of `part_pairs`."""
    parts = np.arange(1 << len(PART_BITS))
    is_leak_AxB = np.zeros((len(parts), len(parts)), bool)
    for part, other in part_pairs:
        crosses_AxB = np.outer(parts & PART_BITS[part], parts & PART_BITS[other]) > 0
        is_leak_AxB |= crosses_AxB | crosses_AxB.T
    return is_leak_AxB


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
    copies_K = np.bincount(recordings.index_N[rows], minlength=recordings.count)
    if (copies_K < 2).all():
        return []
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
    return describe_pairs(utterances, np.array([[row, other]]))[0]


def describe_pairs(utterances: Utterances, pairs_Px2: np.ndarray) -> list[dict]:
    """Returns what `describe_pair` says of each pair of rows."""
    text = utterances.text
    similarity = _pair_similarity(utterances, pairs_Px2).tolist()
    differs_CxP = np.array(
        [text[key][pairs_Px2[:, 0]] != text[key][pairs_Px2[:, 1]] for key in COMPARED_COLUMNS]
    )
    names = text['utterance'][pairs_Px2].tolist()
    descriptions = []
    for pair, alike, differs_C in zip(names, similarity, differs_CxP.T.tolist()):
        differ = [key for key, differs in zip(COMPARED_COLUMNS, differs_C) if differs]
        descriptions.append({'utterances': pair, 'alike': alike, 'differ': differ})
    return descriptions


def _pair_similarity(utterances: Utterances, pairs_Px2: np.ndarray) -> np.ndarray:
    """Returns 1 for identical samples, else a similarity below 1, rounded down."""
    first_P, second_P = pairs_Px2.T
    hash_N = utterances.text['sha256']
    is_identical_P = (hash_N[first_P] == hash_N[second_P]) & (hash_N[first_P] != '')
    is_identical_P |= first_P == second_P
    similarity_P = np.ones(len(pairs_Px2))
    near = np.flatnonzero(~is_identical_P)
    for start in range(0, len(near), PAIR_CHUNK):
        part = near[start : start + PAIR_CHUNK]
        first_CxS = utterances.signature_NxS[first_P[part], 1:].astype(float)
        second_CxS = utterances.signature_NxS[second_P[part], 1:].astype(float)
        correlation_C = np.einsum('CS,CS->C', first_CxS, second_CxS)
        rounded_C = np.floor(1e4 * correlation_C) / 1e4
        similarity_P[part] = np.minimum(rounded_C, MAX_COPY_SIMILARITY)
    return similarity_P


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

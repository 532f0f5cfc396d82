"""Leaves out copies of recordings (config.protocol.drop_copies), and lists them (--duplicates)."""

import os
from typing import NamedTuple

import numpy as np

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from data_pipelines.features.signature_search import (
    MAX_COPIES,
    find_near_duplicates,
    is_complete,
)
from data_pipelines.protocols.folds import Fold, identity_mask
from data_pipelines.protocols.overlap import MAX_EXAMPLES
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.recordings import (
    Recordings,
    describe_pairs,
    find_recordings,
    leak_table,
    parts_of_values,
)
from data_pipelines.storage.schema import Utterances

# Where an official split has copies in two parts, the first of these keeps its recording.
OFFICIAL_ORDER = {'train': 0, 'dev': 1}

CSV_COLUMNS = (
    'utterance',
    'copy',
    'similarity',
    'speaker',
    'speaker_of_copy',
    'emotion',
    'emotion_of_copy',
    'leaks',
    'left_out',
)


class DroppedCopies(NamedTuple):
    """The copies that a split leaves out."""

    findings: dict  # what results.json says about them
    rows: list[dict]  # a row of the CSV for each


NO_COPIES = DroppedCopies({}, [])


def drop_copies(utterances: Utterances, protocol: Protocol) -> tuple[Utterances, DroppedCopies]:
    """Returns one of each group of copies of a recording, and what is left out.

    Copies are identical or nearly identical recordings, as the audit finds them. The choice does
    not depend on the folds, and never favours test: of an official split the training part keeps
    its recording, then dev; of source and target the source; and an identity corpus loses its own.
    Otherwise the first in the stored order is kept, of known speakers if there are any. A copy of a
    copy is kept if the audit does not find it to be a copy of the kept recording.
    """
    every_row = np.arange(len(utterances))
    recordings = find_recordings(utterances, every_row)
    order = _keeping_order(utterances, protocol)
    _, place_K = np.unique(recordings.index_N[order], return_index=True)
    first_K = order[place_K]  # of each recording
    kept_N = first_K[_keep_one(utterances, recordings, first_K, place_K)][recordings.index_N]
    dropped = np.flatnonzero(kept_N != every_row)
    pairs_Px2 = np.stack([kept_N[dropped], dropped], axis=1)
    pairs = describe_pairs(utterances, pairs_Px2)
    rows = _csv_rows(utterances, pairs_Px2, pairs)
    for row in rows:
        row['left_out'] = 'yes'
    findings = {
        'utterances': len(dropped),
        'identical': sum([pair['alike'] == 1 for pair in pairs]),
        'other_labels': sum([bool(pair['differ']) for pair in pairs]),
        'examples': pairs[:MAX_EXAMPLES],
    }
    remaining = utterances[np.setdiff1d(every_row, dropped)]
    return remaining, DroppedCopies(findings, rows)


def _keep_one(
    utterances: Utterances, recordings: Recordings, first_K: np.ndarray, rank_K: np.ndarray
) -> np.ndarray:
    """Returns kept_K: for each recording the one that is kept in its place, itself or a near one.

    `first_K` has a row of each, and of two the one with the lower rank is kept. If a recording has
    so many copies that not all pairs are found at once, the kept recordings are searched again.
    """
    kept_K = np.arange(recordings.count)
    near_Px2 = recordings.near_Px2
    while len(near_Px2):
        is_in_order_P = rank_K[near_Px2[:, 0]] < rank_K[near_Px2[:, 1]]
        first_P, second_P = np.where(is_in_order_P, near_Px2.T, near_Px2.T[::-1])
        order = np.lexsort((rank_K[first_P], rank_K[second_P]))
        dropped: dict[int, int] = {}
        pairs = zip(first_P[order].tolist(), second_P[order].tolist())
        for kept, copy in pairs:  # what precedes a copy has been decided
            if kept not in dropped:
                dropped.setdefault(copy, kept)
        kept_K[list(dropped)] = list(dropped.values())
        # Kept again, and searched again: copies whose kept one has now been left out itself.
        is_kept_again_K = kept_K[kept_K] != kept_K
        kept_K[is_kept_again_K] = np.flatnonzero(is_kept_again_K)
        if is_complete(near_Px2) and not is_kept_again_K.any():
            break
        remaining = np.flatnonzero(kept_K == np.arange(recordings.count))
        near_Px2 = remaining[find_near_duplicates(utterances.signature_NxS[first_K[remaining]])]
    return kept_K


def _keeping_order(utterances: Utterances, protocol: Protocol) -> np.ndarray:
    """Returns all rows, those first whose recording is kept."""
    preference_N = np.zeros(len(utterances), int)
    if protocol.name == 'official':
        last = len(OFFICIAL_ORDER)
        splits = utterances.text['split'].tolist()
        preference_N = np.array([OFFICIAL_ORDER.get(part, last) for part in splits])
        is_tested_N = utterances.text['split'] == protocol.test
        preference_N += (preference_N == last) & ~is_tested_N  # parts that are not used
    elif protocol.name == 'source_target':
        preference_N = np.isin(utterances.text['corpus'], protocol.target).astype(int)
    is_identity_N = identity_mask(utterances, protocol.identity)
    is_unknown_N = utterances.text['speaker'] == ''  # most protocols use known speakers only
    return np.lexsort((is_unknown_N, preference_N, is_identity_N))


def find_copy_pairs(utterances: Utterances, used_rows: np.ndarray) -> np.ndarray:
    """Returns pairs_Px2 of rows whose recordings are identical or nearly identical.

    Of up to MAX_COPIES identical recordings each is paired with every other one, and of more with
    the next MAX_COPIES. So all that have a copy are in some pair.
    """
    recordings = find_recordings(utterances, used_rows)
    index_N = recordings.index_N[used_rows]
    order = np.argsort(index_N, kind='stable')
    count_K = np.bincount(index_N, minlength=recordings.count)
    start_K = np.cumsum(count_K) - count_K
    end_N = (start_K + count_K)[index_N[order]]
    first_N = np.arange(len(order))
    identical_Px2 = _all_pairs(first_N, np.minimum(end_N - first_N - 1, MAX_COPIES), first_N + 1)
    # Those of two recordings that are nearly identical: each of the first with each of the second.
    first_P, second_P = recordings.near_Px2.T
    listed_K = np.minimum(count_K, MAX_COPIES)
    expanded_Px2 = _all_pairs(np.arange(len(first_P)), listed_K[first_P], start_K[first_P])
    pair_Q, first_Q = expanded_Px2.T
    near_Px2 = _all_pairs(first_Q, listed_K[second_P[pair_Q]], start_K[second_P[pair_Q]])
    pairs_Px2 = used_rows[order[np.concatenate([identical_Px2, near_Px2])]]
    return np.sort(pairs_Px2, axis=1)


def _all_pairs(value_N: np.ndarray, count_N: np.ndarray, start_N: np.ndarray) -> np.ndarray:
    """Returns pairs_Px2, of each value with `count` numbers from `start`."""
    begin_N = np.cumsum(count_N) - count_N
    number_P = np.arange(count_N.sum()) + np.repeat(start_N - begin_N, count_N)
    return np.stack([np.repeat(value_N, count_N), number_P], axis=1)


def _csv_rows(utterances: Utterances, pairs_Px2: np.ndarray, pairs: list[dict]) -> list[dict]:
    """Returns the rows of the CSV for pairs of a recording and its copy.

    `pairs` are the descriptions of the pairs of rows.
    """
    speakers = utterances.text['speaker'][pairs_Px2].tolist()
    emotions = utterances.text['emotion'][pairs_Px2].tolist()
    rows = []
    for pair, speaker, emotion in zip(pairs, speakers, emotions):
        row = {
            'utterance': pair['utterances'][0],
            'copy': pair['utterances'][1],
            'similarity': pair['alike'],
            'speaker': speaker[0],
            'speaker_of_copy': speaker[1],
            'emotion': emotion[0],
            'emotion_of_copy': emotion[1],
            'leaks': '',
            'left_out': '',
        }
        rows.append(row)
    return rows


def list_duplicates(
    utterances: Utterances,
    folds: list[Fold],
    part_pairs: list[tuple[str, str]],
    used_rows: np.ndarray,
) -> list[dict]:
    """Returns a row of the CSV for each pair of copies.

    'leaks' is 'yes' where the two are in different parts of `part_pairs` in any fold.
    """
    pairs_Px2 = find_copy_pairs(utterances, used_rows)
    if not len(pairs_Px2):
        return []
    leaks_P = np.zeros(len(pairs_Px2), bool)
    is_leak_AxB = leak_table(part_pairs)
    every_row = np.arange(len(utterances))
    for fold in folds:
        parts_N = parts_of_values(fold, every_row, len(utterances))
        leaks_P |= is_leak_AxB[parts_N[pairs_Px2[:, 0]], parts_N[pairs_Px2[:, 1]]]
    rows = _csv_rows(utterances, pairs_Px2, describe_pairs(utterances, pairs_Px2))
    for row in np.flatnonzero(leaks_P).tolist():
        rows[row]['leaks'] = 'yes'
    return rows


def write_duplicates(path: str | os.PathLike, rows: list[dict]) -> None:
    """Writes the CSV; UserError if it cannot be written."""
    try:
        csv_files.write_rows(path, rows, CSV_COLUMNS)
    except OSError as error:
        raise UserError(
            f'{path} cannot be written ({error.strerror}). Name another file with --duplicates.'
        ) from None

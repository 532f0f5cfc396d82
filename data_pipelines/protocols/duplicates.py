"""Leaves out copies of recordings (config.protocol.drop_copies), and lists them (--duplicates)."""

import os
from typing import NamedTuple

import numpy as np

from data_pipelines import csv_files
from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold, identity_mask
from data_pipelines.protocols.overlap import MAX_EXAMPLES, presence_by_part
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.recordings import describe_pair, find_recordings
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
    pairs_Px2 = find_copy_pairs(utterances, np.arange(len(utterances)))
    rank_N = np.empty(len(utterances), int)
    rank_N[_keeping_order(utterances, protocol)] = np.arange(len(utterances))
    is_in_order_P = rank_N[pairs_Px2[:, 0]] < rank_N[pairs_Px2[:, 1]]
    pairs_Px2 = np.where(is_in_order_P[:, None], pairs_Px2, pairs_Px2[:, ::-1])
    first_P, second_P = pairs_Px2.T
    order = np.lexsort((rank_N[first_P], rank_N[second_P]))
    kept_of_dropped: dict[int, int] = {}
    for kept, copy in pairs_Px2[order].tolist():  # what precedes a copy has been decided
        if kept not in kept_of_dropped:
            kept_of_dropped.setdefault(copy, kept)
    dropped = np.array(sorted(kept_of_dropped), int)
    pairs = [describe_pair(utterances, kept_of_dropped[row], row) for row in dropped.tolist()]
    rows = []
    for row, pair in zip(dropped.tolist(), pairs):
        rows.append(_csv_row(utterances, kept_of_dropped[row], row, pair) | {'left_out': 'yes'})
    findings = {
        'utterances': len(dropped),
        'identical': sum([pair['alike'] == 1 for pair in pairs]),
        'other_labels': sum([bool(pair['differ']) for pair in pairs]),
        'examples': pairs[:MAX_EXAMPLES],
    }
    remaining = utterances[np.setdiff1d(np.arange(len(utterances)), dropped)]
    return remaining, DroppedCopies(findings, rows)


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

    Of identical recordings each is paired with every other one.
    """
    recordings = find_recordings(utterances, used_rows)
    index_N = recordings.index_N[used_rows]
    order = np.argsort(index_N, kind='stable')
    count_K = np.bincount(index_N, minlength=recordings.count)
    start_K = np.cumsum(count_K) - count_K

    def rows_of(recording: int) -> np.ndarray:
        start = start_K[recording]
        return used_rows[order[start : start + count_K[recording]]]

    pairs = [np.zeros((0, 2), int)]
    for recording in np.flatnonzero(count_K > 1).tolist():
        rows = rows_of(recording)
        first, second = np.triu_indices(len(rows), 1)
        pairs.append(np.stack([rows[first], rows[second]], axis=1))
    for recording, other in recordings.near_Px2.tolist():
        grid = np.meshgrid(rows_of(recording), rows_of(other), indexing='ij')
        pairs.append(np.stack([grid[0].ravel(), grid[1].ravel()], axis=1))
    return np.sort(np.concatenate(pairs), axis=1)


def _csv_row(utterances: Utterances, row: int, copy: int, pair: dict) -> dict:
    """Returns what the CSV says of a recording and its copy."""
    text = utterances.text
    return {
        'utterance': str(text['utterance'][row]),
        'copy': str(text['utterance'][copy]),
        'similarity': pair['alike'],
        'speaker': str(text['speaker'][row]),
        'speaker_of_copy': str(text['speaker'][copy]),
        'emotion': str(text['emotion'][row]),
        'emotion_of_copy': str(text['emotion'][copy]),
        'leaks': '',
        'left_out': '',
    }


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
    every_row = np.arange(len(utterances))
    for fold in folds:
        is_present = presence_by_part(fold, every_row, len(utterances))
        for part, other in part_pairs:
            is_in_part_Px2 = is_present[part][pairs_Px2]
            is_in_other_Px2 = is_present[other][pairs_Px2]
            leaks_P |= (is_in_part_Px2 & is_in_other_Px2[:, ::-1]).any(axis=1)
    rows = []
    for (row, copy), leaks in zip(pairs_Px2.tolist(), leaks_P.tolist()):
        csv_row = _csv_row(utterances, row, copy, describe_pair(utterances, row, copy))
        rows.append(csv_row | {'leaks': 'yes' if leaks else ''})
    return rows


def write_duplicates(path: str | os.PathLike, rows: list[dict]) -> None:
    """Writes the CSV; UserError if it cannot be written."""
    try:
        csv_files.write_rows(path, rows, CSV_COLUMNS)
    except OSError as error:
        raise UserError(
            f'{path} cannot be written ({error.strerror}). Name another file with --duplicates.'
        ) from None

"""Stores the near duplicates of a large data set with it, so that they are searched once.

`prepare` writes them beside the shards, and `pack` into the .npz. The file has no rows, but the
digests of all signatures that were searched, and the pairs of digests. So it serves any selection
of the utterances, and is never used for other signatures or with other limits. Nothing is stored
for small data sets, which are searched in a second, and for those with very many copies. Data sets
of earlier versions have no file either. Then the search is made again.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_pipelines.features import signature_search
from data_pipelines.features.signature_search import (
    MAX_COMPARED,
    MAX_COPIES,
    are_near_duplicates,
    find_near_duplicates,
    is_complete,
)
from data_pipelines.storage import shards
from data_pipelines.storage.npz import READ_ERRORS
from data_pipelines.storage.schema import Utterances

FILE = 'near_duplicates.npz'  # in the folder of a data set's shards
PREFIX = 'near_duplicates_'  # of the arrays

VERSION = 1  # of the search; a later one that finds other pairs gets another number

DIGEST_BYTES = 8


class NearDuplicates(NamedTuple):
    """The near duplicates among signatures, which are identified by their digests."""

    digest_N: np.ndarray  # of all signatures, uint64, sorted
    pair_Px2: np.ndarray  # digests


# The last search of this process, of data that have nothing stored: copies are left out before
# the audit searches what remains.
_last_search = NearDuplicates(np.zeros(0, np.uint64), np.zeros((0, 2), np.uint64))


def find_stored_duplicates(utterances: Utterances, rows: np.ndarray) -> np.ndarray:
    """Returns near_Px2 of `find_near_duplicates`, for the signatures of these rows.

    Many signatures are searched only if nothing is stored of them. The numbers in the pairs are
    positions among `rows`.
    """
    return _find(utterances.signature_NxS[rows], utterances.files)


def _find(signature_NxS: np.ndarray, files: list[str]) -> np.ndarray:
    """Returns near_Px2 from the last search, else as stored with `files`, else of a new search."""
    global _last_search
    if len(signature_NxS) <= MAX_COMPARED:
        return find_near_duplicates(signature_NxS)
    digest_N = digest_signatures(signature_NxS)
    for known in (_last_search, _read(files)):
        near_Px2 = _select(known, digest_N, signature_NxS)
        if near_Px2 is not None:
            return near_Px2
    near_Px2 = find_near_duplicates(signature_NxS)
    if is_complete(near_Px2):
        _last_search = NearDuplicates(np.sort(digest_N), digest_N[near_Px2])
    return near_Px2


def write_beside_shards(folder: Path) -> None:
    """Writes the near duplicates of the data set in `folder`, if it is large."""
    utterances = shards.read_columns(folder)
    arrays = arrays_to_store(utterances.signature_NxS, utterances.files)
    if arrays:
        np.savez(folder / FILE, **arrays)


def arrays_to_store(signature_NxS: np.ndarray, files: list[str]) -> dict[str, np.ndarray]:
    """Returns the arrays to store with a whole data set, by name; none if it is small.

    `files` are those of the data set that the signatures were read from, if any.
    """
    if len(signature_NxS) <= MAX_COMPARED:
        return {}
    near_Px2 = _find(signature_NxS, files)
    if not is_complete(near_Px2):
        return {}
    digest_N = digest_signatures(signature_NxS)
    return {
        f'{PREFIX}limits': _limits(),
        f'{PREFIX}digest_N': np.sort(digest_N),
        f'{PREFIX}pair_Px2': digest_N[near_Px2],
    }


def digest_signatures(signature_NxS: np.ndarray) -> np.ndarray:
    """Returns digest_N, uint64, of each signature."""
    digests = []
    for signature_S in np.ascontiguousarray(signature_NxS):
        digests.append(hashlib.blake2b(signature_S, digest_size=DIGEST_BYTES).digest())
    return np.frombuffer(b''.join(digests), np.uint64)


def _limits() -> np.ndarray:
    """Returns what the pairs depend on, besides the signatures."""
    similarity = signature_search.COPY_SIMILARITY
    length = signature_search.MAX_LOG_LENGTH_DIFFERENCE
    return np.array([VERSION, similarity, length, MAX_COPIES, signature_search.MAX_MISSED])


def _read(files: list[str]) -> NearDuplicates | None:
    """Returns what is stored with a data set; None for nothing, or for several data sets."""
    places = {file if file.endswith('.npz') else str(Path(file).parent / FILE) for file in files}
    if len(places) != 1:
        return None
    try:
        with open(places.pop(), 'rb') as stream, np.load(stream, allow_pickle=False) as content:
            if not np.array_equal(content[f'{PREFIX}limits'], _limits()):
                return None
            known = NearDuplicates(content[f'{PREFIX}digest_N'], content[f'{PREFIX}pair_Px2'])
    except READ_ERRORS:  # no file, an earlier one, or a damaged one
        return None
    has_types = known.digest_N.dtype == known.pair_Px2.dtype == np.uint64
    has_shapes = known.digest_N.ndim == 1 and known.pair_Px2.shape[1:] == (2,)
    return known if has_types and has_shapes else None


def _select(
    known: NearDuplicates | None, digest_N: np.ndarray, signature_NxS: np.ndarray
) -> np.ndarray | None:
    """Returns near_Px2 of the signatures from known pairs; None if `known` lacks a signature.

    Each pair is compared again. None also if equal signatures would give too many pairs.
    """
    if known is None or not _are_among(digest_N, known.digest_N):
        return None
    order = np.argsort(digest_N, kind='stable')
    sorted_N = digest_N[order]
    # Equal signatures have one digest, which is a pair with itself.
    repeated = np.unique(sorted_N[1:][sorted_N[1:] == sorted_N[:-1]])
    pair_Px2 = np.concatenate([known.pair_Px2, np.stack([repeated, repeated], axis=1)])
    pair_Px2 = np.unique(pair_Px2, axis=0)
    start_Px2 = np.searchsorted(sorted_N, pair_Px2)
    count_Px2 = np.searchsorted(sorted_N, pair_Px2, 'right') - start_Px2
    count_P = count_Px2.prod(axis=1)
    if count_P.sum() > MAX_COPIES * len(digest_N):
        return None
    # Each row of the first digest with each row of the second.
    pair_Q = np.repeat(np.arange(len(count_P)), count_P)
    number_Q = np.arange(len(pair_Q)) - np.repeat(np.cumsum(count_P) - count_P, count_P)
    offset_Qx2 = np.stack(np.divmod(number_Q, count_Px2[pair_Q, 1]), axis=1)
    near_Qx2 = np.sort(order[start_Px2[pair_Q] + offset_Qx2], axis=1)
    near_Qx2 = np.unique(near_Qx2[near_Qx2[:, 0] < near_Qx2[:, 1]], axis=0)
    return near_Qx2[are_near_duplicates(signature_NxS, near_Qx2)]


def _are_among(value_N: np.ndarray, sorted_M: np.ndarray) -> bool:
    """Returns whether all values are among sorted ones."""
    if not len(sorted_M):
        return False
    place_N = np.searchsorted(sorted_M, value_N).clip(max=len(sorted_M) - 1)
    return bool((sorted_M[place_N] == value_N).all())

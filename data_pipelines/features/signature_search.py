"""Finds the nearly equal signatures among many, without comparing all pairs.

Two signatures are of one recording if their inner product is at least COPY_SIMILARITY and the
logarithms of their lengths differ by at most MAX_LOG_LENGTH_DIFFERENCE. data_pipelines/audit.py
says how the limits were set.

Up to MAX_COMPARED signatures, all pairs of similar lengths are compared. More are hashed: a bit of
a signature says on which side of a random hyperplane through the origin it lies. Two signatures at
the angle t differ in a bit with probability t / pi (Charikar, 2002, "Similarity estimation
techniques from rounding algorithms"). A hash table groups the signatures that agree in `bits` such
bits. Only signatures of one group are compared, and only if their lengths are similar. A pair is
missed if it is in one group in none of the `tables`, which are independent:

  P(missed) = (1 - (1 - t / pi) ** bits) ** tables

The number of tables is the smallest for which this is at most MAX_MISSED at the limit, where
t = arccos(COPY_SIMILARITY). So at least 99.9 % of the pairs at the very limit are found, 99.98 % of
those with a similarity of 0.97, and 99.999 % of those with 0.98. The number of bits is the one
with the lowest cost, by a sample of the signatures.

A sketch is SKETCH_BITS of the bits of a signature. Before two signatures are compared, their
sketches are: 1.7e-4 of the pairs at the limit differ in too many bits and are missed, and 5e-6 of
those with a similarity of 0.97. Every pair that is returned has been compared, so none is wrong.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

COPY_SIMILARITY = 0.96
MAX_LOG_LENGTH_DIFFERENCE = 0.03

# Of a signature with more near duplicates, at least this many are returned, and not all.
MAX_COPIES = 64

MAX_COMPARED = 10_000  # so many signatures are compared with each other
BLOCK_SIZE = 512  # signatures compared at a time with BLOCK_RATIO times as many
BLOCK_RATIO = 8

MAX_MISSED = 1e-3  # of pairs at the limit
MAX_ANGLE_SHARE = math.acos(COPY_SIMILARITY) / math.pi
NUM_BITS = range(18, 33)  # of a table; with fewer, groups are too large, or a sketch lacks bits
KEY_BITS = 32
SKETCH_WORDS = 8  # of 64 bits
SKETCH_BITS = 64 * SKETCH_WORDS
# By the number of words that are compared: in how many bits the sketches of a pair may differ.
SKETCH_LIMITS = {2: 26, 4: 42, 8: 72}
FIRST_WORDS = 2
MIN_NORM = 0.9  # a signature of a smaller norm has no near duplicates

SAMPLE_SIZE = 2_048  # signatures by which the number of bits is chosen
HASH_CHUNK = 8_192  # signatures
PAIR_CHUNK = 2**21
VERIFY_CHUNK = 2**14  # pairs

# Costs in nanoseconds on two cores, by which the number of bits is chosen.
BIT_COST = 10.0  # of a signature
SORT_COST = 300.0  # of a signature in a table
CANDIDATE_COST = 50.0  # of a pair in one group of a table
COMPARE_COST = 60.0  # of a pair of similar lengths, where blocks of all are compared

ROW_MASK = np.uint64(2**32 - 1)  # of a sorted key: above are the bits, below is the row


class Hashing(NamedTuple):
    """The size of the tables."""

    bits: int
    tables: int


def find_near_duplicates(signature_NxS: np.ndarray) -> np.ndarray:
    """Returns near_Px2, the pairs of rows whose signatures are of one recording, in order.

    The smaller row comes first. A signature with more than MAX_COPIES near duplicates, such as
    silence or noise, has at least MAX_COPIES pairs and not all; the pairs of one with fewer are
    complete. So memory grows with the rows, not with the pairs.
    """
    length_N = _log_lengths(signature_NxS)
    rows = np.argsort(length_N, kind='stable')
    length_N = length_N[rows]
    hashing = None
    if len(rows) > MAX_COMPARED:
        hashing = _choose_hashing(signature_NxS, rows, length_N)
    if hashing is None:
        near_Px2 = _compare_all(signature_NxS[rows, 1:], length_N)
    else:
        near_Px2 = _compare_hashed(signature_NxS[:, 1:], rows, length_N, hashing)
    near_Px2 = np.sort(rows[near_Px2], axis=1)
    return near_Px2[np.lexsort(near_Px2.T[::-1])]


def are_near_duplicates(signature_NxS: np.ndarray, pairs_Px2: np.ndarray) -> np.ndarray:
    """Returns mask_P of the pairs of rows whose signatures are of one recording."""
    length_Px2 = _log_lengths(signature_NxS)[pairs_Px2]
    is_close_P = np.abs(length_Px2[:, 0] - length_Px2[:, 1]) <= MAX_LOG_LENGTH_DIFFERENCE
    return is_close_P & are_similar(signature_NxS[:, 1:], pairs_Px2)


def are_similar(grid_NxS: np.ndarray, pairs_Px2: np.ndarray) -> np.ndarray:
    """Returns mask_P of the pairs of rows with an inner product of at least COPY_SIMILARITY."""
    is_similar_P = np.zeros(len(pairs_Px2), bool)
    for start in range(0, len(pairs_Px2), VERIFY_CHUNK):
        first_C, second_C = pairs_Px2[start : start + VERIFY_CHUNK].T
        first_CxS = grid_NxS[first_C].astype(np.float32)
        second_CxS = grid_NxS[second_C].astype(np.float32)
        product_C = np.einsum('CS,CS->C', first_CxS, second_CxS)
        is_similar_P[start : start + VERIFY_CHUNK] = product_C >= COPY_SIMILARITY
    return is_similar_P


def _log_lengths(signature_NxS: np.ndarray) -> np.ndarray:
    """Returns length_N, the logarithms of the lengths."""
    return np.log(np.maximum(signature_NxS[:, 0].astype(float), 1.0))


def is_complete(near_Px2: np.ndarray) -> bool:
    """Returns whether no row has so many near duplicates that some of them may be missing."""
    return not len(near_Px2) or int(np.bincount(near_Px2.ravel()).max()) < MAX_COPIES


def _compare_all(grid_NxS: np.ndarray, length_N: np.ndarray) -> np.ndarray:
    """Returns near_Px2 of signatures in the order of their lengths, by comparing them in blocks.

    A pair is left out if the first has MAX_COPIES pairs with rows between the two, and so has the
    second.
    """
    grid_NxS = grid_NxS.astype(np.float32)
    end_N = np.searchsorted(length_N, length_N + MAX_LOG_LENGTH_DIFFERENCE, 'right')
    later_N = np.zeros(len(length_N), int)  # pairs so far with a later row
    earlier_N = np.zeros(len(length_N), int)
    pairs = [np.zeros((0, 2), int)]
    for start in range(0, len(length_N), BLOCK_SIZE):
        stop = min(start + BLOCK_SIZE, len(length_N))
        for other in range(start, end_N[stop - 1], BLOCK_RATIO * BLOCK_SIZE):
            other_stop = min(other + BLOCK_RATIO * BLOCK_SIZE, end_N[stop - 1])
            product = grid_NxS[start:stop] @ grid_NxS[other:other_stop].T
            i, j = np.nonzero(product >= COPY_SIMILARITY)
            i += start
            j += other
            is_pair = (i < j) & (j < end_N[i])
            is_pair &= (later_N[i] < MAX_COPIES) | (earlier_N[j] < MAX_COPIES)
            i, j = i[is_pair], j[is_pair]
            is_kept = later_N[i] + _rank_among_equal(i) < MAX_COPIES
            is_kept |= earlier_N[j] + _rank_among_equal(j) < MAX_COPIES
            later_N += np.bincount(i, minlength=len(later_N))
            earlier_N += np.bincount(j, minlength=len(later_N))
            pairs.append(np.stack([i[is_kept], j[is_kept]], axis=1))
    return np.concatenate(pairs)


def _rank_among_equal(value_P: np.ndarray) -> np.ndarray:
    """Returns rank_P: how many equal values precede each value."""
    order = np.argsort(value_P, kind='stable')
    sorted_P = value_P[order]
    rank_P = np.empty(len(order), int)
    rank_P[order] = np.arange(len(order)) - np.searchsorted(sorted_P, sorted_P)
    return rank_P


def _choose_hashing(
    signature_NxS: np.ndarray, rows: np.ndarray, length_N: np.ndarray
) -> Hashing | None:
    """Returns the tables with the lowest cost, or None if comparing all pairs costs less."""
    count = len(rows)
    random = np.random.default_rng(0)
    size = min(SAMPLE_SIZE, count)
    sample = np.sort(random.choice(count, size, replace=False))
    grid_KxS = signature_NxS[rows[sample], 1:].astype(np.float32)
    is_close_KxK = np.abs(length_N[sample] - length_N[sample, None]) <= MAX_LOG_LENGTH_DIFFERENCE
    cosine_P = (grid_KxS @ grid_KxS.T)[np.triu(is_close_KxK, 1)]
    compare_cost = (count / size) ** 2 * len(cosine_P) * COMPARE_COST
    # Copies cost the same with any number of bits: MAX_COPIES limits how many are compared.
    cosine_P = cosine_P[cosine_P < COPY_SIMILARITY]
    counts, edges = np.histogram(cosine_P, 1_000, (-1, 1))
    agreement = 1 - np.arccos((edges[1:] + edges[:-1]) / 2) / np.pi
    pairs = (count / size) ** 2 * counts
    costs = {}
    for bits in NUM_BITS:
        tables = _num_tables(bits)
        candidates = float((pairs * agreement**bits).sum())
        cost = count * (bits * BIT_COST + SORT_COST) + candidates * CANDIDATE_COST
        costs[Hashing(bits, tables)] = tables * cost
    best = min(costs, key=costs.get)
    return best if costs[best] < compare_cost else None


def _num_tables(bits: int) -> int:
    """Returns the number of tables that miss at most MAX_MISSED of the pairs at the limit."""
    return math.ceil(math.log(MAX_MISSED) / math.log1p(-((1 - MAX_ANGLE_SHARE) ** bits)))


def _compare_hashed(
    grid_NxS: np.ndarray, rows: np.ndarray, length_N: np.ndarray, hashing: Hashing
) -> np.ndarray:
    """Returns near_Px2 of the near duplicates that are in one group of a table.

    `rows` are in the order of their lengths. The numbers in the pairs are positions among them.
    """
    key_LxN, sketch_WxN = _hash(grid_NxS, rows, hashing)
    stop_N = np.searchsorted(length_N, length_N + MAX_LOG_LENGTH_DIFFERENCE, 'right')
    last_N = (stop_N - 1).astype(np.uint64)
    first_N = np.searchsorted(length_N, length_N - MAX_LOG_LENGTH_DIFFERENCE).astype(np.uint64)
    pairs = _FoundPairs(grid_NxS, rows)
    positions = np.arange(len(rows))
    for key_N in key_LxN:
        table = _Table(key_N, first_N, last_N, sketch_WxN)
        # Each with the next MAX_COPIES of its group. One that already has so many pairs only with
        # the next one, so that groups of copies stay connected.
        is_full_N = pairs.count_N[table.row_N] >= MAX_COPIES
        reach_N = np.where(is_full_N, 1, MAX_COPIES)
        end_N = np.minimum(table.end_N, positions + 1 + reach_N)
        pairs.add(table.candidates(positions, positions + 1, end_N))
        # Those that still have fewer pairs with all others of their group.
        rest = np.flatnonzero(pairs.count_N[table.row_N] < MAX_COPIES)
        pairs.add(table.candidates(rest, rest + 1 + MAX_COPIES, table.end_N[rest]))
        if len(rest) < len(rows):
            pairs.add(table.candidates(rest, table.find_start(rest), rest))
    return np.stack(np.divmod(pairs.code_P, len(rows)), axis=1)


class _FoundPairs:
    """The pairs that are near duplicates, of positions among `rows`."""

    def __init__(self, grid_NxS: np.ndarray, rows: np.ndarray):
        self._grid_NxS = grid_NxS
        self._rows = rows
        self.code_P = np.zeros(0, int)  # first * len(rows) + second, sorted
        self.count_N = np.zeros(len(rows), int)  # pairs of each

    def add(self, candidates: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        """Adds those of the candidates, batches of different pairs, that are near duplicates."""
        codes = [self.code_P]
        for first_P, second_P in candidates:
            codes.append(self._verify(first_P, second_P))
        self.code_P = np.sort(np.concatenate(codes))
        for code_P in codes[1:]:
            for position_P in np.divmod(code_P, len(self._rows)):
                self.count_N += np.bincount(position_P, minlength=len(self._rows))

    def _verify(self, first_P: np.ndarray, second_P: np.ndarray) -> np.ndarray:
        """Returns the codes of those pairs that are near duplicates and are not yet found."""
        smaller_P = np.minimum(first_P, second_P)
        code_P = np.sort(smaller_P * len(self._rows) + np.maximum(first_P, second_P))
        start_P = np.searchsorted(self.code_P, code_P)
        end_P = np.searchsorted(self.code_P, code_P, 'right')
        code_P = code_P[start_P == end_P]  # those that are not yet found
        pairs_Px2 = self._rows[np.stack(np.divmod(code_P, len(self._rows)), axis=1)]
        return code_P[are_similar(self._grid_NxS, pairs_Px2)]


class _Table:
    """A hash table: the rows in the order of their keys, and of their lengths among equal keys.

    Positions are places in this order.
    """

    def __init__(
        self, key_N: np.ndarray, first_N: np.ndarray, last_N: np.ndarray, sketch_WxN: np.ndarray
    ):
        row_N = np.arange(len(key_N), dtype=np.uint64)
        sorted_N = np.sort((key_N.astype(np.uint64) << np.uint64(KEY_BITS)) | row_N)
        self.row_N = (sorted_N & ROW_MASK).astype(int)
        key_N = sorted_N & ~ROW_MASK
        # Where those end that have the same key and a similar length.
        self.end_N = np.searchsorted(sorted_N, key_N | last_N[self.row_N], 'right')
        self._sorted_N = sorted_N
        self._first_N = first_N
        self._sketch_WxN = sketch_WxN
        self._first_sketch_WxN = sketch_WxN[:FIRST_WORDS, self.row_N]  # of positions

    def find_start(self, position_Q: np.ndarray) -> np.ndarray:
        """Returns where those begin that have the key of a position and a similar length."""
        key_Q = self._sorted_N[position_Q] & ~ROW_MASK
        return np.searchsorted(self._sorted_N, key_Q | self._first_N[self.row_N[position_Q]])

    def candidates(
        self, position_Q: np.ndarray, start_Q: np.ndarray, end_Q: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields batches of pairs of rows: each position with those from its start to its end.

        Pairs whose sketches differ too much are left out.
        """
        count_Q = np.maximum(end_Q - start_Q, 0)
        total_Q = np.cumsum(count_Q)
        begin = 0
        while begin < len(count_Q):
            done = total_Q[begin] - count_Q[begin]
            stop = max(int(np.searchsorted(total_Q, done + PAIR_CHUNK, 'right')), begin + 1)
            part = slice(begin, stop)
            shift_Q = start_Q[part] - (total_Q[part] - count_Q[part] - done)
            first_P = np.repeat(position_Q[part], count_Q[part])
            second_P = np.arange(len(first_P)) + np.repeat(shift_Q, count_Q[part])
            yield self._drop_different(first_P, second_P)
            begin = stop

    def _drop_different(
        self, first_P: np.ndarray, second_P: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of the pairs of positions whose sketches are similar."""
        different_P = _count_different(self._first_sketch_WxN, first_P, second_P)
        similar = np.flatnonzero(different_P <= SKETCH_LIMITS[FIRST_WORDS])
        first_P = self.row_N[first_P[similar]]
        second_P = self.row_N[second_P[similar]]
        different_P = different_P[similar]
        counted = FIRST_WORDS
        for words, limit in SKETCH_LIMITS.items():
            sketch_WxN = self._sketch_WxN[counted:words]
            different_P = different_P + _count_different(sketch_WxN, first_P, second_P)
            similar = np.flatnonzero(different_P <= limit)
            first_P, second_P = first_P[similar], second_P[similar]
            different_P = different_P[similar]
            counted = words
        return first_P, second_P


def _count_different(
    sketch_WxN: np.ndarray, first_P: np.ndarray, second_P: np.ndarray
) -> np.ndarray:
    """Returns different_P: in how many bits the sketches of each pair differ."""
    different_P = np.zeros(len(first_P), np.uint16)
    for sketch_N in sketch_WxN:
        different_P += np.bitwise_count(sketch_N[first_P] ^ sketch_N[second_P])
    return different_P


def _hash(
    grid_NxS: np.ndarray, rows: np.ndarray, hashing: Hashing
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the keys of the rows in each table, key_LxN, and their sketches, sketch_WxN."""
    size = hashing.tables * hashing.bits
    plane_SxB = np.random.default_rng(1).standard_normal((grid_NxS.shape[1], size), np.float32)
    key_LxN = np.empty((hashing.tables, len(rows)), np.uint32)
    sketch_WxN = np.empty((SKETCH_WORDS, len(rows)), np.uint64)
    for start in range(0, len(rows), HASH_CHUNK):
        part = slice(start, start + HASH_CHUNK)
        grid_CxS = grid_NxS[rows[part]].astype(np.float32)
        is_above_CxB = grid_CxS @ plane_SxB > 0
        sketch_CxY = np.packbits(is_above_CxB[:, :SKETCH_BITS], axis=1)
        sketch_WxN[:, part] = sketch_CxY.view(np.uint64).T
        is_above_CxLxB = is_above_CxB.reshape(-1, hashing.tables, hashing.bits)
        packed_CxLxY = np.packbits(is_above_CxLxB, axis=2)
        key_CxLx4 = np.zeros((*packed_CxLxY.shape[:2], 4), np.uint8)
        key_CxLx4[:, :, : packed_CxLxY.shape[2]] = packed_CxLxY
        key_LxN[:, part] = key_CxLx4.view(np.uint32)[:, :, 0].T
        # Signatures of zeros (or NaN) have no near duplicates, and would all be in one group.
        has_norm_C = np.einsum('CS,CS->C', grid_CxS, grid_CxS) >= MIN_NORM**2
        no_norm = start + np.flatnonzero(~has_norm_C)
        key_LxN[:, no_norm] = no_norm
    return key_LxN, sketch_WxN

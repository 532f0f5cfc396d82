"""Tests that near duplicates are found as by comparing all pairs, and at bounded cost."""

import itertools
import math

import numpy as np
import pytest

from data_pipelines.features import signature_search
from data_pipelines.features.signature import SIGNATURE_SIZE
from data_pipelines.features.signature_search import find_near_duplicates, is_complete

SIZE = SIGNATURE_SIZE - 1


@pytest.fixture
def hashed(monkeypatch):
    """Signatures are hashed however few they are."""
    monkeypatch.setattr(signature_search, 'MAX_COMPARED', 0)
    monkeypatch.setattr(signature_search, 'COMPARE_COST', math.inf)


def to_signatures(grid_NxS: np.ndarray, length_N=300.0) -> np.ndarray:
    """Returns signatures with these grids, scaled to unit norm, and lengths."""
    grid_NxS = grid_NxS / np.linalg.norm(grid_NxS, axis=1, keepdims=True)
    length_Nx1 = np.broadcast_to(length_N, len(grid_NxS))[:, None]
    return np.concatenate([length_Nx1, grid_NxS], axis=1).astype(np.float16)


def noisy_copies(random: np.random.Generator, grid_NxS: np.ndarray, cosine: float) -> np.ndarray:
    """Returns vectors of unit norm with this cosine to others of unit norm."""
    noise_NxS = random.normal(size=grid_NxS.shape)
    noise_NxS -= (noise_NxS * grid_NxS).sum(axis=1, keepdims=True) * grid_NxS
    noise_NxS /= np.linalg.norm(noise_NxS, axis=1, keepdims=True)
    return cosine * grid_NxS + math.sqrt(1 - cosine**2) * noise_NxS


def random_units(random: np.random.Generator, count: int) -> np.ndarray:
    """Returns random vectors of unit norm."""
    grid_NxS = random.normal(size=(count, SIZE))
    return grid_NxS / np.linalg.norm(grid_NxS, axis=1, keepdims=True)


def compare_all(signature_NxS: np.ndarray) -> list[tuple[int, int]]:
    """Returns the pairs of near duplicates, by their definition."""
    log_length_N = np.log(signature_NxS[:, 0].astype(float))
    grid_NxS = signature_NxS[:, 1:].astype(np.float32)
    pairs = []
    for i, j in itertools.combinations(range(len(grid_NxS)), 2):
        is_similar = grid_NxS[i] @ grid_NxS[j] >= signature_search.COPY_SIMILARITY
        if is_similar and abs(log_length_N[i] - log_length_N[j]) <= 0.03:
            pairs.append((i, j))
    return pairs


def similar_signatures() -> np.ndarray:
    """Returns 150 signatures, many with a similarity around the limit; pairs differ in length."""
    random = np.random.default_rng(0)
    centre_NxS = random.normal(size=(12, SIZE))[random.integers(0, 12, 150)]
    grid_NxS = centre_NxS + 0.2 * random.normal(size=(150, SIZE))
    return to_signatures(grid_NxS, np.exp(random.normal(5, 0.02, 150)))


def test_the_search_in_blocks_finds_the_pairs_of_the_whole_matrix(monkeypatch):
    monkeypatch.setattr(signature_search, 'BLOCK_SIZE', 7)
    signature_NxS = similar_signatures()
    expected = compare_all(signature_NxS)
    assert len(expected) > 20
    assert [tuple(pair) for pair in find_near_duplicates(signature_NxS).tolist()] == expected
    assert find_near_duplicates(signature_NxS[:0]).shape == (0, 2)


@pytest.mark.usefixtures('hashed')
def test_hashing_finds_the_pairs_of_the_whole_matrix_and_no_other(monkeypatch):
    """Also with chunks of a few signatures and pairs, and with signatures of zeros."""
    monkeypatch.setattr(signature_search, 'HASH_CHUNK', 40)
    monkeypatch.setattr(signature_search, 'PAIR_CHUNK', 50)
    monkeypatch.setattr(signature_search, 'VERIFY_CHUNK', 30)
    signature_NxS = similar_signatures()
    signature_NxS[[3, 50, 149], 1:] = 0
    expected = compare_all(signature_NxS)
    assert len(expected) > 20
    assert [tuple(pair) for pair in find_near_duplicates(signature_NxS).tolist()] == expected


@pytest.mark.usefixtures('hashed')
@pytest.mark.parametrize('cosine', [0.961, 0.975])
def test_as_many_pairs_are_found_as_the_formula_says(monkeypatch, cosine):
    """With 30 % missed at the limit, so that the share can be measured on 1,500 pairs."""
    monkeypatch.setattr(signature_search, 'MAX_MISSED', 0.3)
    monkeypatch.setattr(signature_search, 'NUM_BITS', [32])
    random = np.random.default_rng(1)
    grid_NxS = random_units(random, 1_500)
    copy_NxS = noisy_copies(random, grid_NxS, cosine)
    found = find_near_duplicates(to_signatures(np.concatenate([grid_NxS, copy_NxS])))
    assert set(np.diff(found)[:, 0].tolist()) == {1_500}  # no other pair

    tables = signature_search._num_tables(32)
    agreement = 1 - math.acos(cosine) / math.pi
    expected = (1 - agreement**32) ** tables
    deviation = math.sqrt(expected * (1 - expected) / 1_500)
    assert abs(1 - len(found) / 1_500 - expected) < 4 * deviation
    at_limit = 1 - math.acos(0.96) / math.pi
    assert (1 - at_limit**32) ** tables <= 0.3 < (1 - at_limit**32) ** (tables - 1)


def test_the_docstring_states_the_share_of_pairs_that_are_found():
    """For all numbers of bits."""
    limits = {0.96: 1e-3, 0.97: 2e-4, 0.98: 1e-5}
    for bits in signature_search.NUM_BITS:
        tables = signature_search._num_tables(bits)
        assert bits <= signature_search.KEY_BITS
        assert bits * tables >= signature_search.SKETCH_BITS
        for cosine, limit in limits.items():
            agreement = 1 - math.acos(cosine) / math.pi
            assert (1 - agreement**bits) ** tables <= limit


@pytest.mark.parametrize('search', ['in blocks', 'hashed'])
def test_groups_of_very_many_copies_have_bounded_pairs(monkeypatch, request, search):
    """Each has its number of pairs, two such groups are connected, and a copy of one is found."""
    monkeypatch.setattr(signature_search, 'MAX_COPIES', 8)
    monkeypatch.setattr(signature_search, 'BLOCK_SIZE', 50)
    if search == 'hashed':
        request.getfixturevalue('hashed')
    random = np.random.default_rng(2)
    centre_S = random_units(random, 1)
    other_S = noisy_copies(random, centre_S, 0.99)
    groups = [
        noisy_copies(random, np.repeat(centre_S, 200, axis=0), 0.999),
        noisy_copies(random, np.repeat(other_S, 200, axis=0), 0.999),
        random_units(random, 100),
    ]
    edge_S = noisy_copies(random, groups[0][:1], 0.962)  # near a few of the first group at most
    signature_NxS = to_signatures(np.concatenate([*groups, edge_S]))
    pairs_Px2 = find_near_duplicates(signature_NxS)
    expected = np.array(compare_all(signature_NxS))
    assert set(map(tuple, pairs_Px2.tolist())) <= set(map(tuple, expected.tolist()))
    assert len(pairs_Px2) < len(expected) / 3
    assert not is_complete(pairs_Px2)
    count_N = np.bincount(pairs_Px2.ravel(), minlength=len(signature_NxS))
    assert (count_N[:400] >= 8).all()
    is_connecting_P = (pairs_Px2[:, 0] < 200) & (pairs_Px2[:, 1] >= 200) & (pairs_Px2[:, 1] < 400)
    assert is_connecting_P.any()
    assert count_N[500] >= min(8, (expected[:, 1] == 500).sum()) > 0


def test_many_signatures_are_compared_where_that_costs_less(monkeypatch):
    """Where all recordings differ in length."""
    random = np.random.default_rng(3)
    monkeypatch.setattr(signature_search, 'MAX_COMPARED', 100)
    lengths_N = np.exp(0.1 * np.arange(200))
    signature_NxS = to_signatures(random_units(random, 200), lengths_N.clip(max=60_000))
    rows = np.argsort(lengths_N)
    choose = signature_search._choose_hashing
    assert choose(signature_NxS, rows, np.log(lengths_N)) is None
    assert choose(signature_NxS, rows, np.zeros(200)) is None
    monkeypatch.setattr(signature_search, 'COMPARE_COST', 1e9)
    assert choose(signature_NxS, rows, np.zeros(200)) is not None


def test_a_table_puts_equal_keys_of_similar_lengths_together(monkeypatch):
    """In batches of three pairs, and of one where a row has more."""
    monkeypatch.setattr(signature_search, 'PAIR_CHUNK', 3)
    random = np.random.default_rng(4)
    key_N = random.integers(0, 3, 40).astype(np.uint32)
    row_N = np.arange(40, dtype=np.uint64)
    first_N, last_N = np.maximum(row_N, 12) - 12, np.minimum(row_N + 12, 39)
    sketch_WxN = np.zeros((signature_search.SKETCH_WORDS, 40), np.uint64)
    table = signature_search._Table(key_N, first_N, last_N, sketch_WxN)
    positions = np.arange(40)
    expected = set()
    for i, j in itertools.combinations(range(40), 2):
        if key_N[i] == key_N[j] and j - i <= 12:
            expected.add((i, j))
    for start, end in ((positions + 1, table.end_N), (table.find_start(positions), positions)):
        pairs = []
        for first_P, second_P in table.candidates(positions, start, end):
            pairs += zip(
                np.minimum(first_P, second_P).tolist(), np.maximum(first_P, second_P).tolist()
            )
        assert len(pairs) == len(expected)
        assert set(pairs) == expected

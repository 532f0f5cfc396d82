"""Tests that stored near duplicates are those of a new search, and never those of other data."""

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.features import signature_search
from data_pipelines.protocols.recordings import find_recordings
from data_pipelines.storage import near_duplicates

NOTHING = near_duplicates.NearDuplicates(np.zeros(0, np.uint64), np.zeros((0, 2), np.uint64))


@pytest.fixture(autouse=True)
def stores_small_data(monkeypatch):
    """Data are stored however small they are, and nothing is known of the tests before."""
    monkeypatch.setattr(near_duplicates, 'MAX_COMPARED', 0)
    monkeypatch.setattr(near_duplicates, '_last_search', NOTHING)


@pytest.fixture
def searches(monkeypatch) -> list[int]:
    """The sizes of the searches that are made."""
    sizes = []

    def search(signature_NxS):
        sizes.append(len(signature_NxS))
        return signature_search.find_near_duplicates(signature_NxS)

    monkeypatch.setattr(near_duplicates, 'find_near_duplicates', search)
    return sizes


def make_corpus():
    """Returns 48 utterances: 1, 4 and 7 nearly equal, 20 and 30, and 5 equal to 40 to the bit."""
    utterances = make_utterances()
    random = np.random.default_rng(0)
    signature_NxS = utterances.signature_NxS.astype(float)
    for row, other in ((4, 1), (7, 1), (30, 20)):
        signature_NxS[row] = signature_NxS[other]
        signature_NxS[row, 1:] += random.normal(size=512) * 0.1 / np.sqrt(512)
    signature_NxS[40] = signature_NxS[5]
    utterances.signature_NxS = signature_NxS.astype(np.float16)
    return utterances


PAIRS = [(1, 4), (1, 7), (4, 7), (5, 40), (20, 30)]


@pytest.fixture
def stored(tmp_path, searches):
    """Utterances whose near duplicates are beside their shards."""
    utterances = make_corpus()
    utterances.files = [str(tmp_path / 'x-00000-of-00001'), str(tmp_path / 'x-00001-of-00001')]
    arrays = near_duplicates.arrays_to_store(utterances.signature_NxS, [])
    np.savez(tmp_path / near_duplicates.FILE, **arrays)
    forget(searches)
    return utterances


def forget(searches: list[int]) -> None:
    """Forgets the last search."""
    near_duplicates._last_search = NOTHING
    searches.clear()


def find(utterances, rows=None) -> list[tuple[int, int]]:
    rows = np.arange(len(utterances)) if rows is None else rows
    return [tuple(p) for p in near_duplicates.find_stored_duplicates(utterances, rows).tolist()]


def test_a_selection_in_any_order_has_the_pairs_of_a_new_search(stored, searches):
    assert find(stored) == PAIRS
    random = np.random.default_rng(1)
    for _ in range(5):
        rows = random.permutation(len(stored))[:30]
        signature_NxS = stored.signature_NxS[rows]
        expected = signature_search.find_near_duplicates(signature_NxS).tolist()
        assert find(stored, rows) == [tuple(pair) for pair in expected]
    assert searches == []
    twice = np.array([1, 5, 5, 4])
    assert find(stored, twice) == [(0, 3), (1, 2)]
    assert searches == []


def test_what_remains_of_a_search_is_not_searched_again(searches):
    utterances = make_corpus()
    recordings = find_recordings(utterances, np.arange(len(utterances)))
    assert len(recordings.near_Px2) == len(PAIRS)
    assert searches == [48]
    remaining = utterances[np.setdiff1d(np.arange(48), [4, 30, 40])]
    assert find(remaining) == [(1, 6)]
    assert searches == [48]


def change_signature(stored, file):
    stored.signature_NxS[3, 7] += 0.01


def change_limits(stored, file):
    with np.load(file) as content:
        arrays = dict(content)
    arrays['near_duplicates_limits'][1] = 0.95
    np.savez(file, **arrays)


def cut_file(stored, file):
    file.write_bytes(file.read_bytes()[:-100])


def change_type(stored, file):
    with np.load(file) as content:
        arrays = dict(content)
    arrays['near_duplicates_pair_Px2'] = arrays['near_duplicates_pair_Px2'].astype(float)
    np.savez(file, **arrays)


def change_shape(stored, file):
    with np.load(file) as content:
        arrays = dict(content)
    arrays['near_duplicates_pair_Px2'] = arrays['near_duplicates_pair_Px2'].reshape(-1, 5)
    np.savez(file, **arrays)


def remove_file(stored, file):
    file.unlink()


def add_corpus(stored, file):
    stored.files.append(str(file.parent / 'other' / 'y-00000-of-00001'))


@pytest.mark.parametrize(
    'change',
    [
        change_signature,
        change_limits,
        cut_file,
        change_type,
        change_shape,
        remove_file,
        add_corpus,
    ],
)
def test_what_was_stored_for_other_data_or_is_damaged_is_not_used(
    stored, searches, tmp_path, change
):
    change(stored, tmp_path / near_duplicates.FILE)
    assert find(stored) == PAIRS
    assert searches == [48]


def test_a_pair_that_is_stored_wrongly_is_left_out(stored, searches, tmp_path):
    """Each is compared again."""
    file = tmp_path / near_duplicates.FILE
    with np.load(file) as content:
        arrays = dict(content)
    digest_N = near_duplicates.digest_signatures(stored.signature_NxS)
    wrong = digest_N[[[2, 3]]]
    pair_Px2 = np.concatenate([arrays['near_duplicates_pair_Px2'], wrong])
    np.savez(file, **(arrays | {'near_duplicates_pair_Px2': pair_Px2}))
    assert find(stored) == PAIRS
    assert searches == []


def test_pairs_of_very_many_copies_are_not_stored(searches, monkeypatch):
    """Not all of them are known, and a selection may need the others."""
    monkeypatch.setattr(signature_search, 'MAX_COPIES', 2)
    utterances = make_corpus()
    assert near_duplicates.arrays_to_store(utterances.signature_NxS, []) == {}
    find(utterances)
    assert searches == [48, 48]

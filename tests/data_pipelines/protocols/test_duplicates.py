"""Tests that one of each group of copies stays, and which."""

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.features import signature_search
from data_pipelines.protocols import audit, duplicates
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.protocol import Protocol


def make_corpus(*groups: list[int]):
    """Returns 48 utterances in which the rows of each group are one recording, to the bit."""
    utterances = make_utterances()
    utterances.text['sha256'] = np.char.add('h', np.arange(len(utterances)).astype(str))
    for rows in groups:
        utterances.text['sha256'][rows] = utterances.text['sha256'][rows[0]]
        utterances.signature_NxS[rows] = utterances.signature_NxS[rows[0]]
    return utterances


def names_left_out(utterances, **protocol) -> list[str]:
    """Returns the names of the utterances that are left out, in order."""
    remaining, dropped = duplicates.drop_copies(utterances, Protocol(**protocol))
    assert dropped.findings['utterances'] == len(utterances) - len(remaining)
    left_out = set(utterances.text['utterance']) - set(remaining.text['utterance'])
    assert sorted(left_out) == sorted(row['copy'] for row in dropped.rows)
    return sorted(left_out)


def make_near(utterances, row: int, other: int) -> None:
    """Makes two recordings nearly identical, at a similarity of 0.97."""
    first = utterances.signature_NxS[other, 1:].astype(float)
    noise = np.random.default_rng(row).normal(size=len(first))
    noise -= noise @ first * first
    noise *= np.sqrt(1 - 0.97**2) / np.linalg.norm(noise)
    utterances.signature_NxS = utterances.signature_NxS.astype(float)
    utterances.signature_NxS[row, 1:] = 0.97 * first + noise
    utterances.signature_NxS[row, 0] = utterances.signature_NxS[other, 0]


def test_the_first_of_each_group_stays_and_no_leak_is_left():
    """The audit then finds no copy, counts what is left out, and the hash is of what remains."""
    utterances = make_corpus([1, 20, 40], [3, 4])
    make_near(utterances, 30, 10)
    protocol = Protocol(folds=3, drop_copies=True)
    with pytest.raises(UserError, match='--drop_copies keeps one of each group'):
        audit.audit_folds(utterances, make_folds(utterances, protocol), protocol)
    remaining, dropped = duplicates.drop_copies(utterances, protocol)
    names = utterances.text['utterance']
    assert sorted(row['copy'] for row in dropped.rows) == sorted(names[[4, 20, 30, 40]])
    folds = make_folds(remaining, protocol)
    findings = audit.audit_folds(remaining, folds, protocol, dropped.findings)
    assert findings['duplicates'] == {'exact': 0, 'near': 0, 'examples': []}
    found = findings['dropped_copies']
    assert (found['utterances'], found['identical'], found['other_labels']) == (4, 3, 4)


def test_a_copy_of_a_copy_stays_if_it_is_no_copy_of_what_is_kept():
    """Rows 1 and 3 are alike, and 3 and 5; 1 and 5 are not."""
    utterances = make_corpus()
    signature_NxS = utterances.signature_NxS.astype(float)
    length = signature_NxS[1, 0]
    for row, angle in ((1, 0.0), (3, 0.25), (5, 0.5)):  # cos(0.25) = 0.969, cos(0.5) = 0.878
        signature_NxS[row] = 0
        signature_NxS[row, :3] = length, np.cos(angle), np.sin(angle)
    utterances.signature_NxS = signature_NxS
    assert names_left_out(utterances) == [utterances.text['utterance'][3]]


def test_the_choice_never_favours_test():
    """The official training part keeps its recording, then dev; unused parts are last."""
    utterances = make_corpus([0, 20], [1, 21], [22, 30], [23, 40])
    split = np.full(48, 'test', 'U5')
    split[16:30] = 'train'
    split[30:36] = 'dev'
    split[1] = 'other'
    split[23] = 'other'
    utterances.text['split'] = split
    names = utterances.text['utterance']
    assert names_left_out(utterances, name='official') == sorted(names[[0, 1, 30, 23]])


def test_the_source_keeps_its_recording_and_identity_corpora_lose_theirs():
    """Whatever the order in which the corpora are stored."""
    utterances = make_corpus([0, 20], [1, 40], [21, 41])
    corpus = np.repeat(['x', 'y', 'z'], 16)
    utterances.text['corpus'] = corpus
    names = utterances.text['utterance']
    pair = {'name': 'source_target', 'source': ('y',), 'target': ('x',)}
    assert names_left_out(utterances, **pair, identity=('z',)) == sorted(names[[0, 40, 41]])
    pair = {'name': 'source_target', 'source': ('z',), 'target': ('y',)}
    assert names_left_out(utterances, **pair, identity=('x',)) == sorted(names[[0, 1, 21]])


def test_a_known_speaker_is_kept_before_an_unknown_one():
    """Folds by speaker do not use unknown ones: both recordings would be lost."""
    utterances = make_corpus([0, 20])
    utterances.text['speaker'][0] = ''
    assert names_left_out(utterances) == [utterances.text['utterance'][0]]


def test_the_list_has_all_pairs_and_says_which_leak(tmp_path):
    """Three identical recordings are three pairs; a pair within a part leaks nothing."""
    utterances = make_corpus([1, 2, 40])
    protocol = Protocol(folds=3)
    folds = make_folds(utterances, protocol)
    rows = duplicates.list_duplicates(
        utterances, folds, audit.compared_parts(protocol), np.arange(len(utterances))
    )
    names = utterances.text['utterance'].tolist()
    found = {(row['utterance'], row['copy']): row['leaks'] for row in rows}
    assert found == {
        (names[1], names[2]): '',
        (names[1], names[40]): 'yes',
        (names[2], names[40]): 'yes',
    }
    duplicates.write_duplicates(tmp_path / 'a.csv', rows)
    assert len((tmp_path / 'a.csv').read_text().splitlines()) == 4
    with pytest.raises(UserError, match='Name another file with --duplicates'):
        duplicates.write_duplicates(tmp_path / 'missing/a.csv', rows)


def test_of_very_many_copies_one_stays_and_each_is_listed(monkeypatch):
    """Although not all their pairs are found at once: 20 nearly identical, 12 identical ones."""
    monkeypatch.setattr(signature_search, 'MAX_COPIES', 3)
    monkeypatch.setattr(duplicates, 'MAX_COPIES', 3)
    identical = list(range(30, 42))
    utterances = make_corpus(identical)
    signature_NxS = utterances.signature_NxS.astype(float)
    noise_NxS = np.random.default_rng(0).normal(size=(20, signature_NxS.shape[1] - 1))
    signature_NxS[:20] = signature_NxS[0]
    signature_NxS[:20, 0] *= 1 + 1e-3 * ((np.arange(20) + 10) % 20)  # the first is in the middle
    signature_NxS[:20, 1:] += 0.1 * noise_NxS / np.linalg.norm(noise_NxS, axis=1, keepdims=True)
    utterances.signature_NxS = signature_NxS
    pairs_Px2 = duplicates.find_copy_pairs(utterances, np.arange(48))
    is_identical_P = (pairs_Px2 >= 30).all(axis=1)
    assert is_identical_P.sum() == 3 * 12 - (1 + 2 + 3)
    assert (~is_identical_P).sum() <= 2 * 3 * 20
    assert np.unique(pairs_Px2).tolist() == [*range(20), *identical]
    expected = [*range(1, 20), *identical[1:]]
    assert names_left_out(utterances) == sorted(utterances.text['utterance'][expected])


@pytest.mark.parametrize('seed', range(10))
def test_of_very_many_similar_recordings_each_that_is_left_out_has_a_kept_one(monkeypatch, seed):
    """The similarity falls along the group, so that a copy of a copy may be no copy."""
    monkeypatch.setattr(signature_search, 'MAX_COPIES', 3)
    utterances = make_corpus()
    random = np.random.default_rng(seed)
    plane_2xS = np.linalg.qr(random.normal(size=(utterances.signature_NxS.shape[1] - 1, 2)))[0].T
    angle_N = random.uniform(0, 0.8, 40)
    signature_NxS = utterances.signature_NxS.astype(float)
    signature_NxS[:40, 0] = 300
    signature_NxS[:40, 1:] = np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1) @ plane_2xS
    utterances.signature_NxS = signature_NxS
    remaining, dropped = duplicates.drop_copies(utterances, Protocol())
    assert len(dropped.rows) > 30
    assert {row['utterance'] for row in dropped.rows} <= set(remaining.text['utterance'].tolist())
    assert min(row['similarity'] for row in dropped.rows) >= signature_search.COPY_SIMILARITY
    assert not len(signature_search.find_near_duplicates(remaining.signature_NxS))

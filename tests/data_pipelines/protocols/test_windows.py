"""Tests that overlapping windows of one file are found exactly, from the corpus's own list."""

import itertools

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols import audit, audit_report
from data_pipelines.protocols.folds import make_folds
from data_pipelines.protocols.overlap import shared_windows
from data_pipelines.protocols.protocol import Protocol
from data_pipelines.protocols.windows import find_windows, overlap_mask, unite_overlaps

PAIRS = [('train', 'dev'), ('train', 'test'), ('dev', 'test')]


def make_windows(count: int, files: int):
    """Returns utterances with random windows of some files, and their times."""
    random = np.random.default_rng(0)
    utterances = make_utterances(speakers=count, per_class=1, classes=('sad',))
    start_N = random.integers(0, 40, count) / 10
    end_N = start_N + random.integers(1, 8, count) / 10
    end_N[::7] = np.inf
    file_N = random.integers(0, files, count)
    texts = [f'f{f} {s!r} {e!r}' for f, s, e in zip(file_N, start_N.tolist(), end_N.tolist())]
    utterances.text['window'] = np.array(texts)
    return utterances, file_N, start_N, end_N


def test_overlaps_are_those_of_a_comparison_of_all_pairs():
    utterances, file_N, start_N, end_N = make_windows(60, 5)
    windows = find_windows(utterances)
    side_N = np.random.default_rng(1).integers(0, 3, 60)
    expected = set()
    for a, b in itertools.product(range(60), range(60)):
        overlaps = file_N[a] == file_N[b] and max(start_N[a], start_N[b]) < min(end_N[a], end_N[b])
        if side_N[a] == 0 and side_N[b] == 1 and overlaps:
            expected.add(b)
    side_W = side_N[windows.row_W]
    assert set(windows.row_W[overlap_mask(windows, side_W == 0, side_W == 1)]) == expected
    assert 0 < len(expected) < (side_N == 1).sum()


def test_overlapping_windows_are_united_as_a_comparison_of_all_pairs_unites_them():
    utterances, file_N, start_N, end_N = make_windows(60, 12)
    group_N = unite_overlaps(find_windows(utterances), np.arange(60))
    expected_N = np.arange(60)
    for _ in range(60):
        for a, b in itertools.product(range(60), range(60)):
            times = max(start_N[a], start_N[b]) < min(end_N[a], end_N[b])
            if file_N[a] == file_N[b] and times:
                expected_N[a] = expected_N[b] = min(expected_N[a], expected_N[b])
    same = group_N[:, None] == group_N
    np.testing.assert_array_equal(same, expected_N[:, None] == expected_N)


def overlapping(window: str, other: str):
    """Returns utterances whose first of the first and of the last speaker have these windows."""
    utterances = make_utterances()
    utterances.text['window'] = np.full(len(utterances), '', 'U64')
    utterances.text['window'][0] = window
    utterances.text['window'][-1] = other
    return utterances


@pytest.mark.parametrize(
    ('window', 'other'),
    [
        ('f 0.0 2.0', 'f 1.999 3.0'),
        ('f 0.0 inf', 'f 100.0 101.0'),
        ('f 1.0 2.0', 'f 1.0 2.0'),
        ('f 0.0 9.0', 'f 2.0 2.001'),
    ],
)
def test_windows_that_overlap_across_parts_are_a_leak(window, other):
    """However little they share."""
    for first, second in ((window, other), (other, window)):
        utterances = overlapping(first, second)
        folds = make_folds(utterances, Protocol(folds=3))
        with pytest.raises(
            UserError, match=r'have overlapping windows of one file: [05]_'
        ) as error:
            audit.audit_folds(utterances, folds, Protocol(folds=3))
        assert 'under the speakers ' in str(error.value)
        assert "'s00'" in str(error.value)
        assert "'s05'" in str(error.value)
        findings = audit.audit_folds(utterances, folds, Protocol(folds=3, allow_leak='audio'))
        assert findings['leaks'] == ['audio']
        assert findings['windows']['count'] == 2
        assert 'LEAK (allowed): 2 utterances in overlapping windows' in '\n'.join(
            audit_report.summary_lines(findings)
        )


@pytest.mark.parametrize('other', ['f 2.0 3.0', 'g 0.0 2.0', ''])
def test_windows_that_only_touch_and_those_of_other_files_are_no_leak(other):
    utterances = overlapping('f 0.0 2.0', other)
    folds = make_folds(utterances, Protocol(folds=3))
    assert 'windows' not in audit.audit_folds(utterances, folds, Protocol(folds=3))


def test_segments_of_a_data_set_of_an_earlier_version_are_known_by_their_names():
    """Without a column of windows; a whole file overlaps each of its segments."""
    utterances = make_utterances()
    names = utterances.text['utterance'].astype('U64')
    utterances.text['utterance'] = names
    names[0], names[-1] = 'a/b#c.wav#0.5-2', 'a/b#c.wav#1.5-'
    folds = make_folds(utterances, Protocol(folds=3))
    assert shared_windows(utterances, folds, PAIRS)['count'] == 2
    names[-1] = 'a/b#c.wav#2-'
    assert shared_windows(utterances, folds, PAIRS)['count'] == 0
    names[-1] = 'a/b#c.wav'
    assert shared_windows(utterances, folds, PAIRS)['count'] == 2

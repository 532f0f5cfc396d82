"""Finds utterances that are overlapping windows of one file, by the times in the corpus's list."""

import math
import re
from typing import NamedTuple

import numpy as np

from data_pipelines.storage.schema import WINDOW_COLUMN, Utterances

# How `folder` names a segment: data sets of earlier versions have no column of windows.
SEGMENT_NAME_PATTERN = re.compile(r'(.+)#([^#-]*)-([^#-]*)', re.DOTALL)


class Windows(NamedTuple):
    """The windows of the utterances whose file is known, sorted by file and start.

    Times are given as their ranks: whole numbers in the order of the times. Each file has ranks of
    its own, above those of the file before it. So windows of all files are compared at once.
    """

    row_W: np.ndarray  # of the utterance
    file_W: np.ndarray  # number of the file
    start_W: np.ndarray  # rank of the start
    end_W: np.ndarray  # rank of the end


def find_windows(utterances: Utterances) -> Windows:
    """Returns the windows of all utterances; none if the data set has no segments."""
    window_N = utterances.text.get(WINDOW_COLUMN)
    texts = [''] * len(utterances) if window_N is None else window_N.tolist()
    segments = {}
    for row, text in enumerate(texts):
        if text:
            file, start, end = text.split(' ')
            segments[row] = (file, float(start), float(end))
    segments |= _segments_by_name(utterances.text['utterance'].tolist(), segments)
    rows = np.array(list(segments), int)
    files = [file for file, _, _ in segments.values()]
    times = np.array([(start, end) for _, start, end in segments.values()]).reshape(-1, 2)
    _, file_W = np.unique(np.array(files, dtype=str), return_inverse=True)
    ranks, rank_Wx2 = np.unique(times, return_inverse=True)
    rank_Wx2 = rank_Wx2.reshape(-1, 2) + (len(ranks) + 1) * file_W.reshape(-1, 1)
    order = np.lexsort((rows, rank_Wx2[:, 1], rank_Wx2[:, 0]))
    return Windows(rows[order], file_W[order], rank_Wx2[order, 0], rank_Wx2[order, 1])


def _segments_by_name(names: list[str], known: dict) -> dict[int, tuple[str, float, float]]:
    """Returns the (file, start, end) of the utterances whose names are those of segments, by row.

    Utterances in `known` are left out. An utterance with the name of such a file is the whole file.
    """
    segments = {}
    files = set()
    for row, name in enumerate(names):
        if '#' not in name or row in known:
            continue
        match = SEGMENT_NAME_PATTERN.fullmatch(name)
        if match is None:
            continue
        file, start, end = match.groups()
        try:
            segments[row] = (file, float(start or 0), float(end or math.inf))
        except ValueError:
            continue
        files.add(file)
    if not files:
        return segments
    for row, name in enumerate(names):
        if name in files and row not in known:
            segments[row] = (name, 0.0, math.inf)
    return segments


def overlap_mask(windows: Windows, is_first_W: np.ndarray, is_second_W: np.ndarray) -> np.ndarray:
    """Returns mask_W of the windows of the second set that overlap one of the first set.

    Windows that only touch do not overlap. A window that is in both sets overlaps itself.
    """
    count = len(windows.row_W)
    if not count:
        return np.zeros(0, bool)
    # A window of the first set that starts before this one overlaps it if it ends after its start;
    # one that starts later overlaps it if it starts before its end. Windows are sorted by start.
    latest_end_W = np.maximum.accumulate(np.where(is_first_W, windows.end_W, -1))
    no_start = windows.end_W.max() + 1
    starts_W = np.where(is_first_W, windows.start_W, no_start)
    next_start_W = np.minimum.accumulate(starts_W[::-1])[::-1]
    overlaps_W = (latest_end_W > windows.start_W) | (next_start_W < windows.end_W)
    return is_second_W & overlaps_W


def find_partner(windows: Windows, window: int, is_first_W: np.ndarray) -> int:
    """Returns the first window of a set that overlaps `window`; there must be one."""
    overlaps_W = (windows.start_W < windows.end_W[window]) & (
        windows.end_W > windows.start_W[window]
    )
    return int(np.flatnonzero(overlaps_W & is_first_W)[0])


def unite_overlaps(windows: Windows, group_N: np.ndarray) -> np.ndarray:
    """Returns group_N, in which the groups of windows that overlap have become one group."""
    parent = {}

    def find_root(group: int) -> int:
        while parent.setdefault(group, group) != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    group_W = group_N[windows.row_W].tolist()
    latest_end = -1
    last_group = -1
    for group, start, end in zip(group_W, windows.start_W.tolist(), windows.end_W.tolist()):
        if start < latest_end:
            parent[find_root(group)] = find_root(last_group)
        latest_end = max(latest_end, end)
        last_group = group
    return np.array([find_root(group) for group in group_N.tolist()], int)

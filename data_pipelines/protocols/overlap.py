"""Finds what the parts of a fold have in common: values of columns, sentences, classes."""

import itertools

import numpy as np

from data_pipelines import labels
from data_pipelines.protocols.folds import ALL_PARTS, PARTS, Fold, rows_of_parts
from data_pipelines.protocols.windows import Windows, find_partner, find_windows, overlap_mask
from data_pipelines.speaker_names import identity_keys
from data_pipelines.storage.schema import Utterances

MAX_EXAMPLES = 10


def shared_values(
    utterances: Utterances, column: str, folds: list[Fold], part_pairs: list[tuple[str, str]]
) -> dict:
    """Returns the values of a column that two parts of a fold share, without '' (unknown).

    Each value is counted once. The folds that share values are counted too, and examples listed.
    Speakers are compared by their identity keys; 'spellings' of an example are the two names.
    """
    text_N = utterances.text[column]
    value_N = text_N
    if column == 'speaker':
        value_N = identity_keys(text_N, utterances.text['corpus'])
    values, index_N = np.unique(value_N, return_inverse=True)
    shared = set()
    fold_numbers = set()
    examples = []
    for fold in folds:
        present = presence_by_part(fold, index_N, len(values))
        for pair in part_pairs:
            both = present[pair[0]] & present[pair[1]] & (values != '')
            for index in np.flatnonzero(both).tolist():
                fold_numbers.add(fold.number)
                if index not in shared and len(examples) < MAX_EXAMPLES:
                    rows = [first_row(getattr(fold, part), index_N, index) for part in pair]
                    names = [str(utterances.text['utterance'][row]) for row in rows]
                    spellings = [str(text_N[row]) for row in rows]
                    example = {'fold': fold.name, 'parts': list(pair), column: spellings[0]}
                    example['utterances'] = names
                    if spellings[0] != spellings[1]:
                        example['spellings'] = spellings
                    examples.append(example)
                shared.add(index)
    return {'count': len(shared), 'in_folds': len(fold_numbers), 'examples': examples}


def shared_windows(
    utterances: Utterances, folds: list[Fold], part_pairs: list[tuple[str, str]]
) -> dict:
    """Returns which windows of one file overlap although they are in two parts of a fold.

    'count' is the number of utterances that overlap one of another part; 'examples' has at most
    MAX_EXAMPLES pairs of them, with their speakers.
    """
    windows = find_windows(utterances)
    if not len(windows.row_W):
        return {'count': 0, 'in_folds': 0, 'examples': []}
    is_shared_W = np.zeros(len(windows.row_W), bool)
    fold_numbers = set()
    examples: list[dict] = []
    row_N = np.arange(len(utterances))
    for fold in folds:
        present = presence_by_part(fold, row_N, len(utterances))
        for pair in part_pairs:
            is_first_W = present[pair[0]][windows.row_W]
            is_second_W = present[pair[1]][windows.row_W]
            overlaps_W = overlap_mask(windows, is_first_W, is_second_W)
            if not overlaps_W.any():
                continue
            fold_numbers.add(fold.number)
            for w in np.flatnonzero(overlaps_W & ~is_shared_W)[: MAX_EXAMPLES - len(examples)]:
                example = {'fold': fold.name, 'parts': list(pair)}
                examples.append(example | _overlapping_pair(utterances, windows, w, is_first_W))
            is_shared_W |= overlaps_W | overlap_mask(windows, is_second_W, is_first_W)
    return {'count': int(is_shared_W.sum()), 'in_folds': len(fold_numbers), 'examples': examples}


def _overlapping_pair(
    utterances: Utterances, windows: Windows, window: int, is_first_W: np.ndarray
) -> dict[str, list[str]]:
    """Returns the names and speakers of a window of the first part and of `window`."""
    rows = windows.row_W[[find_partner(windows, window, is_first_W), window]]
    return {
        'utterances': utterances.text['utterance'][rows].tolist(),
        'speakers': utterances.text['speaker'][rows].tolist(),
    }


def presence_by_part(fold: Fold, index_N: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Returns for each part of a fold which of `count` indices its utterances have."""
    presence = {}
    for part in ALL_PARTS:
        presence[part] = np.bincount(index_N[getattr(fold, part)], minlength=count) > 0
    return presence


def first_row(rows: np.ndarray, index_N: np.ndarray, index: int) -> int:
    """Returns the first of the rows that has the index."""
    return int(rows[np.flatnonzero(index_N[rows] == index)[0]])


def sentence_overlap(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns how many of the test sentences, over all folds, are in training too.

    'known' counts test utterances with a known sentence, 'heard' those of them whose sentence is
    in training; 'sentences' and 'sentences_heard' count different sentences.
    """
    sentences, sentence_N = np.unique(utterances.text['sentence'], return_inverse=True)
    known = []
    seen = []
    for fold in folds:
        tested = sentence_N[fold.test]
        tested = tested[sentences[tested] != '']
        is_trained_K = np.bincount(sentence_N[fold.train], minlength=len(sentences)) > 0
        known.append(tested)
        seen.append(tested[is_trained_K[tested]])
    known = np.concatenate(known)
    seen = np.concatenate(seen)
    return {
        'known': len(known),
        'heard': len(seen),
        'sentences': len(np.unique(known)),
        'sentences_heard': len(np.unique(seen)),
    }


def missing_classes(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns the parts of folds that have no utterance of a class: their count, and examples."""
    classes, emotion_N = np.unique(utterances.text['emotion'], return_inverse=True)
    used_C = np.bincount(emotion_N[rows_of_parts(folds, PARTS)], minlength=len(classes))
    is_used_C = (used_C > 0) & (classes != '')
    parts = []
    for fold, part in itertools.product(folds, PARTS):
        count_C = np.bincount(emotion_N[getattr(fold, part)], minlength=len(classes))
        missing = labels.in_order(classes[is_used_C & (count_C == 0)].tolist())
        if missing:
            parts.append({'fold': fold.name, 'part': part, 'classes': missing})
    return {'parts': len(parts), 'examples': parts[:MAX_EXAMPLES]}

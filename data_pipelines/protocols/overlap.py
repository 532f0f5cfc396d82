"""Finds what the parts of a fold have in common: values of columns, sentences, classes."""

import itertools

import numpy as np

from data_pipelines.protocols.folds import ALL_PARTS, PARTS, Fold, rows_of_parts
from data_pipelines.storage.schema import Utterances

MAX_EXAMPLES = 10


def shared_values(
    utterances: Utterances, column: str, folds: list[Fold], part_pairs: list[tuple[str, str]]
) -> dict:
    """Returns the values of a column that two parts of a fold share, without '' (unknown).

    Each value is counted once. The folds that share values are counted too, and examples listed.
    """
    values, index_N = np.unique(utterances.text[column], return_inverse=True)
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
                    example = {'fold': fold.name, 'parts': list(pair), column: str(values[index])}
                    examples.append(example | {'utterances': names})
                shared.add(index)
    return {'count': len(shared), 'in_folds': len(fold_numbers), 'examples': examples}


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
    sentence_N = utterances.text['sentence']
    known = []
    seen = []
    for fold in folds:
        tested = sentence_N[fold.test]
        tested = tested[tested != '']
        known.append(tested)
        seen.append(tested[np.isin(tested, sentence_N[fold.train])])
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
    emotion_N = utterances.text['emotion']
    classes = set(emotion_N[rows_of_parts(folds, PARTS)])
    parts = []
    for fold, part in itertools.product(folds, PARTS):
        missing = sorted(classes - set(emotion_N[getattr(fold, part)]))
        if missing:
            names = [str(name) for name in missing]
            parts.append({'fold': fold.name, 'part': part, 'classes': names})
    return {'parts': len(parts), 'examples': parts[:MAX_EXAMPLES]}

"""Adds utterances without one class to training parts, where the raters' votes are the labels.

Raters may disagree on an utterance, or agree on an emotion that the label space lacks. Such an
utterance has no class, and with config.train.soft_labels it trains by its votes. It is in training
parts only. The folds are those of the utterances with a class: dev and test parts, and what is
withheld or set aside, do not depend on soft labels.
"""

import dataclasses

import numpy as np

from data_pipelines.protocols.duplicates import find_copy_pairs
from data_pipelines.protocols.folds import ALL_PARTS, Fold, identity_mask, rows_of_parts
from data_pipelines.protocols.protocol import (
    CROSS_CORPUS_PROTOCOLS,
    SEPARATE_SENTENCE_PROTOCOLS,
    Protocol,
    parse_allowed_leaks,
)
from data_pipelines.storage.schema import ARRAY_COLUMNS, Utterances

# Parts of a fold whose recordings must not be in training.
UNTRAINED_PARTS = ('dev', 'test', 'withheld', 'reserved')


def split_undecided(
    utterances: Utterances, identity_corpora: tuple[str, ...]
) -> tuple[Utterances, Utterances]:
    """Returns the utterances with a class or of `identity_corpora`, and the undecided others."""
    has_class_N = utterances.text['emotion'] != ''
    is_decided_N = has_class_N | identity_mask(utterances, identity_corpora)
    return utterances[np.flatnonzero(is_decided_N)], utterances[np.flatnonzero(~is_decided_N)]


def add_undecided(
    decided: Utterances, folds: list[Fold], undecided: Utterances, protocol: Protocol
) -> tuple[Utterances, list[Fold]]:
    """Returns all utterances, the undecided ones last, and folds that train on these too.

    An undecided utterance is in the training part of a fold as an utterance with a class would be:
    not with a speaker of dev or test if the protocol separates speakers, and so for sentences,
    sessions, corpora and the official split. It is not a copy of a recording of dev, test, or what
    is withheld or set aside.
    """
    utterances = _join(decided, undecided)
    rows = len(decided) + np.arange(len(undecided))
    if protocol.drop_copies:
        pairs_Px2 = find_copy_pairs(utterances, np.arange(len(utterances)))
        rows = np.setdiff1d(rows, pairs_Px2)
    extended = []
    for fold in folds:
        added = rows[_may_train(utterances, fold, rows, protocol)]
        extended.append(dataclasses.replace(fold, train=np.concatenate([fold.train, added])))
    return utterances, extended


def count_used(utterances: Utterances, folds: list[Fold], identity: tuple[str, ...]) -> int:
    """Returns the number of undecided utterances that are in a part of a fold."""
    rows = rows_of_parts(folds, ALL_PARTS)
    is_undecided_N = (utterances.text['emotion'] == '') & ~identity_mask(utterances, identity)
    return int(is_undecided_N[rows].sum())


def _join(first: Utterances, second: Utterances) -> Utterances:
    """Returns the rows of two selections of the same data sets, one after another."""
    text = {}
    for key, column in first.text.items():
        text[key] = np.concatenate([column, second.text[key]])
    arrays = {}
    for name in ARRAY_COLUMNS:
        arrays[name] = np.concatenate([getattr(first, name), getattr(second, name)])
    return Utterances(text, files=first.files, **arrays)


def _may_train(
    utterances: Utterances, fold: Fold, rows: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """Returns, for each of the rows, whether it may be in the fold's training part."""
    text = utterances.text
    held_out = np.concatenate([fold.dev, fold.test, fold.adapt])
    may_train = np.ones(len(rows), bool)
    if protocol.name == 'official':
        may_train &= text['split'][rows] == 'train'
    column = CROSS_CORPUS_PROTOCOLS.get(protocol.name)
    if protocol.name == 'leave_one_session_out':
        column = 'session'
    if column is not None:
        may_train &= np.isin(text[column][rows], text[column][fold.train])
    allows_speakers = 'speaker' in parse_allowed_leaks(protocol.allow_leak)
    if not (protocol.shares_speakers or allows_speakers):
        may_train &= ~_is_known_in(text['speaker'], rows, held_out)
    if protocol.name in SEPARATE_SENTENCE_PROTOCOLS:
        may_train &= text['sentence'][rows] != ''
        may_train &= ~_is_known_in(text['sentence'], rows, held_out)
    untrained = np.concatenate([getattr(fold, part) for part in UNTRAINED_PARTS])
    return may_train & ~_is_known_in(text['sha256'], rows, untrained)


def _is_known_in(value_N: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns, for each of the rows, whether its value is known and one of the other rows'."""
    return (value_N[rows] != '') & np.isin(value_N[rows], value_N[others])

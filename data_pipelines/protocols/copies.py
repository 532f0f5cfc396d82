"""Keeps speed-perturbed copies where their sources are: only those of training utterances train."""

import dataclasses

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold
from data_pipelines.protocols.overlap import MAX_EXAMPLES
from data_pipelines.speed_copies import source_corpus, source_utterance
from data_pipelines.storage.schema import Utterances

NO_COPY = -2  # in source_N: an utterance that is no copy
NO_SOURCE = -1  # in source_N: a copy whose source is not among the utterances

# Parts of a fold whose utterances must have no copy in training.
UNTRAINED_PARTS = ('dev', 'test', 'withheld')


def find_sources(utterances: Utterances) -> np.ndarray:
    """Returns source_N, of each copy the row of its source; NO_COPY or NO_SOURCE if it has none."""
    corpora = utterances.text['corpus'].tolist()
    source_N = np.full(len(utterances), NO_COPY)
    copies = {name for name in set(corpora) if source_corpus(name) is not None}
    if not copies:
        return source_N
    names = utterances.text['utterance'].tolist()
    row_of_utterance = {key: row for row, key in enumerate(zip(corpora, names))}
    for row, (corpus, name) in enumerate(zip(corpora, names)):
        if corpus in copies:
            source = (source_corpus(corpus), source_utterance(name, corpus))
            source_N[row] = row_of_utterance.get(source, NO_SOURCE)
    return source_N


def keep_copies_of_training(utterances: Utterances, fold: Fold) -> Fold:
    """Returns the fold with only those copies in `identity` whose source is in its `train`.

    UserError if these were all of its identity rows, and none is left.
    """
    rows = fold.identity
    source_N = find_sources(utterances)
    is_kept = (source_N[rows] == NO_COPY) | np.isin(source_N[rows], fold.train)
    if len(rows) and not is_kept.any():
        names = np.unique(utterances.text['corpus'][rows]).tolist()
        raise UserError(
            f'{", ".join(names)} contains no copy of a training utterance of fold {fold.name!r}: '
            'config.protocol.identity names copies of a corpus that is not trained on. '
            'Train on that corpus, or name copies of the one that is trained on.'
        )
    return dataclasses.replace(fold, identity=rows[is_kept])


def unused_copies(utterances: Utterances, fold: Fold) -> np.ndarray:
    """Returns the rows of the copies that the fold does not use."""
    copies = np.flatnonzero(find_sources(utterances) != NO_COPY)
    return np.setdiff1d(copies, fold.identity)


def inspect_copies(utterances: Utterances, folds: list[Fold]) -> dict:
    """Returns how many copies each fold trains on, and those whose source it must not train on.

    'utterances' has the number of copies in each fold, 'leaked' counts the copies of dev, test or
    withheld utterances over all folds, and 'examples' has some of these. Empty without copies.
    """
    source_N = find_sources(utterances)
    if not (source_N != NO_COPY).any():
        return {}
    counts = []
    leaked = 0
    examples = []
    for fold in folds:
        rows = np.concatenate([fold.train_and_adapt, fold.identity])
        rows = rows[source_N[rows] != NO_COPY]
        counts.append(len(rows))
        for part in UNTRAINED_PARTS:
            leaks = rows[np.isin(source_N[rows], getattr(fold, part))]
            leaked += len(leaks)
            names = utterances.text['utterance'][leaks[: MAX_EXAMPLES - len(examples)]]
            for name in names.tolist():
                examples.append({'fold': fold.name, 'part': part, 'utterance': name})
    return {'utterances': counts, 'leaked': leaked, 'examples': examples}

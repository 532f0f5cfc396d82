"""Takes a subset of a fold's training part: fewer speakers, confounded emotions, fewer utterances.

The fields of `Subset` are applied in their order. The subset depends only on the order seed and the
fold. Subsets are nested: if two differ only in the last field that is set, the smaller one is part
of the larger one. dev, test and what training adapts to are not changed. The sizes per class are
those of Gat et al. 2022 (arXiv 2202.01252). Which utterances are drawn, and the degree of
confounding, are this project's choice.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.copies import keep_copies_of_training
from data_pipelines.protocols.enrolment import choose_enrolled
from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances

SUBSET_STREAM = 1  # a random stream apart from that of an epoch's order, (order seed, fold, epoch)


class Subset(NamedTuple):
    """How much of a training part is kept; None is all of it."""

    speakers: int | None = None  # number of speakers; equally many of each sex, where that is known
    # From 0 to 1: each speaker is given one class, and this share of the speaker's utterances of
    # other classes is left out.
    confounded: float | None = None
    per_class: int | None = None  # largest number of utterances of each class
    # This one does not cut the training part: the number of enrolled utterances of each dev and
    # test speaker, or 'all' (enrolment.py).
    enrol: int | str | None = None


def take_subset(
    utterances: Utterances,
    fold: Fold,
    subset: Subset,
    order_seed: int,
    has_classes: bool = True,
) -> Fold:
    """Returns the fold with a subset of its training part; UserError if that loses a class.

    `has_classes` says whether classes are predicted. If not, the emotions are thirds of a rating's
    scale, some of which may be lost. `speakers` and `confounded` leave out utterances of unknown
    speakers. `confounded` and `per_class` leave out those without a class, which train by their
    votes.
    """
    if subset.enrol is not None:
        fold = choose_enrolled(utterances, fold, subset.enrol)
    if subset._replace(enrol=None) == Subset():
        return fold
    random = np.random.default_rng((order_seed, fold.number, 0, SUBSET_STREAM))
    emotion_N = utterances.text['emotion']
    has_class = emotion_N[fold.train] != ''
    undecided = fold.train[~has_class]
    fold_train = fold.train[has_class]
    train = random.permutation(fold_train)  # what comes first is kept first
    speakers = random.permutation(_known_speakers(utterances, fold_train))
    chosen = _alternate_sexes(utterances, speakers)[: subset.speakers]
    if subset.speakers is not None or subset.confounded is not None:
        train = train[np.isin(utterances.text['speaker'][train], chosen)]
    if subset.confounded is not None:
        classes = np.unique(emotion_N[fold_train])
        train = _confound(utterances, train, chosen, classes, subset.confounded)
    if subset.per_class is not None:
        train = _limit_per_class(train, emotion_N[train], subset.per_class)
    lost = set(emotion_N[fold_train]) - set(emotion_N[train])
    if lost and (has_classes or not len(train)):
        raise UserError(
            f'With {_describe_subset(subset)} the training part of fold {fold.name!r} has no '
            f'utterance of the class {" or ".join(sorted(lost))}. '
            'Choose larger --config.sweep.speakers or per_class, or smaller confounded.'
        )
    if subset.confounded is None and subset.per_class is None:
        is_chosen = np.isin(utterances.text['speaker'][undecided], chosen)
        train = np.concatenate([train, undecided[is_chosen]])
    smaller = dataclasses.replace(fold, train=np.sort(train))
    smaller = keep_copies_of_training(utterances, smaller)
    return dataclasses.replace(
        smaller,
        attacker_test=_remaining_attacker_test(utterances, fold, smaller),
        **_remaining_enrolment(fold, smaller),
    )


def _remaining_enrolment(fold: Fold, smaller: Fold) -> dict[str, np.ndarray]:
    """Returns the fields of a smaller fold about enrolment, without rows that left training."""
    lost = np.setdiff1d(fold.train_and_adapt, smaller.train_and_adapt)
    fields = {}
    for name in ('reserved', 'enrolment', 'enrolled'):
        rows = getattr(fold, name)
        fields[name] = rows[~np.isin(rows, lost)]
    return fields


def _remaining_attacker_test(utterances: Utterances, fold: Fold, smaller: Fold) -> np.ndarray:
    """Returns the rows of `fold.attacker_test` that still test attackers in a smaller fold.

    These are the withheld rows of speakers who are still in training, and of the others those that
    are still in its training data. An attacker must be able to learn a tested speaker: without a
    row in `fit_rows` the speaker is not tested.
    """
    rows = fold.attacker_test
    is_withheld = np.isin(rows, fold.withheld)
    rows = rows[is_withheld | np.isin(rows, smaller.train_and_adapt)]
    fit_rows = dataclasses.replace(smaller, attacker_test=rows).fit_rows
    speaker_N = utterances.text['speaker']
    return rows[np.isin(speaker_N[rows], speaker_N[fit_rows])]


def _known_speakers(utterances: Utterances, train: np.ndarray) -> np.ndarray:
    """Returns the known speakers of the rows of a training part, in alphabetical order."""
    speakers = np.unique(utterances.text['speaker'][train])
    return speakers[speakers != '']


def _alternate_sexes(utterances: Utterances, speakers: np.ndarray) -> list[str]:
    """Returns the speakers with the sexes in turn, until one of them has no more speakers."""
    sex_of = dict(zip(utterances.text['speaker'].tolist(), utterances.text['sex'].tolist()))
    count_of_sex: dict[str, int] = {}
    sort_keys = {}
    for speaker in speakers.tolist():
        sex = sex_of[speaker]
        turn = count_of_sex.get(sex, 0)
        count_of_sex[sex] = turn + 1
        sort_keys[speaker] = (turn, sex)
    return sorted(sort_keys, key=sort_keys.get)


def _confound(
    utterances: Utterances,
    train: np.ndarray,
    speakers: list[str],
    classes: np.ndarray,
    confounded: float,
) -> np.ndarray:
    """Returns the rows without the share `confounded` of each speaker's other classes."""
    speaker_N = utterances.text['speaker'][train]
    emotion_N = utterances.text['emotion'][train]
    keep_N = np.ones(len(train), bool)
    for n, speaker in enumerate(speakers):
        # Each round through the classes begins one class later. Every second speaker has the same
        # sex; without this, a sex would be given only half of an even number of classes.
        own_class = classes[(n + n // len(classes)) % len(classes)]
        others = np.flatnonzero((speaker_N == speaker) & (emotion_N != own_class))
        keep_N[others[round((1 - confounded) * len(others)) :]] = False
    return train[keep_N]


def _limit_per_class(train: np.ndarray, emotion_N: np.ndarray, limit: int) -> np.ndarray:
    """Returns at most `limit` rows of each class, the first ones."""
    rows = [train[:0]]
    for emotion in np.unique(emotion_N):
        rows.append(train[emotion_N == emotion][:limit])
    return np.concatenate(rows)


def _describe_subset(subset: Subset) -> str:
    """Returns the fields that are set, e.g. 'speakers=4, per_class=10'."""
    return ', '.join(f'{k}={v}' for k, v in subset._asdict().items() if v is not None)


def describe_shortages(
    utterances: Utterances, folds: list[Fold], subsets: list[Subset], order_seed: int
) -> list[str]:
    """Returns a sentence for each value of a sweep that asks for more than training has."""
    sentences = []
    for limit in sorted({s.speakers for s in subsets} - {None}):
        counts = [len(_known_speakers(utterances, fold.train)) for fold in folds]
        if min(counts) < limit:
            sentences.append(
                f'config.sweep.speakers={limit}: '
                f'training has only {format_range(counts)} speakers, all of which are used.'
            )
    for limit in sorted({s.per_class for s in subsets} - {None}):
        limited = [s for s in subsets if s.per_class == limit]
        counts_of_class = _class_counts(utterances, folds, limited, order_seed)
        short = []
        for emotion, counts in counts_of_class.items():
            if min(counts) < limit:
                short.append(f'{format_range(counts)} {emotion}')
        if short:
            sentences.append(
                f'config.sweep.per_class={limit}: '
                f'training has only {", ".join(short)}, all of which are used.'
            )
    return sentences


def _class_counts(
    utterances: Utterances, folds: list[Fold], subsets: list[Subset], order_seed: int
) -> dict[str, list[int]]:
    """Returns the counts of each class in the training parts of all folds and subsets."""
    counts_of_class: dict[str, list[int]] = {}
    for fold in folds:
        for subset in subsets:
            train = take_subset(utterances, fold, subset, order_seed).train
            classes, counts = np.unique(utterances.text['emotion'][train], return_counts=True)
            for emotion, count in zip(classes.tolist(), counts.tolist()):
                counts_of_class.setdefault(emotion, []).append(count)
    return counts_of_class


def format_range(counts: list[int]) -> str:
    """Returns the range of some counts: '9', or '8 to 9'."""
    low = min(counts)
    high = max(counts)
    return f'{low}' if low == high else f'{low} to {high}'

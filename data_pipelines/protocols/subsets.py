"""Which of a fold's training part is trained on: some speakers, emotion confounded with the speaker, some utterances of a class.

A subset is applied in the order of `Subset`'s fields. What is taken is a function of (order seed, fold) alone and nested: of two
values of the last field that is given, what the scarcer one keeps the other keeps too. dev, test, and what training adapts to
stay whole.
The sizes per class are those of Gat et al. 2022 (arXiv 2202.01252); who is drawn, and the dial of confounding, are ours.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances

SUBSET_STREAM = 1  # beside (order seed, fold, 0), that no epoch's order is drawn from


class Subset(NamedTuple):
    """What is kept of a training part; None is all."""

    speakers: int | None = None  # so many, of each sex alike where it is known
    # 0 to 1: each speaker is given a class in turn, and of his utterances of other classes this share is left out.
    confounded: float | None = None
    per_class: int | None = None  # at most so many utterances of a class


def take_subset(utterances: Utterances, fold: Fold, subset: Subset, order_seed: int) -> Fold:
    """The fold with that part of its training part; refuses to leave a class without anybody.

    Under `speakers` and `confounded`, utterances whose speaker nobody knows are left out.
    """
    if subset == Subset():
        return fold
    random = np.random.default_rng((order_seed, fold.number, 0, SUBSET_STREAM))
    train = random.permutation(fold.train)  # who comes first is kept first
    speaker_N, emotion_N = utterances.text['speaker'], utterances.text['emotion']
    chosen = _alternate_sexes(utterances, random.permutation(_known_speakers(utterances, fold)))[
        : subset.speakers
    ]
    if subset.speakers is not None or subset.confounded is not None:
        train = train[np.isin(speaker_N[train], chosen)]
    if subset.confounded is not None:
        classes = np.unique(emotion_N[fold.train])
        # Each round of classes begins one later, so that speakers of one sex, who are every other one, have all classes.
        own = {s: classes[(n + n // len(classes)) % len(classes)] for n, s in enumerate(chosen)}
        his = {s: train[(speaker_N[train] == s) & (emotion_N[train] != own[s])] for s in chosen}
        left = [rows[round((1 - subset.confounded) * len(rows)) :] for rows in his.values()]
        train = train[~np.isin(train, np.concatenate([train[:0], *left]))]
    if subset.per_class is not None:
        some = [
            train[emotion_N[train] == c][: subset.per_class] for c in np.unique(emotion_N[train])
        ]
        train = np.concatenate([train[:0], *some])
    if lost := sorted(set(emotion_N[fold.train]) - set(emotion_N[train])):
        what = ', '.join(f'{k}={v}' for k, v in subset._asdict().items() if v is not None)
        raise UserError(
            f'With {what} nobody in the training part of fold {fold.name!r} is {" or ".join(lost)}. '
            'Keep more of it: config.sweep.speakers, confounded and per_class say how much.'
        )
    return dataclasses.replace(fold, train=np.sort(train))


def _known_speakers(utterances: Utterances, fold: Fold) -> np.ndarray:
    """The known speakers of the training part, by name."""
    speakers = np.unique(utterances.text['speaker'][fold.train])
    return speakers[speakers != '']


def _alternate_sexes(utterances: Utterances, speakers: np.ndarray) -> list[str]:
    """The speakers, one of each sex in turn, as long as there are any."""
    sex = dict(zip(utterances.text['speaker'].tolist(), utterances.text['sex'].tolist()))
    sexes: dict[str, list[str]] = {}
    for speaker in speakers.tolist():
        sexes.setdefault(sex[speaker], []).append(speaker)
    place = {s: (n, kind) for kind, those in sexes.items() for n, s in enumerate(those)}
    return sorted(place, key=place.get)


def describe_shortages(
    utterances: Utterances, folds: list[Fold], subsets: list[Subset], order_seed: int
) -> list[str]:
    """What is said where a value is more than there is, so that all of it is used."""
    said = []
    for n in sorted({s.speakers for s in subsets} - {None}):
        there = [len(_known_speakers(utterances, f)) for f in folds]
        if min(there) < n:
            said.append(
                f'config.sweep.speakers={n}: {format_range(there)} speakers are all that training has.'
            )
    for n in sorted({s.per_class for s in subsets} - {None}):
        parts = [
            utterances.text['emotion'][take_subset(utterances, f, s, order_seed).train]
            for f in folds
            for s in subsets
            if s.per_class == n
        ]
        found: dict[str, list[int]] = {}
        for part in parts:
            for emotion, count in zip(*np.unique(part, return_counts=True)):
                found.setdefault(str(emotion), []).append(int(count))
        if fewer := [
            f'{format_range(counts)} {emotion}'
            for emotion, counts in found.items()
            if min(counts) < n
        ]:
            said.append(
                f'config.sweep.per_class={n}: {", ".join(fewer)} are all that training has.'
            )
    return said


def format_range(counts: list[int]) -> str:
    """'9', '8 to 9'."""
    return f'{min(counts)}' if min(counts) == max(counts) else f'{min(counts)} to {max(counts)}'

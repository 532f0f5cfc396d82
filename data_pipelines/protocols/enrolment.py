"""Chooses the utterances that are enrolled: from them a speaker's offset is estimated.

Half of a speaker's utterances are set aside, in random order. Labels are not read. They are in no
score, whatever number of them is enrolled, so that all numbers are compared on the same utterances.
Order seed and fold number alone determine the order, and a larger number enrols more in the same
order.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import Fold
from data_pipelines.protocols.withholding import first_copies
from data_pipelines.storage.schema import Utterances

# A random stream apart from those of an epoch's order, of a subset and of withholding.
ENROLMENT_STREAM = 3
TRAINING_STREAM = 4  # and that of the sets that are enrolled in training

# The numbers of utterances that are enrolled in training, equally often; None is all.
TRAINING_COUNTS = (0, 1, 2, 4, 8, 16, None)
ONE_EMOTION_SHARE = 1 / 3  # of the sets in training: they have utterances of one emotion
TRAINING_DRAWS = 16  # of sets for each speaker


def reserve_enrolment(utterances: Utterances, fold: Fold, protocol, order_seed: int) -> Fold:
    """Sets utterances aside and enrols some of them, as the protocol says; returns the new fold.

    What is set aside is removed from dev and test, but not from `train` or `adapt`.
    """
    if protocol.enrol == 'none':
        return fold
    fold = _reserve(utterances, fold, protocol.enrol_from, (order_seed, fold.number, 0))
    return choose_enrolled(utterances, fold, protocol.enrol)


def redraw_enrolment(
    utterances: Utterances, fold: Fold, enrol_from: str, enrol: int | str, seed: tuple[int, ...]
) -> Fold:
    """Returns the fold with other utterances of the dev and test speakers set aside.

    Those of training speakers remain set aside, and none of them is enrolled. `seed` determines
    the choice. Of a speaker in dev and test, all that was set aside is returned to test: it chose
    no epoch.
    """
    speaker_N = utterances.text['speaker']
    evaluated_speakers = speaker_N[np.concatenate([fold.dev, fold.test])]
    is_trained = np.isin(fold.reserved, fold.train)
    is_returned = ~is_trained & np.isin(speaker_N[fold.reserved], evaluated_speakers)
    returned = fold.reserved[is_returned]
    is_tested = np.isin(speaker_N[returned], speaker_N[fold.test])
    whole = dataclasses.replace(
        fold,
        dev=np.union1d(fold.dev, returned[~is_tested]),
        test=np.union1d(fold.test, returned[is_tested]),
    )
    drawn = _reserve(utterances, whole, enrol_from, seed)
    evaluated_rows = np.concatenate([whole.dev, whole.test])
    reserved = np.intersect1d(drawn.reserved, evaluated_rows)
    redrawn = dataclasses.replace(
        drawn,
        reserved=np.union1d(reserved, fold.reserved[~is_returned]),
        enrolment=drawn.enrolment[np.isin(drawn.enrolment, reserved)],
    )
    return choose_enrolled(utterances, redrawn, enrol)


def _reserve(utterances: Utterances, fold: Fold, enrol_from: str, seed: tuple[int, ...]) -> Fold:
    """Returns the fold with half of each speaker's utterances in each part set aside, in order."""
    draw_N = np.random.default_rng((*seed, ENROLMENT_STREAM)).random(len(utterances))
    draw_N = draw_N[first_copies(utterances, np.arange(len(utterances)))]
    speaker_N = utterances.text['speaker']
    reserved = []
    # A protocol may adapt to the test part.
    training_rows = np.setdiff1d(fold.train_and_adapt, np.concatenate([fold.dev, fold.test]))
    for part in (training_rows, fold.dev, fold.test):
        candidates = np.setdiff1d(part, fold.attacker_test)
        for rows in _rows_by_speaker(candidates, speaker_N).values():
            draws = np.unique(draw_N[rows])  # one for each recording
            reserved.append(rows[np.isin(draw_N[rows], draws[: len(draws) // 2])])
    reserved_rows = np.unique(np.concatenate(reserved)) if reserved else fold.reserved
    in_order = reserved_rows[np.argsort(draw_N[reserved_rows], kind='stable')]
    return dataclasses.replace(
        fold,
        dev=np.setdiff1d(fold.dev, reserved_rows),
        test=np.setdiff1d(fold.test, reserved_rows),
        reserved=reserved_rows,
        enrolment=_filter_emotions(utterances, in_order, enrol_from),
    )


def _rows_by_speaker(rows: np.ndarray, speaker_N: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the rows of each known speaker, in the given order."""
    own_rows: dict[str, list[int]] = {}
    for row, speaker in zip(rows.tolist(), speaker_N[rows].tolist()):
        if speaker:
            own_rows.setdefault(speaker, []).append(row)
    return {speaker: np.array(listed) for speaker, listed in own_rows.items()}


def _filter_emotions(utterances: Utterances, rows: np.ndarray, enrol_from: str) -> np.ndarray:
    """Returns those of the rows, in their order, that `enrol_from` allows.

    'one' allows the emotion of each speaker's first utterance.
    """
    emotion_N = utterances.text['emotion']
    if enrol_from == 'any':
        return rows
    if enrol_from == 'neutral':
        if 'neutral' not in emotion_N:
            classes = ', '.join(np.unique(emotion_N[emotion_N != '']).tolist())
            raise UserError(
                'config.protocol.enrol_from=neutral, and no utterance has the class neutral; '
                f'found: {classes}. Set --config.protocol.enrol_from=any or one.'
            )
        return rows[emotion_N[rows] == 'neutral']
    allowed = {}
    speaker_N = utterances.text['speaker']
    for row in rows.tolist():
        allowed.setdefault(speaker_N[row], emotion_N[row])
    is_allowed = [allowed[speaker_N[row]] == emotion_N[row] for row in rows.tolist()]
    return rows[np.array(is_allowed, bool)]


def choose_enrolled(utterances: Utterances, fold: Fold, enrol: int | str) -> Fold:
    """Returns the fold with the first `enrol` utterances of each speaker enrolled, or all."""
    limit = None if enrol == 'all' else enrol
    enrolled = [fold.enrolment[:0]]
    for rows in _rows_by_speaker(fold.enrolment, utterances.text['speaker']).values():
        enrolled.append(rows[:limit])
    return dataclasses.replace(fold, enrolled=np.concatenate(enrolled))


class TrainingSet(NamedTuple):
    """Rows of a training speaker, and the enrolled rows that give their offset in a draw."""

    draw: int
    rows: np.ndarray
    enrolled: np.ndarray


def draw_training_sets(utterances: Utterances, fold: Fold, order_seed: int) -> list[TrainingSet]:
    """Returns the sets that are enrolled in training: random numbers of random utterances.

    In each draw, the utterances of a training speaker are divided into two halves. For those of one
    half, utterances of the other half are enrolled. Every utterance of a known speaker is in
    exactly one set of each draw.
    """
    random = np.random.default_rng((order_seed, fold.number, 0, TRAINING_STREAM))
    emotion_N = np.full(len(utterances), '', utterances.text['emotion'].dtype)
    emotion_N[fold.train] = utterances.text['emotion'][fold.train]  # no other labels are read
    rows = np.unique(np.concatenate([fold.train_and_adapt, fold.identity]))
    sets = []
    for own in _rows_by_speaker(rows, utterances.text['speaker']).values():
        for draw in range(TRAINING_DRAWS):
            shuffled = random.permutation(own)
            count = TRAINING_COUNTS[random.integers(len(TRAINING_COUNTS))]
            is_one_emotion = random.random() < ONE_EMOTION_SHARE
            middle = len(shuffled) // 2
            halves = (shuffled[:middle], shuffled[middle:])
            for half, others in (halves, halves[::-1]):
                if is_one_emotion and len(others):
                    others = others[emotion_N[others] == emotion_N[others[0]]]
                sets.append(TrainingSet(draw, half, others[:count]))
    return sets


def describe_shortages(
    utterances: Utterances, folds: list[Fold], counts: set[int | str]
) -> list[str]:
    """Returns a sentence for each of the counts of enrolled utterances that a speaker lacks."""
    numbers = sorted(counts - {'none', 'all'})
    if not numbers:
        return []
    sentences = []
    speaker_N = utterances.text['speaker']
    available = []
    for fold in folds:
        tested = np.unique(speaker_N[np.concatenate([fold.dev, fold.test])])
        own_rows = _rows_by_speaker(fold.enrolment, speaker_N)
        available += [len(own_rows.get(speaker, ())) for speaker in tested[tested != '']]
    for count in numbers:
        if not available or min(available) >= count:
            continue
        number = f'{min(available)} to {max(available)}'
        if min(available) == max(available):
            number = f'{min(available)}'
        sentences.append(
            f'enrol={count}: the tested speakers have {number} utterances that can be enrolled. Of '
            'a speaker with fewer, all are enrolled.'
        )
    return sentences

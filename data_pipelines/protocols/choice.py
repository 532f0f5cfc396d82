"""Chooses a protocol for a corpus by its known speakers (config.protocol.name=auto)."""

from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.protocols.folds import group_rows, make_folds
from data_pipelines.protocols.protocol import AUTO, Protocol
from data_pipelines.storage.schema import Utterances
from data_pipelines.wording import pluralize

# With fewer speakers, speaker-disjoint parts would leave one for training, and nothing to forget.
MIN_DISJOINT_SPEAKERS = 4
MAX_LEFT_OUT_SPEAKERS = 12  # with more, leaving each of them out in turn takes long
USUAL_FOLDS = 5
# What a speaker needs to be a dev or a test part alone.
MIN_SPEAKER_UTTERANCES = 10
MIN_SPEAKER_CLASSES = 2
MIN_CLASS_SPEAKERS = 3  # one may be tested, and another be dev


class ProtocolChoice(NamedTuple):
    """A protocol, its number of parts, and the reason for it as a sentence."""

    name: str
    folds: int
    reason: str


def choose_protocol(
    utterances: Utterances,
    can_select_classes: bool = True,
    ratings: tuple[str, ...] = (),
    has_classes: bool = True,
) -> ProtocolChoice:
    """Returns the protocol that suits utterances with classes; those without one do not count.

    With at least four known speakers, test speakers are unseen in training: each is left out in
    turn, or, if there are many of them or some have few utterances, they form up to five parts.
    With fewer speakers, test speakers are training speakers.

    Args:
      utterances: Utterances with classes in place of emotion words.
      can_select_classes: Whether config.data.only, which selects emotion words, selects classes if
        it is set to their names. The error then advises that.
      ratings: The names of the ratings that are predicted.
      has_classes: Whether classes are predicted. Otherwise utterances have thirds of the scale in
        their place (split.with_thirds).

    Raises:
      UserError: So few of the speakers have some class that it would be missing in training.
    """
    labelled = utterances[np.flatnonzero(utterances.text['emotion'] != '')]
    speakers = group_rows(labelled.text['speaker'])
    unknown = len(speakers.pop('', ()))
    found = f'{pluralize(len(speakers), "known speaker")}'
    if unknown:
        found += f' (and {pluralize(unknown, "utterance")} of unknown speakers)'
    if len(speakers) < MIN_DISJOINT_SPEAKERS:
        return ProtocolChoice(
            'speaker_dependent',
            USUAL_FOLDS,
            f'{found}, and {MIN_DISJOINT_SPEAKERS} are needed to test on unseen ones. Warning: '
            'test speakers are training speakers, so that results say nothing about new speakers, '
            'and are too high for them',
        )
    obstacle = _find_obstacle(labelled, speakers, has_classes)
    if not obstacle:
        choice = ProtocolChoice(
            'leave_one_speaker_out', USUAL_FOLDS, f'{found}: each is tested once, unseen'
        )
    else:
        parts = min(USUAL_FOLDS, len(speakers))
        reason = f'{found}: {parts} parts, tested unseen. Speakers are not tested alone, because '
        choice = ProtocolChoice('speaker_folds', parts, reason + obstacle)
    try:
        make_folds(labelled, Protocol(choice.name, choice.folds), ratings, has_classes)
    except UserError as error:
        raise UserError(
            f'{error} {_advise_on_rare_classes(labelled) if can_select_classes else ""}'
            'Or accept that test speakers are training speakers: '
            '--config.protocol.name=speaker_dependent.'
        ) from None
    return choice


def _advise_on_rare_classes(utterances: Utterances) -> str:
    """Returns a sentence on how to leave out the classes of few speakers; '' if there are none."""
    frequent = []
    rare = []
    for name, rows in group_rows(utterances.text['emotion']).items():
        count = len(set(utterances.text['speaker'][rows].tolist()) - {''})
        (frequent if count >= MIN_CLASS_SPEAKERS else rare).append(name)
    if not rare or len(frequent) < MIN_SPEAKER_CLASSES:
        return ''
    return (
        f'Only one or two speakers have {", ".join(rare)}. To leave that out: '
        f'--config.data.only="emotion={",".join(frequent)}". '
    )


def _find_obstacle(
    utterances: Utterances, speakers: dict[str, np.ndarray], has_classes: bool
) -> str:
    """Returns why speakers should not be dev and test parts alone; '' if they may be.

    There are many of them, or some have few utterances or one class.
    """
    if len(speakers) > MAX_LEFT_OUT_SPEAKERS:
        return f'there are more than {MAX_LEFT_OUT_SPEAKERS}'
    classes = 'classes' if has_classes else 'thirds of the scale'
    emotion_N = utterances.text['emotion']
    for name, rows in speakers.items():
        if len(rows) < MIN_SPEAKER_UTTERANCES:
            found = pluralize(len(rows), 'utterance')
            return f'{name} has {found}, and {MIN_SPEAKER_UTTERANCES} are needed for that'
        found = set(emotion_N[rows].tolist())
        if len(found) < MIN_SPEAKER_CLASSES:
            return (
                f'{name} has only {" and ".join(found)}, and {MIN_SPEAKER_CLASSES} {classes} are '
                'needed for that'
            )
    return ''


def describe_choice(choice: ProtocolChoice) -> str:
    """Returns the sentence that a command prints about a choice."""
    return f'Protocol, as config.protocol.name={AUTO}: {choice.name}. {choice.reason}.'

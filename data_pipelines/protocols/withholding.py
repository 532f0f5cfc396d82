"""Chooses the utterances of training speakers on which attackers are tested.

An attacker is a classifier that is fitted to representations after training, to measure what they
contain. On utterances that the encoder was trained on, a method that removes a domain looks better
than it is. Therefore `share` of the utterances can be withheld from training.

Order seed and fold number alone determine the random order in which utterances are chosen. A
larger share chooses more in the same order, so that withheld sets are nested.
"""

import collections
import dataclasses

import numpy as np

from data_pipelines.protocols.folds import Fold
from data_pipelines.storage.schema import Utterances

ATTACKER_TEST_SHARE = 0.2  # of the utterances that training uses, where none are withheld

WITHHOLDING_STREAM = 2  # a random stream apart from those of an epoch's order and of a subset


def reserve_attacker_test(
    utterances: Utterances, fold: Fold, share: float, order_seed: int
) -> Fold:
    """Returns the fold with `attacker_test`; what is withheld is no longer in `train`.

    `share` of each training speaker's recordings is withheld, stratified by emotion. With share 0,
    and always for unknown speakers, 20 % are chosen in the same way and stay in `train`. Of each
    speaker's recordings in `adapt`, 20 % are chosen without regard to the emotion, and stay there.
    """
    random = np.random.default_rng((order_seed, fold.number, 0, WITHHOLDING_STREAM))
    draw_2xN = random.random((2, len(utterances)))
    emotion_N = utterances.text['emotion']
    no_emotion_N = np.full(len(utterances), '')

    other_rows = np.concatenate([fold.adapt, fold.identity])
    train_shares = _entry_shares(utterances, fold.train, other_rows, emotion_N, draw_2xN)
    other_rows = np.concatenate([fold.train, fold.identity])
    adapt_shares = _entry_shares(utterances, fold.adapt, other_rows, no_emotion_N, draw_2xN)

    may_withhold = (utterances.text['speaker'][fold.train] != '') & (share > 0)
    is_withheld = may_withhold & (train_shares <= share)
    is_seen = ~may_withhold & (train_shares <= ATTACKER_TEST_SHARE)
    chosen_adapt = fold.adapt[adapt_shares <= ATTACKER_TEST_SHARE]
    chosen = np.concatenate([fold.train[is_withheld | is_seen], chosen_adapt])
    return dataclasses.replace(
        fold, train=fold.train[~is_withheld], attacker_test=np.unique(chosen)
    )


def _entry_shares(
    utterances: Utterances,
    rows: np.ndarray,
    other_rows: np.ndarray,
    emotion_N: np.ndarray,
    draw_2xN: np.ndarray,
) -> np.ndarray:
    """Returns, for each of the rows, the smallest share with which it is chosen.

    The k-th of a speaker's n recordings, counted from 0, is chosen if round(share * n) > k. Copies
    of a recording follow the first of them. Infinity marks rows that are never chosen: recordings
    of several speakers or also among `other_rows`, and the last of a speaker or of an emotion.
    """
    recording_N = first_copies(utterances, rows)
    speaker_N = utterances.text['speaker']
    is_shared_N = _shared_recordings(utterances, rows, other_rows)
    entry_of_recording = {}
    copies = collections.defaultdict(list)
    for row in rows.tolist():
        copies[int(recording_N[row])].append(row)
    recordings = np.unique(recording_N[rows])
    for speaker in np.unique(speaker_N[recordings]):
        own = recordings[speaker_N[recordings] == speaker]
        ordered = _stratified_order(own, emotion_N, draw_2xN)
        for k, recording in enumerate(ordered.tolist()):
            entry_of_recording[recording] = (k + 0.5) / len(own)

    share_N = np.full(len(utterances), np.inf)
    speaker_rows = collections.Counter(speaker_N[rows].tolist())  # that are not chosen yet
    emotion_rows = collections.Counter(emotion_N[rows].tolist())
    # In the order of a growing share, so that sets stay nested although some rows are passed over.
    for recording in sorted(entry_of_recording, key=entry_of_recording.get):
        own_rows = copies[recording]
        speakers = collections.Counter(speaker_N[own_rows].tolist())
        emotions = collections.Counter(emotion_N[own_rows].tolist())
        is_last = not _leaves_some(speaker_rows, speakers)
        is_last = is_last or not _leaves_some(emotion_rows, emotions)
        if not (is_last or is_shared_N[recording]):
            speaker_rows -= speakers
            emotion_rows -= emotions
            share_N[own_rows] = entry_of_recording[recording]
    return share_N[rows]


def _leaves_some(counts: collections.Counter, removed: collections.Counter) -> bool:
    """Returns whether each value that is removed from the counts still occurs afterwards."""
    return all(counts[value] > count for value, count in removed.items())


def first_copies(utterances: Utterances, rows: np.ndarray) -> np.ndarray:
    """Returns first_N, for each of the rows the first of them with the same recording.

    An utterance without a hash is a recording of its own. Values of other rows have no meaning.
    """
    first_N = np.arange(len(utterances))
    first_of_hash: dict[str, int] = {}
    for row in rows.tolist():
        recording = str(utterances.text['sha256'][row])
        if recording:
            first_N[row] = first_of_hash.setdefault(recording, row)
    return first_N


def _shared_recordings(
    utterances: Utterances, rows: np.ndarray, other_rows: np.ndarray
) -> np.ndarray:
    """Returns mask_N of the recordings of several speakers, or also among `other_rows`."""
    hash_N = utterances.text['sha256']
    shared = set(hash_N[other_rows].tolist())
    speaker_of_hash: dict[str, str] = {}
    speaker_N = utterances.text['speaker']
    for recording, speaker in zip(hash_N[rows].tolist(), speaker_N[rows].tolist()):
        if speaker_of_hash.setdefault(recording, speaker) != speaker:
            shared.add(recording)
    return np.isin(hash_N, list(shared - {''}))


def _stratified_order(rows: np.ndarray, emotion_N: np.ndarray, draw_2xN: np.ndarray) -> np.ndarray:
    """Returns a speaker's rows in random order, with every emotion spread evenly over it.

    The j-th of the c rows of an emotion, in random order, is sorted by (j + u) / c with one u in
    [0, 1) for each emotion.
    """
    positions = {}
    for emotion in np.unique(emotion_N[rows]):
        own = rows[emotion_N[rows] == emotion]
        shift = draw_2xN[1, own[0]]
        for j, row in enumerate(own[np.argsort(draw_2xN[0, own])].tolist()):
            positions[row] = (j + shift) / len(own)
    return np.array(sorted(rows.tolist(), key=positions.get))

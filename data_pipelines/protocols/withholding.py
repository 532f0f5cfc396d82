"""Chooses the utterances of training speakers on which attackers are tested.

An attacker is a classifier that is fitted to representations after training, to measure what they
contain. On utterances that the encoder was trained on, a method that removes a domain looks better
than it is. Therefore `share` of the utterances can be withheld from training.

Order seed and fold number alone determine the random order in which utterances are chosen. A
larger share chooses more in the same order, so that withheld sets are nested.
"""

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
    rows_in_order = rows[np.argsort(recording_N[rows], kind='stable')]  # copies come together
    recordings, first_R, count_R = np.unique(
        recording_N[rows_in_order], return_index=True, return_counts=True
    )
    _, speaker_of_row = np.unique(utterances.text['speaker'][rows_in_order], return_inverse=True)
    _, emotion_of_row = np.unique(emotion_N[rows_in_order], return_inverse=True)
    speaker_R = speaker_of_row[first_R]
    emotion_R = emotion_of_row[first_R]
    entry_R = _entries(speaker_R, emotion_R, draw_2xN[:, recordings])
    is_shared_R = _shared_recordings(utterances, rows, other_rows, recording_N)[recordings]

    # Lists, because reading single elements of arrays takes longer.
    entry_of_row = [np.inf] * len(rows)
    speaker_left = np.bincount(speaker_of_row).tolist()  # rows that are not chosen yet
    emotion_left = np.bincount(emotion_of_row).tolist()
    emotion_of_row = emotion_of_row.tolist()
    first = first_R.tolist()
    count = count_R.tolist()
    speaker = speaker_R.tolist()
    entry = entry_R.tolist()
    # In the order of a growing share, so that sets stay nested although some rows are passed over.
    in_order = np.lexsort((speaker_R, entry_R))
    for r in in_order[~is_shared_R[in_order]].tolist():
        copies = slice(first[r], first[r] + count[r])
        emotions = emotion_of_row[copies]
        is_last = speaker_left[speaker[r]] == count[r]
        if not (is_last or any(emotion_left[e] == emotions.count(e) for e in emotions)):
            speaker_left[speaker[r]] -= count[r]
            for emotion in emotions:
                emotion_left[emotion] -= 1
            entry_of_row[copies] = [entry[r]] * count[r]
    share_N = np.full(len(utterances), np.inf)
    share_N[rows_in_order] = entry_of_row
    return share_N[rows]


def first_copies(utterances: Utterances, rows: np.ndarray) -> np.ndarray:
    """Returns first_N, for each of the rows the first of them with the same recording.

    An utterance without a hash is a recording of its own. Values of other rows have no meaning.
    """
    first_N = np.arange(len(utterances))
    first_of_hash: dict[str, int] = {}
    first = []
    for row, recording in zip(rows.tolist(), utterances.text['sha256'][rows].tolist()):
        first.append(first_of_hash.setdefault(recording, row) if recording else row)
    first_N[rows] = first
    return first_N


def _shared_recordings(
    utterances: Utterances, rows: np.ndarray, other_rows: np.ndarray, recording_N: np.ndarray
) -> np.ndarray:
    """Returns mask_N of the recordings of several speakers, or also among `other_rows`.

    `recording_N` are the `first_copies` of the rows.
    """
    hash_N = utterances.text['sha256']
    speaker_N = utterances.text['speaker']
    recording = recording_N[rows]
    is_shared_N = np.zeros(len(utterances), bool)
    is_shared_N[recording[speaker_N[rows] != speaker_N[recording]]] = True
    others = set(hash_N[other_rows].tolist()) - {''}
    if others:
        recordings = np.unique(recording)
        is_other = [name in others for name in hash_N[recordings].tolist()]
        is_shared_N[recordings[is_other]] = True
    return is_shared_N


def _entries(speaker_R: np.ndarray, emotion_R: np.ndarray, draw_2xR: np.ndarray) -> np.ndarray:
    """Returns (k + 0.5) / n of each recording, which is the k-th of the n of its speaker.

    A speaker's recordings are in random order, with every emotion spread evenly over it. The j-th
    of the c recordings of an emotion, in random order, is sorted by (j + u) / c with one u in
    [0, 1) for each emotion.
    """
    group_R = speaker_R * (emotion_R.max(initial=0) + 1) + emotion_R
    _, first_G, group_R, count_G = np.unique(
        group_R, return_index=True, return_inverse=True, return_counts=True
    )
    rank_R = _ranks(group_R, draw_2xR[0])
    position_R = (rank_R + draw_2xR[1, first_G][group_R]) / count_G[group_R]
    return (_ranks(speaker_R, position_R) + 0.5) / np.bincount(speaker_R)[speaker_R]


def _ranks(group_R: np.ndarray, value_R: np.ndarray) -> np.ndarray:
    """Returns the rank of each value in its group, from 0 for the lowest."""
    in_order = np.lexsort((value_R, group_R))
    count_G = np.bincount(group_R)
    start_G = np.cumsum(count_G) - count_G
    rank_R = np.empty(len(group_R), int)
    rank_R[in_order] = np.arange(len(group_R)) - start_G[group_R[in_order]]
    return rank_R

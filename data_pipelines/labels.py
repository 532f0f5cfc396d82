"""The words for emotions that all corpora share, and the label spaces that a run may train on.

A space maps words to classes; what it does not map has no label in it. The maps to `arousal` and `valence` are, for the emotions
of EMO-DB, eNTERFACE and DES, those of B. Schuller, B. Vlasenko, F. Eyben, G. Rigoll, A. Wendemuth (2009), Acoustic emotion
recognition: a benchmark comparison of performances, ASRU (cited from memory: compare before you print it); the rest (anxious,
calm, contempt, excited, frustrated) is this project's choice. Reality is less tidy: neutral is no positive valence, and disgust
may be loud.
"""

import numpy as np

from data_pipelines.errors import UserError

EMOTIONS = (
    'angry', 'anxious', 'apologetic', 'assertive', 'bored', 'calm', 'concerned', 'contempt', 'disgust', 'encouraging', 'excited',
    'fear', 'frustrated', 'happy', 'neutral', 'other', 'sad', 'surprise', 'undecided',
)  # fmt: skip


def _class_of_word(**classes: str) -> dict[str, str]:
    """{'sad': 'low', ...} of low='sad ...'."""
    return {word: name for name, words in classes.items() for word in words.split()}


LABEL_SPACES = {
    'native': {e: e for e in EMOTIONS if e not in ('other', 'undecided')},
    # The four classes of IEMOCAP's literature: excited counts as happy.
    'four': _class_of_word(angry='angry', happy='happy excited', neutral='neutral', sad='sad'),
    # What the pairs of corpora of DIDAN share (Zhao et al. 2023, arXiv 2302.08921).
    'emodb_enterface': {e: e for e in ('angry', 'disgust', 'fear', 'happy', 'sad')},
    'emodb_casia': {e: e for e in ('angry', 'fear', 'happy', 'neutral', 'sad')},
    'enterface_casia': {e: e for e in ('angry', 'fear', 'happy', 'sad', 'surprise')},
    'arousal': _class_of_word(
        low='bored calm disgust neutral sad',
        high='angry anxious excited fear frustrated happy surprise',
    ),
    'valence': _class_of_word(
        negative='angry anxious bored contempt disgust fear frustrated sad',
        positive='calm excited happy neutral surprise',
    ),
}
# Listeners' mean ratings, below and above the middle of their scale; the middle itself has no class.
RATING_SPACES = {
    'rated_arousal': ('low', 'high'),
    'rated_valence': ('negative', 'positive'),
    'rated_dominance': ('low', 'high'),
}


def map_labels(
    label_space: str, emotion_N: np.ndarray, rating_NxA: np.ndarray
) -> tuple[np.ndarray, dict[str, int]]:
    """class_N in the label space, '' for what has none there, and how many of what that is."""
    if label_space in RATING_SPACES:
        rating_N = rating_NxA[:, list(RATING_SPACES).index(label_space)]
        low, high = RATING_SPACES[label_space]
        class_N = np.select([rating_N < 0, rating_N > 0], [low, high], default='')
        reason_N = np.where(np.isnan(rating_N), 'without a rating', 'in the middle of the scale')
    elif label_space in LABEL_SPACES:
        class_N = np.array(
            [LABEL_SPACES[label_space].get(e, '') for e in emotion_N.tolist()], dtype='U32'
        )
        reason_N = emotion_N
    else:
        raise UserError(
            f'There is no label space {label_space!r}; known are {", ".join((*LABEL_SPACES, *RATING_SPACES))}.'
        )
    reasons, counts = np.unique(reason_N[class_N == ''], return_counts=True)
    return class_N, {str(r): int(n) for r, n in zip(reasons, counts)}

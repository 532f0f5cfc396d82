"""The emotion words that all corpora share, and the label spaces in which a model may be trained.

A label space maps emotion words to classes. A word that it does not map has no class. The votes of
several listeners for one utterance are numbers by emotion word. As a text, they are
'angry=2;neutral=1'.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.wording import remove_invisible

EMOTIONS = (
    'angry', 'anxious', 'apologetic', 'assertive', 'bored', 'calm', 'concerned', 'contempt',
    'disgust', 'encouraging', 'excited', 'fear', 'frustrated', 'happy', 'neutral', 'other', 'sad',
    'surprise', 'undecided',
)  # fmt: skip
# These two words mean that there is no usable label: no label space maps them.
UNTRAINED_EMOTIONS = ('other', 'undecided')


WHOLE_NUMBER_PATTERN = re.compile(r'^([+-]?\d+)[.,]0*$')


def fold_word(text: str) -> str:
    """Returns a word in lower case and one Unicode form, without what cannot be seen.

    A code such as 1.0, which pandas writes for 1 if other cells are empty, is 1.
    """
    words = unicodedata.normalize('NFKC', text).casefold().split()
    word = remove_invisible(' '.join(words)).strip()
    return WHOLE_NUMBER_PATTERN.sub(r'\1', word)


def parse_emotion_map(text: str) -> dict[str, str]:
    """Returns the emotions that words and codes of a list mean: 'anger=angry,0=neutral'.

    UserError if an emotion is unknown, or a word has two.
    """
    emotion_by_word: dict[str, str] = {}
    for pair in text.split(','):
        word, equals, emotion = pair.rpartition('=')
        word = fold_word(word)
        emotion = fold_word(emotion)
        if not (equals and word) or emotion not in EMOTIONS:
            raise UserError(
                f'--emotions has {pair.strip()!r}; expected WORD=EMOTION, separated by commas, '
                f'with an emotion of {", ".join(EMOTIONS)}. Names of your own for emotions can be '
                'given in a file, --labels MAP.csv.'
            )
        if emotion_by_word.setdefault(word, emotion) != emotion:
            raise UserError(f'--emotions has two emotions for {word!r}. Remove one of them.')
    return emotion_by_word


def _identity_map(words: str) -> dict[str, str]:
    """Returns the label space in which every one of the space-separated words is its own class."""
    return {word: word for word in words.split()}


def _group_words(**words_by_class: str) -> dict[str, str]:
    """Returns the label space that maps sad and calm to low for low='sad calm'."""
    class_by_word = {}
    for name, words in words_by_class.items():
        class_by_word.update(dict.fromkeys(words.split(), name))
    return class_by_word


_NATIVE = {word: word for word in EMOTIONS if word not in UNTRAINED_EMOTIONS}

LABEL_SPACES = {
    'native': _NATIVE,
    # Calm speech counts as neutral: RAVDESS, for example, has both, which many corpora do not
    # distinguish.
    'calm_neutral': _NATIVE | {'calm': 'neutral'},
    # The four classes of most work on IEMOCAP: excited counts as happy.
    'four': _group_words(angry='angry', happy='happy excited', neutral='neutral', sad='sad'),
    # The classes that both corpora of a pair share, for the pairs of DIDAN (Zhao et al. 2023,
    # arXiv 2302.08921).
    'emodb_enterface': _identity_map('angry disgust fear happy sad'),
    'emodb_casia': _identity_map('angry fear happy neutral sad'),
    'enterface_casia': _identity_map('angry fear happy sad surprise'),
    # For the emotions of EMO-DB, eNTERFACE and DES, arousal and valence are mapped as in B.
    # Schuller, B. Vlasenko, F. Eyben, G. Rigoll, A. Wendemuth (2009), Acoustic emotion recognition:
    # a benchmark comparison of performances, ASRU (cited from memory: compare before you publish
    # it). The maps of anxious, calm, contempt, excited and frustrated are this project's choice.
    # The maps simplify: neutral is not positive in valence, and disgust may be high in arousal.
    'arousal': _group_words(
        low='bored calm disgust neutral sad',
        high='angry anxious excited fear frustrated happy surprise',
    ),
    'valence': _group_words(
        negative='angry anxious bored contempt disgust fear frustrated sad',
        positive='calm excited happy neutral surprise',
    ),
}
# In these spaces a word that is none of `EMOTIONS`, from a list of the user's own, is a class too.
OPEN_SPACES = ('native', 'calm_neutral')
# The classes of mean ratings below and above the middle of the scale, in the order of the columns
# of rating_NxA. The middle itself has no class.
RATING_SPACES = {
    'rated_arousal': ('low', 'high'),
    'rated_valence': ('negative', 'positive'),
    'rated_dominance': ('low', 'high'),
}

# The reason why an utterance without a rating that is needed is left out.
UNRATED = 'without a rating'
# The thirds of the scale of a rating, by which utterances are grouped where they have no class.
THIRDS = ('low', 'middle', 'high')
# What a model predicts (config.task): a class, ratings, or both.
TASKS = ('emotion', 'ratings', 'emotion+ratings')


def has_ratings(task: str) -> bool:
    """Returns whether a task of `TASKS` predicts ratings."""
    return 'ratings' in task.split('+')


def has_classes(task: str) -> bool:
    """Returns whether a task of `TASKS` predicts a class."""
    return 'emotion' in task.split('+')


def is_known_space(label_space: str) -> bool:
    """Returns whether a label space has a name here; others are those of the user's own corpora."""
    return label_space in LABEL_SPACES or label_space in RATING_SPACES


def words_are_classes(label_space: str) -> bool:
    """Returns whether every class of a label space is one emotion word, under its own name."""
    if label_space in RATING_SPACES:
        return False
    class_by_word = LABEL_SPACES.get(label_space, {})  # a space of the user's own renames no word
    return all(word == name for word, name in class_by_word.items())


def map_labels(
    label_space: str,
    emotion_N: np.ndarray,
    rating_NxA: np.ndarray,
    own_classes: Collection[str] | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Maps emotion words or ratings to the classes of a label space.

    Args:
      label_space: A key of `LABEL_SPACES`, which maps emotion_N, or of `RATING_SPACES`, which maps
        a column of rating_NxA, or the name of a corpus of the user's own.
      emotion_N: Emotion words.
      rating_NxA: Mean ratings from -1 to 1, NaN where there is none.
      own_classes: The classes of that corpus, which are the words of emotion_N that have a class.

    Returns:
      class_N, which is '' for an utterance without a class, and the number of utterances without a
      class for each reason: the emotion word, or what is wrong with the rating.

    Raises:
      UserError: There is no such label space.
    """
    if label_space in RATING_SPACES:
        rating_N = rating_NxA[:, list(RATING_SPACES).index(label_space)]
        low, high = RATING_SPACES[label_space]
        class_N = np.select([rating_N < 0, rating_N > 0], [low, high], default='')
        reason_N = np.where(np.isnan(rating_N), UNRATED, 'in the middle of the scale')
    elif label_space in LABEL_SPACES or own_classes is not None:
        class_by_word = _class_by_word(label_space, emotion_N, own_classes)
        classes = [class_by_word.get(word, '') for word in emotion_N.tolist()]
        class_N = np.array(classes, dtype=str)
        reason_N = emotion_N
    else:
        raise UserError(
            f'There is no label space {label_space!r}; expected one of {list_spaces()}.'
        )
    reasons, counts = np.unique(reason_N[class_N == ''], return_counts=True)
    return class_N, dict(zip(reasons.tolist(), counts.tolist()))


def third_of_scale(rating_N: np.ndarray) -> np.ndarray:
    """Returns which of `THIRDS` of the scale from -1 to 1 each rating is in; '' for NaN.

    From -1/3 to 1/3 it is the middle.
    """
    low, middle, high = THIRDS
    conditions = [np.isnan(rating_N), rating_N < -1 / 3, rating_N > 1 / 3]
    return np.select(conditions, ['', low, high], default=middle)


def in_order(names: Collection[str]) -> list[str]:
    """Returns the names of classes as they are listed: `THIRDS` by size, others by the alphabet."""
    if set(names) <= set(THIRDS):
        return sorted(names, key=THIRDS.index)
    return sorted(names)


def format_votes(votes: Mapping[str, int] | None) -> str:
    """Returns the votes as 'angry=2;neutral=1', the words sorted; '' if there are none."""
    pairs = [f'{word}={count}' for word, count in sorted((votes or {}).items()) if count]
    return ';'.join(pairs)


def parse_votes(text: str) -> dict[str, int]:
    """Returns the number of votes by emotion word, from the text of `format_votes`.

    UserError if the text has another form.
    """
    votes: dict[str, int] = {}
    for pair in text.split(';') if text else []:
        word, _, count = pair.rpartition('=')
        if not word or word in votes or not count.isdecimal():
            raise UserError(
                f'The votes {text!r} have the part {pair!r}; expected WORD=NUMBER, separated by '
                'semicolons, each word once, such as angry=2;neutral=1. Correct the votes.'
            )
        votes[word] = int(count)
    return votes


def map_votes(
    label_space: str,
    votes_N: np.ndarray,
    own_classes: Collection[str] | None,
    classes: Collection[str],
) -> np.ndarray:
    """Returns count_NxC: the number of votes for each class, in float32.

    A vote for a word that the label space does not map to one of the classes is dropped. A row of
    zeros has no vote.

    Args:
      label_space: As in `map_labels`. Spaces of ratings have no votes.
      votes_N: Votes as `format_votes` writes them.
      own_classes: As in `map_labels`.
      classes: The C classes, in the order of the columns.

    Raises:
      UserError: There is no such label space, or votes have another form.
    """
    texts, text_of_row_N = np.unique(votes_N, return_inverse=True)
    votes_by_text = [parse_votes(text) for text in texts.tolist()]
    words = sorted({word for votes in votes_by_text for word in votes})
    class_W, _ = map_labels(label_space, np.array(words, dtype=str), np.empty((0, 3)), own_classes)
    column_by_class = {name: column for column, name in enumerate(classes)}
    column_by_word = {}
    for word, name in zip(words, class_W.tolist()):
        if name in column_by_class:
            column_by_word[word] = column_by_class[name]
    count_UxC = np.zeros((len(texts), len(column_by_class)), np.float32)
    for row, votes in enumerate(votes_by_text):
        for word, count in votes.items():
            if word in column_by_word:
                count_UxC[row, column_by_word[word]] += count
    return count_UxC[text_of_row_N]


def list_spaces() -> str:
    """Returns the names of the label spaces, for messages."""
    names = ', '.join((*LABEL_SPACES, *RATING_SPACES))
    return f'{names}, or the name of a corpus of your own'


def _class_by_word(
    label_space: str, emotion_N: np.ndarray, own_classes: Collection[str] | None
) -> dict[str, str]:
    """Returns the class of each word that has one."""
    if own_classes is not None:
        return {word: word for word in own_classes if word not in UNTRAINED_EMOTIONS}
    class_by_word = LABEL_SPACES[label_space]
    if label_space not in OPEN_SPACES:
        return class_by_word
    own_words = set(emotion_N.tolist()) - {'', *EMOTIONS}
    return class_by_word | {word: word for word in own_words}

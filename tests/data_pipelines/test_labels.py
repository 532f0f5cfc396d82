"""Tests what the label spaces map, and that utterances without a class are counted."""

import numpy as np
import pytest

from data_pipelines import labels
from data_pipelines.errors import UserError


def map_all_words(label_space: str) -> dict[str, str]:
    """Returns the class of every emotion word that has one, as `map_labels` gives it."""
    emotion_N = np.array(labels.EMOTIONS)
    rating_NxA = np.full((len(emotion_N), 3), np.nan)
    class_N, left_out = labels.map_labels(label_space, emotion_N, rating_NxA)
    classes = {}
    unmapped = {}
    for word, name in zip(labels.EMOTIONS, class_N.tolist()):
        if name:
            classes[word] = name
        else:
            unmapped[word] = 1
    assert left_out == unmapped
    return classes


@pytest.mark.parametrize(
    ('label_space', 'classes'),
    [
        ('four', {'angry', 'happy', 'neutral', 'sad'}),
        ('emodb_enterface', {'angry', 'disgust', 'fear', 'happy', 'sad'}),
        ('emodb_casia', {'angry', 'fear', 'happy', 'neutral', 'sad'}),
        ('enterface_casia', {'angry', 'fear', 'happy', 'sad', 'surprise'}),
        ('arousal', {'low', 'high'}),
        ('valence', {'negative', 'positive'}),
        ('native', set(labels.EMOTIONS) - {'other', 'undecided'}),
        ('calm_neutral', set(labels.EMOTIONS) - {'other', 'undecided', 'calm'}),
    ],
)
def test_a_label_space_has_its_classes_and_maps_known_words_only(label_space, classes):
    assert set(map_all_words(label_space).values()) == classes
    assert set(labels.LABEL_SPACES[label_space]) <= set(labels.EMOTIONS)


@pytest.mark.parametrize('label_space', [*labels.LABEL_SPACES, *labels.RATING_SPACES, 'mine'])
def test_words_are_classes_where_no_word_has_another_class(label_space):
    mapped = ('four', 'calm_neutral', 'arousal', 'valence', *labels.RATING_SPACES)
    assert labels.words_are_classes(label_space) == (label_space not in mapped)


def test_excited_is_happy_in_four_classes():
    """As in most work on IEMOCAP."""
    assert map_all_words('four') == {
        'angry': 'angry',
        'happy': 'happy',
        'excited': 'happy',
        'neutral': 'neutral',
        'sad': 'sad',
    }


@pytest.mark.parametrize(
    ('emotion', 'arousal', 'valence'),
    [
        ('angry', 'high', 'negative'),
        ('fear', 'high', 'negative'),
        ('happy', 'high', 'positive'),
        ('sad', 'low', 'negative'),
        ('bored', 'low', 'negative'),
        ('neutral', 'low', 'positive'),
        ('disgust', 'low', 'negative'),
        ('surprise', 'high', 'positive'),
    ],
)
def test_arousal_and_valence_are_those_of_the_circumplex(emotion, arousal, valence):
    assert map_all_words('arousal')[emotion] == arousal
    assert map_all_words('valence')[emotion] == valence


@pytest.mark.parametrize(
    ('label_space', 'column'), [('rated_arousal', 0), ('rated_valence', 1), ('rated_dominance', 2)]
)
def test_ratings_are_split_at_the_middle_of_their_scale(label_space, column):
    """A rating in the middle, or none, has no class and is counted."""
    rating_NxA = np.zeros((5, 3))
    rating_NxA[:, column] = [-0.2, 0.3, 0.0, np.nan, np.nan]
    class_N, left_out = labels.map_labels(label_space, np.full(5, 'sad'), rating_NxA)
    assert class_N.tolist() == [*labels.RATING_SPACES[label_space], '', '', '']
    assert left_out == {'in the middle of the scale': 1, 'without a rating': 2}


def test_an_unknown_label_space_is_refused_with_the_list_of_all():
    message = (
        r"no label space 'five'; expected one of native, calm_neutral, four, .*rated_dominance"
    )
    with pytest.raises(UserError, match=message):
        labels.map_labels('five', np.array(['sad']), np.zeros((1, 3)))


def test_a_map_of_own_words_is_read_and_checked():
    assert labels.parse_emotion_map('Anger=ANGRY, 0=sad') == {'anger': 'angry', '0': 'sad'}
    for text in ('anger', 'anger=', '=sad', 'anger=rage', '', 'anger=angry,'):
        with pytest.raises(UserError, match='expected WORD=EMOTION'):
            labels.parse_emotion_map(text)
    with pytest.raises(UserError, match="two emotions for 'x'"):
        labels.parse_emotion_map('x=sad,X=fear')


@pytest.mark.parametrize(
    ('label_space', 'own_classes', 'expected'),
    [
        ('native', None, ['calm', 'zap', '']),
        ('calm_neutral', None, ['neutral', 'zap', '']),
        ('four', None, ['', '', '']),
        ('mine', ('zap', 'other'), ['', 'zap', '']),
    ],
)
def test_words_of_the_users_own_are_classes(label_space, own_classes, expected):
    """In the open label spaces, and in that of their corpus; long names are not cut."""
    emotion_N = np.array(['calm', 'zap', 'other'])
    class_N, _ = labels.map_labels(label_space, emotion_N, np.zeros((3, 3)), own_classes)
    assert class_N.tolist() == expected
    long = 'x' * 40
    class_N, _ = labels.map_labels('native', np.array([long]), np.zeros((1, 3)))
    assert class_N.tolist() == [long]


def test_votes_are_written_sorted_without_zeros_and_read_back():
    text = labels.format_votes({'sad': 1, 'angry': 3, 'fear': 0})
    assert text == 'angry=3;sad=1'
    assert labels.parse_votes(text) == {'angry': 3, 'sad': 1}
    assert labels.format_votes(None) == labels.format_votes({}) == ''
    assert labels.parse_votes('') == {}


@pytest.mark.parametrize('text', ['angry', 'angry=x', 'angry=-1', '=2', 'sad=1;sad=2', 'sad=1;'])
def test_votes_of_another_form_are_refused(text):
    with pytest.raises(UserError, match='expected WORD=NUMBER'):
        labels.parse_votes(text)


def test_votes_are_counted_by_class_and_those_without_a_class_are_dropped():
    """Excited counts as happy; frustrated and other have no class of these four, and no utterance
    is neutral.
    """
    votes_N = np.array(['excited=2;happy=1;other=4', '', 'frustrated=2', 'angry=1;neutral=4;sad=2'])
    classes = ('angry', 'happy', 'sad')
    count_NxC = labels.map_votes('four', votes_N, None, classes)
    assert count_NxC.dtype == np.float32
    assert count_NxC.tolist() == [[0, 3, 0], [0, 0, 0], [0, 0, 0], [1, 0, 2]]
    own_NxC = labels.map_votes('mine', votes_N, ('happy', 'excited'), ('excited', 'happy'))
    assert own_NxC.tolist() == [[2, 1], [0, 0], [0, 0], [0, 0]]


def test_votes_for_a_word_of_ones_own_count_in_an_open_label_space():
    count_NxC = labels.map_votes('native', np.array(['buoyant=2;sad=1']), None, ('buoyant', 'sad'))
    assert count_NxC.tolist() == [[2, 1]]

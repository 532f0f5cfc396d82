"""What the label spaces map, and that nothing disappears in them uncounted."""

import numpy as np
import pytest

from data_pipelines import labels
from data_pipelines.errors import UserError

NONE = np.full((0, 3), np.nan)


def space(name: str) -> dict[str, str]:
    """The map of a space, as `classify` applies it to every word there is."""
    words = np.array(labels.EMOTIONS)
    class_N, left_out = labels.map_labels(name, words, np.full((len(words), 3), np.nan))
    assert left_out == {w: 1 for w, c in zip(labels.EMOTIONS, class_N) if not c}
    return {w: str(c) for w, c in zip(labels.EMOTIONS, class_N) if c}


@pytest.mark.parametrize(
    ('name', 'classes'),
    [
        ('four', {'angry', 'happy', 'neutral', 'sad'}),
        ('emodb_enterface', {'angry', 'disgust', 'fear', 'happy', 'sad'}),
        ('emodb_casia', {'angry', 'fear', 'happy', 'neutral', 'sad'}),
        ('enterface_casia', {'angry', 'fear', 'happy', 'sad', 'surprise'}),
        ('arousal', {'low', 'high'}),
        ('valence', {'negative', 'positive'}),
        ('native', set(labels.EMOTIONS) - {'other', 'undecided'}),
    ],
)
def test_a_space_has_its_classes(name, classes):
    """And every map is from words that there are."""
    assert set(space(name).values()) == classes
    assert set(labels.LABEL_SPACES[name]) <= set(labels.EMOTIONS)


def test_excited_is_happy_in_four_classes():
    """As in IEMOCAP's literature."""
    assert space('four') == {
        'angry': 'angry',
        'happy': 'happy',
        'excited': 'happy',
        'neutral': 'neutral',
        'sad': 'sad',
    }


def test_arousal_and_valence_are_those_of_the_circumplex():
    """Anger and fear are loud and bad, joy loud and good, sadness and boredom quiet and bad."""
    arousal, valence = space('arousal'), space('valence')
    found = {
        w: (arousal[w], valence[w])
        for w in ('angry', 'fear', 'happy', 'sad', 'bored', 'neutral', 'disgust', 'surprise')
    }
    assert found == {
        'angry': ('high', 'negative'),
        'fear': ('high', 'negative'),
        'happy': ('high', 'positive'),
        'sad': ('low', 'negative'),
        'bored': ('low', 'negative'),
        'neutral': ('low', 'positive'),
        'disgust': ('low', 'negative'),
        'surprise': ('high', 'positive'),
    }


@pytest.mark.parametrize(
    ('name', 'column'), [('rated_arousal', 0), ('rated_valence', 1), ('rated_dominance', 2)]
)
def test_ratings_are_cut_at_the_middle_of_their_scale(name, column):
    """What is in the middle, or not rated, has no class and is counted."""
    rating_NxA = np.zeros((5, 3))
    rating_NxA[:, column] = [-0.2, 0.3, 0.0, np.nan, np.nan]
    class_N, left_out = labels.map_labels(name, np.full(5, 'sad'), rating_NxA)
    assert class_N.tolist() == [*labels.RATING_SPACES[name], '', '', '']
    assert left_out == {'in the middle of the scale': 1, 'without a rating': 2}


def test_an_unknown_space_is_refused_with_those_there_are():
    with pytest.raises(
        UserError, match=r"no label space 'five'; expected one of native, four, .*rated_dominance"
    ):
        labels.map_labels('five', np.array(['sad']), np.zeros((1, 3)))

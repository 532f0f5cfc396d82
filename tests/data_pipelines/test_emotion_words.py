"""Tests the words of many languages for the common emotions."""

import collections

from data_pipelines import emotion_words, labels


def test_every_word_means_one_emotion_and_none_is_an_emotion_already():
    emotions = collections.defaultdict(set)
    for emotion, words in emotion_words.WORDS.items():
        for word in words.split(','):
            emotions[emotion_words.fold_accents(word)].add(emotion)
    assert [word for word, found in emotions.items() if len(found) > 1] == []
    assert not set(emotions) & {'', *labels.EMOTIONS}
    assert set(emotion_words.WORDS) <= set(labels.EMOTIONS)


def test_accents_case_and_hyphens_do_not_matter():
    for word in (
        'Överraskning',
        'OVERRASKNING',
        'Pleasant_Surprise',
        'pleasant-surprise',
        'şaşkın',
    ):
        assert emotion_words.find_emotion(word) == 'surprise'
    assert emotion_words.find_emotion('disgusto') is None

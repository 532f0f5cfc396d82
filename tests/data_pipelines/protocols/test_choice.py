"""Tests which protocol is chosen for a corpus by its speakers."""

import re

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols.choice import choose_protocol


@pytest.mark.parametrize(
    ('speakers', 'expected', 'folds'),
    [
        (1, 'speaker_dependent', 5),
        (3, 'speaker_dependent', 5),
        (4, 'leave_one_speaker_out', 5),
        (12, 'leave_one_speaker_out', 5),
        (13, 'speaker_folds', 5),
    ],
)
def test_the_number_of_speakers_decides(speakers, expected, folds):
    utterances = make_utterances(speakers=speakers, per_class=6)
    choice = choose_protocol(utterances)
    assert (choice.name, choice.folds) == (expected, folds)
    assert ('Warning' in choice.reason) == (expected == 'speaker_dependent')
    assert f'{speakers} known speaker' in choice.reason


def test_speakers_with_few_utterances_are_tested_together():
    utterances = make_utterances(speakers=8, per_class=2)
    choice = choose_protocol(utterances)
    assert choice[:2] == ('speaker_folds', 5)
    assert re.search('because .* has 4 utterances, and 10 are needed', choice.reason)


def test_the_reason_for_parts_of_several_speakers_is_given():
    """Many speakers, or one with one class only, or in one third of the scale."""
    many = choose_protocol(make_utterances(speakers=13, per_class=6))
    assert many.reason.endswith(
        'tested unseen. Speakers are not tested alone, because there are more than 12'
    )
    utterances = make_utterances(speakers=8, per_class=6)
    speaker_N = utterances.text['speaker']
    is_first_N = speaker_N == speaker_N[0]
    utterances.text['emotion'] = np.where(is_first_N, 'sad', utterances.text['emotion'])
    one = choose_protocol(utterances)
    assert one.name == 'speaker_folds'
    assert one.reason.endswith(f'{speaker_N[0]} has only sad, and 2 classes are needed for that')


def test_unknown_speakers_and_utterances_without_a_class_do_not_count():
    utterances = make_utterances(speakers=6, per_class=6)
    speaker_N = utterances.text['speaker']
    first, second, third = sorted(set(speaker_N))[:3]
    utterances.text['speaker'] = np.where(np.isin(speaker_N, [first, second]), '', speaker_N)
    assert choose_protocol(utterances).name == 'leave_one_speaker_out'
    utterances.text['emotion'] = np.where(speaker_N == third, '', utterances.text['emotion'])
    choice = choose_protocol(utterances)
    assert choice.name == 'speaker_dependent'
    assert 'of unknown speakers' in choice.reason


def make_utterances_with_rare_class():
    """Returns utterances of six speakers, of whom one has the class 'rare'."""
    utterances = make_utterances(speakers=6, per_class=6)
    first = utterances.text['speaker'] == sorted(set(utterances.text['speaker']))[0]
    emotion_N = utterances.text['emotion'].astype('U8')
    utterances.text['emotion'] = np.where(first & (emotion_N == emotion_N[0]), 'rare', emotion_N)
    return utterances


def test_a_class_of_one_speaker_is_refused_with_what_to_do():
    utterances = make_utterances_with_rare_class()
    with pytest.raises(
        UserError, match=r'no utterance of the class rare.*only="emotion=angry,sad"'
    ):
        choose_protocol(utterances)


def test_classes_that_are_no_words_are_not_given_as_words_to_select():
    """config.data.only selects words, before they are mapped to classes."""
    utterances = make_utterances_with_rare_class()
    with pytest.raises(UserError, match='no utterance of the class rare') as error:
        choose_protocol(utterances, can_select_classes=False)
    assert 'data.only' not in str(error.value)
    assert '--config.protocol.name=speaker_dependent' in str(error.value)

"""Tests of which utterances are used, and how the others are described."""

import numpy as np
import pytest
from helpers.synthetic_utterances import make_utterances

from data_pipelines.errors import UserError
from data_pipelines.protocols.split import Split, filter_utterances, keep_labelled, keep_rated


def test_corpora_of_identity_batches_need_no_class():
    """All of them are kept, without their emotion, and none of them is counted as left out."""
    utterances = make_utterances(classes=('angry', 'fear'))
    utterances.text['corpus'] = np.where(np.arange(len(utterances)) < 8, 'y', 'x')
    labelled, left_out = keep_labelled(utterances, 'four', ('y',))
    assert labelled.text['emotion'].tolist() == [''] * 8 + ['angry'] * 20
    assert left_out == {'fear': 20}
    with pytest.raises(UserError, match='No utterance has a class'):
        keep_labelled(utterances[np.arange(8)], 'four', ('y',))


def test_utterances_without_a_class_are_left_out_and_counted():
    """In four classes excited is happy, and fear has no class."""
    utterances = make_utterances(classes=('angry', 'excited', 'fear'))
    labelled, left_out = keep_labelled(utterances, 'four')
    assert set(labelled.text['emotion']) == {'angry', 'happy'}
    assert left_out == {'fear': 24}
    assert len(labelled) == 48


def test_a_selection_keeps_its_values_and_counts_the_others():
    """By one value of a column or several; '' keeps all."""
    utterances = make_utterances(speakers=3, per_class=2)
    selected, left_out = filter_utterances(utterances, 'speaker=s00,s02')
    assert set(selected.text['speaker']) == {'s00', 's02'}
    assert (len(selected), left_out) == (8, {'speaker=s01': 4})
    selected, left_out = filter_utterances(utterances, '')
    assert selected is utterances
    assert left_out == {}


def test_a_selection_of_all_but_some_values_counts_those():
    """The rest keeps its order."""
    utterances = make_utterances(speakers=3, per_class=2)
    selected, left_out = filter_utterances(utterances, 'speaker!=s01,s02')
    assert selected.text['utterance'].tolist() == utterances.text['utterance'][:4].tolist()
    assert left_out == {'speaker=s01': 4, 'speaker=s02': 4}


@pytest.mark.parametrize(
    ('selection', 'message'),
    [
        (
            'mood=good',
            'e.g. style=improvised. Columns: utterance, speaker',
        ),
        ('acted', 'expected COLUMN=VALUE'),
        ('emotion', 'expected COLUMN=VALUE, e.g. style=improvised'),
        ('sex=female,other', 'no utterance has sex=other; found: female, male'),
        ('split=train', 'no utterance has split=train; found: nothing'),
        ('sex=', 'no utterance has sex=; found: female, male'),
        ('sex!=other', 'no utterance has sex=other; found: female, male'),
        ('sex!=male,female', 'leaves no utterance: all have .* found: female, male'),
        ('mood!=good', 'COLUMN!=VALUE selects all others'),
    ],
)
def test_a_selection_of_an_unknown_column_or_value_is_refused(selection, message):
    """The values that there are are listed."""
    with pytest.raises(UserError, match=message):
        filter_utterances(make_utterances(), selection)


def test_a_long_list_of_values_is_cut():
    """After the twentieth."""
    utterances = make_utterances(speakers=21)
    with pytest.raises(UserError, match=r's18, s19, \.\.\.\.$'):
        filter_utterances(utterances, 'speaker=nobody')


def test_without_an_utterance_with_all_ratings_the_count_of_each_is_said():
    """As in two corpora that are rated for different things."""
    utterances = make_utterances(speakers=2, per_class=2)
    utterances.rating_NxA[:] = np.nan
    utterances.rating_NxA[:3, 0] = 0.5
    utterances.rating_NxA[3:, 1] = 0.5
    message = r'None of 8 .* arousal and valence \(rated: 3 for arousal, 5 for valence\)'
    with pytest.raises(UserError, match=message):
        keep_rated(utterances, ('arousal', 'valence'))


def test_left_out_utterances_are_described_by_reason():
    """What data.only leaves out has another reason than what has no class."""
    split = Split(make_utterances(), [], '', {'style=scripted': 7, 'fear': 3, 'other': 2}, 4)
    assert split.describe_left_out('four') == [
        'Left out, by config.data.only: 7 style=scripted.',
        "Left out, no class in 'four': 3 fear, 2 other.",
        'Left out, in no part of this protocol: 4.',
    ]
    assert Split(make_utterances(), [], '', {}, 0).describe_left_out('four') == []
    split = Split(make_utterances(), [], '', {}, 4, unused_unknown=3)
    (sentence,) = split.describe_left_out('four')
    assert sentence.endswith('in no part of this protocol: 4, 3 of them of unknown speakers.')

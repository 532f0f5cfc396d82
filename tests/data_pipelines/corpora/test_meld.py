"""Tests how MELD is read."""

from pathlib import Path

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import meld
from data_pipelines.errors import UserError

FILMS = [
    'train/train_splits/dia0_utt0.mp4',
    'dev_splits_complete/dia0_utt0.mp4',
    'output_repeated_splits_test/dia0_utt0.mp4',
    'output_repeated_splits_test/final_videos_testdia0_utt0.mp4',
    'output_repeated_splits_test/._dia0_utt0.mp4',
]


@pytest.fixture
def release(tmp_path) -> Path:
    """Returns a release with one film in each part, and a second line without a film."""
    corpus_trees.write_empty_files(tmp_path, FILMS)
    header = (
        'Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,'
        'StartTime,EndTime\n'
    )
    rows = (
        '1,"Oh, HELLO  there!",Phoebe ,joy,positive,0,0,4,7,"00:20:57,256","00:21:00,049"\n'
        '2,What?,Monica,surprise,negative,0,1,4,7,"00:21:01,927","00:21:03,261"\n'
    )
    for path in ('train/train', 'dev', 'test'):
        corpus_trees.write_file(tmp_path / f'{path}_sent_emo.csv', header + rows)
    return tmp_path


def test_a_line_gives_speaker_emotion_words_episode_and_part(release):
    utterances = meld.walk(release)
    assert [u.name for u in utterances] == [
        'train_dia0_utt0',
        'train_dia0_utt1',
        'dev_dia0_utt0',
        'dev_dia0_utt1',
        'test_dia0_utt0',
        'test_dia0_utt1',
    ]
    assert [u.path for u in utterances][::2] == [release / path for path in FILMS[:3]]
    first = utterances[0]
    assert (first.speaker, first.emotion, first.language) == ('Phoebe', 'happy', 'en')
    assert (first.sentence, first.session, first.split) == ('oh, hello there!', 's4e7', 'train')


def test_an_utterance_without_a_film_is_kept_so_that_it_is_reported(release):
    missing = meld.walk(release)[1]
    assert missing.path == release / 'train/train_splits/dia0_utt1.mp4'
    assert not missing.path.exists()


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('Speaker', 'Who', r'dev_sent_emo\.csv has no column Speaker'),
        ('joy', 'mirth', r"line 2: the emotion is 'mirth'; expected one of anger"),
    ],
)
def test_another_list_than_that_of_the_release_is_refused(old, new, message, release):
    corpus_trees.edit_file(release / 'dev_sent_emo.csv', old, new)
    with pytest.raises(UserError, match=message):
        meld.walk(release)


def test_two_lists_of_one_part_are_refused(release):
    """Each would give the same names."""
    corpus_trees.write_file(release / 'copy/dev_sent_emo.csv')
    with pytest.raises(UserError, match=r'Several dev_sent_emo\.csv'):
        meld.walk(release)

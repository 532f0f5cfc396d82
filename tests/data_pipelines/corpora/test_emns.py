"""Tests how EMNS is read."""

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import emns
from data_pipelines.errors import UserError

HEADER = 'id|utterance|description|emotion|gender|level|audio_recording|user_id\n'


def test_the_cleaned_recording_is_read_and_a_missing_one_is_kept(tmp_path):
    text = (
        '1|Once, upon a  Time.|dry|Sarcastic|female|3|wavs/a.webm|3\n'
        '2|Never!|loud|Surprised|female|9|wavs/b.webm|3\n'
    )
    corpus_trees.write_file(tmp_path / 'metadata.csv', HEADER + text)
    corpus_trees.write_empty_files(tmp_path, ['raw_webm/a.webm', 'cleaned_webm/a.webm'])
    first, second = emns.walk(tmp_path)
    assert (first.name, first.path) == ('a', tmp_path / 'cleaned_webm/a.webm')
    assert (first.emotion, first.sentence) == ('sarcastic', 'once, upon a time.')
    assert (first.sex, first.language, first.style) == ('female', 'en', 'acted')
    assert (second.emotion, second.path) == ('surprise', tmp_path / 'cleaned_webm/b.webm')
    assert first.speaker == second.speaker


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (HEADER.replace('emotion', 'mood'), r'metadata\.csv has no column emotion, separated by'),
        (HEADER.replace('|', ','), 'has no column audio_recording and emotion and utterance'),
        (HEADER + '1|x|x|Jolly|female|3|wavs/a.webm|3\n', "line 2: the emotion is 'Jolly'"),
        (HEADER + '1|x|x|Sad|female|3||3\n', "line 2: .* the recording ''"),
    ],
)
def test_another_list_than_that_of_the_release_is_refused(text, message, tmp_path):
    corpus_trees.write_file(tmp_path / 'metadata.csv', text)
    corpus_trees.write_empty_files(tmp_path, ['cleaned_webm/a.webm'])
    with pytest.raises(UserError, match=message):
        emns.walk(tmp_path)

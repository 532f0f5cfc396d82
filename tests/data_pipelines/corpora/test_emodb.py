"""Tests how EMO-DB is read."""

import collections
import itertools

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import emodb
from data_pipelines.errors import UserError

SPEAKERS = ('03', '08', '09', '10', '11', '12', '13', '14', '15', '16')
SENTENCES = ('a01', 'a02', 'a04', 'a05', 'a07', 'b01', 'b02', 'b03', 'b09', 'b10')
COUNTS = {'W': 127, 'L': 81, 'E': 46, 'A': 69, 'F': 71, 'T': 62, 'N': 79}


def make_complete_paths() -> list[str]:
    """Returns 535 paths; which speaker says which sentence is not that of the release."""
    paths = []
    for emotion, count in COUNTS.items():
        takes = itertools.product('ab', SENTENCES, SPEAKERS)
        for version, sentence, speaker in itertools.islice(takes, count):
            paths.append(f'wav/{speaker}{sentence}{emotion}{version}.wav')
    return paths


def test_names_give_speaker_sex_sentence_and_emotion(tmp_path):
    paths = ['wav/16b10Lb.wav', 'wav/03a01Fa.wav']
    first, second = emodb.walk(corpus_trees.write_empty_files(tmp_path, paths))
    assert (first.name, first.speaker, first.sex) == ('03a01Fa', '03', 'male')
    assert (first.sentence, first.emotion, first.language) == ('a01', 'happy', 'de')
    assert (second.name, second.speaker, second.sex) == ('16b10Lb', '16', 'female')
    assert (second.sentence, second.emotion) == ('b10', 'bored')


def test_the_complete_corpus_is_535_utterances_of_five_men_and_five_women(tmp_path):
    utterances = emodb.walk(corpus_trees.write_empty_files(tmp_path, make_complete_paths()))
    emodb.CORPUS.check_counts(utterances)
    assert len(utterances) == 535
    sex_by_speaker = {u.speaker: u.sex for u in utterances}
    assert collections.Counter(sex_by_speaker.values()) == {'male': 5, 'female': 5}


@pytest.mark.parametrize(
    ('count', 'message'),
    [(816, 'This is EMO-DB 2.0, which is newer'), (815, 'more than in any'), (534, 'Complete the')],
)
def test_a_newer_release_is_called_so(count, message, tmp_path):
    paths = make_complete_paths()
    for version, sentence, speaker in itertools.product('xyz', SENTENCES, SPEAKERS):
        paths.append(f'wav/{speaker}{sentence}N{version}.wav')
    utterances = emodb.walk(corpus_trees.write_empty_files(tmp_path, paths[:count]))
    assert len(utterances) == count
    with pytest.raises(UserError, match=message):
        emodb.CORPUS.check_counts(utterances)
    emodb.CORPUS.check_counts(utterances, allow_partial=True)

"""Tests how RAVDESS is read."""

from helpers import corpus_trees

from data_pipelines.corpora import ravdess


def test_the_complete_corpus_is_1440_utterances_of_24_actors_the_odd_ones_men(tmp_path):
    paths = corpus_trees.make_ravdess_paths()
    utterances = ravdess.walk(corpus_trees.write_empty_files(tmp_path, paths))
    ravdess.CORPUS.check_counts(utterances)
    assert len(utterances) == 1440
    sex_by_speaker = {u.speaker: u.sex for u in utterances}
    expected = {}
    for actor in range(1, 25):
        expected[f'{actor:02d}'] = 'male' if actor % 2 else 'female'
    assert sex_by_speaker == expected
    assert {u.sentence for u in utterances} == {'01', '02'}


def test_songs_and_films_are_ignored(tmp_path):
    paths = [
        'Actor_01/03-02-03-01-01-01-01.wav',
        'Actor_01/01-01-03-01-01-01-01.wav',
        'Actor_01/03-01-03-01-01-01-01.wav',
    ]
    (utterance,) = ravdess.walk(corpus_trees.write_empty_files(tmp_path, paths))
    assert utterance.name == '03-01-03-01-01-01-01'

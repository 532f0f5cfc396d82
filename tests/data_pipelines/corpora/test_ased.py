"""Tests how ASED is read."""

from helpers import corpus_trees

from data_pipelines.corpora import ased


def test_a_speaker_has_the_sex_of_most_files(tmp_path):
    """Five speakers of the release have one file with the other sex."""
    names = ['a5-03-01-01-09', 'a5-04-01-02-09', 'a5-05-01-02-09', 'n1-01-01-01-10']
    corpus_trees.write_empty_files(tmp_path, [f'{name}.wav' for name in names])
    utterances = ased.walk(tmp_path)
    assert {(u.speaker, u.sex) for u in utterances} == {('09', 'male'), ('10', 'female')}


def test_only_the_sentences_of_all_emotions_are_the_same_words(tmp_path):
    names = ['a5-02-01-01-09', 'f2-02-01-01-09', 'a5-03-01-01-09', 'f2-03-01-01-09']
    corpus_trees.write_empty_files(tmp_path, [f'{name}.wav' for name in names])
    assert {u.sentence for u in ased.walk(tmp_path)} == {'02', 'a5_03', 'f2_03'}

"""Tests how URDU is read."""

from helpers import corpus_trees

from data_pipelines.corpora import urdu


def test_names_give_speaker_sex_and_emotion(tmp_path):
    paths = ['Sad/SF10_F4_S078.wav', 'Angry/SM1_F10_A010.wav']
    man, woman = urdu.walk(corpus_trees.write_empty_files(tmp_path, paths))
    assert (man.speaker, man.sex, man.emotion, man.language) == ('SM1', 'male', 'angry', 'ur')
    assert (woman.speaker, woman.sex, woman.emotion) == ('SF10', 'female', 'sad')

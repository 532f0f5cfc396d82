"""Tests how SAVEE is read."""

import dataclasses

from helpers import corpus_trees

from data_pipelines.corpora import savee


def test_both_layouts_give_the_same_utterance(tmp_path):
    corpus_trees.write_empty_files(tmp_path, ['flat/JK_sa09.wav', 'deep/AudioData/JK/sa09.wav'])
    (flat,) = savee.walk(tmp_path / 'flat')
    (deep,) = savee.walk(tmp_path / 'deep')
    assert dataclasses.replace(flat, path=deep.path) == deep

"""Tests how ESD is read."""

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import esd


@pytest.mark.parametrize(
    ('folder', 'split'),
    [('train', 'train'), ('evaluation', 'dev'), ('test', 'test'), ('Angry', '')],
)
def test_the_folders_of_some_copies_are_the_split(folder, split, tmp_path):
    corpus_trees.write_file(tmp_path / f'0001/Angry/{folder}/0001_000351.wav')
    (utterance,) = esd.walk(tmp_path)
    assert (utterance.split, utterance.emotion) == (split, 'angry')

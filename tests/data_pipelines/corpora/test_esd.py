"""Tests how ESD is read."""

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import esd
from data_pipelines.errors import UserError


@pytest.mark.parametrize(
    ('folder', 'split'),
    [('train', 'train'), ('evaluation', 'dev'), ('test', 'test'), ('Angry', '')],
)
def test_the_folders_of_some_copies_are_the_split(folder, split, tmp_path):
    corpus_trees.write_file(tmp_path / f'0001/Angry/{folder}/0001_000351.wav')
    (utterance,) = esd.walk(tmp_path)
    assert (utterance.split, utterance.emotion) == (split, 'angry')


@pytest.mark.parametrize('path', ['0001/Sad/0001_000351.wav', '0002/Angry/test/0001_000351.wav'])
def test_a_folder_that_contradicts_the_number_is_refused_by_name(path, tmp_path):
    """One of the two labels is wrong."""
    corpus_trees.write_file(tmp_path / path)
    corpus_trees.write_file(tmp_path / '0001/Neutral/0001_000001.wav')
    with pytest.raises(UserError, match=rf'ESD has 1 file in .*{path} \(0001 angry by its name\)'):
        esd.walk(tmp_path)

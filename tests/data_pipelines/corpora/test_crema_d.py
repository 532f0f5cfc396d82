"""Tests how CREMA-D is read."""

from pathlib import Path

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import crema_d
from data_pipelines.errors import UserError


def read_sex_by_speaker(root: Path) -> dict[str, str]:
    return {u.speaker: u.sex for u in crema_d.walk(root)}


def test_the_sex_is_read_from_the_release_if_its_list_is_there(tmp_path):
    corpus_trees.write_release(tmp_path, 'crema_d')
    assert read_sex_by_speaker(tmp_path) == {'1001': 'male', '1002': 'female', '1003': ''}
    (tmp_path / 'VideoDemographics.csv').unlink()
    assert set(read_sex_by_speaker(tmp_path).values()) == {''}


def test_a_list_without_actors_is_refused(tmp_path):
    corpus_trees.write_release(tmp_path, 'crema_d')
    corpus_trees.edit_file(tmp_path / 'VideoDemographics.csv', 'ActorID', 'Actor')
    with pytest.raises(UserError, match=r'VideoDemographics\.csv has no column ActorID'):
        crema_d.walk(tmp_path)

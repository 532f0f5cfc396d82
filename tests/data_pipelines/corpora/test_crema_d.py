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


def test_the_votes_are_those_of_raters_who_heard_the_voice_alone(tmp_path, capsys):
    corpus_trees.write_release(tmp_path, 'crema_d')
    votes = {(u.emotion, tuple(sorted(u.votes.items()))) for u in crema_d.walk(tmp_path)}
    assert votes == {
        ('angry', (('angry', 2), ('neutral', 1))),
        ('sad', (('neutral', 1), ('sad', 2))),
    }
    assert capsys.readouterr().out == ''


def test_a_clip_that_nobody_heard_and_a_release_without_responses_have_no_votes(tmp_path, capsys):
    corpus_trees.write_release(tmp_path, 'crema_d')
    responses = tmp_path / 'finishedResponses.csv'
    responses.write_text(responses.read_text().replace('1001_DFA_ANG_XX', '1091_DFA_ANG_XX'))
    by_name = {u.name: u.votes for u in crema_d.walk(tmp_path)}
    assert by_name['1001_DFA_ANG_XX'] is None
    assert by_name['1001_IEO_ANG_XX'] == {'angry': 2, 'neutral': 1}
    responses.unlink()
    assert {u.votes is None for u in crema_d.walk(tmp_path)} == {True}
    assert capsys.readouterr().out.startswith(
        f'{tmp_path} has no finishedResponses.csv, so there are no votes'
    )


def test_responses_of_another_form_are_refused(tmp_path):
    corpus_trees.write_release(tmp_path, 'crema_d')
    responses = tmp_path / 'finishedResponses.csv'
    corpus_trees.edit_file(responses, '1,"A",50', '1,"Z",50')
    with pytest.raises(UserError, match=r"finishedResponses\.csv, line 2, has the response 'Z'"):
        crema_d.walk(tmp_path)
    corpus_trees.edit_file(responses, 'respEmo', 'response')
    with pytest.raises(UserError, match=r'finishedResponses\.csv has no column respEmo'):
        crema_d.walk(tmp_path)

"""Tests how the votes of several raters are read from a list of the user's own."""

from pathlib import Path

import pytest

from data_pipelines.corpora import folder
from data_pipelines.errors import UserError

HEADER = 'path,speaker,emotion,angry,n_happy,sad\n'


def write_list(root: Path, text: str) -> Path:
    path = root / 'list.csv'
    path.write_text(text)
    return path


def walk(path: Path, votes: str, **settings):
    return folder.walk(path, folder.make_options(columns=f'votes={votes}', **settings))


def test_named_columns_are_the_votes_for_what_their_names_mean(tmp_path):
    """Empty cells are 0, pandas' 2.0 is 2, and a row without any vote has none."""
    rows = 'a.wav,1,angry,3,2,\nb.wav,1,sad,0,0,0\nc.wav,1,sad,2.0,nan,1\n'
    path = write_list(tmp_path, HEADER + rows)
    first, second, third = walk(path, 'angry+N_happy+sad', emotions='n_happy=happy')
    assert first.votes == {'angry': 3, 'happy': 2}
    assert second.votes is None
    assert third.votes == {'angry': 2, 'sad': 1}


def test_columns_of_one_class_are_added(tmp_path):
    path = write_list(tmp_path, 'path,speaker,emotion,wut,anger\na.wav,1,sad,3,2\n')
    (utterance,) = walk(path, 'wut+anger')
    assert utterance.votes == {'angry': 5}


def test_without_an_emotion_it_is_the_one_with_the_most_votes(tmp_path, capsys):
    text = 'path,speaker,angry,sad\na.wav,1,3,1\nb.wav,1,2,2\n'
    first, second = walk(write_list(tmp_path, text), 'angry+sad')
    assert (first.emotion, second.emotion) == ('angry', 'undecided')
    assert second.votes == {'angry': 2, 'sad': 2}
    printed = capsys.readouterr().out
    assert '2 rows of ' in printed
    assert 'most votes, and undecided without one winner (1 row)' in printed


def test_an_emotion_that_the_list_has_is_kept(tmp_path):
    text = 'path,speaker,emotion,angry,sad\na.wav,1,fear,3,1\nb.wav,1,,0,1\n'
    first, second = walk(write_list(tmp_path, text), 'angry+sad')
    assert (first.emotion, second.emotion) == ('fear', 'sad')


def test_a_row_with_neither_emotion_nor_votes_is_refused(tmp_path):
    path = write_list(tmp_path, 'path,speaker,angry,sad\na.wav,1,0,\n')
    with pytest.raises(UserError, match='line 2: no emotion'):
        walk(path, 'angry+sad')


@pytest.mark.parametrize('cell', ['0.5', '-1', 'two'])
def test_votes_that_are_not_whole_numbers_are_refused_with_their_line(cell, tmp_path):
    path = write_list(tmp_path, f'path,speaker,emotion,angry,sad\na.wav,1,sad,1,{cell}\n')
    with pytest.raises(UserError, match=f"line 2: '{cell}' votes for sad, which is not a whole"):
        walk(path, 'angry+sad')


def test_a_column_that_the_list_lacks_or_that_means_no_emotion_is_refused(tmp_path):
    path = write_list(tmp_path, HEADER + 'a.wav,1,sad,1,1,1\n')
    with pytest.raises(UserError, match=r"no column 'happy'; it has .*Did you mean"):
        walk(path, 'angry+happy')
    with pytest.raises(UserError, match="'n_happy' is no emotion that is known"):
        walk(path, 'angry+n_happy')


@pytest.mark.parametrize('votes', ['angry+', 'angry+angry', 'mood+sad'])
def test_a_wrong_list_of_columns_is_refused(votes):
    with pytest.raises(UserError, match=r'each once, separated by \+'):
        folder.make_options(columns=f'emotion=mood,votes={votes}')


def test_classes_of_ones_own_may_have_votes(tmp_path):
    path = write_list(tmp_path, 'path,speaker,emotion,calmish,tense\na.wav,1,tense,1,2\n')
    (utterance,) = walk(path, 'calmish+tense', label_map='as_is')
    assert (utterance.emotion, utterance.votes) == ('tense', {'calmish': 1, 'tense': 2})


def test_votes_for_a_word_that_the_map_leaves_out_are_votes_for_other(tmp_path, capsys):
    map_file = tmp_path / 'map.csv'
    map_file.write_text('word,emotion\nunclear,\n')
    path = write_list(tmp_path, 'path,speaker,emotion,unclear,sad\na.wav,1,sad,1,2\n')
    (utterance,) = walk(path, 'unclear+sad', label_map=map_file)
    assert utterance.votes == {'other': 1, 'sad': 2}
    assert 'No row has the word' not in capsys.readouterr().out


def test_unnamed_columns_that_may_be_votes_are_ignored_with_the_option_that_reads_them(
    tmp_path, capsys
):
    path = write_list(tmp_path, 'path,speaker,emotion,age,angry,sad\na.wav,1,sad,40,1,2\n')
    (utterance,) = folder.walk(path)
    assert utterance.votes is None
    assert '--columns votes=angry+sad.' in capsys.readouterr().out
    folder.walk(write_list(tmp_path, 'path,speaker,emotion,angry,sad\na.wav,1,sad,0.2,0.8\n'))
    assert '--columns' not in capsys.readouterr().out

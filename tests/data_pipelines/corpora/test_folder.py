"""Tests how a user's own corpus is read from a CSV file."""

import os
from pathlib import Path

import pytest

from data_pipelines.corpora import folder
from data_pipelines.errors import UserError


def write_list(root: Path, text: str) -> Path:
    path = root / 'list.csv'
    path.write_text(text)
    return path


def test_every_column_is_read_and_paths_are_relative_to_the_list(tmp_path):
    path = write_list(
        tmp_path,
        'path,speaker,emotion,start,end,language,corpus,sex,session,sentence,style,split,'
        'arousal,valence,dominance\n'
        'a/b.wav,anna,happy,0.5,2,de,mine,female,s1,"Guten Tag, Welt",acted,dev,-1,0.25,1\n'
        'a/b.wav,anna,sad,2,,,,,,,,,,,\n',
    )
    full, sparse = folder.walk(path)
    assert (full.path, full.start, full.end) == (tmp_path / 'a/b.wav', 0.5, 2.0)
    assert (full.corpus, full.sex, full.session) == ('mine', 'female', 's1')
    assert (full.sentence, full.style) == ('Guten Tag, Welt', 'acted')
    assert (full.split, full.arousal, full.valence, full.dominance) == ('dev', -1.0, 0.25, 1.0)
    assert (sparse.start, sparse.end, sparse.corpus, sparse.language) == (2.0, None, 'folder', '')
    assert (sparse.split, sparse.arousal, sparse.valence, sparse.dominance) == (
        '',
        None,
        None,
        None,
    )
    assert full.name != sparse.name


def test_two_channels_of_one_file_are_two_utterances(tmp_path):
    text = 'path,speaker,emotion,channel\na.wav,1,sad,1\na.wav,2,sad,2\nb.wav,3,sad,\n'
    utterances = folder.walk(write_list(tmp_path, text))
    assert [utterance.channel for utterance in utterances] == [1, 2, 0]
    assert [utterance.name for utterance in utterances] == ['a.wav@1', 'a.wav@2', 'b.wav']


@pytest.mark.parametrize('channel', ['0', '-1', 'left', '1.5', '1000'])
def test_a_channel_that_is_no_number_from_1_is_refused(channel, tmp_path):
    path = write_list(tmp_path, f'path,speaker,emotion,channel\na.wav,1,sad,{channel}\n')
    with pytest.raises(UserError, match=f"line 2: channel '{channel}' is not a number from 1"):
        folder.walk(path)


def test_a_list_from_a_spreadsheet_is_read(tmp_path):
    """With a byte order mark, CRLF, columns in another order, and an absolute path."""
    absolute = tmp_path / 'x.wav'
    path = write_list(tmp_path, f'\ufeffemotion,speaker,path\r\nangry,1,{absolute}\r\n')
    (utterance,) = folder.walk(path)
    assert utterance.path == absolute


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('path,speaker\nx.wav,1\n', 'missing: emotion'),
        ('path,speaker,emotion,mood\nx.wav,1,sad,2\n', 'unknown: mood'),
        ('path;speaker;emotion\nx.wav;1;sad\n', 'separated by commas'),
        ('', r'columns \(none\)'),
        ('path,speaker,emotion\n', 'no utterances'),
        (
            'path,speaker,emotion\nx.wav,1,sad\ny.wav,1,joyful\n',
            "line 3: unknown emotion 'joyful'. Expected emotions: angry, anxious",
        ),
        ('path,speaker,emotion\nx.wav,,sad\n', 'line 2: no speaker'),
        ('path,speaker,emotion\nx.wav,1\n', 'line 2: more or fewer cells'),
        ('path,speaker,emotion\nx.wav,1,sad,2\n', 'line 2: more or fewer cells'),
        ('path,speaker,emotion,start\nx.wav,1,sad,soon\n', "line 2: start 'soon'"),
        (
            'path,speaker,emotion,split\nx.wav,1,sad,trian\n',
            "line 2: split 'trian' is neither train nor dev nor test",
        ),
        (
            'path,speaker,emotion,start,end\nx.wav,1,sad,-1,1\n',
            'line 2: start -1 is before the beginning of the file',
        ),
        (
            'path,speaker,emotion,start,end\nx.wav,1,sad,2,1\n',
            'line 2: the segment from 2 to 1 s has no length',
        ),
        ('path,speaker,emotion,start,end\nx.wav,1,sad,nan,1\n', 'line 2: the segment'),
        ('path,speaker,emotion,sex\nx.wav,1,sad,m\n', "line 2: sex 'm'"),
        (
            'path,speaker,emotion,arousal\nx.wav,1,sad,0.5\ny.wav,1,sad,1.5\n',
            "line 3: arousal '1.5' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion,arousal\nx.wav,1,sad,-1.01\n',
            "line 2: arousal '-1.01' is not a number",
        ),
        (
            'path,speaker,emotion,valence\nx.wav,1,sad,nan\n',
            "line 2: valence 'nan' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion,dominance\nx.wav,1,sad,high\n',
            "line 2: dominance 'high' is not a number from -1 to 1",
        ),
        (
            'path,speaker,emotion\nx.wav,1,sad\nx.wav,2,sad\n',
            r'more than once.*: x\.wav on lines 2, 3',
        ),
        ('path,speaker,emotion\n"x.wav,1,sad\n', 'is not CSV'),
    ],
)
def test_a_wrong_list_is_refused_with_what_is_wrong_and_where(text, message, tmp_path):
    with pytest.raises(UserError, match=message):
        folder.walk(write_list(tmp_path, text))


def test_a_mistake_in_many_rows_is_reported_once(tmp_path):
    """With the number of rows and the first lines; the known emotions are listed once."""
    rows = [f'{n}.wav,1,wut\n{n}b.wav,1,sad\n' for n in range(38)]
    path = write_list(tmp_path, 'path,speaker,emotion\n' + ''.join(rows) + 'x.wav,1,fun\n')
    with pytest.raises(UserError) as error:
        folder.walk(path)
    message = str(error.value)
    assert '39 rows that cannot be used' in message
    assert "unknown emotion 'wut' in 38 rows (lines 2, 4, 6, ...); line 78: unknown" in message
    assert message.count('angry') == message.count('wut') == 1


def test_spaces_at_the_ends_of_cells_are_ignored(tmp_path):
    """Otherwise a speaker would be two people, perhaps one on each side of a split."""
    text = 'path,speaker,emotion\na.wav,s1,sad\nb.wav,s1 , sad\n'
    utterances = folder.walk(write_list(tmp_path, text))
    assert {(u.speaker, u.emotion) for u in utterances} == {('s1', 'sad')}


def test_texts_must_be_utf_8_but_paths_may_be_any_bytes(tmp_path):
    path = tmp_path / 'list.csv'
    path.write_bytes('path,speaker,emotion\nx.wav,Jürgen,sad\n'.encode('latin-1'))
    with pytest.raises(UserError, match='line 2: text that is not UTF-8'):
        folder.walk(path)
    path.write_bytes('path,speaker,emotion\nJürgen.wav,1,sad\n'.encode('latin-1'))
    (utterance,) = folder.walk(path)
    assert os.fsencode(utterance.path.name) == 'Jürgen.wav'.encode('latin-1')
    utterance.name.encode()  # no surrogates: the name is stored in the shards

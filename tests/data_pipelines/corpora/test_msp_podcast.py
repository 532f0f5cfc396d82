"""Tests how MSP-Podcast is read."""

from pathlib import Path

import pytest
from helpers import corpus_trees

from data_pipelines.corpora import msp_podcast
from data_pipelines.errors import UserError
from data_pipelines.storage import preparation

HEADER = 'FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set'


def write_list(root: Path, *rows: str) -> Path:
    """Writes an audio file and lists of labels, and returns `root`."""
    corpus_trees.write_file(root / 'Audios/MSP-PODCAST_0001_0008.wav')
    text = '\n'.join([HEADER, *rows, ''])
    corpus_trees.write_file(root / 'Labels/labels_consensus.csv', text)
    corpus_trees.write_file(root / 'Labels/labels_detailed.csv', 'FileName,EmoClass_Major\n')
    return root


def test_the_list_gives_names_labels_ratings_and_split(tmp_path):
    rows = [
        'MSP-PODCAST_0001_0008.wav,C,7,4.0,1,30,Male,Train',
        'MSP-PODCAST_0001_0009.wav,X,2.5,5.5,4,Unknown,Unknown,Test1',
        'MSP-PODCAST_0001_0010.wav,,,,,Unknown,,Test3',
    ]
    first, second, third = msp_podcast.walk(write_list(tmp_path, *rows))
    assert (first.name, first.speaker) == ('MSP-PODCAST_0001_0008', '30')
    assert (first.emotion, first.sex, first.split) == ('contempt', 'male', 'train')
    assert (first.arousal, first.valence, first.dominance) == (1, 0, -1)
    assert first.path == tmp_path / 'Audios/MSP-PODCAST_0001_0008.wav'
    assert (first.language, first.style) == ('en', 'natural')
    assert (second.speaker, second.emotion, second.sex) == ('', 'undecided', '')
    assert (second.split, second.arousal, second.valence) == ('test', -0.5, 0.5)
    assert (third.emotion, third.split) == ('undecided', 'test3')
    assert (third.arousal, third.valence, third.dominance) == (None, None, None)
    assert not second.path.exists()  # listed, so that it is rejected as missing


def test_audio_that_the_list_does_not_name_is_counted(tmp_path, capsys):
    write_list(tmp_path, 'MSP-PODCAST_0001_0009.wav,X,2.5,5.5,4,Unknown,Unknown,Test1')
    msp_podcast.walk(tmp_path)
    expected = '1 audio file left out, since labels_consensus.csv does not list them: '
    assert capsys.readouterr().out == f'{expected}Audios/MSP-PODCAST_0001_0008.wav\n'


@pytest.mark.parametrize(
    ('letter', 'emotion'),
    [
        ('A', 'angry'),
        ('S', 'sad'),
        ('H', 'happy'),
        ('U', 'surprise'),
        ('F', 'fear'),
        ('D', 'disgust'),
        ('C', 'contempt'),
        ('N', 'neutral'),
        ('O', 'other'),
        ('X', 'undecided'),
    ],
)
def test_every_letter_is_an_emotion(letter, emotion, tmp_path):
    root = write_list(tmp_path, f'a.wav,{letter},4,4,4,1,Female,Test2')
    (utterance,) = msp_podcast.walk(root)
    assert utterance.emotion == emotion


@pytest.mark.parametrize(
    ('name', 'split'),
    [('Train', 'train'), ('Development', 'dev'), ('Validation', 'dev'), ('Test2', 'test2')],
)
def test_every_partition_is_a_part_of_the_split(name, split, tmp_path):
    (utterance,) = msp_podcast.walk(write_list(tmp_path, f'a.wav,A,4,4,4,1,Female,{name}'))
    assert utterance.split == split


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        (
            'a.wav,Q,4,4,4,1,Male,Train',
            r'labels_consensus\.csv, line 3, labels a\.wav as Q of Train; expected one of A, S',
        ),
        (
            'a.wav,A,4,4,4,1,Male,Test9',
            r'line 3, labels a\.wav as A of Test9; .*Train, Development',
        ),
        ('a.wav,A,4,4,4', r'line 3, labels a\.wav as A of None'),
        ('a.wav,A,4,high,4,1,Male,Train', r"line 3, has a rating of a\.wav .*'high'"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_line(row, message, tmp_path):
    root = write_list(tmp_path, 'b.wav,A,4,4,4,1,Male,Train', row)
    with pytest.raises(UserError, match=message):
        msp_podcast.walk(root)


def test_a_release_without_its_list_is_refused(tmp_path):
    corpus_trees.write_file(tmp_path / 'Audios/MSP-PODCAST_0001_0008.wav')
    message = r'No Labels/labels_consensus\.csv, or no Audios/, in .*--source'
    with pytest.raises(UserError, match=message):
        msp_podcast.walk(tmp_path)


def test_a_list_without_a_column_or_without_utterances_is_refused(tmp_path):
    write_list(tmp_path)
    with pytest.raises(UserError, match='No utterance of MSP-Podcast was found'):
        preparation.walk_corpus(msp_podcast.CORPUS, tmp_path)
    path = tmp_path / 'Labels/labels_consensus.csv'
    path.write_text('FileName,SpkrID,Gender,Split_Set\n')
    with pytest.raises(UserError, match=r'labels_consensus\.csv has no column EmoClass, EmoAct'):
        msp_podcast.walk(tmp_path)


# As the readme of the release shows it.
LABELS_TEXT = """a.wav; H; A:4.200000; V:4.800000; D:5.000000;
WORKER00014325; Sad; Sad,Concerned; A:2.000000; V:4.000000; D:4.000000;
WORKER00014332; Happy; Happy,Concerned; A:4.000000; V:6.000000; D:6.000000;
WORKER00014342; Other-confused; Neutral,Concerned,Fear; A:5.000000; V:3.000000; D:5.000000;
WORKER00014343; Happy; Happy,Concerned; A:5.000000; V:5.000000; D:5.000000;

b.wav; X; A:4.000000; V:4.000000; D:4.000000;
WORKER00014325; Contempt; ; A:2.000000; V:4.000000; D:4.000000;
"""
ROWS = ('a.wav,H,4,4,4,1,Male,Train', 'b.wav,X,4,4,4,1,Male,Train', 'c.wav,A,4,4,4,1,Male,Train')
VOTES = [{'sad': 1, 'happy': 2, 'other': 1}, {'contempt': 1}, None]


def lines_of_workers() -> list[tuple[str, str]]:
    """Returns the file and the line of each worker in `LABELS_TEXT`."""
    lines = []
    name = ''
    for line in LABELS_TEXT.splitlines():
        if line.startswith('WORKER'):
            lines.append((name, line))
        elif line:
            name = line.split(';')[0]
    return lines


def test_the_votes_are_the_primary_emotions_of_the_workers(tmp_path):
    """In each of the forms that releases have."""
    root = write_list(tmp_path, *ROWS)
    majors = 'FileName,Workers,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n'
    details = 'FileName,EmoDetail\n'
    for name, line in lines_of_workers():
        worker, major, second, *ratings = [field.strip() for field in line.split(';')]
        majors += f'{name},{worker},{major},"{second}",{ratings[0][2:]},4,4\n'
        details += f'{name},"{line}"\n'
    table = root / 'Labels/labels_detailed.csv'
    for text in (majors, details):
        table.write_text(text)
        assert [u.votes for u in msp_podcast.walk(root)] == VOTES
    table.unlink()
    corpus_trees.write_file(root / 'Labels/labels.txt', LABELS_TEXT)
    assert [u.votes for u in msp_podcast.walk(root)] == VOTES


def test_without_a_list_of_workers_there_are_no_votes_which_is_said_once(tmp_path, capsys):
    root = write_list(tmp_path, *ROWS)
    (root / 'Labels/labels_detailed.csv').unlink()
    assert {u.votes is None for u in msp_podcast.walk(root)} == {True}
    assert capsys.readouterr().out.count('no votes of single raters') == 1


def test_a_list_of_workers_with_other_columns_is_refused(tmp_path):
    root = write_list(tmp_path, *ROWS)
    (root / 'Labels/labels_detailed.csv').write_text('FileName,Emotion\na.wav,Sad\n')
    with pytest.raises(UserError, match='expected FileName, and EmoClass_Major or EmoDetail'):
        msp_podcast.walk(root)
